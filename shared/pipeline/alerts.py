"""What a check makes of a project: its alert, an early warning, what operators are told, what is asked of its lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from typing_extensions import override

from shared.domain import thresholds
from shared.domain.forecast import as_told, spent_between, warns
from shared.domain.locks import FULL, Figure, LockMode, LockWhy
from shared.domain.money import plain
from shared.domain.projects import LockPolicy, Project, Scope
from shared.domain.texts import in_shell
from shared.messages import LockAction
from shared.pipeline.mail_context import (
    converted_context,
    missing_context,
    portal_link,
    project_context,
    unreached_context,
)
from shared.pipeline.operators import Operators
from shared.ports.checks import Judge, Judgement, ProjectUsage
from shared.ports.errors import NeverError
from shared.ports.mails import NewMail, Topic

TOP_SERVICES = 5
IN_THE_FILE = "Write the same into the projects file: loading it as it is would undo this."


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """What alerts there are, and what they say.

    thresholds: percents. bcc: who gets a blind copy of alerts from `bcc_from` on. lock_mode: what happens at 100 %.
    portal_url: a link with {acronym}, or empty. lock_level, lock_stops: what a lock means.
    """

    thresholds: tuple[int, ...]
    bcc: tuple[str, ...]
    bcc_from: int
    lock_mode: LockMode
    portal_url: str
    lock_level: str = "ReadOnly"
    lock_stops: bool = False

    def at_100(self, project: Project) -> str:
        """What happens to this project at 100 %, in the templates' words: nothing, dry-run or lock."""
        if project.lock is LockPolicy.NEVER:
            return "nothing"
        return {LockMode.OFF: "nothing", LockMode.DRY_RUN: "dry-run", LockMode.ENFORCE: "lock"}[self.lock_mode]


