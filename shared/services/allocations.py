"""Rules that allocate what no project owns: a file of them, what they give, and their end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from shared.domain.allocation import DAY, Given, InForce, Pool, Rule, rule_key
from shared.domain.charges import key_of_group
from shared.domain.coverage import Gap
from shared.domain.periods import Period, month_of
from shared.domain.projects import ProjectEntry, acronym_key
from shared.domain.texts import named, shortened
from shared.ports.allocations import AllocationLedger, RuleChange, RuleView
from shared.ports.azure import AZURE
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.errors import NeverError
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.ports.spending import By, Selection, SpendingLedger, Spent
from shared.services.allocation_file import read_rules
from shared.services.checking import ask_for_checks
from shared.services.errors import RequestError
from shared.services.reasons import given_reason
from shared.services.terms import parse_day

# In which currency a pool is charged is seen in its latest charges.
CURRENCIES_SINCE = timedelta(days=100)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """What a file changed, or would change where it was not loaded. unchanged: how many rules said the same before.

    warnings: sentences on what a person may not have meant. acronyms: of all projects, by id. checked: the projects
    that are checked now. unasked: why that could not be asked for; the watchdog does it later.
    """

    loaded: bool
    changes: Sequence[RuleChange]
    unchanged: int
    warnings: Sequence[str]
    acronyms: Mapping[int, str]
    checked: Sequence[int] = ()
    unasked: str | None = None

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to say that it is meant: an end by hand is undone."""
        return any(change.ended for change in self.changes)


@dataclass(frozen=True, slots=True)
class EndedRule:
    """A rule that was ended. acronyms, checked, unasked: as of LoadedRules."""

    view: RuleView
    acronyms: Mapping[int, str]
    checked: Sequence[int]
    unasked: str | None


@dataclass(frozen=True, slots=True)
class RuleDetails:
    """A rule, and what it gave of the charges of some days. entries: of all projects, by id.

    gaps: what these charges lack.
    """

    view: RuleView
    days: Period
    given: Sequence[Given]
    entries: Mapping[int, ProjectEntry]
    gaps: Sequence[Gap]
    converts: bool = False

    @property
    def acronyms(self) -> dict[int, str]:
        """Of all projects, by id."""
        return {number: entry.project.acronym for number, entry in self.entries.items()}

    @property
    def counts(self) -> bool:
        """Whether it counts on any of the days."""
        return any(each.within(self.days) for each in self.view.in_force)

    def note(self, given: Given) -> str:
        """Why a project is not told of what it got, or why that does not count."""
        entry = self.entries.get(given.project_id or 0)
        if entry is None:
            return ""
        terms = entry.terms
        if terms.amount and terms.currency != given.currency and not self.converts:
            return f"does not count: its budget is in {terms.currency}"
        return "" if entry.project.active else "not active"


