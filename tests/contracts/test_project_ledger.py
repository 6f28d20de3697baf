"""The ProjectLedger, on every database."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, event

from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.mails import SqlMails, write_deliveries
from shared.adapters.database.tables import locks
from shared.domain.budgets import Rollover
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.domain.owners import OwnedScope
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project, ProjectEntry, Scope
from shared.messages import Queue, ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.checks import Judgement, ProjectUsage
from shared.ports.errors import NeverError
from shared.ports.mails import MailState, NewMail, Topic
from shared.ports.projects import Forgotten, LoadResult, ProjectChange
from tests.contracts.ledger_data import (
    DAY,
    MONTHLY,
    NOW,
    OCTOBER,
    SUB,
    TODAY,
    Ledgers,
    entry,
    november,
    terms,
)

QUARTERLY = PeriodRule(PeriodKind.QUARTERLY, date(2000, 1, 1))


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def spend(ledgers: Ledgers, amount: str, group: str = "rg-1", now: datetime = NOW) -> None:
    ledgers.spend((group, november(3), "Storage", amount), now=now)


def revise(ledgers: Ledgers, amount: str | None, project_id: int = 1, **changes: object) -> int:
    return ledgers.projects.revise_budget(project_id, terms(amount, **changes), "ana", "as agreed", NOW)


def groups(ledgers: Ledgers) -> dict[int, list[str]]:
    return {
        view.project.id: [scope.resource_group for scope in view.scopes]
        for view in ledgers.projects.list_projects(TODAY)
    }


# --- loading -------------------------------------------------------------------------------------------------


def test_a_new_project_is_listed_as_it_was_written_and_due_for_a_check(ledgers: Ledgers) -> None:
    written = entry(7, "Rg-B", "rg-a", acronym="DIE1", name="Données é ü", language="fr", contacts=("b@x.ca", "a@x.ca"))
    assert ledgers.projects.load([written], "ana", NOW) == LoadResult(1, 0, 0)
    (view,) = ledgers.projects.list_projects(TODAY)
    assert view.project == Project(7, "DIE1", "Données é ü", "fr", ("b@x.ca", "a@x.ca"), active=True)
    assert view.scopes == (Scope(AZURE, SUB, "rg-a"), Scope(AZURE, SUB, "Rg-B"))
    assert view.budget is not None
    assert (view.budget.number, view.budget.terms) == (1, terms())
    assert view.period == Period(date(2026, 4, 1), date(2027, 4, 1))
    assert (view.spent, view.updated_at, view.problem, view.alerts) == (Decimal(0), None, None, ())
    assert ledgers.due() == [7]
    (revision,) = ledgers.projects.revisions(7)
    assert (revision.number, revision.terms, revision.reason) == (1, terms(), "loaded")
    assert (revision.made_by, revision.made_at) == ("ana", NOW)


def test_loading_the_same_twice_changes_nothing(ledgers: Ledgers) -> None:
    entries = [entry(1, "rg-1", "rg-one"), entry(2, terms=terms(None)), entry(3, active=False, language=None)]
    ledgers.load(*entries)
    ledgers.check(1, 2)
    assert ledgers.projects.load(entries, "ben", NOW + DAY) == LoadResult(0, 0, 3)
    assert ledgers.due() == []
    assert [len(ledgers.projects.revisions(each)) for each in (1, 2, 3)] == [1, 1, 1]


def test_a_group_in_another_spelling_and_a_subscription_in_capitals_say_nothing_new(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    again = entry(1, "RG-1", " rg-1 ", subscription_id=SUB.upper())
    assert ledgers.projects.load([again], "ana", NOW) == LoadResult(0, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"acronym": "New"},
        {"acronym": "p1"},
        {"name": "New"},
        {"contacts": ()},
        {"language": None},
        {"active": False},
        {"subscription_id": "another"},
        {"terms": terms("1001")},
        {"terms": terms(currency="USD")},
        {"terms": terms(rule=MONTHLY)},
        {"terms": terms(None)},
        {"terms": terms(rollover=Rollover.CARRY_OVER)},
        {"terms": terms(thresholds=(60,))},
        {"lock": LockPolicy.NEVER},
        {"owner": "Ann Roy"},
        {"department": "Environnement"},
        {"cost_centre": "CC-1200"},
    ],
    ids=str,
)
def test_any_change_is_written_and_makes_the_project_due(ledgers: Ledgers, change: dict[str, object]) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.check(1, 2)
    _is_written(ledgers, entry(1, **change))
    assert len(ledgers.projects.revisions(1)) == (2 if "terms" in change else 1)


def test_a_new_group_is_written_and_makes_the_project_due(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.check(1, 2)
    _is_written(ledgers, entry(1, "rg-1", "rg-new"))


def _is_written(ledgers: Ledgers, changed: ProjectEntry) -> None:
    result = ledgers.projects.load([changed, entry(2)], "ana", NOW)
    assert replace(result, handed_over=0) == LoadResult(0, 1, 1)
    assert ledgers.projects.load([changed, entry(2)], "ana", NOW) == LoadResult(0, 0, 2)
    due = ledgers.charges.due_projects_of(ScopeTarget(project_id=1))
    assert due == ([1] if changed.project.active else [])


def test_without_consent_nothing_is_written_and_the_result_is_what_it_would_have_been(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.check(1, 2)
    revise(ledgers, "3000")
    before = ledgers.projects.entries()
    spend(ledgers, "1500")
    asked: list[ProjectChange] = []

    def refuse(changes: Sequence[ProjectChange]) -> bool:
        asked[:] = changes
        return False

    entries = [entry(3, "rg-2"), entry(2), entry(1, terms=terms("1000")), entry(4)]
    entries[1] = entry(2, "moved")
    assert ledgers.projects.load(entries, "ben", NOW, consent=refuse) == LoadResult(2, 2, 0, 1)
    assert ledgers.projects.entries() == before
    assert len(ledgers.projects.revisions(1)) == 2
    assert [(each.after.project.id, each.before) for each in asked] == [
        (3, None),
        (2, before[1]),
        (1, before[0]),
        (4, None),
    ]
    assert [(each.percent_before, each.percent) for each in asked] == [(None, 0), (0, 0), (50, 150), (None, 0)]
    assert [[made.number for made in each.undone] for each in asked] == [[], [], [2], []]
    assert ledgers.projects.load(entries, "ben", NOW, consent=lambda _: True) == LoadResult(2, 2, 0, 1)
    assert [each.by_load for each in ledgers.projects.revisions(1)] == [True, False, True]


def test_changed_terms_make_a_new_revision(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.projects.load([entry(1, terms=terms("2000"))], "ben", NOW + DAY)
    revisions = ledgers.projects.revisions(1)
    assert [(each.number, each.terms.amount, each.made_by, each.reason) for each in revisions] == [
        (1, Decimal(1000), "tester", "loaded"),
        (2, Decimal(2000), "ben", "changed by load"),
    ]


def test_a_project_without_a_budget_has_a_revision_without_an_amount(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(None)))
    assert [each.terms.amount for each in ledgers.projects.revisions(1)] == [None]
    assert ledgers.projects.list_projects(TODAY)[0].budget is None


def test_projects_that_are_not_in_the_list_stay_as_they_are(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.load(entry(2))
    assert groups(ledgers) == {1: ["rg-1"], 2: ["rg-2"]}


def seen_by_a_check(ledgers: Ledgers, project_id: int) -> ProjectUsage:
    seen: list[ProjectUsage] = []

    def note(usage: ProjectUsage) -> Judgement:
        seen.append(usage)
        return Judgement(None)

    ledgers.check(project_id, judge=note)
    return seen[-1]


def spent(ledgers: Ledgers) -> list[int]:
    return [int(view.spent) for view in ledgers.projects.list_projects(TODAY)]


def test_what_a_group_cost_before_it_moves_stays_with_the_project_that_had_it(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "moving"), entry(2, "rg-2"))
    ledgers.spend(("Moving", TODAY, "Storage", "40"), ("Moving", TODAY + DAY, "Storage", "7"))
    assert spent(ledgers) == [47, 0]
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2", "moving"))
    assert groups(ledgers) == {1: ["rg-1"], 2: ["Moving", "rg-2"]}
    assert spent(ledgers) == [40, 7]
    for project_id, usage in ((1, 40), (2, 7)):
        seen = seen_by_a_check(ledgers, project_id)
        assert (seen.usage, sum(seen.by_day.values())) == (usage, usage)
        facts = SqlLocks(ledgers.database, "example.org", 35).facts(project_id, NOW)
        assert facts is not None
        assert (facts.usage, facts.taken_over) == (usage, project_id == 2)
    moving = Scope(AZURE, SUB, "Moving")
    assert [view.handed_over for view in ledgers.projects.list_projects(TODAY)] == [
        (OwnedScope(moving, None, TODAY + DAY),),
        (OwnedScope(moving, TODAY + DAY, None),),
    ]


def test_what_was_moved_and_moved_back_on_a_day_has_never_been_away(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "moving"), entry(2, "rg-2"))
    ledgers.spend(("moving", TODAY, "Storage", "40"), ("moving", TODAY + DAY, "Storage", "7"))
    ledgers.load(entry(1, "rg-1"), entry(2, "rg-2", "moving"))
    ledgers.load(entry(1, "rg-1", "moving"), entry(2, "rg-2"))
    assert spent(ledgers) == [47, 0]
    assert [view.handed_over for view in ledgers.projects.list_projects(TODAY)] == [(), ()]


def test_a_correction_takes_what_a_group_has_cost_to_its_new_owner(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "moving"), entry(2, "rg-2"))
    spend(ledgers, "40", group="moving")
    result = ledgers.projects.load([entry(1, "rg-1"), entry(2, "rg-2", "moving")], "tester", NOW, correction=True)
    assert (spent(ledgers), result.handed_over) == ([0, 40], 0)


def test_a_group_that_nobody_owns_any_more_keeps_its_charges_for_whom_it_was(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "left"), entry(2))
    ledgers.spend(("left", TODAY, "Storage", "40"), ("left", TODAY + DAY, "Storage", "7"))
    result = ledgers.projects.load([entry(1, "rg-1")], "tester", NOW)
    assert (groups(ledgers), result.handed_over) == ({1: ["rg-1"], 2: ["rg-2"]}, 1)
    assert spent(ledgers) == [40, 0]
    ledgers.load(entry(2, "rg-2", "left"), now=NOW + 3 * DAY)
    assert spent(ledgers) == [40, 7], "what nobody had comes along"


def test_a_group_that_belonged_to_nobody_brings_its_past_with_it(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "40", group="found")
    ledgers.load(entry(1, "rg-1", "found"))
    assert spent(ledgers) == [40]


def test_a_new_project_takes_the_charges_that_were_unallocated(ledgers: Ledgers) -> None:
    spend(ledgers, "40", group="RG-1")
    ledgers.load(entry(1, "rg-1"))
    assert ledgers.projects.list_projects(TODAY)[0].spent == 40


def test_a_load_puts_the_files_budget_back_as_a_new_revision(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.projects.revise_budget(1, terms("2000"), "ana", "as agreed", NOW)
    ledgers.load(entry(1))
    amounts = [revision.terms.amount for revision in ledgers.projects.revisions(1)]
    assert amounts == [1000, 2000, 1000]


def test_a_group_that_another_project_keeps_is_refused_and_nothing_is_loaded(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    with pytest.raises(NeverError) as refused:
        ledgers.load(entry(3), entry(2, "rg-2", "RG-1"))
    assert refused.value.reason == (
        f"project 2 (P2) can't have the resource group RG-1 of subscription {SUB}: "
        "it belongs to project 1 (P1), which keeps it"
    )
    assert groups(ledgers) == {1: ["rg-1"]}


def test_a_group_that_two_entries_claim_is_refused(ledgers: Ledgers) -> None:
    with pytest.raises(NeverError, match=r"project 2 \(P2\) can't have the resource group RG-1 .* project 1 \(P1\)"):
        ledgers.load(entry(1, "rg-1"), entry(2, "RG-1"))


def test_projects_are_listed_by_a_sub_account_of_any_provider_as_it_compares_ids(ledgers: Ledgers) -> None:
    at_aws = replace(entry(2), scopes=(Scope("aws", "510000000002"),))
    at_google = replace(entry(3), scopes=(Scope("Google Cloud", "Web"), Scope("aws", "510000000003")))
    ledgers.load(entry(1), at_aws, at_google)

    def listed(sub_account: str) -> list[int]:
        return [view.project.id for view in ledgers.projects.list_projects(NOW.date(), sub_account)]

    assert [listed(f" {SUB.upper()}"), listed("510000000002"), listed("510000000003 ")] == [[1], [2], [3]]
    assert [listed("Web"), listed("51000000000"), listed("")] == [[3], [], []]


def test_the_same_group_name_in_two_subscriptions_is_two_groups(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg"), entry(2, "rg", subscription_id="other"))
    assert groups(ledgers) == {1: ["rg"], 2: ["rg"]}


def test_an_acronym_of_another_project_is_refused(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, acronym="DIE"))
    with pytest.raises(NeverError, match=r"project 2 can't have the acronym die: it belongs to project 1 \(DIE\)"):
        ledgers.load(entry(2, acronym="die"))
    with pytest.raises(NeverError, match=r"project 3 can't have the acronym new: it belongs to project 2 \(New\)"):
        ledgers.load(entry(2, acronym="New"), entry(3, acronym="new"))


def test_an_id_that_is_given_twice_is_refused(ledgers: Ledgers) -> None:
    with pytest.raises(NeverError, match="the id 1 is given twice, to A and to B"):
        ledgers.load(entry(1, "rg-a", acronym="A"), entry(1, "rg-b", acronym="B"))


def test_an_acronym_may_look_like_what_stands_in_for_another_one_while_two_swap(ledgers: Ledgers) -> None:
    strange = [entry(3, acronym="#1#"), entry(4, acronym="1"), entry(5, acronym="#2#")]
    ledgers.load(entry(1), entry(2), *strange)
    ledgers.load(entry(1, acronym="P2"), entry(2, acronym="P1"))
    views = ledgers.projects.list_projects(TODAY)
    assert {view.project.id: view.project.acronym for view in views} == {1: "P2", 2: "P1", 3: "#1#", 4: "1", 5: "#2#"}


def test_projects_can_swap_acronyms_and_hand_them_on(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, acronym="A"), entry(2, acronym="B"))
    ledgers.load(entry(1, acronym="B"), entry(2, acronym="C"), entry(3, acronym="a"))
    assert [ledgers.projects.find(each) for each in "abc"] == [3, 1, 2]
    ledgers.load(entry(1, acronym="C"), entry(2, acronym="B"))
    assert [ledgers.projects.find(each) for each in "abc"] == [3, 2, 1]


def test_the_same_list_loaded_twice_at_once_is_loaded_once(ledgers: Ledgers) -> None:
    entries = [entry(each) for each in range(1, 50)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ledgers.projects.load(entries, "ana", NOW), range(2)))
    assert sorted(result.added for result in results) == [0, 49]


def test_thousands_of_projects_are_loaded_and_listed_with_few_statements(ledgers: Ledgers) -> None:
    entries = [entry(each, subscription_id=f"sub-{each % 20}") for each in range(1, 3001)]
    executed: list[str] = []
    event.listen(ledgers.database.engine, "before_cursor_execute", lambda *event: executed.append(event[2]))
    assert ledgers.projects.load(entries, "ana", NOW) == LoadResult(3000, 0, 0)
    assert ledgers.projects.load(entries, "ana", NOW) == LoadResult(0, 0, 3000)
    assert len(ledgers.projects.list_projects(TODAY)) == 3000
    assert len(ledgers.projects.list_projects(date(2030, 1, 1))) == 3000
    assert len(executed) < 120


# --- revisions -----------------------------------------------------------------------------------------------


def test_a_revision_says_what_when_by_whom_and_why(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.check(1)
    assert revise(ledgers, "1500", currency="USD", rule=MONTHLY) == 2
    last = ledgers.projects.revisions(1)[-1]
    assert (last.number, last.terms) == (2, terms("1500", "USD", MONTHLY))
    assert (last.made_at, last.made_by, last.reason) == (NOW, "ana", "as agreed")
    assert ledgers.due() == [1]
    (view,) = ledgers.projects.list_projects(TODAY)
    assert view.period == Period(november(1), date(2026, 12, 1))


def test_the_budget_of_an_unknown_project_is_refused(ledgers: Ledgers) -> None:
    with pytest.raises(NeverError, match="there is no project 99"):
        revise(ledgers, "1", project_id=99)


def test_revisions_made_at_once_each_get_a_number(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda amount: revise(ledgers, str(amount)), range(1, 9)))
    assert sorted(numbers) == list(range(2, 10))


def test_a_raised_budget_arms_the_thresholds_above_the_new_percent_again(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    revise(ledgers, "2000")
    ledgers.check(1)
    assert ledgers.mailed() == [80]
    assert [alert for alert in ledgers.alerts() if alert[1] == "carried"] == [(25, "carried")]
    spend(ledgers, "1700", now=NOW + DAY)
    ledgers.check(1)
    assert ledgers.mailed() == [80, 80]


def test_a_lowered_budget_makes_one_mail_for_the_highest_that_was_not_told(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "420")
    ledgers.check(1)
    revise(ledgers, "494")
    ledgers.check(1)
    assert ledgers.mailed() == [25, 80]
    revise(ledgers, "490")
    ledgers.check(1)
    assert ledgers.mailed() == [25, 80]


def test_a_load_carries_what_was_told_just_as_a_revision_does(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    ledgers.load(entry(1, terms=terms("1001")))
    ledgers.check(1)
    assert ledgers.mailed() == [80]


def test_a_revision_whose_period_begins_on_another_day_arms_all(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    revise(ledgers, "1000", rule=MONTHLY)
    assert [outcome for _, outcome in ledgers.alerts()].count("carried") == 0
    ledgers.check(1)
    assert ledgers.mailed() == [80, 80]


def test_a_revision_whose_period_begins_on_the_same_day_carries(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=QUARTERLY)))
    october = PeriodRule(PeriodKind.FIXED, date(2026, 10, 1), date(2027, 10, 1))
    spend(ledgers, "850")
    ledgers.check(1)
    revise(ledgers, "1000", rule=october)
    ledgers.check(1)
    assert ledgers.mailed() == [80]


def test_a_fixed_period_that_is_extended_after_its_end_is_still_the_same_period(ledgers: Ledgers) -> None:
    ended, extended = (PeriodRule(PeriodKind.FIXED, date(2026, 1, 1), date(2026, 11, day)) for day in (20, 30))
    ledgers.load(entry(1, terms=terms(rule=ended)), now=NOW - DAY)
    spend(ledgers, "850", now=NOW - DAY)
    ledgers.check(1, now=NOW - DAY)
    ledgers.check(1)
    revise(ledgers, "1000", rule=extended)
    ledgers.check(1)
    assert ledgers.mailed() == [80]


def test_what_was_told_in_the_period_before_is_not_carried(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    spend(ledgers, "850")
    ledgers.check(1)
    december = datetime(2026, 12, 1, 2, tzinfo=UTC)
    ledgers.projects.revise_budget(1, terms("900", rule=MONTHLY), "ana", "new year", december)
    assert [outcome for _, outcome in ledgers.alerts()].count("carried") == 0


def test_without_an_amount_nothing_is_carried_and_all_is_armed_for_the_next(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    revise(ledgers, None)
    ledgers.check(1)
    revise(ledgers, "1000")
    ledgers.check(1)
    assert ledgers.mailed() == [80, 80]


def test_another_currency_has_no_usage_yet_and_carries_nothing(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    revise(ledgers, "1000", currency="USD")
    ledgers.check(1)
    assert [outcome for _, outcome in ledgers.alerts()].count("carried") == 0
    assert ledgers.projects.list_projects(TODAY)[0].spent == 0


# --- finding and listing -------------------------------------------------------------------------------------


def test_a_project_is_found_by_its_acronym_or_its_number(ledgers: Ledgers) -> None:
    ledgers.load(entry(11, acronym="Die1"), entry(12, acronym="11"))
    known = {
        "DIE1": 11,
        " die1 ": 11,
        "12": 12,
        "11": 12,
        "0": None,
        "99": None,
        "9" * 30: None,
        "": None,
        "²": None,
        "a\0b": None,
        "\udcff": None,
    }
    assert {text: ledgers.projects.find(text) for text in known} == known


def test_the_listing_has_what_was_spent_in_the_period_that_holds_today(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2))
    ledgers.spend(("rg-1", OCTOBER.start, "S", "1"), ("rg-2", OCTOBER.start, "S", "10"), window=OCTOBER)
    ledgers.spend(("rg-1", november(2), "S", "2"), ("rg-2", november(2), "S", "20"), now=NOW + DAY)

    def spent(today: date) -> list[Decimal]:
        return [view.spent for view in ledgers.projects.list_projects(today)]

    assert spent(TODAY) == [2, 30]
    assert spent(date(2026, 10, 31)) == [1, 30]
    assert spent(date(2026, 12, 1)) == [0, 30]
    assert spent(date(2027, 4, 1)) == [0, 0]


def test_the_listing_has_the_thresholds_that_were_mailed_in_this_period(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2))
    ledgers.spend(("rg-1", november(2), "S", "850"), ("rg-2", november(2), "S", "300"))
    ledgers.check(1, 2)
    assert [view.alerts for view in ledgers.projects.list_projects(TODAY)] == [(80,), (25,)]
    assert [view.alerts for view in ledgers.projects.list_projects(date(2026, 12, 1))] == [(), (25,)]


def test_the_listing_says_of_a_threshold_who_does_not_have_its_mail_and_why(ledgers: Ledgers) -> None:
    def undelivered() -> dict[int, str]:
        shown = ledgers.projects.get(1, TODAY)
        assert shown is not None
        assert shown.undelivered == ledgers.projects.list_projects(TODAY)[0].undelivered
        return dict(shown.undelivered)

    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2))
    ledgers.spend(("rg-1", november(2), "S", "850"), ("rg-2", november(2), "S", "300"))
    ledgers.check(1, 2)
    sender, mail_id = SqlMails(ledgers.database, "warden.example"), ledgers.mails()[0].id
    assert undelivered() == {80: "not sent yet"}
    sender.claim(mail_id, "me", NOW, NOW)
    sender.release(mail_id, "me", "SendGrid refuses us (401)", NOW)
    assert undelivered() == {80: "SendGrid refuses us (401)"}
    sender.claim(mail_id, "me", NOW, NOW)
    sender.mark_failed(mail_id, "me", "given up after 72 hours")
    assert undelivered() == {80: "given up after 72 hours"}
    bo, audit = (
        Delivery(f"{role}@b.ca", role, DeliveryState.REFUSED, "550 no such user") for role in (Role.TO, Role.BCC)
    )
    sender.mark_sent(mail_id, "", [bo, audit, Delivery("a@b.ca", Role.TO, DeliveryState.TAKEN)], NOW)
    assert undelivered() == {80: "to@b.ca (550 no such user)"}
    assert ledgers.projects.list_projects(TODAY)[1].undelivered == {25: "not sent yet"}
    assert ledgers.projects.list_projects(date(2026, 12, 1))[0].undelivered == {}


def test_a_mail_that_all_have_is_no_more_said_of_than_any(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.spend(("rg-1", november(2), "S", "850"))
    ledgers.check(1)
    sender = SqlMails(ledgers.database, "warden.example")
    sender.mark_sent(ledgers.mails()[0].id, "", [Delivery("a@b.ca", Role.TO, DeliveryState.TAKEN)], NOW)
    assert ledgers.projects.list_projects(TODAY)[0].undelivered == {}


def test_what_was_spent_is_in_the_budgets_currency(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", OCTOBER.start, "S", "1"), window=OCTOBER, currency="USD")
    ledgers.spend(("rg-1", november(2), "S", "2"), ("rg-1", november(2), "T", "3"), now=NOW + DAY)
    (view,) = ledgers.projects.list_projects(TODAY)
    assert view.spent == 5
    (view,) = ledgers.projects.list_projects(OCTOBER.start)
    assert view.spent == 0


def test_what_was_spent_in_a_period_that_no_check_has_begun_is_that_of_its_days(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), now=NOW - 30 * DAY)
    ledgers.spend(("rg-1", date(2026, 10, 30), "S", "1"), window=OCTOBER)
    ledgers.spend(("rg-1", november(2), "S", "2"), ("rg-1", november(2), "T", "3"), now=NOW + DAY)
    (view,) = ledgers.projects.list_projects(TODAY)
    assert view.spent == 5


def test_one_project_is_as_it_is_listed(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "rg-one", terms=terms(rule=MONTHLY)), entry(2))
    spend(ledgers, "850", "rg-one")
    ledgers.check(1, 2)
    assert [ledgers.projects.get(each, TODAY) for each in (1, 2)] == ledgers.projects.list_projects(TODAY)
    assert ledgers.projects.get(3, TODAY) is None


def test_the_entries_of_what_is_loaded_say_what_was_loaded(ledgers: Ledgers) -> None:
    loaded = [entry(1, "Rg-1", "rg-one", lock=LockPolicy.NEVER), entry(2, terms=terms(None), active=False)]
    ledgers.load(*loaded)
    stored = ledgers.projects.entries()
    assert [mine.says(theirs) for mine, theirs in zip(loaded, stored, strict=True)] == [True, True]
    assert ledgers.projects.load(stored, "ben", NOW) == LoadResult(0, 0, 2)


def test_a_scope_without_a_group_is_at_another_provider(ledgers: Ledgers) -> None:
    account = Scope("aws", "123456789012")
    both = replace(entry(1), scopes=(*entry(1).scopes, account))
    ledgers.load(both)
    (view,) = ledgers.projects.list_projects(TODAY)
    assert view.scopes == (account, Scope(AZURE, SUB, "rg-1"))
    assert ledgers.projects.subscriptions() == [SUB]
    # A listing may be of any provider's sub-account.
    assert ledgers.projects.list_projects(TODAY, account.sub_account_id) == [view]
    assert ledgers.projects.list_projects(TODAY, "210987654321") == []
    with pytest.raises(NeverError, match=r"project 2 \(P2\) can't have the aws account 123456789012: it belongs to"):
        ledgers.load(replace(entry(2), scopes=(account,)))


def test_the_listing_says_since_when_a_project_is_locked(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, lock=LockPolicy.NEVER))
    row = {"project_id": 1, "held_since": NOW, "groups": []}
    ledgers.database.run(lambda connection: connection.execute(locks.insert(), [row]))
    views = ledgers.projects.list_projects(TODAY)
    assert [(view.project.lock, view.locked_since) for view in views] == [("auto", NOW), ("never", None)]


def test_an_unknown_project_has_no_revisions(ledgers: Ledgers) -> None:
    assert ledgers.projects.revisions(99) == []


def test_runs_are_listed_newest_first_with_their_scopes_mails_and_errors(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    first = ledgers.scope("night 1")
    ledgers.runs.mark_failed(first.id, "403 no access", NOW)
    ledgers.runs.open_run("night 2", "timer", NOW + DAY)
    _first, _second, late = ledgers.runs.plan(
        "night 2", [ScopeTarget(subscription_id=each) for each in ("sub-a", "sub-b", "sub-c")]
    )
    ledgers.spend(now=NOW + DAY)
    ledgers.runs.mark_deferred(late.id, "429 wait", NOW + DAY)

    def judge(_usage: object) -> object:
        from shared.ports.checks import Judgement

        return Judgement(None, mails=(NewMail("k", "notice", ("a@x.ca",), {}, topic=Topic.OTHER, run_key="night 2"),))

    ledgers.check(1, judge=judge)
    runs = {run.key: run for run in ledgers.runs.recent_runs(10)}
    assert [run.key for run in ledgers.runs.recent_runs(1)] == ["night 2"]
    assert (runs["night 1"].state, runs["night 1"].scopes, runs["night 1"].mails) == ("failed", {"failed": 1}, {})
    assert runs["night 1"].errors == ((f"subscription {SUB}", "403 no access"),)
    assert (runs["night 2"].state, runs["night 2"].finished_at) == ("running", None)
    assert runs["night 2"].scopes == {"planned": 2, "deferred": 1}
    assert runs["night 2"].mails == {"pending": 1}
    assert runs["night 2"].errors == (("subscription sub-c", "429 wait"),)
    assert (runs["night 2"].trigger, runs["night 2"].started_at) == ("timer", NOW + DAY)


def test_projects_can_be_listed_by_subscription_in_any_spelling(ledgers: Ledgers) -> None:
    ledgers.load(
        entry(1, subscription_id="aaa"), entry(2, subscription_id="bbb"), entry(3, subscription_id="aaa", active=False)
    )
    ledgers.spend(("rg-1", november(2), "S", "850"), sub_account_id="aaa")
    ledgers.spend(("rg-2", november(2), "S", "850"), sub_account_id="bbb")
    ledgers.check(1, 2)
    listed = ledgers.projects.list_projects
    assert [view.project.id for view in listed(NOW.date())] == [1, 2, 3]
    found = listed(NOW.date(), "AAA")
    assert [(view.project.id, view.spent, view.alerts) for view in found] == [(1, 850, (80,)), (3, 0, ())]
    assert listed(NOW.date(), "ccc") == []
    assert ledgers.projects.subscriptions() == ["aaa", "bbb"]
    ledgers.load(entry(2, subscription_id="ccc"))
    assert ledgers.projects.subscriptions() == ["aaa", "ccc"]


def test_of_a_project_that_is_forgotten_only_who_its_people_were_goes(ledgers: Ledgers, database: Database) -> None:
    mails, letters = SqlMails(database, "warden.example"), SqlDeadLetters(database)
    ledgers.projects.load([entry(1, "rg-1", contacts=("a@b.ca", "c@b.ca"), owner="Ann"), entry(2, "rg-2")], "ana", NOW)
    spend(ledgers, "5.5")
    told = {"key": "alert/1", "template": "alert", "context": {"name": "x"}, "topic": Topic.ALERT, "project_id": 1}
    mail_id = mails.add(NewMail(to=("a@b.ca",), cc=("c@b.ca",), **told), NOW)
    mails.note(mail_id, [Delivery("a@b.ca", Role.TO, DeliveryState.REFUSED, "550 a@b.ca")])
    notice = mails.add(NewMail("n", "notice", ("ops@b.ca",), {"lines": ["no a@b.ca"]}, topic=Topic.OTHER), NOW)
    letters.record(Queue.EMAIL, f'{{"EmailId": {mail_id}}}', "reaches nobody (a@b.ca)", "m1", NOW)
    letters.record(Queue.UPDATE, '{"ProjectId": 1}', "?", "m2", NOW)
    before = ledgers.projects.get(1, TODAY)

    assert ledgers.projects.forget(1) == Forgotten(contacts=2, mails=1, letters=1)

    after = ledgers.projects.get(1, TODAY)
    assert before is not None
    assert after == replace(before, project=replace(before.project, contacts=(), owner=None))
    emptied, kept = mails.get(mail_id), mails.get(notice)
    assert emptied is not None
    assert kept is not None
    assert (emptied.mail.to, emptied.mail.cc, emptied.mail.context, emptied.deliveries) == ((), (), {}, ())
    assert (emptied.state, mails.find("alert/1")) == (MailState.FAILED, mail_id)
    assert (kept.mail.to, kept.mail.context) == (("ops@b.ca",), {"lines": ["no (forgotten)"]})
    assert [each.queue for each in letters.letters()] == [Queue.UPDATE]


def test_whom_another_project_names_too_is_not_taken_out_of_what_operators_were_told(
    ledgers: Ledgers, database: Database
) -> None:
    mails = SqlMails(database, "warden.example")
    ledgers.projects.load([entry(1, contacts=("a@b.ca",)), entry(2, contacts=("a@b.ca",))], "ana", NOW)
    notice = mails.add(NewMail("n", "notice", ("ops@b.ca",), {"lines": ["no a@b.ca"]}, topic=Topic.OTHER), NOW)
    ledgers.projects.forget(1)
    kept = mails.get(notice)
    assert kept is not None
    assert kept.mail.context == {"lines": ["no a@b.ca"]}


def test_whoever_is_forgotten_is_named_in_no_letters_and_whoever_is_not_still_is(
    ledgers: Ledgers, database: Database
) -> None:
    """As a provider wrote it; an address that holds another's is somebody else's."""
    mails = SqlMails(database, "warden.example")
    ledgers.projects.load([entry(1, contacts=("Ann@B.ca", "z@b.ca")), entry(2, contacts=("Z@B.CA",))], "ana", NOW)
    lines = ["550 <ann@b.ca> unknown", "to:\nANN@b.ca", "no joann@b.ca, no ann@b.ca.", "z@b.ca: no"]
    notice = mails.add(NewMail("n", "notice", ("ops@b.ca",), {"lines": lines, "n": 1}, topic=Topic.OTHER), NOW)
    ledgers.projects.forget(1)
    kept = mails.get(notice)
    assert kept is not None
    assert kept.mail.context == {
        "lines": [
            "550 <(forgotten)> unknown",
            "to:\n(forgotten)",
            "no joann@b.ca, no (forgotten).",
            "z@b.ca: no",
        ],
        "n": 1,
    }


def test_whole_mails_are_forgotten_with_whom_they_were_for_and_so_are_their_dead_letters(
    ledgers: Ledgers, database: Database
) -> None:
    """They are of no project; what is for others too stays for those."""
    mails, letters = SqlMails(database, "warden.example"), SqlDeadLetters(database)
    ledgers.projects.load([entry(1, contacts=("Ann@B.ca",)), entry(2, contacts=("bo@b.ca",))], "ana", NOW)
    text = {"subject": "s", "body": "<p>Dear ann@b.ca</p>", "attachments": []}
    for key, to in (("alone", ("ann@b.ca",)), ("both", ("Ann <ann@b.ca>", "bo@b.ca")), ("other", ("joann@b.ca",))):
        mail_id = mails.add(NewMail(key, "whole", to, text, topic=Topic.MESSAGE), NOW)
        taken = [Delivery(each, Role.TO, DeliveryState.TAKEN) for each in ("ann@b.ca", "bo@b.ca")]
        mails.claim(mail_id, "me", NOW + timedelta(minutes=5), NOW)
        mails.mark_sent(mail_id, "", taken if key == "both" else (), NOW)
    for number, body in enumerate(
        [
            '{"To": ["ANN@b.ca"], "Subject": "s", "Body": "Dear Ann"}',
            base64.b64encode(b'{"To": ["ann@b.ca"], "Subject": "s", "Body": "b"}').decode(),
            '{"To": ["ann@b.ca", "bo@b.ca"], "Subject": "s", "Body": "b"}',
            '{"To": ["ann\\u0040b.ca"], "Body": 3}',
            '{"To": ["joann@b.ca"], "Subject": "s", "Body": "b"}',
            "no JSON of ann@b.ca",
        ]
    ):
        letters.record(Queue.EMAIL, body, "no ann@b.ca", str(number), NOW)
    assert ledgers.projects.forget(1) == Forgotten(contacts=1, mails=1, letters=2)
    alone, both, other = (mails.get(each) for each in (1, 2, 3))
    assert alone is not None and both is not None and other is not None
    assert alone.mail.is_forgotten
    assert (both.mail.to, both.mail.context["body"]) == (("bo@b.ca",), "<p>Dear (forgotten)</p>")
    assert [each.recipient for each in both.deliveries] == ["bo@b.ca"]
    assert other.mail.to == ("joann@b.ca",)
    kept = letters.letters()
    assert [letter.body for letter in kept] == [
        '{"To": ["(forgotten)", "bo@b.ca"], "Subject": "s", "Body": "b"}',
        '{"To": ["(forgotten)"], "Body": 3}',
        '{"To": ["joann@b.ca"], "Subject": "s", "Body": "b"}',
        "no JSON of (forgotten)",
    ]
    assert {letter.reason for letter in kept} == {"no (forgotten)"}


@pytest.fixture
def both(ledgers: Ledgers, database: Database) -> int:
    """A whole mail to two, of whom one is forgotten soon, in `me`'s hands."""
    mails = SqlMails(database, "warden.example")
    ledgers.projects.load([entry(1, contacts=("ann@b.ca",))], "ana", NOW)
    to, text = ("Ann <Ann@b.ca>", "Bo <bo@É.ca>"), {"subject": "s", "body": "b", "attachments": []}
    mail_id = mails.add(NewMail("both", "whole", to, text, topic=Topic.MESSAGE), NOW)
    mails.claim(mail_id, "me", NOW + timedelta(minutes=5), NOW)
    return mail_id


