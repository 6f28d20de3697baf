"""What people are told about locks: the project's contacts, and the operators. Each mail once, by its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.domain.locks import FULL, goes_by_figures
from shared.domain.money import plain
from shared.domain.projects import LockPolicy, Project
from shared.domain.texts import digest, fitting, in_shell, units
from shared.messages import LockAction
from shared.pipeline.locking.groups import lock_name
from shared.pipeline.locking.request import Request
from shared.pipeline.mail_context import (
    converted_context,
    missing_context,
    portal_link,
    project_context,
    unreached_context,
)
from shared.pipeline.operators import Operators, at_most
from shared.ports.azure import LockLevel
from shared.ports.locks import AuditView
from shared.ports.mails import NewMail, Topic

LOCK_TEMPLATE, NOT_LOCKED = "lock", "not locked"
# A check asks for the lock as it writes the mail on 100 %, which says so. What comes later is told by itself.
TOLD_WITH_THE_ALERT = timedelta(hours=6)
# Azure's limit for a lock's note.
LONGEST_NOTE = 512


@dataclass(frozen=True, slots=True)
class LockMails:
    """bcc: who gets a blind copy of what contacts get. portal_url: a link with {acronym}, or empty.

    contact: whom to ask, as a text; the first of the operators, if empty.
    """

    operators: Operators
    bcc: tuple[str, ...]
    portal_url: str
    level: LockLevel
    contact: str = ""

    def note(self, request: Request, reason: str) -> str:
        """What the lock in Azure says of itself: why, when and whom to ask, within Azure's 512 characters."""
        acronym, asked = request.project.acronym, request.message.reason if request.ordered else ""
        link = self.portal_url.replace("{acronym}", acronym)
        ask = self.contact or next(iter(self.operators.addresses), "your platform team")
        ending = f". Ask {ask}{f' or see {link}' if link else ''} to have it taken off."
        beginning = f"Budget Warden locked project {acronym} on {request.now:%Y-%m-%d at %H:%M} UTC: {reason}"
        said = f"{beginning}: {asked}" if asked else beginning
        ending = fitting(ending, LONGEST_NOTE, "")
        return fitting(said, LONGEST_NOTE - units(ending), "") + ending

    def is_told(self, request: Request) -> bool:
        """Whether the contacts have read of this lock in the mail on the 100 % that they have reached."""
        told_at = request.facts.told_at
        if request.ordered or request.facts.told_otherwise or told_at is None:
            return False
        return request.now - told_at < TOLD_WITH_THE_ALERT

    def not_locked(self, request: Request, stopped: bool) -> NewMail:
        """To the contacts, once for a budget and period: their project could not be locked, as they had been told."""
        mail = self.to_contacts(request, stopped)
        context = {**mail.context, "what": NOT_LOCKED}
        return replace(mail, key=f"lock/not-locked/{request.this_budget}", context=context, threshold=FULL)

    def to_contacts(self, request: Request, stopped: bool, left_open: Sequence[str] = ()) -> NewMail:
        """To the contacts: their project is locked now, or open again.

        stopped: machines were, for this lock. left_open: the resource groups that could not be locked.
        """
        facts, project, what = request.facts, request.project, f"{request.doing}ed"
        amount, spent = facts.budget.amount, request.highest_known
        # What Azure shows holds no opening balance, and lacks nothing that we know of.
        is_ours = spent == facts.usage
        opening = facts.budget.terms.opening_in(facts.period) if is_ours else None
        context: dict[str, Any] = {
            **project_context(project),
            "what": what,
            "by_hand": request.is_by_order,
            "unwatched": not goes_by_figures(request.known),
            "level": self.level.value,
            "stopped": stopped,
            "left_open": list(left_open),
            "unreached": unreached_context(facts.unreached),
            "spent": None if spent is None else plain(spent),
            "opening_balance": plain(opening) if opening else None,
            "missing": missing_context(facts.gaps if is_ours else ()),
            **(converted_context(facts.converted) if is_ours else {}),
            "amount": None if amount is None else plain(amount),
            "currency": facts.budget.terms.currency or None,
            "period_start": facts.period.start.isoformat() if facts.period else None,
            "period_end": facts.period.end.isoformat() if facts.period else None,
            # What is set as the contact is named at the mail's end, in whatever language it is.
            "ask": None if self.contact else next(iter(self.operators.addresses), None),
            "portal_link": portal_link(self.portal_url, project),
        }
        return NewMail(
            key=f"lock/{what}/{request.origin}",
            template=LOCK_TEMPLATE,
            to=project.contacts,
            bcc=self.bcc,
            context=context,
            topic=Topic.LOCK,
            language=project.language,
            project_id=project.id,
            budget_number=facts.budget.number,
            period_start=request.period_start,
            threshold=FULL if request.doing is LockAction.LOCK and not request.is_by_order else None,
            run_key=request.message.envelope.run_id,
        )

    # --- to the operators ---

    def refused(self, request: Request, key: str, reason: str) -> NewMail:
        """A lock was asked for, and not put on."""
        project, asked = request.project, request.message.reason
        intro = f"A lock was asked for project {_named(project)}, and it was not locked: {reason}."
        lines = [f"It was asked for because: {asked}"] if asked else []
        advice = f"To lock it anyway: {_command('lock', project)}."
        if project.lock is LockPolicy.NEVER:
            advice = (
                "If it is to be locked: write auto into the column lock of its line in the projects file, and load it."
            )
        return self._notice(request, key, "was not locked", intro, lines, advice)

    def would_lock(self, request: Request, key: str, reason: str, lines: Sequence[str]) -> NewMail:
        """What would have been done, were it not for LOCK_MODE dry-run."""
        mode = "LOCK_MODE is dry-run, so that nothing was done. What would be:"
        intro = f"Project {_named(request.project)} would be locked now: {reason}. {mode}"
        if unreached := unreached_context(request.facts.unreached):
            lines = [*lines, f"nothing in {', '.join(unreached)}, which no lock reaches"]
        advice = (
            "Nothing, if that would be right. If not: give it a larger budget, or write never into the column lock of "
            "its line in the projects file."
        )
        return self._notice(request, key, "would be locked now", intro, lines, advice)

    def would_unlock(self, request: Request, key: str, reason: str) -> NewMail:
        """A lock would come off, were it not for LOCK_MODE dry-run."""
        mode = "LOCK_MODE is dry-run, so that it was left on."
        intro = f"The lock on project {_named(request.project)} would be taken off now: {reason}. {mode}"
        advice = f"To take it off: {_command('unlock', request.project)}."
        return self._notice(request, key, "would be unlocked now", intro, [], advice)

    def would_leave(self, request: Request, key: str, groups: Sequence[str]) -> NewMail:
        """A lock would come off groups that are the project's no more, were it not for LOCK_MODE dry-run."""
        intro = (
            f"The lock of project {_named(request.project)} would be taken off these resource groups now, which are "
            "not to be locked with it any more: another project has them, or LOCK_NEVER names them. LOCK_MODE is "
            "dry-run, so that it was left on:"
        )
        advice = (
            f"To take it off, and off the rest of the project: {_command('unlock', request.project)}. To take it off "
            f"one of them only, delete the lock {lock_name(request.project.id)} there, in Azure."
        )
        return self._notice(request, key, "would be unlocked now in part", intro, groups, advice)

    def failed(self, request: Request, key: str, lines: Sequence[str]) -> NewMail:
        """Not all could be locked (or unlocked)."""
        project, action = request.project, request.doing
        intro = f"Project {_named(project)} could not be {action}ed, or not all of it:"
        see = f"See `python -m shared.cli audit {in_shell(project.acronym)}`. The next night tries again"
        advice = f"{see}; once the cause is mended, {_command(action, project)} does it now."
        return self._notice(request, key, f"could not be {action}ed", intro, lines, advice)

    def left_running(self, request: Request, key: str, lines: Sequence[str]) -> NewMail:
        """All is locked, and machines in it go on costing money."""
        project = request.project
        intro = f"Project {_named(project)} is locked, and not all of its machines could be stopped before:"
        advice = (
            f"To stop or delete one, take the lock {lock_name(project.id)} off its resource group in Azure, and see to "
            "the machine: the next night puts the lock back, or at once "
            f"`python -m shared.cli run --project {in_shell(project.acronym)}`."
        )
        return self._notice(request, key, "is locked, and machines go on running", intro, lines, advice)

    def locked_again(self, request: Request, key: str, groups: Sequence[str]) -> NewMail:
        """Someone had taken the lock off in Azure."""
        intro = f"The lock of project {_named(request.project)} was gone from these resource groups, and is back:"
        advice = f"To take it off for good: {_command('unlock', request.project)}."
        return self._notice(request, key, "was locked again", intro, groups, advice)

    def locked_unsure(self, request: Request, key: str, reason: str) -> NewMail:
        """A project was locked though nobody knew what it had spent."""
        intro = f"Project {_named(request.project)} was locked, and nobody knows whether it should be: {reason}."
        advice = (
            "The lock comes off with the first complete figure below 100 %. To take it off now: "
            f"{_command('unlock', request.project)}."
        )
        return self._notice(request, f"unsure/{key}", "was locked without a figure", intro, [], advice)

    def opened(self, request: Request, key: str, reason: str) -> NewMail:
        """A lock came off, and nobody watches over the project's money any more."""
        intro = f"The lock of project {_named(request.project)} was taken off: {reason}."
        advice = f"To lock it all the same: {_command('lock', request.project)}."
        return self._notice(request, f"opened/{key}", "was unlocked", intro, [], advice)

    def stopped_in_vain(self, request: Request, stops: Sequence[AuditView], machines: Sequence[str]) -> NewMail:
        """Machines were stopped for a lock that did not come. stops: what was written down about that."""
        intro = (
            f"Machines of project {_named(request.project)} were stopped before a lock that is not put on after all. "
            "They are not started again by themselves:"
        )
        advice = f"See `python -m shared.cli audit {in_shell(request.project.acronym)}`."
        key = f"in-vain/{digest(*(view.entry.key for view in stops))}"
        return self._notice(request, key, "is not locked, and machines were stopped", intro, machines, advice)

    def _notice(self, request: Request, key: str, what: str, intro: str, lines: Sequence[str], advice: str) -> NewMail:
        subject = f"{request.project.acronym} {what}"
        notice = self.operators.notice(Topic.LOCK, f"lock/{key}", subject, intro, at_most(list(lines)), advice)
        number, start = request.facts.budget.number, request.period_start
        return replace(notice, project_id=request.project.id, budget_number=number, period_start=start)


def _command(action: str, project: Project) -> str:
    return f'`python -m shared.cli projects {action} {in_shell(project.acronym)} --reason "…"`'


def _named(project: Project) -> str:
    return f"{project.acronym} ({project.name})"
