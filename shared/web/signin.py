"""Who calls: by App Service Authentication, whose headers count only where Azure says that it is on."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

PRINCIPAL = "x-ms-client-principal"
# What Azure calls them once they have passed its mapping, beside what the token does ("Work with user identities",
# learn.microsoft.com/azure/app-service/configure-authentication-user-identities).
ROLES = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
NAMES = ("name", "preferred_username", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")
OBJECT_IDS = ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier")
LONGEST = 64 * 1024


class Role(IntEnum):
    """What somebody may do: each has what those before it have."""

    NOBODY = 0
    SIGNED_IN = 1
    VIEWER = 2
    OPERATOR = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. name: for the audit; id: Entra's object id, which never changes."""

    role: Role = Role.NOBODY
    name: str = ""
    id: str = ""


NOBODY = Principal()


@dataclass(frozen=True, slots=True)
class SignIn:
    """trusted: whether nobody but the platform can have written its header (`Settings.signs_in`)."""

    trusted: bool
    operator_role: str
    viewer_role: str

    def who(self, headers: Mapping[str, str]) -> Principal:
        """Who has sent these headers, by their names in lower case; nobody, where they say nothing that can be read."""
        text = headers.get(PRINCIPAL, "")
        claims = _claims(text) if self.trusted and text else None
        if claims is None:
            return NOBODY
        roles = {value for kind, value in claims if kind in ROLES}
        return Principal(self._role(roles), _first(claims, NAMES), _first(claims, OBJECT_IDS))

    def _role(self, roles: Iterable[str]) -> Role:
        ranks = {self.viewer_role: Role.VIEWER, self.operator_role: Role.OPERATOR}
        return max((ranks.get(role, Role.SIGNED_IN) for role in roles), default=Role.SIGNED_IN)


def _claims(text: str) -> list[tuple[str, str]] | None:
    """The claims in a header: (type, value) each; None for what is no such header."""
    try:
        said: Any = json.loads(base64.b64decode(text, validate=True)) if len(text) <= LONGEST else None
        # Static Web Apps' header of the same name has another form, and no claims.
        claims, role_kind = said["claims"], said.get("role_typ")
        return [
            (ROLES[0] if each["typ"] == role_kind else str(each["typ"]), str(each["val"]))
            for each in claims
            if isinstance(each["val"], str)
        ]
    except (binascii.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _first(claims: Iterable[tuple[str, str]], kinds: Iterable[str]) -> str:
    known = dict(reversed(list(claims)))
    return next((known[kind] for kind in kinds if known.get(kind)), "")
