"""One of every kind of mail, to the operators: written, queued and sent as on a night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.forecast import Forecast
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LANGUAGES, Project, Scope
from shared.messages import LockAction, LockMessage, Queue, emails
from shared.pipeline.alerts import AlertPolicy, Alerts
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.request import Request
from shared.pipeline.operators import Operators
from shared.ports.azure import AZURE
from shared.ports.checks import ProjectUsage
from shared.ports.clock import Clock
from shared.ports.locks import LockFacts
from shared.ports.mails import MailLedger, NewMail, Topic
from shared.ports.queues import MessageSender
from shared.services.errors import RequestError

BUDGET = Budget(0, 1, BudgetTerms(Decimal(1000), "EUR", PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))))
SPENT = {80: Decimal("812.34"), 100: Decimal("1003.21")}
FORECAST = Forecast(Decimal(1210), Decimal(1100), Decimal(1330), 20)
SERVICES = {"Virtual Machines": Decimal("601.20"), "Storage": Decimal("211.14")}
SCOPES = [Scope(AZURE, "", "rg-smoke-test")]
WHOLE: dict[str, Any] = {"subject": "A whole mail", "body": "<p>As a message of your own brings it.</p>"}


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """policy, lock_mails: as those of the app, so that its settings are seen in the mails."""

    mails: MailLedger
    queues: MessageSender
    policy: AlertPolicy
    lock_mails: LockMails
    operators: Operators
    clock: Clock

    def send(self) -> list[int]:
        """Writes and queues the mails; returns their ids. Raises RequestError, LaterError, NeverError."""
        now, to = self.clock(), self.operators.addresses
        if not to:
            raise RequestError("EMAIL_OPERATORS is empty, and the operators are who gets them")
        ids = [
            self.mails.add(_detached(mail, f"smoke-test/{now.isoformat()}/{number}", to), now)
            for number, mail in enumerate(self._samples(now.date()))
        ]
        for message in emails(ids):
            self.queues.send(Queue.EMAIL, message)
        return ids

    def _samples(self, today: date) -> Iterator[NewMail]:
        alerts = Alerts(self.policy, self.operators, today, None)
        for language in (*LANGUAGES, None):
            project = Project(0, "SMOKE", "Smoke test", language, self.operators.addresses, True)
            for percent, spent in SPENT.items():
                yield alerts.alert(_usage(project, spent, today), percent, SERVICES, SCOPES)
            yield alerts.warning(_usage(project, SPENT[80], today), SERVICES, SCOPES)
            request = self._request(project, today)
            yield self.lock_mails.to_contacts(request, stopped=True)
            yield self.lock_mails.not_locked(request, stopped=False)
            yield self.lock_mails.to_contacts(replace(request, action=LockAction.UNLOCK), stopped=False)
        yield self.operators.notice(Topic.OTHER, "", "A notice", "What goes wrong is told so.", ["the first line"])
        yield NewMail("", "whole", self.operators.addresses, WHOLE, topic=Topic.OTHER)

    def _request(self, project: Project, today: date) -> Request:
        facts = LockFacts(project, (), BUDGET, _period(today), SPENT[100], usage_known=True)
        return Request(LockMessage(LockAction.LOCK, project.id), "smoke-test", facts, self.clock())


def _detached(mail: NewMail, key: str, to: tuple[str, ...]) -> NewMail:
    """To the operators alone, and of no project: nothing that was told of one counts by it."""
    return replace(
        mail, key=key, to=to, cc=(), bcc=(), topic=Topic.OTHER, project_id=None, budget_number=None, period_start=None
    )


def _usage(project: Project, spent: Decimal, today: date) -> ProjectUsage:
    return ProjectUsage(
        project=project,
        budget=BUDGET,
        period=_period(today),
        usage=spent,
        other_currencies=(),
        told=frozenset(),
        last=None,
        by_day={today - timedelta(days=1): Decimal("40.17")},
        forecast=FORECAST,
        used_up_on=today + timedelta(days=3),
        read_on=today,
        warned=False,
        held=None,
        released=False,
    )


def _period(today: date) -> Period | None:
    return BUDGET.terms.rule.period_at(today)
