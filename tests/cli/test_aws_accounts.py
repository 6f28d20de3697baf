"""`cloud-accounts add aws`, `show` and `test`, against what plays AWS."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsAccount, AwsSimulator, Organization
from shared.composition import Composition
from shared.ports.costs import SubAccount
from shared.ports.payers import Sync
from tests.aws_worlds import ACCOUNT, APP_ROLE, EXTERNAL_ID, HOME, OTHER, USER, role_in, with_roles
from tests.cli.commands import DIE1, Cli, Outcome, write_csv
from tests.cli.test_credentials import hand_in

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SEALING_KEY = b64encode(bytes(range(32))).decode()
ADD = ("cloud-accounts", "add", "aws", "--name", "prod")
ROLE, ID = ("--role-arn", role_in(ACCOUNT)), ("--external-id", EXTERNAL_ID)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSimulator]:
    with AwsSimulator() as aws:
        monkeypatch.setenv("AWS_ENDPOINT", aws.url)
        monkeypatch.setenv("ENCRYPTION_KEYS", f"2026:{SEALING_KEY}")
        with_roles(aws)
        aws.iam.add_user(USER, KEY_ID, SECRET)
        yield aws


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Access keys on the standard input."""
    hand_in(monkeypatch, f"{KEY_ID}\n{SECRET}\n")


def test_an_account_is_added_with_the_policies_to_paste(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", APP_ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_AUDIENCE", "api://warden")
    added = cli(*ADD, *ROLE, *ID, "--json").json
    assert (added["external_account_id"], added["external_id"], added["status"]) == (ACCOUNT, EXTERNAL_ID, "pending")
    assert added["trust_policy"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"AWS": APP_ROLE},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
        }
    ]
    assert added["permission_policy"]["Statement"][0]["Action"] == ["ce:GetCostAndUsage"]
    assert added["organization"] == "default"
    shown = cli("cloud-accounts", "show", "1", "--json").json
    assert (shown["role_arn"], shown["calls_today"], shown["members"], shown["syncs"]) == (ROLE[1], 0, [], [])


def test_an_external_id_is_made_where_none_is_given_and_written_for_people(cli: Cli, app: Composition) -> None:
    text = cli(*ADD, *ROLE).out
    made = app.cloud_accounts.get(1).external_id
    assert re.fullmatch("warden-[0-9a-f]{32}", made)
    assert text.count(made) == 1
    assert text.startswith(f"Cloud account 1 (prod) is AWS account {ACCOUNT}, which each night reads from now on.")


def test_one_is_added_to_those_of_an_organization_of_ours(cli: Cli) -> None:
    assert cli(*ADD, *ROLE, "--organization", "Musée", "--json").json["organization"] == "Musée"
    refused = cli(*ADD, "--role-arn", role_in(OTHER), "--organization", "")
    assert (refused.code, "is no organization" in refused.err) == (2, True)


