"""What `projects show` writes of one project: how it stands, and its budget's periods and revisions."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from shared.cli import output
from shared.cli.output import Cell, Column
from shared.domain.budgets import Rollover
from shared.domain.forecast import as_told
from shared.domain.periods import PeriodKind
from shared.domain.projects import LockPolicy
from shared.ports.azure import AZURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from shared.domain.budgets import BudgetTerms
    from shared.domain.locks import LockMode
    from shared.domain.owners import OwnedScope
    from shared.domain.periods import Period
    from shared.domain.projects import Scope
    from shared.ports.projects import PeriodView, ProjectView, RevisionView
    from shared.services.projects import ProjectDetails

WHO_ANSWERS = ("owner", "department", "cost_centre")
THEN = {
    Rollover.RESET: "the same amount again (reset)",
    Rollover.CARRY_OVER: "the same amount, and what was not used (carry_over)",
    Rollover.DRAW_DOWN: "what is left of the total (draw_down)",
    Rollover.STOP: "no budget, until someone sets one (stop)",
}


def write(project: ProjectDetails, thresholds: Sequence[int], lock_mode: LockMode) -> None:
    """Writes all of it for people. thresholds, lock_mode: those of the settings."""
    output.write_facts(_facts(project.view, thresholds, lock_mode))
    if project.periods:
        output.say()
        output.write_records(PERIODS, project.periods)
    output.say()
    output.write_records(REVISIONS, project.revisions)


def as_json(project: ProjectDetails) -> dict[str, Any]:
    """What there is besides what `projects list` says."""
    view = project.view
    return {
        **output.chosen(view.project, "language", "contacts"),
        "resource_groups": [
            {"subscription_id": scope.sub_account_id, "name": scope.resource_group}
            for scope in view.scopes
            if scope.provider == AZURE
        ],
        "sub_accounts": [
            output.chosen(scope, "provider", "sub_account_id") for scope in view.scopes if scope.provider != AZURE
        ],
        "owned_in_part": [
            output.chosen(each.scope, "provider", "sub_account_id", "resource_group")
            | output.chosen(each, "owned_from", "owned_until")
            for each in view.handed_over
        ],
        "thresholds": view.terms.thresholds,
        **output.chosen(view, "alerts", "problem"),
        "undelivered": [{"threshold": each, "reason": reason} for each, reason in sorted(view.undelivered.items())],
        "periods": [_period(period) for period in project.periods],
        "revisions": [_revision(revision) for revision in project.revisions],
    }


def carried_in(carried: Decimal, currency: str | None) -> str:
    """What came from the periods before, for people: `200.00 CAD carried from the period before`."""
    if carried < 0:
        return f"less {output.money(-carried, currency)} used in the periods before"
    return f"{output.money(carried, currency)} carried from the period before"


# --- for people ----------------------------------------------------------------------------------------------

PERIODS: output.Table[PeriodView] = {
    Column("period from"): lambda view: str(view.period.start),
    Column("to"): lambda view: str(view.period.last_day),
    Column("carried into it", right=True): lambda view: (
        output.money(view.carried, view.currency) if view.carried else "nothing"
    ),
    Column("that is"): lambda view: ("final" if view.settled else "provisional") if view.carried else "",
    Column("spent", right=True): lambda view: output.money(view.spent, view.currency),
    Column("allocated", right=True): lambda view: output.money(view.allocated, view.currency) if view.allocated else "",
    Column("note", words=True): lambda view: Cell("stopped: no budget" if view.stopped else "", "yellow"),
    Column("converted", words=True, spare=1): lambda view: f"by {view.converted}" if view.converted.sources else "",
}
REVISIONS: output.Table[RevisionView] = {
    Column("revision", right=True): lambda revision: str(revision.number),
    Column("budget", right=True): lambda revision: output.budget(revision.terms),
    Column("opening balance", words=True, spare=1): lambda revision: (
        opening_in_words(revision.terms) if revision.terms.opening else ""
    ),
    Column("period", words=True, spare=2): lambda revision: rule_in_words(revision.terms),
    Column("rollover", spare=3): lambda revision: _rollover(revision.terms),
    Column("thresholds", words=True, spare=4): lambda revision: (
        output.thresholds(revision.terms.thresholds or ()) or "settings"
    ),
    Column("made, UTC"): lambda revision: output.minute(revision.made_at),
    Column("by", words=True): attrgetter("made_by"),
    Column("reason", words=True): attrgetter("reason"),
}


def _facts(view: ProjectView, thresholds: Sequence[int], lock_mode: LockMode) -> Iterable[tuple[str, Cell | str]]:
    unreached = [_scope(each) for each in view.scopes if not each.can_be_locked]
    return [
        ("project", f"{view.project.acronym} (id {view.project.id})"),
        ("name", view.project.name),
        ("active", "yes" if view.project.active else "no"),
        ("groups", "\n".join(map(_scope, view.scopes))),
        *([("only in part", "\n".join(map(_owned, view.handed_over)))] if view.handed_over else []),
        ("contacts", "\n".join(view.project.contacts) or "none; the operators get its mails"),
        *((name.replace("_", " "), text) for name in WHO_ANSWERS if (text := getattr(view.project, name))),
        ("language", {"en": "English", "fr": "French"}.get(view.project.language or "", "English and French")),
        ("budget", _budget(view)),
        (
            "period",
            f"{view.period.start} to {view.period.last_day}, both days included" if view.period else "none today",
        ),
        ("after it", _after(view)),
        ("thresholds", _thresholds(view, thresholds)),
        ("spent", _spent(view)),
        ("allocated", output.money(view.allocated, view.currency) if view.allocated else ""),
        ("converted", f"by {view.converted}" if view.converted.sources else ""),
        ("used", output.percent(view.percent)),
        *_expected(view),
        ("mailed", _mailed(view)),
        ("lock", _lock(view, lock_mode)),
        *([("no lock on", "\n".join(unreached))] if unreached else []),
        ("costs read", f"{output.minute(view.updated_at)} UTC" if view.updated_at else "not yet"),
        ("missing", Cell("\n".join(map(str, view.gaps)), "yellow")),
        ("problem", Cell(view.problem or "", "yellow")),
    ]


def _period_in_words(period: Period | None) -> str:
    return f"{period.start} to {period.last_day}, both days included" if period else "none today"


def _scope(scope: Scope) -> str:
    if scope.provider == AZURE:
        return f"{scope.resource_group}  (subscription {scope.sub_account_id})"
    return f"{scope.sub_account_id}  ({scope.provider})"


def _owned(owned: OwnedScope) -> str:
    days = [f"from {owned.owned_from} on"] if owned.owned_from else []
    days += [f"before {owned.owned_until}"] if owned.owned_until else []
    return f"{_scope(owned.scope)}: the days {' and '.join(days)}"


def _budget(view: ProjectView) -> Cell | str:
    amount = view.amount
    if view.budget is not None and view.budget.stopped:
        return Cell("none: it stopped with the period before (`budgets set` starts it again)", "yellow")
    if view.budget is None or amount is None:
        return "none"
    now = output.money(amount, view.currency)
    if not view.budget.carried:
        return now
    return f"{now} ({output.budget(view.terms)}, {carried_in(view.budget.carried, view.currency)})"


def _spent(view: ProjectView) -> str:
    spent = output.money(view.spent, view.currency)
    return (
        f"{spent}, of which {output.money(view.opening, view.currency)} is the opening balance"
        if view.opening
        else spent
    )


def _after(view: ProjectView) -> str:
    """What follows the present period."""
    if view.budget is None:
        return ""
    return "nothing: its period is fixed" if view.terms.rule.kind is PeriodKind.FIXED else THEN[view.terms.rollover]


def _thresholds(view: ProjectView, of_the_settings: Sequence[int]) -> str:
    if view.terms.thresholds is None:
        return f"{output.thresholds(of_the_settings)} (those of the settings)"
    return f"{output.thresholds(view.terms.thresholds)} (its own)"


def _expected(view: ProjectView) -> list[tuple[str, Cell | str]]:
    if view.period is None or view.forecast is None:
        return [("forecast", ""), ("used up", str(view.used_up_on or ""))]
    told = as_told(view.forecast, view.used)
    low, high = output.short(told.low), output.short(told.high)
    total = f"{output.short(told.total)} {view.currency}"
    lasts = "not before the period's end" if view.amount else ""
    return [
        ("forecast", f"{total} at the period's end; four times in five between {low} and {high}"),
        ("used up", str(view.used_up_on or lasts)),
    ]


def _mailed(view: ProjectView) -> Cell | str:
    def told(threshold: int) -> str:
        why = view.undelivered.get(threshold)
        return output.thresholds([threshold]) + (f" (not delivered: {why})" if why else "")

    mailed = ", ".join(map(told, view.alerts)) or "no alert in this period"
    return Cell(mailed, "yellow") if view.undelivered.keys() & {*view.alerts} else mailed


def _lock(view: ProjectView, mode: LockMode) -> Cell | str:
    if view.locked_since:
        return Cell(f"locked since {output.minute(view.locked_since)} UTC", "bold red")
    if view.project.lock is LockPolicy.NEVER:
        return "not locked, and never is to be"
    return f"not locked; at 100 % it goes by LOCK_MODE, which is {mode} here"


def _rollover(terms: BudgetTerms) -> str:
    return "" if terms.rule.kind is PeriodKind.FIXED else terms.rollover.value


def opening_in_words(terms: BudgetTerms) -> str:
    """A budget's opening balance, for people: `2,920.00 CAD in the period from 2026-04-01`."""
    if terms.opening is None:
        return "none"
    return f"{output.money(terms.opening.amount, terms.currency)} in the period from {terms.opening.period_start}"


