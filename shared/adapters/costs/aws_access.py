"""How we sign in to AWS accounts; boto3 is imported with the first one that is asked.

The first of these counts: the cloud account's own access keys, which are kept sealed; the app's managed identity, whose
token AWS_ROLE_ARN is taken on with; what the environment holds, for developers. From there we take on the role of the
cloud account, always with its external id. Keys of its own may do without a role. Whichever it is, AWS is asked whose
account that leads to, before anything is read.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.refusals import token_error
from shared.adapters.costs.aws_errors import Asked, ExpiredError, RefusedKeysError, refusals
from shared.domain.aws import AWS, PARTITIONS, AwsNameError, Partition, Role, parse_external_id, parse_role
from shared.domain.texts import readable
from shared.ports.clock import Clock, utc_now
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.credentials import AccessKeys
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.session import Session as BotoSession

CONNECT_SECONDS, READ_SECONDS = 10.0, 90.0
# A session is not begun a page with that ends before the page may have come.
MARGIN = timedelta(minutes=5)
# AWS shows it to whoever looks at who did what.
SESSION_NAME = "budget-warden"
# Both log what they send and get where all is logged, botocore as a warning too.
LOGGERS = {"botocore": logging.ERROR, "urllib3": logging.WARNING}
IN_STANDARD = (
    "Without a role they are looked for in AWS's standard partition alone: keys of aws-cn or aws-eusc need a role, "
    "whose ARN names the partition."
)

# Making clients is not safe in threads, using them is.
MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Session:
    """What requests are signed with, in one partition. No secret of it is ever shown.

    until: when it ends; None for what does not. signed_by: whose it is, for people. signed_in_as: whom AWS takes
    it for; None before it was asked.
    """

    partition: Partition
    signed_by: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    until: datetime | None = None
    signed_in_as: str | None = None


@dataclass
class _Kept:
    """A session that is used again, and what it was made of. One thread at a time makes it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    made_of: object = None
    session: Session | None = None


