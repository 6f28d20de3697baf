"""The ways in which we sign in to AWS, and what each says when it does not work."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from localdev.aws_sim import AwsSimulator
from shared.adapters.costs import aws_access as module
from shared.adapters.costs.aws_access import AwsAccess, Session, environment_signs_in
from shared.domain.aws import PARTITIONS
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.credentials import AccessKeys
from shared.ports.errors import LaterError, NeverError, UntilMendedError
from tests.adapters.mail.servers import make_certificate
from tests.aws_worlds import (
    ACCOUNT,
    APP_ROLE,
    EXTERNAL_ID,
    HOME,
    KEYS,
    TOKEN,
    USER,
    aws_access,
    cloud_account,
    role_in,
    with_roles,
)
from tests.aws_worlds import OTHER as ANOTHER
from tests.fakes import FakeClock

ALONE = cloud_account()
OF_KEYS = cloud_account(HOME, role_arn=None, external_id=None)
IN_CHINA = "arn:aws-cn:iam::200000000002:role/costs"
ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@pytest.fixture
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator() as simulator:
        with_roles(simulator)
        yield simulator


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> pytest.MonkeyPatch:
    """A machine on which nobody is signed in to AWS."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return monkeypatch


def in_environment(aws: AwsSimulator) -> AwsAccess:
    return AwsAccess(lambda _id: None, endpoint=aws.url)


def who(access: AwsAccess, account: CloudAccount) -> str | None:
    return access.session_of(account).signed_in_as


def operations(aws: AwsSimulator) -> list[str]:
    return [call.operation for call in aws.calls]


# --- the ways ---


def test_the_apps_identity_takes_on_its_role_and_from_there_the_accounts_without_any_key(aws: AwsSimulator) -> None:
    assert who(aws_access(aws), ALONE) == f"arn:aws:sts::{ACCOUNT}:assumed-role/costs/budget-warden-7"
    first, second, _ = aws.calls
    assert first.operation == "AssumeRoleWithWebIdentity"
    assert first.given["WebIdentityToken"] == TOKEN
    assert first.given["RoleArn"] == APP_ROLE
    assert "Authorization" not in first.request.headers, "nothing of ours signs it"
    assert second.operation == "AssumeRole"
    assert second.given["ExternalId"] == EXTERNAL_ID
    assert second.arn.startswith(f"arn:aws:sts::{HOME}:assumed-role/budget-warden/")


def test_sealed_keys_take_on_the_role_too_and_come_before_the_identity(aws: AwsSimulator) -> None:
    assert who(aws_access(aws, KEYS), ALONE) == f"arn:aws:sts::{ACCOUNT}:assumed-role/costs/budget-warden-7"
    assert operations(aws) == ["AssumeRole", "GetCallerIdentity"]
    assert aws.calls[0].arn == USER


def test_keys_of_an_account_without_a_role_are_used_as_they_are(aws: AwsSimulator) -> None:
    assert who(aws_access(aws, KEYS), OF_KEYS) == USER


def test_a_developer_signs_in_by_the_environment(aws: AwsSimulator, no_environment: pytest.MonkeyPatch) -> None:
    assert not environment_signs_in()
    no_environment.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    no_environment.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    assert environment_signs_in()
    assert "assumed-role/costs" in str(who(in_environment(aws), ALONE))
    with pytest.raises(NeverError, match="neither a role to take on nor access keys of ours"):
        in_environment(aws).session_of(OF_KEYS)


