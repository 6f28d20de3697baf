"""What an ExportLedger does with what was found: a run is imported once, and part by part, in whatever order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from sqlalchemy import func, select

from shared.adapters.database.engine import Database
from shared.adapters.database.export_sums import bucket_of, kept_sums
from shared.adapters.database.exports import SqlExports
from shared.adapters.database.tables import export_parts, export_sums
from shared.domain.exports.runs import Blob, Dataset, Export, ExportRun, Found, RunState, Width, content_of
from shared.domain.exports.sums import Row, Sums, added, sums_of
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.export_runs import NewRun, RunPart

NOW = datetime(2026, 9, 21, 4, 15, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAILY = Export("azure", "/subscriptions/7F0C/exports/Daily", "Daily", Dataset.ACTUAL, Width.SUB_ACCOUNT, "42")
SEPTEMBER = Period(date(2026, 9, 1), date(2026, 9, 21))


@pytest.fixture
def ledger(database: Database) -> SqlExports:
    return SqlExports(database)


def found(name: str = "one", parts: int = 1, export: Export = DAILY, **changes: object) -> NewRun:
    """A run whose content is told by its name."""
    blobs = [Blob(100 + number, f"{name} {number}") for number in range(parts)]
    run = ExportRun(
        *(export, f"run {name}", f"costs/{name}/manifest.json", NOW - HOUR, NOW, 0, SEPTEMBER),
        content_of(name, [each.etag for each in blobs]),
    )
    of_run = {key: changes.pop(key) for key in ("run_id", "place", "content", "days") if key in changes}
    listed = tuple(RunPart(number, f"costs/{name}/{number}.csv", blob, 10) for number, blob in enumerate(blobs))
    return replace(NewRun(replace(run, **of_run), 7, "msexports", listed), **changes)  # type: ignore[arg-type]


def row(day: int = 3, cost: str = "1.5", sub: str = "7F0C", group: str = "RG") -> Row:
    return Row(sub, group, date(2026, 9, day), "Storage", "CAD", None, Decimal(cost))


def sums(*rows: Row) -> Sums:
    return sums_of(rows, DAILY)


def staged(ledger: SqlExports, run_id: int, *, of: Iterable[str] = ("7f0c",)) -> Sums:
    """What is kept of a run, of these sub-accounts."""
    buckets = sorted({bucket_of("azure", each) for each in of})
    kept = ledger.database.read(lambda connection: [kept_sums(connection, run_id, each) for each in buckets])
    return added(sums for by_account in kept for sums in by_account.values())


def rows_in(ledger: SqlExports, table: object) -> int:
    counted = select(func.count()).select_from(table)  # type: ignore[arg-type]
    return ledger.database.read(lambda connection: connection.scalar(counted)) or 0


# --- what is found -------------------------------------------------------------------------------------------


def test_a_run_that_is_found_is_imported_and_kept_as_it_was_found(ledger: SqlExports) -> None:
    this = found(parts=2)
    is_new, record = ledger.register(this, NOW)
    assert (is_new, record.state, record.started_at) == (Found.NEW, RunState.IMPORTING, NOW)
    assert record.run == replace(this.run, found=record.id)
    assert (record.cloud_account_id, record.container, record.found_at) == (7, "msexports", NOW)
    assert (record.parts, record.staged, record.rows, record.size, record.totals) == (2, 0, 20, 201, {})
    assert ledger.get(record.id) == record
    assert ledger.parts(record.id) == list(this.parts)
    assert ledger.exports() == [DAILY]
    assert ledger.get(record.id + 1) is None


def test_the_same_content_is_known_and_other_parts_at_the_same_place_are_another_run(ledger: SqlExports) -> None:
    _, record = ledger.register(found(), NOW)
    assert ledger.register(found(), NOW + HOUR) == (Found.KNOWN, record)
    is_new, other = ledger.register(found(content="other"), NOW + HOUR)
    assert (is_new, other.id > record.id) == (Found.NEW, True)
    assert [each.id for each in ledger.runs()] == [other.id, record.id]


def test_a_copy_is_the_run_of_which_it_is_one(ledger: SqlExports) -> None:
    _, record = ledger.register(found(), NOW)
    copy = found(place="backup/manifest.json", content="other ETags")
    assert ledger.register(copy, NOW + HOUR) == (Found.COPY, record)
    assert len(ledger.runs()) == 1


def test_a_run_that_waits_becomes_the_one_that_is_found_at_its_place(ledger: SqlExports) -> None:
    _, waiting = ledger.register(found(content="half", waiting="1 of its 2 parts not there yet: b"), NOW)
    assert (waiting.state, waiting.started_at) == (RunState.WAITING, None)
    assert waiting.reason == "1 of its 2 parts not there yet: b"
    is_new, record = ledger.register(found(parts=2), NOW + HOUR)
    assert (is_new, record.id, record.state, record.reason) == (Found.NEW, waiting.id, RunState.IMPORTING, None)
    assert (record.found_at, record.started_at, len(ledger.parts(record.id))) == (NOW, NOW + HOUR, 2)


def test_what_waited_is_forgotten_once_its_place_holds_a_run_that_is_known(ledger: SqlExports) -> None:
    _, record = ledger.register(found(), NOW)
    ledger.register(found(content="half", waiting="empty"), NOW + HOUR)
    assert ledger.register(found(), NOW + 2 * HOUR) == (Found.KNOWN, record)
    assert [each.id for each in ledger.runs()] == [record.id]


def test_a_run_that_need_not_be_read_is_noted_with_its_reason(ledger: SqlExports) -> None:
    prices = replace(DAILY, id="prices", name="prices", dataset=Dataset.OTHER)
    unread = (RunState.NO_COSTS, "prices holds no costs")
    is_new, record = ledger.register(found(export=prices, unread=unread, waiting="not there"), NOW)
    assert (is_new, record.state, record.reason, record.finished_at) == (Found.NEW, *unread, NOW)
    assert ledger.parts(record.id) == []


def test_a_known_run_is_read_again_from_its_first_part_if_that_is_wanted(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=2), NOW)
    ledger.stage(record.run, 0, sums(row()), 1, (), NOW)
    ledger.fail(record.run, "The file is none.", NOW)
    is_known, again = ledger.register(found(parts=2), NOW + HOUR, again=True)
    assert (is_known, again.id, again.state) == (Found.KNOWN, record.id, RunState.IMPORTING)
    assert (again.staged, again.reason, again.finished_at, again.started_at) == (0, None, None, NOW + HOUR)
    assert staged(ledger, again.id) == Sums()


def test_an_export_is_called_as_it_was_found_last(ledger: SqlExports) -> None:
    ledger.register(found(), NOW)
    renamed = replace(DAILY, id=DAILY.id.upper(), name="renamed")
    ledger.register(found("two", export=renamed), NOW)
    assert ledger.exports() == [renamed]


def test_runs_are_listed_by_export_and_by_state_the_latest_found_first(ledger: SqlExports) -> None:
    other = replace(DAILY, id="other", name="Other")
    first, second, third = (
        ledger.register(each, NOW)[1] for each in (found(), found("two", export=other), found("three", waiting="empty"))
    )
    assert ledger.runs() == [third, second, first]
    assert ledger.runs("DAILY") == ledger.runs(DAILY.key) == [third, first]
    assert ledger.runs("daily", [RunState.WAITING]) == [third]
    assert ledger.runs(limit=2) == [third, second]
    assert ledger.runs(place=second.run.place) == [second]
    assert ledger.runs(DAILY.key, place=second.run.place) == []
    assert ledger.runs("nobody's") == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"export": replace(DAILY, id="x" * 400)}, "An export's id has 406 characters, of which 400 can be stored"),
        ({"export": replace(DAILY, name="x" * 201)}, "An export's name has 201 characters, of which 200 can be stored"),
        ({"run_id": "x" * 201}, "A run's id has 201 characters, of which 200 can be stored"),
        ({"place": "x" * 1101}, "A manifest's path has 1,101 characters, of which 1,100 can be stored"),
        ({"container": "x" * 101}, "A container's name has 101 characters, of which 100 can be stored"),
        (
            {"parts": (RunPart(0, "x" * 1101, Blob(1, "e")),)},
            "The name of a part has 1,101 characters, of which 1,100 can be stored",
        ),
        (
            {"parts": (RunPart(0, "x", Blob(1, "e" * 201)),)},
            "The ETag of a part has 201 characters, of which 200 can be stored",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(ledger: SqlExports, changes: dict[str, object], sentence: str):
    this = found(**({} if "parts" in changes else changes))  # type: ignore[arg-type]
    with pytest.raises(NeverError, match=sentence):
        ledger.register(replace(this, parts=changes["parts"]) if "parts" in changes else this, NOW)
    assert ledger.exports() == []


# --- its parts -----------------------------------------------------------------------------------------------


def test_parts_are_kept_exactly_and_added_in_any_order(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=3), NOW)
    parts = [
        sums(row(cost="0.00000000004"), row(sub="other", cost="1E+5"), row(day=20, group="")),
        sums(row(cost="0.00000000004", group="rG")),
        sums(),
    ]
    assert [ledger.stage(record.run, number, parts[number], 9, (), NOW) for number in (2, 0, 1)] == [2, 1, 0]
    assert staged(ledger, record.id, of=("7f0c", "other")) == added(parts)
    assert [each.is_staged for each in ledger.parts(record.id)] == [True] * 3
    assert [each.rows for each in ledger.parts(record.id)] == [9] * 3
    known = ledger.get(record.id)
    assert known is not None
    assert (known.staged, known.state) == (3, RunState.IMPORTING)


def test_a_part_that_comes_again_changes_nothing(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=2), NOW)
    assert [ledger.stage(record.run, 1, sums(row()), 1, (), NOW) for _ in range(2)] == [1, 1]
    assert ledger.stage(record.run, 0, sums(row()), 1, ("A row without a cost.",), NOW) == 0
    assert ledger.stage(record.run, 1, sums(row(cost="99")), 1, (), NOW) == 0
    assert staged(ledger, record.id).totals == {"CAD": Decimal(3)}


def test_of_a_run_that_is_not_being_imported_nothing_is_kept(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=2), NOW)
    ledger.stage(record.run, 0, sums(row()), 1, (), NOW)
    ledger.fail(record.run, "The file is none.", NOW + HOUR)
    assert ledger.stage(record.run, 1, sums(row()), 1, (), NOW) == -1
    assert ledger.stage(replace(record.run, found=99), 0, sums(row()), 1, (), NOW) == -1
    failed = ledger.get(record.id)
    assert failed is not None
    assert (failed.state, failed.reason, failed.finished_at) == (RunState.FAILED, "The file is none.", NOW + HOUR)
    assert rows_in(ledger, export_sums) == 0


def test_a_run_of_which_a_part_vanished_waits_from_its_first_part_on(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=2), NOW)
    ledger.stage(record.run, 0, sums(row()), 1, (), NOW)
    ledger.wait(record.run, "1.csv is not there any more")
    waiting = ledger.get(record.id)
    assert waiting is not None
    assert (waiting.state, waiting.staged, waiting.started_at) == (RunState.WAITING, 0, None)
    assert waiting.reason == "1.csv is not there any more"
    is_new, again = ledger.register(found(parts=2), NOW + HOUR)
    assert (is_new, again.id, again.state, again.staged) == (Found.NEW, record.id, RunState.IMPORTING, 0)


def test_a_run_whose_parts_are_all_read_waits_for_none(ledger: SqlExports) -> None:
    _, record = ledger.register(found(), NOW)
    ledger.stage(record.run, 0, sums(row()), 1, (), NOW)
    ledger.wait(record.run, "0.csv is not there any more")
    assert staged(ledger, record.id) == sums(row())


def test_of_a_run_that_was_found_anew_with_other_content_what_was_read_before_changes_nothing(
    ledger: SqlExports,
) -> None:
    _, old = ledger.register(found(parts=2), NOW)
    ledger.wait(old.run, "0.csv was written anew")
    _, new = ledger.register(found(parts=2, content="other"), NOW + HOUR)
    assert (new.id, new.run == old.run) == (old.id, False)
    assert ledger.stage(old.run, 0, sums(row()), 1, (), NOW) == -1
    ledger.fail(old.run, "The file is none.", NOW)
    ledger.wait(old.run, "0.csv was written anew")
    assert (ledger.get(new.id), rows_in(ledger, export_sums)) == (new, 0)
    assert ledger.stage(new.run, 0, sums(row()), 1, (), NOW) == 1


def test_what_ended_does_not_fail_any_more(ledger: SqlExports) -> None:
    unread = (RunState.NO_COSTS, "It holds no costs")
    _, record = ledger.register(found(unread=unread), NOW)
    ledger.fail(record.run, "The file is none.", NOW)
    assert ledger.get(record.id) == record


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (row(sub="s" * 101), "It has a sub-account of 101 characters, of which 100 can be stored: s"),
        (row(group="g" * 101), "It has a resource group of 101 characters, of which 100 can be stored: g"),
        (row()._replace(service="s" * 201), "It has a service of 201 characters, of which 200 can be stored: s"),
        (row(cost="1e30"), "for Storage of 7f0c on 2026-09-03, which can't be stored; the largest amount is "),
    ],
)
def test_charges_that_no_row_can_hold_are_refused(ledger: SqlExports, row: Row, sentence: str) -> None:
    _, record = ledger.register(found(), NOW)
    with pytest.raises(NeverError, match=sentence):
        ledger.stage(record.run, 0, sums(row), 1, (), NOW)
    assert rows_in(ledger, export_sums) == 0


def test_of_two_that_find_the_same_at_once_one_finds_it(ledger: SqlExports) -> None:
    barrier, results = Barrier(4), []

    def find() -> None:
        barrier.wait()
        results.append(ledger.register(found(), NOW)[0])

    threads = [Thread(target=find) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [Found.KNOWN] * 3 + [Found.NEW]
    assert len(ledger.runs()) == 1
    assert rows_in(ledger, export_parts) == 1


def test_of_parts_that_are_read_at_once_one_is_the_last(ledger: SqlExports) -> None:
    _, record = ledger.register(found(parts=4), NOW)
    barrier, left = Barrier(4), []

    def read(number: int) -> None:
        barrier.wait()
        left.append(ledger.stage(record.run, number, sums(row()), 1, (), NOW))

    threads = [Thread(target=read, args=[number]) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(left) == [0, 1, 2, 3]
    assert staged(ledger, record.id).totals == {"CAD": Decimal(6)}
