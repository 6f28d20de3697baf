"""What a CloudAccountLedger does: sub-accounts are fed by one cloud account each, which knows whether it works."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, Unicode, column, insert, select, table, update

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import WHOLE, accounts, cloud_accounts, export_feeds, export_runs, exports
from shared.domain.projects import ProjectEntry, Scope
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import OF_FILES, AccountStatus, CloudAccount, ConnectionType
from tests.contracts.ledger_data import NOW, SUB, Ledgers, entry

OTHER = "other-subscription"
CONNECTION = "HETZNER_API"


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def elsewhere(number: int) -> ProjectEntry:
    """A project of a provider without groups."""
    return replace(entry(number), scopes=(Scope("hetzner", f"acc-{number}"),))


def statuses(ledgers: Ledgers) -> list[tuple[str, AccountStatus, str | None]]:
    known = ledgers.cloud_accounts.accounts()
    return [(each.external_account_id, each.status, each.last_sync_error) for each in known]


def set_to(ledgers: Ledgers, cloud_account_id: int, **values: object) -> None:
    this = update(cloud_accounts).where(cloud_accounts.c.id == cloud_account_id)
    ledgers.database.run(lambda connection: connection.execute(this.values(values)))


def feed(ledgers: Ledgers, sub_account_id: str, cloud_account_id: int) -> None:
    this = update(accounts).where(accounts.c.sub_account_id == sub_account_id)
    ledgers.database.run(lambda connection: connection.execute(this.values(cloud_account_id=cloud_account_id)))


def test_subscriptions_register_themselves_as_projects_name_them_and_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.load(entry(3, subscription_id=OTHER), entry(4))
    first, second = ledgers.cloud_accounts.accounts()
    assert first == CloudAccount(
        id=first.id,
        name=SUB,
        organization="default",
        provider=AZURE,
        connection_type=ConnectionType.COST_MANAGEMENT,
        external_account_id=SUB,
        role_arn=None,
        external_id=None,
        detail="service",
        status=AccountStatus.PENDING,
        last_synced_at=None,
        last_sync_error=None,
        last_manual_sync_at=None,
    )
    assert second.external_account_id == OTHER
    assert ledgers.cloud_accounts.get(second.id) == second
    assert ledgers.cloud_accounts.get(99) is None
    assert ledgers.charges.account(AZURE, SUB).cloud_account_id == first.id


def test_accounts_of_other_providers_are_named_by_projects_and_registered_by_people(ledgers: Ledgers) -> None:
    ledgers.load(elsewhere(1))
    assert ledgers.cloud_accounts.accounts() == []
    assert ledgers.charges.account("hetzner", "acc-1").cloud_account_id is None
    ledgers.cloud_accounts.register("hetzner", CONNECTION, ["acc-1", "acc-2"])
    ledgers.cloud_accounts.register("hetzner", CONNECTION, ["acc-2", "acc-3"])
    assert [each.name for each in ledgers.cloud_accounts.accounts()] == ["acc-1", "acc-2", "acc-3"]
    (account,) = ledgers.charges.accounts()
    assert account.cloud_account_id == ledgers.cloud_accounts.accounts()[0].id


def test_what_another_cloud_account_feeds_is_not_registered(ledgers: Ledgers) -> None:
    ledgers.cloud_accounts.register(AZURE, ConnectionType.COST_EXPORT, [SUB])
    ledgers.load(entry(1))
    (exports,) = ledgers.cloud_accounts.accounts()
    assert exports.connection_type == ConnectionType.COST_EXPORT
    assert ledgers.charges.account(AZURE, SUB).cloud_account_id == exports.id


def test_a_sync_that_works_makes_an_account_active_and_one_that_fails_says_why(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, subscription_id=OTHER))
    (sub, _) = ledgers.cloud_accounts.accounts()
    assert statuses(ledgers) == [(SUB, AccountStatus.PENDING, None), (OTHER, AccountStatus.PENDING, None)]
    ledgers.cloud_accounts.mark_failed(sub.id, "no (403)")
    assert statuses(ledgers)[0] == (SUB, AccountStatus.ERROR, "no (403)")
    ledgers.cloud_accounts.mark_synced(sub.id, NOW)
    assert statuses(ledgers) == [(SUB, AccountStatus.ACTIVE, None), (OTHER, AccountStatus.PENDING, None)]
    assert ledgers.cloud_accounts.accounts()[0].last_synced_at == NOW


def test_an_azure_subscription_is_the_same_in_any_spelling_and_another_providers_account_is_not(
    ledgers: Ledgers,
) -> None:
    ledgers.load(entry(1, subscription_id=SUB.upper()))
    ledgers.cloud_accounts.register(AZURE, ConnectionType.COST_MANAGEMENT, [f" {SUB.upper()} ", SUB])
    ledgers.cloud_accounts.register("hetzner", CONNECTION, ["Acc-1"])
    assert [each.external_account_id for each in ledgers.cloud_accounts.accounts()] == [SUB, "Acc-1"]


def test_one_that_is_disabled_stays_so_whatever_comes_of_it(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    (known,) = ledgers.cloud_accounts.accounts()
    set_to(ledgers, known.id, status="disabled")
    ledgers.cloud_accounts.mark_failed(known.id, "no (403)")
    ledgers.cloud_accounts.mark_synced(known.id, NOW)
    assert statuses(ledgers) == [(SUB, AccountStatus.DISABLED, None)]


def test_one_that_can_be_read_again_is_as_it_was_before_it_could_not(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    (known,) = ledgers.cloud_accounts.accounts()
    for status in (AccountStatus.PENDING, AccountStatus.ACTIVE):
        if status is AccountStatus.ACTIVE:
            ledgers.cloud_accounts.mark_synced(known.id, NOW)
        ledgers.cloud_accounts.mark_failed(known.id, "no (403)")
        ledgers.cloud_accounts.mark_readable(known.id)
        assert statuses(ledgers) == [(SUB, status, None)]
    ledgers.cloud_accounts.disable(known.id, "by ann")
    ledgers.cloud_accounts.mark_readable(known.id)
    assert statuses(ledgers) == [(SUB, AccountStatus.DISABLED, None)]


def test_people_group_cloud_accounts_by_a_text(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, subscription_id=OTHER))
    first, _ = ledgers.cloud_accounts.accounts()
    ledgers.cloud_accounts.set_organization(first.id, "Musée")
    assert [each.organization for each in ledgers.cloud_accounts.accounts()] == ["Musée", "default"]


def test_a_sync_by_hand_is_noted_of_those_that_it_was_of(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, subscription_id=OTHER))
    first, _ = ledgers.cloud_accounts.accounts()
    ledgers.cloud_accounts.note_manual_sync([first.id], NOW)
    assert [each.last_manual_sync_at for each in ledgers.cloud_accounts.accounts()] == [NOW, None]


def test_a_long_reason_is_kept_as_far_as_it_fits(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    (known,) = ledgers.cloud_accounts.accounts()
    ledgers.cloud_accounts.mark_failed(known.id, "no " * 1000)
    assert 900 < len(str(statuses(ledgers)[0][2])) <= 1000


def test_the_sub_accounts_of_one_cloud_account(ledgers: Ledgers) -> None:
    ledgers.load(*map(elsewhere, (1, 2, 3)))
    ledgers.cloud_accounts.register("hetzner", CONNECTION, ["acc-1"])
    (payer,) = ledgers.cloud_accounts.accounts()
    feed(ledgers, "acc-3", payer.id)
    assert [each.sub_account_id for each in ledgers.charges.accounts(payer.id)] == ["acc-1", "acc-3"]
    assert [each.sub_account_id for each in ledgers.charges.accounts()] == ["acc-1", "acc-2", "acc-3"]


@pytest.mark.parametrize(
    ("word", "status"),
    [("paused", "error"), ("", "error"), ("ACTIVE", "active"), ("Disabled", "disabled")],
)
def test_a_status_that_somebody_wrote_by_hand_keeps_no_account_from_being_listed(
    ledgers: Ledgers, word: str, status: str
) -> None:
    ledgers.load(entry(1), elsewhere(2))
    (account,) = [each for each in ledgers.cloud_accounts.accounts() if each.provider == AZURE]
    text_of_status = column("status", Unicode())
    this = table("cloud_accounts", text_of_status, column("id")).update()
    by_hand = this.where(column("id") == account.id).values(status=word)
    ledgers.database.run(lambda connection: connection.execute(by_hand))
    assert [found for _, found, _ in statuses(ledgers)] == [status]
    ledgers.cloud_accounts.mark_failed(account.id, "no")
    assert [found for _, found, _ in statuses(ledgers)] == ["disabled" if status == "disabled" else "error"]


def test_a_place_of_exports_is_a_cloud_account_once_and_feeds_nothing_by_itself(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    first = ledgers.cloud_accounts.add_exports(AZURE, "msexports/costs")
    again = ledgers.cloud_accounts.add_exports(AZURE, "msexports/costs")
    other = ledgers.cloud_accounts.add_exports(AZURE, "msexports")
    assert (first == again, first == other) == (True, False)
    (made,) = [each for each in ledgers.cloud_accounts.accounts() if each.id == first]
    assert (made.connection_type, made.name, made.status) == (
        ConnectionType.COST_EXPORT,
        "msexports/costs",
        AccountStatus.PENDING,
    )


def test_one_that_is_disabled_says_why_and_is_pending_once_it_is_enabled(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    (known,) = ledgers.cloud_accounts.accounts()
    ledgers.cloud_accounts.mark_failed(known.id, "no (403)")
    ledgers.cloud_accounts.disable(known.id, "by ann: moved")
    ledgers.cloud_accounts.disable(known.id, "by bob")
    (disabled,) = ledgers.cloud_accounts.accounts()
    assert (disabled.status, disabled.disabled_why) == (AccountStatus.DISABLED, "by ann: moved")
    ledgers.cloud_accounts.enable(known.id)
    assert ledgers.cloud_accounts.accounts() == [known]
    ledgers.cloud_accounts.mark_failed(known.id, "no (403)")
    ledgers.cloud_accounts.enable(known.id)
    assert statuses(ledgers) == [(SUB, AccountStatus.ERROR, "no (403)")], "it was not disabled"


def test_what_was_asked_for_by_one_that_is_removed_nobody_feeds_until_it_is_named_again(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, subscription_id=OTHER))
    (sub, _) = ledgers.cloud_accounts.accounts()
    assert ledgers.cloud_accounts.fed_by(sub.id) == [SUB]
    ledgers.cloud_accounts.remove(sub.id)
    assert statuses(ledgers) == [(OTHER, AccountStatus.PENDING, None)]
    assert ledgers.charges.account(AZURE, SUB).cloud_account_id is None
    ledgers.load(entry(1, subscription_id=SUB, name="Again"))
    assert {each for each, *_ in statuses(ledgers)} == {SUB, OTHER}


def test_what_exports_of_one_that_is_removed_feed_they_go_on_to_feed_and_its_number_is_no_runs(
    ledgers: Ledgers,
) -> None:
    """One container has exports of several providers."""
    ledgers.load(entry(1), elsewhere(2))
    gone = ledgers.cloud_accounts.add_exports(AZURE, "msexports")
    for sub_account in (SUB, "acc-2"):
        feed(ledgers, sub_account, gone)
    ran(ledgers, gone, OTHER)
    assert ledgers.cloud_accounts.fed_by(gone) == sorted([SUB, OTHER, "acc-2"])
    ledgers.cloud_accounts.remove(gone)
    of_files = {each.provider: each for each in ledgers.cloud_accounts.accounts() if each.is_of_files}
    assert {each.external_account_id for each in of_files.values()} == {OF_FILES}
    for provider, sub_account in ((AZURE, SUB), ("hetzner", "acc-2")):
        assert ledgers.charges.account(provider, sub_account).cloud_account_id == of_files[provider].id
    ids = ledgers.database.read(lambda connection: connection.scalars(select(export_runs.c.cloud_account_id)).all())
    assert ids == [None]
    ledgers.cloud_accounts.remove(gone)


def ran(ledgers: Ledgers, cloud_account_id: int, sub_account_id: str) -> None:
    """A run of an export of that account, which feeds a group of a sub-account, and no other of it."""
    export = {"key": "azure:e", "provider": AZURE, "external_id": "e", "name": "e", "dataset": "actual"}
    export |= {"width": 1, "billing_account": "", "found_at": NOW}
    run = {"cloud_account_id": cloud_account_id, "run_id": "1", "place": "p", "container": "c", "content": "x"}
    run |= {"modified_at": NOW, "found_at": NOW, "state": "imported"}
    fed = {"provider": AZURE, "sub_account_id": sub_account_id}

    def write(connection: Connection) -> None:
        made = connection.execute(insert(exports).values(export).returning(exports.c.id)).scalar_one()
        connection.execute(insert(export_runs).values(run | {"export_id": made}))
        connection.execute(insert(export_feeds).values(fed | {"group_key": "rg", "export_id": made}))
        connection.execute(insert(export_feeds).values(fed | {"group_key": WHOLE, "export_id": made + 1}))

    ledgers.database.run(write)


def test_one_that_is_mistyped_is_removed_without_a_trace(ledgers: Ledgers) -> None:
    ledgers.cloud_accounts.remove(ledgers.cloud_accounts.add_exports(AZURE, "msexprots"))
    assert ledgers.cloud_accounts.accounts() == []
