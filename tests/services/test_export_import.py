"""Importing cost exports that a person names: real ones, ones without a manifest, and what can't be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from localdev.azure_sim import AzureSimulator, Charge, SimulatedExport, demo_charges
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, export_charges, scopes
from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Found, RunState
from shared.domain.money import stored as stored_amount
from shared.messages import ManifestMessage, NotificationMessage, Queue, to_json
from shared.ports.errors import NeverError
from shared.ports.export_runs import Imported
from shared.services.errors import RequestError
from shared.services.export_import import BROKEN_OFF, Result
from tests.adapters.exports.files import DATA, EA, FOCUS, SUB, csv_of
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import Chain, entry, only
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports
from tests.services.test_export_service import write_run

NORTH, SOUTH = demo_charges.NORTH, demo_charges.SOUTH
NIGHT = datetime(2026, 11, 20, 1, tzinfo=UTC)


@pytest.fixture
def chain(fresh_database: Callable[[], Database]) -> Chain:
    return Chain(fresh_database())


def imported(chain: Chain, *paths: object, **options: bool) -> list[Result]:
    service = chain.export_import
    return list(service.carry_out(service.look(list(map(str, paths)), **options), lambda *_: None))


def stored(chain: Chain) -> list[tuple[Any, ...]]:
    """All charges, by provider, sub-account, group, day, service and currency."""
    columns = (scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key, charges.c.charge_period_start)
    wanted = select(*columns, charges.c.service_name, charges.c.billing_currency, charges.c.billed_cost)
    return sorted(tuple(row) for row in chain.database.read(lambda each: each.execute(wanted.join(scopes)).all()))


def kept(chain: Chain) -> list[tuple[str, Decimal]]:
    """What exports have delivered, whether it counts or not, with its provider."""
    wanted = select(scopes.c.provider, export_charges.c.billed_cost).join_from(export_charges, scopes)
    return [(row[0], row[1]) for row in chain.database.read(lambda each: each.execute(wanted).all())]


def total(chain: Chain, provider: str = "azure") -> Decimal:
    return sum((row[-1] for row in stored(chain) if row[0] == provider), Decimal(0))


def write(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text(csv_of(rows), newline="")
    return path


def on(day: str, cost: str, **more: str) -> dict[str, str]:
    """A row of EA's."""
    return {**EA, "Date": day, "Cost": cost, "BillingPeriodStartDate": f"{day[:3]}01{day[5:]}"} | more


# --- real files ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.exists(), reason="the sample exports are not next to this project")
def test_a_real_ea_export_is_stored_to_the_last_of_its_ten_places(chain: Chain):
    (result,) = imported(chain, DATA / "azure" / "ea_actual_cost.csv")
    assert (result.found, result.record.state, result.fault) == (Found.NEW, RunState.IMPORTED, None)
    assert result.record.totals == {"USD": Decimal("8.5450077867419368")}
    assert (result.record.parts, result.record.rows, result.record.changes.added) == (1, 11, len(stored(chain)))
    assert total(chain) == Decimal("8.5450077867")


@pytest.mark.skipif(not DATA.exists(), reason="the sample exports are not next to this project")
def test_a_real_export_without_rows_imports_as_nothing(chain: Chain):
    path = str(DATA / "azure" / "ea_no_rows.csv")
    plan = chain.export_import.look([path])
    assert (plan.runs, plan.faults, plan.without_rows) == ((), (), (path,))
    assert imported(chain, path) == []
    assert (stored(chain), chain.export_history.listed()) == ([], [])


