"""Budgets through the real SDK: made, changed, refused, listed, and evaluated once a day."""

import json
from datetime import date
from decimal import Decimal

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)

from localdev.azure_sim import made_up
from localdev.azure_sim.budget_rules import read_terms

TODAY = date(2026, 11, 20)


def spend(budgets, azure, name="warden-a"):
    """The budget's currentSpend as (amount, unit)."""
    current = budgets.get(azure.scope, name).properties.current_spend
    return current.amount, current.unit


def test_a_budget_is_made_read_changed_and_deleted(running, azure):
    budgets = azure.budgets(running([azure.charge()]).url)

    made = budgets.create_or_update(azure.scope, "warden-a", azure.budget("100.25"))
    read = budgets.get(f"{azure.scope}/", "WARDEN-A")
    read.properties.amount = Decimal("200.5")
    changed = budgets.create_or_update(azure.scope, "warden-a", read)

    assert made.id == f"{azure.scope}/providers/Microsoft.Consumption/budgets/warden-a"
    assert (read.properties.time_grain, read.properties.time_period.end_date.year) == ("Annually", 2027)
    assert (made.properties.amount, changed.properties.amount) == (Decimal("100.25"), Decimal("200.5"))
    assert made.e_tag != changed.e_tag
    assert made.properties.forecast_spend is None
    budgets.delete(azure.scope, "warden-a")
    with pytest.raises(ResourceNotFoundError):
        budgets.get(azure.scope, "warden-a")
    with pytest.raises(ResourceNotFoundError):
        budgets.delete(azure.scope, "warden-a")


def test_a_new_budget_answers_201_and_a_changed_one_200(running, azure):
    sim = running([azure.charge()])
    budgets = azure.budgets(sim.url)

    for _ in range(2):
        budgets.create_or_update(azure.scope, "warden-a", azure.budget())

    assert [seen.status for seen in sim.record.requests()] == [201, 200]


def test_an_old_etag_is_a_conflict_and_none_is_no_matter(running, azure):
    budgets = azure.budgets(running([azure.charge()]).url)
    old = budgets.create_or_update(azure.scope, "warden-a", azure.budget("100"))
    budgets.create_or_update(azure.scope, "warden-a", azure.budget("200"))

    with pytest.raises(ResourceExistsError, match="get the latest budget") as caught:
        budgets.create_or_update(azure.scope, "warden-a", old)

    assert caught.value.status_code == 409
    assert budgets.get(azure.scope, "warden-a").properties.amount == 200


def test_the_list_comes_in_pages(running, azure):
    sim = running([azure.charge()], page_size=2)
    budgets = azure.budgets(sim.url)
    names = [f"warden-{letter}" for letter in "abcde"]
    for name in names:
        budgets.create_or_update(azure.scope, name, azure.budget())

    assert [budget.name for budget in budgets.list(azure.scope)] == names
    assert len([seen for seen in sim.record.requests() if seen.method == "GET"]) == 3


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("category", "Usage", "Invalid category"),
        ("amount", 0, "greater than 0"),
        ("amount", True, "must be a number"),
        ("timeGrain", "Weekly", "Invalid timeGrain"),
        ("timePeriod.startDate", "2026-04-02T00:00:00Z", "first of a month"),
        ("timePeriod.startDate", "2017-05-01T00:00:00Z", "on or after"),
        ("timePeriod.startDate", "soon", "not a date-time"),
        ("timePeriod.endDate", "2026-04-01T00:00:00Z", "before the end date"),
        ("filter.dimensions.values", [], "values are missing"),
        ("filter.dimensions.name", "Colour", "ResourceGroupName"),
        ("notifications.100.threshold", 0.001, "between 0.01 and 1000"),
        ("notifications.100.threshold", 1000.5, "between 0.01 and 1000"),
        ("notifications.100.operator", "LessThan", "Invalid operator"),
        ("notifications.100.contactEmails", None, "contactEmails"),
        ("notifications.100.contactGroups", [], "email, role or group"),
    ],
)
def test_what_azure_does_not_take_is_a_400_that_says_why(running, azure, path, value, words):
    budgets = azure.budgets(running([azure.charge()]).url)
    body = json.loads(json.dumps(azure.budget().as_dict()))
    *parents, last = path.split(".")
    place = body["properties"]
    for name in parents:
        place = place[name]
    place[last] = value

    with pytest.raises(HttpResponseError, match=words) as caught:
        budgets.create_or_update(azure.scope, "warden-a", body)

    assert caught.value.status_code == 400


def test_six_notifications_and_odd_names_are_refused(running, azure):
    budgets = azure.budgets(running([azure.charge()]).url)

    with pytest.raises(HttpResponseError, match="up to 5 notifications"):
        budgets.create_or_update(azure.scope, "warden-a", azure.budget(thresholds=("1", "2", "3", "4", "5", "6")))
    with pytest.raises(HttpResponseError, match="name"):
        budgets.create_or_update(azure.scope, "warden a", azure.budget())
    assert list(budgets.list(azure.scope)) == []


def test_a_budgets_start_is_fixed(running, azure):
    budgets = azure.budgets(running([azure.charge()]).url)
    budgets.create_or_update(azure.scope, "warden-a", azure.budget())

    with pytest.raises(HttpResponseError, match="Start date of budgets cannot be updated"):
        budgets.create_or_update(azure.scope, "warden-a", azure.budget(start="2026-05-01"))


