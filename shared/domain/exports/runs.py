"""Exports and their runs: which are the same, which of two is newer, and which can be read already."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from shared.domain.charges import CostMetric
from shared.domain.periods import Period
from shared.domain.projects import sub_account_key
from shared.domain.texts import named


class Dataset(StrEnum):
    """What an export holds; `other` is whatever holds no costs: prices, reservations, recommendations."""

    ACTUAL = "actual"
    AMORTIZED = "amortized"
    FOCUS = "focus"
    OTHER = "other"

    def serves(self, metric: CostMetric) -> bool:
        """Whether it has the costs that are asked for; FOCUS has both."""
        return self is Dataset.FOCUS or self is SERVED_BY[metric]


SERVED_BY = {CostMetric.ACTUAL: Dataset.ACTUAL, CostMetric.AMORTIZED: Dataset.AMORTIZED}


class Width(IntEnum):
    """How much an export's scope holds; a part of a billing account is a profile, a department, a management group."""

    GROUP = 1
    SUB_ACCOUNT = 2
    PART = 3
    BILLING_ACCOUNT = 4


@dataclass(frozen=True, slots=True)
class Export:
    """An export of a provider's costs, wherever its files lie.

    id: what its manifest calls it (Azure: `exportConfig.resourceId`; AWS: `exportArn`), in any spelling; name: what
    people call it. billing_account: whose costs it holds, empty where nothing says so. Two are the same whose keys are.
    """

    provider: str
    id: str
    name: str
    dataset: Dataset
    width: Width = Width.BILLING_ACCOUNT
    billing_account: str = ""

    @property
    def key(self) -> str:
        """What the spellings of its id have in common."""
        return f"{self.provider}:{sub_account_key(self.provider, self.id)}"


@dataclass(frozen=True, slots=True)
class ExportRun:
    """One run of an export, as its manifest tells it.

    run_id: empty where it has none (a file). place: where its manifest lies. submitted_at: None where the manifest does
    not say it; modified_at: the manifest's Last-Modified. found: a number that grows with each run that is found.
    days: those that it speaks for, None where it names none. content: `content_of` its blobs. size: of its parts, in
    bytes.
    """

    export: Export
    run_id: str
    place: str
    submitted_at: datetime | None
    modified_at: datetime
    found: int
    days: Period | None
    content: str
    size: int = field(default=0, compare=False)

    @property
    def at(self) -> datetime:
        """As of when it speaks."""
        return self.submitted_at or self.modified_at

    @property
    def age(self) -> tuple[datetime, int]:
        """What is greater for the newer of two runs: of two as old as each other, the one found later counts."""
        return self.at, self.found


def told_apart(exports: Iterable[Export]) -> Mapping[str, str]:
    """What people call each of these exports, by its key: its name, or the key where others of them have that name."""
    names = {each.key: each.name for each in exports}
    alike = Counter(name.casefold() for name in names.values())
    return {key: key if alike[name.casefold()] > 1 else name for key, name in names.items()}


class RunState(StrEnum):
    """What became of a run, or becomes. Waiting: for its parts. Not used: others feed all that it holds. No costs: see
    Dataset.
    """

    WAITING = "waiting"
    IMPORTING = "importing"
    IMPORTED = "imported"
    FAILED = "failed"
    NOT_USED = "not used"
    NO_COSTS = "no costs"


# A folder of one billing period: `BILLING_PERIOD=2026-11`.
NAMED_PERIOD = re.compile(r"/billing_period=([^/]+)/", re.IGNORECASE)


# --- whether it is new -----------------------------------------------------------------------------------------


class Found(StrEnum):
    """What a manifest that was found is: a run, one that is known already, or a copy of one that is."""

    NEW = "new"
    KNOWN = "known"
    COPY = "copy"


def content_of(manifest_etag: str, part_etags: Iterable[str]) -> str:
    """What tells the content of two runs apart, in 64 characters: names and sizes stay when a run is overwritten."""
    return hashlib.sha256("\n".join([manifest_etag, *sorted(part_etags)]).encode()).hexdigest()


def what_is(run: ExportRun, known: Iterable[ExportRun]) -> Found:
    """Whether a run has to be imported. known: those in the history, whatever became of them, but those that wait.

    New parts under an unchanged manifest are a new run. A copy has its run's id and submitted time, at another place;
    who moves an export's folder copies its runs. Where one execution is a run for each billing period (AWS), and has no
    submitted time, a copy also has as many bytes, and of two places that name billing periods the same one.
    """
    of_export = [each for each in known if each.export.key == run.export.key]
    if any(each.content == run.content for each in of_export):
        return Found.KNOWN
    same = [each for each in of_export if run.run_id and _says(each) == _says(run)]
    return Found.COPY if same and all(each.place != run.place for each in same) else Found.NEW


def _says(run: ExportRun) -> tuple[str, datetime | None, str | None, int | None]:
    period = NAMED_PERIOD.search(run.place)
    return run.run_id, run.submitted_at, period and period[1], None if run.submitted_at else run.size


# --- whether it is there ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that is there. size: in bytes."""

    size: int
    etag: str


def why_waiting(parts: Mapping[str, int | None], there: Mapping[str, Blob]) -> str | None:
    """Why a run can't be read yet, in a sentence; None where all of it is there.

    parts: the bytes of each, as the manifest says; None where it does not. Nobody promises that a manifest is written
    last, and a blob can be there before its content.
    """
    missing = sorted(name for name in parts if name not in there)
    if missing:
        return f"{len(missing):,} of its {len(parts):,} parts not there yet: {named(missing)}"
    for name, size in sorted(parts.items()):
        found = there[name].size
        if size is None and not found:
            return f"{name} is still empty"
        if size is not None and found != size:
            return f"{name} has {found:,} bytes, and {size:,} by its manifest"
    return None
