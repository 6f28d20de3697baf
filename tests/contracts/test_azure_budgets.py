"""What every AzureBudgets keeps to: the adapter for Azure (asking the simulator), and the fake of the stage's tests."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.ports.azure import AzureBudget, AzureBudgets, BudgetNotice
from shared.ports.errors import LaterError, NeverError
from tests.fake_budgets import FakeBudgets

HERE, ELSEWHERE, UNKNOWN = (f"6f1c0d5e-0000-4000-8000-00000000000{last}" for last in "abc")
ACTION_GROUP = f"/subscriptions/{HERE}/resourceGroups/rg-ops/providers/Microsoft.Insights/actionGroups/lock"
FULL = BudgetNotice(Decimal(100), "GreaterThanOrEqualTo", forecast=False, action_groups=(ACTION_GROUP,))
HALF = BudgetNotice(
    Decimal("50.5"), "GreaterThan", forecast=True, emails=("a@example.com",), roles=("Owner",), enabled=False
)
BUDGET = AzureBudget(
    name="warden-die1",
    amount=Decimal("12345678.91"),
    time_grain="Annually",
    first_day=date(2026, 4, 1),
    last_day=date(2036, 3, 31),
    resource_groups=("RG-b", "rg-a"),
    notices={"budget-warden-lock": FULL, "half": HALF},
)


@dataclass
class AzureWorld:
    """Azure, as the simulator plays it."""

    simulator: AzureSimulator
    budgets: AzureBudgets

    def spends(self, amount: str, group: str, day: date) -> None:
        """A charge, and Azure's next daily evaluation."""
        self.simulator.book.add([Charge(HERE, group, "Storage", day, "CAD", Decimal(amount))])
        self.simulator.evaluate_budgets(day)

    def is_in_trouble(self, kind: str) -> None:
        """The next request goes wrong in this way."""
        fault, details = TROUBLE[kind]
        self.simulator.fault(fault, **details)


@dataclass
class FakeWorld:
    """The fake."""

    budgets: FakeBudgets

    def spends(self, amount: str, group: str, day: date) -> None:
        """The same, on budgets whose filter holds the group."""
        for key, budget in self.budgets.budgets.items():
            if group.lower() in [name.lower() for name in budget.resource_groups or ()]:
                spend = (budget.current_spend or Decimal(0)) + Decimal(amount)
                self.budgets.budgets[key] = replace(budget, current_spend=spend)

    def is_in_trouble(self, kind: str) -> None:
        """The next call goes wrong in this way."""
        waits = {"asks to wait 90 s": timedelta(seconds=90), "unwell for 45 s": timedelta(seconds=45)}
        never = kind in ("no login", "no permission")
        errors: list[Exception] = [NeverError(f"{kind}.") if never else LaterError(kind, waits.get(kind))]
        self.budgets.fails = lambda _call, _name: errors.pop() if errors else None


TROUBLE = {
    "asks to wait 90 s": ("throttled", {"headers": {"Retry-After": "90"}}),
    "unwell for 45 s": ("unavailable", {"seconds": 45}),
    "unwell": ("server_error", {}),
    "silent": ("silent", {}),
    "broken off": ("truncated", {}),
    "garbled": ("invalid_json", {}),
    "no login": ("unauthorized", {}),
    "no permission": ("forbidden", {}),
}
World = AzureWorld | FakeWorld


