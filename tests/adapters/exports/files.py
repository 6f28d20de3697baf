"""Files of exports, made for a test."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Context, Decimal, Inexact, localcontext
from pathlib import Path

from shared.adapters.exports.reader import PolarsExports
from shared.domain.charges import CostMetric
from shared.domain.exports.sums import Row
from shared.ports.exports import ExportFile

TODAY = date(2026, 11, 30)
DATA = Path(__file__).parents[4] / "shared" / "data"
SUB = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
RESOURCE = f"/subscriptions/{SUB}/resourceGroups/rg-a/providers/Microsoft.Compute/virtualMachines/vm"
# A row of each dataset, which says: 1.5 of this subscription, in rg-a, on 2026-09-21, and of which service.
EA = {
    "BillingAccountId": "8611537",
    "BillingPeriodStartDate": "09/01/2026",
    "SubscriptionId": SUB,
    "Date": "09/21/2026",
    "MeterCategory": "Storage",
    "Quantity": "3",
    "Cost": "1.5",
    "BillingCurrency": "CAD",
    "ResourceId": RESOURCE,
    "ResourceGroup": "rg-a",
    "Tags": '"a": "b"',
}
MCA = {
    "billingAccountId": "8611537",
    "billingPeriodStartDate": "2026-09-01",
    "date": "2026-09-21",
    "SubscriptionId": SUB,
    "resourceGroupName": "rg-a",
    "meterCategory": "Storage",
    "pricingCurrency": "USD",
    "costInPricingCurrency": "1.1",
    "costInBillingCurrency": "1.5",
    "costInUsd": "1.1",
    "billingCurrency": "CAD",
}
CSP = {**MCA, "billingPeriodStartDate": "", "partnerName": "A partner", "customerTenantId": "t"}
PAY_AS_YOU_GO = {
    "SubscriptionGuid": SUB,
    "ResourceGroup": "rg-a",
    "UsageDateTime": "2026-09-21",
    "MeterCategory": "Blob Storage",
    "PreTaxCost": "1.5",
    "ServiceName": "Storage",
    "Currency": "CAD",
}
FOCUS = {
    "BilledCost": "1.5",
    "EffectiveCost": "0.25",
    "BillingAccountId": "/providers/Microsoft.Billing/billingAccounts/8611537",
    "BillingCurrency": "CAD",
    "BillingPeriodStart": "2026-09-01T00:00Z",
    "ChargePeriodStart": "2026-09-21T00:00Z",
    "ChargePeriodEnd": "2026-09-22T00:00Z",
    "ProviderName": "Microsoft",
    "ServiceName": "Storage",
    "SubAccountId": f"/subscriptions/{SUB}",
    "ResourceId": RESOURCE,
    "x_ResourceGroupName": "rg-a",
}
LINE = "\r\n"


def csv_of(rows: Sequence[Mapping[str, str]], header: Iterable[str] | None = None) -> str:
    """These rows as CSV; none of them without a header."""
    written = io.StringIO()
    names = list(header or rows[0])
    writer = csv.writer(written, lineterminator=LINE)
    writer.writerow(names)
    writer.writerows([[row[name] for name in names] for row in rows])
    return written.getvalue()


def read(
    path: Path, content: str | bytes | None = None, metric: CostMetric = CostMetric.ACTUAL, today: date = TODAY
) -> ExportFile:
    """What a file comes to, of this content or of what it holds already."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return PolarsExports().read(path, metric, today)


def rows_of(file: ExportFile) -> list[Row]:
    """All its rows, in an order."""
    return sorted((row for rows in file.rows.values() for row in rows), key=str)


def by_provider(file: ExportFile) -> dict[str, list[Row]]:
    """Its rows, in their order."""
    return {provider: list(rows) for provider, rows in file.rows.items()}


def exact(costs: Iterable[Decimal]) -> Decimal:
    """Their sum, without a digit lost."""
    with localcontext(Context(prec=300, traps=[Inexact])):
        return sum(costs, Decimal(0))


def total(file: ExportFile) -> Decimal:
    """What the file comes to, of one currency."""
    return exact(row.cost for row in rows_of(file))
