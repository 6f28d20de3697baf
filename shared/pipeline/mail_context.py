"""What all mails say of a project: a column of projects that mails show is added here, and to the templates' words."""

from __future__ import annotations

from typing import Any

from shared.domain.projects import Project


def project_context(project: Project) -> dict[str, Any]:
    """What templates show of a project, as texts."""
    return {"acronym": project.acronym, "name": project.name}


def portal_link(portal_url: str, project: Project) -> str | None:
    """The project's own page. portal_url: a link with {acronym}, or empty."""
    return portal_url.replace("{acronym}", project.acronym) or None
