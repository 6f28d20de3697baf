"""Spending that was never spent: plausible charges made from a seed, or from a curve for one resource group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from random import Random
from threading import Lock

from localdev.azure_sim.charges import EXACT, Charge, ChargeBook, Row, days_between

SERVICES = (
    "Virtual Machines",
    "Storage",
    "Azure Databricks",
    "SQL Database",
    "Bandwidth",
    "Key Vault",
    "Log Analytics",
    "Azure App Service",
    "Virtual Network",
    "Azure Monitor",
    "Container Registry",
    "Backup",
)
# A service's share of its group's spending, in thousandths, and the decimal digits of its amounts: Azure writes
# anything from cents to twelve digits and more.
SHARES = (420, 160, 190, 110, 30, 4, 26, 60, 22, 14, 9, 16)
DIGITS = (12, 10, 12, 4, 8, 11, 2, 6, 12, 9, 3, 10)
WEEKEND_FACTORS = (350, 1000, 1000, 1300)  # in thousandths: office hours, steady (twice), weekend batches
FIRST_GROWTH_DAY = date(2025, 1, 1).toordinal()


def made_up(
    seed: int,
    subscriptions: Sequence[str],
    groups_per_subscription: int,
    services: int,
    days: int,
    end_day: date,
    currency: str = "USD",
) -> ChargeBook:
    """A book of plausible daily spending, made lazily: one row per subscription, group, service and day.

    The last of the `days` is `end_day`. What a day holds depends on the seed, the subscription's id and the day
    only: a book that ends a day later has the same earlier days. Services: 1 to 12.
    """
    if not 1 <= services <= len(SERVICES):
        raise ValueError(f"There are 1 to {len(SERVICES)} made-up services, not {services}.")
    names = tuple(subscription.lower() for subscription in subscriptions)
    shape = Shape(seed, groups_per_subscription, services, currency)
    return ChargeBook(source=MadeUpCharges(names, shape, end_day - timedelta(days=days - 1), end_day))


def group_names(subscription_number: int, count: int) -> list[str]:
    """The made-up groups of the n-th subscription (from 0), in mixed case as people write them."""
    return [f"Fsdh_Proj_S{subscription_number:02d}G{number:04d}_Dev_RG" for number in range(count)]


@dataclass(frozen=True)
class Shape:
    """What all subscriptions of a made-up book share."""

    seed: int
    groups: int
    services: int
    currency: str


@dataclass(frozen=True)
class Spender:
    """One made-up resource group: its services with what they cost a day, in millionths, and its habits."""

    name: str
    services: tuple[tuple[str, int, int], ...]  # name, base per day in millionths, decimal digits
    weekend: int  # thousandths of a weekday's spending
    growth: int  # hundred-thousandths a day

    def factor(self, day: date, chance: float) -> int:
        """What this day costs against the base, in thousandths; `chance` (0 to 1) decides about a burst."""
        growth = max(200, 1000 + self.growth * (day.toordinal() - FIRST_GROWTH_DAY) // 100)
        weekday = self.weekend if day.weekday() >= 5 else 1000
        burst = 3 + int(chance * 1000) % 6 if chance < 0.007 else 1
        return growth * weekday * burst // 1000


class MadeUpCharges:
    """The source behind `made_up`: makes a subscription's rows of a day when they are asked for."""

    def __init__(self, subscriptions: Sequence[str], shape: Shape, first: date, last: date) -> None:
        self._numbers = {subscription: number for number, subscription in enumerate(subscriptions)}
        self._shape, self._first, self._last = shape, first, last
        self._spenders: dict[str, list[Spender]] = {}
        self._lock = Lock()

    def subscriptions(self) -> Iterable[str]:
        """The ids that the book was made for."""
        return self._numbers

    def rows(self, subscription: str, day: date) -> list[Row]:
        """The made-up rows of that day, in the order of the groups."""
        if subscription not in self._numbers or not self._first <= day <= self._last:
            return []
        chance = Random(f"{self._shape.seed}/{subscription}/{day.isoformat()}")
        currency = self._shape.currency
        rows: list[Row] = []
        for spender in self._of(subscription):
            factor = spender.factor(day, chance.random())
            for service, base, digits in spender.services:
                amount = amount_text(base * factor, digits, chance.getrandbits(30))
                rows.append((spender.name, service, currency, amount))
        return rows

    def sample(self, subscription: str) -> list[Row]:
        """The rows of the last day; every group has some on every day."""
        return self.rows(subscription, self._last)

    def _of(self, subscription: str) -> list[Spender]:
        with self._lock:
            if subscription not in self._spenders:
                self._spenders[subscription] = list(self._made(subscription))
            return self._spenders[subscription]

    def _made(self, subscription: str) -> Iterator[Spender]:
        chance = Random(f"{self._shape.seed}/{subscription}")
        for name in group_names(self._numbers[subscription], self._shape.groups):
            per_day = chance.randrange(100, 1000) * 10 ** chance.randrange(3, 6)
            services = zip(SERVICES, SHARES, DIGITS, strict=True)
            yield Spender(
                name,
                tuple((service, per_day * share // 1000, digits) for service, share, digits in services)[
                    : self._shape.services
                ],
                chance.choice(WEEKEND_FACTORS),
                chance.randrange(-20, 60),
            )


def amount_text(billionths: int, digits: int, bits: int) -> str:
    """The amount as decimal text: some noise around it, and one in 512 is a credit.

    `bits` are 30 random bits. Whole numbers only: floats would round, and differ between machines.
    """
    noise = 740_000 + (bits >> 11)  # 0.74 to 1.264 millionths
    units = billionths * noise // 10 ** (15 - digits)
    sign = "-" if bits & 511 == 0 and units else ""
    whole, rest = divmod(units, 10**digits)
    return f"{sign}{whole}.{rest:0{digits}d}"


EVERY_DAY = (Decimal(1),) * 7
OFFICE_WEEK = (Decimal(1),) * 5 + (Decimal("0.35"),) * 2


@dataclass(frozen=True)
class GroupSeries:
    """The daily curve of one resource group: a base, a weekday pattern and growth, split over services.

    `per_day` is what the first day costs with a weekday factor of 1; `growth_per_day` of 0.01 is 1 % more each
    day; `services` maps a service to its share (the shares should add up to 1); factors start on Monday.
    """

    subscription: str
    group: str
    per_day: Decimal
    services: Mapping[str, Decimal]
    currency: str = "CAD"
    weekday_factors: Sequence[Decimal] = EVERY_DAY
    growth_per_day: Decimal = Decimal(0)

    def charges(self, first: date, last: date) -> Iterator[Charge]:
        """The charges from the first to the last day, both included, with twelve decimal digits."""
        for day in days_between(first, last):
            spent = self._on(day, (day - first).days)
            for service, share in self.services.items():
                amount = EXACT.multiply(spent, share).quantize(Decimal("1e-12"))
                yield Charge(self.subscription, self.group, service, day, self.currency, amount)

    def _on(self, day: date, number: int) -> Decimal:
        grown = self.per_day * self._growth**number
        return grown * self.weekday_factors[day.weekday()]

    @cached_property
    def _growth(self) -> Decimal:
        return 1 + self.growth_per_day
