"""ProjectUsageNotifier: compares usage with the budget, makes the alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from shared.domain import thresholds
from shared.domain.forecast import forecast, spent_between, used_up_on, warns
from shared.domain.locks import FULL, LockMode, Outcome, decide_unlock
from shared.domain.money import plain
from shared.domain.periods import Period
from shared.domain.projects import LockPolicy
from shared.messages import (
    Envelope,
    LockAction,
    LockMessage,
    LockTrigger,
    NotificationMessage,
    Queue,
)
from shared.pipeline.dead_letters import DeadLetters, project_letter
from shared.pipeline.events import log
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, Retry, mails_out, outgoing
from shared.ports.checks import CheckLedger, Judgement, ProjectUsage, Spending
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger, NewMail, Topic

TOP_SERVICES = 5


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """What alerts there are, and what they say.

    thresholds: percents. bcc: who gets a blind copy of alerts from `bcc_from` on. lock_mode: what happens at 100 %.
    portal_url: a link with {acronym}, or empty.
    """

    thresholds: tuple[int, ...]
    bcc: tuple[str, ...]
    bcc_from: int
    lock_mode: LockMode
    portal_url: str

    def at_100(self, project: ProjectUsage) -> str:
        """What happens to this project at 100 %, in the templates' words: nothing, dry-run or lock."""
        if project.lock is LockPolicy.NEVER:
            return "nothing"
        return {LockMode.OFF: "nothing", LockMode.DRY_RUN: "dry-run", LockMode.ENFORCE: "lock"}[self.lock_mode]


@dataclass(frozen=True, slots=True)
class Notifier:
    """Checks projects and hands on the mails that nobody has begun to send."""

    checks: CheckLedger
    mails: MailLedger
    dead_letters: DeadLetters
    operators: Operators
    policy: AlertPolicy
    retry: Retry
    clock: Clock

    def notify(self, message: NotificationMessage, origin: str) -> list[Outgoing]:
        """One notification message. origin: the queue message's id."""
        try:
            return self._check(message, origin)
        except LaterError as error:
            return self._later(message, origin, error)
        except NeverError as error:
            if len(message.project_ids) == 1:
                return self._failed(message, origin, error.reason)
            return _one_by_one(message)
        except Exception:
            if len(message.project_ids) == 1:
                raise
            # Whichever project it is, it shall fail alone; alone, the error goes to the host.
            log.exception("check_split projects=%s", len(message.project_ids))
            return _one_by_one(message)

    def _check(self, message: NotificationMessage, origin: str) -> list[Outgoing]:
        today, run_key = self.clock().date(), message.envelope.run_id

        def judge(project: ProjectUsage) -> Judgement:
            return self._judge(project, today, run_key)

        def compose(project: ProjectUsage, threshold: int, spending: Spending) -> NewMail:
            return self._alert_mail(project, threshold, spending, today, run_key)

        result = self.checks.check(message.project_ids, judge, compose, self.clock())
        for project_id in result.unknown:
            reason = f"there is no project {project_id}; `python -m shared.cli projects list` shows them all"
            self.dead_letters.record(Queue.NOTIFICATION, project_letter(project_id), reason, f"{origin}/{project_id}")
        locks = (
            LockMessage(action, project_id, reason=reason, trigger=LockTrigger.CHECK, envelope=Envelope(run_key))
            for project_id, action, reason in result.locks
        )
        return [*mails_out(result.unsent), *outgoing(locks)]

    def _judge(self, project: ProjectUsage, today: date, run_key: str | None) -> Judgement:
        amount, percents = project.budget.amount, project.budget.terms.thresholds or self.policy.thresholds
        if project.other_currencies and amount is not None:
            return self._other_currency(project, percents)
        if project.period is None and amount is not None:
            return Judgement(None, percents, "its budget has no period today")
        if project.period is None or amount is None:
            return self._no_budget(project, percents)
        decision = thresholds.decide(percents, project.told, project.usage, amount, project.last)
        warning = self._early_warning(project, amount, project.period, today, run_key)
        lock = self._lock_asked(project, amount, project.period)
        return Judgement(decision, percents, None, (warning,) if warning else (), lock)

    def _lock_asked(self, project: ProjectUsage, amount: Decimal, period: Period) -> tuple[LockAction, str] | None:
        """Asked again at each check, as long as it holds: so neither a crash nor a hand in the portal undoes it."""
        if self.policy.lock_mode is LockMode.OFF:
            return None
        currency = project.budget.terms.currency
        if thresholds.reached(FULL, project.usage, amount):
            asked = LockAction.LOCK, f"{plain(project.usage)} of {plain(amount)} {currency} is used"
            return None if project.released else asked
        if project.held is None:
            return None
        unlock = decide_unlock(LockMode.ENFORCE, project.held, project.budget, period, project.usage)
        return (LockAction.UNLOCK, unlock.reason) if unlock.outcome is Outcome.UNLOCKED else None

    def _early_warning(
        self, project: ProjectUsage, amount: Decimal, period: Period, today: date, run_key: str | None
    ) -> NewMail | None:
        """Once for a revision in a period, whatever the forecast does after that: the key is the mail's for good."""
        if project.warned:
            return None
        expected = forecast(project.by_day, period, today)
        if expected is None or not warns(expected, project.usage, amount, period, today):
            return None
        used_up = used_up_on(project.by_day, amount, period, today)
        context = {
            "acronym": project.acronym,
            "name": project.name,
            "spent": plain(project.usage),
            "percent": plain(project.budget.percent(project.usage) or Decimal(0)),
            "amount": plain(amount),
            "currency": project.budget.terms.currency,
            "period_start": period.start.isoformat(),
            "period_end": period.end.isoformat(),
            "forecast": plain(expected.total),
            "low": plain(expected.low),
            "high": plain(expected.high),
            "used_up_on": used_up.isoformat() if used_up else None,
            "as_of": today.isoformat(),
        }
        return NewMail(
            key=f"warning/{project.project_id}/{project.budget.number}/{period.start}",
            template="warning",
            to=project.contacts,
            context=context | self._links(project),
            topic=Topic.EARLY_WARNING,
            language=project.language,
            project_id=project.project_id,
            budget_number=project.budget.number,
            period_start=period.start,
            run_key=run_key,
        )

    def _no_budget(self, project: ProjectUsage, percents: tuple[int, ...]) -> Judgement:
        acronym, advice = project.acronym, 'Give it one: `python -m shared.cli budget set {} AMOUNT --reason "…"`.'
        why, key = "has no budget", f"no-budget/{project.project_id}/{project.budget.number}"
        if project.budget.stopped and project.period is not None:
            why = f"has no budget since {project.period.start}: the one before ended with its period"
            key += f"/{project.period.start}"
        notice = self.operators.notice(
            Topic.NO_BUDGET,
            key,
            f"{acronym} has no budget",
            f"Project {acronym} ({project.name}) {why}. Nobody is told what it spends.",
            advice=advice.format(acronym),
        )
        return Judgement(None, percents, f"it {why}", (notice,))

    def _other_currency(self, project: ProjectUsage, percents: tuple[int, ...]) -> Judgement:
        currencies = ", ".join(project.other_currencies)
        budget_currency = project.budget.terms.currency
        problem = f"it is charged in {currencies}, and its budget is in {budget_currency}; the two are never added"
        notice = self.operators.notice(
            Topic.CURRENCY,
            f"currency/{project.project_id}/{project.budget.number}/{currencies}",
            f"{project.acronym} can't be watched: two currencies",
            f"Project {project.acronym} ({project.name}) can't be compared with its budget: {problem}.",
            advice=f"Load the project with a budget in {currencies}.",
        )
        return Judgement(None, percents, problem, (notice,))

    def _alert_mail(
        self, project: ProjectUsage, threshold: int, spending: Spending, today: date, run_key: str | None
    ) -> NewMail:
        period_start = project.period.start if project.period else today
        return NewMail(
            key=f"alert/{project.project_id}/{project.budget.number}/{period_start}/{threshold}",
            template="alert",
            to=project.contacts,
            bcc=self.policy.bcc if threshold >= self.policy.bcc_from else (),
            context=alert_context(project, threshold, spending, today) | self._links(project),
            topic=Topic.ALERT,
            language=project.language,
            project_id=project.project_id,
            budget_number=project.budget.number,
            period_start=period_start,
            threshold=threshold,
            run_key=run_key,
        )

    def _links(self, project: ProjectUsage) -> dict[str, Any]:
        link = self.policy.portal_url.replace("{acronym}", project.acronym) or None
        return {"at_100": self.policy.at_100(project), "portal_link": link}

    def _later(self, message: NotificationMessage, origin: str, error: LaterError) -> list[Outgoing]:
        return self.retry.later(
            message,
            error,
            "check",
            since=message.envelope.first_queued_at,
            give_up=lambda reason: self._failed(message, origin, reason),
            projects=len(message.project_ids),
        )

    def _failed(self, message: NotificationMessage, origin: str, reason: str) -> list[Outgoing]:
        self.checks.give_up(message.project_ids, reason)
        for project_id in message.project_ids:
            self.dead_letters.record(Queue.NOTIFICATION, project_letter(project_id), reason, f"{origin}/{project_id}")
        mail = self.operators.notice(
            Topic.CHECKS_FAILED,
            f"check/{self.clock().date()}",
            "Projects could not be checked",
            f"{len(message.project_ids)} project(s) could not be compared with their budget: {reason}.",
            [f"Projects: {', '.join(map(str, message.project_ids[:50]))}"],
            "See them with `python -m shared.cli dead-letters list`. The next night tries again.",
            message.envelope.run_id,
        )
        mail_id = self.mails.add(mail, self.clock())
        return mails_out([mail_id])


