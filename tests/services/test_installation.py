"""How the parts of an installation are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode
from shared.ports.errors import LaterError, NeverError
from shared.services.installation import Finding, Installation
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    yield Chain(database)
    database.close()


@pytest.fixture
def installation(chain: Chain) -> Installation:
    return chain.installation


def found(installation: Installation) -> dict[str, Finding]:
    return {finding.part: finding for finding in installation.findings(str)}


def test_every_part_is_looked_at_and_good(chain: Chain, installation: Installation) -> None:
    chain.load(entry(11, active=False), entry(12))
    parts = found(installation)
    assert list(parts) == ["database", "queues", "Azure", "mail", "lock"]
    assert all(finding.ok for finding in parts.values()), parts
    (query,) = chain.costs.queries
    assert (query.sub_account_id, query.resource_groups, query.window.days) == (SUBSCRIPTION, ("rg-12",), 1)


def test_azure_is_not_asked_before_a_project_is_loaded(chain: Chain, installation: Installation) -> None:
    assert found(installation)["Azure"].text.startswith("not asked: no project is loaded yet")
    assert chain.costs.queries == []


def test_a_part_that_does_not_answer_says_what_may_help_and_one_that_refuses_says_it_itself(
    chain: Chain, installation: Installation
) -> None:
    def away() -> None:
        raise LaterError("the queues do not answer.")

    def refused() -> bool:
        raise NeverError("the login is wrong")

    parts = found(replace(installation, make_queues=away, tables_are_current=refused))
    assert parts["queues"].text.startswith("the queues do not answer; see that DatahubStorageConnectionString is right")
    assert (parts["database"].ok, parts["database"].text) == (False, "the login is wrong")
    assert parts["mail"].ok


def test_old_tables_and_missing_operators_are_told(installation: Installation) -> None:
    nobody = replace(installation.mail, operators=())
    parts = found(replace(installation, tables_are_current=lambda: False, mail=nobody))
    assert "its tables are missing or old" in parts["database"].text
    assert "EMAIL_OPERATORS is empty" in parts["mail"].text
    assert not (parts["database"].ok or parts["mail"].ok)


def test_a_database_whose_readers_and_writers_stop_each_other_is_a_warning(installation: Installation) -> None:
    assert found(installation)["database"].warning is None
    finding = found(replace(installation, reads_snapshots=lambda: False))["database"]
    assert finding.ok
    assert finding.warning is not None
    assert "ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON" in finding.warning


@pytest.mark.parametrize(
    ("mode", "group", "warns"),
    [(LockMode.OFF, None, False), (LockMode.ENFORCE, None, True), (LockMode.ENFORCE, "/group", False)],
)
def test_a_lock_without_a_failsafe_is_a_warning(
    installation: Installation, mode: LockMode, group: str | None, warns: bool
) -> None:
    lock = replace(installation.lock, mode=mode, action_group_id=group)
    finding = found(replace(installation, lock=lock))["lock"]
    assert (finding.ok, finding.warning is not None) == (True, warns)
    assert f"LOCK_MODE is {mode}" in finding.text
