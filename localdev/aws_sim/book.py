"""What AWS accounts spend."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from threading import Lock


@dataclass(frozen=True, slots=True)
class AwsCharge:
    """What an account spent on one day. amortized: the amortized cost where it is another one."""

    account: str
    service: str
    day: date
    amount: Decimal
    unit: str = "USD"
    usage_type: str = "Usage"
    record_type: str = "Usage"
    amortized: Decimal | None = None

    def cost(self, metric: str) -> Decimal:
        """By one of Cost Explorer's metrics."""
        return self.amount if self.amortized is None or metric != "AmortizedCost" else self.amortized


class AwsBook:
    """All charges, by account and day. Safe to change while it is asked."""

    def __init__(self, charges: Iterable[AwsCharge] = ()) -> None:
        self._lock = Lock()
        self._charges: defaultdict[tuple[str, date], list[AwsCharge]] = defaultdict(list)
        self.version = 0
        self.add(charges)

    def add(self, charges: Iterable[AwsCharge]) -> None:
        """More charges."""
        with self._lock:
            for charge in charges:
                self._charges[charge.account, charge.day].append(charge)
            self.version += 1

    def clear(self) -> None:
        """No charges at all."""
        with self._lock:
            self._charges.clear()
            self.version += 1

    def on(self, account: str, day: date) -> list[AwsCharge]:
        """The charges of an account on a day."""
        with self._lock:
            return list(self._charges.get((account, day), ()))