def alert_context(project: ProjectUsage, threshold: int, spending: Spending, today: date) -> dict[str, Any]:
    """The context of an alert, as templates/alert needs them: amounts and days as text."""
    amount = project.budget.amount
    if amount is None or project.period is None:
        raise NeverError(f"project {project.acronym} has no budget or period to make an alert for")
    days = spending.by_day
    used_up = used_up_on(days, amount, project.period, today)
    return {
        "acronym": project.acronym,
        "name": project.name,
        "threshold": threshold,
        "percent": plain(project.budget.percent(project.usage) or Decimal(0)),
        "spent": plain(project.usage),
        "amount": plain(amount),
        "currency": project.budget.terms.currency,
        "period_start": project.period.start.isoformat(),
        "period_end": project.period.end.isoformat(),
        "spent_yesterday": plain(spent_between(days, today - timedelta(days=1), today)),
        "spent_last_7_days": plain(spent_between(days, today - timedelta(days=7), today)),
        "top_services": dearest(spending.by_service),
        "used_up_on": used_up.isoformat() if used_up else None,
        "as_of": today.isoformat(),
    }


def dearest(by_service: Mapping[str, Decimal]) -> list[list[str]]:
    """The five services that cost the most, as [name, amount]; those that cost nothing are left out."""
    ordered = sorted(by_service.items(), key=lambda item: (-item[1], item[0]))
    return [[name, plain(cost)] for name, cost in ordered[:TOP_SERVICES] if cost > 0]


def _one_by_one(message: NotificationMessage) -> list[Outgoing]:
    fresh = Envelope(run_id=message.envelope.run_id)
    return outgoing(NotificationMessage((each,), fresh) for each in message.project_ids)
