"""What operators are told of cost exports: each thing once, or once a day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.coverage import months_in_words
from shared.domain.exports.runs import Export
from shared.domain.texts import digest, in_shell
from shared.pipeline.exports.places import Place
from shared.pipeline.operators import Operators, at_most
from shared.pipeline.stage import Outgoing, mails_out
from shared.ports.blobs import ListedBlob
from shared.ports.clock import Clock
from shared.ports.export_runs import NewRun, RunRecord
from shared.ports.mails import MailLedger, NewMail, Topic

HISTORY = "`python -m shared.cli exports list` shows what became of each run."


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Files that no manifest names. key: the same for all whose newest is of one week, also where it is forgotten what
    was told: some programs write one each day.
    """

    container: str
    names: tuple[str, ...]
    key: str

    @staticmethod
    def of(place: Place, files: Collection[ListedBlob]) -> Unnamed:
        """Those that lie in a place."""
        newest = max(each.modified_at for each in files)
        names = tuple(sorted(each.name for each in files))
        return Unnamed(place.container, names, f"export-unnamed/{newest:%G-W%V}/{digest(place.at)}")


@dataclass(frozen=True, slots=True)
class Telling:
    """Each method returns what sends the mail: nothing where it was made, and sent, before."""

    mails: MailLedger
    operators: Operators
    clock: Clock

    def failed(self, record: RunRecord) -> list[Outgoing]:
        """A run can't be imported; once an export and day on which one failed."""
        return self._tell(self._failure(record))

    def has_told(self, record: RunRecord) -> bool:
        """Whether that was told, of this run or of another of its export and day."""
        return self.mails.find(self._failure(record).key) is not None

    def _failure(self, record: RunRecord) -> NewMail:
        export, place, changed = record.run.export, record.run.place, record.changes.days
        stored, advice = "What is stored stays as it was.", ""
        if changed:
            stored = f"Some of its charges were stored before that, and count ({months_in_words([changed])})."
            advice = f" Read again, this one is stored whole: `python -m shared.cli exports import {in_shell(place)}`."
        day = (record.finished_at or self.clock()).date()
        # Any program may have a manifest: those that are none of an export are told together.
        whose = export.key if record.run.run_id else record.run.place.partition("/")[0]
        return self.operators.notice(
            Topic.COSTS_FAILED,
            f"export-failed/{day}/{digest(whose)}",
            f"A cost export can't be imported: {export.name}",
            f"A run of the export {export.name} ({place}) can't be imported. {stored} There may be more: this is "
            "told once a day.",
            [record.reason or ""],
            f"{HISTORY} The next run of the export is imported by itself.{advice}",
        )

    def unread(self, found: Sequence[NewRun]) -> list[Outgoing]:
        """Manifests that can't be read; each content once."""
        if not found:
            return []
        first, more = found[0], len(found) - 1
        return self._tell(
            self.operators.notice(
                Topic.COSTS_FAILED,
                f"export-unread/{digest(*sorted(each.run.place + each.run.content for each in found))}",
                f"A manifest can't be read: {first.run.export.name}{f' and {more} more' if more else ''}",
                "What these manifests list is not imported. It is told once.",
                at_most([f"{each.run.place}: {each.unread[1]}" for each in found if each.unread]),
                "Once one can be read, or another is in its place, that is imported by itself, within the hour.",
            )
        )

    def refused(self, container: str, reason: str) -> list[Outgoing]:
        """A container can't be read; once a day."""
        return self._tell(
            self.operators.notice(
                Topic.COSTS_FAILED,
                f"export-refused/{self.clock().date()}/{digest(container)}",
                f"Cost exports can't be read: {container}",
                f"The cost exports in the container {container} can't be read.",
                [reason],
                "Once that is mended they are imported by themselves, within the hour; what was begun, within the day.",
            )
        )

    def known(self, export: Export, reasons: Sequence[str]) -> list[Outgoing]:
        """A run is not used, or not all of it, or something changed that a person should know; the same once."""
        if not reasons:
            return []
        return self._tell(
            self.operators.notice(
                Topic.OTHER,
                f"export-told/{digest(export.key, *reasons)}",
                f"About the cost export {export.name}",
                f"Of what the export {export.name} delivers, this is to be known. It is told once.",
                at_most(list(reasons)),
                HISTORY,
            )
        )

    def unnamed(self, found: Unnamed) -> list[Outgoing]:
        """Files that no manifest names."""
        container = found.container
        command = f"python -m shared.cli exports import {in_shell(f'{container}/{found.names[0]}')}"
        return self._tell(
            self.operators.notice(
                Topic.OTHER,
                found.key,
                f"Files that no manifest names: {container}",
                f"In the container {container} there are files that no manifest names. They are left alone, and told "
                "once; others that come are told once a week.",
                at_most(list(found.names)),
                f"If they are cost exports, import them: `{command}`.",
            )
        )

    def silent(self, exports: Sequence[tuple[Export, datetime]]) -> list[Outgoing]:
        """Exports without a new run that has all its parts, and since when; each silence once."""
        return [
            each
            for export, last in exports
            for each in self._tell(
                self.operators.notice(
                    Topic.COSTS_FAILED,
                    f"export-silent/{digest(export.key)}/{last:%Y-%m-%d}",
                    f"No new run of the cost export {export.name}",
                    f"Since {last:%Y-%m-%d} no run of the export {export.name} was found that has all its parts. What "
                    "it feeds is watched with the costs known so far.",
                    [export.id],
                    "See at the provider whether it still runs, and whether it writes where Budget Warden looks "
                    "(`python -m shared.cli cloud-accounts list`); `exports list --state waiting` says which parts are "
                    "not there.",
                )
            )
        ]

    def stateless(self, container: str, reason: str) -> list[Outgoing]:
        """The scanner can't keep what it has seen; once."""
        return self._tell(
            self.operators.notice(
                Topic.OTHER,
                f"export-state/{digest(container)}",
                "The scanner of cost exports keeps nothing",
                f"What the scanner has seen can't be kept in the container {container}. Each look goes by the "
                "database, which costs more; nothing is lost. This is told once.",
                [reason],
                f"The app's identity needs the role Storage Blob Data Contributor on the container {container}.",
            )
        )

    def _tell(self, mail: NewMail) -> list[Outgoing]:
        if self.mails.find(mail.key) is not None:
            return []
        return mails_out([self.mails.add(mail, self.clock())])
