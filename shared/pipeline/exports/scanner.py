"""CostExportScanner: finds runs of cost exports that are new, and asks for their import."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from shared.domain.exports.runs import RunState, content_of
from shared.domain.texts import digest
from shared.messages import ManifestMessage, PartMessage
from shared.pipeline.events import event
from shared.pipeline.exports.places import Finder, Place, export_accounts, place_holding, places, unreadable
from shared.pipeline.exports.seen import CONTAINER, Seen, SeenBlob, SeenManifest
from shared.pipeline.exports.telling import Telling, Unnamed
from shared.pipeline.stage import Outgoing, outgoing
from shared.ports.azure import AZURE
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, NewRun, RunRecord

# So often the database is asked, whatever lies there: for accounts that came or went, for exports that are silent, and
# for runs of which nobody has heard any more.
ASKS_EVERY = timedelta(hours=20)
# A function that runs for ten minutes is killed. What is not reached is found by the next look.
SCANS_FOR = timedelta(minutes=4)
# What was queued longer ago, and nobody has registered, may be lost.
ON_ITS_WAY = timedelta(hours=2)
# Storage that can't be reached for so long is told as one that refuses us.
AWAY_AFTER = timedelta(days=1)
# A manifest may come after its files.
UNNAMED_AFTER = timedelta(days=1)
SILENT_AFTER = timedelta(days=3)
# What a part may be called, and a manifest may not.
ENDINGS = (".csv", ".csv.gz", ".parquet")
ENDED = frozenset(RunState) - {RunState.WAITING, RunState.IMPORTING}


@dataclass(frozen=True, slots=True)
class Scanner:
    """container: of the cloud account that registers itself, where there is none of exports.

    let_go: of the connections that wait in this process, which would keep the database awake.
    """

    ledger: ExportLedger
    cloud_accounts: CloudAccountLedger
    blobs: BlobStore
    finder: Finder
    seen: SeenBlob
    telling: Telling
    container: str
    let_go: Callable[[], None]
    clock: Clock

    def scan(self, *, asks: bool = False) -> Iterator[Outgoing]:
        """One look: the messages that import what is new. asks: the database in any case.

        Raises LaterError where the database is away; the next look finds the same.
        """
        seen, now = self.seen.read(), self.clock()
        look = Look(seen, now, is_first=seen.looked_at is None)
        try:
            yield from self._look(look, asks)
        finally:
            self.let_go()
        self.seen.write(seen)
        if self.seen.unkept:
            yield from self.telling.stateless(CONTAINER, self.seen.unkept)

    def _look(self, look: Look, asks: bool) -> Iterator[Outgoing]:
        seen = look.seen
        if asks or seen.looked_at is None or not timedelta(0) <= look.now - seen.looked_at < ASKS_EVERY:
            yield from self._ask(look)
        elif seen.has_queued:
            self._ask_again(look)
        for place in [each for each in seen.places if each.is_asked]:
            yield from self._look_at(look, place)
        if seen.staged or seen.has_queued or look.has_asked:
            yield from self._go_on(look)
        seen.has_queued = bool(look.queued) or look.is_on_its_way
        event("exports_scanned", places=sum(each.is_asked for each in seen.places), queued=look.queued)

    # --- what the database knows ---

    def _ask(self, look: Look) -> Iterator[Outgoing]:
        """Where to look, and of what nobody has heard for long."""
        self._ask_where(look)
        look.seen.looked_at, look.has_asked = look.now, True
        if look.is_first:
            # The blob is new, or lost: what is known needs no message.
            look.known = self.ledger.contents(ENDED)
        else:
            self._ask_again(look)
        if not look.again:
            yield from self.telling.silent(self.ledger.silent_exports(look.now - SILENT_AFTER))
        for record in self.ledger.runs(states=[RunState.WAITING]):
            yield from self._wait_on(look, record)

    def _ask_again(self, look: Look) -> None:
        """What was queued, and the history has nothing of: its message was lost, or the database is of an earlier day.

        A copy of a run is never in it: what was queued again is so with waits that double.
        """
        known = self.ledger.contents()
        for at, each in look.seen.manifests.items():
            if each.content in known:
                look.seen.manifests[at] = replace(each, again=0)
            elif each.at < (look.now - _may_be_lost_after(each.again)).timestamp():
                look.again.add(at)
            elif not each.again:
                look.is_on_its_way = True

    def _ask_where(self, look: Look) -> None:
        if not export_accounts(self.cloud_accounts.accounts()):
            self.cloud_accounts.add_exports(AZURE, self.container)
        look.seen.places = tuple(places(self.cloud_accounts.accounts()))
        look.is_fresh = True

    def _wait_on(self, look: Look, record: RunRecord) -> Iterator[Outgoing]:
        """What still waits for its parts is looked at again, in case nobody is on it."""
        container, _, name = record.run.place.partition("/")
        holding = place_holding(look.seen.places, container, name)
        if holding is None:
            self.ledger.fail(record.run, "Its cloud account was removed before all of its parts were there.", look.now)
            return
        if not holding.is_asked:
            return
        try:
            is_there = bool(self.blobs.found(container, [name]))
        except (LaterError, NeverError):
            return  # listing it tells why
        if is_there:
            yield Outgoing(ManifestMessage(record.run.place, record.cloud_account_id))
        else:
            self.ledger.fail(record.run, "Its manifest is gone, and not all of its parts were there before.", look.now)

    def _go_on(self, look: Look) -> Iterator[Outgoing]:
        """A run of which no part was read since the last look may have lost its messages.

        They are sent again once an hour after they were, and then once a day: they may be alive, and only put back.
        """
        importing = [each for each in self.ledger.runs(states=[RunState.IMPORTING]) if each.container]
        staged: dict[int, tuple[int, int]] = {}
        for record in importing:
            before, looks = look.seen.staged.get(record.id, (-1, 0))
            staged[record.id] = (record.staged, looks + 1 if before == record.staged else 0)
            if before == record.staged and (not looks or look.has_asked):
                event("export_stuck", level=logging.WARNING, run=record.id, staged=record.staged)
                yield from outgoing(part_messages(self.ledger, record))
        look.seen.staged = staged

    # --- what lies there ---

    def _look_at(self, look: Look, place: Place) -> Iterator[Outgoing]:
        seen = look.seen
        try:
            listed = {each.name: each for each in self.blobs.listed(place.container, place.folder)}
        except NeverError as error:
            yield from self._refused(look, place, error.reason)
            return
        except LaterError as error:
            event("exports_not_listed", level=logging.WARNING, container=place.container, reason=error.reason)
            since = seen.away.setdefault(place.at, int(self._away_since(look, place).timestamp()))
            if look.now.timestamp() - since >= AWAY_AFTER.total_seconds():
                yield from self._refused(look, place, error.reason)
            return
        seen.away.pop(place.at, None)
        if seen.refused.pop(place.at, None) is not None:
            yield from self._mended(look, place)
        listed = {
            name: each for name, each in listed.items() if place_holding(seen.places, place.container, name) == place
        }
        _forget_gone(seen, place, listed)
        is_complete = yield from self._queue(look, place, listed)
        yield from self._tell_unread(look, place)
        if is_complete:
            yield from self._tell_unnamed(look, place, listed)

    def _away_since(self, look: Look, place: Place) -> datetime:
        """Since when a place can't be reached, that could be until now.

        Mostly what was seen lies in the same storage, and nobody knows: since a day after the last import, then.
        """
        if not self.seen.is_away:
            return look.now
        accounts = (each for each in self.cloud_accounts.accounts() if each.id == place.cloud_account_id)
        last = next((each.last_synced_at for each in accounts if each.last_synced_at), datetime.fromtimestamp(0, UTC))
        return min(last + timedelta(days=1), look.now)

    def _mended(self, look: Look, place: Place) -> Iterator[Outgoing]:
        """It can be read again: what was given up meanwhile is asked for."""
        if not self._is_still(look, place):
            return
        self.cloud_accounts.mark_readable(place.cloud_account_id)
        self._ask_again(look)
        for record in self.ledger.runs(states=[RunState.WAITING]):
            if place.holds(*_apart(record.run.place)):
                yield from self._wait_on(look, record)

    def _is_still(self, look: Look, place: Place) -> bool:
        """Whether its cloud account is there, and enabled: asked before anything is done that outlasts the look."""
        if not look.is_fresh:
            self._ask_where(look)
        return place in look.seen.places

    def _refused(self, look: Look, place: Place, reason: str) -> Iterator[Outgoing]:
        """Once a day, so that the database is opened no more often."""
        told = f"{look.now.date()} {reason}"
        if look.seen.refused.get(place.at) != told:
            if not self._is_still(look, place):
                return
            yield from self.telling.refused(place.container, reason)
            self.cloud_accounts.mark_failed(place.cloud_account_id, reason)
            look.seen.refused[place.at] = told

    def _queue(self, look: Look, place: Place, listed: Mapping[str, ListedBlob]) -> Generator[Outgoing, None, bool]:
        """Asks for what is new: the widest first, which is to feed what several hold; of these the newest, as then what
        an older run says of the same days changes nothing.

        Returns whether it came to the end. A message is sent first, and noted after.
        """
        changed = [each for each in listed.values() if self._is_changed(look, place, each, listed)]
        read: list[tuple[NewRun, ListedBlob]] = []
        look.is_unsure = False
        for manifest in sorted(changed, key=lambda each: (each.modified_at, each.name), reverse=True):
            if self.clock() >= look.now + SCANS_FOR:
                look.is_unsure = True
                break
            if found := self._found(look, place, manifest, listed):
                read.append((found, manifest))
        if read and not self._is_still(look, place):
            return False
        for found, manifest in sorted(read, key=lambda each: -each[0].run.export.width):
            if found.run.content not in look.known:
                yield Outgoing(ManifestMessage(found.run.place, place.cloud_account_id))
                look.queued += 1
            look.seen.manifests[found.run.place] = _as_seen(look, found, manifest, listed)
        return not look.is_unsure

    def _is_changed(self, look: Look, place: Place, each: ListedBlob, listed: Mapping[str, ListedBlob]) -> bool:
        # An empty one is still being written, and says nothing yet.
        is_empty = not each.blob.size and each.modified_at >= look.now - UNNAMED_AFTER
        if is_empty or not self.finder.reader.is_manifest(each.name):
            return False
        at = f"{place.container}/{each.name}"
        known = look.seen.manifests.get(at)
        if known is None or at in look.again:
            return True
        etags = [listed[name].blob.etag for name in known.parts if name in listed]
        if each.blob.etag == known.etag and len(etags) < known.there:
            # Somebody clears old files away, or writes them anew: then they come again.
            return False
        return content_of(each.blob.etag, etags) != known.content

    def _found(self, look: Look, place: Place, manifest: ListedBlob, listed: Mapping[str, ListedBlob]) -> NewRun | None:
        """What is to be imported; None where that can't be said yet: the next look sees it again."""
        try:
            found = self.finder.run_at(
                place, manifest.name, lookup=lambda names: {each: listed[each] for each in names if each in listed}
            )
        except (LaterError, NeverError) as error:
            event("manifest_not_read", level=logging.WARNING, container=place.container, reason=error.reason)
            if isinstance(error, NeverError) or not manifest.blob.size:
                self._unread(look, place, manifest, error.reason)
            else:
                look.is_unsure = True
            return None
        look.seen.unread.pop(f"{place.container}/{manifest.name}", None)
        return found

    def _unread(self, look: Look, place: Place, manifest: ListedBlob, reason: str) -> None:
        at = f"{place.container}/{manifest.name}"
        if look.seen.unread.get(at) != manifest.blob.etag:
            found = unreadable(place, manifest, reason)
            # What it says once it can be read is another content.
            run = replace(found.run, content=content_of(manifest.blob.etag, ["unread"]))
            look.unread.append((replace(found, run=run), manifest.blob.etag))

    def _tell_unread(self, look: Look, place: Place) -> Iterator[Outgoing]:
        """Each content once: a failed run in the history, of which operators were told before it came there."""
        unread = list(look.unread)
        look.unread.clear()
        if not unread or not self._is_still(look, place):
            return
        yield from self.telling.unread([found for found, _ in unread if not self._is_known(found)])
        for found, etag in unread:
            self.ledger.register(found, look.now)
            look.seen.unread[found.run.place] = etag

    def _is_known(self, found: NewRun) -> bool:
        return any(each.run.content == found.run.content for each in self.ledger.runs(found.run.export.key))

    def _tell_unnamed(self, look: Look, place: Place, listed: Mapping[str, ListedBlob]) -> Iterator[Outgoing]:
        manifests = look.seen.manifests.items()
        named = {name for at, each in manifests if at.startswith(f"{place.container}/") for name in each.parts}
        # What lies beside a manifest that can't be read may be its own.
        beside = tuple(at.rpartition("/")[0] + "/" for at in look.seen.unread)
        since = look.now - UNNAMED_AFTER
        new = {
            digest(place.container, name): each
            for name, each in listed.items()
            if name not in named and name.lower().endswith(ENDINGS) and each.modified_at < since
            if not f"{place.container}/{name}".startswith(beside)
        }
        untold = [each for key, each in new.items() if key not in look.seen.told]
        if not untold:
            return
        notice = Unnamed.of(place, untold)
        if digest(notice.key) not in look.seen.told and self._is_still(look, place):
            yield from self.telling.unnamed(notice)
            look.seen.told |= {*new, digest(notice.key)}