def test_after_cost_metric_was_changed_focus_files_are_told_and_imported_again_they_are_read_as_the_other(
    chain: Chain, tmp_path: Path
):
    older, newer = (
        write(tmp_path / f"{name}.csv", FOCUS | {"BilledCost": cost, "EffectiveCost": "0.25"})
        for name, cost in (("older", "1"), ("newer", "1.5"))
    )
    imported(chain, older)
    chain.clock.forward(hours=1)
    imported(chain, newer)
    assert ([each.reason for each in chain.export_history.listed()], total(chain)) == ([None, None], Decimal("1.5"))
    chain.configure(cost_metric=CostMetric.AMORTIZED)
    # The older one says nothing any more, so that it needs not be read.
    said = (
        f"read as ActualCost, and COST_METRIC is AmortizedCost: `exports import {newer}` reads it again, where its "
        "files are there still"
    )
    assert ([each.reason for each in chain.export_history.listed()], total(chain)) == ([said, None], Decimal("1.5"))
    again = imported(chain, tmp_path)
    assert [(Path(each.place).name, each.found) for each in again] == [
        ("older.csv", Found.KNOWN),
        ("newer.csv", Found.NEW),
    ]
    assert ([each.reason for each in chain.export_history.listed()], total(chain)) == ([None, None], Decimal("0.25"))
    assert [each.record.changes.added for each in imported(chain, newer)] == [0]


@pytest.mark.skipif(not DATA.exists(), reason="the sample exports are not next to this project")
def test_a_focus_file_imports_all_its_providers(chain: Chain):
    results = imported(chain, DATA / "focus" / "focus_1_0_sample.csv")
    assert {(each.record.run.export.provider, each.record.rows) for each in results} == {
        ("aws", 942),
        ("azure", 51),
        ("Oracle", 7),
    }
    assert {each.record.state for each in results} == {RunState.IMPORTED}
    of_azure = next(each.record for each in results if each.record.run.export.provider == "azure")
    assert of_azure.totals == {"USD": Decimal("1.97651418586")}
    # Each charge is rounded once; those of 30 September in October's billing period are among them.
    rounding = Decimal("0.00000000005") * len(kept(chain))
    for each in results:
        provider, exact = each.record.run.export.provider, each.record.totals["USD"]
        assert abs(total(chain, provider) - exact) <= rounding


# --- as the query ----------------------------------------------------------------------------------------------


def test_the_same_charges_by_query_and_by_export_are_the_same_rows(chain: Chain, sqlite_url: str, tmp_path: Path):
    book = demo_charges.book()
    export = SimulatedExport(NORTH)
    for at in (datetime(2026, 10, 5, 1, tzinfo=UTC), datetime(2026, 11, 5, 1, tzinfo=UTC)):
        put(tmp_path, export.month_before(book, at))
    put(tmp_path, export.nightly(book, NIGHT))
    results = imported(chain, tmp_path)
    assert [each.record.state for each in results] == [RunState.IMPORTED] * 3
    by_export = stored(chain)
    other = Chain(Database(sqlite_url))
    other.load(entry(11, subscription=NORTH))
    with AzureSimulator(book) as azure:
        arm = ArmClient(azure.url)
        other.parts["costs"] = AzureCosts(arm, clock=other.clock)
        other.configure()
        other.run_now(since="2026-09-01")
        other.drain()
        arm.close()
    assert by_export == stored(other)
    assert len(by_export) > 1000


def put(folder: Path, blobs: dict[str, bytes]) -> None:
    for name, content in blobs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# --- runs with a manifest --------------------------------------------------------------------------------------


def test_a_run_is_imported_once_wherever_its_files_lie(chain: Chain, tmp_path: Path):
    write_run(tmp_path / "run", 2, 1)
    (first,) = imported(chain, tmp_path)
    assert (first.found, first.record.state, first.record.parts) == (Found.NEW, RunState.IMPORTED, 2)
    assert total(chain) == Decimal("4.5")
    (again,) = imported(chain, tmp_path / "run" / "manifest.json")
    assert (again.found, again.record.id) == (Found.KNOWN, first.record.id)
    assert total(chain) == Decimal("4.5")
    assert [each.id for each in chain.export_history.listed()] == [first.record.id]


def test_what_is_not_all_there_is_told_and_leaves_no_trace(chain: Chain, tmp_path: Path):
    write_run(tmp_path / "run", 2, 1)
    (tmp_path / "run" / "part_1.csv").unlink()
    plan = chain.export_import.look([str(tmp_path)])
    name = "costs/daily/run/part_1.csv"
    assert plan.faults == (
        (str(tmp_path / "run" / "manifest.json"), f"It can't be imported yet: 1 of its 2 parts not there yet: {name}."),
    )
    # Nor is the part that is there a file without a manifest.
    assert plan.runs == ()
    assert chain.export_history.listed() == []


