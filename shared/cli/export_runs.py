"""`exports list`, `show`, `feeds` and `use`: what became of each run of an export, and what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, ask_or_refuse, open_app, refuse_empty, user_name
from shared.cli.output import Cell, Column
from shared.domain.coverage import months_in_words
from shared.domain.exports.feeding import QUERY
from shared.domain.exports.runs import RunState
from shared.domain.texts import named
from shared.messages import LARGEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.exports.feeding import Fed
    from shared.domain.periods import Period
    from shared.ports.export_runs import Changes, Feeding, RunPart, RunRecord
    from shared.services.export_history import Switch

NO_CHARGE = "No charge changes."
STYLES = {RunState.IMPORTED: "green", RunState.FAILED: "red", RunState.IMPORTING: "cyan", RunState.WAITING: "yellow"}


def list_runs(
    export: Annotated[str | None, typer.Option(help="Only of this export, by its name or key.")] = None,
    states: Annotated[
        list[RunState] | None,
        typer.Option("--state", case_sensitive=False, help="Only in this state; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the last.")] = 50,
    json: AsJson = False,
) -> None:
    """List the last runs of cost exports, newest first: what each held, and what became of it."""
    refuse_empty(**{"--export": export})
    service = open_app().export_history
    records = service.listed(export or "", states or (), limit)
    if json:
        output.write_json([run_as_json(record) for record in records])
    elif not records:
        output.say("There is no such run." if export or states else "No run of an export was found yet.")
    else:
        write_runs(records, service.called())


def show(
    run: Annotated[int, typer.Argument(min=1, max=LARGEST_ID, metavar="RUN", help="Its number in the list.")],
    json: AsJson = False,
) -> None:
    """Show a run of a cost export: what it held, exactly, what became of it, and what it changed."""
    record, parts = open_app().export_history.shown(run)
    if json:
        listed = [output.chosen(part, "name", "rows", "is_staged") | {"size": part.blob.size} for part in parts]
        output.write_json(run_as_json(record) | {"files": listed})
        return
    output.write_facts(run_facts(record, parts))


def feeds(json: AsJson = False) -> None:
    """List who feeds what: the export, or the query, whose costs of a sub-account (or group) count."""
    service = open_app().export_history
    found = service.feeds()
    if json:
        output.write_json([_feeding_as_json(each) for each in found])
    elif not found:
        output.say("No export has delivered anything yet: all costs are read by query.")
    else:
        called = service.called()
        by: output.Table[Feeding] = {Column("fed by", words=True): lambda each: called.get(each.source, each.name)}
        output.write_records({**WHAT, **by, **ITS_CHARGES}, found)


def use(
    source: Annotated[
        str, typer.Argument(metavar="NAME|query", help="An export, by its name or key; or `query`, to go back.")
    ],
    sub_account: Annotated[
        str | None,
        typer.Option("--for", metavar="SUB_ACCOUNT", help="Only this subscription, or account, by its id."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json: AsJson = False,
) -> None:
    """Have an export feed what it covers, in the query's or another export's place; or the query again.

    Says first what would change, and asks. What it has delivered counts at once, and what it delivers from now on.
    """
    refuse_empty(**{"NAME": source, "--for": sub_account})
    service = open_app().export_history
    order = service.order(source, sub_account or "")
    with output.working("Looking what would change …"):
        switch = service.look(order)
    if switch.handovers and not yes:
        _ask(switch, json)
    elif not json and switch.handovers:
        _say_switch(switch)
    with output.working("Changing it …"):
        switch = service.use(order, user_name())
    if json:
        output.write_json(_switch_as_json(switch))
    elif switch.handovers:
        done = f"Done: {_changes(switch.changes)}." if switch.changes.days else NO_CHARGE
        output.say(f"{done} {_checked(switch)}")
    else:
        output.say(f"It is so already: {switch.source} feeds all that this says.")
    if switch.unasked:
        output.warn(f"{switch.unasked}; the watchdog has these projects checked")


def _ask(switch: Switch, json: bool) -> None:
    """Where there is nobody to ask, it is refused."""
    if json:
        output.write_json(_switch_as_json(switch) | {"done": False})
    else:
        _say_switch(switch)
    ask_or_refuse("Change it?", json)


def _say_switch(switch: Switch) -> None:
    output.write_records(HANDOVERS, switch.handovers)
    output.say(f"That comes to {_changes(switch.changes)}." if switch.changes.days else NO_CHARGE)
    if switch.order.source == QUERY:
        output.say("Their months are read anew from the next night on; until then, what exports delivered stays.")
    if switch.projects:
        output.say(f"Checked anew: {named(switch.projects)}.")


def _checked(switch: Switch) -> str:
    if not switch.projects:
        return "No project's figures change."
    return f"{output.count(len(switch.projects), 'project')} checked anew: {named(switch.projects)}."


# --- for people --------------------------------------------------------------------------------------------------


def run_facts(record: RunRecord, parts: list[RunPart]) -> list[tuple[str, Cell | str]]:
    """All that is known of a run."""
    run, export = record.run, record.run.export
    return [
        ("run", str(record.id)),
        ("export", f"{export.name} ({export.provider})"),
        ("key", export.key),
        ("scope", export.id),
        ("billing account", export.billing_account),
        ("dataset", export.dataset),
        ("month", months(record)),
        ("days", days(run.days) or "those in its rows"),
        ("run id", run.run_id),
        ("submitted", _utc(run.at)),
        ("lies at", run.place),
        ("parts", _parts(record)),
        ("rows", "" if record.rows is None else f"{record.rows:,}"),
        ("bytes", "" if record.size is None else f"{record.size:,}"),
        ("sum", output.exact(record.totals) if record.totals else ""),
        ("found", _utc(record.found_at)),
        ("started", _utc(record.started_at)),
        ("finished", _utc(record.finished_at)),
        ("state", Cell(record.state, STYLES.get(record.state, ""))),
        ("reason", record.reason or ""),
        ("changed", _changes(record.changes) if has_changed(record) else ""),
        *((f"part {part.number + 1}", _part(part)) for part in parts),
    ]


def has_changed(record: RunRecord) -> bool:
    """Whether to say what a run has changed; one that has failed may have made some of its charges before."""
    return record.state is RunState.IMPORTED or record.changes.days is not None


def _parts(record: RunRecord) -> str:
    if record.parts is None:
        return ""
    read = f", {record.staged:,} read" if record.state is RunState.IMPORTING else ""
    return f"{record.parts:,}{read}"


def _part(part: RunPart) -> str:
    rows = "" if part.rows is None else f", {output.count(part.rows, 'row')}"
    return f"{part.name} ({part.blob.size:,} bytes{rows})"


def months(record: RunRecord) -> str:
    """The billing periods in its rows, or those of its days: `2026-09`, `2026-08 to 2026-10`."""
    span = record.run.days
    periods = record.periods or ((span.start, span.last_day) if span else ())
    if not periods:
        return ""
    first, last = f"{periods[0]:%Y-%m}", f"{periods[-1]:%Y-%m}"
    return first if first == last else f"{first} to {last}"


def days(of_run: Period | None) -> str:
    """`2026-11-01 to 2026-11-19`; empty where a run names none."""
    return f"{of_run.start} to {of_run.last_day}" if of_run else ""


def _utc(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _changes(changes: Changes) -> str:
    """`12 charges added, 3 changed (September 2026, 1 to 20 October 2026)`."""
    counts = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    (first, *others) = [f"{count:,} {word}" for word, count in counts.items() if count] or ["no charge"]
    if changes.days is None:
        return first
    number, word = first.split()
    words = [f"{output.count(int(number.replace(',', '')), 'charge')} {word}", *others]
    return f"{named(words)} ({months_in_words([changes.days])})"


def _money(record: RunRecord) -> str:
    return ", ".join(output.money(total, currency) for currency, total in record.totals.items())


def write_runs(records: Sequence[RunRecord], called: Mapping[str, str]) -> None:
    """Runs as a list. called: what tells each export from the others, by its key."""
    name: output.Table[RunRecord] = {Column("export", words=True): lambda each: called[each.run.export.key]}
    output.write_records({**NUMBER, **name, **TABLE}, records)


NUMBER: output.Table[RunRecord] = {Column("run", right=True): lambda record: str(record.id)}
TABLE: output.Table[RunRecord] = {
    Column("account", spare=6): lambda record: record.run.export.billing_account,
    Column("dataset", spare=2): lambda record: record.run.export.dataset,
    Column("month"): months,
    Column("days", spare=5): lambda record: days(record.run.days),
    Column("state"): lambda record: Cell(record.state, STYLES.get(record.state, "")),
    Column("rows", right=True, spare=3): lambda record: "" if record.rows is None else f"{record.rows:,}",
    Column("sum", right=True): _money,
    Column("finished, UTC", spare=4): lambda record: output.minute(record.finished_at),
    Column("reason", words=True): lambda record: record.reason or "",
}
WHAT: output.Table[Feeding] = {
    Column("provider", spare=2): lambda each: each.fed.provider,
    Column("sub-account"): lambda each: each.fed.sub_account,
    Column("group"): lambda each: each.fed.group_key or "",
}
ITS_CHARGES: output.Table[Feeding] = {
    Column("its charges", spare=1): lambda each: days(each.days),
}


def _whom(fed: Fed) -> str:
    return f"{fed.sub_account}, group {fed.group_key}" if fed.group_key else fed.sub_account


HANDOVERS: output.Table[Any] = {
    Column("sub-account"): lambda each: _whom(each.fed),
    Column("fed by"): lambda each: each.fed_by or "nobody",
    Column("from now on by"): lambda each: each.then_by,
}

# --- for programs ------------------------------------------------------------------------------------------------


def run_as_json(record: RunRecord) -> dict[str, Any]:
    """A run, for programs."""
    run, export, span = record.run, record.run.export, record.run.days
    return {
        "run": record.id,
        "export": output.chosen(export, "key", "provider", "id", "name", "dataset", "billing_account"),
        "months": list(record.periods),
        "first_day": span and span.start,
        "last_day": span and span.last_day,
        "run_id": run.run_id or None,
        "submitted_at": run.at,
        "container": record.container or None,
        "place": run.place,
        **output.chosen(record, "state", "reason", "found_at", "started_at", "finished_at", "parts", "staged"),
        **output.chosen(record, "rows", "size"),
        "sums": dict(record.totals),
        "changes": _changes_as_json(record.changes),
    }


def _changes_as_json(changes: Changes) -> dict[str, Any]:
    span = changes.days
    return output.chosen(changes, "added", "changed", "removed") | {
        "first_day": span and span.start,
        "last_day": span and span.last_day,
    }


def _fed_as_json(fed: Fed) -> dict[str, Any]:
    return {"provider": fed.provider, "sub_account_id": fed.sub_account, "group": fed.group_key}


def _feeding_as_json(each: Feeding) -> dict[str, Any]:
    span = {"first_day": each.days and each.days.start, "last_day": each.days and each.days.last_day}
    return _fed_as_json(each.fed) | output.chosen(each, "source", "name") | span


def _switch_as_json(switch: Switch) -> dict[str, Any]:
    handovers = [_fed_as_json(each.fed) | output.chosen(each, "fed_by", "then_by") for each in switch.handovers]
    return {
        "source": switch.order.source,
        "done": True,
        "handovers": handovers,
        "changes": _changes_as_json(switch.changes),
        "projects": list(switch.projects),
    }