@dataclass(frozen=True, slots=True)
class Alerts(Judge):
    """The Judge of one check. run_key: of the run that it belongs to."""

    policy: AlertPolicy
    operators: Operators
    today: date
    run_key: str | None

    @override
    def judge(self, usage: ProjectUsage) -> Judgement:
        return replace(self._judge(usage), lock=self._lock_asked(usage))

    def _judge(self, usage: ProjectUsage) -> Judgement:
        amount, percents = usage.budget.available, usage.budget.terms.thresholds or self.policy.thresholds
        if usage.over and amount is None:
            return Judgement(None, percents)
        if usage.other_currencies and amount is not None:
            return self._other_currency(usage, percents)
        if usage.period is None and amount is not None:
            return Judgement(None, percents, "its budget has no period today")
        if usage.period is None or amount is None:
            return self._no_budget(usage, percents)
        decision = thresholds.decide(percents, usage.told, usage.usage, amount, usage.last)
        if usage.over:
            return Judgement(decision, percents)
        if decision.alert == FULL and self._is_told_by_the_lock(usage):
            decision = decision.without_mail
        # Once for a revision in a period, whatever the forecast does after that.
        is_due = not usage.warned and warns(usage.forecast, usage.usage, amount, usage.period, self.today)
        return Judgement(decision, percents, warns=is_due)

    def _is_told_by_the_lock(self, usage: ProjectUsage) -> bool:
        """Whether its people had a mail that it was locked, by Azure's figure, for this budget and period."""
        held, period = usage.held, usage.period
        if held is None or held.why is LockWhy.ORDER or period is None or self.policy.at_100(usage.project) != "lock":
            return False
        return (held.budget_number, held.period_start) == (usage.budget.first_number, period.start)

    @override
    def alert(
        self, usage: ProjectUsage, threshold: int, by_service: Mapping[str, Decimal], scopes: Sequence[Scope]
    ) -> NewMail:
        yesterday, week_ago = self.today - timedelta(days=1), self.today - timedelta(days=7)
        context = {
            "threshold": threshold,
            "spent_yesterday": self._spent_since(yesterday, usage),
            "spent_last_7_days": self._spent_since(week_ago, usage),
            "lasts": usage.forecast is not None and usage.used_up_on is None,
            "top_services": dearest(by_service),
            "is_locked": usage.held is not None,
            **self._expected(usage),
            **self._happens(usage, scopes),
        }
        bcc = self.policy.bcc if threshold >= self.policy.bcc_from else ()
        return self._mail(usage, Topic.ALERT, "alert", context, threshold, bcc)

    def _spent_since(self, day: date, usage: ProjectUsage) -> str | None:
        """What was spent from that day up to yesterday; None where some of those days are missing."""
        if usage.read_on < self.today or any(day < gap.days.end and gap.days.start < self.today for gap in usage.gaps):
            return None
        return plain(spent_between(usage.by_day, day, self.today))

    @override
    def warning(self, usage: ProjectUsage, by_service: Mapping[str, Decimal], scopes: Sequence[Scope]) -> NewMail:
        context = {"top_services": dearest(by_service), **self._expected(usage), **self._happens(usage, scopes)}
        return self._mail(usage, Topic.EARLY_WARNING, "warning", context)

    def _expected(self, usage: ProjectUsage) -> dict[str, str]:
        """What the whole period will cost, and between which bounds; nothing where that can't be told."""
        if usage.forecast is None or usage.over:
            return {}
        told = as_told(usage.forecast, usage.usage)
        return {"forecast": plain(told.total), "low": plain(told.low), "high": plain(told.high)}

    def _mail(
        self,
        usage: ProjectUsage,
        topic: Topic,
        template: str,
        context: Mapping[str, Any],
        threshold: int | None = None,
        bcc: tuple[str, ...] = (),
    ) -> NewMail:
        """A mail to the project's people about its budget in this period, made once by its key."""
        project, budget, period = usage.project, usage.budget, usage.period
        if budget.amount is None or period is None:
            raise NeverError(f"project {project.acronym} has no budget or period to make a mail about")
        key = f"{template}/{project.id}/{budget.number}/{period.start}"
        of_period = {
            "spent": plain(usage.usage),
            "missing": missing_context(usage.gaps),
            **converted_context(usage.converted),
            "opening_balance": plain(opening) if (opening := budget.terms.opening_in(period)) else None,
            "allocated": plain(usage.allocated) if usage.allocated else None,
            "percent": plain(budget.percent(usage.usage) or Decimal(0)),
            "amount": plain(budget.amount),
            "currency": budget.terms.currency,
            "period_start": period.start.isoformat(),
            "period_end": period.end.isoformat(),
            "used_up_on": usage.used_up_on.isoformat() if usage.used_up_on else None,
            "period_over": usage.over,
            "as_of": self.today.isoformat(),
            "portal_link": portal_link(self.policy.portal_url, project),
        }
        return NewMail(
            key=key if threshold is None else f"{key}/{threshold}",
            template=template,
            to=project.contacts,
            bcc=bcc,
            context={**project_context(project), **of_period, **context},
            topic=topic,
            language=project.language,
            project_id=project.id,
            budget_number=budget.number,
            period_start=period.start,
            threshold=threshold,
            run_key=self.run_key,
        )

    def _happens(self, usage: ProjectUsage, scopes: Sequence[Scope]) -> dict[str, Any]:
        """What happens at 100 %, and to what it does not."""
        return {
            "at_100": self._at_100(usage, scopes),
            "lock_level": self.policy.lock_level,
            "lock_stops": self.policy.lock_stops,
            "unreached": unreached_context(scopes),
        }

    def _at_100(self, usage: ProjectUsage, scopes: Sequence[Scope]) -> str:
        """As `AlertPolicy.at_100`; own: what is allocated counts, and only what the project itself spends locks it."""
        is_out_of_reach = usage.released or not any(each.can_be_locked for each in scopes)
        happens = "nothing" if is_out_of_reach else self.policy.at_100(usage.project)
        return "own" if happens == "lock" and usage.allocated and not _is_full(usage) else happens

    def _lock_asked(self, usage: ProjectUsage) -> tuple[LockAction, str] | None:
        """Asked again at each check: so neither a crash nor a hand in the portal undoes a lock, and it comes off."""
        if self.policy.lock_mode is LockMode.OFF or usage.over:
            return None
        available, currency = usage.budget.available or Decimal(0), usage.budget.terms.currency
        figure = f"{Figure(usage.own, available, currency, converted=str(usage.converted))} is used"
        if _is_full(usage) and not usage.released:
            return LockAction.LOCK, figure
        return None if usage.held is None else (LockAction.UNLOCK, figure)

    def _no_budget(self, usage: ProjectUsage, percents: tuple[int, ...]) -> Judgement:
        project = usage.project
        why, key = "has no budget", f"no-budget/{project.id}/{usage.budget.first_number}"
        if usage.budget.stopped and usage.period is not None:
            why = f"has no budget since {usage.period.start}: the one before ended with its period"
            key += f"/{usage.period.start}"
        notice = self.operators.notice(
            Topic.NO_BUDGET,
            key,
            f"{project.acronym} has no budget",
            f"Project {project.acronym} ({project.name}) {why}. Nobody is told what it spends.",
            advice=f'Give it one: `python -m shared.cli budgets set {in_shell(project.acronym)} AMOUNT --reason "…"`.',
        )
        return Judgement(None, percents, f"it {why}", (_about(usage, notice),))

    def _other_currency(self, usage: ProjectUsage, percents: tuple[int, ...]) -> Judgement:
        project, currencies = usage.project, ", ".join(usage.other_currencies)
        budget_currency = usage.budget.terms.currency
        problem = f"it is charged in {currencies}, and its budget is in {budget_currency}; the two are never added"
        notice = self.operators.notice(
            Topic.CURRENCY,
            f"currency/{project.id}/{usage.budget.first_number}/{', '.join(sorted(usage.last_charged)) or currencies}",
            f"{project.acronym} can't be watched: two currencies",
            f"Project {project.acronym} ({project.name}) can't be compared with its budget: {problem}.",
            advice=_way_out(usage),
        )
        return Judgement(None, percents, problem, (_about(usage, notice),))