OF_BOTH = [
    Delivery(each, role, DeliveryState.LATER, "busy: Ann@b.ca")
    for each, role in (("Ann@b.ca", Role.TO), ("bo@xn--9ca.ca", Role.TO), ("ops@b.ca", Role.INSTEAD))
]
LEFT = {("bo@xn--9ca.ca", "busy: (forgotten)"), ("ops@b.ca", "busy: (forgotten)")}


@pytest.mark.parametrize(
    "say",
    [
        lambda mails, its: mails.mark_sent(its, "", OF_BOTH, NOW),
        lambda mails, its: mails.release(its, "me", "busy: <Ann@b.ca>", NOW, OF_BOTH),
        lambda mails, its: (mails.note(its, OF_BOTH), mails.mark_failed(its, "me", "no <Ann@b.ca>")),
    ],
    ids=["sent", "released", "failed"],
)
def test_who_is_forgotten_of_a_mail_that_is_being_sent_does_not_come_back(
    ledgers: Ledgers, database: Database, both: int, say: Callable[[SqlMails, int], object]
) -> None:
    ledgers.projects.forget(1)
    say(mails := SqlMails(database, "warden.example"), both)
    kept = mails.get(both)
    assert kept is not None and "Ann" not in str(kept)
    assert {(each.recipient, each.reason) for each in kept.deliveries} == LEFT