def test_an_organization_is_added_with_what_of_it_is_read(cli: Cli, app: Composition) -> None:
    chosen = ("--payer", "--accounts", f"{OTHER}; {ACCOUNT},{OTHER}", "--without-credits")
    added = cli(*ADD, *ROLE, *chosen, "--json").json
    allowed = ["ce:GetCostAndUsage", "organizations:ListAccounts"]
    assert added["permission_policy"]["Statement"][0]["Action"] == allowed
    account = app.cloud_accounts.get(1)
    assert (account.is_organization, account.reads, account.without_credits) == (True, (ACCOUNT, OTHER), True)
    unit = ("--payer", "--organizational-unit", "ou-ab12-3c4d5e6f")
    added = cli(*ADD, "--name", "unit", "--role-arn", role_in(OTHER), *unit, "--json").json
    assert added["permission_policy"]["Statement"][0]["Action"] == [
        "ce:GetCostAndUsage",
        "organizations:ListAccountsForParent",
        "organizations:ListOrganizationalUnitsForParent",
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((), "there is no role: write --role-arn"),
        (("--role-arn", "costs"), "'costs' is no role; write it like arn:aws:iam::123456789012:role/budget-warden"),
        (("--role-arn", f"{ROLE[1]}\nx"), "is no role"),
        (("--role-arn", "arn:aws-us-gov:iam::123456789012:role/x"), "its costs are in the standard AWS account"),
        (("--role-arn", "arn:aws-cn:iam::123456789012:role/x"), "the role is of aws-cn, which nobody of aws can take"),
        (("--role-arn", "arn:aws-eusc:iam::123456789012:role/x"), "the role is of aws-eusc, which nobody of aws"),
        ((*ROLE, "--account", HOME), f"the role is of AWS account {ACCOUNT}, and not of {HOME}"),
        ((*ROLE, "--external-id", ""), "an external id has 2 to 1,224 letters"),
        ((*ROLE, "--external-id", "x"), "an external id has 2 to 1,224 letters"),
        ((*ROLE, "--external-id", "two words"), "an external id has 2 to 1,224 letters"),
        ((*ROLE, "--external-id", "x" * 201), "the external id has 201 characters; 200 at most are kept"),
        ((*ROLE, "--accounts", OTHER), "choose what of an organization is read: add --payer"),
        ((*ROLE, "--organizational-unit", "ou-ab12-3c4d5e6f"), "choose what of an organization is read"),
        ((*ROLE, "--payer", "--accounts", "12"), "'12' is no AWS account; its id has twelve digits"),
        ((*ROLE, "--payer", "--organizational-unit", "dev"), "'dev' is no organizational unit"),
        ((*ROLE, "--payer", "--detail", "meter"), "meters can be had of one account only"),
        ((*ROLE, "--detail", "day"), "'day' is no detail: it is service or meter"),
    ],
)
def test_what_can_not_be_right_is_refused_and_nothing_is_added(
    cli: Cli, app: Composition, given: tuple[str, ...], why: str
) -> None:
    refused = cli(*ADD, *given)
    assert refused.code == 2
    assert why in " ".join(refused.err.split())
    assert app.cloud_accounts.accounts() == []


def test_a_name_is_a_line_and_the_provider_is_aws(cli: Cli) -> None:
    assert "is no name" in cli("cloud-accounts", "add", "aws", "--name", "a\nb", *ROLE).err
    assert "'azure' can't be added: aws can" in cli("cloud-accounts", "add", "azure", "--name", "x", *ROLE).err


def test_an_account_that_a_payer_reads_already_is_refused_with_who_reads_it(cli: Cli, app: Composition) -> None:
    cli(*ADD, "--role-arn", role_in(OTHER), "--payer")
    app.payers.adopt(1, "aws", [ACCOUNT])
    refused = cli(*ADD, *ROLE)
    assert (refused.code, app.cloud_accounts.get(2)) == (2, None)
    assert f"AWS account {ACCOUNT} is read already, by cloud account 1 (prod)" in refused.err
    # One that names it will read it, though it has read nothing yet.
    cli(*ADD, "--name", "payer", "--role-arn", role_in(HOME), "--payer", "--accounts", ACCOUNT)
    app.cloud_accounts.disable(1, "by ann")
    assert f"AWS account {ACCOUNT} is read already, by cloud account 2 (payer)" in cli(*ADD, *ROLE).err
    cli("cloud-accounts", "remove", "2", "--yes")
    app.cloud_accounts.enable(1)
    assert f"cloud account 1 (prod) is AWS account {OTHER}" in cli(*ADD, "--role-arn", role_in(OTHER)).err
    cli("cloud-accounts", "disable", "1")
    assert cli(*ADD, *ROLE, "--name", "alone").code == 0


