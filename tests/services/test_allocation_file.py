"""The allocations file: what it may say, and what is said of what can't be right."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from shared.domain.allocation import Method, Pool, Rule, Share
from shared.services.allocation_file import read_rules
from shared.services.project_csv import ProjectFileError

SUB = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
HEADER = "name,sub_account_id,resource_group,method,first_day,last_day,project,percent"
PROJECTS = {"die1": 11, "11": 11, "eau": 12, "12": 12, "forêt": 14, "14": 14}


def read(*lines: str, header: str = HEADER) -> list[Rule]:
    return read_rules("\n".join([header, *lines]).replace("SUB", SUB).encode(), PROJECTS)


def faults(*lines: str, header: str = HEADER) -> list[str]:
    with pytest.raises(ProjectFileError) as refused:
        read(*lines, header=header)
    return list(refused.value.faults)


def test_a_line_is_a_share_and_later_ones_may_leave_empty_what_is_the_rules():
    rules = read(
        "Hub,SUB,,fixed,2026-04-01,,die1,60 %",
        "HUB,,,,,,12,33.3333333333",
        "Net, SUB ,Net-RG,Proportional Everywhere,2026-04-01,2027-03-31,*,",
    )
    assert rules == [
        Rule(
            "Hub",
            Pool("azure", SUB),
            Method.FIXED,
            date(2026, 4, 1),
            None,
            (Share(11, Decimal(60)), Share(12, Decimal("33.3333333333"))),
        ),
        Rule("Net", Pool("azure", SUB, "Net-RG"), Method.EVERYWHERE, date(2026, 4, 1), date(2027, 3, 31), ()),
    ]


def test_other_providers_name_their_sub_accounts_as_they_do():
    (rule,) = read(
        "Support,AWS,123456789012,proportional,2026-04-01,EAU",
        header="name,provider,sub_account_id,method,first_day,project",
    )
    assert (rule.pool, rule.shares) == (Pool("aws", "123456789012"), (Share(12),))


def test_a_spreadsheets_days_and_decimal_commas_are_understood():
    (rule,) = read("Hub;SUB;;fixed;31/12/2026;;DIE1;12,5", "Hub;;;;;;EAU;7,25", header=HEADER.replace(",", ";"))
    assert (rule.first_day, [share.percent for share in rule.shares]) == (
        date(2026, 12, 31),
        [Decimal("12.5"), Decimal("7.25")],
    )


WRONG = {
    "an unknown project": ("Hub,SUB,,fixed,2026-04-01,,NOPE,5", "line 2, project: there is no project NOPE"),
    "a rule without shares": (
        "Hub,SUB,,proportional,2026-04-01,,,",
        "line 2, project: it is empty, and a rule needs a share; write a project's acronym or id, or * for all",
    ),
    "a share of 0": (
        "Hub,SUB,,fixed,2026-04-01,,DIE1,0",
        "line 2, percent: '0' is no share; write a percent above 0, up to 100",
    ),
    "a share below 0": (
        "Hub,SUB,,fixed,2026-04-01,,DIE1,-5",
        "line 2, percent: '-5' is no share; write a percent above 0, up to 100",
    ),
    "a share over 100": (
        "Hub,SUB,,fixed,2026-04-01,,DIE1,101",
        "line 2, percent: '101' is no share; write a percent above 0, up to 100",
    ),
    "no number": (
        "Hub,SUB,,fixed,2026-04-01,,DIE1,a third",
        "line 2, percent: 'a third' is no share; write a percent above 0, up to 100",
    ),
    "a share that is too fine": (
        "Hub,SUB,,fixed,2026-04-01,,DIE1,1.00000000001",
        "line 2, percent: '1.00000000001' is too fine; a percent has at most 10 decimal places",
    ),
    "a percent that does not count": (
        "Hub,SUB,,proportional,2026-04-01,,DIE1,5",
        "line 2, percent: shares are proportional, and have no percent; leave it empty",
    ),
    "all projects by percents": (
        "Hub,SUB,,fixed,2026-04-01,,*,5",
        "line 2, project: * goes with proportional shares only; name the project that gets the percent",
    ),
    "the dates the wrong way": (
        "Hub,SUB,,fixed,2026-04-02,2026-04-01,DIE1,5",
        "line 2, last_day: 2026-04-01 is before the first day, 2026-04-02",
    ),
    "no first day": (
        "Hub,SUB,,fixed,,,DIE1,5",
        "line 2, first_day: it is empty; write the first day from which the rule counts, such as 2026-04-01",
    ),
    "a day that is none": (
        "Hub,SUB,,fixed,2026-02-30,,DIE1,5",
        "line 2, first_day: '2026-02-30' is no date; write year-month-day, such as 2026-04-01",
    ),
    "no method": (
        "Hub,SUB,,even,2026-04-01,,DIE1,5",
        "line 2, method: 'even' is no method; write one of fixed, proportional, proportional-everywhere",
    ),
    "no name": (",SUB,,fixed,2026-04-01,,DIE1,5", "line 2, name: it is empty; give the rule a name"),
    "no subscription": (
        "Hub,hub,,fixed,2026-04-01,,DIE1,5",
        "line 2, sub_account_id: 'hub' is no subscription's id, and nothing is stored of such a billing account",
    ),
    "no sub-account": (
        "Hub,,,fixed,2026-04-01,,DIE1,5",
        "line 2, sub_account_id: it is empty; write the id of the subscription, or other sub-account",
    ),
}


@pytest.mark.parametrize(("line", "fault"), WRONG.values(), ids=WRONG.keys())
def test_what_can_not_be_right_is_said_with_its_line(line: str, fault: str):
    assert faults(line) == [fault]


def test_shares_of_more_than_all_of_it_are_refused():
    assert faults("Hub,SUB,,fixed,2026-04-01,,DIE1,60", "Hub,,,,,,EAU,40.01") == [
        "line 3, percent: the shares of this rule come to 100.01 %; that can be 100 at most"
    ]


def test_a_project_has_one_share_and_all_projects_stand_alone():
    assert faults("Hub,SUB,,proportional,2026-04-01,,DIE1,", "Hub,,,,,,11,") == [
        "line 3, project: 11 has a share of this rule already"
    ]
    assert faults("Hub,SUB,,proportional,2026-04-01,,DIE1,", "Hub,,,,,,*,") == [
        "line 3, project: * is all projects; as a share, it stands alone in its rule"
    ]


def test_the_lines_of_a_rule_agree():
    assert faults("Hub,SUB,,fixed,2026-04-01,,DIE1,5", "Hub,,,,2026-05-01,,EAU,5") == [
        "line 3, first_day: line 2 says another of this rule; write the same, or leave it empty"
    ]


def test_all_faults_are_named_at_once():
    assert len(faults("Hub,SUB,,fixed,2026-04-01,,NOPE,5", "Net,SUB,,fixed,x,,DIE1,500")) == 3


def test_a_file_without_rules_is_told():
    assert faults() == ["the file names no rule; each line after the first is a share of one"]
    assert faults("Hub,SUB,fixed,2026-04-01,DIE1", header="name,sub_account_id,method,first_day,project") == [
        "line 2, percent: the column is missing, and fixed shares need it"
    ]
