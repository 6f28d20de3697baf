"""Runs of a cost export as Cost Management writes them: parts of EA's actual costs, packed, and their manifest."""

from __future__ import annotations

import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from localdev.azure_sim.charges import Charge, ChargeBook, plain

DAY = timedelta(days=1)
# Azure's own, of EA's actual costs, in its order.
NAMES = (
    "BillingAccountId,BillingAccountName,BillingPeriodStartDate,BillingPeriodEndDate,BillingProfileId,BillingProfileName,"
    "AccountOwnerId,AccountName,SubscriptionId,SubscriptionName,Date,Product,PartNumber,MeterId,ServiceFamily,"
    "MeterCategory,MeterSubCategory,MeterRegion,MeterName,Quantity,EffectivePrice,Cost,UnitPrice,BillingCurrency,"
    "ResourceLocation,AvailabilityZone,ConsumedService,ResourceId,ResourceName,ServiceInfo1,ServiceInfo2,AdditionalInfo,"
    "Tags,InvoiceSectionId,InvoiceSection,CostCenter,UnitOfMeasure,ResourceGroup,ReservationId,ReservationName,"
    "ProductOrderId,ProductOrderName,OfferId,IsAzureCreditEligible,Term,PublisherName,PlanName,ChargeType,Frequency,"
    "PublisherType,PayGPrice,PricingModel,CostAllocationRuleName,benefitId,benefitName"
)
COLUMNS = NAMES.split(",")
BILLING_ACCOUNT = "8611537"
# What Azure names where one would look for the container.
STORAGE_ACCOUNT = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/exports"
RUNS = uuid.UUID("5d5f3bd6-4a0b-4c5e-9d55-0d6a3d3f6a11")


@dataclass(frozen=True)
class SimulatedExport:
    """A daily export of a subscription, which keeps its earlier runs (CreateNewReport).

    folder: in the container, for all the exports that go there.
    """

    subscription: str
    name: str = "daily"
    container: str = "msexports"
    folder: str = "costs"

    @property
    def resource_id(self) -> str:
        """What Azure calls it."""
        return f"/subscriptions/{self.subscription}/providers/Microsoft.CostManagement/exports/{self.name}"

    def nightly(self, book: ChargeBook, at: datetime) -> dict[str, bytes]:
        """What lies in the container after the runs of a night: of the month until the day before, by the blobs' names.

        Until the 5th, and on the first days of a month, there is a run of the whole month before, too.
        """
        through = at.date() - DAY
        blobs = self.run(book, through.replace(day=1), through, at)
        if at.day <= 5 and through.month == at.month:
            blobs |= self.month_before(book, at)
        return blobs

    def month_before(self, book: ChargeBook, at: datetime) -> dict[str, bytes]:
        """A run of all of the month before."""
        last = at.date().replace(day=1) - DAY
        return self.run(book, last.replace(day=1), last, at)

    def run(self, book: ChargeBook, first: date, last: date, at: datetime, parts: int = 2) -> dict[str, bytes]:
        """A run of these days of a month, the last one among them. at: when it was submitted."""
        run_id = str(uuid.uuid5(RUNS, f"{self.resource_id} {first} {at.isoformat()}"))
        month_end = (first.replace(day=28) + 4 * DAY).replace(day=1) - DAY
        folder = f"{self.folder}/{self.name}/{first.replace(day=1):%Y%m%d}-{month_end:%Y%m%d}/{at:%Y%m%d%H%M}/{run_id}"
        charges = list(book.charges(self.subscription, first, last))
        # Azure cuts where a part is full: any day, and any group, can lie in several.
        listed = {f"{folder}/part_{number}_0001.csv.gz": charges[number::parts] for number in range(parts)}
        blobs = {name: _packed(_csv(each, month_end)) for name, each in listed.items()}
        manifest = self._manifest(run_id, first, last, at)
        manifest["blobs"] = [
            {"blobName": name, "byteCount": len(blobs[name]), "dataRowCount": len(each)}
            for name, each in listed.items()
        ]
        manifest |= {"byteCount": sum(map(len, blobs.values())), "blobCount": parts, "dataRowCount": len(charges)}
        return blobs | {f"{folder}/manifest.json": json.dumps(manifest, indent=2).encode()}

    def _manifest(self, run_id: str, first: date, last: date, at: datetime) -> dict[str, Any]:
        return {
            "manifestVersion": "2024-04-01",
            "exportConfig": {
                "exportName": self.name,
                "resourceId": self.resource_id,
                "dataVersion": "2021-10-01",
                "apiVersion": "2023-08-01",
                "type": "ActualCost",
                "timeFrame": "MonthToDate",
                "granularity": "Daily",
            },
            "deliveryConfig": {
                "partitionData": True,
                "dataOverwriteBehavior": "CreateNewReport",
                "fileFormat": "Csv",
                "compressionMode": "gzip",
                "containerUri": STORAGE_ACCOUNT,
                "rootFolderPath": self.folder,
            },
            "runInfo": {
                "executionType": "Scheduled",
                # Seven digits of a second.
                "submittedTime": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z",
                "runId": run_id,
                "startDate": f"{first}T00:00:00",
                "endDate": f"{last}T00:00:00",
            },
        }


def ea_csv(charges: Iterable[Charge], period_end: date) -> str:
    """Charges as rows of EA's actual costs. period_end: the last day of their billing period."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(charge, period_end) for charge in charges)
    return written.getvalue()


def _row(charge: Charge, period_end: date) -> Sequence[str]:
    amount = plain(charge.amount)
    group = f"/subscriptions/{charge.subscription}/resourceGroups/{charge.group}"
    cells = dict.fromkeys(COLUMNS, "") | {
        "BillingAccountId": BILLING_ACCOUNT,
        "BillingAccountName": "Example",
        "BillingPeriodStartDate": f"{period_end.replace(day=1):%m/%d/%Y}",
        "BillingPeriodEndDate": f"{period_end:%m/%d/%Y}",
        "SubscriptionId": charge.subscription,
        "Date": f"{charge.day:%m/%d/%Y}",
        "MeterCategory": charge.service,
        "Quantity": "1",
        "EffectivePrice": amount,
        "Cost": amount,
        "UnitPrice": amount,
        "BillingCurrency": charge.currency,
        "ResourceId": f"{group}/providers/Microsoft.Resources/example/one" if charge.group else "",
        "UnitOfMeasure": "1",
        "ResourceGroup": charge.group,
        "ChargeType": "Usage" if charge.group else "Purchase",
        "Frequency": "UsageBased" if charge.group else "OneTime",
        "PublisherType": "Azure",
        "PricingModel": "OnDemand",
    }
    return list(cells.values())


def _csv(charges: Iterable[Charge], period_end: date) -> bytes:
    return ea_csv(charges, period_end).encode("utf-8-sig")


def _packed(content: bytes) -> bytes:
    """The same bytes for the same content."""
    return gzip.compress(content, mtime=0)