def _way_out(usage: ProjectUsage) -> str:
    """What makes a project that is charged in another currency than its budget's comparable again, in one step."""
    period, days = usage.period, usage.last_charged
    if usage.over or period is None or not days:
        return "That period is over: what it spent has to be compared by hand."
    newest = max(days, key=lambda currency: (days[currency], currency != usage.budget.terms.currency))
    command = f"python -m shared.cli budgets set {in_shell(usage.project.acronym)} AMOUNT --currency {newest}"
    if len(days) == 1:
        return f'Give it a budget in {newest}: `{command} --reason "…"`. {IN_THE_FILE}'
    # No budget of the whole period can be compared, whatever its currency: the charges before are in the other.
    begin = max(day for currency, day in days.items() if currency != newest) + timedelta(days=1)
    others = " and ".join(sorted(days.keys() - {newest}))
    if begin >= period.end:
        return (
            f"Its charges are in {others} and {newest} up to the period's end; a budget in {newest} is right after it."
        )
    return (
        f"Its charges are in {others} up to {begin - timedelta(days=1)}, so that no budget for the whole period can be "
        f"compared. Give it one in {newest} for the days since, and say what was spent before, in {newest}: "
        f"`{command} --period fixed --period-start {begin} --period-end {period.last_day} "
        f'--opening-balance SPENT --reason "…"`. From {period.end} on it can have its periods again. '
        f"{IN_THE_FILE}"
    )


def _is_full(usage: ProjectUsage) -> bool:
    """Whether the project itself has used all of the budget, as far as that can be told."""
    available = usage.budget.available
    if available is None or usage.period is None or usage.other_currencies or not usage.own_is_whole:
        return False
    return thresholds.reached(FULL, usage.own, available)


def _about(usage: ProjectUsage, notice: NewMail) -> NewMail:
    return replace(notice, project_id=usage.project.id, budget_number=usage.budget.number)


def dearest(by_service: Mapping[str, Decimal]) -> list[list[str]]:
    """The five services that cost the most, as [name, amount]; those that cost nothing are left out."""
    ordered = sorted(by_service.items(), key=lambda item: (-item[1], item[0]))
    return [[name, plain(cost)] for name, cost in ordered[:TOP_SERVICES] if cost > 0]
