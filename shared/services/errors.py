"""What a person asked for and can't have: each text is a plain sentence for whoever asked."""

from __future__ import annotations


class RequestError(Exception):
    """What was asked for can't be right. Nothing was done."""


class UnknownError(RequestError):
    """There is nothing of that name or number."""


class UnknownProjectError(UnknownError):
    """There is no such project."""

    def __init__(self, project: str) -> None:
        super().__init__(f"there is no project {project}")
