"""Cost exports in folders: which files there are, and where the parts lie that a manifest lists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

from shared.ports.exports import ExportReader, Manifest, ManifestReader

ENDINGS = (".csv", ".gz", ".parquet")
# One that somebody packed is told so, and not passed over.
PACKED = ".zip"


def is_of_export(name: str, reader: ManifestReader) -> bool:
    """Whether a file that is called so may be an export's, or a manifest."""
    return name.lower().endswith((*ENDINGS, PACKED)) or reader.is_manifest(name)


def found_in(folder: Path, reader: ExportReader) -> list[Path]:
    """The files of exports, and the manifests, in a folder and in those in it."""
    paths = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in paths if is_of_export(path.name, reader)]


def parts_of(said: Manifest, manifest: Path, found: Sequence[Path]) -> dict[str, Path]:
    """Where a manifest's parts lie: beside it, or as it says. A copy of its container may begin at any folder.

    Months have files of one name, in folders of their own.
    """
    by_name: dict[str, list[Path]] = {}
    # A link may lead nowhere.
    for path in filter(Path.exists, found):
        by_name.setdefault(path.name, []).append(path)
    names = [part.name for part in said.parts]
    alike = {
        name: [
            path
            for path in by_name.get(PurePosixPath(name).name, [])
            if path.parent == manifest.parent or _in_common(PurePosixPath(name).parent, path.parent)
        ]
        for name in names
    }
    return {name: max(paths, key=partial(_in_common, PurePosixPath(name))) for name, paths in alike.items() if paths}


def _in_common(one: PurePosixPath, other: Path) -> int:
    """How many steps of two paths are the same, from their ends."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