def test_who_is_forgotten_is_taken_out_of_recipients_that_are_none(ledgers: Ledgers, database: Database) -> None:
    mails = SqlMails(database, "warden.example")
    ledgers.projects.load([entry(1, contacts=("ann@b.ca",))], "ana", NOW)
    to = ("ann@b.ca; bo@b.ca", "'ann@b.ca'", "ann@b.ca <bo@b.ca>", "'ann@b.ca", "x=ann@b.ca")
    mail_id = mails.add(NewMail("m", "whole", to, {"subject": "s"}, topic=Topic.MESSAGE), NOW)
    mails.claim(mail_id, "me", NOW + timedelta(minutes=5), NOW)
    mails.note(mail_id, [Delivery(each, Role.TO, DeliveryState.REFUSED) for each in to])
    ledgers.projects.forget(1)
    kept = mails.get(mail_id)
    assert kept is not None
    assert kept.mail.to == ("(forgotten); bo@b.ca", "'(forgotten)'", "(forgotten) <bo@b.ca>", *to[3:])
    assert {each.recipient for each in kept.deliveries} == set(to[3:])


def test_whoever_forgets_some_waits_for_what_is_being_noted(ledgers: Ledgers, database: Database, both: int) -> None:
    noted = threading.Event()

    def note_slowly(connection: Connection) -> None:
        write_deliveries(connection, both, OF_BOTH)
        noted.set()
        time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool:
        slowly = pool.submit(database.run, note_slowly)
        noted.wait(10)
        ledgers.projects.forget(1)
        slowly.result(10)
    kept = SqlMails(database, "warden.example").get(both)
    assert kept is not None
    assert {(each.recipient, each.reason) for each in kept.deliveries} == LEFT


