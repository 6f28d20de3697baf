"""What is listed of projects: a few statements, however many there are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, func, select

from shared.adapters.database import budget_rows
from shared.adapters.database.budget_periods import histories, opened_periods, present_budgets
from shared.adapters.database.budget_rows import ALL, WITH_BUDGET, AnyRow, period_at, period_in, project_in, terms_of
from shared.adapters.database.converted import NOTHING_BESIDES, besides_within, missing_before
from shared.adapters.database.coverage import lacks_today
from shared.adapters.database.owners import owned_scopes
from shared.adapters.database.tables import (
    alerts,
    budgets,
    charges,
    deliveries,
    locks,
    mails,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.coverage import LACKS_NOTHING, Lacks, without_rate
from shared.domain.deliveries import Delivery, DeliveryState, Role, in_words
from shared.domain.forecast import Forecast
from shared.domain.money import add
from shared.domain.owners import OwnedScope
from shared.domain.projects import ProjectEntry, Scope
from shared.domain.thresholds import AlertOutcome
from shared.ports.mails import MailState, Topic
from shared.ports.projects import PeriodView, ProjectView

# In the period that its row holds, in its budget's currency. Of each project by itself: grouped, it would be read by
# way of the charges, in four times the time.
SPENT = (
    select(func.sum(charges.c.billed_cost))
    .join_from(scope_owners, charges, budget_rows.OWNED)
    .where(
        scope_owners.c.project_id == projects.c.id,
        charges.c.billing_currency == budgets.c.currency,
        charges.c.charge_period_start >= projects.c.period_start,
        charges.c.charge_period_start < projects.c.period_end,
    )
    .correlate(projects, budgets)
    .scalar_subquery()
)
LISTED = (
    WITH_BUDGET.add_columns(locks.c.held_since, SPENT.label("spent"))
    .outerjoin(locks, locks.c.project_id == projects.c.id)
    .order_by(projects.c.id)
)

# The mails of the revision and the period that a project's row holds, each with those of its contacts who were refused.
ALERTS_NOW = (
    select(mails.c.project_id, mails.c.threshold, mails.c.state, mails.c.reason)
    .add_columns(*(deliveries.c[each.name] for each in fields(Delivery)))
    .join_from(mails, projects, projects.c.id == mails.c.project_id)
    .outerjoin(
        deliveries,
        (deliveries.c.mail_id == mails.c.id)
        & (deliveries.c.state == DeliveryState.REFUSED)
        & deliveries.c.role.in_((Role.TO, Role.CC)),
    )
    .where(
        mails.c.topic == Topic.ALERT,
        mails.c.budget_number == projects.c.budget_number,
        mails.c.period_start == projects.c.period_start,
        (mails.c.state != MailState.SENT) | deliveries.c.mail_id.is_not(None),
    )
    .order_by(mails.c.id, deliveries.c.recipient)
)


def views_of(
    connection: Connection, today: date, lookback_days: int, converts: bool = False, which: ColumnElement[bool] = ALL
) -> list[ProjectView]:
    """The projects by id, or some of them, each with its usage in the period that holds `today`."""
    rows = connection.execute(LISTED.where(which)).all()
    periods = {row.id: period_at(row, today) for row in rows}
    held = {row.id for row in rows if period_in(row) == periods[row.id]}
    present = {project_id: period for project_id, period in periods.items() if period}
    # Where a row holds another period, its check is to come.
    others = budget_rows.sums_within(connection, [each for each in present.items() if each[0] not in held])
    wanted = [(row.id, period, row.currency) for row in rows if (period := periods[row.id])]
    counting = besides_within(connection, wanted, converts)
    budgets_now = present_budgets(connection, rows, today, converts)
    those = ((row.id, budgets_now[row.id], periods[row.id]) for row in rows)
    before = missing_before(connection, those) if converts else {}
    starts = {project_id: period.start for project_id, period in present.items()}
    mailed = budget_rows.told_in(connection, starts, alerts.c.outcome == AlertOutcome.MAILED)
    owned, handed_over = owned_scopes(connection, which), _handed_over(connection, which)
    undelivered = _undelivered(connection, which)
    lacking = lacks_today(connection, rows, budgets_now, today, lookback_days, which)
    views = []
    for row in rows:
        budget, here = budgets_now[row.id], row.id in held
        elsewhere = {currency: cost for (_, currency), cost in others.get(row.id, {}).items()}
        as_checked = here and row.active and row.costs_read_at is not None
        key = (row.id, periods[row.id], row.currency)
        besides = counting.get(key, NOTHING_BESIDES)
        charged = (row.spent if here else elsewhere.get(row.currency)) or Decimal(0)
        unrated = (*without_rate(besides.converted), *before.get(key[:2], ()))
        lacks = lacking.get(row.id, LACKS_NOTHING).and_of(Lacks(unrated, today if unrated else None))
        view = ProjectView(
            project=project_in(row),
            scopes=tuple(owned.get(row.id, ())),
            terms=budget.terms,
            budget=budget if budget.terms.amount else None,
            period=periods[row.id],
            spent=add(budget.terms.used(charged, periods[row.id]), besides.spent),
            allocated=besides.allocated,
            converted=besides.converted,
            updated_at=row.costs_read_at,
            problem=row.problem,
            gaps=lacks.gaps,
            lacks_from=lacks.since,
            alerts=tuple(sorted(mailed.get(row.id, ()))),
            undelivered=undelivered.get(row.id, {}) if here else {},
            locked_since=row.held_since,
            forecast=forecast_in(row) if as_checked else None,
            used_up_on=row.used_up_on if as_checked else None,
            handed_over=tuple(handed_over.get(row.id, ())),
        )
        views.append(view)
    return views


def _undelivered(connection: Connection, which: ColumnElement[bool]) -> dict[int, dict[int, str]]:
    """Of each project, the thresholds whose mail has not reached all of its contacts, with whom and why."""
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for alert, rows in groupby(connection.execute(ALERTS_NOW.where(which)), itemgetter(slice(4))):
        project_id, threshold, state, reason = alert
        refused = in_words(Delivery(*row[4:]) for row in rows)
        found[project_id][threshold] = refused if state is MailState.SENT else reason or "not sent yet"
    return found


def stored_entries(connection: Connection) -> list[ProjectEntry]:
    """All projects by id, as they were written."""
    owned = owned_scopes(connection, ALL)
    rows = connection.execute(WITH_BUDGET.order_by(projects.c.id))
    return [ProjectEntry(project_in(row), tuple(owned.get(row.id, ())), terms_of(row)) for row in rows]


def periods_of(
    connection: Connection, project_id: int, converts: bool = False, present: ProjectView | None = None
) -> list[PeriodView]:
    """The periods of a project's budget so far, oldest first, each in the currency of the last terms that had it.

    present: what is known already of the project in its present period.
    """
    opened = opened_periods(connection, [project_id])
    history = histories(connection, opened)[project_id]
    terms_in = {each.period: history.terms_in(each.period) for each in opened[project_id].values()}
    currencies = {
        each.period: terms.currency if (terms := terms_in[each.period]) else each.currency
        for each in opened[project_id].values()
    }
    known = {(present.period, present.currency): present} if present else {}
    wanted = [(project_id, *each) for each in currencies.items() if each not in known]
    spent = budget_rows.sums_within(connection, (each[:2] for each in wanted))
    counting = besides_within(connection, wanted, converts)
    views = []
    for each in opened[project_id].values():
        terms, currency = terms_in[each.period], currencies[each.period]
        carried = each.carried_in(currency)
        if its := known.get((each.period, currency)):
            sums = (its.spent, its.allocated, its.converted)
            views.append(PeriodView(each.period, currency, carried, each.stopped, each.settled, *sums))
            continue
        besides = counting.get((project_id, each.period, currency), NOTHING_BESIDES)
        cost = spent.get(project_id, {}).get((each.period, currency), Decimal(0))
        cost = add(terms.used(cost, each.period) if terms else cost, besides.spent)
        more = besides.allocated, besides.converted
        views.append(PeriodView(each.period, currency, carried, each.stopped, each.settled, cost, *more))
    return views


def forecast_in(row: AnyRow) -> Forecast | None:
    """What the last check expects of the period in a row of projects."""
    if row.forecast_total is None:
        return None
    return Forecast(row.forecast_total, row.forecast_low, row.forecast_high, row.forecast_days)


def _handed_over(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[OwnedScope]]:
    some_days = scope_owners.c.owned_from.is_not(None) | scope_owners.c.owned_until.is_not(None)
    rows = connection.execute(
        select(scope_owners.c.project_id, scopes.c.provider, scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .add_columns(scope_owners.c.owned_from, scope_owners.c.owned_until)
        .join(scopes, scopes.c.id == scope_owners.c.scope_id)
        .join(projects, projects.c.id == scope_owners.c.project_id)
        .where(which, some_days)
        .order_by(scope_owners.c.id)
    )
    found: dict[int, list[OwnedScope]] = {}
    for project_id, *scope, owned_from, owned_until in rows:
        found.setdefault(project_id, []).append(OwnedScope(Scope(*scope), owned_from, owned_until))
    return found