@dataclass(frozen=True, slots=True)
class AllocationService:
    """converts: whether shares in another currency than a budget's count. Raises LaterError; the database is away."""

    allocations: AllocationLedger
    projects: ProjectLedger
    spending: SpendingLedger
    queues: MessageSender
    clock: Clock
    converts: bool = False

    def load(
        self, content: bytes, made_by: str, reason: str = "", *, agreed: bool = False, dry_run: bool = False
    ) -> LoadedRules:
        """Loads the rules of a file, all or none; those that it does not name stay; asks for checks.

        Raises RequestError;
        ProjectFileError among them, with every fault. agreed: it is loaded though an end by hand is undone by it.
        """
        entries = self.projects.entries()
        ids = {str(entry.project.id): entry.project.id for entry in entries}
        ids |= {acronym_key(entry.project.acronym): entry.project.id for entry in entries}
        rules = [self._as_stored(rule) for rule in read_rules(content, ids, self._is_stored)]
        why, now = given_reason(reason) if reason else "loaded", self.clock()
        loaded = False

        def approval(changes: Sequence[RuleChange]) -> bool:
            nonlocal loaded
            loaded = not dry_run and (agreed or not any(change.ended for change in changes))
            names[:] = [
                Change(Action.ALLOCATION_LOADED, each.after.name, now, reason=why, by=made_by) for each in changes
            ]
            return loaded

        try:
            with noted() as names:
                changes = self.allocations.load(rules, made_by, why, now, approval)
        except NeverError as error:
            raise RequestError(error.reason) from None
        warnings = [each for change in changes for each in self._warnings(change.after, entries)]
        acronyms = {entry.project.id: entry.project.acronym for entry in entries}
        checked, unasked = self._check([change.after.name for change in changes] if loaded else [])
        return LoadedRules(loaded, changes, len(rules) - len(changes), warnings, acronyms, checked, unasked)

    def _is_stored(self, sub_account_id: str) -> bool:
        return any(provider == AZURE for provider, _ in self.spending.stored_sub_accounts(sub_account_id))

    def _as_stored(self, rule: Rule) -> Rule:
        """With its provider spelled as it is in what is stored: only some have names of ours."""
        pool = rule.pool
        spelled = {spent.key[0] for spent in self._unowned(pool, By.SUB_ACCOUNT)}
        same = sorted(each for each in spelled if each.casefold() == pool.provider.casefold())
        return replace(rule, pool=replace(pool, provider=same[0])) if same else rule

    def _unowned(self, pool: Pool, by: By) -> list[Spent]:
        """What no project owns of its sub-account, whichever provider's."""
        today = self.clock().date()
        which = Selection(Period(today - CURRENCIES_SINCE, today + DAY), None, pool.key[1], unallocated=True)
        return self.spending.sums(which, by)

    def _currencies(self, pool: Pool) -> set[str]:
        """Of what no project owns of it, or of its group."""
        by = By.SUB_ACCOUNT if pool.group is None else By.RESOURCE_GROUP
        found = [each for each in self._unowned(pool, by) if each.key[0] == pool.provider]
        return {each.currency for each in found if pool.group is None or key_of_group(each.key[2]) == pool.key[2]}

    def _check(self, rules: Sequence[str]) -> tuple[list[int], str | None]:
        """Asks for the check of whoever these rules, which were changed, may give something."""
        due = self.allocations.due_projects(rules)
        return due, ask_for_checks(self.queues, due)

    def _warnings(self, rule: Rule, entries: Sequence[ProjectEntry]) -> Iterator[str]:
        today = self.clock().date()
        currencies = self._currencies(rule.pool)
        if not currencies:
            yield f"{rule.name}: no costs without a project are stored of {rule.pool.where}"
        sharing = {share.project_id for share in rule.shares}
        getting = [entry for entry in entries if entry.project.id in sharing]
        if closed := [entry.project.acronym for entry in getting if not entry.project.active]:
            yield f"{rule.name}: not active, so nobody is told of what it gets: {named(closed)}"
        others = [
            each for each in getting if currencies and each.terms.amount and each.terms.currency not in currencies
        ]
        if others and not self.converts:
            listed = named([f"{each.project.acronym} ({each.terms.currency})" for each in others])
            yield (
                f"{rule.name}: it allocates {' and '.join(sorted(currencies))}, which does not count for a budget in "
                f"another currency: {listed}"
            )
        if rule.first_day < today:
            yield f"{rule.name}: it counts from {rule.first_day} on, so what has been used since then changes"

    def listed(self) -> list[RuleView]:
        """All rules, by name."""
        return self.allocations.rules()

    def acronyms(self) -> dict[int, str]:
        """The acronyms of all projects, by id."""
        return {entry.project.id: entry.project.acronym for entry in self.projects.entries()}

    def get(self, name: str, month: str = "") -> RuleDetails:
        """The rule of this name, and what it gave in a month (2026-11; by default the present one).

        Raises RequestError.
        """
        view, days = self._view(name), self._month(month)
        given = [each for each in self.allocations.given(days) if rule_key(each.rule) == rule_key(name)]
        provider, sub_account_id, _ = view.latest.pool.key
        which = Selection(days, None, sub_account_id, unallocated=True, provider=provider)
        gaps = self.spending.lacking(which, self.clock().date())
        return RuleDetails(
            view, days, given, {entry.project.id: entry for entry in self.projects.entries()}, gaps, self.converts
        )

    def end(self, name: str, last_day: str, reason: str, made_by: str) -> EndedRule:
        """Ends a rule with this day; what it gave until then stays. Asks for checks. Raises RequestError."""
        why, view = given_reason(reason), self._view(name)
        try:
            last = parse_day(last_day.strip())
        except ValueError as error:
            raise RequestError(str(error)) from None
        if last is None:
            raise RequestError("the last day is empty; write year-month-day, such as 2026-11-30")
        _refuse_end(view, last)
        name, now = view.latest.name, self.clock()
        said = {"last_day": str(last)}
        with noted(Change(Action.ALLOCATION_ENDED, name, now, reason=why, details=said, by=made_by)):
            ended = self.allocations.end(name, last, made_by, why, now)
        return EndedRule(ended or view, self.acronyms(), *self._check([view.latest.name]))

    def _view(self, name: str) -> RuleView:
        views = self.allocations.rules()
        for view in views:
            if rule_key(view.latest.name) == rule_key(name):
                return view
        raise RequestError(f"there is no rule {shortened(name)}; `allocations list` shows them all")

    def _month(self, text: str) -> Period:
        if not text.strip():
            return month_of(self.clock().date())
        try:
            first = parse_day(f"{text.strip()}-01")
        except ValueError:
            first = None
        if first is None:
            raise RequestError(f"'{shortened(text)}' is no month; write year-month, such as 2026-11")
        return month_of(first)


def _refuse_end(view: RuleView, last: date) -> None:
    counting: Sequence[InForce] = view.in_force
    name = view.latest.name
    if not counting:
        raise RequestError(f"{name} counts on no day; there is nothing to end")
    if last < counting[0].first - DAY:
        before = counting[0].first - DAY
        raise RequestError(f"{name} begins on {counting[0].first}; to take all of it back, end it with {before}")
    until = counting[-1].until
    if until is not None and last >= until - DAY:
        again = "load it again with a later last_day" + (" and --yes" if view.latest.is_end else "")
        raise RequestError(f"{name} ends with {until - DAY} already; to prolong it, {again}")


def amounts(given: Sequence[Given]) -> dict[str, Decimal]:
    """What projects got of these, by currency."""
    found: dict[str, Decimal] = {}
    for each in given:
        if each.project_id is not None:
            found[each.currency] = found.get(each.currency, Decimal(0)) + each.amount
    return found
