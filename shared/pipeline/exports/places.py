"""Where cost exports lie, and what a manifest there lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from shared.domain.charges import CostMetric
from shared.domain.exports.feeding import unread
from shared.domain.exports.runs import Blob, Dataset, Export, ExportRun, RunState, content_of, why_waiting
from shared.domain.texts import readable
from shared.ports.blobs import BlobStore, ListedBlob
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, ConnectionType
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import NewRun, RunPart
from shared.ports.exports import Manifest, ManifestPart, ManifestReader

# Longer than any manifest that was seen; a reader refuses those that are.
LONGEST_MANIFEST = 16 * 2**20
LONGEST_ID = 150
# Each letter may be two of the 200 units that are stored.
LONGEST_NAME = 100
Lookup = Callable[[Collection[str]], Mapping[str, ListedBlob]]
"""Those of some blobs that are there, by name"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the exports of a cloud account lie. folder: empty for the whole container.

    cloud_account_id: 0 where it is no account's. is_asked: whether to look there; not where the account is disabled.
    """

    cloud_account_id: int
    provider: str
    container: str
    folder: str
    is_asked: bool = True

    @property
    def at(self) -> str:
        """Where it is: `container` or `container/folder`."""
        return f"{self.container}/{self.folder}".rstrip("/")

    def holds(self, container: str, name: str) -> bool:
        """Whether a blob lies in it."""
        return container == self.container and (not self.folder or name.startswith(f"{self.folder}/"))


def place_of(account: CloudAccount) -> Place:
    """Where an account's exports lie: its external id is `container` or `container/folder`."""
    container, _, folder = account.external_account_id.strip().strip("/").partition("/")
    is_asked = account.status is not AccountStatus.DISABLED
    return Place(account.id, account.provider, container, folder.strip("/"), is_asked)


def export_accounts(accounts: Iterable[CloudAccount]) -> list[CloudAccount]:
    """Those that say where exports lie."""
    return [each for each in accounts if each.connection_type == ConnectionType.COST_EXPORT and not each.is_of_files]


def places(accounts: Iterable[CloudAccount]) -> list[Place]:
    """Where exports lie; those of disabled accounts too, which no other account has."""
    return [place_of(each) for each in export_accounts(accounts)]


def place_holding(found: Iterable[Place], container: str, name: str) -> Place | None:
    """The nearest place that holds a blob."""
    holding = [each for each in found if each.holds(container, name)]
    return max(holding, key=lambda each: len(each.folder), default=None)


def why_unread(blobs: BlobStore, place: Place) -> str | None:
    """Why nothing can be found in a place now; None where it can be read."""
    try:
        next(iter(blobs.listed(place.container, place.folder)), None)
    except (LaterError, NeverError) as error:
        return error.reason
    return None


@dataclass(frozen=True, slots=True)
class Finder:
    """metric: which costs count."""

    reader: ManifestReader
    blobs: BlobStore
    metric: CostMetric

    def run_at(self, place: Place, name: str, lookup: Lookup | None = None) -> NewRun | None:
        """What the manifest of this name lists; None where it is not there (any more).

        lookup: what is there, where that is known already. Raises LaterError while the manifest is empty, and what
        blobs raise.
        """
        found = self.blobs.read(place.container, name, LONGEST_MANIFEST)
        if found is None:
            return None
        content, listed = found
        if not content:
            raise LaterError(f"{place.container}/{name} is still empty")
        try:
            manifest = self.reader.manifest(content, place.container)
        except NeverError as error:
            return unreadable(place, listed, error.reason)
        parts = _lying(manifest, place)
        names = [each.name for each in parts]
        there = (lookup or (lambda names: self.blobs.found(place.container, names)))(names) if names else {}
        at = f"{place.container}/{listed.name}"
        return new_run(replace(manifest, parts=parts), at, listed, there, self.metric, place)


NOWHERE = Place(0, "", "", "")
"""In no container: on a disk"""


def new_run(
    manifest: Manifest,
    at: str,
    listed: ListedBlob,
    there: Mapping[str, ListedBlob],
    metric: CostMetric,
    place: Place = NOWHERE,
) -> NewRun:
    """The run that a manifest lists. at: where that lies. there: the parts that are there, by name."""
    blobs = {name: each.blob for name, each in there.items()}
    needs_not = unread(manifest.export, metric) or _miscounted(manifest)
    sizes = {each.name: each.size for each in manifest.parts}
    run = ExportRun(
        export=manifest.export,
        run_id=manifest.run_id,
        place=at,
        submitted_at=manifest.submitted_at,
        modified_at=listed.modified_at,
        found=0,
        days=manifest.days,
        content=content_of(listed.blob.etag, (each.etag for each in blobs.values())),
        size=sum(each.size for each in blobs.values()),
    )
    return NewRun(
        run=run,
        cloud_account_id=place.cloud_account_id or None,
        container=place.container,
        parts=tuple(_part(number, each, there, manifest) for number, each in enumerate(manifest.parts)),
        waiting=None if needs_not else why_waiting(sizes, blobs),
        unread=needs_not,
    )


def _lying(manifest: Manifest, place: Place) -> tuple[ManifestPart, ...]:
    """The parts, by where they lie in the container.

    AWS names them within a bucket, which the container mirrors, or the account's folder in it.
    """
    if manifest.container == place.container or not place.folder:
        return manifest.parts
    within = f"{place.folder}/"
    return tuple(
        each if each.name.startswith(within) else replace(each, name=within + each.name) for each in manifest.parts
    )


def _part(number: int, part: ManifestPart, there: Mapping[str, ListedBlob], manifest: Manifest) -> RunPart:
    found = there.get(part.name)
    rows = manifest.rows if part.rows is None and len(manifest.parts) == 1 else part.rows
    return RunPart(number, part.name, found.blob if found else Blob(part.size or 0, ""), rows)


def _miscounted(manifest: Manifest) -> tuple[RunState, str] | None:
    rows = [each.rows for each in manifest.parts if each.rows is not None]
    if manifest.rows is None or len(rows) != len(manifest.parts) or sum(rows) == manifest.rows:
        return None
    return RunState.FAILED, f"Its manifest counts {manifest.rows:,} rows, and {sum(rows):,} in its parts."


def unreadable(place: Place, listed: ListedBlob, reason: str) -> NewRun:
    """A manifest that nobody can read is a failed run of an export of its own, so that the history has it."""
    at = f"{place.container}/{listed.name}"
    # Its end tells more than its beginning.
    export = Export(
        place.provider, at[-LONGEST_ID:], readable(listed.name[-LONGEST_NAME:], LONGEST_NAME), Dataset.OTHER
    )
    run = ExportRun(export, "", at, None, listed.modified_at, 0, None, content_of(listed.blob.etag, ()))
    return NewRun(run, place.cloud_account_id or None, place.container, (), unread=(RunState.FAILED, reason))
