"""Rules that allocate what no project owns, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from shared.domain.allocation import Given, InForce, Rule
from shared.domain.periods import Period


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule: what, when, by whom, why. number: from 1 within the rule."""

    number: int
    rule: Rule
    made_at: datetime
    made_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule: its versions, oldest first, and on which days each of them counts."""

    versions: Sequence[RuleVersion]
    in_force: Sequence[InForce]

    @property
    def latest(self) -> Rule:
        """What its last version says."""
        return self.versions[-1].rule


@dataclass(frozen=True, slots=True)
class RuleChange:
    """What a load makes of one rule. before: its last version; None for a new rule. ended: by hand, which is undone."""

    before: Rule | None
    after: Rule
    ended: RuleVersion | None = None


Approval = Callable[[Sequence[RuleChange]], bool]
"""Whether these changes are to be made; may be asked again, and has no effect of its own"""


class AllocationLedger(Protocol):
    """Rules that allocate what no project owns."""

    def load(
        self, rules: Sequence[Rule], made_by: str, reason: str, now: datetime, approval: Approval
    ) -> list[RuleChange]:
        """Makes a new version of each rule that is new, or whose last version says something else; in one transaction.

        What the others say stays. `approval` is asked at its end; where it says no, nothing is written. Who gets a
        share, or got one by the version before, is due for a check. Raises NeverError, in words for a person, where two
        rules would allocate the same on a day, or a rule a group that a project owns.
        """
        ...

    def end(self, name: str, last_day: date, made_by: str, reason: str, now: datetime) -> RuleView | None:
        """Makes the version that ends the rule; as `load` else. None where there is no such rule."""
        ...

    def due_projects(self, names: Sequence[str]) -> list[int]:
        """The active projects that get a share of these rules, or got one by a version before, and are due."""
        ...

    def rules(self) -> list[RuleView]:
        """All rules, by name."""
        ...

    def given(self, days: Period, account: tuple[str, str] | None = None) -> list[Given]:
        """What each rule gave to whom of these days' charges, and its rest.

        account: of the pools of this sub-account only; its provider and id, as they are stored.
        """
        ...
