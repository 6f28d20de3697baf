"""What all mails say of a project: a column of projects that mails show is added to the record, and to templates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from shared.domain.coverage import DAY, Gap, missing_months
from shared.domain.currencies import Conversion
from shared.domain.projects import Project, Scope

# Providers that people know by another name than we do.
AS_WRITTEN = {"aws": "AWS"}
GONE_BY = ("id", "language", "contacts", "active", "lock")


def project_context(project: Project) -> dict[str, Any]:
    """What templates can show of a project: what is in its record but for what the chain itself goes by."""
    return {field.name: getattr(project, field.name) for field in fields(project) if field.name not in GONE_BY}


def missing_context(gaps: Iterable[Gap]) -> list[list[str]]:
    """What figures lack, for `missing.en.txt` and its like: [why, first day, last day] of whole months."""
    return [[why, months.start.isoformat(), (months.end - DAY).isoformat()] for why, months in missing_months(gaps)]


def converted_context(converted: Conversion) -> dict[str, Any]:
    """By whose rates amounts in other currencies were converted, for `converted.en.txt`; nothing where none was."""
    if not converted.sources:
        return {}
    last = converted.last_rate_day
    return {"converted": [sorted(converted.sources), last.isoformat() if last else None]}


def unreached_context(scopes: Iterable[Scope]) -> list[str]:
    """What no lock reaches of a project's scopes, for `unreached.en.txt`."""
    return [
        f"{AS_WRITTEN.get(each.provider, each.provider)} {each.sub_account_id}"
        for each in scopes
        if not each.can_be_locked
    ]


def portal_link(portal_url: str, project: Project) -> str | None:
    """The project's own page. portal_url: a link with {acronym}, or empty."""
    return portal_url.replace("{acronym}", project.acronym) or None