@pytest.mark.parametrize("before", ["\n", "\t", "\r\n", "\f", "\b", "\u2028", "<", '"', "\ud800"])
def test_who_is_forgotten_is_taken_out_of_letters_whatever_escape_is_before_the_name(
    ledgers: Ledgers, database: Database, before: str
) -> None:
    letters = SqlDeadLetters(database)
    ledgers.projects.load([entry(1, contacts=("ann@b.ca",))], "ana", NOW)
    text = f"Write to:{before}ann@b.ca"
    bodies = [json.dumps({"To": ["bo@b.ca"], "Body": text, text: [{"x": text}]}), f'{{"Body": {json.dumps(text)[:-1]}']
    bodies += [base64.b64encode(bodies[0].encode()).decode()]
    for number, body in enumerate(bodies):
        letters.record(Queue.EMAIL, body, f"it is {json.dumps(text)}", str(number), NOW)
    ledgers.projects.forget(1)
    assert ["ann@b.ca" in letter.body + letter.reason for letter in letters.letters()] == [False] * 3


@pytest.mark.parametrize("other", ["ann@b.ca.uk", "o'ann@b.ca", "kim/ann@b.ca", "Ann <to.ann@b.ca>"])
def test_whoever_has_an_address_that_holds_one_that_is_forgotten_gets_every_mail(
    ledgers: Ledgers, database: Database, other: str
) -> None:
    mails, letters = SqlMails(database, "warden.example"), SqlDeadLetters(database)
    ledgers.projects.load([entry(1, contacts=("ann@b.ca",))], "ana", NOW)
    text = {"subject": "s", "body": "b", "attachments": []}
    alone, both = (
        mails.add(NewMail(key, "whole", to, text, topic=Topic.MESSAGE), NOW)
        for key, to in (("alone", (other,)), ("both", ("ann@b.ca", other)))
    )
    mails.claim(both, "me", NOW + timedelta(minutes=5), NOW)
    mails.note(both, [Delivery(each, Role.TO, DeliveryState.LATER) for each in ("ann@b.ca", other)])
    body = json.dumps({"To": [other], "Subject": "s", "Body": "b"})
    letters.record(Queue.EMAIL, body, "no", "1", NOW)
    assert ledgers.projects.forget(1) == Forgotten(contacts=1, mails=0, letters=0)
    found = [mails.get(each) for each in (alone, both)]
    assert [each and (each.mail.to, each.state) for each in found] == [
        ((other,), MailState.PENDING),
        ((other,), MailState.CLAIMED),
    ]
    assert [each.recipient for each in found[1].deliveries] == [other]  # type: ignore[union-attr] # seen above
    assert [letter.body for letter in letters.letters()] == [body]


def test_an_operator_who_was_a_contact_still_gets_what_operators_are_told(ledgers: Ledgers, database: Database) -> None:
    mails = SqlMails(database, "warden.example")
    ledgers.projects.load([entry(1, contacts=("ops@b.ca",))], "ana", NOW)
    notice = mails.add(NewMail("n", "notice", ("ops@b.ca",), {"lines": []}, topic=Topic.OTHER), NOW)
    ledgers.projects.forget(1)
    kept = mails.get(notice)
    assert kept is not None and kept.mail.to == ("ops@b.ca",)
