"""CostExportScanner: what is new is queued, and a look that finds nothing opens no database."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import cloud_accounts, export_parts, export_runs, mails
from shared.domain.exports.runs import RunState
from shared.messages import BlobsMessage, Envelope, ManifestMessage, Message, PartMessage, Queue, to_json
from shared.pipeline.exports.seen import CONTAINER as OF_STATE
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.errors import LaterError, NeverError
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import Chain, only
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports

DAY = date(2026, 11, 12)


@pytest.fixture
def blobs(chain: Chain) -> FakeBlobs:
    return with_exports(chain)


def scan(chain: Chain, **how: bool) -> list[Message]:
    """One look, by a process of its own."""
    chain.configure()
    return chain.send(chain.export_scanner.scan(**how))


def manifests(messages: list[Message]) -> list[str]:
    return [each.manifest for each in only(ManifestMessage, messages)]


def opened(chain: Chain) -> list[str]:
    """Fills with the statements that run from now on."""
    statements: list[str] = []
    event.listen(chain.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    return statements


def told(chain: Chain) -> list[Any]:
    """What operators are told, in mails that are made and perhaps not sent."""
    rows = chain.database.read(lambda connection: connection.execute(select(mails.c.context)).all())
    return [row.context for row in rows]


def notices(chain: Chain) -> list[str]:
    """The subjects of that."""
    return [str(each["subject"]) for each in told(chain)]


def the_account(chain: Chain) -> Any:
    (found,) = [each for each in chain.cloud_accounts.accounts() if each.connection_type == ConnectionType.COST_EXPORT]
    return found


def test_the_first_look_makes_a_cloud_account_for_the_container_of_the_settings(chain: Chain, blobs: FakeBlobs) -> None:
    for _ in range(2):
        assert scan(chain, asks=True) == []
    account = the_account(chain)
    assert (account.external_account_id, account.provider, account.status) == (
        CONTAINER,
        "azure",
        AccountStatus.PENDING,
    )


def test_a_new_manifest_is_queued_once(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    (queued,) = scan(chain)
    assert queued == ManifestMessage(place, the_account(chain).id)
    assert [queue for queue, *_ in chain.queues.take()] == [Queue.EXPORT]
    assert scan(chain) == []


@pytest.mark.parametrize("name", ["manifest.json", "_manifest.json", "MANIFEST.JSON", "focus-Manifest.json"])
def test_a_manifest_is_told_by_its_name_in_any_case(chain: Chain, blobs: FakeBlobs, name: str) -> None:
    blobs.put(CONTAINER, f"a/{name}", b"{}")
    blobs.put(CONTAINER, "a/app.json", b"{}")
    assert manifests(scan(chain)) == [f"{CONTAINER}/a/{name}"]


def test_an_idle_look_opens_no_database_and_reads_no_manifest(chain: Chain, blobs: FakeBlobs) -> None:
    """But once a day."""
    Exported(blobs).run([ea("1", DAY)])
    work_off(chain)
    scan(chain)
    statements = opened(chain)
    blobs.asked.clear()
    for _ in range(19):
        chain.clock.forward(hours=1)
        assert scan(chain) == []
    assert statements == []
    assert set(blobs.asked) == {"read", "listed", "write"}
    assert blobs.asked.count("read") == 19, "the state's blob alone"
    chain.clock.forward(hours=1)
    scan(chain)
    assert statements != []


def work_off(chain: Chain) -> None:
    """Looks, and ends the runs that were found, as if their parts could not be read."""
    for message in only(ManifestMessage, scan(chain)):
        chain.work(Queue.EXPORT, to_json(message))
    for record in chain.export_runs.runs(states=[RunState.IMPORTING]):
        chain.export_runs.fail(record.run, "no", chain.clock())
    chain.queues.take()


def test_a_part_that_was_written_anew_under_the_same_manifest_is_seen_by_its_etag(
    chain: Chain, blobs: FakeBlobs
) -> None:
    place = Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)])
    work_off(chain)
    part = place.removeprefix(f"{CONTAINER}/").replace("manifest.json", "part_1.csv")
    blobs.put(CONTAINER, part, blobs.containers[CONTAINER][part][0])
    assert manifests(scan(chain)) == [place]
    assert scan(chain) == []


def test_a_part_that_came_later_is_seen_and_one_that_went_is_nothing_new(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    place = export.run([ea("1", DAY)], [ea("2", DAY)], missing=1)
    assert manifests(scan(chain)) == [place]
    export.catch_up()
    assert manifests(scan(chain)) == [place]
    blobs.delete(CONTAINER, place.removeprefix(f"{CONTAINER}/").replace("manifest.json", "part_0.csv"))
    assert manifests(scan(chain)) == []


def test_a_manifest_that_is_still_empty_is_nothing_yet_and_opens_no_database(chain: Chain, blobs: FakeBlobs) -> None:
    scan(chain)
    blobs.put(CONTAINER, "a/manifest.json", b"")
    statements = opened(chain)
    assert (scan(chain), statements) == ([], [])
    blobs.put(CONTAINER, "a/manifest.json", b"{}")
    assert manifests(scan(chain)) == [f"{CONTAINER}/a/manifest.json"]


def unreadable(blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From now on no manifest can be read."""
    read = blobs.read

    def refuse(container: str, name: str, most: int) -> Any:
        if container == CONTAINER:
            raise error
        return read(container, name, most)

    monkeypatch.setattr(blobs, "read", refuse)