@dataclass
class AwsAccess:
    """Clients of AWS's services for a cloud account. Safe to use from several threads.

    keys_of: `Credentials.keys_of`. role_arn: what the app's identity takes on first. identity_token: its token for AWS;
    raises LaterError, NeverError. endpoint: of all of AWS's services, in place of AWS's own (a stand-in).
    """

    keys_of: Callable[[int], AccessKeys | None]
    role_arn: str | None = None
    identity_token: Callable[[], str] | None = None
    endpoint: str | None = None
    read_seconds: float = READ_SECONDS
    clock: Clock = utc_now
    _sessions: dict[object, _Kept] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def session_of(self, account: CloudAccount) -> Session:
        """What is asked with on the cloud account's behalf. AWS has said that it is of its AWS account.

        Raises LaterError, NeverError.
        """
        keys = self.keys_of(account.id)
        made_of = (account.external_account_id, account.role_arn, account.external_id, keys)
        return self._kept(account.id, made_of, lambda: self._signed_in(account, keys))

    def takes_any_external_id(self, account: CloudAccount) -> bool:
        """Whether the account's role is taken on with an external id that is not its own, too; asked for nothing.

        False where that can't be told now.
        """
        role = _role(account)
        if role is None:
            return False
        try:
            first = self._first(account, self.keys_of(account.id), role.partition)
            self._taken_on(replace(account, external_id=f"not-{secrets.token_hex(16)}"), role, first)
        except (LaterError, NeverError):
            return False
        return True

    @contextmanager
    def asking(self, asked: Asked) -> Iterator[None]:
        """As `refusals`; where AWS no longer takes what we signed in with, the next try signs in anew."""
        try:
            with refusals(asked, self.clock):
                yield
        except (ExpiredError, RefusedKeysError):
            self.forget()
            raise

    def forget(self) -> None:
        """Whoever is asked next, we sign in anew."""
        with self._lock:
            # What it was signed in from may be what has expired. Who is signing in now does so to the end.
            self._sessions = {}

    def client(self, service: str, session: Session | None, partition: Partition) -> Any:
        """A client that tries nothing twice, for each try may be paid for. Without a session, it signs nothing.

        An answer that has not come whole within `read_seconds` is none.
        """
        from botocore import UNSIGNED
        from botocore.config import Config

        from shared.adapters.costs.aws_connections import bounded

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self.read_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # Nobody's settings lead what we sign to another place.
            ignore_configured_endpoint_urls=True,
            user_agent_extra="BudgetWarden",
            **({} if session else {"signature_version": UNSIGNED}),
        )
        signing = (
            {
                "aws_access_key_id": session.access_key,
                "aws_secret_access_key": session.secret_key,
                "aws_session_token": session.token,
            }
            if session
            else {}
        )
        with MAKING:
            client = _boto_session().create_client(
                service, region_name=partition.region, endpoint_url=self.endpoint, config=config, **signing
            )
        return bounded(client)

    def _kept(self, whose: object, made_of: object, sign_in: Callable[[], Session]) -> Session:
        with self._lock:
            kept = self._sessions.setdefault(whose, _Kept())
        # AWS may take long to answer: others don't wait for it.
        with kept.lock:
            if kept.session is None or kept.made_of != made_of or self._is_over(kept.session):
                kept.session = None
                kept.session, kept.made_of = sign_in(), made_of
            return kept.session

    def _is_over(self, session: Session) -> bool:
        return session.until is not None and session.until - MARGIN <= self.clock()

    def _signed_in(self, account: CloudAccount, keys: AccessKeys | None) -> Session:
        role = _role(account)
        if role is None:
            return self._identified(account, self._by_keys(account, keys))
        first = self._first(account, keys, role.partition)
        if first.partition != role.partition:
            raise NeverError(
                f"The role of cloud account {account.id} ({account.name}) is of {role.partition.name}, and "
                f"AWS_ROLE_ARN of {first.partition.name}: another partition needs access keys "
                f"(`cloud-accounts keys {account.id}`)."
            )
        return self._identified(account, self._taken_on(account, role, first))

    def _identified(self, account: CloudAccount, session: Session) -> Session:
        """The session, once AWS has said whose it is, which costs nothing."""
        asked = Asked("tell who we are", session.signed_by, "", "" if account.role_arn else IN_STANDARD)
        with self.asking(asked), closing(self.client("sts", session, session.partition)) as client:
            answer = client.get_caller_identity()
            owner, arn = str(answer["Account"]), str(answer["Arn"])
        if owner != account.external_account_id:
            raise NeverError(
                f"Cloud account {account.id} ({account.name}) is of AWS account {account.external_account_id}, and "
                f"{session.signed_by} of {readable(owner)}."
            )
        return replace(session, signed_in_as=readable(arn))

    def _first(self, account: CloudAccount, keys: AccessKeys | None, partition: Partition) -> Session:
        """Who we are before we take on the cloud account's role."""
        if keys is not None:
            return self._by_keys(account, keys, partition)
        if self.role_arn is None or self.identity_token is None:
            return self._of_environment(partition)
        arn, token = self.role_arn, self.identity_token
        return self._kept(arn, arn, lambda: self._by_identity(_parsed(arn, "AWS_ROLE_ARN"), token()))

    def _by_keys(
        self, account: CloudAccount, keys: AccessKeys | None, partition: Partition = PARTITIONS[AWS]
    ) -> Session:
        if keys is None:
            raise NeverError(
                f"Cloud account {account.id} ({account.name}) has neither a role to take on nor access keys of ours "
                f"(`cloud-accounts keys {account.id}` takes some)."
            )
        whose = f"the access keys of cloud account {account.id} ({account.name})"
        return Session(partition, whose, keys.access_key_id, keys.secret_access_key)

    def _of_environment(self, partition: Partition) -> Session:
        signed_by = "the environment's AWS credentials"
        with self.asking(Asked("tell who we are", signed_by, "")):
            found = _of_developer()
            if found is None:
                from botocore.exceptions import NoCredentialsError

                raise NoCredentialsError
            frozen = found.get_frozen_credentials()
        # It renews itself; we look again soon.
        until = self.clock() + 2 * MARGIN
        return Session(partition, signed_by, frozen.access_key, frozen.secret_key, frozen.token, until)

    def _by_identity(self, role: Role, token: str) -> Session:
        asked = Asked(
            f"let the app's identity take on the role {role.arn} (AWS_ROLE_ARN)",
            "the token of the app's identity",
            "Check that the role exists, and that its trust policy names the identity provider, this identity "
            "(`:sub`) and AWS_WEB_IDENTITY_AUDIENCE (`:aud`).",
        )
        with self.asking(asked), closing(self.client("sts", None, role.partition)) as client:
            answer = client.assume_role_with_web_identity(
                RoleArn=role.arn, RoleSessionName=SESSION_NAME, WebIdentityToken=token
            )
            return _session(answer["Credentials"], role)

    def _taken_on(self, account: CloudAccount, role: Role, first: Session) -> Session:
        """The session as the cloud account's role, for an hour."""
        external_id = _external_id(account)
        asked = Asked(
            f"let us take on the role {role.arn}",
            first.signed_by,
            f"Check the role's ARN, the external id of cloud account {account.id} ({account.name}), the role's trust "
            f"policy, which has to name both us and that id, and that a policy lets {first.signed_by} take it on "
            "(sts:AssumeRole). A role that was made just now takes a minute.",
        )
        with self.asking(asked), closing(self.client("sts", first, role.partition)) as client:
            answer = client.assume_role(
                RoleArn=role.arn, RoleSessionName=f"{SESSION_NAME}-{account.id}", ExternalId=external_id
            )
            return _session(answer["Credentials"], role)


