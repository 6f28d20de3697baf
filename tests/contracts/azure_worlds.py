"""Azure's resource groups with their locks and machines: as the simulator plays them to the real SDKs, and faked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.compute import ArmCompute
from shared.adapters.azure.locks import ArmLocks
from shared.ports.azure import AzureCompute, AzureLocks, GroupLock, LockLevel, MachineKind, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.fake_azure import Fails, FakeCompute, FakeLocks

SUBSCRIPTION, OTHER = "6f1c0d5e-0000-4000-8000-00000000000a", "6f1c0d5e-0000-4000-8000-00000000000b"
GROUP = ResourceGroup(SUBSCRIPTION, "rg-Web")
# Our word for what may pass, the wait that it names in seconds, and the simulator's fault.
PASSING: dict[str, tuple[int | None, str, dict]] = {
    "asks to wait 7 s": (7, "arm_throttled", {"seconds": 7}),
    "asks to wait 90 s": (90, "throttled_many", {"seconds": 90}),
    "asks to wait": (None, "arm_throttled", {"headers": {"x-nothing": "1"}}),
    "unwell": (None, "server_error", {}),
    "unwell for 45 s": (45, "unavailable", {"seconds": 45}),
    "behind is slow": (None, "gateway_timeout", {}),
    "busy with it": (None, "conflict", {}),
    "silent": (None, "silent", {}),
}
LASTING = {"no login": "unauthorized", "no permission": "forbidden"}


class SimulatedWorld:
    """The simulator, and the adapters that are meant for Azure."""

    def __init__(self, simulator: AzureSimulator) -> None:
        self.simulator = simulator
        self.real_locks = ArmLocks(ArmClient(simulator.url))
        self.real_compute = ArmCompute(ArmClient(simulator.url))
        self.locks: AzureLocks = self.real_locks
        self.compute: AzureCompute = self.real_compute
        self.add_group(GROUP)

    def add_group(self, group: ResourceGroup) -> None:
        self.simulator.groups.add(group.subscription_id, group.name)

    def remove_group(self, group: ResourceGroup) -> None:
        self.simulator.groups.remove(group.subscription_id, group.name)

    def add_lock(self, lock: GroupLock, group: ResourceGroup = GROUP) -> None:
        """As somebody else would."""
        self.simulator.add_lock(group.subscription_id, group.name, lock.name, lock.level.value, lock.notes)

    def add_machine(
        self, name: str, kind: MachineKind = MachineKind.VM, state: str = "running", group: ResourceGroup = GROUP
    ) -> None:
        theirs = "vm" if kind is MachineKind.VM else "scale set"
        self.simulator.machines.add(group.subscription_id, group.name, name, kind=theirs).state = state

    def takes_its_time(self) -> None:
        """A deallocation is not over at the first look."""
        # To find out a scale set's state takes two of the simulator's looks: the list, and its instances.
        self.simulator.machines.deallocate_polls = 2

    def is_in_trouble(self, kind: str) -> None:
        """The next request goes wrong in this way."""
        fault, details = (LASTING[kind], {}) if kind in LASTING else PASSING[kind][1:]
        self.simulator.fault(fault, **details)


class FakeWorld:
    """The fakes that the pipeline's tests use."""

    def __init__(self) -> None:
        self.fake_locks = FakeLocks()
        self.fake_compute = FakeCompute(self.fake_locks)
        self.locks: AzureLocks = self.fake_locks
        self.compute: AzureCompute = self.fake_compute
        self.add_group(GROUP)

    def add_group(self, group: ResourceGroup) -> None:
        self.fake_locks.add_group(group)

    def remove_group(self, group: ResourceGroup) -> None:
        self.fake_locks.remove_group(group)

    def add_lock(self, lock: GroupLock, group: ResourceGroup = GROUP) -> None:
        """As somebody else would."""
        self.fake_locks.put(group, lock)

    def add_machine(
        self, name: str, kind: MachineKind = MachineKind.VM, state: str = "running", group: ResourceGroup = GROUP
    ) -> None:
        self.fake_compute.add(group, name, kind, state)

    def takes_its_time(self) -> None:
        """A deallocation is not over at the first look."""
        self.fake_compute.looks = 1

    def is_in_trouble(self, kind: str) -> None:
        """The next call goes wrong in this way."""
        self.fake_locks.fails = self.fake_compute.fails = _once(_error(kind))


World = SimulatedWorld | FakeWorld


@contextmanager
def worlds(kind: str) -> Iterator[World]:
    """The world of that kind: `azure`, `azure, in small pages` or `fake`."""
    if kind == "fake":
        yield FakeWorld()
        return
    with AzureSimulator(ChargeBook(), page_size=2 if "pages" in kind else 100) as simulator:
        world = SimulatedWorld(simulator)
        yield world
        world.real_locks.arm.close()
        world.real_compute.arm.close()


KINDS = ["azure", "azure, in small pages", "fake"]


def a_lock(name: str = "warden-die1", level: LockLevel = LockLevel.READ_ONLY, notes: str = "") -> GroupLock:
    return GroupLock(name, level, notes)


def _error(kind: str) -> Exception:
    if kind in LASTING:
        return NeverError(f"{kind} on {GROUP.name}.")
    seconds = PASSING[kind][0]
    return LaterError(kind, None if seconds is None else timedelta(seconds=seconds))


def _once(error: Exception) -> Fails:
    left = [error]

    def fails(_call: str, _group: ResourceGroup) -> Exception | None:
        return left.pop() if left else None

    return fails