@dataclass(slots=True)
class Look:
    """One look. is_first: nothing was seen before. is_fresh: the places are as the database has them now. has_asked: it
    was asked for what nobody has heard of, too. known: the contents of runs that need no message. again: the manifests
    that need one though they were seen. is_on_its_way: whether others were queued that may come yet. unread: the
    manifests that can't be read, and their ETags. is_unsure: not every manifest of a place was read, which
    may name any file.
    """

    seen: Seen
    now: datetime
    is_first: bool
    is_fresh: bool = False
    has_asked: bool = False
    known: Collection[str] = ()
    again: set[str] = field(default_factory=set)
    is_on_its_way: bool = False
    unread: list[tuple[NewRun, str]] = field(default_factory=list)
    is_unsure: bool = False
    queued: int = 0


def part_messages(ledger: ExportLedger, record: RunRecord) -> list[PartMessage]:
    """What reads the parts of a run that are still missing; where none is, what makes its charges."""
    missing = [each.number for each in ledger.parts(record.id) if not each.is_staged]
    return [PartMessage(record.id, number, record.run.content) for number in missing or [0]]


def _as_seen(look: Look, found: NewRun, manifest: ListedBlob, listed: Mapping[str, ListedBlob]) -> SeenManifest:
    names = tuple(each.name for each in found.parts)
    there = sum(name in listed for name in names)
    known = look.seen.manifests.get(found.run.place)
    again = known.again + 1 if known and found.run.place in look.again else 0
    return SeenManifest(names, found.run.content, manifest.blob.etag, there, int(look.now.timestamp()), again)


def _may_be_lost_after(again: int) -> timedelta:
    """How long something that was queued so often again is on its way."""
    return ON_ITS_WAY if not again else ASKS_EVERY * 2 ** min(again - 1, 10)


def _forget_gone(seen: Seen, place: Place, listed: Mapping[str, ListedBlob]) -> None:
    for at in list(seen.manifests):
        container, name = _apart(at)
        holding = place_holding(seen.places, container, name)
        if holding is None or not holding.is_asked or (holding == place and name not in listed):
            del seen.manifests[at]
    for at in [at for at in seen.unread if place.holds(*_apart(at)) and _apart(at)[1] not in listed]:
        del seen.unread[at]


def _apart(at: str) -> tuple[str, str]:
    """A container, and a name in it."""
    container, _, name = at.partition("/")
    return container, name
