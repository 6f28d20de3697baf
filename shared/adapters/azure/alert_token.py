"""The token that an Action Group's secure webhook sends: whether Entra signed it, for this app, for that sender.

PyJWT and cryptography are imported inside the functions: only an alert needs them.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.access import ArmEndpoint, parse_endpoint, shown
from shared.adapters.http import opener
from shared.messages import GUID
from shared.ports.azure import TokenRefusedError
from shared.ports.errors import LaterError

if TYPE_CHECKING:
    from jwt import PyJWK

LOGIN_HOST = "https://login.microsoftonline.com"
# As whom Action Groups call, and the role that Microsoft's script gives them (learn.microsoft.com, "Action groups",
# "Configure authentication for secure webhook").
ACTION_GROUPS_APP = "461e8683-5575-4561-ac7f-899cc907d62a"
ACTION_GROUPS_ROLE = "ActionGroupsSecureWebhook"
# Who signs tokens of version 1: https://sts.windows.net, for Azure Government too, but not for Azure China.
STS_HOSTS = {"https://login.partner.microsoftonline.cn": "https://sts.chinacloudapi.cn"}
BEARER = re.compile(r"Bearer +([\w-]+\.[\w-]+\.[\w-]*)", re.IGNORECASE | re.ASCII)
# Entra's tokens have about 2 KB; hosts take headers of 8 to 32 KB.
LONGEST_HEADER = 16 * 1024
CLOCKS_APART_SECONDS = 60

FETCH_SECONDS = 3.0
LARGEST_KEYS = 512 * 1024
# Entra advises to look for new keys every 24 hours, and at once when a token names one that is not known
# (learn.microsoft.com/entra/identity-platform/signing-key-rollover).
REFRESHED_AFTER, KEYS_LAST = 12 * 3600.0, 24 * 3600.0
# Whoever makes up names of keys makes us ask Entra no more often than this.
FRESH_SECONDS = 30.0
JUST_NOW_SECONDS = 1.0
# Shorter than the 5 seconds after which an Action Group calls again.
REST_AFTER_FAILURE = 4.0
NO_KEYS = "The token can't be checked now: Entra's keys are not to be had"


class EntraTokenCheck:
    """A TokenCheck: lets through what holds a token of Entra's for the Action Groups of one tenant.

    audience: what the token's `aud` has to be, exactly. tenant_id: a guid. authority: Entra's login host; plain
    http is taken for this machine only. clock: seconds, for the age of the keys. Raises ValueError where a
    setting can't be right.
    """

    def __init__(
        self, audience: str, tenant_id: str, authority: str = LOGIN_HOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        audience = audience.strip()
        if not audience:
            raise ValueError("the audience is empty; write the application's id, or its api://… URI")
        if not GUID.fullmatch(tenant_id):
            raise ValueError(f"'{tenant_id}' is no tenant; write its id, such as 72f988bf-86f1-41af-91ab-2d7cd011db47")
        login, tenant = parse_endpoint(authority), tenant_id.lower()
        self._audience, self._tenant = audience, tenant
        sts = STS_HOSTS.get(login.url, "https://sts.windows.net")
        # Of version 1 and version 2 of the tokens.
        self.issuers = (f"{sts}/{tenant}/", f"{login.url}/{tenant}/v2.0")
        self._keys = SigningKeys(login, tenant, clock)

    def check(self, authorization: str | None) -> None:
        """Takes the Authorization header. Raises TokenRefusedError; LaterError where Entra's keys are not to be had."""
        token = _token(authorization)
        key = self._keys.find(_key_id(token))
        if key is None and not self._keys.are_of_now:
            # Entra may have begun to sign with a new one since; the caller tries again.
            raise LaterError("The token is signed with a key that was not among Entra's a moment ago.")
        if key is None:
            raise TokenRefusedError(401, "The token is signed with a key that Entra does not have.")
        self._check_sender(self._payload(token, key))

    def _payload(self, token: str, key: PyJWK) -> Mapping[str, Any]:
        """What the token says, once it is known to be Entra's, valid now, and for us."""
        import jwt

        try:
            return jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self.issuers,
                leeway=CLOCKS_APART_SECONDS,
                options={"require": ["exp", "iss", "aud", "tid"], "strict_aud": True},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefusedError(401, "The token has expired.") from None
        except jwt.ImmatureSignatureError:
            raise TokenRefusedError(401, "The token is not valid yet.") from None
        except jwt.InvalidAudienceError:
            raise TokenRefusedError(401, "The token is for another audience than ALERT_AUDIENCE names.") from None
        except jwt.InvalidIssuerError:
            raise TokenRefusedError(401, "The token comes from another tenant, or not from Entra.") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefusedError(401, f"The token lacks the claim {error.claim}.") from None
        except jwt.PyJWTError:
            raise TokenRefusedError(401, "The token's signature or form is not right.") from None

    def _check_sender(self, payload: Mapping[str, Any]) -> None:
        if str(payload["tid"]).lower() != self._tenant:
            raise TokenRefusedError(401, "The token comes from another tenant.")
        # Version 1 of the tokens calls the sender appid, version 2 azp.
        sender = payload.get("appid" if payload["iss"] == self.issuers[0] else "azp")
        if sender != ACTION_GROUPS_APP:
            raise TokenRefusedError(403, "The token belongs to another application than Azure's Action Groups.")
        roles = payload.get("roles")
        if not isinstance(roles, list) or ACTION_GROUPS_ROLE not in roles:
            raise TokenRefusedError(403, f"The token lacks the role {ACTION_GROUPS_ROLE} in its roles.")


