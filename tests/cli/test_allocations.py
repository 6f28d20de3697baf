"""`allocations`, on a real database file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from shared.cli.app import user_name
from shared.composition import Composition
from tests.adapters.exports.files import EA, csv_of
from tests.cli.commands import (
    DIE1,
    EAU,
    FIRST,
    RULES_HEADER,
    Cli,
    queued,
    spend,
    spend_unowned,
    write_csv,
    write_rules,
)

HUB = ("Hub,FIRST,fixed,2026-11-01,DIE1,60", "Hub,,,,EAU,20")
WITH_GROUP = "name,sub_account_id,resource_group,method,first_day,last_day,project,percent"


@pytest.fixture
def shared_costs(cli: Cli, app: Composition) -> Composition:
    """Two projects, and 200 of nobody in the first subscription."""
    cli("projects", "load", write_csv(DIE1, EAU))
    spend(app, 11, "300", date(2026, 11, 4))
    spend_unowned(app, "Network", "100", date(2026, 11, 4), date(2026, 11, 5))
    return app


def load(cli: Cli, *lines: str, header: str = RULES_HEADER) -> None:
    outcome = cli("allocations", "load", write_rules(*lines, header=header))
    assert outcome.code == 0, outcome.err


def given(cli: Cli, name: str = "hub", *options: str) -> dict[str | None, str]:
    return {
        each["project"]: each["amount"] for each in cli("allocations", "show", name, "--json", *options).json["given"]
    }


def test_rules_are_loaded_once_and_give_what_they_say(cli: Cli, shared_costs: Composition) -> None:
    file = write_rules(*HUB)
    assert cli("allocations", "load", file, "--json").json == {
        "loaded": True,
        "added": 1,
        "changed": 0,
        "unchanged": 0,
        "changes": [{"name": "Hub", "new": True, "undoes_an_end": False}],
        "warnings": ["Hub: it counts from 2026-11-01 on, so what has been used since then changes"],
    }
    assert "0 added, 0 changed, 1 unchanged" in cli("allocations", "load", file).out
    assert given(cli) == {"DIE1": "120", "EAU": "40", None: "40"}
    assert given(cli, "HUB", "--month", "2026-10") == {}
    (listed,) = cli("allocations", "list", "--json").json
    assert listed["shares"] == [{"project": "DIE1", "percent": "60"}, {"project": "EAU", "percent": "20"}]
    assert listed["in_force"] == [{"first_day": "2026-11-01", "last_day": None, "version": 1}]


def test_whoever_gets_a_share_or_got_one_is_checked_at_once(
    cli: Cli, shared_costs: Composition, queue_names: dict[str, str]
) -> None:
    checks = "QueueProjectUsageNotification"
    dry = cli("allocations", "load", write_rules(*HUB), "--dry-run")
    assert "checked anew" not in dry.out
    loaded = cli("allocations", "load", write_rules(HUB[0]))
    assert "1 project checked anew: DIE1." in loaded.out
    assert queued(checks) == [{"ProjectId": 11}]
    assert "checked anew" not in cli("allocations", "load", write_rules(HUB[0])).out
    changed = cli("allocations", "load", write_rules("Hub,FIRST,fixed,2026-11-05,EAU,100"))
    assert "2 projects checked anew: DIE1, EAU." in changed.out
    ended = cli("allocations", "end", "hub", "--last-day", "2026-11-10", "--reason", "moved")
    assert ended.out == "Hub ends with 2026-11-10.\n2 projects checked anew: DIE1, EAU.\n"
    assert queued(checks) == [{"ProjectId": 11}, {"ProjectIds": [11, 12]}, {"ProjectIds": [11, 12]}]


def test_rules_are_loaded_though_checks_can_not_be_queued(cli: Cli, shared_costs: Composition) -> None:
    outcome = cli("allocations", "load", write_rules(*HUB))
    assert outcome.code == 0
    assert "; the watchdog has these projects checked" in outcome.err
    assert given(cli)["DIE1"] == "120"


def test_a_dry_run_loads_nothing(cli: Cli, shared_costs: Composition) -> None:
    outcome = cli("allocations", "load", write_rules(*HUB), "--dry-run")
    assert f"new: Hub: what no project owns in {FIRST}, from 2026-11-01 on, fixed percents: DIE1 60 %" in outcome.out
    assert "would be 1 added" in outcome.out
    assert cli("allocations", "list", "--json").json == []
    assert "There is no rule" in cli("allocations", "list").out


def test_what_is_allocated_is_shown_apart_and_the_rest_too(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    listed = {each["acronym"]: each for each in cli("projects", "list", "--json").json}
    assert [listed["DIE1"][name] for name in ("spent", "allocated", "percent")] == ["300", "120", "3.36"]
    assert "allocated   120.00 CAD" in cli("projects", "show", "DIE1").out
    of_project = cli("costs", "DIE1", "--json").json
    assert of_project["totals"] == {"CAD": "300"}
    assert of_project["allocated"] == [{"rule": "Hub", "project": "DIE1", "amount": "120", "currency": "CAD"}]
    unallocated = cli("costs", "--unallocated", "--json").json
    assert (unallocated["totals"], unallocated["left"]) == ({"CAD": "200"}, {"CAD": "40"})
    assert [each["amount"] for each in unallocated["allocated"]] == ["120", "40", "40"]
    assert cli("costs", "--json").json["totals"] == {"CAD": "500"}


def test_unallocated_costs_without_rules_are_all_left(cli: Cli, shared_costs: Composition) -> None:
    assert cli("costs", "--unallocated", "--json").json["left"] == {"CAD": "200"}
    assert "Left" not in cli("costs", "--unallocated").out


def test_a_changed_rule_keeps_the_days_before_and_who_changed_it(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    file = write_rules("Hub,FIRST,fixed,2026-11-05,EAU,100")
    assert cli("allocations", "load", file, "--reason", "new model").code == 0
    assert given(cli) == {"DIE1": "60", "EAU": "120", None: "20"}
    versions = cli("allocations", "show", "hub", "--json").json["versions"]
    assert [(each["number"], each["reason"], each["made_by"]) for each in versions] == [
        (1, "loaded", user_name()),
        (2, "new model", user_name()),
    ]


def test_an_end_keeps_what_was_given_and_a_file_undoes_it_only_with_yes(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    ended = cli("allocations", "end", "hub", "--last-day", "2026-11-04", "--reason", "moved")
    assert (ended.code, ended.out) == (0, "Hub ends with 2026-11-04.\n")
    assert given(cli) == {"DIE1": "60", "EAU": "20", None: "20"}
    file = write_rules(*HUB)
    refused = cli("allocations", "load", file)
    assert refused.code == 2
    assert f"it was ended with 2026-11-04 by {user_name()}, and goes on" in refused.out
    assert "if it is to, add --yes" in refused.err
    assert cli("allocations", "load", file, "--dry-run").code == 0
    assert given(cli)["DIE1"] == "60"
    assert cli("allocations", "load", file, "--yes").code == 0
    assert given(cli)["DIE1"] == "120"


def test_what_was_ended_by_hand_goes_on_with_yes(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    end = ("allocations", "end", "Hub", "--reason", "x", "--last-day")
    assert cli(*end, "2026-11-10").code == 0
    again = "Hub ends with 2026-11-10 already; to prolong it, load it again with a later last_day and --yes"
    assert cli(*end, "2026-11-12").err == f"error: {again}\n"


def test_each_version_shows_its_shares_and_a_month_without_the_rule_says_so(
    cli: Cli, shared_costs: Composition
) -> None:
    load(cli, *HUB)
    load(cli, "Hub,FIRST,fixed,2026-11-05,EAU,100")
    shown = cli("allocations", "show", "hub").out
    assert "fixed: DIE1 60, EAU 20" in shown
    assert "fixed: EAU 100" in shown
    assert "days       from 2026-11-01 on\n" in shown
    assert "Nothing: it counts on none of these days.\n" in cli("allocations", "show", "hub", "--month", "2026-10").out
    later = cli("allocations", "show", "hub", "--month", "2026-12").out
    assert "Nothing: no costs without a project are stored of these days on which it counts.\n" in later
    assert cli("allocations", "end", "hub", "--last-day", "2026-10-31", "--reason", "x").code == 0
    assert "Nothing: it counts on none of these days.\n" in cli("allocations", "show", "hub").out


def test_a_pool_of_another_cloud_names_its_provider_and_a_column_is_told_by_one_that_lacks(
    cli: Cli, shared_costs: Composition
) -> None:
    header = "name,provider,sub_account_id,method,first_day,project"
    file = write_rules("Amz,AWS,123456789012,proportional,2026-12-01,DIE1", header=header)
    outcome = cli("allocations", "load", file, "--dry-run")
    assert "new: Amz: what no project owns in aws 123456789012, from 2026-12-01 on" in outcome.out
    file = write_rules("Hub,FIRST,fixed,2026-12-01,DIE1,60", header=RULES_HEADER.replace("percent", "pct"))
    assert "there is no column 'pct'; name it percent, or take it out" in cli("allocations", "load", file).err


ENDS = {
    "2026-10-30": "Hub begins on 2026-11-01; to take all of it back, end it with 2026-10-31",
    "2026-11-20": "Hub ends with 2026-11-10 already; to prolong it, load it again with a later last_day",
    "tomorrow": "'tomorrow' is no date; write year-month-day, such as 2026-04-01",
}


@pytest.mark.parametrize(("day", "why"), ENDS.items(), ids=ENDS.keys())
def test_an_end_that_can_not_be_is_refused(cli: Cli, shared_costs: Composition, day: str, why: str) -> None:
    load(cli, "Hub,FIRST,,fixed,2026-11-01,2026-11-10,DIE1,60", header=WITH_GROUP)
    refused = cli("allocations", "end", "Hub", "--last-day", day, "--reason", "x")
    assert (refused.code, refused.err) == (2, f"error: {why}\n")


def test_the_day_before_the_first_takes_all_of_it_back(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    assert cli("allocations", "end", "Hub", "--last-day", "2026-10-31", "--reason", "a mistake").code == 0
    assert given(cli) == {}
    assert "counts on no day" in cli("allocations", "list").out
    again = cli("allocations", "end", "Hub", "--last-day", "2026-10-31", "--reason", "x")
    assert again.err == "error: Hub counts on no day; there is nothing to end\n"


def test_an_unknown_rule_or_month_is_told(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    for arguments in (("show", "Net"), ("end", "Net", "--last-day", "2026-11-04", "--reason", "x")):
        assert "there is no rule Net; `allocations list` shows them all" in cli("allocations", *arguments).err
    assert "'11/2026' is no month; write year-month" in cli("allocations", "show", "Hub", "--month", "11/2026").err


def test_what_may_not_be_meant_is_said(cli: Cli, shared_costs: Composition) -> None:
    in_euros, closed = EAU.replace(",CAD,", ",EUR,"), DIE1.replace(",en,true", ",en,false")
    cli("projects", "load", write_csv(in_euros, closed), "--yes")
    lines = [each.replace("2026-11-01", "2026-12-01") for each in HUB]
    other = "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
    outcome = cli("allocations", "load", write_rules(*lines, f"Net,{other},proportional,2026-12-01,*,"))
    assert outcome.code == 0
    assert "Hub: not active, so nobody is told of what it gets: DIE1" in outcome.err
    assert "Hub: it allocates CAD, which does not count for a budget in another currency: EAU (EUR)" in outcome.err
    assert f"Net: no costs without a project are stored of {other}" in outcome.err
    assert "counts from" not in outcome.err


def test_rules_that_can_not_be_are_refused_in_one_sentence(cli: Cli, shared_costs: Composition) -> None:
    load(cli, *HUB)
    twice = cli("allocations", "load", write_rules("Other,FIRST,proportional,2026-11-10,*,"))
    assert twice.code == 2
    assert f"the rules Hub and Other would both allocate what no project owns in {FIRST} on 2026-11-10" in twice.err
    header = "name,sub_account_id,resource_group,method,first_day,project,percent"
    owned = cli("allocations", "load", write_rules("D,FIRST,DIE1-dev,fixed,2026-11-10,EAU,5", header=header))
    assert owned.code == 2
    assert "can't allocate the group DIE1-dev of" in owned.err
    assert "it belongs to DIE1, and what it costs is its own" in owned.err
    faulty = cli("allocations", "load", write_rules("Hub,FIRST,fixed,2026-11-01,NOPE,500"))
    assert faulty.code == 2
    assert "line 2, project: there is no project NOPE" in faulty.err
    assert "line 2, percent: '500' is no share" in faulty.err
    assert cli("allocations", "load", "missing.csv").code == 2


FOCUS = (
    "BilledCost,BillingCurrency,BillingAccountId,SubAccountId,ProviderName,ServiceName,ChargePeriodStart,"
    "ChargePeriodEnd,BillingPeriodStart,BillingPeriodEnd"
)
OF_A_DAY = "2026-11-02T00:00:00Z,2026-11-02T01:00:00Z,2026-11-01T00:00:00Z,2026-12-01T00:00:00Z"


@pytest.mark.parametrize(
    ("provider", "sub_account", "written"),
    [
        ("Oracle", "Sub-O", "Oracle"),
        ("Google Cloud", "My-Proj", "google CLOUD"),
        ("AWS", "123456789012", "Amazon Web Services"),
        ("AWS", "123456789012", "aws"),
    ],
)
def test_a_rule_for_any_provider_s_sub_account_allocates_what_exports_have_brought(
    cli: Cli, queue_names: dict[str, str], provider: str, sub_account: str, written: str
) -> None:
    cli("projects", "load", write_csv(DIE1))
    Path("f.csv").write_text(f"{FOCUS}\n50,CAD,a-o,{sub_account},{provider},DB,{OF_A_DAY}\n")
    assert cli("exports", "import", "f.csv").code == 0
    header = "name,provider,sub_account_id,method,first_day,project,percent"
    loaded = cli(
        "allocations", "load", write_rules(f"O,{written},{sub_account},fixed,2026-11-20,DIE1,100", header=header)
    )
    assert (loaded.code, loaded.err) == (0, "")
    shown = cli("allocations", "show", "O", "--json").json
    assert shown["given"] == [], "none before its first day"
    cli("allocations", "load", write_rules(f"O,{written},{sub_account},fixed,2026-11-01,DIE1,100", header=header))
    given = {each["project"]: each["amount"] for each in cli("allocations", "show", "O", "--json").json["given"]}
    assert given["DIE1"] == "50"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("azure,FIRST,dns-zone-typo", f"the group dns-zone-typo of {FIRST}"),
        ("oracle,FIRST,", f"oracle {FIRST}"),
    ],
)
def test_a_rule_of_what_nothing_is_stored_of_is_warned_of(cli: Cli, app: Composition, written: str, said: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    spend_unowned(app, "Network", "100", date(2026, 11, 4))
    header = "name,provider,sub_account_id,resource_group,method,first_day,project,percent"
    loaded = cli(
        "allocations", "load", write_rules(f"O,{written},fixed,2026-12-01,DIE1,100", header=header), "--dry-run"
    )
    assert loaded.err == f"warning: O: no costs without a project are stored of {said}\n"


def test_what_an_export_has_of_no_subscription_is_allocated_as_its_billing_account_s(
    cli: Cli, queue_names: dict[str, str]
) -> None:
    cli("projects", "load", write_csv(DIE1))
    support = EA | {"SubscriptionId": "", "BillingAccountId": "9876", "ResourceGroup": "", "ResourceId": ""}
    row = support | {"Date": "11/03/2026", "BillingPeriodStartDate": "11/01/2026", "Cost": "40"}
    Path("support.csv").write_text(csv_of([row]), newline="")
    rule = ("Support,9876,fixed,2026-11-01,DIE1,50",)
    refused = cli("allocations", "load", write_rules(*rule))
    assert "'9876' is no subscription's id, and nothing is stored of such a billing account" in refused.err
    assert cli("exports", "import", "support.csv").code == 0
    load(cli, *rule)
    assert given(cli, "Support")["DIE1"] == "20"
    (version,) = cli("allocations", "show", "Support", "--json").json["versions"]
    assert (version["shares"], version["is_end"]) == ([{"project": "DIE1", "percent": "50"}], False)


def test_a_last_day_that_means_never_is_refused_with_what_would_be_taken(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    lines = write_rules("Hub,FIRST,,fixed,2026-11-01,9999-12-31,DIE1,50", header=WITH_GROUP)
    assert cli("allocations", "load", lines).err.endswith(
        "'9999-12-31' is too far away; write year-month-day, from 2000-01-01 to 2100-01-01; or leave it empty, where "
        "the rule goes on\n"
    )
