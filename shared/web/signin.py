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
# Whose addresses Entra vouches for: the sign-in name, which is of one of the tenant's own domains, and the optional
# claims of addresses whose domain the tenant has proven to have. What is in `email` anybody may have written there,
# but where xms_edov says that its domain is proven (learn.microsoft.com: "Optional claims reference").
ADDRESSES = (
    "preferred_username",
    "upn",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
    "verified_primary_email",
    "verified_secondary_email",
)
EMAILS = ("email", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress")
IS_PROVEN, YES = "xms_edov", ("1", "true")
LONGEST = 64 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Role(IntEnum):
    """What somebody may do: each has what those before it have."""

    NOBODY = 0
    SIGNED_IN = 1
    VIEWER = 2
    OPERATOR = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. name: for the audit; id: Entra's object id, which never changes. addresses: mail addresses that are
    theirs beyond doubt, in small letters.
    """

    role: Role = Role.NOBODY
    name: str = ""
    id: str = ""
    addresses: frozenset[str] = frozenset()


NOBODY = Principal()


@dataclass(frozen=True, slots=True)
class SignIn:
    """trusted: whether nobody but the platform can have written its header (`Settings.signs_in`). here: whether a
    stand-in has, on a developer's machine (`Settings.signs_in_here`); then it counts under a loopback address only.
    """

    trusted: bool
    operator_role: str
    viewer_role: str
    here: bool = False

    def who(self, headers: Mapping[str, str]) -> Principal:
        """Who has sent these headers, by their names in lower case; nobody, where they say nothing that can be read."""
        text = headers.get(PRINCIPAL, "")
        is_trusted = self.trusted or (self.here and headers.get("host", "").rpartition(":")[0] in LOOPBACK)
        claims = _claims(text) if is_trusted and text else None
        if claims is None:
            return NOBODY
        roles = {value for kind, value in claims if kind in ROLES}
        return Principal(self._role(roles), _first(claims, NAMES), _first(claims, OBJECT_IDS), _addresses(claims))

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


def _addresses(claims: Iterable[tuple[str, str]]) -> frozenset[str]:
    said = list(claims)
    is_proven = any(kind == IS_PROVEN and value.strip().lower() in YES for kind, value in said)
    kinds = {*ADDRESSES, *(EMAILS if is_proven else ())}
    return frozenset(value.strip().casefold() for kind, value in said if kind in kinds and "@" in value)


def _first(claims: Iterable[tuple[str, str]], kinds: Iterable[str]) -> str:
    known = dict(reversed(list(claims)))
    return next((known[kind] for kind in kinds if known.get(kind)), "")
