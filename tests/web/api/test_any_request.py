"""Whatever the description allows, and much that it does not, gets an answer that it describes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from shared.composition import Composition
from shared.web.app import Answering, routes
from tests.cases import ALL
from tests.web.conftest import Web, signed_in

EXAMPLES = 400 if ALL else 15


@pytest.fixture
def described(spent: Composition, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    app = Answering(routes(Web().composition))
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=signed_in("operator"))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_answer_is_undescribed_and_none_is_a_500(described: Any, mode: GenerationMode) -> None:
    statuses = set()
    for operation in (each.ok() for each in described.get_all_operations()):

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            # A cursor or a day may be a text, and none of ours.
            sent = case.call_and_validate(headers=signed_in("operator"), excluded_checks=[positive_data_acceptance])
            statuses.add(sent.status_code)

        # An address without parameters has nothing that could be wrong.
        with suppress(Unsatisfiable):
            ask()
    assert statuses <= {200, 202, 400, 404, 405, 409, 422}
    assert {200, 404} <= statuses if mode is GenerationMode.POSITIVE else 422 in statuses
