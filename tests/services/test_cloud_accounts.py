"""Cloud accounts that people disable, enable and remove."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from shared.adapters.database.engine import Database
from shared.domain.exports.runs import RunState
from shared.messages import Queue, to_json
from shared.ports.cloud_accounts import OF_FILES, AccountStatus
from shared.ports.errors import NeverError
from shared.services.errors import RequestError
from tests.aws_worlds import ACCOUNT, OTHER, cloud_account
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports
from tests.pipeline.test_export_scanner import manifests, notices, scan, the_account
from tests.services.test_export_import import imported, stored, write

DAY = date(2026, 11, 12)


@pytest.fixture
def chain(fresh_database: Callable[[], Database]) -> Chain:
    return Chain(fresh_database())


@pytest.fixture
def blobs(chain: Chain) -> FakeBlobs:
    return with_exports(chain)


def test_a_disabled_subscription_is_left_out_of_the_night_and_read_again_once_it_is_enabled(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", DAY)
    chain.cloud_account_service.disable(1, "ann", "it moves")
    (account,) = chain.cloud_accounts.accounts()
    assert (account.status, account.disabled_why) == (AccountStatus.DISABLED, "by ann on 2026-11-20: it moves")
    assert chain.tonight() == 0
    assert chain.cloud_account_service.enable(1).account.status is AccountStatus.PENDING
    chain.clock.forward(days=1)
    chain.night()
    assert chain.spent() == 5


def test_exports_of_a_disabled_account_are_found_once_it_is_enabled_and_what_was_imported_stays(
    chain: Chain, blobs: FakeBlobs
) -> None:
    export = Exported(blobs)
    export.run([ea("1", DAY)])
    chain.send(chain.export_scanner.scan())
    chain.drain()
    chain.cloud_account_service.disable(the_account(chain).id, "ann")
    place = export.run([ea("2", DAY)])
    assert manifests(scan(chain)) == []
    assert len(stored(chain)) == 1
    chain.cloud_account_service.enable(the_account(chain).id)
    assert manifests(scan(chain, asks=True)) == [place]


def test_a_run_that_waits_in_a_disabled_or_removed_account_becomes_no_dead_letter(
    chain: Chain, blobs: FakeBlobs
) -> None:
    Exported(blobs).run([ea("1", DAY)], missing=1)
    (message,) = scan(chain)
    chain.work(Queue.EXPORT, to_json(message))
    chain.work_off(hours=4)
    service, account = chain.cloud_account_service, the_account(chain)
    service.disable(account.id, "ann")
    chain.clock.forward(days=1)
    assert scan(chain) == []
    assert [each.state for each in chain.export_runs.runs()] == [RunState.WAITING]
    chain.cloud_accounts.add_exports("azure", "other")
    service.remove(account.id)
    chain.clock.forward(days=1)
    assert manifests(scan(chain)) == []
    (record,) = chain.export_runs.runs()
    assert (record.state, record.reason) == (
        RunState.FAILED,
        "Its cloud account was removed before all of its parts were there.",
    )
    assert chain.letters.letters() == []


def test_a_mistyped_place_is_told_until_it_is_removed_and_not_after(chain: Chain, blobs: FakeBlobs) -> None:
    number = chain.cloud_accounts.add_exports("azure", "msexprots")
    chain.clock.forward(hours=10)
    scan(chain)
    chain.cloud_account_service.remove(number)
    # Another day, and the look asks the database for nothing else.
    chain.clock.forward(hours=13)
    scan(chain)
    assert notices(chain).count("Cost exports can't be read: msexprots") == 1
    assert [each.external_account_id for each in chain.cloud_accounts.accounts()] == [CONTAINER]


def test_what_registers_itself_again_is_said(chain: Chain, blobs: FakeBlobs) -> None:
    chain.load(entry())
    scan(chain)
    service = chain.cloud_account_service
    own, query = the_account(chain), chain.cloud_accounts.accounts()[0]
    assert "COST_EXPORT_CONTAINER names it" in str(service.shown(own.id).comes_back)
    assert "load of a project" in str(service.shown(query.id).comes_back)
    service.remove(own.id)
    scan(chain, asks=True)
    assert the_account(chain).external_account_id == CONTAINER
    further = chain.cloud_accounts.add_exports("azure", "other")
    assert service.shown(further).comes_back is service.shown(the_account_of(chain, CONTAINER)).comes_back is None


def the_account_of(chain: Chain, place: str) -> int:
    (found,) = [each.id for each in chain.cloud_accounts.accounts() if each.external_account_id == place]
    return found


def test_the_account_of_files_is_neither_enabled_nor_removed_while_it_feeds(chain: Chain, tmp_path: object) -> None:
    imported(chain, write(tmp_path / "a.csv", ea("1", DAY)))  # type: ignore[operator]
    service, number = chain.cloud_account_service, the_account_of(chain, OF_FILES)
    assert service.shown(number).sub_accounts == (SUBSCRIPTION,)
    for refused, said in (
        (lambda: service.enable(number), "nobody can look for more"),
        (lambda: service.remove(number), "`exports use` gives those to another"),
        (lambda: service.disable(number, "ann"), "is disabled already"),
        (lambda: service.shown(99), "there is no cloud account 99"),
    ):
        with pytest.raises(RequestError, match=said):
            refused()


def test_what_was_imported_by_hand_keeps_no_container_from_being_looked_at(chain: Chain, tmp_path: object) -> None:
    """One may be called `files`, and the first one registers itself though a file was imported before."""
    imported(chain, write(tmp_path / "a.csv", ea("1", DAY)))  # type: ignore[operator]
    blobs = with_exports(chain)
    place = Exported(blobs).run([ea("1", DAY)])
    assert manifests(scan(chain)) == [place]
    blobs.put("files", "x.txt", b"x")
    chain.cloud_account_service.add_exports("files")
    place = Exported(blobs, container="files").run([ea("1", DAY)])
    assert manifests(scan(chain, asks=True)) == [place]


def test_a_disabled_subscription_is_given_back_to_the_query_only_where_an_order_names_it(
    chain: Chain, blobs: FakeBlobs
) -> None:
    chain.load(entry())
    Exported(blobs).run([ea("1", DAY)])
    chain.send(chain.export_scanner.scan())
    chain.drain()
    history = chain.export_history
    history.use(history.order("daily"), "ann")
    chain.cloud_account_service.disable(1, "ann")
    assert history.use(history.order("query"), "ann").handovers == ()
    assert chain.tonight() == 0
    assert len(history.use(history.order("query", SUBSCRIPTION), "ann").handovers) == 1
    assert chain.cloud_accounts.get(1).status is AccountStatus.PENDING
    chain.clock.forward(days=1)
    assert chain.tonight() == 1


def test_a_reason_that_can_not_be_kept_disables_nothing(chain: Chain) -> None:
    chain.load(entry())
    with pytest.raises((RequestError, NeverError)):
        chain.cloud_account_service.disable(1, "ann", "a\x00b")
    assert chain.cloud_accounts.accounts()[0].status is AccountStatus.PENDING


def test_an_aws_account_that_a_payer_reads_since_it_was_disabled_is_not_enabled_beside_that(chain: Chain) -> None:
    one, payer = (chain.cloud_accounts.add(cloud_account(each, name=each)) for each in (ACCOUNT, OTHER))
    chain.payers.adopt(one, "aws", [ACCOUNT])
    chain.cloud_account_service.disable(one, "ann")
    chain.payers.adopt(payer, "aws", [ACCOUNT])
    with pytest.raises(RequestError, match=rf"{ACCOUNT} is read already, by cloud account {payer} \({OTHER}\)"):
        chain.cloud_account_service.enable(one)
    assert chain.cloud_accounts.get(one).status is AccountStatus.DISABLED
    chain.cloud_account_service.disable(payer, "ann")
    assert chain.cloud_account_service.enable(one).account.status is AccountStatus.PENDING
