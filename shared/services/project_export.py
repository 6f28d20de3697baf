"""Projects as a file that loads them again: all that a projects file can say of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from shared.domain.budgets import Rollover
from shared.domain.money import plain
from shared.domain.periods import PeriodKind
from shared.domain.projects import ProjectEntry
from shared.ports.azure import AZURE
from shared.services.errors import RequestError
from shared.services.project_file import AWS, COLUMNS, OPTIONAL_COLUMNS


def write_projects(entries: Iterable[ProjectEntry]) -> str:
    """CSV as `read_projects` takes it, with every column. What a file can't say (a budget's thresholds, its opening
    balance) a project that is loaded keeps.

    Raises RequestError for a project with resources in several Azure subscriptions.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS + OPTIONAL_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_row, entries))
    return text.getvalue()


def _row(entry: ProjectEntry) -> dict[str, object]:
    project, terms, rule = entry.project, entry.terms, entry.terms.rule
    fixed = rule.kind is PeriodKind.FIXED
    # DictWriter leaves None empty.
    return {
        "id": project.id,
        "acronym": project.acronym,
        "name": project.name,
        "subscription_id": _subscription(entry),
        "resource_groups": ";".join(scope.resource_group for scope in entry.scopes if scope.provider == AZURE),
        "aws_accounts": ";".join(scope.sub_account_id for scope in entry.scopes if scope.provider == AWS),
        "sub_accounts": ";".join(
            f"{scope.provider}:{scope.sub_account_id}" for scope in entry.scopes if scope.provider not in (AZURE, AWS)
        ),
        "budget": None if terms.amount is None else plain(terms.amount),
        "currency": terms.currency,
        "period": rule.kind,
        "period_start": rule.start,
        "period_end": rule.last_day,
        "contacts": ";".join(project.contacts),
        "language": project.language,
        "active": "true" if project.active else "false",
        "lock": project.lock,
        "rollover": terms.rollover if not fixed or terms.rollover is Rollover.STOP else None,
        "owner": project.owner,
        "department": project.department,
        "cost_centre": project.cost_centre,
    }


def _subscription(entry: ProjectEntry) -> str:
    accounts = {scope.sub_account_id for scope in entry.scopes if scope.provider == AZURE}
    if len(accounts) > 1:
        raise RequestError(
            f"project {entry.project.acronym} has resources in more than one Azure subscription, which a projects "
            "file can't say"
        )
    return next(iter(accounts), "")
