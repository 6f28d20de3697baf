"""What the scanner has seen, in a small blob: by it, a look that finds nothing new opens no database."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from shared.pipeline.events import event
from shared.pipeline.exports.places import Place
from shared.ports.blobs import BlobStore
from shared.ports.errors import GoneError, LaterError, NeverError

CONTAINER = "budget-warden"
T = TypeVar("T", Place, "SeenManifest")
# Ten thousand manifests of a hundred parts each take some megabytes.
LARGEST = 64 * 2**20
VERSION = 2


@dataclass(frozen=True, slots=True)
class SeenManifest:
    """A manifest that was queued: the names of its parts, and what they and it were (`runs.content_of`).

    etag: the manifest's own. there: how many of its parts were there. at: when it was queued, in seconds since 1970.
    again: how often it was queued again since nothing of its content is in the history, as of a copy of a run.
    """

    parts: tuple[str, ...]
    content: str
    etag: str = ""
    there: int = 0
    at: int = 0
    again: int = 0


@dataclass(slots=True)
class Seen:
    """What the last looks have seen.

    looked_at: when the database was last asked for all that nobody has heard of, whatever was new since then; None
    before. places: where exports lie. manifests: by container and name. told: `texts.digest` of the files that
    operators were told of, and of the weeks in which they were. staged: of the runs that were being imported then, by
    their number, how many parts were read, and for how many looks no other was; has_queued: whether something that was
    asked for may not be in the history yet. refused: why a place can't be read, by where it is; away: since when (in
    seconds since 1970) it can't be reached. unread: the ETags of manifests that can't be read, by container and name.
    """

    looked_at: datetime | None = None
    places: tuple[Place, ...] = ()
    manifests: dict[str, SeenManifest] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    staged: dict[int, tuple[int, int]] = field(default_factory=dict)
    has_queued: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    away: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class SeenBlob:
    """Keeps it: in the blob, and in this process, where the blob can't be written or read.

    installation: what tells it from others that read the same exports, such as staging. unkept: why not, in a
    sentence; None where it can. is_away: whether it could not be read when it was asked for.
    """

    blobs: BlobStore
    installation: str
    unkept: str | None = None
    is_away: bool = False
    _here: Seen | None = None

    @property
    def name(self) -> str:
        """The blob's."""
        return f"cost-exports-{self.installation}.json.gz"

    def read(self) -> Seen:
        """What was seen; nothing where nothing is known."""
        self.is_away = False
        try:
            found = self.blobs.read(CONTAINER, self.name, LARGEST)
        except GoneError:
            found = None
        except (LaterError, NeverError) as error:
            event("seen_not_read", level=logging.WARNING, reason=error.reason)
            self.is_away = isinstance(error, LaterError)
            found = None
        text = None if found is None else _unpacked(found[0])
        return _seen(text) if text is not None else self._here or Seen()

    def write(self, seen: Seen) -> None:
        """Keeps what was seen."""
        self._here = seen
        try:
            self.blobs.write(CONTAINER, self.name, gzip.compress(json.dumps(_as_json(seen)).encode(), mtime=0))
        except (LaterError, NeverError) as error:
            event("seen_not_written", level=logging.WARNING, reason=error.reason)
            self.unkept = error.reason if isinstance(error, NeverError) else self.unkept
        else:
            self.unkept = None


def _unpacked(content: bytes) -> Any:
    """Whatever it may hold: nothing of it is needed, and a broken one is as good as none."""
    try:
        return json.loads(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return None


def _as_json(seen: Seen) -> dict[str, Any]:
    return {
        "version": VERSION,
        "looked_at": seen.looked_at and seen.looked_at.isoformat(),
        "places": [asdict(each) for each in seen.places],
        "manifests": {name: list(astuple(each)) for name, each in seen.manifests.items()},
        "told": sorted(seen.told),
        "staged": seen.staged,
        "has_queued": seen.has_queued,
        "refused": seen.refused,
        "unread": seen.unread,
        "away": seen.away,
    }


def _seen(found: Mapping[str, Any]) -> Seen:
    try:
        if found["version"] != VERSION:
            return Seen()
        return Seen(
            datetime.fromisoformat(found["looked_at"]).astimezone(UTC) if found["looked_at"] else None,
            tuple(_typed(Place(**each)) for each in found["places"]),
            {at: _manifest(*each) for at, each in found["manifests"].items()},
            set(found["told"]),
            {int(number): (int(staged), int(looks)) for number, (staged, looks) in found["staged"].items()},
            bool(found["has_queued"]),
            dict(found["refused"]),
            dict(found["unread"]),
            {at: int(since) for at, since in found.get("away", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return Seen()


def _manifest(parts: list[str], content: str, etag: str, there: int, at: int, again: Any) -> SeenManifest:
    # Of the version before, it is true or false.
    return _typed(SeenManifest(tuple(parts), content, etag, there, at, int(again)))


def _typed(said: T) -> T:
    """As its fields say that it is. Raises TypeError for what is not."""
    for each in fields(said):
        if type(getattr(said, each.name)).__name__ != str(each.type).partition("[")[0]:
            raise TypeError(each.name)
    return said