@dataclass(frozen=True)
class IdentityToken:
    """The token with which the app's managed identity shows itself to AWS. Loads azure-identity with the first call.

    client_id: the identity's; None for whoever is signed in (developers). audience: AWS_WEB_IDENTITY_AUDIENCE.
    """

    client_id: str | None
    audience: str

    def __call__(self) -> str:
        """Raises LaterError, NeverError."""
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

        credential = ManagedIdentityCredential(client_id=self.client_id) if self.client_id else DefaultAzureCredential()
        try:
            return credential.get_token(f"{self.audience}/.default").token
        except ClientAuthenticationError as error:
            known = token_error(error)
            raise type(known)(
                f"We can't sign in to AWS: {known.reason} Check AWS_WEB_IDENTITY_AUDIENCE, too."
            ) from error
        finally:
            credential.close()


@cache
def _boto_session() -> BotoSession:
    """What makes clients; it reads botocore's data once.

    What the environment and AWS's files of settings hold is meant for others (a profile, another endpoint): of that
    only the certificates to trust, and proxies, count.
    """
    from botocore.configprovider import ConstantProvider

    session = _new_boto_session()
    settings = session.get_component("config_store")
    for name, (_in_file, _in_environment, default, _made) in session.SESSION_VARIABLES.items():
        if name != "ca_bundle":
            value = None if name in ("config_file", "credentials_file") else default
            settings.set_config_provider(name, ConstantProvider(value))
    return session


def environment_signs_in() -> bool:
    """Whether the environment or AWS's files of settings hold anything to sign in with. Raises NeverError."""
    return _of_developer() is not None


def _of_developer() -> Credentials | None:
    """What the environment and AWS's files of settings hold to sign in with."""
    session = _new_boto_session()
    try:
        # In Azure, what answers at AWS's address for machines is Azure's.
        session.get_component("credential_provider").remove("iam-role")
        return session.get_credentials()
    except ValueError as error:
        raise NeverError(f"The environment's settings for AWS can't be read: {readable(str(error))}.") from None


def _new_boto_session() -> BotoSession:
    # boto3's own session gives clients more than we use, and takes longer to load.
    from botocore.session import get_session

    for name, level in LOGGERS.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, level))
    return get_session()


def _role(account: CloudAccount) -> Role | None:
    """The role to take on; None where there is none."""
    if not account.role_arn:
        return None
    role = _parsed(account.role_arn, f"The role of cloud account {account.id} ({account.name})")
    if role.account != account.external_account_id:
        raise NeverError(
            f"Cloud account {account.id} ({account.name}) is of AWS account {account.external_account_id}, and its "
            f"role {role.arn} of {role.account}."
        )
    _external_id(account)
    return role


def _parsed(arn: str, whose: str) -> Role:
    try:
        return parse_role(arn)
    except AwsNameError as error:
        raise NeverError(f"{whose} can't be taken on: {error}.") from error


def _external_id(account: CloudAccount) -> str:
    try:
        return parse_external_id(account.external_id)
    except AwsNameError as error:
        raise NeverError(
            f"Cloud account {account.id} ({account.name}) has no external id that AWS takes, and no role is taken on "
            f"without: {error}."
        ) from error


def _session(credentials: dict[str, Any], role: Role) -> Session:
    return Session(
        role.partition,
        f"the role {role.arn}",
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
        credentials["Expiration"],
    )
