"""How we sign in to AWS accounts; boto3 is imported with the first one that is asked.

The first of these counts: the cloud account's own access keys, which are kept sealed; the app's managed identity, whose
token AWS_ROLE_ARN is taken on with; what the environment holds, for developers. From there we take on the role of the
cloud account, always with its external id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.refusals import token_error
from shared.adapters.costs.aws_errors import Asked, refusals
from shared.domain.aws import AWS, PARTITIONS, AwsNameError, Partition, Role, parse_external_id, parse_role
from shared.ports.clock import Clock, utc_now
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.credentials import AccessKeys
from shared.ports.errors import NeverError

if TYPE_CHECKING:
    from botocore.session import Session as BotoSession

CONNECT_SECONDS, READ_SECONDS = 10.0, 90.0
# A session is not begun a page with that ends before the page may have come.
MARGIN = timedelta(minutes=5)
# AWS shows it to whoever looks at who did what.
SESSION_NAME = "budget-warden"


# Making clients is not safe in threads, using them is.
MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Session:
    """What requests are signed with, in one partition. No secret of it is ever shown.

    until: when it ends; None for what does not. signed_by: whose it is, for people.
    """

    partition: Partition
    signed_by: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    until: datetime | None = None


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
    _sessions: dict[object, Session] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def session_of(self, account: CloudAccount) -> Session:
        """What is asked with on the cloud account's behalf. Raises LaterError, NeverError."""
        with self._lock:
            return self._kept(_key(account), lambda: self._signed_in(account))

    def forget(self) -> None:
        """Whoever is asked next, we sign in anew."""
        with self._lock:
            # What it was signed in from may be what has expired.
            self._sessions.clear()

    def client(self, service: str, session: Session | None, partition: Partition) -> Any:
        """A client that tries nothing twice, for each try may be paid for. Without a session, it signs nothing."""
        from botocore import UNSIGNED
        from botocore.config import Config

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
            return _boto_session().create_client(
                service, region_name=partition.region, endpoint_url=self.endpoint, config=config, **signing
            )

    def _kept(self, key: object, sign_in: Callable[[], Session]) -> Session:
        session = self._sessions.get(key)
        if session is None or (session.until is not None and session.until - MARGIN <= self.clock()):
            session = self._sessions[key] = sign_in()
        return session

    def _signed_in(self, account: CloudAccount) -> Session:
        keys = self.keys_of(account.id)
        role = _role(account)
        partition = role.partition if role else PARTITIONS[AWS]
        first = self._first(account, keys, partition)
        if role is None:
            return first
        if first.partition != partition:
            raise NeverError(
                f"The role of cloud account {account.id} ({account.name}) is of {partition.name}, and AWS_ROLE_ARN of "
                f"{first.partition.name}: another partition needs access keys (`cloud-accounts keys {account.id}`)."
            )
        return self._taken_on(account, role, first)

    def _first(self, account: CloudAccount, keys: AccessKeys | None, partition: Partition) -> Session:
        """Who we are before we take on the cloud account's role."""
        if keys is not None:
            whose = f"the access keys of cloud account {account.id} ({account.name})"
            return Session(partition, whose, keys.access_key_id, keys.secret_access_key)
        if self.role_arn is None or self.identity_token is None:
            return self._of_environment(partition)
        if not account.role_arn:
            raise NeverError(
                f"Cloud account {account.id} ({account.name}) has neither a role to take on nor access keys of ours."
            )
        arn, token = self.role_arn, self.identity_token
        return self._kept(arn, lambda: self._by_identity(_parsed(arn, "AWS_ROLE_ARN"), token()))

    def _of_environment(self, partition: Partition) -> Session:
        signed_by = "the environment's AWS credentials"
        asked = Asked("tell who we are", signed_by, "")
        with refusals(asked, self.clock):
            found = _new_boto_session().get_credentials()
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
        with closing(self.client("sts", None, role.partition)) as client, refusals(asked, self.clock):
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
        with closing(self.client("sts", first, role.partition)) as client, refusals(asked, self.clock):
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
    """What makes clients; it reads botocore's data once."""
    return _new_boto_session()


def _new_boto_session() -> BotoSession:
    # boto3's own session gives clients more than we use, and takes longer to load.
    from botocore.session import get_session

    # Where all is logged, it logs what it signs with.
    logging.getLogger("botocore").setLevel(logging.INFO)
    session = get_session()
    # In Azure, what answers at AWS's address for machines is Azure's.
    session.get_component("credential_provider").remove("iam-role")
    return session


def _key(account: CloudAccount) -> object:
    """What makes a session another one."""
    return account.id, account.role_arn, account.external_id


def _role(account: CloudAccount) -> Role | None:
    """The role to take on; None where there is none."""
    if not account.role_arn:
        return None
    role = _parsed(account.role_arn, f"The role of cloud account {account.id} ({account.name})")
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
