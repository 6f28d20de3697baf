"""Runs of exports from the scanner to charges: of AWS, of hundreds of parts, of either metric, read by several."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, export_sums
from shared.domain.charges import CostMetric
from shared.domain.exports.runs import RunState
from shared.messages import ManifestMessage, Queue, to_json
from shared.ports.errors import LaterError
from tests.adapters.exports.files import FOCUS
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, Chain
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports
from tests.pipeline.test_export_importer import BAD_MANIFESTS, blobs, deliver, latest, load, mine, set_place
from tests.pipeline.test_export_scanner import told

__all__ = ["blobs"]
ARN = "arn:aws:bcm-data-exports:us-east-1:111122223333:export/focus-1234"
DAY = date(2026, 11, 12)
INSTANCES = 3


def look(chain: Chain, hours: int = 1) -> None:
    """What each hour brings."""
    for _ in range(hours):
        chain.configure()
        chain.send(chain.export_scanner.scan())
        chain.work_off(hours=1)


def by_month(chain: Chain) -> dict[date, Decimal]:
    """What is stored, by the first day of each month."""
    rows = chain.database.read(
        lambda connection: connection.execute(select(charges.c.charge_period_start, charges.c.billed_cost)).all()
    )
    found: dict[date, Decimal] = {}
    for day, cost in rows:
        found[day.replace(day=1)] = found.get(day.replace(day=1), Decimal(0)) + cost
    return found


def state_of(chain: Chain) -> list[RunState]:
    return [each.state for each in chain.export_runs.runs()]


# --- AWS ---


def of_aws(month: str, execution: str, cost: str, key: str, manifest: str) -> dict[str, bytes]:
    """What AWS Data Exports writes of a billing period into its bucket, of three rows in doubles: parts, manifest."""
    row = FOCUS | {
        "ProviderName": "AWS",
        "SubAccountId": "222233334444",
        "BillingAccountId": "111122223333",
        "BillingCurrency": "USD",
        "BillingPeriodStart": f"{month}-01T00:00:00Z",
        "ChargePeriodStart": f"{month}-12T00:00:00Z",
        "BilledCost": cost,
        "ServiceName": "Amazon S3",
    }
    doubles = pl.DataFrame([row] * 3).with_columns(pl.col("BilledCost", "EffectiveCost").cast(pl.Float64))
    doubles.write_parquet(part := io.BytesIO(), compression="snappy")
    said = {"exportArn": ARN, "executionId": execution, "dataFiles": [f"s3://bucket/{key}"]}
    return {key: part.getvalue(), manifest: json.dumps(said).encode()}


def by_period(month: str, execution: str, cost: str) -> dict[str, bytes]:
    folder = "exports/focus/{}/BILLING_PERIOD=" + month
    manifest = f"{folder.format('metadata')}/focus-Manifest.json"
    return of_aws(month, execution, cost, f"{folder.format('data')}/focus-00001.snappy.parquet", manifest)


@pytest.mark.parametrize("order", [list, lambda files: list(files)[::-1]], ids=["parts first", "manifest first"])
def test_aws_data_exports_are_stored_to_the_last_digit_in_whatever_order_their_files_come(
    chain: Chain, blobs: FakeBlobs, order: Callable[[Any], list[tuple[str, bytes]]]
) -> None:
    set_place(chain, f"{CONTAINER}/aws")

    def come(files: dict[str, bytes]) -> None:
        for name, content in order(files.items()):
            blobs.put(CONTAINER, f"aws/{name}", content)
            look(chain)
        look(chain, hours=2)

    come(by_period("2026-10", "first", "0.1"))
    come(by_period("2026-11", "first", "0.1"))
    assert by_month(chain) == {date(2026, 10, 1): Decimal("0.3"), date(2026, 11, 1): Decimal("0.3")}
    come(by_period("2026-11", "second", "0.2"))
    assert by_month(chain) == {date(2026, 10, 1): Decimal("0.3"), date(2026, 11, 1): Decimal("0.6")}


def test_months_of_one_execution_are_all_stored_though_no_folder_names_them(chain: Chain, blobs: FakeBlobs) -> None:
    set_place(chain, f"{CONTAINER}/aws")
    for month, cost in (("2026-10", "0.1"), ("2026-11", "0.25")):
        folder = month[-2:]
        files = of_aws(month, "first", cost, f"data/{folder}/f.parquet", f"metadata/{folder}/focus-Manifest.json")
        for name, content in files.items():
            blobs.put(CONTAINER, f"aws/{name}", content)
        look(chain, hours=2)
    assert by_month(chain) == {date(2026, 10, 1): Decimal("0.3"), date(2026, 11, 1): Decimal("0.75")}
    manifest, _ = blobs.containers[CONTAINER]["aws/metadata/11/focus-Manifest.json"]
    blobs.put(CONTAINER, "aws/again/focus-Manifest.json", manifest)
    look(chain, hours=2)
    assert state_of(chain) == [RunState.IMPORTED] * 2, "a copy of a manifest, which lists the same files, is no run"


# --- parts ---


@pytest.mark.slow
def test_300_parts_are_one_sum(chain: Chain, blobs: FakeBlobs) -> None:
    load(chain)
    Exported(blobs).run(*[[mine("0.1")] for _ in range(300)])
    look(chain)
    assert (latest(chain).state, latest(chain).parts, chain.spent(12)) == (RunState.IMPORTED, 300, 30)


@pytest.mark.postgres
def test_several_instances_share_the_parts_of_a_run(postgres_url: str) -> None:
    chains = [Chain(Database(postgres_url)) for _ in range(INSTANCES)]
    first, blobs = chains[0], with_exports(chains[0])
    first.cloud_accounts.add_exports("azure", CONTAINER)
    for other in chains[1:]:
        other.parts |= {"export_blobs": blobs, "clock": first.parts["clock"]}
        other.configure(export_storage=first.app.settings.export_storage)
    days = [date(2026, 11, day) for day in range(1, 11)]
    parts = [[ea(f"{part}.25", day, "rg", OTHER_SUBSCRIPTION) for day in days] for part in range(9)]
    place = Exported(blobs).run(*parts)
    waiting: SimpleQueue[tuple[Queue, str]] = SimpleQueue()
    for _ in chains:
        waiting.put((Queue.EXPORT, to_json(ManifestMessage(place))))
    with ThreadPoolExecutor(INSTANCES) as pool:
        took = list(pool.map(lambda chain: worked_off(chain, waiting), chains))
    assert all(took), took
    (run,) = first.export_runs.runs()
    expected = sum(Decimal(f"{part}.25") * len(days) for part in range(9))
    assert (run.state, run.totals, run.changes.added) == (RunState.IMPORTED, {"CAD": expected}, len(days))
    assert by_month(first) == {date(2026, 11, 1): expected}
    assert first.database.read(lambda connection: connection.execute(select(export_sums)).all()) == []
    for chain in chains:
        chain.database.close()


def worked_off(chain: Chain, waiting: SimpleQueue[tuple[Queue, str]]) -> int:
    """How many messages an instance took, until none came for a second."""
    took = 0
    while True:
        try:
            queue, text = waiting.get(timeout=1)
        except Empty:
            return took
        try:
            chain.app.chain.take(queue, text, None)
        except LaterError:
            waiting.put((queue, text))
            continue
        took += 1
        for to, message, _ in chain.queues.take():
            waiting.put((to, message))


# --- metrics ---


def test_of_actual_and_amortized_exports_beside_each_other_that_of_the_metric_counts(
    chain: Chain, blobs: FakeBlobs
) -> None:
    load(chain)
    actual, amortized = Exported(blobs), Exported(blobs, name="amortized", kind="AmortizedCost")
    assert deliver(chain, actual.run([mine("10")])).state is RunState.IMPORTED
    assert deliver(chain, amortized.run([mine("7")], at=chain.clock.now)).state is RunState.NOT_USED
    assert chain.spent(12) == 10
    assert deliver(chain, actual.run([mine("11")], at=chain.clock.now)).state is RunState.IMPORTED
    assert chain.spent(12) == 11


def test_where_amortized_costs_are_asked_for_their_export_counts_and_that_of_actual_costs_does_not(
    chain: Chain, blobs: FakeBlobs
) -> None:
    chain.configure(cost_metric=CostMetric.AMORTIZED)
    load(chain)
    assert deliver(chain, Exported(blobs).run([mine("10")])).state is RunState.NOT_USED
    amortized = Exported(blobs, name="amortized", kind="AmortizedCost")
    assert deliver(chain, amortized.run([mine("7")], at=chain.clock.now)).state is RunState.IMPORTED
    assert chain.spent(12) == 7


# --- manifests that are not right ---


def rewrite(blobs: FakeBlobs, place: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Writes a manifest anew."""
    name = place.removeprefix(f"{CONTAINER}/")
    changed = change(json.loads(blobs.containers[CONTAINER][name][0]))
    blobs.put(CONTAINER, name, changed if isinstance(changed, bytes) else json.dumps(changed).encode())