@pytest.fixture(params=["azure", "fake"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld(FakeBudgets(frozenset({HERE, ELSEWHERE})))
        return
    book = ChargeBook([Charge(HERE, "rg-any", "Storage", date(2026, 1, 1), "CAD", Decimal(1))])
    book.add_subscription(ELSEWHERE)
    with AzureSimulator(book, page_size=2) as simulator:
        budgets = ConsumptionBudgets(ArmClient(simulator.url, read_seconds=2.0))
        yield AzureWorld(simulator, budgets)
        budgets.arm.close()


def stored(world: World, name: str = BUDGET.name) -> AzureBudget:
    found = world.budgets.get(HERE, name)
    assert found is not None
    return found


def without_azures_own(budget: AzureBudget) -> AzureBudget:
    return replace(budget, current_spend=None, currency=None, e_tag=None)


def test_a_budget_is_read_as_it_was_put(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    assert without_azures_own(stored(world)) == BUDGET


@pytest.mark.parametrize("amount", ["0.01", "0.10", "100.10", "899999999.99", "1200"])
def test_amounts_keep_every_digit(world: World, amount: str) -> None:
    world.budgets.put(HERE, replace(BUDGET, amount=Decimal(amount)))
    assert stored(world).amount == Decimal(amount)


def test_the_list_holds_every_budget_of_the_subscription_and_no_others(world: World) -> None:
    names = [f"warden-p{number}" for number in range(5)]
    for name in names:
        world.budgets.put(HERE, replace(BUDGET, name=name))
    world.budgets.put(ELSEWHERE, replace(BUDGET, name="warden-else"))
    assert sorted(budget.name for budget in world.budgets.budgets_of(HERE)) == names
    assert [budget.name for budget in world.budgets.budgets_of(ELSEWHERE.upper())] == ["warden-else"]


def test_a_subscription_without_budgets_has_an_empty_list(world: World) -> None:
    assert world.budgets.budgets_of(HERE) == []


def test_a_listed_budget_is_the_same_as_one_that_was_asked_for(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    assert world.budgets.budgets_of(HERE) == [stored(world)]


def test_a_name_is_found_in_any_case_and_one_that_is_not_there_is_none(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    assert stored(world, "WARDEN-Die1").name == BUDGET.name
    assert world.budgets.get(HERE, "warden-die2") is None
    assert world.budgets.get(ELSEWHERE, BUDGET.name) is None
    assert world.budgets.get(HERE, "../../x") is None


def test_a_change_is_taken_and_gives_another_tag(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    before = stored(world)
    changed = replace(before, amount=Decimal(7), resource_groups=("rg-c",), notices={"budget-warden-lock": FULL})
    world.budgets.put(HERE, changed)
    after = stored(world)
    assert without_azures_own(after) == without_azures_own(changed)
    assert after.e_tag not in (None, before.e_tag)


def test_what_someone_changed_since_it_was_read_is_for_later_and_stays(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    read = stored(world)
    world.budgets.put(HERE, replace(read, amount=Decimal(5)))
    with pytest.raises(LaterError):
        world.budgets.put(HERE, replace(read, amount=Decimal(6)))
    assert stored(world).amount == 5


def test_what_someone_deleted_since_it_was_read_is_not_made_again(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    read = stored(world)
    world.budgets.delete(HERE, BUDGET.name)
    with pytest.raises(LaterError):
        world.budgets.put(HERE, read)
    assert world.budgets.budgets_of(HERE) == []


def test_the_start_can_not_be_changed_but_the_budget_can_be_made_anew(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    later = replace(BUDGET, first_day=date(2026, 5, 1))
    with pytest.raises(NeverError, match="Start date of budgets cannot be updated"):
        world.budgets.put(HERE, replace(later, e_tag=stored(world).e_tag))
    world.budgets.delete(HERE, BUDGET.name)
    world.budgets.put(HERE, later)
    assert stored(world).first_day == date(2026, 5, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": Decimal(0)},
        {"first_day": date(2026, 4, 2)},
        {"last_day": date(2026, 4, 1)},
        {"notices": {f"notice-{number}": FULL for number in range(6)}},
        {"resource_groups": ()},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_azure_does_not_take_is_for_never_and_said_in_a_sentence(world: World, wrong: dict) -> None:
    with pytest.raises(NeverError) as caught:
        world.budgets.put(HERE, replace(BUDGET, **wrong))
    assert caught.value.reason.endswith(".")
    assert world.budgets.budgets_of(HERE) == []


def test_a_deleted_budget_is_gone_and_deleting_it_again_does_nothing(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    world.budgets.delete(HERE, BUDGET.name.upper())
    assert world.budgets.get(HERE, BUDGET.name) is None
    world.budgets.delete(HERE, BUDGET.name)


def test_the_spending_is_that_of_the_last_evaluation_in_the_subscriptions_currency(world: World) -> None:
    world.budgets.put(HERE, BUDGET)
    world.spends("12.30", "Rg-A", date(2026, 5, 1))
    world.spends("5.01", "rg-other", date(2026, 5, 2))
    assert (stored(world).current_spend, stored(world).currency) == (Decimal("12.30"), "CAD")


CALLS = {
    "budgets_of": lambda budgets: budgets.budgets_of(HERE),
    "get": lambda budgets: budgets.get(HERE, BUDGET.name),
    "put": lambda budgets: budgets.put(HERE, BUDGET),
    "delete": lambda budgets: budgets.delete(HERE, BUDGET.name),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("trouble", "seconds"), [("asks to wait 90 s", 90), ("unwell for 45 s", 45), ("unwell", None), ("silent", None)]
)
def test_what_may_pass_is_for_later_with_the_wait_that_was_named(
    world: World, call: str, trouble: str, seconds: int | None
) -> None:
    world.is_in_trouble(trouble)
    with pytest.raises(LaterError) as caught:
        CALLS[call](world.budgets)
    assert caught.value.wait == (None if seconds is None else timedelta(seconds=seconds))
    CALLS[call](world.budgets)


@pytest.mark.parametrize("trouble", ["broken off", "garbled"])
def test_an_answer_that_can_not_be_read_is_for_later(world: World, trouble: str) -> None:
    world.budgets.put(HERE, BUDGET)
    world.is_in_trouble(trouble)
    with pytest.raises(LaterError):
        world.budgets.budgets_of(HERE)
    assert len(world.budgets.budgets_of(HERE)) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("trouble", ["no login", "no permission"])
def test_what_stays_wrong_is_for_never_and_said_in_a_sentence(world: World, call: str, trouble: str) -> None:
    world.is_in_trouble(trouble)
    with pytest.raises(NeverError) as caught:
        CALLS[call](world.budgets)
    assert caught.value.reason.endswith(".")
    assert "\n" not in caught.value.reason


def test_an_unknown_subscription_is_for_never_and_named(world: World) -> None:
    with pytest.raises(NeverError, match=UNKNOWN):
        world.budgets.budgets_of(UNKNOWN)