def test_a_dataset_without_costs_is_noted(chain: Chain, tmp_path: Path):
    write_run(tmp_path / "run", 2, kind="PriceSheet")
    (result,) = imported(chain, tmp_path)
    assert (result.record.state, result.fault, stored(chain)) == (RunState.NO_COSTS, None, [])


def test_a_run_of_the_other_metric_is_noted_with_the_reason(chain: Chain, tmp_path: Path):
    write_run(tmp_path / "run", 2, kind="AmortizedCost")
    (result,) = imported(chain, tmp_path)
    assert (result.record.state, stored(chain)) == (RunState.NOT_USED, [])
    assert result.record.reason == "daily holds amortized costs, and COST_METRIC is ActualCost"


def test_a_part_that_lacks_rows_fails_its_run_and_no_other(chain: Chain, tmp_path: Path):
    manifest = write_run(tmp_path / "bad", 2, 1)
    whole = json.loads(manifest.read_text())
    whole["blobs"][0]["dataRowCount"], whole["dataRowCount"] = 7, 8
    manifest.write_text(json.dumps(whole))
    write(tmp_path / "good.csv", on("09/03/2026", "2"))
    bad, good = imported(chain, tmp_path)
    assert (bad.record.state, bad.fault) == (
        RunState.FAILED,
        "costs/daily/bad/part_0.csv: It has 2 rows, and 7 by its manifest.",
    )
    assert bad.record.reason == bad.fault
    assert (good.record.state, total(chain)) == (RunState.IMPORTED, Decimal(2))


def test_a_part_of_nothing_is_none_where_its_manifest_says_so(chain: Chain, tmp_path: Path):
    manifest = write_run(tmp_path / "run", 2, 0)
    (tmp_path / "run" / "part_1.csv").write_text("")
    whole = json.loads(manifest.read_text())
    whole["blobs"][1]["byteCount"] = 0
    manifest.write_text(json.dumps(whole))
    (result,) = imported(chain, tmp_path)
    assert (result.record.state, result.record.parts, total(chain)) == (RunState.IMPORTED, 2, Decimal(3))


def test_what_failed_is_tried_again(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "run", 2)
    ledger, make = chain.export_runs, chain.export_runs.make

    def refusing(*_arguments: object) -> Imported:
        raise NeverError("no room")

    ledger.make = refusing
    (failed,) = imported(chain, tmp_path)
    assert (failed.fault, failed.record.state) == ("no room", RunState.FAILED)
    ledger.make = make
    (result,) = imported(chain, tmp_path)
    assert (result.fault, result.record.state, result.record.id) == (None, RunState.IMPORTED, failed.record.id)
    assert total(chain) == Decimal(3)


