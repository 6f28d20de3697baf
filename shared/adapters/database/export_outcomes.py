"""What became of runs, as it is once an order has changed who feeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, select_in
from shared.adapters.database.export_feeds import FEEDS, days_of, fed_by_query, fed_of
from shared.adapters.database.export_rows import RUNS, export_of
from shared.adapters.database.tables import export_feeds, export_runs, export_spoken
from shared.domain.exports.feeding import Fed, Feed, Feeds, outcome, outcome_anew
from shared.domain.exports.runs import RunState

run, spoken = export_runs.c, export_spoken.c
# So many reasons of a run are kept; of thousands of sub-accounts most are the same but for the name.
REASONS = 20
Said = tuple[bool, str | None]
"""Whether something that a run delivered is used, and the reason, as `feeding.outcome` takes it"""


def kept(verdicts: Iterable[Said]) -> list[Said]:
    """What is kept of what was said of a run: that something is used, and some reasons, each once."""
    every = list(dict.fromkeys(verdicts))
    used = [(True, None)] if any(used for used, _ in every) else []
    return used + [each for each in every if each[1] is not None][:REASONS]


def tell_anew(connection: Connection, changed: Collection[Fed]) -> None:
    """Writes of each run that has delivered some of this whether it is used now, and why not."""
    if not changed:
        return
    its = select(spoken.export_id, spoken.run_id, spoken.provider, spoken.sub_account_id, spoken.group_key).distinct()
    wholes = sorted({each.sub_account for each in changed})
    ids = sorted({row.export_id for row in select_in(connection, its, spoken.sub_account_id, wholes)})
    of_run, of_export = defaultdict[int, set[Fed]](set), defaultdict[int, set[Fed]](set)
    for row in select_in(connection, its, spoken.export_id, ids):
        of_run[row.run_id].add(fed_of(row))
        of_export[row.export_id].add(fed_of(row))
    feeds = _feeds(connection, changed, ids)
    # One that is half made goes on with what is said of it then, and waits until this is written.
    half_made = update(export_runs).where(run.state == RunState.IMPORTING, run.verdicts.is_not(None))
    for some in in_chunks(ids):
        connection.execute(half_made.where(run.export_id.in_(some)).values(state=run.state))
    states = (RunState.IMPORTED, RunState.NOT_USED, RunState.IMPORTING)
    said = RUNS.where(run.state.in_(states), run.verdicts.is_not(None))
    for row in select_in(connection, said, run.export_id, ids):
        _tell(connection, row, of_run.get(row.id) or of_export[row.export_id], feeds, changed)


def _feeds(connection: Connection, changed: Collection[Fed], export_ids: Collection[int]) -> Feeds:
    """Who feeds what was changed, and what these exports feed."""
    feeds: dict[Fed, tuple[Feed, ...]] = {}
    wholes = sorted({each.sub_account for each in changed})
    rows = {
        (row.export_id, fed_of(row)): row
        for found in (
            select_in(connection, FEEDS, export_feeds.c.sub_account_id, wholes),
            select_in(connection, FEEDS, export_feeds.c.export_id, sorted(export_ids)),
        )
        for row in found
    }
    for (_, fed), row in rows.items():
        feeds[fed] = (*feeds.get(fed, ()), Feed(export_of(row), days_of(row)))
    by_query = {each.whole for each in changed} & fed_by_query(connection)
    return feeds | {fed: (Feed(),) for fed in by_query if fed not in feeds}


def _tell(connection: Connection, row: AnyRow, its: Collection[Fed], feeds: Feeds, changed: Collection[Fed]) -> None:
    said = [(used, reason) for used, reason in row.verdicts["verdicts"]]
    after = kept(outcome_anew(said, export_of(row), its, feeds, changed))
    if after == said:
        return
    state, reasons = outcome(after)
    # What else a person should know of a run comes after that.
    beside = (row.reason or "").removeprefix(as_text(outcome(said)[1]) or "").removeprefix(". ")
    verdicts: Mapping[str, Any] = {**row.verdicts, "verdicts": [list(each) for each in after]}
    values: dict[str, Any] = {"verdicts": verdicts}
    if row.state is not RunState.IMPORTING:
        values |= {"state": state, "reason": as_text([*reasons, *filter(None, [beside])])}
    connection.execute(update(export_runs).where(run.id == row.id, run.state == row.state).values(values))


def as_text(sentences: Iterable[str]) -> str | None:
    """Sentences as one text; None where there is none."""
    return ". ".join(each.rstrip(".") for each in sentences) or None
