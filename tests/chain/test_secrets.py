"""A night and an alert with a secret in every setting that takes one: none is in a log, a mail, an answer, or in what
telemetry is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from localdev.azure_sim import AzureSimulator
from localdev.azurite import Azurite
from shared.messages import Queue
from tests.adapters.mail.servers import PASSWORD, USERNAME, SmtpServer, make_certificate, read
from tests.chain.conftest import Install
from tests.chain.ingestion import Ingestion
from tests.chain.installation import FUNCTION_KEY, NORTH, book_of, contents_of, entry, post

DATABASE_PASSWORD = "pass-of-the-database"
SENDGRID_KEY = "SG.a-key-that-is-left-over"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ3YXJkZW4ifQ.c2lnbmF0dXJl"


def leaks(secrets: list[str], texts: list[str]) -> list[str]:
    return [secret for secret in secrets if any(secret in text for text in texts)]


def test_a_secret_would_be_found() -> None:
    assert leaks([TOKEN, PASSWORD], ["good", f"not {PASSWORD} good"]) == [PASSWORD]


@pytest.mark.postgres
def test_no_secret_is_in_a_log_a_mail_an_answer_or_telemetry(
    install: Install, azurite_blobs: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion = Ingestion()
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = SmtpServer(context)
    server.start()
    # What the server quotes is written down, told to people and listed.
    server.refusals["p11@example.com"] = f"550 5.1.1 no such user, {PASSWORD}"
    settings = {"EMAIL_PROVIDER": "smtp", "EMAIL_SENDER": "warden@example.com", "SENDGRID_API_KEY": SENDGRID_KEY}
    settings |= ingestion.environment
    settings |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_USERNAME": USERNAME}
    # Its key is the queues' too.
    settings |= {"CostExportStorage": azurite_blobs.connection_string, "COST_EXPORT_CONTAINER": "of-secrets"}
    blobs = BlobServiceClient.from_connection_string(azurite_blobs.connection_string)
    blobs.create_container("of-secrets").upload_blob("costs/manifest.json", b"no JSON")
    with AzureSimulator(book_of((NORTH, "rg-11", "30"))) as azure:
        app = install(azure, "postgresql", **settings, SMTP_PASSWORD=PASSWORD)
        app.database_url = app.database_url.replace("postgres@", f"postgres:{DATABASE_PASSWORD}@")
        app.load(entry(11, "400"))
        app.queue(Queue.UPDATE).send_message('{"ProjectId": 99}')
        app.run("--verbose", "--once", "ProjectUsageScheduler")
        app.run("--verbose", "--once", "CostExportScanner")
        _, url = app.listening()
        reply = post(url, b"no alert", {"Authorization": f"Bearer {TOKEN}"})
        for command in (["check"], ["mails", "list"], ["dead-letters", "list"]):
            app.cli(*command)
        app.stop()
    server.stop()
    ingestion.stop()
    key = dict(part.partition("=")[::2] for part in app.storage.split(";"))["AccountKey"]
    written = [*(program.output for program in app.programs), reply.text]
    mails = [
        read(content).as_string() + contents for content, _ in server.mails for contents in contents_of(read(content))
    ]
    told = [json.dumps(each) for each in ingestion.envelopes]
    assert leaks([DATABASE_PASSWORD, PASSWORD, SENDGRID_KEY, FUNCTION_KEY, TOKEN, key], written + mails + told) == []
    # All of it was used, telemetry too, and what was quoted is there without the password.
    assert leaks(["mail_sent", "budget_alert", "ProjectUsageUpdater"], told) == [
        "mail_sent",
        "budget_alert",
        "ProjectUsageUpdater",
    ]
    assert USERNAME.encode() in server.signed_in
    assert leaks(["export_failed"], written) == ["export_failed"]
    assert leaks(["no such user, ***", "mail_sent", "there is no project 99", "400"], written + mails) == [
        "no such user, ***",
        "mail_sent",
        "there is no project 99",
        "400",
    ]
