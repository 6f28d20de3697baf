"""`cloud-accounts sync`: the app's own functions, on queues of Azurite, ask what plays AWS."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsCharge, AwsSimulator
from shared.composition import Composition
from tests.aws_worlds import ACCOUNT, EXTERNAL_ID, OTHER, USER, role_in, with_roles
from tests.cli.commands import DIE1, Cli, Working, write_csv
from tests.cli.test_credentials import hand_in

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SYNC = ("cloud-accounts", "sync")
YESTERDAY, OCTOBER = date(2026, 11, 19), date(2026, 10, 25)


@pytest.fixture
def aws(cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSimulator]:
    """Two accounts that are added, and spend."""
    with AwsSimulator(today=lambda: date(2026, 11, 20)) as aws:
        monkeypatch.setenv("AWS_ENDPOINT", aws.url)
        monkeypatch.setenv("ENCRYPTION_KEYS", f"2026:{b64encode(bytes(range(32))).decode()}")
        with_roles(aws, ACCOUNT, OTHER)
        aws.iam.add_user(USER, KEY_ID, SECRET)
        for account, name, organization in ((ACCOUNT, "shop", "Musée"), (OTHER, "lab", "default")):
            hand_in(monkeypatch, f"{KEY_ID}\n{SECRET}\n")
            how = ("--role-arn", role_in(account), "--external-id", EXTERNAL_ID, "--organization", organization)
            assert cli("cloud-accounts", "add", "aws", "--name", name, *how, "--access-keys").code == 0
        aws.book.add(
            AwsCharge(account, service, day, Decimal(cost))
            for account, service, day, cost in (
                (ACCOUNT, "Amazon EC2", YESTERDAY, "22"),
                (ACCOUNT, "Amazon S3", YESTERDAY, "0.5"),
                (ACCOUNT, "Amazon EC2", OCTOBER, "4"),
                (OTHER, "Amazon EC2", YESTERDAY, "7"),
            )
        )
        yield aws


def stored(cli: Cli, *days: str) -> dict[str, str]:
    listed = cli("costs", "--by", "sub-account", "--json", *(days or ("--from", "2026-10-01"))).json["costs"]
    return {each["sub_account_id"]: each["cost"] for each in listed}


def test_one_account_is_read_now_and_says_what_it_took_before_and_what_it_came_to_after(
    cli: Cli, app: Composition, aws: AwsSimulator, working: Working
) -> None:
    with working():
        synced = cli(*SYNC, "1")
    assert (synced.code, synced.err) == (0, "")
    said, begun, came = synced.out.splitlines()
    assert said == "Cloud account 1 (shop): at least 2 paid calls (0.02 USD); 24 of today's are left."
    assert begun.startswith("Run manual-2026-11-20T")
    assert came.startswith("Cloud account 1 (shop): 3 charges of 2 services, 26.5 USD; 2 paid calls (0.02 USD), ")
    assert stored(cli) == {ACCOUNT: "26.5"}
    assert aws.stats()["paid_pages"] == 2
    account = app.cloud_accounts.get(1)
    assert account.last_manual_sync_at is not None
    assert account.last_synced_at >= account.last_manual_sync_at
    assert app.cloud_accounts.get(2).last_manual_sync_at is None


def test_programs_get_four_things_of_one_account(cli: Cli, aws: AwsSimulator, working: Working) -> None:
    with working():
        synced = cli(*SYNC, "1", "--json")
    assert synced.code == 0
    assert synced.json == {
        "success": True,
        "recordsSaved": 3,
        "executionTimeMs": synced.json["executionTimeMs"],
        "errors": [],
    }
    assert 0 < synced.json["executionTimeMs"] < 60_000


def test_of_all_accounts_one_that_can_not_be_read_stops_no_other_and_a_disabled_one_is_left_alone(
    cli: Cli, aws: AwsSimulator, working: Working
) -> None:
    aws.iam.roles[role_in(ACCOUNT)].external_id = "another one"
    with working():
        synced = cli(*SYNC, "--json")
        cli("cloud-accounts", "disable", "1")
        again = cli(*SYNC, "--json")
    assert synced.code == 1
    assert synced.err == "error: not all could be read of Cloud account 1 (shop)\n"
    whole = synced.json
    assert set(whole) == {"success", "recordsSaved", "executionTimeMs", "errors", "accounts"}
    assert (whole["success"], whole["recordsSaved"], len(whole["errors"])) == (False, 1, 1)
    assert whole["errors"][0].startswith("Cloud account 1 (shop): ")
    first, second = whole["accounts"]
    assert (first["id"], first["name"], first["success"], first["recordsSaved"]) == (1, "shop", False, 0)
    assert "the external id of cloud account 1 (shop)" in first["errors"][0]
    assert (second["id"], second["success"], second["recordsSaved"], second["errors"]) == (2, True, 1, [])
    assert stored(cli) == {OTHER: "7"}
    assert (again.code, [each["id"] for each in again.json["accounts"]]) == (0, [2])


def test_those_of_an_organization_are_read_in_any_case_of_its_name(
    cli: Cli, aws: AwsSimulator, working: Working
) -> None:
    with working():
        synced = cli(*SYNC, "--organization", "musée", "--json")
    assert (synced.code, [each["id"] for each in synced.json["accounts"]]) == (0, [1])
    assert stored(cli) == {ACCOUNT: "26.5"}


def test_only_these_days_are_read(cli: Cli, aws: AwsSimulator, working: Working) -> None:
    with working():
        synced = cli(*SYNC, "1", "--from", "2026-10-20", "--to", "2026-10-31")
    assert synced.code == 0
    assert synced.out.startswith("Cloud account 1 (shop): at least 1 paid call (0.01 USD)")
    assert stored(cli) == {ACCOUNT: "4"}
    assert aws.stats()["paid_pages"] == 1


def test_paid_calls_count_among_the_day_s_and_without_any_nothing_is_asked(
    cli: Cli, app: Composition, aws: AwsSimulator, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CALLS_PER_DAY", "1")
    with working():
        short = cli(*SYNC, "1")
    assert (short.code, stored(cli)) == (1, {ACCOUNT: "22.5"})
    assert "1 of today's are left" in short.out
    assert "The paid calls to AWS that this cloud account may make a day (AWS_CALLS_PER_DAY) are made." in short.out
    runs = len(cli("status", "--json").json)
    # Nobody works: there is nothing to wait for.
    none = cli(*SYNC, "1", "--json")
    assert none.code == 1
    assert none.json == {
        "success": False,
        "recordsSaved": 0,
        "executionTimeMs": 0,
        "errors": [
            "None of today's paid calls is left (AWS_CALLS_PER_DAY is 1): nothing was read. The next day begins at "
            "midnight, UTC."
        ],
    }
    assert len(cli("status", "--json").json) == runs
    assert aws.stats()["paid_pages"] == 1
    with working():
        rest = cli(*SYNC, "--json")
    assert [each["success"] for each in rest.json["accounts"]] == [False, False]
    assert [each["recordsSaved"] for each in rest.json["accounts"]] == [0, 1]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("9",), "there is no cloud account 9; `python -m shared.cli cloud-accounts list` shows them"),
        (("3",), "is no AWS account: it is read by COST_MANAGEMENT; `python -m shared.cli run --subscription ID`"),
        (("2",), "cloud account 2 (lab) is disabled (by "),
        (("1", "--organization", "Musée"), "name a cloud account or an organization, not both"),
        (("--organization", "Louvre"), "no AWS account is of Louvre; there are those of Musée, default"),
        (("--organization", "default"), "all AWS accounts of default are disabled"),
        (("--organization", ""), "--organization is empty"),
        (("--from", "2026-11-05", "--to", "2026-11-04"), "2026-11-04 is before 2026-11-05"),
        (("--from", "2026-11-21"), "2026-11-21 is in the future; name a day up to today, 2026-11-20"),
        (("--from", "2026-11-01", "--to", "2026-11-21"), "2026-11-21 is in the future"),
        (("--from", "2025-10-19"), "longer ago than costs can be asked for; the earliest day is 2025-10-20"),
        (("--from", "20261101"), "'20261101' is no date; write year-month-day"),
        (("--to", "2026-11-01"), "there is a last day and no first one; write --from, too"),
        (("--from", ""), "--from is empty"),
    ],
)
def test_what_can_not_be_right_is_refused_and_nothing_is_asked(
    cli: Cli, app: Composition, aws: AwsSimulator, given: tuple[str, ...], why: str
) -> None:
    cli("projects", "load", write_csv(DIE1))
    cli("cloud-accounts", "disable", "2")
    refused = cli(*SYNC, *given)
    assert (refused.code, refused.out) == (2, "")
    assert why in " ".join(refused.err.split())
    assert "no run yet" in cli("status").out
    assert app.cloud_accounts.get(1).last_manual_sync_at is None


def test_without_any_aws_account_it_says_what_adds_one(cli: Cli) -> None:
    refused = cli(*SYNC)
    assert (refused.code, "there is no AWS account yet" in refused.err) == (2, True)
