"""What the operators are told: each thing once, by the key of its mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from shared.domain.coverage import months_in_words
from shared.domain.periods import Period
from shared.domain.texts import digest, named
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.dead_letters import DeadLetter
from shared.ports.mails import NewMail, Topic

NOTICE = "notice"
LINES_IN_NOTICE = 30
TELLS = "tells"


def at_most(lines: list[str]) -> list[str]:
    """As many lines as a person reads, and how many more there are."""
    if len(lines) <= LINES_IN_NOTICE:
        return lines
    return [*lines[:LINES_IN_NOTICE], f"… and {len(lines) - LINES_IN_NOTICE} more"]


def concerning(subject: str, acronyms: Sequence[str]) -> str:
    """What something is about, with the projects that it concerns."""
    return f"{subject} ({named(acronyms)})" if acronyms else subject


def failure_id(failure: tuple[str, str]) -> str:
    """What tells a failure, as (subject, reason), apart from others."""
    return digest(*failure)


def untold(failures: Sequence[tuple[str, str]], mails: Sequence[NewMail], run_key: str) -> Sequence[tuple[str, str]]:
    """Those failures of a run that no mail has told yet, or that one of its own mails tells, all of them.

    The second are of a run that is looked at again: its mail may have been written, and not be on its way.
    """
    told = [(each.run_key, set(each.context.get(TELLS, ()))) for each in mails]
    by_others = {each for run, ids in told if run != run_key for each in ids}
    left = [each for each in failures if failure_id(each) not in by_others]
    own = [ids for run, ids in told if run == run_key]
    if {failure_id(each) for each in left} in own:
        return left
    return [each for each in left if not any(failure_id(each) in ids for ids in own)]


@dataclass(frozen=True, slots=True)
class Operators:
    """Makes the mails to the operators; without addresses the mails fail, and are seen in `status`."""

    addresses: tuple[str, ...]

    def notice(
        self,
        topic: Topic,
        key: str,
        subject: str,
        intro: str,
        lines: Sequence[str] = (),
        advice: str | None = None,
        run_key: str | None = None,
    ) -> NewMail:
        """A mail of a few plain sentences."""
        context = {"subject": subject, "intro": intro, "lines": list(lines), "advice": advice}
        return NewMail(
            f"operators/{key}", template=NOTICE, to=self.addresses, context=context, topic=topic, run_key=run_key
        )

    def costs_failed(self, failures: Sequence[tuple[str, str]], today: date, run_key: str) -> NewMail:
        """What a run could not read, as (subject, reason), in one mail; of the same failures there is one a day."""
        lines = [f"{subject}: {reason}" for subject, reason in failures]
        first, more = failures[0][0], len(failures) - 1
        mail = self.notice(
            Topic.COSTS_FAILED,
            f"costs/{today}/{digest(*lines)}",
            f"Costs could not be read: {first}{f' and {more} more' if more else ''}",
            f"Budget Warden could not read all costs in the run {run_key}.",
            at_most(lines),
            "The next night tries again; until then these projects are watched with the costs known so far. "
            "`python -m shared.cli projects list` says of every project what its figures lack.",
            run_key,
        )
        return replace(mail, context={**mail.context, TELLS: sorted(map(failure_id, failures))})

    def keys_open_nothing(self, faults: Sequence[str], today: date) -> NewMail:
        """Sealed credentials don't open; told once a day."""
        return self.notice(
            Topic.COSTS_FAILED,
            f"keys/{today}/{digest(*faults)}",
            "Access keys of cloud accounts can't be opened",
            "A night begins, and what signs in at a provider does not open. Those cloud accounts are not read until it "
            "does; the others are.",
            at_most(list(faults)),
            "`python -m shared.cli check` says the same, and when it is mended.",
        )

    def no_costs(self, subject: str, acronyms: Sequence[str], reason: str, passes: bool) -> NewMail:
        """The provider has no costs of this, and nobody here has to do anything: told once."""
        whose = concerning(subject, acronyms)
        return self.notice(
            Topic.COSTS_FAILED,
            f"no-costs/{'yet' if passes else 'ever'}/{subject}",
            f"There are no costs of {whose}",
            f"The costs of {whose} can't be read, and its projects' figures lack them. This is told once.",
            [reason],
            "Each night tries again. `python -m shared.cli cloud-accounts list` shows how it stands.",
        )

    def rows_set_aside(
        self, subject: str, odd: Sequence[tuple[str, Sequence[str]]], today: date, run_key: str
    ) -> NewMail:
        """Rows that can't be charges, with who owns their groups; told once a day and subject."""
        owners = sorted({acronym for _, acronyms in odd for acronym in acronyms})
        return self.notice(
            Topic.COSTS_FAILED,
            f"set-aside/{today}/{digest(subject)}",
            f"Costs were left out: {concerning(subject, owners)}",
            f"Some rows of the costs of {subject} can't be right, and are left out. A project that owns their group is "
            "named, and its figure lacks them and says so; else the unallocated spend does. Of each group the first:",
            at_most([concerning(*each) for each in odd]),
            "The next night asks for them again. Where it goes on, ask the provider's support.",
            run_key,
        )

    def charges_gone(
        self, subject: str, acronyms: Sequence[str], gone: Sequence[tuple[Period, str]], today: date, run_key: str
    ) -> NewMail:
        """Charges that were stored were taken for gone, since the provider stays with it; told once a day and subject.

        gone: the days, and what was said of them.
        """
        whose = concerning(subject, acronyms)
        return self.notice(
            Topic.COSTS_FAILED,
            f"gone/{today}/{digest(subject)}",
            f"Costs that were there are gone: {whose}",
            f"The costs of {whose} came without what was stored of them for the third night "
            "in a row. That is believed now: the figures no longer have them.",
            at_most([f"{months_in_words([days])} {doubt}" for days, doubt in gone]),
            "If that is not right, ask the provider's support. What comes again is read for some weeks by itself, and "
            "later with `python -m shared.cli run --since`.",
            run_key,
        )

    def charges_forgotten(
        self, subject: str, acronyms: Sequence[str], days: Period, today: date, run_key: str
    ) -> NewMail:
        """The provider no longer has what was read of months that are over; told once a calendar month and subject."""
        month, whose = months_in_words([days]), concerning(subject, acronyms)
        return self.notice(
            Topic.COSTS_FAILED,
            f"forgotten/{today:%Y-%m}/{digest(subject)}",
            f"The provider no longer has costs that were final: {whose}",
            f"The costs of {whose} of {month}, and perhaps of other months, were read when "
            "they were final, and now come to nothing, or next to it. A change of offer or of billing account does "
            "that. What is stored stays.",
            advice="If they are truly gone, have them read again: what comes so on three nights in a row is taken "
            f"(`python -m shared.cli run --since {days.start}`).",
            run_key=run_key,
        )

    def falls_behind(self, payer: CloudAccount, calls_a_day: int, run_key: str) -> NewMail:
        """A payer's paid calls do not reach all of its days within a week; told once for each limit."""
        name = f"cloud account {payer.id} ({payer.name})"
        return self.notice(
            Topic.COSTS_FAILED,
            f"falls-behind/{payer.id}/{calls_a_day}",
            f"Costs fall behind: {name}",
            f"For a week of nights, the {calls_a_day} paid calls a day that {name} may make did not reach all the days "
            "that were due. The newest days come first; figures that lack others say so.",
            advice="Raise AWS_CALLS_PER_DAY: each further call costs what the provider asks for it "
            f"(`python -m shared.cli cloud-accounts show {payer.id}` shows how many were made).",
            run_key=run_key,
        )

    def message_poisoned(self, queue: str, acronyms: Sequence[str], today: date) -> NewMail:
        """A message failed again and again; told once a day, whichever message is the first."""
        return self.notice(
            Topic.DEAD_LETTERS,
            f"poison/{today}",
            "A message failed for good",
            f"A message of the queue {concerning(queue, acronyms)} failed again and again, for a reason that nobody "
            "foresaw. There may be more: this is told once a day.",
            advice="See them with `python -m shared.cli dead-letters list`, and the reason in the app's logs. Once the "
            "cause is mended, send them again with `python -m shared.cli dead-letters replay --all`.",
        )

    def left_over(self, queues: Sequence[str], today: date) -> NewMail:
        """Messages that failed for good, and that nobody gets hold of; told once a day."""
        return self.notice(
            Topic.DEAD_LETTERS,
            f"left-over/{today}",
            "Messages that can't be read",
            f"There are messages on {named([f'{queue}-poison' for queue in queues])} that the Functions host does not "
            "hand to the app. The watchdog looks for them each time, and keeps as a dead letter what it meets; after "
            "seven days they are gone.",
            advice="A member InsertionTime or DequeueCount is a common cause: whoever sends such messages has to leave "
            "it out.",
        )

    def new_dead_letters(self, letters: Sequence[tuple[DeadLetter, Sequence[str]]], today: date) -> NewMail:
        """Messages that failed for good since the last such mail, each with its projects' acronyms; one a day."""
        lines = [f"{concerning(f'{each.id}, {each.queue}', acronyms)}: {each.reason}" for each, acronyms in letters]
        count = "1 message" if len(letters) == 1 else f"{len(letters)} messages"
        return self.notice(
            Topic.DEAD_LETTERS,
            f"dead-letters/{today}",
            f"{count} failed for good",
            f"{count} could not be worked on, and wait as dead letters. This is told once a day.",
            at_most(lines),
            "See them with `python -m shared.cli dead-letters list`. Once the cause is mended, "
            "`dead-letters replay ID…` sends them again; `dead-letters discard ID…` puts them aside.",
        )

    def no_night(self, missed: datetime, last: datetime | None) -> NewMail:
        """No run began when the schedule has one; told once a day. last: the night that began last, if there is one."""
        before = f"The last one began on {last:%Y-%m-%d at %H:%M} UTC" if last else "There has been none yet"
        return self.notice(
            Topic.NO_NIGHT,
            f"no-night/{missed:%Y-%m-%d}",
            "There was no run last night",
            f"A nightly run should have begun on {missed:%Y-%m-%d at %H:%M} UTC, and none has. {before}: "
            "nobody's costs are read.",
            advice="See in the app's logs why ProjectUsageScheduler failed. "
            "`python -m shared.cli run` reads all costs now.",
        )

    def mail_failed(self, mail_id: int, about: str, reason: str, today: date) -> NewMail:
        """A mail could not be sent for good; told once a day, whichever mail is the first."""
        return self.notice(
            Topic.MAILS_FAILED,
            f"mail/{today}",
            "Mails could not be sent",
            f"Mail {mail_id} ({about}) could not be sent. There may be more: this is told once a day.",
            [reason],
            "See them with `python -m shared.cli mails list --unsent`; once the cause is mended, "
            "send them with `python -m shared.cli mails resend ID`.",
        )
