"""The simulator itself: a loopback server that boto3's clients take for AWS."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from localdev import http
from localdev.aws_sim.book import AwsBook
from localdev.aws_sim.cost_explorer import CostExplorerApi
from localdev.aws_sim.faults import Fault, refuse, spoiled
from localdev.aws_sim.iam import Iam
from localdev.aws_sim.organizations import Organization, OrganizationsApi
from localdev.aws_sim.wire import AwsError, Call, answered, call_of, refused
from localdev.http import Answer, HangUp
from localdev.simulator import FaultList, Simulator

# Of a page of Cost Explorer, in US dollars; nothing else costs anything, and nothing that is refused.
PRICE = Decimal("0.01")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class AwsSimulator(Simulator):
    """Serves a book of charges as AWS would; `with AwsSimulator() as sim:` runs it at `sim.url`.

    now: AWS's own clock. today: the day against which a period is checked (None: it isn't). rows_a_page: of Cost
    Explorer. page_size: of lists. calls: what was asked, the newest last.
    """

    book: AwsBook = field(default_factory=AwsBook)
    now: Callable[[], datetime] = _now
    today: Callable[[], date] | None = None
    rows_a_page: int = 5000
    page_size: int = 20
    port: int = 0
    faults: FaultList[Fault] = field(default_factory=FaultList, init=False)
    organizations: dict[str, Organization] = field(default_factory=dict, init=False)
    calls: list[Call] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.iam = Iam(self.now)
        listed = OrganizationsApi(self.organizations, self.page_size)
        self.costs = CostExplorerApi(self.book, listed, self.rows_a_page, self.today)
        self._apis: Mapping[str, Callable[[Call], Mapping[str, Any]]] = {
            "sts": self.iam.answer,
            "organizations": listed.answer,
            "ce": self.costs.answer,
        }
        self._answered: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._numbers = count(1)

    def fault(self, kind: str, **details: Any) -> None:
        """Puts a fault in force: one of `faults.KINDS`, with the fields of `faults.Fault`."""
        self.faults.add(Fault(kind, **details))

    def add_organization(self, organization: Organization) -> None:
        """A further organization."""
        self.organizations[organization.payer] = organization

    def stats(self) -> dict[str, Any]:
        """How often each operation was asked for, how many pages were paid for, and what they cost."""
        with self._lock:
            asked = Counter(call.operation for call in self.calls)
            pages = self._answered["GetCostAndUsage"]
        return {"calls": dict(asked), "paid_pages": pages, "cost_usd": str(PRICE * pages)}

    def reset(self) -> None:
        """Forgets the statistics and the faults. Charges, identities and organizations stay as they are."""
        with self._lock:
            self.calls.clear()
            self._answered.clear()
        self.faults.clear()

    def respond(self, request: http.Request) -> Answer:
        """Answers one request: to the simulator's own control, or as AWS."""
        if request.path.startswith("/_sim/"):
            return self._as_control(request)
        number, is_sts = next(self._numbers), "X-Amz-Target" not in request.headers
        try:
            return self._as_aws(call_of(request), number)
        except AwsError as error:
            return refused(is_sts, error, number)

    def _as_aws(self, call: Call, number: int) -> Answer:
        with self._lock:
            self.calls.append(call)
        if call.service != "sts":
            self.iam.sign_in(call)
        fault = self.faults.take(lambda fault: fault.is_meant(call))
        if fault is not None:
            if fault.kind == "silent":
                raise HangUp
            if fault.kind == "slow":
                self.wait(fault.seconds or 0.0)
            refuse(fault, call)
        answer = answered(call, self._apis[call.service](call), number)
        with self._lock:
            self._answered[call.operation] += 1
        return spoiled(fault, answer) if fault else answer

    def _as_control(self, request: http.Request) -> Answer:
        """`GET /_sim/stats`, `POST /_sim/reset`: for `curl`, and for other processes."""
        if request.path == "/_sim/reset":
            self.reset()
        return Answer(200, json.dumps(self.stats()).encode(), [("Content-Type", "application/json")])