def test_keys_are_sealed_with_it_and_without_a_key_to_seal_by_nothing_is_added(
    cli: Cli, app: Composition, aws: AwsSimulator, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = cli(*ADD, "--role-arn", "arn:aws-cn:iam::123456789012:role/x", "--access-keys")
    assert added.code == 0
    assert "arn:aws-cn:iam::<account>:user/<whose access keys these are>" in added.out
    assert SECRET not in added.out + added.err
    hand_in(monkeypatch, f"{KEY_ID}\n{SECRET}\n")
    monkeypatch.delenv("ENCRYPTION_KEYS")
    refused = cli(*ADD, "--name", "x", "--account", ACCOUNT, "--access-keys")
    assert (refused.code, len(app.cloud_accounts.accounts())) == (1, 1)
    assert "ENCRYPTION_KEYS is missing" in refused.err
    hand_in(monkeypatch, "AKIA\nx\n")
    assert "the access key id has to be AKIA" in cli(*ADD, "--name", "x", "--account", ACCOUNT, "--access-keys").err
    assert len(app.cloud_accounts.accounts()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--payer", "--accounts", ";;"), "';;' names no account; leave --accounts out where all are meant"),
        (("--payer", "--accounts", " ; , "), "names no account; leave --accounts out where all are meant"),
        (("--payer", "--accounts", ""), "--accounts is empty; say what it is, or leave it out"),
        (("--payer", "--organizational-unit", " "), "--organizational-unit is empty; say what it is"),
        (("--payer", "--organizational-unit", "ou-ab12-3c4d5e6f "), "; it ends with a blank"),
        (("--account", ""), "--account is empty; say what it is"),
        (("--role-arn", ""), "--role-arn is empty; say what it is"),
        (("--external-id", "warden-1 "), "; it ends with a blank"),
        (("--name", "a\u202eb"), "'a b' is no name: write a line of at most 200 characters; it holds U+202E"),
        (("--name", "a\u200bb"), "; it holds U+200B (ZERO WIDTH SPACE)"),
        (("--name", "a\udcffb"), "'a b' is no name: write a line"),
        (("--organization", "a\u200bb"), "; it holds U+200B (ZERO WIDTH SPACE)"),
    ],
)
def test_what_says_nothing_or_is_not_seen_is_refused(
    cli: Cli, app: Composition, options: tuple[str, ...], said: str
) -> None:
    refused = cli(*ADD, *ROLE, *options)
    assert (refused.code, refused.out) == (2, "")
    assert said in " ".join(refused.err.split())
    assert app.cloud_accounts.accounts() == []


def test_two_are_never_called_the_same(cli: Cli, app: Composition) -> None:
    cli(*ADD, *ROLE, "--name", "Prod é")
    refused = cli(*ADD, "--role-arn", role_in(OTHER), "--name", " PROD e ")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: cloud account 1 is called Prod é already: give this one another name\n"
    assert cli(*ADD, "--role-arn", role_in(OTHER), "--name", "Prod à l'été 2").code == 0


def try_out(cli: Cli, *added: str) -> Outcome:
    assert cli(*ADD, *ROLE, "--access-keys", *added).code == 0
    return cli("cloud-accounts", "test", "1")


def test_an_account_that_can_be_read_says_as_whom_and_its_one_call_is_counted(
    cli: Cli, aws: AwsSimulator, keys: None
) -> None:
    tried = try_out(cli, *ID)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/costs/budget-warden-1"
    assert (tried.code, tried.out) == (0, f"Cloud account 1 (prod) can be read as {arn}.\n")
    assert cli("cloud-accounts", "show", "1", "--json").json["calls_today"] == 1
    assert aws.stats()["paid_pages"] == 1
    assert "paid calls today      1 (0.01 USD)" in cli("cloud-accounts", "show", "1").out


def test_what_keeps_it_from_being_read_is_said(cli: Cli, aws: AwsSimulator, keys: None) -> None:
    tried = try_out(cli, "--external-id", "another-one")
    assert (tried.code, tried.out) == (1, "Cloud account 1 (prod) cannot be read.\n")
    assert "Check the role's ARN, the external id of cloud account 1 (prod)" in " ".join(tried.err.split())