def test_who_breaks_off_leaves_runs_that_can_be_imported_again(chain: Chain, tmp_path: Path):
    write_run(tmp_path / "run", 2, 1)
    service = chain.export_import
    plan = service.look([str(tmp_path)])

    def stop(_place: str, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(service.carry_out(plan, stop))
    (record,) = chain.export_history.listed()
    assert (record.state, record.reason) == (RunState.FAILED, BROKEN_OFF)
    assert [each.record.state for each in imported(chain, tmp_path)] == [RunState.IMPORTED]


def test_breaking_off_leaves_alone_what_the_app_was_importing_before(chain: Chain):
    blobs = with_exports(chain)
    chain.cloud_accounts.add_exports("azure", CONTAINER)
    place = Exported(blobs).run([ea("1", date(2026, 11, 3))])
    chain.work(Queue.EXPORT, to_json(ManifestMessage(place)))

    def stop(_place: str, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(chain.export_import.carry_out(chain.export_import.look([place]), stop))
    (record,) = chain.export_history.listed()
    assert record.state is RunState.IMPORTING


def test_the_projects_whose_figures_change_are_checked(chain: Chain, tmp_path: Path):
    chain.load(entry(11, subscription=SUB, groups=("rg-a",)))
    write(tmp_path / "file.csv", on("11/03/2026", "2"))
    messages = chain.sent_by(lambda: imported(chain, tmp_path))
    assert [each.project_ids for each in only(NotificationMessage, messages)] == [(11,)]


def test_a_blob_whose_name_begins_with_a_slash_is_found_by_the_command_that_operators_are_told(chain: Chain):
    blobs = with_exports(chain)
    blobs.put(CONTAINER, "/costs.csv", csv_of([EA]).encode())
    (result,) = imported(chain, f"{CONTAINER}//costs.csv")
    assert result.record.state is RunState.IMPORTED


# --- files without one -----------------------------------------------------------------------------------------


def test_a_file_replaces_what_was_imported_for_its_account_and_months(chain: Chain, tmp_path: Path):
    write(tmp_path / "a.csv", on("09/03/2026", "2"), on("09/04/2026", "3"), on("10/01/2026", "7"))
    write(tmp_path / "b.csv", on("09/03/2026", "5"), on("09/05/2026", "1"))
    write(tmp_path / "c.csv", on("09/09/2026", "11", BillingAccountId="9"))
    imported(chain, tmp_path / "a.csv")
    (result,) = imported(chain, tmp_path / "b.csv")
    assert total(chain) == Decimal(13)
    changes = result.record.changes
    assert (changes.added, changes.changed, changes.removed) == (1, 1, 1)


def test_the_same_file_again_changes_nothing_whatever_it_is_called(chain: Chain, tmp_path: Path):
    path = write(tmp_path / "a.csv", on("09/03/2026", "2"))
    imported(chain, path)
    chain.clock.now += timedelta(days=1)
    shutil.copyfile(path, tmp_path / "copy.csv")
    (result,) = imported(chain, tmp_path / "copy.csv")
    assert (result.found, result.record.state) == (Found.KNOWN, RunState.IMPORTED)
    assert len(chain.export_history.listed()) == 1


def test_two_files_of_one_month_are_refused_unless_they_are_parts(chain: Chain, tmp_path: Path):
    write(tmp_path / "a.csv", on("09/03/2026", "2"))
    write(tmp_path / "b.csv", on("09/03/2026", "0.5"))
    with pytest.raises(RequestError, match=r"both hold September 2026: add --parts if they are parts of one export"):
        imported(chain, tmp_path)
    assert chain.export_history.listed() == []
    (result,) = imported(chain, tmp_path, parts=True)
    assert (result.record.parts, total(chain)) == (2, Decimal("2.5"))


def test_parts_are_imported_together_or_not_at_all(chain: Chain, tmp_path: Path):
    write(tmp_path / "a.csv", on("09/03/2026", "2"))
    (tmp_path / "b.csv").write_text("no,costs\n")
    with pytest.raises(RequestError, match=r"nothing was imported:\n  \S+b\.csv: The file has no costs"):
        imported(chain, tmp_path, parts=True)


def test_a_file_that_ends_early_is_refused_unless_it_is_meant(chain: Chain, tmp_path: Path):
    imported(chain, write(tmp_path / "a.csv", on("09/03/2026", "2"), on("09/20/2026", "2")))
    early = write(tmp_path / "b.csv", on("09/03/2026", "1"))
    with pytest.raises(RequestError, match=r"b\.csv ends on 3 September 2026, .* on 20 September 2026: add --force"):
        imported(chain, early)
    imported(chain, early, force=True)
    assert total(chain) == Decimal(1)
    # What is known changes nothing, and needs no force.
    assert [each.found for each in imported(chain, tmp_path / "a.csv")] == [Found.KNOWN]


def test_files_with_several_accounts_and_providers_are_runs_of_each(chain: Chain, tmp_path: Path):
    other = {
        **FOCUS,
        "ProviderName": "AWS",
        "BillingAccountId": "111",
        "SubAccountId": "222333444555",
        "ResourceId": "",
    }
    write(tmp_path / "a.csv", FOCUS, other, {**other, "BillingAccountId": "333", "SubAccountId": "22233344455"})
    results = imported(chain, tmp_path)
    assert sorted(each.record.run.export.key for each in results) == [
        "aws:000000000111/file",
        "aws:000000000333/file",
        "azure:8611537/file",
    ]
    assert [row[:2] for row in stored(chain)] == [("aws", "022233344455"), ("aws", "222333444555"), ("azure", SUB)]


def test_a_file_that_cannot_be_read_is_told_and_hides_no_other(chain: Chain, tmp_path: Path):
    write(tmp_path / "a.csv", on("09/03/2026", "abc"))
    write(tmp_path / "b.csv", on("09/03/2026", "2"))
    plan = chain.export_import.look([str(tmp_path)])
    ((place, fault),) = plan.faults
    assert (place, "which is no number" in fault) == (str(tmp_path / "a.csv"), True)
    assert [each.place for each in plan.runs] == [str(tmp_path / "b.csv")]


# --- only looking -------------------------------------------------------------------------------


def test_a_rehearsal_says_what_would_come_and_stores_nothing(chain: Chain, tmp_path: Path):
    imported(chain, write(tmp_path / "a.csv", on("09/03/2026", "2")))
    write_run(tmp_path / "run", 2, 1)
    write_run(tmp_path / "prices", 2, kind="PriceSheet")
    service = chain.export_import
    results = list(service.rehearse(service.look([str(tmp_path)]), lambda *_: None))
    assert [(Path(each.place).parent.name, each.found, each.record.state, each.record.totals) for each in results] == [
        ("prices", Found.NEW, RunState.NO_COSTS, {}),
        ("run", Found.NEW, RunState.NOT_USED, {"CAD": Decimal("4.5")}),
        (tmp_path.name, Found.KNOWN, RunState.IMPORTED, {"CAD": Decimal(2)}),
    ]
    _, run, known = results
    why = f"{SUB} is fed by the export file; `exports use daily --for {SUB}` changes that"
    assert (run.record.reason, run.record.rows, run.record.id, known.record.id) == (why, 3, 0, 1)
    assert (len(chain.export_history.listed()), total(chain)) == (1, Decimal(2))


def test_a_rehearsal_says_what_a_file_would_change_and_the_import_does_that(chain: Chain, tmp_path: Path):
    imported(chain, write(tmp_path / "a.csv", on("09/03/2026", "2"), on("09/04/2026", "3")))
    newer = write(tmp_path / "b.csv", on("09/03/2026", "5"), on("09/05/2026", "1"))
    service = chain.export_import
    (rehearsed,) = service.rehearse(service.look([str(newer)]), lambda *_: None)
    assert total(chain) == Decimal(5)
    (result,) = imported(chain, newer)
    changes = result.record.changes
    assert (changes.added, changes.changed, changes.removed) == (1, 1, 1)
    assert rehearsed.record.changes == changes


def test_what_lies_in_export_storage_is_imported_from_there(chain: Chain, tmp_path: Path):
    blobs = FakeBlobs()
    export, book = SimulatedExport(NORTH), demo_charges.book()
    for name, content in export.nightly(book, NIGHT).items():
        blobs.put("msexports", name, content)
    blobs.put("msexports", "by-hand/file.csv", csv_of([on("09/03/2026", "2", SubscriptionId=SOUTH)]).encode())
    chain.parts["export_blobs"] = blobs
    chain.configure(export_storage=SecretStr("UseDevelopmentStorage=true"))
    by_export = {each.record.run.export.name: each for each in imported(chain, "msexports/")}
    assert {name: (each.record.state, each.record.container) for name, each in by_export.items()} == {
        "daily": (RunState.IMPORTED, "msexports"),
        "file": (RunState.IMPORTED, ""),
    }
    assert by_export["file"].place == "msexports/by-hand/file.csv"
    assert total(chain) - 2 == sum(map(rounded, book.charges(NORTH, date(2026, 11, 1), date(2026, 11, 19))))
    assert [each.found for each in imported(chain, "msexports/costs/daily")] == [Found.KNOWN]
    with pytest.raises(RequestError, match="msexports/nothing holds no export"):
        imported(chain, "msexports/nothing")
    with pytest.raises(RequestError, match="there is no nowhere"):
        imported(chain, "nowhere")


def rounded(charge: Charge) -> Decimal:
    return stored_amount(charge.amount)