@pytest.mark.parametrize("kind", BAD_MANIFESTS)
def test_after_a_manifest_that_can_not_be_right_the_month_is_as_it_was(
    chain: Chain, blobs: FakeBlobs, kind: str
) -> None:
    load(chain)
    export = Exported(blobs)
    deliver(chain, export.run([mine("10")]))
    rewrite(blobs, export.run([mine("500")], at=chain.clock.now), BAD_MANIFESTS[kind][0])
    look(chain)
    assert (latest(chain).state, chain.spent(12)) == (RunState.FAILED, 10)


def with_part(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda manifest: manifest | {"blobs": [manifest["blobs"][0] | changes]}


LIES = {
    "another size": ({"byteCount": 9}, "has 361 bytes, and 9 by its manifest."),
    "an empty file of which it says rows": ({"byteCount": None, "dataRowCount": 5}, "is still empty."),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_run_that_is_not_as_its_manifest_says_for_three_days_has_failed_and_is_read_once_it_is(
    chain: Chain, blobs: FakeBlobs, kind: str
) -> None:
    load(chain)
    export, (lie, sentence) = Exported(blobs), LIES[kind]
    deliver(chain, export.run([mine("10")]))
    before = told(chain)
    place = export.run([mine("500")], at=chain.clock.now)
    part = place.removeprefix(f"{CONTAINER}/").replace("manifest.json", "part_0.csv")
    content = blobs.containers[CONTAINER][part][0]
    if lie["byteCount"] is None:
        blobs.put(CONTAINER, part, b"")
    rewrite(blobs, place, with_part(**lie))
    look(chain, hours=70)
    assert (latest(chain).state, told(chain)) == (RunState.WAITING, before)
    look(chain, hours=26)
    failed = latest(chain)
    assert failed.state is RunState.FAILED and failed.reason
    assert failed.reason.startswith("For 3 days it could not be read: ") and failed.reason.endswith(sentence)
    assert [failed.reason] in [mail["lines"] for mail in told(chain)]
    assert chain.spent(12) == 10
    blobs.put(CONTAINER, part, content)
    rewrite(blobs, place, with_part(byteCount=len(content), dataRowCount=1))
    look(chain, hours=3)
    assert (latest(chain).state, chain.spent(12)) == (RunState.IMPORTED, 500)
