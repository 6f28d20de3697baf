"""A stand-in for Entra ID: tokens as an Action Group's secure webhook sends them, and the keys to check them with."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from hmac import new as hmac
from threading import Lock
from time import time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from localdev.azure_sim.wire import Routes, json_answer

TENANT = "5a1c6d4e-0b7f-4f0e-9c55-2f6f2f1f0a11"
# The application of Azure Monitor's Action Groups, in all tenants (learn.microsoft.com, "Action groups").
ACTION_GROUPS_APP = "461e8683-5575-4561-ac7f-899cc907d62a"
KEY_ID = "simulated-key-1"
WEBHOOK_ROLE = "ActionGroupsSecureWebhook"
KEYS_PATH = "/{tenant}/discovery/v2.0/keys"


class Entra:
    """Mints tokens and publishes its key, which is made when it is first needed: that takes a moment.

    `tenant`: whose tokens these are, unless `token` is told otherwise.
    """

    def __init__(self, tenant: str = TENANT) -> None:
        self.tenant = tenant
        self._lock = Lock()
        self._made: RSAPrivateKey | None = None

    def add_to(self, routes: Routes) -> None:
        """Adds the published keys to the routes that need no token."""
        routes.add("GET", KEYS_PATH, lambda _request: json_answer(self.public_keys()))

    def public_keys(self) -> dict[str, Any]:
        """The published keys (JWKS); they carry no `alg`, as Entra's don't."""
        shown = RSAAlgorithm.to_jwk(self._key().public_key(), as_dict=True)
        return {"keys": [{"kty": "RSA", "use": "sig", "kid": KEY_ID, "x5t": KEY_ID, "n": shown["n"], "e": shown["e"]}]}

    def token(  # noqa: PLR0913 - each is a claim that tests get wrong
        self,
        audience: str,
        *,
        tenant: str | None = None,
        app_id: str = ACTION_GROUPS_APP,
        roles: tuple[str, ...] = (WEBHOOK_ROLE,),
        issuer: str | None = None,
        expires_in: float = 3600,
        algorithm: str = "RS256",
        version: int = 1,
        **claims: Any,
    ) -> str:
        """A token of version 1 or 2, which differ in issuer and in the claim that names the application.

        `expires_in`: seconds, may be negative. `algorithm`: RS256, or to be refused by everybody: `none` (unsigned)
        and HS256 (signed with the public key as if it were a secret). `claims` replace others; None takes one out.
        """
        content = _claims(tenant or self.tenant, app_id, version, expires_in)
        content |= {"aud": audience, "roles": list(roles), **({"iss": issuer} if issuer else {}), **claims}
        content = {name: value for name, value in content.items() if value is not None}
        key, header = self._key(), {"kid": KEY_ID, "x5t": KEY_ID}
        if algorithm == "RS256":
            return jwt.encode(content, key, algorithm="RS256", headers=header)
        return _forged({"typ": "JWT", "alg": algorithm, **header}, content, key)

    def _key(self) -> RSAPrivateKey:
        with self._lock:
            self._made = self._made or generate_private_key(public_exponent=65537, key_size=2048)
            return self._made


def _claims(tenant: str, app_id: str, version: int, expires_in: float) -> dict[str, Any]:
    now = int(time())
    subject = str(uuid5(NAMESPACE_URL, f"{tenant}/{app_id}"))
    common = {
        "iat": now,
        "nbf": now - 300 + int(min(expires_in, 0)),
        "exp": now + int(expires_in),
        "tid": tenant,
        "oid": subject,
        "sub": subject,
    }
    if version == 2:
        issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
        return common | {"iss": issuer, "azp": app_id, "azpacr": "2", "ver": "2.0"}
    return common | {"iss": f"https://sts.windows.net/{tenant}/", "appid": app_id, "appidacr": "2", "ver": "1.0"}


def _forged(header: dict[str, Any], content: dict[str, Any], key: RSAPrivateKey) -> str:
    """What no honest library makes: a token without a signature, or one signed with the public key's text."""
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, content))
    if header["alg"] == "none":
        return f"{signed.decode()}."
    if header["alg"] != "HS256":
        raise ValueError(f"The simulator signs with RS256, HS256 or none, not with {header['alg']!r}.")
    secret = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b".".join([signed, _encoded(hmac(secret, signed, sha256).digest())]).decode()


def _encoded(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")
