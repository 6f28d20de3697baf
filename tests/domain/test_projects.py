"""Who is never locked."""

from __future__ import annotations

import pytest

from shared.domain.projects import LockPolicy, Project


def test_a_project_is_locked_at_100_percent_unless_it_says_never() -> None:
    project = Project(11, "DIE1", "Project", "en", ("anna@example.com",), active=True)
    assert project.lock is LockPolicy.AUTO
    assert [LockPolicy(word) for word in ("auto", "never")] == [LockPolicy.AUTO, LockPolicy.NEVER]
    with pytest.raises(ValueError, match="sometimes"):
        LockPolicy("sometimes")