def test_accounts_of_an_organization_that_can_not_be_listed_are_told(cli: Cli, aws: AwsSimulator, keys: None) -> None:
    aws.add_organization(Organization(ACCOUNT, {ACCOUNT: AwsAccount(ACCOUNT, "payer")}))
    aws.iam.roles[role_in(ACCOUNT)].allows = frozenset({"ce:GetCostAndUsage"})
    tried = try_out(cli, *ID, "--payer")
    assert tried.code == 0
    assert "allow organizations:ListAccounts to the role" in " ".join(tried.err.split())


def test_others_are_not_tested_so(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "is read by COST_MANAGEMENT; `check` tests that" in cli("cloud-accounts", "test", "1").err
    assert "there is no cloud account 9" in cli("cloud-accounts", "show", "9").err
    assert "COST_MANAGEMENT" in cli("cloud-accounts", "show", "1").out


def test_one_is_shown_with_its_members_its_syncs_and_who_feeds_what_it_leaves_out(cli: Cli, app: Composition) -> None:
    cli(*ADD, "--role-arn", role_in(OTHER))
    app.payers.adopt(1, "aws", [OTHER])
    cli(*ADD, "--name", "payer", *ROLE, "--payer", "--accounts", f"{OTHER};{HOME}")
    app.payers.adopt(2, "aws", [HOME])
    app.payers.note_listed(2, "aws", [SubAccount(HOME, "Shop", "SUSPENDED")], ["ACTIVE"], date(2026, 11, 19))
    at, end = (datetime(2026, 11, 20, 2, 1, second, tzinfo=UTC) for second in (0, 7))
    app.payers.change_sync(
        2, Sync("night-2026-11-20", at, end, 12, {"USD": Decimal("3.5")}, 2, 3, ("One said no.",)), lambda begun: begun
    )
    shown = json.loads(cli("cloud-accounts", "show", "2", "--json").out)
    assert shown["members"] == [
        {"id": HOME, "name": "Shop", "state": "SUSPENDED", "left_on": "2026-11-19"} | {"read_since": None}
    ]
    assert shown["left_out"] == [{"id": OTHER, "read_by": 1}]
    (sync,) = shown["syncs"]
    assert (sync["started_at"], sync["finished_at"]) == ("2026-11-20T02:01:00+00:00", "2026-11-20T02:01:07+00:00")
    names = ("run_key", "rows", "totals", "services", "seconds", "calls", "errors")
    came_to = ("night-2026-11-20", 12, {"USD": "3.5"}, 2, 7.0, 3, ["One said no."])
    assert tuple(sync[name] for name in names) == came_to
    text = cli("cloud-accounts", "show", "2").out
    assert f"It leaves out {OTHER}, which cloud account 1 (prod) reads." in text
    assert "One said no." in text


def test_what_a_whole_organization_s_reading_left_out_is_named_with_who_reads_it(cli: Cli, app: Composition) -> None:
    cli(*ADD, "--role-arn", role_in(OTHER))
    app.payers.adopt(1, "aws", [OTHER])
    cli(*ADD, "--name", "payer", *ROLE, "--payer")
    at = datetime(2026, 11, 20, 2, 1, tzinfo=UTC)
    app.payers.change_sync(2, Sync("night-2026-11-20", at, at, left_out=(OTHER,)), lambda begun: begun)
    assert cli("cloud-accounts", "show", "2", "--json").json["left_out"] == [{"id": OTHER, "read_by": 1}]
    assert f"It leaves out {OTHER}, which cloud account 1 (prod) reads." in cli("cloud-accounts", "show", "2").out
    # The next sync reads it then.
    cli("cloud-accounts", "disable", "1")
    assert cli("cloud-accounts", "show", "2", "--json").json["left_out"] == []
