"""The whole demo with a secret in every setting that takes one: none is in a log, a mail, or what telemetry is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from localdev import demo_aws
from localdev.aws_sim import demo_organization
from localdev.azurite import ACCOUNT_KEY
from localdev.demo_lock import FUNCTION_KEY
from localdev.demo_stage import LOG, ROOT
from tests.chain.ingestion import Ingestion
from tests.chain.installation import contents_of
from tests.chain.test_secrets import leaks

SECRETS = {"SENDGRID_API_KEY": "SG.a-key-that-is-left-over", "SMTP_PASSWORD": "pass-of-the-mail-server"}
MADE_HERE = shutil.ignore_patterns(".git", ".venv*", ".local", ".azurite", ".mypy_cache", ".hypothesis", "__pycache__")


@pytest.mark.skipif("CRASH_RUNS" not in os.environ, reason="make crash-test plays it: it takes long")
def test_no_secret_is_in_a_log_a_mail_or_telemetry_of_a_whole_demo(tmp_path: Path) -> None:
    ingestion, copy = Ingestion(), tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=MADE_HERE)
    (copy / ".azurite").symlink_to(ROOT / ".azurite")
    environment = os.environ | SECRETS | ingestion.environment
    demo = [sys.executable, "-m", "localdev.demo"]
    run = subprocess.run(demo, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    ingestion.stop()
    assert run.returncode == 0, run.stdout + run.stderr
    made = copy / ".local" / "demo"
    files = sorted((made / "outbox").glob("*.eml"))
    mails = [" ".join(contents_of(message_from_bytes(file.read_bytes(), policy=policy.default))) for file in files]
    log, told = (made / LOG).read_text("utf-8"), [json.dumps(each) for each in ingestion.envelopes]
    at_aws = [demo_organization.SECRET, demo_aws.SEALING_KEY, "session-secret-", "session-token-"]
    secrets = [*SECRETS.values(), *at_aws, ACCOUNT_KEY, FUNCTION_KEY]
    assert leaks(secrets, [run.stdout, run.stderr, log, *mails, *told]) == []
    # What the database has of AWS's is sealed.
    assert leaks(at_aws, [file.read_text("latin-1") for file in made.glob("warden.db*")]) == []
    # All of it was there to be found.
    assert len(leaks(["mail_sent", "ProjectLockHandler"], [log])) == 2
    assert len(leaks(["mail_sent", "ProjectLockHandler"], told)) == 2
    assert len(leaks(["The project is unlocked"], mails)) == 1