@dataclass(frozen=True, slots=True)
class _KeySet:
    """Keys by their id, and when they were fetched."""

    keys: Mapping[str, PyJWK]
    fetched_at: float


class SigningKeys:
    """A tenant's public keys at Entra. Kept; any number of threads may ask."""

    # PyJWKClient would do most of this, but it forgets the keys it has where new ones are not to be had, and
    # a failed fetch does not keep it from the next.

    def __init__(self, login: ArmEndpoint, tenant: str, clock: Callable[[], float]) -> None:
        self._url = f"{login.url}/{tenant}/discovery/v2.0/keys"
        self._is_local = login.is_local
        self._clock = clock
        self._kept = _KeySet({}, clock() - KEYS_LAST)
        self._failed_at = clock() - REST_AFTER_FAILURE
        self._one_fetches = threading.Lock()

    def find(self, key_id: str) -> PyJWK | None:
        """The key with this id; None where Entra has none. Raises LaterError where that can't be told now."""
        kept = self._kept
        if key_id in kept.keys and self._age(kept) < REFRESHED_AFTER:
            return kept.keys[key_id]
        with self._one_fetches:
            return self._find_afresh(key_id)

    @property
    def are_of_now(self) -> bool:
        """Whether the keys were fetched just now."""
        return self._age(self._kept) < JUST_NOW_SECONDS

    def _find_afresh(self, key_id: str) -> PyJWK | None:
        # Somebody else may have fetched them while this one waited.
        if self._age(self._kept) >= (REFRESHED_AFTER if key_id in self._kept.keys else FRESH_SECONDS):
            try:
                self._kept = _KeySet(self._fetched(), self._clock())
            except LaterError:
                if key_id not in self._kept.keys or self._age(self._kept) >= KEYS_LAST:
                    raise
        return self._kept.keys.get(key_id)

    def _age(self, kept: _KeySet) -> float:
        return self._clock() - kept.fetched_at

    def _fetched(self) -> Mapping[str, PyJWK]:
        from http.client import HTTPException

        from jwt import PyJWTError

        if self._clock() - self._failed_at < REST_AFTER_FAILURE:
            raise LaterError(f"{NO_KEYS}; they were asked for seconds ago.")
        try:
            return _rsa_keys(_body_of(self._url, self._is_local))
        # OSError: urllib's own errors and time-outs too.
        except (OSError, HTTPException, ValueError, RecursionError, PyJWTError) as error:
            self._failed_at = self._clock()
            raise LaterError(f"{NO_KEYS}: {shown(str(error), 120)}.") from error


def _token(authorization: str | None) -> str:
    if not authorization:
        raise TokenRefusedError(401, "There is no token: the header Authorization: Bearer … is missing.")
    found = BEARER.fullmatch(authorization) if len(authorization) <= LONGEST_HEADER else None
    if found is None:
        raise TokenRefusedError(401, "The header Authorization holds no token; it has to be: Bearer …")
    return found[1]


def _key_id(token: str) -> str:
    """The id of the key that signed the token, as the token itself says."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenRefusedError(401, "The token's signature or form is not right.") from None
    # Looked at before Entra is asked for keys: what is signed otherwise is refused whatever they are.
    if header.get("alg") != "RS256" or "kid" not in header:
        raise TokenRefusedError(401, "The token is not signed as Entra signs: RS256, with the id of a key.")
    return str(header["kid"])


def _rsa_keys(body: bytes) -> Mapping[str, PyJWK]:
    """The RSA keys of a key set by their id. Raises ValueError and PyJWTError where it holds none."""
    from jwt import PyJWKSet

    content = json.loads(body)
    if not isinstance(content, dict):
        raise ValueError("the answer is no key set")  # noqa: TRY004 - a fault of the answer, not of our types
    keys = PyJWKSet.from_dict(content).keys
    found = {key.key_id: key for key in keys if isinstance(key.key_id, str) and key.key_type == "RSA"}
    if not found:
        raise ValueError("the key set has no RSA key with an id")
    return found


def _body_of(url: str, is_local: bool) -> bytes:
    """What the URL answers. Raises OSError and HTTPException; OSError, too, past FETCH_SECONDS and LARGEST_KEYS."""
    with opener(is_local).open(url, timeout=FETCH_SECONDS) as response:
        body: bytes = response.read(LARGEST_KEYS + 1)
    if len(body) > LARGEST_KEYS:
        raise TimeoutError(f"{url} goes on and on")
    return body