def test_a_manifest_that_can_not_be_read_is_told_once_and_in_the_history_until_it_can(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    with monkeypatch.context() as meanwhile:
        unreadable(blobs, meanwhile, NeverError("the blob is archived"))
        scan(chain)
        statements = opened(chain)
        chain.clock.forward(hours=1)
        assert (scan(chain), statements) == ([], [])
        (record,) = chain.export_runs.runs()
        assert (record.state, record.reason, record.run.place) == (RunState.FAILED, "the blob is archived", place)
        (notice,) = told(chain)
        assert notice["subject"] == f"A manifest can't be read: {record.run.export.name}"
        assert notice["lines"] == [f"{place}: the blob is archived"]
        blobs.delete(OF_STATE, chain.export_seen.name)
        chain.clock.forward(days=1)
        scan(chain)
        assert (len(told(chain)), len(chain.export_runs.runs())) == (1, 1)
        blobs.put(CONTAINER, place.partition("/")[2], b"{}")
        scan(chain)
        assert len(told(chain)) == 2, "another content"
    assert manifests(scan(chain)) == [place]


def test_manifests_that_can_not_be_read_and_those_of_other_programs_are_told_together(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        blobs.put(CONTAINER, f"app-{number}/manifest.json", b"{}")
    with monkeypatch.context() as meanwhile:
        unreadable(blobs, meanwhile, NeverError("the blob is archived"))
        scan(chain)
    assert [len(each["lines"]) for each in told(chain)] == [5]
    chain.send(chain.export_scanner.scan())
    chain.drain()
    assert notices(chain)[1:] == ["A cost export can't be imported: app-4/manifest.json"]
    assert len(chain.export_runs.runs()) == 10


def test_manifests_that_were_told_one_by_one_are_not_told_together_where_that_is_forgotten(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(blobs, monkeypatch, NeverError("the blob is archived"))
    for number in range(3):
        blobs.put(CONTAINER, f"app-{number}/manifest.json", b"{}")
        scan(chain)
    blobs.delete(OF_STATE, chain.export_seen.name)
    blobs.put(CONTAINER, "app-3/manifest.json", b"{}")
    scan(chain)
    assert notices(chain) == [f"A manifest can't be read: app-{number}/manifest.json" for number in range(4)]


def test_who_dies_before_it_is_told_that_a_manifest_can_not_be_read_leaves_nobody_untold(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(CONTAINER, "app/manifest.json", b"{}")
    unreadable(blobs, monkeypatch, NeverError("the blob is archived"))
    with monkeypatch.context() as meanwhile, pytest.raises(MemoryError):
        meanwhile.setattr(type(chain.mails), "add", lambda *_: (_ for _ in ()).throw(MemoryError))
        scan(chain)
    for _ in range(2):
        scan(chain)
    assert notices(chain) == ["A manifest can't be read: app/manifest.json"]


@pytest.mark.parametrize("how", ["removed", "disabled"])
@pytest.mark.parametrize("what", ["a manifest that can't be read", "files of no manifest", "a container that can"])
def test_of_an_account_that_is_gone_or_disabled_nothing_is_told_or_noted_from_then_on(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch, how: str, what: str
) -> None:
    if what == "a container that can":
        blobs.fails = lambda _what: NeverError("it needs the role") if blobs.asked[-1] == "listed" else None
    scan(chain)
    account, before = the_account(chain), notices(chain)
    if how == "disabled":
        set_status(chain, AccountStatus.DISABLED)
    chain.cloud_accounts.add_exports("azure", "elsewhere")
    if how == "removed":
        chain.cloud_accounts.remove(account.id)
    blobs.fails = lambda _what: None
    if what == "files of no manifest":
        blobs.put(CONTAINER, "a/part.csv", b"x")
    else:
        Exported(blobs).run([ea("1", DAY)])
        unreadable(blobs, monkeypatch, NeverError("the blob is archived"))
    chain.export_seen.write(replace(chain.export_seen.read(), looked_at=chain.clock.now + timedelta(hours=25)))
    chain.clock.forward(hours=26)
    assert scan(chain) == []
    assert (notices(chain), chain.export_runs.runs()) == (before, [])
    of_account = [each for each in chain.cloud_accounts.accounts() if each.id == account.id]
    assert of_account == ([replace(account, status=AccountStatus.DISABLED)] if how == "disabled" else [])


def test_what_nobody_looks_at_any_more_is_not_told_as_silent(chain: Chain, blobs: FakeBlobs) -> None:
    Exported(blobs).run([ea("1", DAY)])
    chain.send(chain.export_scanner.scan())
    chain.drain()
    set_status(chain, AccountStatus.DISABLED)
    chain.clock.forward(days=5)
    scan(chain)
    assert notices(chain) == []
    set_status(chain, AccountStatus.ACTIVE)
    chain.clock.forward(days=1)
    scan(chain)
    assert notices(chain) == ["No new run of the cost export daily"]


def test_a_manifest_that_stays_empty_is_told_after_a_day(chain: Chain, blobs: FakeBlobs) -> None:
    blobs.put(CONTAINER, "a/manifest.json", b"")
    scan(chain)
    assert told(chain) == []
    chain.clock.forward(hours=25)
    for _ in range(2):
        scan(chain)
    place = f"{CONTAINER}/a/manifest.json"
    assert [each["lines"] for each in told(chain)] == [[f"{place}: {place} is still empty"]]
    blobs.put(CONTAINER, "a/manifest.json", b"{}")
    assert manifests(scan(chain)) == [f"{CONTAINER}/a/manifest.json"]


def test_what_a_manifest_may_name_that_can_not_be_read_now_is_told_by_no_look(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    chain.clock.forward(days=2)
    with monkeypatch.context() as meanwhile:
        unreadable(blobs, meanwhile, LaterError("503"))
        assert manifests(scan(chain)) == []
    assert manifests(scan(chain)) == [place]
    assert told(chain) == []


def test_the_newest_manifest_is_queued_first(chain: Chain, blobs: FakeBlobs) -> None:
    export, places = Exported(blobs), []
    for _ in range(3):
        places.append(export.run([ea("1", DAY)]))
        chain.clock.forward(hours=1)
    assert manifests(scan(chain)) == places[::-1]


def test_the_widest_is_queued_before_the_newest(chain: Chain, blobs: FakeBlobs) -> None:
    """It is to feed what both hold."""
    billing = "/providers/Microsoft.Billing/billingAccounts/1/providers/Microsoft.CostManagement/exports/wide"
    config = {"exportName": "wide", "resourceId": billing, "type": "ActualCost", "dataVersion": "2021-10-01"}
    wide = Exported(blobs, name="wide").run([ea("1", DAY)], changes={"exportConfig": config})
    chain.clock.forward(hours=1)
    narrow = Exported(blobs).run([ea("1", DAY)])
    assert manifests(scan(chain)) == [wide, narrow]


def test_what_a_look_has_no_time_for_the_next_one_finds(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    places = {export.run([ea("1", DAY)]) for _ in range(5)}
    looked = chain.clock.now

    def slow(what: str) -> None:
        if what == "read":
            chain.clock.forward(minutes=1)

    blobs.fails = slow
    first, second = manifests(scan(chain)), manifests(scan(chain))
    assert len(first) < 5 and set(first + second) == places
    assert chain.clock.now > looked


def test_a_disabled_account_is_not_looked_at_and_is_again_once_it_is_enabled(chain: Chain, blobs: FakeBlobs) -> None:
    scan(chain)
    set_status(chain, AccountStatus.DISABLED)
    place = Exported(blobs).run([ea("1", DAY)])
    assert scan(chain) == [], "though the look before knew the account as one to look at"
    set_status(chain, AccountStatus.ACTIVE)
    assert manifests(scan(chain, asks=True)) == [place]


def set_status(chain: Chain, status: AccountStatus) -> None:
    this = update(cloud_accounts).where(cloud_accounts.c.id == the_account(chain).id)
    chain.database.run(lambda connection: connection.execute(this.values(status=status)))


def test_an_account_of_a_folder_is_for_that_folder_and_the_nearest_one_counts(chain: Chain, blobs: FakeBlobs) -> None:
    chain.cloud_accounts.add_exports("azure", f"{CONTAINER}/costs")
    inside, outside = Exported(blobs).run([ea("1", DAY)]), Exported(blobs, folder="costs2").run([ea("1", DAY)])
    assert manifests(scan(chain)) == [inside]
    another = {"provider": "azure", "connection_type": "COST_EXPORT", "external_account_id": CONTAINER, "name": "all"}
    more = another | {"organization": "default", "detail": "service", "status": AccountStatus.PENDING}
    chain.database.run(lambda connection: connection.execute(cloud_accounts.insert().values(more)))
    assert manifests(scan(chain, asks=True)) == [outside]


def test_what_lies_in_the_folder_of_a_disabled_account_is_no_other_account_s(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    chain.cloud_accounts.add_exports("azure", f"{CONTAINER}/costs")
    set_status(chain, AccountStatus.DISABLED)
    chain.cloud_accounts.add_exports("azure", CONTAINER)
    assert scan(chain) == []
    assert chain.work(Queue.EXPORT, to_json(BlobsMessage((place,)))) == []
    this = update(cloud_accounts).values(status=AccountStatus.PENDING)
    chain.database.run(lambda connection: connection.execute(this))
    assert manifests(scan(chain, asks=True)) == [place]


def test_a_run_whose_parts_are_cleared_away_is_no_new_one(chain: Chain, blobs: FakeBlobs) -> None:
    """Those of an old run go before its manifest; and whoever looks may have forgotten what was seen."""
    export = Exported(blobs)
    place = export.run([ea("1", DAY)], [ea("2", DAY)])
    chain.send(chain.export_scanner.scan())
    chain.drain()
    part = place.partition("/")[2].replace("manifest.json", "part_1.csv")
    content = blobs.containers[CONTAINER][part][0]
    blobs.delete(CONTAINER, part)
    assert scan(chain) == []
    blobs.delete(OF_STATE, chain.export_seen.name)
    chain.send(chain.export_scanner.scan())
    chain.drain()
    assert [each.state for each in chain.export_runs.runs()] == [RunState.IMPORTED]
    blobs.put(CONTAINER, part, content)
    assert manifests(scan(chain)) == [place], "it was written anew"


@pytest.mark.parametrize(
    ("amount", "kind", "state"),
    [("x", "ActualCost", RunState.FAILED), ("1", "AmortizedCost", RunState.NOT_USED), ("1", "PriceSheet", "no costs")],
)
def test_whatever_became_of_a_run_whose_parts_are_cleared_away_it_is_no_new_one(
    chain: Chain, blobs: FakeBlobs, amount: str, kind: str, state: RunState
) -> None:
    """Nor does one go on waiting that the version before had found there."""
    place = Exported(blobs, kind=kind).run([ea(amount, DAY)], [ea("2", DAY)])
    look(chain)
    history, subjects = chain.export_runs.runs(), notices(chain)
    assert [each.state for each in history] == [state]
    blobs.delete(CONTAINER, place.partition("/")[2].replace("manifest.json", "part_0.csv"))
    (account,) = chain.export_seen.read().places
    found = chain.export_finder.run_at(account, place.partition("/")[2])
    if found.waiting:
        chain.export_runs.register(found, chain.clock())
    blobs.delete(OF_STATE, chain.export_seen.name)
    look(chain)
    assert (chain.export_runs.runs(), notices(chain)) == (history, subjects)


def look(chain: Chain) -> None:
    """One look, and all that follows."""
    scan(chain)
    chain.drain()


def test_a_manifest_that_is_gone_is_forgotten(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    work_off(chain)
    for name in list(blobs.containers[CONTAINER]):
        blobs.delete(CONTAINER, name)
    assert scan(chain) == []
    state = json.loads(gzip.decompress(blobs.containers[OF_STATE][chain.export_seen.name][0]))
    assert place not in state["manifests"]


# --- where nothing can be kept -------------------------------------------------------------------------------


def test_where_the_state_can_not_be_kept_each_look_goes_by_the_database_and_it_is_told_once(
    chain: Chain, blobs: FakeBlobs
) -> None:
    blobs.fails = lambda what: NeverError("no role") if what == "write" else None
    Exported(blobs).run([ea("1", DAY)])
    work_off(chain)
    assert scan(chain) == scan(chain) == [], "the run is known, by its content"
    assert notices(chain).count("The scanner of cost exports keeps nothing") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"places": [{"cloud_account_id": 1, "provider": "azure", "container": 5, "folder": "", "is_asked": True}]},
        {"places": [{"cloud_account_id": "1", "provider": "azure", "container": "c", "folder": "", "is_asked": True}]},
        {"places": ["msexports"]},
        {"manifests": {"msexports/a/manifest.json": "x"}},
        {"manifests": {"msexports/a/manifest.json": [["a"], "x", 1, 1, 1, 0]}},
        {"manifests": {"msexports/a/manifest.json": [["a"], "x", "e", 1, 1, None]}},
        {"manifests": {"msexports/a/manifest.json": [["a"], "x", "e"]}},
    ],
)
def test_a_state_of_another_type_stops_no_look(chain: Chain, blobs: FakeBlobs, changed: dict[str, Any]) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    scan(chain)
    state = json.loads(gzip.decompress(blobs.containers[OF_STATE][chain.export_seen.name][0]))
    blobs.put(OF_STATE, chain.export_seen.name, gzip.compress(json.dumps(state | changed).encode()))
    assert manifests(scan(chain)) == [place]


BROKEN = [b"", b"no gzip", *map(gzip.compress, (b"{", b"{}", b"[1]", b'{"version": 9}', b"\x80"))]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_state_that_can_not_be_read_is_as_good_as_none(chain: Chain, blobs: FakeBlobs, content: bytes) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    scan(chain)
    blobs.put(OF_STATE, chain.export_seen.name, content)
    assert manifests(scan(chain)) == [place]


@pytest.mark.parametrize("looked_at", ["2026-11-01T00:00:00", "2126-11-20T00:00:00+00:00"])
def test_a_state_of_no_zone_or_of_the_future_stops_no_look(chain: Chain, blobs: FakeBlobs, looked_at: str) -> None:
    scan(chain)
    state = json.loads(gzip.decompress(blobs.containers[OF_STATE][chain.export_seen.name][0]))
    changed = json.dumps(state | {"looked_at": looked_at}).encode()
    blobs.put(OF_STATE, chain.export_seen.name, gzip.compress(changed))
    statements = opened(chain)
    scan(chain)
    assert statements != []


def test_after_a_database_was_restored_what_it_no_longer_knows_is_queued_again(chain: Chain, blobs: FakeBlobs) -> None:
    export = Exported(blobs)
    export.run([ea("1", DAY)])
    work_off(chain)
    place = export.run([ea("2", DAY)])
    for message in only(ManifestMessage, scan(chain)):
        chain.work(Queue.EXPORT, to_json(message))
    scan(chain)
    latest = chain.export_runs.runs(limit=1)[0].id
    chain.database.run(lambda on: on.execute(export_parts.delete().where(export_parts.c.run_id == latest)))
    chain.database.run(lambda on: on.execute(export_runs.delete().where(export_runs.c.id == latest)))
    chain.clock.forward(days=1)
    assert manifests(scan(chain)) == [place]


def test_after_a_restore_runs_that_had_ended_are_queued_again_and_nothing_is_told(
    chain: Chain, blobs: FakeBlobs
) -> None:
    places = []
    for _ in range(3):
        places.append(Exported(blobs, name=f"daily-{len(places)}").run([ea("1", DAY)]))
        work_off(chain)
        chain.clock.forward(days=1)
        scan(chain)
    chain.database.run(lambda on: on.execute(export_parts.delete()))
    chain.database.run(lambda on: on.execute(export_runs.delete().where(export_runs.c.id > 1)))
    subjects = notices(chain)
    chain.clock.forward(days=4)
    assert sorted(manifests(scan(chain))) == places[1:]
    assert notices(chain) == subjects


def test_a_manifest_whose_message_was_lost_is_queued_again_within_three_hours(chain: Chain, blobs: FakeBlobs) -> None:
    """As where the queues were moved. No database is opened for it once the history has it."""
    place = Exported(blobs).run([ea("1", DAY)])
    assert manifests(scan(chain)) == [place]
    asked = []
    for _ in range(3):
        chain.clock.forward(hours=1)
        asked.append(manifests(scan(chain)))
    assert asked == [[], [], [place]]
    chain.work(Queue.EXPORT, to_json(ManifestMessage(place)))
    chain.export_runs.fail(chain.export_runs.runs()[0].run, "no", chain.clock())
    scan(chain)
    statements = opened(chain)
    chain.clock.forward(hours=3)
    assert (scan(chain), statements) == ([], [])


def test_a_manifest_whose_message_is_lost_each_time_is_queued_again_ever_more_rarely(
    chain: Chain, blobs: FakeBlobs
) -> None:
    """Nobody knows whether it is lost: a copy of a run is nothing in the history, either."""
    Exported(blobs).run([ea("1", DAY)])
    work_off(chain)
    export = Exported(blobs, folder="others")
    place = export.run([ea("1", DAY)], run_id="lost")
    began, asked = chain.clock.now, []
    for _ in range(24 * 8):
        asked += [(chain.clock.now - began) // timedelta(hours=1) for each in manifests(scan(chain)) if each == place]
        chain.clock.forward(hours=1)
    assert asked == [0, 3, 40, 100]


@pytest.mark.parametrize("again", [False, True])
def test_what_the_version_before_has_seen_is_known(chain: Chain, blobs: FakeBlobs, again: bool) -> None:
    Exported(blobs).run([ea("1", DAY)])
    scan(chain)
    state = json.loads(gzip.decompress(blobs.containers[OF_STATE][chain.export_seen.name][0]))
    (seen,) = state["manifests"].values()
    seen[5] = again
    blobs.put(OF_STATE, chain.export_seen.name, gzip.compress(json.dumps(state).encode()))
    assert scan(chain) == []


def test_another_installation_that_reads_the_same_exports_has_seen_nothing(
    chain: Chain, blobs: FakeBlobs, sqlite_url: str
) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    scan(chain)
    staging = chain.parts["database"] = Database(sqlite_url)
    assert manifests(scan(chain)) == [place]
    assert len(blobs.containers[OF_STATE]) == 2
    staging.close()


def test_a_message_that_could_not_be_sent_is_sent_by_the_next_look(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    scan_first = chain.export_scanner.scan()
    chain.queues.fails = lambda: LaterError("away")
    with pytest.raises(LaterError):
        chain.send(scan_first)
    chain.queues.fails = lambda: None
    assert manifests(scan(chain)) == [place]


# --- what operators are told ---------------------------------------------------------------------------------


def test_files_that_no_manifest_names_are_told_once_when_they_are_a_day_old(chain: Chain, blobs: FakeBlobs) -> None:
    Exported(blobs).run([ea("1", DAY)])
    for name in ("lost/part.csv", "lost/b.CSV.gz", "readme.txt"):
        blobs.put(CONTAINER, name, b"x")
    scan(chain)
    chain.clock.forward(hours=23)
    scan(chain)
    assert f"Files that no manifest names: {CONTAINER}" not in notices(chain)
    chain.clock.forward(hours=2)
    for _ in range(2):
        scan(chain)
    assert notices(chain).count(f"Files that no manifest names: {CONTAINER}") == 1
    (notice,) = told(chain)
    assert notice["lines"] == ["lost/b.CSV.gz", "lost/part.csv"]
    assert f"exports import {CONTAINER}/lost/b.CSV.gz" in notice["advice"]


def test_files_are_not_told_again_where_it_is_forgotten_that_they_were(chain: Chain, blobs: FakeBlobs) -> None:
    for name in ("lost/a.csv", "lost/b.csv"):
        blobs.put(CONTAINER, name, b"x")
        chain.clock.forward(days=7)
        scan(chain)
    assert len(told(chain)) == 2
    blobs.delete(OF_STATE, chain.export_seen.name)
    scan(chain)
    assert len(told(chain)) == 2


def test_files_are_told_though_a_manifest_beside_them_can_never_be_read(chain: Chain, blobs: FakeBlobs) -> None:
    blobs.put(CONTAINER, "a/manifest.json", b"")
    blobs.put(CONTAINER, "lost/a.csv", b"x")
    chain.clock.forward(days=2)
    scan(chain)
    assert sorted(notices(chain)) == [
        "A manifest can't be read: a/manifest.json",
        f"Files that no manifest names: {CONTAINER}",
    ]


def test_where_files_that_no_manifest_names_come_each_day_they_are_told_once_a_week(
    chain: Chain, blobs: FakeBlobs
) -> None:
    for number in range(21):
        blobs.put(CONTAINER, f"legacy/{number:02}.csv", b"x")
        chain.clock.forward(days=1)
        scan(chain)
    listed = [notice["lines"] for notice in told(chain)]
    assert len(listed) in (3, 4), "by the weeks of the calendar"
    everything = [name for lines in listed for name in lines]
    assert len(set(everything)) == len(everything), "and each file once"


def test_a_file_that_is_called_as_a_part_in_another_container_is_named_by_none(chain: Chain, blobs: FakeBlobs) -> None:
    part = Exported(blobs).run([ea("1", DAY)]).removeprefix(f"{CONTAINER}/").replace("manifest.json", "part_0.csv")
    for container in (CONTAINER, "other"):
        chain.cloud_accounts.add_exports("azure", container)
    blobs.put("other", part, b"x")
    scan(chain)
    chain.clock.forward(days=2)
    scan(chain)
    assert "Files that no manifest names: other" in notices(chain)


def test_a_container_that_can_not_be_read_is_told_once_a_day_and_the_account_says_why(
    chain: Chain, blobs: FakeBlobs
) -> None:
    blobs.fails = lambda what: NeverError("it needs a role") if what == "listed" else None
    for _ in range(3):
        scan(chain)
        chain.clock.forward(hours=1)
    assert notices(chain) == [f"Cost exports can't be read: {CONTAINER}"]
    account = the_account(chain)
    assert (account.status, account.last_sync_error) == (AccountStatus.ERROR, "it needs a role")
    chain.clock.forward(days=1)
    scan(chain)
    assert len(notices(chain)) == 2


def test_an_account_whose_container_can_be_read_again_is_as_it_was(chain: Chain, blobs: FakeBlobs) -> None:
    for synced, status in ((False, AccountStatus.PENDING), (True, AccountStatus.ACTIVE)):
        if synced:
            chain.cloud_accounts.mark_synced(the_account(chain).id, chain.clock())
        blobs.fails = lambda what: NeverError("it needs a role") if what == "listed" else None
        scan(chain)
        assert the_account(chain).status is AccountStatus.ERROR
        blobs.fails = lambda _what: None
        scan(chain)
        assert (the_account(chain).status, the_account(chain).last_sync_error) == (status, None)
        chain.clock.forward(days=1)


def test_a_folder_that_can_not_be_read_is_told_once_a_day_though_others_of_its_container_can(
    chain: Chain, blobs: FakeBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b", "c"):
        chain.cloud_accounts.add_exports("azure", f"{CONTAINER}/{folder}")
    listed = blobs.listed

    def refuse(container: str, folder: str = "") -> Any:
        if folder != "c":
            raise NeverError("it needs a role")
        return listed(container, folder)

    monkeypatch.setattr(blobs, "listed", refuse)
    scan(chain)
    assert [each.last_sync_error for each in chain.cloud_accounts.accounts()] == ["it needs a role"] * 2 + [None]
    statements = opened(chain)
    chain.clock.forward(hours=1)
    scan(chain)
    assert statements == []


def test_storage_that_can_not_be_reached_for_a_day_is_told_once_a_day_until_it_can(
    chain: Chain, blobs: FakeBlobs
) -> None:
    scan(chain)
    for _ in range(2):
        blobs.fails = lambda what: LaterError("its name is not known") if what == "listed" else None
        for _ in range(24):
            scan(chain)
            chain.clock.forward(hours=1)
        assert (notices(chain), the_account(chain).status) == ([], AccountStatus.PENDING)
        blobs.fails = lambda _what: None
        scan(chain)
    blobs.fails = lambda what: LaterError("its name is not known") if what == "listed" else None
    for _ in range(48):
        scan(chain)
        chain.clock.forward(hours=1)
    scan(chain)
    assert notices(chain) == [f"Cost exports can't be read: {CONTAINER}"] * 2
    assert the_account(chain).last_sync_error == "its name is not known"
    blobs.fails = lambda _what: None
    scan(chain)
    assert (the_account(chain).status, the_account(chain).last_sync_error) == (AccountStatus.PENDING, None)


def test_where_what_was_seen_can_not_be_reached_either_the_last_import_says_since_when(
    chain: Chain, blobs: FakeBlobs
) -> None:
    """As where the account's name is gone. Each look is of a process of its own, which knows of no other."""
    scan(chain)
    chain.cloud_accounts.mark_synced(the_account(chain).id, chain.clock())
    blobs.fails = lambda _what: LaterError("its name is not known")
    for _ in range(2):
        chain.clock.forward(hours=23)
        scan(chain)
    assert notices(chain) == []
    chain.clock.forward(hours=2)
    scan(chain)
    assert notices(chain) == [f"Cost exports can't be read: {CONTAINER}"]
    assert the_account(chain).last_sync_error == "its name is not known"


def test_a_container_that_is_away_is_looked_at_by_the_next_look(chain: Chain, blobs: FakeBlobs) -> None:
    place = Exported(blobs).run([ea("1", DAY)])
    blobs.fails = lambda what: LaterError("503") if what == "listed" else None
    assert scan(chain) == []
    blobs.fails = lambda _what: None
    assert manifests(scan(chain)) == [place]


# --- what got stuck ------------------------------------------------------------------------------------------


def test_a_run_whose_messages_were_lost_is_picked_up_once_nothing_was_read_of_it_for_an_hour(
    chain: Chain, blobs: FakeBlobs
) -> None:
    Exported(blobs).run([ea("1", DAY)], [ea("2", DAY)])
    (message,) = scan(chain)
    chain.work(Queue.EXPORT, to_json(message))
    chain.queues.take()
    assert scan(chain) == []
    (record,) = chain.export_runs.runs()
    assert scan(chain) == [PartMessage(record.id, number, record.run.content) for number in (0, 1)]
    chain.export_runs.fail(record.run, "no", chain.clock())
    assert scan(chain) == scan(chain) == []


def test_a_run_that_waits_for_parts_is_looked_at_once_a_day_until_its_manifest_is_gone(
    chain: Chain, blobs: FakeBlobs
) -> None:
    place = Exported(blobs).run([ea("1", DAY)], missing=1)
    (message,) = scan(chain)
    chain.work(Queue.EXPORT, to_json(message))
    assert scan(chain) == []
    chain.clock.forward(days=1)
    assert manifests(scan(chain)) == [place]
    blobs.delete(CONTAINER, place.removeprefix(f"{CONTAINER}/"))
    chain.clock.forward(days=1)
    assert scan(chain) == []
    (record,) = chain.export_runs.runs()
    assert (record.state, record.reason) == (
        RunState.FAILED,
        "Its manifest is gone, and not all of its parts were there before.",
    )


def test_a_run_that_another_began_and_left_is_picked_up_within_the_day(chain: Chain, blobs: FakeBlobs) -> None:
    """As `exports import` that was killed, or a message sent again by hand that was lost."""
    place = Exported(blobs).run([ea("1", DAY)])
    work_off(chain)
    scan(chain)
    (record,) = chain.export_runs.runs()
    chain.work(Queue.EXPORT, to_json(ManifestMessage(place, envelope=Envelope(replayed=True))))
    chain.queues.take()
    messages = []
    for _ in range(22):
        chain.clock.forward(hours=1)
        messages += scan(chain)
    assert PartMessage(record.id, 0, record.run.content) in messages


def test_what_nobody_has_heard_of_is_looked_at_once_a_day_however_often_there_is_something_new(
    chain: Chain, blobs: FakeBlobs
) -> None:
    waiting, alive = Exported(blobs, name="waiting"), Exported(blobs, name="alive")
    place = waiting.run([ea("1", DAY)], missing=1)
    (message,) = scan(chain)
    chain.work(Queue.EXPORT, to_json(message))
    other = alive.run([ea("1", DAY)])
    chain.clock.forward(hours=12)
    (message,) = scan(chain)
    assert isinstance(message, ManifestMessage) and message.manifest == other
    chain.work(Queue.EXPORT, to_json(message))
    other = alive.run([ea("1", DAY)])
    chain.clock.forward(hours=12)
    assert manifests(scan(chain)) == [place, other]


def test_without_storage_nothing_is_done(chain: Chain) -> None:
    chain.parts["database"] = None
    chain.configure()
    assert list(chain.scan_exports()) == []
