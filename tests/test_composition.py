"""What the settings make of the adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shared.adapters.costs.aws import AwsCosts
from shared.adapters.costs.made_up import MadeUpCosts, MadeUpPayers
from shared.composition import Composition
from shared.ports.cloud_accounts import ConnectionType
from shared.settings import load

STORAGE = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}
ROLE, AUDIENCE = "arn:aws:iam::123456789012:role/warden", "api://warden"
# What is asked of whom, without anything of AWS being loaded.
ROOT = Path(__file__).parents[1]
WIRE = f"""
import json, sys
from shared.composition import Composition
from shared.settings import load
app = Composition(load({STORAGE}))
sources = list(app.sources)
print(json.dumps([sources, sorted(each for each in sys.modules if each.startswith("boto"))]))
"""


def test_aws_is_a_source_of_which_nothing_is_loaded_before_an_account_is_asked() -> None:
    told = subprocess.run([sys.executable, "-c", WIRE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == [["COST_MANAGEMENT", "COST_EXPLORER"], []]


def test_aws_is_asked_as_the_settings_say() -> None:
    given = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_AUDIENCE": AUDIENCE, "AWS_ENDPOINT": "http://127.0.0.1:9"}
    source = Composition(load(STORAGE | given | {"COST_METRIC": "AmortizedCost"})).sources[ConnectionType.COST_EXPLORER]
    assert isinstance(source, AwsCosts)
    access = source.access
    assert (source.metric, access.role_arn, access.endpoint) == ("AmortizedCost", ROLE, "http://127.0.0.1:9")
    assert access.identity_token.audience == AUDIENCE


def test_where_costs_are_made_up_nobody_is_asked() -> None:
    app = Composition(load(STORAGE | {"USE_MADE_UP_COSTS": "true"}))
    assert {key: type(source) for key, source in app.sources.items()} == {
        ConnectionType.COST_MANAGEMENT: MadeUpCosts,
        ConnectionType.COST_EXPLORER: MadeUpPayers,
    }