def rule_in_words(terms: BudgetTerms) -> str:
    """A budget's period, for people: `annual from 04-01`."""
    rule = terms.rule
    until = f" to {rule.last_day}" if rule.end else ""
    return f"{rule.kind} from {rule.start if rule.end else f'{rule.start:%m-%d}'}{until}"


# --- for programs --------------------------------------------------------------------------------------------


def _period(view: PeriodView) -> dict[str, Any]:
    return {
        "period_start": view.period.start,
        "period_end": view.period.last_day,
        **output.chosen(view, "carried", "stopped", "spent", "allocated"),
        "final": view.settled,
        "currency": view.currency or None,
        **output.converted(view.converted),
    }


def _revision(revision: RevisionView) -> dict[str, Any]:
    return {
        "number": revision.number,
        **terms_for_programs(revision.terms),
        **output.chosen(revision, "made_at", "made_by", "reason"),
    }


def terms_for_programs(terms: BudgetTerms) -> dict[str, Any]:
    """What a revision says."""
    rule = terms.rule
    return {
        "budget": terms.amount,
        "currency": terms.currency or None,
        "period": rule.kind,
        "period_start": rule.start,
        "period_end": rule.last_day,
        **output.chosen(terms, "rollover", "thresholds"),
        "opening_balance": output.chosen(terms.opening, "amount", "period_start") if terms.opening else None,
    }
