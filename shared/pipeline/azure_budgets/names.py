"""What a project's budget is called in Azure; by this name the project is known again when Azure calls."""

from __future__ import annotations

import re

from shared.domain.texts import digest

AZURE_PREFIX = "warden-"
# A budget's name has at most 63 of these (learn.microsoft.com, "Naming rules for Azure resources").
LIKE_A_HASH = re.compile(r"-[0-9a-f]{12}$")
AZURE_NAME = re.compile(r"[a-z0-9_-]{1,56}")


def azure_name(acronym: str) -> str:
    """The name of a project's budget in Azure: `warden-die1` for DIE1, in lower case.

    An acronym that holds what Azure's names can't gets a hash in the place of that, and so does one that could be taken
    for such a name: no two are the same.
    """
    key = acronym.strip().lower()
    if AZURE_NAME.fullmatch(key) and not LIKE_A_HASH.search(key):
        return AZURE_PREFIX + key
    return f"{AZURE_PREFIX}{re.sub('[^a-z0-9_-]+', '-', key)[:40]}-{digest(key)}"