@pytest.mark.parametrize(
    ("grain", "start", "is_taken"),
    [
        ("Annually", "2025-12-01", True),
        ("Annually", "2025-11-01", False),
        ("Monthly", "2026-10-01", False),
        ("Monthly", "2026-11-01", True),
        ("Monthly", "2027-11-01", True),
        ("Monthly", "2027-12-01", False),
    ],
)
def test_told_the_day_it_checks_the_start_of_new_budgets(running, azure, grain, start, is_taken):
    sim = running([azure.charge()], today=lambda: TODAY)
    budget = azure.budget(grain=grain, start=start, end="2029-01-01")

    if is_taken:
        azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", budget)
    else:
        with pytest.raises(HttpResponseError, match="Start date"):
            azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", budget)
    assert len(sim.budgets.of()) == is_taken


def test_the_spending_is_that_of_the_last_evaluation(running, azure):
    sim = running([azure.charge("ALPHA_rg", amount="10.25"), azure.charge("other", amount="7")])
    budgets = azure.budgets(sim.url)
    budgets.create_or_update(azure.scope, "warden-a", azure.budget())
    assert spend(budgets, azure) == (0, "USD")

    sim.evaluate_budgets(date(2026, 11, 4))
    assert spend(budgets, azure) == (0, "USD")
    sim.evaluate_budgets(TODAY)
    sim.book.add([azure.charge("Alpha_RG", day="2026-11-19", amount="5")])
    assert spend(budgets, azure) == (Decimal("10.25"), "USD")
    budgets.create_or_update(azure.scope, "warden-a", azure.budget("300"))
    assert spend(budgets, azure) == (Decimal("10.25"), "USD")

    sim.evaluate_budgets(TODAY)
    assert spend(budgets, azure) == (Decimal("15.25"), "USD")


def test_filters_take_groups_in_any_case_and_no_filter_is_the_whole_subscription(running, azure):
    charges = [azure.charge(group, amount=amount) for group, amount in [("One", "1"), ("TWO", "2"), ("", "4")]]
    sim = running([*charges, azure.charge("One", subscription="other", amount="100")])
    budgets = azure.budgets(sim.url)
    both = azure.budget(groups=("one",)).as_dict()
    part = both["properties"]["filter"]
    more = {"dimensions": {"name": "ResourceGroup", "operator": "In", "values": ["ONE", "two"]}}
    both["properties"]["filter"] = {"and": [part, more]}
    budgets.create_or_update(azure.scope, "all", azure.budget(groups=()))
    budgets.create_or_update(azure.scope, "two", azure.budget(groups=("one", "Two")))
    budgets.create_or_update(azure.scope, "and", both)

    sim.evaluate_budgets(TODAY)

    assert [spend(budgets, azure, name)[0] for name in ("all", "two", "and")] == [7, 3, 1]


@pytest.mark.parametrize(
    ("grain", "day", "window"),
    [
        ("Annually", "2026-11-20", ("2026-04-01", "2027-03-31")),
        ("Annually", "2027-04-01", ("2027-04-01", "2027-07-15")),
        ("BillingQuarter", "2026-11-20", ("2026-10-01", "2026-12-31")),
        ("Quarterly", "2027-02-28", ("2027-01-01", "2027-03-31")),
        ("Monthly", "2026-12-31", ("2026-12-01", "2026-12-31")),
        ("Monthly", "2026-03-31", None),
        ("Monthly", "2027-07-16", None),
    ],
)
def test_windows_count_from_the_start_and_end_with_the_budget(azure, grain, day, window):
    body = json.dumps(azure.budget(grain=grain, end="2027-07-15").as_dict()).encode()

    terms, _ = read_terms(body)

    expected = window and tuple(date.fromisoformat(one) for one in window)
    assert terms.window(date.fromisoformat(day)) == expected


def test_the_unit_is_the_currency_of_the_charges_made_up_ones_too(running, azure):
    sim = running(made_up(1, [azure.subscription], 3, 2, 30, TODAY, "CAD"))
    budgets = azure.budgets(sim.url)
    budgets.create_or_update(azure.scope, "warden-a", azure.budget(groups=(), grain="Monthly"))

    sim.evaluate_budgets(TODAY)

    assert spend(budgets, azure)[1] == "CAD"
    assert sim.budgets.of()[0].spend == sim.book.total(azure.subscription, date(2026, 11, 1), TODAY)
    with pytest.raises(ResourceNotFoundError):
        list(budgets.list("/subscriptions/00000000-0000-0000-0000-000000000000"))


def test_faults_are_meant_for_one_method_and_one_path(running, azure):
    sim = running([azure.charge()])
    budgets = azure.budgets(sim.url)
    sim.fault("forbidden", method="put", path="/budgets/warden-*a")
    sim.fault("arm_throttled", method="GET", path="Microsoft.Consumption", seconds=17)

    budgets.create_or_update(azure.scope, "warden-b", azure.budget())
    with pytest.raises(HttpResponseError, match=r"'Microsoft.Consumption/budgets/write' over scope") as refused:
        budgets.create_or_update(azure.scope, "warden-aaa", azure.budget())
    with pytest.raises(HttpResponseError) as throttled:
        budgets.get(azure.scope, "warden-b")

    assert refused.value.status_code == 403
    assert (throttled.value.status_code, throttled.value.response.headers["Retry-After"]) == (429, "17")
