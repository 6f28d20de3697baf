"""What a load makes of a project, in a line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.cli import output
from shared.cli.project_facts import opening_in_words, rule_in_words
from shared.domain.coverage import day_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.domain.budgets import BudgetTerms
    from shared.domain.projects import Project, ProjectEntry
    from shared.ports.projects import ProjectChange

TEXTS = ("acronym", "name", "owner", "department", "cost_centre")
LANGUAGES = {"en": "English", "fr": "French", None: "both"}


def in_words(change: ProjectChange) -> str:
    """`SANTE budget 3,000 → 1,500 EUR, undoes "avenant 2" of 3 November 2026`."""
    before, after = change.before, change.after
    parts = [_new(after)] if before is None else [*_about(before, after), *_terms(before.terms, after.terms)]
    parts += [f'undoes "{each.reason}" of {day_in_words(each.made_at.date())}' for each in change.undone]
    if change.fills_up:
        by = f" (converted by {change.converted})" if change.converted.sources else ""
        parts.append(f"is then at {output.percent(change.percent)} of it{by}")
    if change.ends_a_day_later:
        parts.append("ends a day later: period_end is the last day now (it was the day after)")
    return f"{(before or after).project.acronym} {', '.join(parts) or 'differs in its spelling or order only'}"


def as_json(change: ProjectChange) -> dict[str, Any]:
    """The same for programs; what becomes different as words."""
    return {
        **output.chosen(change.after.project, "id", "acronym"),
        "new": change.before is None,
        "words": in_words(change),
        **output.chosen(change, "percent_before", "percent", "needs_consent"),
        **output.converted(change.converted),
        "undone": [output.chosen(each, "number", "made_at", "made_by", "reason") for each in change.undone],
    }


def _new(entry: ProjectEntry) -> str:
    return f"is new, budget {output.budget(entry.terms)}, {rule_in_words(entry.terms)}"


def _about(before: ProjectEntry, after: ProjectEntry) -> Iterator[str]:
    """What becomes different of who the project is."""
    one, other = before.project, after.project
    for field in TEXTS:
        yield from _differ(field.replace("_", " "), getattr(one, field) or "none", getattr(other, field) or "none")
    yield from _moved("contacts", one.contacts, other.contacts)
    yield from _differ("language", LANGUAGES[one.language], LANGUAGES[other.language])
    yield from _differ("active", _yes(one), _yes(other))
    yield from _differ("lock", one.lock, other.lock)
    groups = [
        {key: _group(scope.sub_account_id, scope.resource_group) for key, scope in entry.scopes_by_key.items()}
        for entry in (before, after)
    ]
    yield from _moved(
        "groups",
        [name for key, name in groups[0].items() if key not in groups[1]],
        [name for key, name in groups[1].items() if key not in groups[0]],
    )


def _terms(one: BudgetTerms, other: BudgetTerms) -> Iterator[str]:
    if (one.amount, one.currency) != (other.amount, other.currency):
        in_full = one.currency != other.currency or not other.amount
        yield f"budget {_amount(one, in_full)} → {_amount(other, in_full=True)}"
    yield from _differ("period", rule_in_words(one), rule_in_words(other))
    yield from _differ("rollover", one.rollover, other.rollover)
    yield from _differ("opening balance", opening_in_words(one), opening_in_words(other))


def _amount(terms: BudgetTerms, in_full: bool) -> str:
    if not terms.amount:
        return "none"
    return output.short(terms.amount) + (f" {terms.currency}" if in_full else "")


def _differ(name: str, one: str, other: str) -> Iterator[str]:
    if one != other:
        yield f"{name} {one} → {other}"


def _moved(name: str, one: Iterable[str], other: Iterable[str]) -> Iterator[str]:
    gone, come = ([each for each in these if each not in set(those)] for these, those in ((one, other), (other, one)))
    if gone or come:
        yield f"{name} {' '.join([*(f'−{each}' for each in gone), *(f'+{each}' for each in come)])}"


def _yes(project: Project) -> str:
    return "yes" if project.active else "no"


def _group(account: str, group: str) -> str:
    return f"{group} in {account}" if group else account