def test_without_anything_to_sign_in_with_that_is_said(aws: AwsSimulator, no_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(NeverError, match=r"nothing to sign in to AWS with: set AWS_ROLE_ARN and AWS_WEB_IDENTITY"):
        in_environment(aws).session_of(ALONE)
    no_environment.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(NeverError, match="nobody"):
        in_environment(aws).session_of(ALONE)
    with pytest.raises(NeverError, match=r"Cloud account 7 \(prod\) has neither a role to take on nor access keys"):
        aws_access(aws).session_of(replace(ALONE, role_arn=None))
    assert aws.calls == []


def test_a_session_is_used_until_shortly_before_its_end(aws: AwsSimulator) -> None:
    clock = FakeClock(aws.now())
    access = aws_access(aws, clock=clock)
    first = access.session_of(ALONE)
    clock.forward(minutes=54)
    assert access.session_of(ALONE) is first
    clock.forward(minutes=2)
    assert access.session_of(ALONE) is not first
    assert operations(aws) == ["AssumeRoleWithWebIdentity", "AssumeRole", "GetCallerIdentity"] * 2


def test_another_role_or_external_id_is_another_session(aws: AwsSimulator) -> None:
    access = aws_access(aws)
    access.session_of(ALONE)
    with pytest.raises(NeverError):
        access.session_of(replace(ALONE, external_id="another"))


def test_two_accounts_share_what_the_app_signed_in_with(aws: AwsSimulator) -> None:
    with_roles(aws, ACCOUNT, ANOTHER)
    access = aws_access(aws)
    access.session_of(ALONE)
    access.session_of(replace(cloud_account(ANOTHER), id=8))
    assert operations(aws).count("AssumeRoleWithWebIdentity") == 1
    assert operations(aws).count("AssumeRole") == 2


def test_keys_of_another_account_are_refused_before_anything_is_read(aws: AwsSimulator) -> None:
    with pytest.raises(NeverError) as caught:
        aws_access(aws, KEYS).session_of(replace(OF_KEYS, external_account_id=ACCOUNT))
    assert caught.value.reason == (
        f"Cloud account 7 (prod) is of AWS account {ACCOUNT}, and the access keys of cloud account 7 (prod) of {HOME}."
    )
    assert operations(aws) == ["GetCallerIdentity"]


@pytest.mark.parametrize("way", ["identity", "keys", "environment"])
def test_a_role_of_another_account_is_refused_whoever_takes_it_on(
    aws: AwsSimulator, no_environment: pytest.MonkeyPatch, way: str
) -> None:
    no_environment.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    no_environment.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    ways = {"identity": aws_access(aws), "keys": aws_access(aws, KEYS), "environment": in_environment(aws)}
    with pytest.raises(NeverError, match=f"is of AWS account {ANOTHER}, and .* role {role_in(ACCOUNT)} of {ACCOUNT}"):
        ways[way].session_of(replace(ALONE, external_account_id=ANOTHER))


# --- what is used again ---


@pytest.mark.parametrize("account", [OF_KEYS, ALONE], ids=["as they are", "with a role"])
def test_keys_given_anew_are_used_at_once_and_those_taken_away_no_more(
    aws: AwsSimulator, account: CloudAccount
) -> None:
    kept = {7: KEYS}
    access = AwsAccess(kept.get, endpoint=aws.url)
    assert access.session_of(account) is access.session_of(account)
    others = AccessKeys("AKIAWARDEN0000000002", "another-secret/0000000000000000000000000")
    del aws.iam.keys[KEYS.access_key_id]
    aws.iam.add_user(USER, others.access_key_id, others.secret_access_key)
    kept[7] = others
    before = len(aws.calls)
    assert who(access, account)
    assert len(aws.calls) > before
    kept.clear()
    with pytest.raises(NeverError, match="access keys"):
        access.session_of(account)


def test_what_the_app_signed_in_with_and_ended_early_is_made_anew_with_the_next_try(aws: AwsSimulator) -> None:
    with_roles(aws, ACCOUNT, ANOTHER)
    access, another = aws_access(aws), replace(cloud_account(ANOTHER), id=8)
    access.session_of(ALONE)
    for each, key in aws.iam.keys.items():
        if key.until:
            aws.iam.keys[each] = replace(key, until=aws.now())
    with pytest.raises(LaterError, match=f"{APP_ROLE}. has expired"):
        access.session_of(another)
    assert who(access, another)
    assert operations(aws).count("AssumeRoleWithWebIdentity") == 2


def test_signing_in_to_one_account_keeps_no_other_waiting(aws: AwsSimulator) -> None:
    with_roles(aws, ACCOUNT, ANOTHER)
    access, another = aws_access(aws), replace(cloud_account(ANOTHER), id=8)
    session = access.session_of(another)
    aws.fault("slow", operation="AssumeRole", seconds=1)
    waiting = threading.Thread(target=access.session_of, args=[ALONE])
    waiting.start()
    while operations(aws).count("AssumeRole") < 2:
        assert waiting.is_alive()
    assert access.session_of(another) is session
    assert waiting.is_alive()
    waiting.join()


# --- what is none of the cloud account's business ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_DEFAULT_PROFILE", "nobody"),
        ("AWS_CONFIG_FILE", "{folder}/broken"),
        ("AWS_SHARED_CREDENTIALS_FILE", "{folder}/broken"),
        ("AWS_DEFAULTS_MODE", "nonsense"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "nonsense"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "never"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_CONFIG_FILE", "{folder}/fips"),
        ("AWS_ENDPOINT_URL_STS", "https://elsewhere.example"),
    ],
)
def test_the_environments_settings_for_aws_change_nothing(
    aws: AwsSimulator, no_environment: pytest.MonkeyPatch, tmp_path, name: str, value: str
) -> None:
    (tmp_path / "broken").write_text("[default\n")
    (tmp_path / "fips").write_text("[default]\nuse_fips_endpoint = true\n")
    no_environment.setenv(name, value.format(folder=tmp_path))
    module._boto_session.cache_clear()
    for access in (aws_access(aws, KEYS), aws_access(aws)):
        assert access.session_of(ALONE)
    client = AwsAccess(lambda _id: None).client("sts", Session(PARTITIONS["aws"], "", "a", "b"), PARTITIONS["aws"])
    assert client.meta.endpoint_url == "https://sts.us-east-1.amazonaws.com"


