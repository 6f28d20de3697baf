"""How projects stand, written down: by each check, and by whatever changes a project between two."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select

from shared.adapters.database.budget_periods import present_budgets
from shared.adapters.database.budget_rows import lock_projects, with_budget
from shared.adapters.database.chunks import in_chunks, insert_rows, select_in, update_rows
from shared.adapters.database.coverage import lacks_today
from shared.adapters.database.listings import views_of
from shared.adapters.database.tables import projects, scope_owners, scopes, standings
from shared.adapters.database.types import largest_amount
from shared.domain.coverage import LACKS_NOTHING, Gap
from shared.domain.currencies import Conversion, ConvertedSum
from shared.domain.money import EXACT
from shared.domain.projects import Project
from shared.domain.standings import Figures, searched
from shared.domain.texts import folded
from shared.ports.checks import ProjectUsage
from shared.ports.projects import ProjectView

# What is known of the figures of a project of which nobody has worked out any, or that can't be held.
NO_FIGURES = dict.fromkeys(
    (
        *("as_of", "currency", "period_start", "period_end", "amount", "spent", "allocated", "percent"),
        *("converted", "rate_sources", "last_rate_day", "lacks_from", "unrated", "ends_on"),
    )
)


def figures_of(usage: ProjectUsage, today: date) -> Figures:
    """The figures of a project as a check has seen it in its present period."""
    budget, period = usage.budget, usage.period
    return Figures(
        period=period,
        currency=budget.terms.currency or None,
        amount=budget.amount,
        spent=EXACT.subtract(usage.usage, usage.allocated),
        allocated=usage.allocated,
        converted=_summed(usage.converted),
        percent=budget.percent(usage.usage),
        lacks_from=usage.lacks_from,
        unrated=_unrated(usage.gaps),
        ends_on=budget.terms.rule.next_start(today),
    )


def write_standings(connection: Connection, figures: Iterable[tuple[Project, Figures]], as_of: datetime) -> None:
    """Writes down how these projects stand. They are locked, or new."""
    largest = largest_amount(connection.dialect)
    rows = [_row(project, its, as_of, largest) for project, its in figures]
    for some in in_chunks([row["project_id"] for row in rows]):
        connection.execute(delete(standings).where(standings.c.project_id.in_(some)))
    insert_rows(connection, standings, rows)


def stand(
    connection: Connection, project_ids: Collection[int], now: datetime, lookback_days: int, converts: bool
) -> None:
    """Works out how these projects stand, which are locked or new, and writes it down: they have changed."""
    today = now.astimezone(UTC).date()
    for some in in_chunks(sorted(project_ids)):
        views = views_of(connection, today, lookback_days, converts, projects.c.id.in_(some))
        write_standings(connection, [(view.project, _figures_in(view, today)) for view in views], now)


def note_lacking(
    connection: Connection, provider: str, sub_account_ids: Sequence[str], now: datetime, lookback_days: int
) -> None:
    """Writes down since when the figures of whoever has, or had, anything in these sub-accounts lack something.

    What became known of those is what nobody could read: no check follows.
    """
    of = select(scope_owners.c.project_id).distinct().join(scopes, scopes.c.id == scope_owners.c.scope_id)
    of = of.where(scopes.c.provider == provider)
    owners = sorted({row.project_id for row in select_in(connection, of, scopes.c.sub_account_id, sub_account_ids)})
    lock_projects(connection, owners)
    today = now.astimezone(UTC).date()
    for some in in_chunks(owners):
        rows = [row for row in with_budget(connection, some) if row.active]
        lacks = lacks_today(
            connection, rows, present_budgets(connection, rows, today), today, lookback_days, projects.c.id.in_(some)
        )
        since = [{"project_id": row.id, "lacks_from": lacks.get(row.id, LACKS_NOTHING).since} for row in rows]
        update_rows(connection, standings, since, "project_id")


def _figures_in(view: ProjectView, today: date) -> Figures:
    return Figures(
        period=view.period,
        currency=view.currency,
        amount=view.amount,
        spent=view.spent,
        allocated=view.allocated,
        converted=_summed(view.converted),
        percent=view.budget.percent(view.used) if view.budget else None,
        lacks_from=view.lacks_from,
        unrated=_unrated(view.gaps),
        ends_on=view.terms.rule.next_start(today),
    )


def _summed(converted: Conversion) -> ConvertedSum | None:
    return converted.summed if converted.sources else None


def _unrated(gaps: Iterable[Gap]) -> tuple[tuple[str, date], ...]:
    return tuple((gap.currency, gap.days.start) for gap in gaps if gap.currency)


def _row(project: Project, figures: Figures, as_of: datetime, largest: Decimal) -> dict[str, Any]:
    row: dict[str, Any] = {
        "project_id": project.id,
        "acronym_key": folded(project.acronym),
        "searched": searched(project.acronym, project.name),
    } | NO_FIGURES
    converted, period = figures.converted, figures.period
    amounts = (figures.amount, figures.spent, figures.allocated, converted.amount if converted else None)
    if any(amount is not None and abs(amount) > largest for amount in amounts):
        return row
    return row | {
        "as_of": as_of,
        "currency": figures.currency,
        "period_start": period and period.start,
        "period_end": period and period.end,
        "amount": figures.amount,
        "spent": figures.spent,
        "allocated": figures.allocated,
        # A budget of a cent of which a fortune is used.
        "percent": None if figures.percent is None else min(figures.percent, largest),
        "converted": converted and converted.amount,
        "rate_sources": converted and sorted(converted.sources),
        "last_rate_day": converted and converted.last_rate_day,
        "lacks_from": figures.lacks_from,
        "unrated": [(currency, day.isoformat()) for currency, day in figures.unrated] or None,
        "ends_on": figures.ends_on,
    }
