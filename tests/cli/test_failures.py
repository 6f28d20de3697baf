"""What becomes of errors: who is told to try again, and who is told what to mend first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared import settings
from shared.cli.failures import explain, later
from shared.composition import Composition
from shared.messages import Queue
from shared.ports.errors import LaterError, UntilMendedError
from tests.cli.commands import DIE1, FIRST, Cli, write_csv
from tests.cli.test_budget_sync import GROUP, charge
from tests.postgres import Postgres

READS_ONLY = (
    "CREATE ROLE reader LOGIN",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LaterError("Azure is unwell."), "Azure is unwell; try again in a while"),
        (LaterError("Azure is busy", timedelta(seconds=70)), "Azure is busy; try again in 1 min 10 s"),
        (UntilMendedError("no right here; have it given"), "no right here; have it given"),
    ],
)
def test_whoever_can_only_wait_is_told_for_how_long_and_others_what_to_mend(error: LaterError, said: str) -> None:
    assert later(error) == said
    assert explain(error) == (said, 1)


@pytest.fixture
def reader(cli: Cli, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A database of PostgreSQL; called, all that follows may only read it."""
    postgres.execute("CREATE DATABASE readable")
    url = postgres.url("readable")
    monkeypatch.setenv("DATABASE_URL", url)
    assert cli("db", "upgrade").code == 0

    def only_reads() -> None:
        for statement in READS_ONLY:
            postgres.execute(statement, "readable")
        monkeypatch.setenv("DATABASE_URL", url.replace("postgres@", "reader@"))

    yield only_reads
    postgres.execute("DROP DATABASE readable WITH (FORCE)")
    postgres.execute("DROP ROLE IF EXISTS reader")


REFUSED = "the database refuses us: permission denied for table {}; have the database's owner give this right"


@pytest.mark.postgres
def test_a_replay_that_may_not_be_noted_says_what_to_mend(
    cli: Cli, reader: Callable[[], None], queue_names: dict[str, str]
) -> None:
    letters = Composition(settings.load()).letters
    letters.record(Queue.NOTIFICATION, '{"ProjectId": 1}', "?", "a", datetime.now(UTC))
    reader()
    outcome = cli("dead-letters", "replay", "--all")
    assert outcome.code == 1
    assert f"0 of 1 were dealt with; then {REFUSED.format('dead_letters')}" in outcome.err
    assert "try again" not in outcome.err


@pytest.mark.postgres
def test_a_sync_that_may_not_be_noted_says_what_to_mend(
    cli: Cli, reader: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with AzureSimulator(ChargeBook([charge(FIRST, "die1-dev")])) as simulator:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        monkeypatch.setenv("LOCK_ACTION_GROUP_ID", GROUP)
        cli("projects", "load", write_csv(DIE1))
        reader()
        outcome = cli("budgets", "sync")
    assert outcome.code == 1
    assert f"failed: {REFUSED.format('azure_budgets')}" in outcome.out
    assert "try again" not in outcome.out