def test_a_developers_settings_that_can_not_be_read_are_told(
    aws: AwsSimulator, no_environment: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "broken").write_text("[default\n")
    for name, value, said in (
        ("AWS_CONFIG_FILE", str(tmp_path / "broken"), "Unable to parse config file"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon", "environment's settings for AWS can't be read: .*soon"),
    ):
        no_environment.setenv(name, value)
        with pytest.raises(NeverError, match=said):
            in_environment(aws).session_of(ALONE)
        no_environment.delenv(name)


# --- partitions ---


@pytest.mark.parametrize(
    ("name", "service", "url"),
    [
        ("aws", "sts", "https://sts.us-east-1.amazonaws.com"),
        ("aws", "ce", "https://ce.us-east-1.amazonaws.com"),
        ("aws", "organizations", "https://organizations.us-east-1.amazonaws.com"),
        ("aws-cn", "sts", "https://sts.cn-northwest-1.amazonaws.com.cn"),
        ("aws-cn", "ce", "https://ce.cn-northwest-1.amazonaws.com.cn"),
        ("aws-cn", "organizations", "https://organizations.cn-northwest-1.amazonaws.com.cn"),
        ("aws-eusc", "sts", "https://sts.eusc-de-east-1.amazonaws.eu"),
        ("aws-eusc", "ce", "https://ce.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_each_partition_has_its_own_endpoints(
    monkeypatch: pytest.MonkeyPatch, name: str, service: str, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.example")
    access = AwsAccess(lambda _id: None)
    assert access.client(service, Session(PARTITIONS[name], "", "a", "b"), PARTITIONS[name]).meta.endpoint_url == url


def test_a_role_of_another_partition_needs_keys_of_its_own(aws: AwsSimulator) -> None:
    china = replace(ALONE, role_arn=IN_CHINA)
    with pytest.raises(NeverError, match=r"is of aws-cn, and AWS_ROLE_ARN of aws: another partition needs access keys"):
        aws_access(aws).session_of(china)
    aws.iam.add_role(IN_CHINA, trusts=[USER], external_id=EXTERNAL_ID)
    session = aws_access(aws, KEYS).session_of(china)
    assert session.partition == PARTITIONS["aws-cn"]
    assert "/cn-northwest-1/sts/" in aws.calls[-1].request.headers["Authorization"]


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws-us-gov:iam::200000000002:role/costs", "its costs are in the standard AWS account"),
        ("arn:aws:iam::200000000002:role/costs\nx", "is no role"),
        ("arn:aws:iam::200000000002:user/ann", "is no role"),
    ],
)
def test_what_is_no_role_is_never_taken_on(aws: AwsSimulator, arn: str, said: str) -> None:
    with pytest.raises(NeverError, match=said) as caught:
        aws_access(aws).session_of(replace(ALONE, role_arn=arn))
    assert "\n" not in caught.value.reason
    with pytest.raises(NeverError, match=f"AWS_ROLE_ARN can't be taken on: .*{said}"):
        AwsAccess(lambda _id: None, arn, lambda: TOKEN, aws.url).session_of(ALONE)
    assert aws.calls == []


# --- what does not work ---


@pytest.mark.parametrize("external_id", [None, "", "x", "with a blank"])
def test_no_role_is_taken_on_without_an_external_id(aws: AwsSimulator, external_id: str | None) -> None:
    aws.iam.roles[role_in(ACCOUNT)].external_id = None
    with pytest.raises(NeverError, match="no external id that AWS takes, and no role is taken on without"):
        aws_access(aws).session_of(replace(ALONE, external_id=external_id))
    assert aws.calls == []


@pytest.mark.parametrize("wrong", ["external id", "trust", "role"])
def test_a_role_that_is_not_given_us_names_all_there_is_to_check_and_guesses_nothing(
    aws: AwsSimulator, wrong: str
) -> None:
    role = aws.iam.roles[role_in(ACCOUNT)]
    if wrong == "external id":
        role.external_id = "another-one"
    elif wrong == "trust":
        role.trusts = frozenset()
    else:
        del aws.iam.roles[role_in(ACCOUNT)]
    with pytest.raises(NeverError) as caught:
        aws_access(aws).session_of(ALONE)
    assert caught.value.reason == (
        f"AWS refuses to let us take on the role {role_in(ACCOUNT)}: AccessDenied: User: "
        f"arn:aws:sts::{HOME}:assumed-role/budget-warden/budget-warden is not authorized to perform: sts:AssumeRole on "
        f"resource: {role_in(ACCOUNT)}. Check the role's ARN, the external id of cloud account 7 (prod), the role's "
        f"trust policy, which has to name both us and that id, and that a policy lets the role {APP_ROLE} take it on "
        "(sts:AssumeRole). A role that was made just now takes a minute."
    )


def test_keys_that_were_rotated_at_aws_are_told_as_that(aws: AwsSimulator) -> None:
    del aws.iam.keys[KEYS.access_key_id]
    with pytest.raises(NeverError) as caught:
        aws_access(aws, KEYS).session_of(ALONE)
    assert caught.value.reason == (
        "AWS does not know the access keys of cloud account 7 (prod): rotated, switched off or deleted there. "
        "`cloud-accounts keys` takes new ones."
    )


def test_keys_without_a_role_that_are_not_known_may_be_of_another_partition_which_is_told(aws: AwsSimulator) -> None:
    with pytest.raises(NeverError, match=r"does not know the access keys .* aws-cn or aws-eusc need a role, whose ARN"):
        aws_access(aws, AccessKeys("AKIAINCHINA000000001", "x" * 40)).session_of(OF_KEYS)


def test_a_wrong_secret_is_told_and_nothing_that_was_signed_is_shown(aws: AwsSimulator) -> None:
    wrong = AccessKeys(KEYS.access_key_id, "not-the-secret/00000000000000000000000000")
    with pytest.raises(NeverError, match="the secret does not belong to the access key") as caught:
        aws_access(aws, wrong).session_of(ALONE)
    said = "".join(traceback.format_exception(caught.value))
    assert wrong.secret_access_key not in said
    assert "Canonical String" not in said


@pytest.mark.parametrize("keys", [None, KEYS], ids=["identity", "keys"])
def test_nothing_that_signs_is_logged_at_any_level(
    aws: AwsSimulator, keys: AccessKeys | None, caplog: pytest.LogCaptureFixture
) -> None:
    access = aws_access(aws, keys)
    with caplog.at_level(logging.DEBUG):
        session = access.session_of(ALONE)
    secrets = [TOKEN, KEYS.secret_access_key, session.secret_key, str(session.token)]
    assert [each for each in secrets if each in caplog.text] == []


@pytest.mark.parametrize("fault", ["cut_off", "truncated", "hollow", "unavailable"])
@pytest.mark.parametrize("operation", ["AssumeRoleWithWebIdentity", "AssumeRole", "GetCallerIdentity"])
def test_an_answer_that_is_none_is_for_later_and_shows_no_secret(aws: AwsSimulator, fault: str, operation: str) -> None:
    aws.fault(fault, operation=operation)
    with pytest.raises(LaterError) as caught:
        aws_access(aws).session_of(ALONE)
    said = "".join(traceback.format_exception(caught.value))
    secrets = [each for key in aws.iam.keys.values() if key.until for each in (key.secret, str(key.token))]
    assert secrets
    assert [each for each in secrets if each in said] == []
    assert who(aws_access(aws), ALONE)


def test_no_secret_is_in_what_is_printed(aws: AwsSimulator) -> None:
    access = aws_access(aws, KEYS)
    session = access.session_of(ALONE)
    for secret in (session.secret_key, session.token or "?", session.access_key, KEYS.secret_access_key):
        assert secret not in f"{access!r} {session!r}"


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("idp_communication", LaterError, "IDPCommunicationError"),
        ("idp_rejected", NeverError, "IDPRejectedClaim: .* sign in anew, and check both"),
        ("expired_token", LaterError, "the token of the app's identity.* has expired"),
        ("region_disabled", NeverError, "STS is switched off in that region"),
        ("throttled", LaterError, "asks us to wait before we ask it to let the app's identity take on the role"),
        ("unavailable", LaterError, "at the moment: 503"),
        ("silent", LaterError, "did not answer in time"),
        ("truncated", LaterError, "AWS"),
        ("access_denied", NeverError, "trust policy names the identity provider, this identity"),
    ],
)
def test_what_becomes_of_the_identitys_token_is_later_or_never(
    aws: AwsSimulator, fault: str, error: type[Exception], said: str
) -> None:
    aws.fault(fault)
    with pytest.raises(error, match=said) as caught:
        aws_access(aws).session_of(ALONE)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert len(aws.calls) == 1, "nothing is tried twice"


