"""Azure's budgets are kept in step with the projects, whatever changes or breaks off; nobody else's is touched."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.domain.budgets import Budget, BudgetTerms, Rollover
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project, Scope
from shared.pipeline.azure_budgets.sync import BudgetChange, BudgetSync, SyncResult
from shared.pipeline.azure_budgets.wanted import LOCK_NOTICE
from shared.ports.azure import AZURE, AzureBudget, BudgetNotice
from shared.ports.errors import LaterError, NeverError
from shared.ports.projects import ProjectView
from tests.fake_budgets import FakeBudgets, FakeSeenBudgets
from tests.fakes import FakeClock

HERE, ELSEWHERE = "6f1c0d5e-0000-4000-8000-00000000000a", "6f1c0d5e-0000-4000-8000-00000000000b"
CALLED = f"/subscriptions/{HERE}/resourceGroups/rg-ops/providers/Microsoft.Insights/actionGroups/lock"
APRIL = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1))
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))


@dataclass
class Projects:
    """The part of a ProjectLedger that the stage reads."""

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def set(self, acronym: str, **details: Any) -> None:
        """Makes the project, or changes these details of it."""
        self.entries[acronym] = {**self.entries.get(acronym, {}), **details}

    def list_projects(self, today: date, subscription_id: str | None = None) -> list[ProjectView]:
        views = [_view(number, acronym, today, **given) for number, (acronym, given) in enumerate(self.entries.items())]
        wanted = (subscription_id or "").lower()
        return [
            view for view in views if not wanted or wanted in {scope.sub_account_id.lower() for scope in view.scopes}
        ]

    def subscriptions(self) -> list[str]:
        return sorted(
            {scope.sub_account_id.lower() for view in self.list_projects(date(2026, 11, 20)) for scope in view.scopes}
        )


def _view(
    number: int,
    acronym: str,
    today: date,
    *,
    amount: str | None = "1000",
    rule: PeriodRule = APRIL,
    rollover: Rollover = Rollover.RESET,
    groups: tuple[tuple[str, str], ...] | None = None,
    elsewhere: tuple[Scope, ...] = (),
    currency: str = "CAD",
    active: bool = True,
    lock: LockPolicy = LockPolicy.AUTO,
) -> ProjectView:
    terms = BudgetTerms(None if amount is None else Decimal(amount), currency, rule, rollover)
    owned = ((HERE, f"rg-{acronym.lower()}"),) if groups is None else groups
    return ProjectView(
        project=Project(number, acronym, acronym, None, (), active, lock),
        scopes=(*(Scope(AZURE, *each) for each in owned), *elsewhere),
        budget=Budget(number, 1, terms) if terms.amount else None,
        period=rule.period_at(today),
        spent=Decimal(0),
        terms=terms,
    )


def no_currencies(_subscription: str) -> frozenset[str]:
    """As before any charge is stored."""
    return frozenset()


class Rig:
    """The stage, with Azure and the projects in memory."""

    def __init__(self) -> None:
        self.clock, self.projects = FakeClock(), Projects()
        self.azure = FakeBudgets(today=lambda: self.clock().date())
        self.seen = FakeSeenBudgets()
        self.stage = BudgetSync(self.azure, self.seen, self.projects, CALLED, self.clock, no_currencies)

    def sync(self, **details: Any) -> SyncResult:
        return self.stage.sync(HERE, **details)

    def budget(self, acronym: str) -> AzureBudget | None:
        return self.azure.budgets.get((HERE, f"warden-{acronym.lower()}"))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.projects.set("ONE")
    rig.projects.set("TWO", amount="2000.50", rule=MONTHLY)
    return rig


def whats(result: SyncResult) -> list[tuple[str, str]]:
    return [(change.what, change.acronym) for change in result.changes]


def test_missing_budgets_are_made_once(rig: Rig) -> None:
    assert rig.sync().changes == (
        BudgetChange("ONE", "create", "ONE amount 1000, annually from 2026-04-01"),
        BudgetChange("TWO", "create", "TWO amount 2000.5, monthly from 2026-11-01"),
    )
    assert rig.azure.take_writes() == [("put", "warden-one"), ("put", "warden-two")]
    assert rig.sync() == SyncResult()
    assert rig.azure.take_writes() == []


def test_a_dry_run_says_the_same_and_writes_nothing(rig: Rig) -> None:
    rig.sync()
    rig.projects.set("ONE", amount="1200")
    rig.projects.set("TWO", active=False)
    rig.projects.set("NEW")
    rig.azure.take_writes()
    said = rig.sync(dry_run=True)
    assert rig.azure.take_writes() == []
    assert rig.sync() == said


def test_only_what_differs_is_changed(rig: Rig) -> None:
    rig.sync()
    rig.azure.take_writes()
    rig.projects.set("ONE", amount="1200")
    assert rig.sync().changes == (BudgetChange("ONE", "change", "ONE amount 1000 -> 1200"),)
    assert rig.azure.take_writes() == [("put", "warden-one")]


def test_a_change_keeps_the_start_that_azure_can_not_change(rig: Rig) -> None:
    rig.sync()
    rig.clock.forward(days=200)
    rig.projects.set("ONE", amount="1200")
    rig.projects.set("TWO", amount="5")
    assert whats(rig.sync()) == [("change", "ONE"), ("change", "TWO")]
    assert rig.budget("TWO").first_day == date(2026, 11, 1)


def test_another_period_makes_the_budget_anew(rig: Rig) -> None:
    rig.sync()
    rig.azure.take_writes()
    rig.projects.set("ONE", rule=PeriodRule(PeriodKind.ANNUAL, date(2000, 7, 1)))
    (change,) = rig.sync().changes
    assert (change.what, change.sentence) == ("replace", "ONE first day 2026-04-01 -> 2026-07-01")
    assert rig.azure.take_writes() == [("delete", "warden-one"), ("put", "warden-one")]
    assert rig.sync() == SyncResult()


@pytest.mark.parametrize("call", ["budgets_of", "get", "delete", "put"])
def test_what_may_pass_breaks_the_run_off_and_the_next_one_ends_in_the_same_state(rig: Rig, call: str) -> None:
    rig.projects.set("THREE", rule=MONTHLY)
    rig.sync()
    rig.projects.set("THREE", rule=APRIL)
    rig.projects.set("FOUR")
    rig.projects.set("TWO", active=False)
    errors = [LaterError("throttled", timedelta(seconds=9))]
    rig.azure.fails = lambda asked, _name: errors.pop() if errors and asked == call else None
    with pytest.raises(LaterError) as caught:
        rig.sync()
    assert caught.value.wait == timedelta(seconds=9)
    rig.sync()
    assert sorted(name for _, name in rig.azure.budgets) == ["warden-four", "warden-one", "warden-three"]
    assert rig.budget("THREE").time_grain == "Annually"
    assert rig.sync() == SyncResult()


def test_a_budget_that_azure_refuses_fails_alone_and_is_tried_again(rig: Rig) -> None:
    rig.azure.fails = lambda call, name: NeverError("No role.") if (call, name) == ("put", "warden-one") else None
    result = rig.sync()
    assert whats(result) == [("create", "TWO")]
    assert result.failed == (("ONE", "No role."),)
    rig.azure.fails = lambda _call, _name: None
    assert whats(rig.sync()) == [("create", "ONE")]


def test_a_subscription_that_can_not_be_read_is_said_as_a_whole(rig: Rig) -> None:
    rig.azure.fails = lambda _call, _name: NeverError("No role.")
    with pytest.raises(NeverError, match="No role"):
        rig.sync()


PEOPLES = BudgetNotice(Decimal(100), "GreaterThan", forecast=False, emails=("boss@example.com",))


def someones(name: str, **changes: Any) -> AzureBudget:
    day = date(2026, 4, 1)
    budget = AzureBudget(name, Decimal(7), "Monthly", day, date(2030, 1, 1), None, {"half": PEOPLES}, e_tag="theirs")
    return replace(budget, **changes)


def test_a_budget_of_our_name_by_someone_else_is_left_alone_and_said(rig: Rig) -> None:
    theirs = rig.azure.budgets[HERE, "warden-one"] = someones("Warden-ONE")
    result = rig.sync()
    assert whats(result) == [("create", "TWO")]
    assert result.unmapped == (("ONE", "a budget of this name was made by someone else, and is left as it is"),)
    rig.projects.set("ONE", active=False)
    assert rig.sync() == SyncResult()
    assert rig.budget("ONE") == theirs


def test_a_budget_that_the_list_did_not_show_is_not_overwritten(rig: Rig) -> None:
    theirs = someones("warden-one")
    hidden = FakeBudgets.get
    rig.azure.get = lambda subscription, name: theirs if name == "warden-one" else hidden(rig.azure, subscription, name)
    result = rig.sync()
    assert whats(result) == [("create", "TWO")]
    assert [acronym for acronym, _ in result.failed] == ["ONE"]


def test_other_budgets_are_never_touched(rig: Rig) -> None:
    theirs = {(HERE, name): someones(name) for name in ("monthly", "warden", "warden-gone", "other-one", "wardenone")}
    calling = replace(PEOPLES, action_groups=(CALLED,))
    theirs[HERE, "lookalike"] = someones("lookalike", notices={LOCK_NOTICE: calling})
    rig.azure.budgets.update(theirs)
    assert rig.sync().unmapped == ()
    rig.projects.entries.clear()
    assert whats(rig.sync()) == [("delete", "warden-one"), ("delete", "warden-two")]
    assert rig.azure.budgets == theirs


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"active": False}, "the project is inactive"),
        ({"lock": LockPolicy.NEVER}, "never to be locked"),
        ({"amount": None}, "no budget now"),
    ],
)
def test_a_project_that_is_no_longer_to_be_locked_loses_its_budget(rig: Rig, details: dict, said: str) -> None:
    rig.sync()
    rig.projects.set("ONE", **details)
    result = rig.sync()
    assert whats(result) == [("delete", "ONE")]
    assert said in result.changes[0].sentence
    assert rig.budget("ONE") is None
    assert rig.sync() == SyncResult()


@pytest.mark.parametrize(
    "details",
    [
        {"groups": ((HERE, "rg-one"), (ELSEWHERE, "rg-one"))},
        {"elsewhere": (Scope("aws", "123456789012"),)},
        {"rule": PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 15))},
        {"rule": PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), date(2028, 1, 1))},
        {"rule": PeriodRule(PeriodKind.FIXED, date(2025, 11, 1), date(2026, 1, 1))},
    ],
)
def test_what_can_no_longer_be_mapped_is_said_and_its_budget_deleted(rig: Rig, details: dict) -> None:
    rig.sync()
    rig.projects.set("ONE", **details)
    result = rig.sync()
    assert whats(result) == [("delete", "ONE")]
    assert [acronym for acronym, _ in result.unmapped] == ["ONE"]
    assert [acronym for acronym, _ in rig.sync().unmapped] == ["ONE"]


def test_another_currency_is_known_from_the_charges_before_azure_has_a_budget(rig: Rig) -> None:
    rig.stage = replace(rig.stage, currencies={HERE: frozenset({"USD"})}.__getitem__)
    result = rig.sync()
    assert result.changes == ()
    assert result.unmapped[0] == ("ONE", "its budget is in CAD, and the subscription is billed in USD")


def test_another_currency_is_known_from_what_azure_evaluated(rig: Rig) -> None:
    rig.azure.currency = "USD"
    rig.sync()
    spent = replace(rig.budget("ONE"), current_spend=Decimal(3))
    rig.azure.budgets[HERE, "warden-one"] = spent
    assert sorted(whats(rig.sync())) == [("delete", "ONE"), ("delete", "TWO")]


def test_the_budget_of_a_project_that_is_gone_or_renamed_is_deleted(rig: Rig) -> None:
    rig.sync()
    rig.projects.entries["EINS"] = rig.projects.entries.pop("ONE")
    assert sorted(whats(rig.sync())) == [("create", "EINS"), ("delete", "warden-one")]
    assert sorted(name for _, name in rig.azure.budgets) == ["warden-eins", "warden-two"]


def test_the_budget_of_a_project_that_moved_to_another_subscription_is_deleted_here(rig: Rig) -> None:
    rig.sync()
    rig.projects.set("ONE", groups=((ELSEWHERE, "rg-one"),))
    assert whats(rig.sync()) == [("delete", "warden-one")]
    assert whats(rig.stage.sync(ELSEWHERE)) == [("create", "ONE")]


def test_the_budgets_of_another_installation_in_the_same_subscription_stay(rig: Rig) -> None:
    other = Rig()
    other.azure = rig.azure
    other.projects.set("THEIRS")
    other.stage = BudgetSync(rig.azure, other.seen, other.projects, f"{CALLED}-of-theirs", rig.clock, no_currencies)
    other.sync()
    result = rig.sync()
    assert whats(result) == [("create", "ONE"), ("create", "TWO")]
    assert [name for name, _ in result.unmapped] == ["warden-theirs"]
    assert [name for name, _ in other.sync().unmapped] == ["warden-one", "warden-two"]


def test_a_new_action_group_is_written_into_the_budgets_of_our_projects(rig: Rig) -> None:
    rig.sync()
    rig.stage = replace(rig.stage, action_group_id=f"{CALLED}-new")
    assert whats(rig.sync()) == [("change", "ONE"), ("change", "TWO")]
    assert rig.budget("ONE").notices[LOCK_NOTICE].action_groups == (f"{CALLED}-new",)


def test_without_an_action_group_nothing_is_asked_and_it_is_said_what_is_missing(rig: Rig) -> None:
    rig.stage = replace(rig.stage, action_group_id=None)
    rig.azure.fails = lambda _call, _name: AssertionError("asked")
    with pytest.raises(NeverError, match="LOCK_ACTION_GROUP_ID"):
        rig.sync()


def test_the_same_holds_for_the_real_adapter_and_azures_own_rules() -> None:
    rig = Rig()
    rig.projects.set("ONE", amount="1000.10")
    book = ChargeBook([Charge(HERE, "RG-One", "Storage", date(2026, 11, 2), "CAD", Decimal("12.34"))])
    with AzureSimulator(book, today=lambda: rig.clock().date()) as simulator:
        budgets = ConsumptionBudgets(ArmClient(simulator.url))
        rig.stage = replace(rig.stage, azure=budgets)
        assert whats(rig.sync()) == [("create", "ONE")]
        assert rig.sync() == SyncResult()
        simulator.evaluate_budgets(date(2026, 11, 20))
        assert budgets.get(HERE, "warden-one").current_spend == Decimal("12.34")
        rig.projects.set("ONE", amount="1200.01")
        assert whats(rig.sync()) == [("change", "ONE")]
        rig.clock.forward(days=400)
        rig.projects.set("ONE", rule=MONTHLY)
        assert whats(rig.sync()) == [("replace", "ONE")]
        rig.clock.forward(days=400)
        assert rig.sync() == SyncResult()
        rig.projects.set("ONE", currency="EUR")
        assert whats(rig.sync()) == [("delete", "ONE")]
        budgets.arm.close()


def test_a_long_sync_breaks_off_and_goes_on_where_it_was(rig: Rig) -> None:
    for number in range(8):
        rig.projects.set(f"P{number}")

    def slow(call: str, _name: str) -> None:
        if call == "put":
            rig.clock.forward(seconds=90)

    rig.azure.fails = slow
    with pytest.raises(LaterError) as caught:
        rig.sync()
    assert caught.value.wait == timedelta(0)
    assert "7 budgets" in caught.value.reason
    with pytest.raises(LaterError, match="4 budgets"):
        rig.sync()


def test_every_subscription_with_groups_of_a_project_is_named_once(rig: Rig) -> None:
    rig.projects.set("ONE", active=False, groups=((ELSEWHERE.upper(), "a"), (ELSEWHERE, "b")))
    assert rig.stage.subscriptions() == [HERE, ELSEWHERE]


RULES = st.sampled_from([APRIL, MONTHLY, PeriodRule(PeriodKind.QUARTERLY, date(2000, 2, 1))])
CHANGES = st.one_of(
    st.tuples(st.just("amount"), st.sampled_from(["1", "20.55", "300", None])),
    st.tuples(st.just("rule"), RULES),
    st.tuples(st.just("rollover"), st.sampled_from(Rollover)),
    st.tuples(st.just("active"), st.booleans()),
    st.tuples(st.just("groups"), st.sampled_from([((HERE, "rg-a"),), ((HERE, "RG-A"), (HERE, "rg-b"))])),
)
STEPS = st.tuples(
    st.integers(0, 100),  # days until then
    st.sampled_from(["A", "B"]),  # whose project changes
    CHANGES,
    st.none() | st.integers(0, 4),  # at which of its calls Azure breaks the run off
)


@given(steps=st.lists(STEPS, max_size=12))
def test_whatever_happens_azure_counts_what_the_project_may_spend_in_its_period(steps: list) -> None:
    rig = Rig()
    for days, acronym, (name, value), breaks_at in steps:
        rig.clock.forward(days=days)
        rig.projects.set(acronym, **{name: value})
        if breaks_at is not None:
            break_off(rig, breaks_at)
        assert rig.sync().failed == ()
        assert rig.sync() == SyncResult()
        check(rig)


def break_off(rig: Rig, calls: int) -> None:
    """A run that Azure ends after so many calls, if it makes them."""
    left = [None] * calls

    def fails(_call: str, _name: str) -> Exception | None:
        return left.pop() if left else LaterError("unwell")

    rig.azure.fails = fails
    with pytest.raises(LaterError):
        rig.sync()
        raise LaterError("it was over before that")
    rig.azure.fails = lambda _call, _name: None


def check(rig: Rig) -> None:
    today = rig.clock().date()
    locked = {
        view.project.acronym: view for view in rig.projects.list_projects(today) if view.project.active and view.budget
    }
    assert {name for _, name in rig.azure.budgets} == {f"warden-{acronym.lower()}" for acronym in locked}
    for acronym, view in locked.items():
        budget = rig.budget(acronym)
        grains = {"Annually": PeriodKind.ANNUAL, "Quarterly": PeriodKind.QUARTERLY, "Monthly": PeriodKind.MONTHLY}
        assert PeriodRule(grains[budget.time_grain], budget.first_day).period_at(today) == view.period
        assert budget.first_day <= view.period.start
        assert budget.last_day >= view.period.end - timedelta(days=1)
        assert budget.amount == view.budget.amount
        assert {group.lower() for group in budget.resource_groups} == {
            scope.resource_group.lower() for scope in view.scopes
        }
        assert budget.notices[LOCK_NOTICE].action_groups == (CALLED,)
