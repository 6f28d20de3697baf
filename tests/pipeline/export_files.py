"""Runs of cost exports, as Azure and AWS write them into a container."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from pydantic import SecretStr

from localdev.azure_sim.export_runs import STORAGE_ACCOUNT
from tests.adapters.exports.files import EA, csv_of
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import SUBSCRIPTION, Chain

CONTAINER = "msexports"
Rows = Sequence[Mapping[str, str]]


def ea(amount: str, day: date, group: str = "rg-11", subscription: str = SUBSCRIPTION) -> dict[str, str]:
    """A row of EA's actual costs."""
    return EA | {
        "SubscriptionId": subscription,
        "Date": f"{day:%m/%d/%Y}",
        "BillingPeriodStartDate": f"{day.replace(day=1):%m/%d/%Y}",
        "Cost": amount,
        "ResourceGroup": group,
    }


@dataclass
class Exported:
    """An export that writes into a container. files: what it wrote, by their names."""

    blobs: FakeBlobs
    name: str = "daily"
    container: str = CONTAINER
    folder: str = "costs"
    kind: str = "ActualCost"
    subscription: str = SUBSCRIPTION
    runs: int = 0
    late: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"/subscriptions/{self.subscription}/providers/Microsoft.CostManagement/exports/{self.name}"

    def run(
        self,
        *parts: Rows,
        at: datetime = datetime(2026, 11, 20, 1, 0, tzinfo=UTC),
        first: date = date(2026, 11, 1),
        last: date = date(2026, 11, 19),
        run_id: str | None = None,
        changes: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
        missing: int = 0,
    ) -> str:
        """Writes a run; its manifest's place. changes: of its manifest. files: more parts, as they are. missing: so
        many of its parts, the last ones, are not there yet.
        """
        self.runs += 1
        run_id = run_id or f"run-{self.runs}"
        folder = f"{self.folder}/{self.name}/{first:%Y%m%d}-{last:%Y%m%d}/{run_id}"
        contents = {f"{folder}/part_{number}.csv": csv_of(rows, EA).encode() for number, rows in enumerate(parts)}
        counts = dict(zip(contents, map(len, parts), strict=True))
        contents |= {f"{folder}/{name}": content for name, content in (files or {}).items()}
        for name in list(contents)[: len(contents) - missing]:
            self.blobs.put(self.container, name, contents[name])
        listed = [
            {"blobName": name, "byteCount": len(content), "dataRowCount": counts.get(name)}
            for name, content in contents.items()
        ]
        manifest = (
            self._manifest(run_id, at, first, last) | {"blobs": listed, "blobCount": len(listed)} | (changes or {})
        )
        self.blobs.put(self.container, f"{folder}/manifest.json", json.dumps(manifest).encode())
        self.late = {name: contents[name] for name in list(contents)[len(contents) - missing :]}
        return f"{self.container}/{folder}/manifest.json"

    def catch_up(self) -> None:
        """Writes the parts that were not there yet."""
        for name, content in self.late.items():
            self.blobs.put(self.container, name, content)

    def _manifest(self, run_id: str, at: datetime, first: date, last: date) -> dict[str, Any]:
        return {
            "exportConfig": {
                "exportName": self.name,
                "resourceId": self.id,
                "type": self.kind,
                "dataVersion": "2021-10-01",
            },
            "deliveryConfig": {"containerUri": STORAGE_ACCOUNT},
            "runInfo": {
                "runId": run_id,
                "submittedTime": at.isoformat().replace("+00:00", "Z"),
                "startDate": f"{first}T00:00:00",
                "endDate": f"{last}T00:00:00",
            },
        }


def with_exports(chain: Chain) -> FakeBlobs:
    """Gives the app a storage account with an empty container for exports."""
    blobs = FakeBlobs(chain.clock, {CONTAINER: {}})
    chain.parts["export_blobs"] = blobs
    chain.configure(export_storage=SecretStr("UseDevelopmentStorage=true"))
    return blobs