def test_a_token_that_aws_does_not_trust_is_told_with_what_to_check(aws: AwsSimulator) -> None:
    aws.iam.tokens.clear()
    with pytest.raises(NeverError, match=r"InvalidIdentityToken: .*its URL and audience.*AWS_WEB_IDENTITY_AUDIENCE"):
        aws_access(aws).session_of(ALONE)
    aws.iam.tokens[TOKEN] = "somebody else"
    with pytest.raises(NeverError, match=r"`:sub`.*AWS_WEB_IDENTITY_AUDIENCE \(`:aud`\)"):
        aws_access(aws).session_of(ALONE)


def test_a_clock_that_is_wrong_is_told_as_that_when_signing_in(aws: AwsSimulator) -> None:
    real = aws.now
    aws.iam.now = lambda: real() + timedelta(minutes=6)
    with pytest.raises(UntilMendedError, match="clocks"):
        aws_access(aws, KEYS).session_of(ALONE)


class _Nothing(BaseHTTPRequestHandler):
    """Nobody comes so far."""


@pytest.fixture
def distrusted(tmp_path) -> Iterator[str]:
    """A server whose certificate nobody vouches for."""
    _pem, context = make_certificate(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_does_not_verify_is_told_as_that(
    distrusted: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    told = r"no safe connection to it: .*{}.*AWS_CA_BUNDLE has to name a file with its certificate"
    (tmp_path / "empty").touch()
    for bundle, said in (
        (None, "certificate verify failed"),
        (str(tmp_path / "none"), "No such file"),
        (str(tmp_path / "empty"), "no certificate or crl found"),
    ):
        if bundle:
            monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        with pytest.raises(UntilMendedError, match=told.format(said)):
            aws_access(distrusted).session_of(ALONE)
    monkeypatch.setenv("AWS_CA_BUNDLE", "")
    with pytest.raises(NeverError, match="Invalid CA bundle"):
        aws_access(distrusted).session_of(ALONE)


@pytest.mark.parametrize("proxy", ["not a proxy", "http://[::1", "http://ann:pass-word@127.0.0.1:x"])
def test_a_proxy_that_is_none_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UntilMendedError, match="HTTPS_PROXY or HTTP_PROXY is no proxy's address") as caught:
        aws_access("https://aws.example").session_of(ALONE)
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


def test_aws_that_is_out_of_reach_is_for_later() -> None:
    with pytest.raises(LaterError, match="out of reach"):
        aws_access("http://127.0.0.1:9").session_of(ALONE)
