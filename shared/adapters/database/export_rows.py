"""Exports, their runs and the parts of these, as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, case, exists, func, or_, select, update

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.ledger import record
from shared.adapters.database.tables import export_parts, export_runs, export_spoken, exports
from shared.domain.charges import CostMetric
from shared.domain.exports.days import Spoken, spoken_by
from shared.domain.exports.runs import Blob, Export, ExportRun, RunState
from shared.domain.periods import Period
from shared.domain.texts import shortened, units
from shared.ports.errors import NeverError
from shared.ports.export_runs import Changes, NewRun, RunPart, RunRecord

run, part = export_runs.c, export_parts.c
LONGEST_KEY = 400
OF_EXPORT = tuple(
    column.label(f"export_{column.name}") for column in exports.c if column.name not in ("id", "found_at")
)
_STAGED = select(func.count(part.staged_at)).where(part.run_id == run.id).scalar_subquery().label("staged")
RUNS = select(export_runs, *OF_EXPORT).join(exports, exports.c.id == run.export_id)
_SPEAKS = exists().where(export_spoken.c.run_id == run.id)
RECORDS = RUNS.add_columns(_STAGED, case((_SPEAKS, 1), else_=0).label("speaks"))


def export_of(row: AnyRow) -> Export:
    """The export of a row of RUNS."""
    return Export(
        *(row.export_provider, row.export_external_id, row.export_name, row.export_dataset, row.export_width),
        row.export_billing_account,
    )


def run_of(row: AnyRow) -> ExportRun:
    """The run of a row of RUNS."""
    return record(ExportRun, row, export=export_of(row), found=row.id, days=_period(row.days_start, row.days_end))


def record_of(row: AnyRow) -> RunRecord:
    """The run of a row of RECORDS, and what became of it."""
    changes = Changes(row.added or 0, row.changed or 0, row.removed or 0, _period(row.changed_from, row.changed_until))
    return record(
        *(RunRecord, row),
        run=run_of(row),
        # Whose charges are made, all its parts are read, and forgotten.
        staged=row.staged if row.made is None else row.parts,
        totals=_totals(row.totals),
        left_out=_totals((row.verdicts or {}).get("without")),
        periods=tuple(map(date.fromisoformat, row.periods or ())),
        changes=changes,
        metric=CostMetric(metric) if row.speaks and (metric := (row.verdicts or {}).get("metric")) else None,
    )


def _totals(kept: Mapping[str, str] | None) -> dict[str, Decimal]:
    return {currency: Decimal(total) for currency, total in (kept or {}).items()}


def known_run(connection: Connection, run_id: int) -> RunRecord | None:
    """A run by its number."""
    row = connection.execute(RECORDS.where(run.id == run_id)).one_or_none()
    return None if row is None else record_of(row)


def the_run(connection: Connection, run_id: int) -> RunRecord:
    """The same of one that is there."""
    return record_of(connection.execute(RECORDS.where(run.id == run_id)).one())


def runs_like(connection: Connection, export_id: int, this: ExportRun) -> list[AnyRow]:
    """The rows of those of an export's runs of which this may be one, or a copy; not of those that wait."""
    same = or_(run.content == this.content, run.run_id == this.run_id)
    rows = connection.execute(RECORDS.where(run.export_id == export_id, run.state != RunState.WAITING, same))
    return sorted(rows, key=lambda row: -row.id)


def runs_ended(connection: Connection, export_id: int) -> list[tuple[ExportRun, Mapping[date, Spoken]]]:
    """The runs of an export of which all is made, and for what they spoke, by billing period."""
    ended = RUNS.where(run.export_id == export_id, run.state.in_((RunState.IMPORTED, RunState.NOT_USED)))
    found = ((run_of(row), map(date.fromisoformat, row.periods or ())) for row in connection.execute(ended))
    return [(this, spoken_by(this, periods)) for this, periods in found]


def parts_of(connection: Connection, run_id: int) -> list[RunPart]:
    """The parts of a run, in order; none once its charges are made."""
    rows = connection.execute(select(export_parts).where(part.run_id == run_id).order_by(part.number))
    return [_part(row) for row in rows]


def _part(row: AnyRow) -> RunPart:
    return RunPart(row.number, row.name, Blob(row.size, row.etag), row.rows, row.staged_at is not None)


def part_rows(run_id: int, parts: Iterable[RunPart]) -> list[dict[str, Any]]:
    """The rows of parts that are still to be read."""
    return [
        {
            "run_id": run_id,
            "number": each.number,
            "name": each.name,
            "etag": each.blob.etag,
            "size": each.blob.size,
            "rows": each.rows,
        }
        for each in parts
    ]


def run_row(found: NewRun) -> dict[str, Any]:
    """What a run's row says of what was found."""
    this, days = found.run, found.run.days
    return {
        "cloud_account_id": found.cloud_account_id,
        "container": found.container,
        "run_id": this.run_id,
        "place": this.place,
        "content": this.content,
        "submitted_at": this.submitted_at,
        "modified_at": this.modified_at,
        "days_start": days and days.start,
        "days_end": days and days.end,
        "parts": len(found.parts),
        "rows": _added(each.rows for each in found.parts),
        "size": sum(each.blob.size for each in found.parts),
    }


def _added(rows: Iterable[int | None]) -> int | None:
    """How many rows there are; None where that is not known of each part."""
    known = list(rows)
    return None if None in known else sum(each or 0 for each in known)


def export_row(export: Export) -> dict[str, Any]:
    """What an export's row says of it."""
    return {
        "key": export.key,
        "provider": export.provider,
        "external_id": export.id.strip(),
        "name": export.name,
        "dataset": export.dataset,
        "width": export.width,
        "billing_account": export.billing_account,
    }


def refuse_what_does_not_fit(found: NewRun) -> None:
    """Raises NeverError for what is compared and would have to be cut."""
    this, export = found.run, found.run.export
    for what, text, longest in (
        ("an export's id", export.key, LONGEST_KEY),
        ("an export's name", export.name, 200),
        ("a billing account", export.billing_account, 200),
        ("a run's id", this.run_id, 200),
        ("a manifest's path", this.place, 1100),
        ("a container's name", found.container, 100),
        *(("the name of a part", each.name, 1100) for each in found.parts),
        *(("the ETag of a part", each.blob.etag, 200) for each in found.parts),
    ):
        if units(text) > longest:
            said = f"{units(text):,} characters, of which {longest:,} can be stored"
            raise NeverError(f"{what[0].upper()}{what[1:]} has {said}: {shortened(text, 41)}")


def lock_export(connection: Connection, export_id: int) -> None:
    """Locks an export until the transaction ends; whoever locks sub-accounts as well has locked it before them."""
    connection.execute(update(exports).where(exports.c.id == export_id).values(key=exports.c.key))


def matching(connection: Connection, export: str) -> Collection[int]:
    """The ids of the exports of this key, or of this name in any case."""
    text = export.strip()
    rows = connection.execute(select(exports.c.id, exports.c.key, exports.c.name))
    return [row.id for row in rows if row.key in (text, text.lower()) or text.casefold() == row.name.casefold()]


def _period(start: Any, end: Any) -> Period | None:
    return Period(start, end) if start and end else None
