"""Who may do what: users with access keys, roles and whom they trust, sessions, and the check of signatures."""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from localdev import http
from localdev.aws_sim.wire import AwsError, Call

SKEW = timedelta(minutes=5)
SESSION = timedelta(hours=1)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<scope>[^,]+), SignedHeaders=(?P<names>[^,]+), "
    r"Signature=(?P<sign>\w+)"
)


@dataclass
class SimRole:
    """A role. trusts: ARNs of users and roles, and subjects of tokens, that may take it on; with external_id, only
    those who give it. allows: the actions that its policy allows; None for all.
    """

    arn: str
    trusts: frozenset[str] = frozenset()
    external_id: str | None = None
    allows: frozenset[str] | None = None

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.arn.split(":")[4]


@dataclass(frozen=True)
class Key:
    """What signs requests: a user's access key, or a session. until: when a session ends."""

    secret: str
    arn: str
    role: SimRole | None = None
    token: str | None = None
    until: datetime | None = None


@dataclass
class Iam:
    """Users, roles and tokens. now: AWS's own clock. tokens: the subject of each token that is trusted."""

    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    roles: dict[str, SimRole] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count, init=False)

    def add_user(self, arn: str, access_key: str, secret: str) -> None:
        """A user with an access key, who may do everything."""
        self.keys[access_key] = Key(secret, arn)

    def add_role(
        self,
        arn: str,
        trusts: Iterable[str] = (),
        external_id: str | None = None,
        allows: Iterable[str] | None = None,
    ) -> SimRole:
        """A role, in the place of one of the same ARN."""
        role = SimRole(arn, frozenset(trusts), external_id, None if allows is None else frozenset(allows))
        self.roles[arn] = role
        return role

    def sign_in(self, call: Call) -> None:
        """Notes in the call who calls. AwsError where the signature is no good."""
        key = self._signed_by(call.request, is_sts=call.service == "sts")
        call.arn = key.arn
        call.account = key.arn.split(":")[4]
        call.actions = key.role.allows if key.role else None

    def _signed_by(self, request: http.Request, is_sts: bool) -> Key:
        match = AUTHORIZATION.fullmatch(str(request.headers.get("Authorization") or ""))
        if match is None:
            raise AwsError(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        key = self.keys.get(match["key"])
        token = request.headers.get("X-Amz-Security-Token")
        if key is None or key.token != token:
            code = "InvalidClientTokenId" if is_sts else "UnrecognizedClientException"
            raise AwsError(403 if is_sts else 400, code, "The security token included in the request is invalid.")
        self._check_time(str(request.headers["X-Amz-Date"]), is_sts)
        if not hmac.compare_digest(_signature(request, match, key.secret), match["sign"]):
            raise _bad_signature(
                is_sts,
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String "
                f"for this request should have been\n'POST\n/\n\nx-amz-security-token:{token}'",
            )
        if key.until is not None and key.until <= self.now():
            code = "ExpiredToken" if is_sts else "ExpiredTokenException"
            raise AwsError(403 if is_sts else 400, code, "The security token included in the request is expired")
        return key

    def _check_time(self, text: str, is_sts: bool) -> None:
        signed_at, now = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), self.now()
        if signed_at < now - SKEW:
            limit = f"{now - SKEW:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} - 5 min.)"
            raise _bad_signature(is_sts, f"Signature expired: {text} is now earlier than {limit}")
        if signed_at > now + SKEW:
            limit = f"{now + SKEW:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} + 5 min.)"
            raise _bad_signature(is_sts, f"Signature not yet current: {text} is still later than {limit}")

    def answer(self, call: Call) -> Mapping[str, Any]:
        """The result of an operation of STS. AwsError."""
        if call.operation == "AssumeRoleWithWebIdentity":
            return self._by_token(call.given)
        if call.operation == "GetCallerIdentity":
            self.sign_in(call)
            return {"Arn": call.arn, "UserId": "AIDASIMULATED", "Account": call.account}
        if call.operation == "AssumeRole":
            self.sign_in(call)
            return self._assumed(call)
        raise AwsError(400, "InvalidAction", f"The simulator does not play {call.operation}.")

    def _by_token(self, given: Mapping[str, str]) -> Mapping[str, Any]:
        subject = self.tokens.get(given["WebIdentityToken"])
        if subject is None:
            message = "No OpenIDConnect provider found in your account for https://sts.windows.net/tenant/"
            raise AwsError(400, "InvalidIdentityToken", message)
        role = self.roles.get(given["RoleArn"])
        if role is None or subject not in role.trusts:
            raise AwsError(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        return self._session(role, given["RoleSessionName"])

    def _assumed(self, call: Call) -> Mapping[str, Any]:
        role = self.roles.get(call.given["RoleArn"])
        # A session of a role is trusted as the role.
        callers = {call.arn, re.sub(r":sts::(\d+):assumed-role/([^/]+)/.*", r":iam::\1:role/\2", call.arn)}
        is_trusted = role is not None and not callers.isdisjoint(role.trusts)
        # AWS does not tell which of it is wrong.
        if role is None or not is_trusted or role.external_id not in (None, call.given.get("ExternalId")):
            message = (
                f"User: {call.arn} is not authorized to perform: sts:AssumeRole on resource: {call.given['RoleArn']}"
            )
            raise AwsError(403, "AccessDenied", message)
        return self._session(role, call.given["RoleSessionName"])

    def _session(self, role: SimRole, name: str) -> Mapping[str, Any]:
        number = next(self._numbers)
        access_key, until = f"ASIASIM{number:013}", self.now() + SESSION
        arn = f"{role.arn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/{name}"
        self.keys[access_key] = Key(f"session-secret-{number}", arn, role, f"session-token-{number}", until)
        return {
            "Credentials": {
                "AccessKeyId": access_key,
                "SecretAccessKey": f"session-secret-{number}",
                "SessionToken": f"session-token-{number}",
                "Expiration": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            },
            "AssumedRoleUser": {"AssumedRoleId": f"AROASIM:{name}", "Arn": arn},
        }


def _bad_signature(is_sts: bool, message: str) -> AwsError:
    if is_sts:
        return AwsError(403, "SignatureDoesNotMatch", message)
    return AwsError(400, "InvalidSignatureException", message)


def _signature(request: http.Request, given: re.Match[str], secret: str) -> str:
    """Signature Version 4 of the request, by this secret."""
    names = given["names"].split(";")
    headers = "".join(f"{name}:{' '.join(str(request.headers[name]).split())}\n" for name in names)
    parts = urlsplit(request.target)
    query = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parse_qsl(parts.query, True)))
    asked = "\n".join([request.method, parts.path, query, headers, given["names"], sha256(request.body).hexdigest()])
    date, region, service, _end = given["scope"].split("/")
    hashed = sha256(asked.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", str(request.headers["X-Amz-Date"]), given["scope"], hashed])
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
