"""Which column of a file is what, by their names: the datasets of Microsoft, and FOCUS of any provider."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from shared.domain.charges import CostMetric
from shared.domain.texts import named, readable
from shared.ports.errors import NeverError

BOM = "\ufeff"
# Older files in a person's language: `Abonnement-GUID (SubscriptionGuid)`.
LOCALISED = re.compile(r".*\((\w+)\)")
MOST_NAMED = 8
# A column of the files that we write: FOCUS 1.2, with the names of later versions beside.
OURS = "x_costmetric"

# By what we call the cell: the names of its column; the first that is there counts.
COST = "cost"
DAY = "day"
CURRENCY = "currency"
SERVICE = "service"
SUB_ACCOUNT = "sub-account"
GROUP = "resource group"
RESOURCE = "resource"
PERIOD = "billing period"
BILLING_ACCOUNT = "billing account"
PROVIDER = "provider"
FOCUS_COST = {CostMetric.ACTUAL: "BilledCost", CostMetric.AMORTIZED: "EffectiveCost"}
FOCUS = {
    DAY: ("ChargePeriodStart",),
    CURRENCY: ("BillingCurrency",),
    SERVICE: ("ServiceName",),
    SUB_ACCOUNT: ("SubAccountId",),
    GROUP: ("x_ResourceGroupName",),
    RESOURCE: ("ResourceId",),
    PERIOD: ("BillingPeriodStart",),
    BILLING_ACCOUNT: ("BillingAccountId",),
    PROVIDER: (
        *("ProviderName", "Provider"),
        *("InvoiceIssuerName", "InvoiceIssuer"),
        *("ServiceProviderName", "HostProviderName"),
    ),
}
MICROSOFT = {
    COST: ("CostInBillingCurrency", "Cost", "PreTaxCost"),
    DAY: ("Date", "UsageDateTime"),
    CURRENCY: ("BillingCurrencyCode", "BillingCurrency", "Currency"),
    SERVICE: ("MeterCategory", "ServiceName"),
    SUB_ACCOUNT: ("SubscriptionGuid", "SubscriptionId"),
    GROUP: ("ResourceGroup", "ResourceGroupName"),
    RESOURCE: ("ResourceId", "InstanceId", "InstanceName"),
    PERIOD: ("BillingPeriodStartDate",),
    BILLING_ACCOUNT: ("BillingAccountId",),
}
# Pay-as-you-go files have both, and what the portal calls the service is ServiceName.
PAY_AS_YOU_GO = {**MICROSOFT, SERVICE: ("ServiceName", "MeterCategory")}
NEEDED = (COST, DAY, CURRENCY)
# Of these, the others that are there say what a row's first leaves empty: no two mean different things.
FILLED_UP = (*NEEDED, SUB_ACCOUNT)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file is, and the place of each column that is needed, by what we call it.

    others: the places of what says the same, for rows in which a cell is empty. provider_names: the places of all
    columns that name one of those who take part in a charge, by their names.
    """

    dataset: str
    places: Mapping[str, int]
    cost_column: str
    others: Mapping[str, Sequence[int]] = field(default_factory=dict)
    provider_names: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_focus(self) -> bool:
        """Whether it says of which provider its rows are."""
        return self.dataset.startswith("FOCUS")


def layout_of(header: Sequence[str], metric: CostMetric) -> Layout:
    """What a file with this header is. Raises NeverError where it is none of costs, naming what is missing."""
    places = _places(header)
    dataset, wanted = _dataset(places, metric)
    found = {cell: _found(names, places, header, every=cell in FILLED_UP) for cell, names in wanted.items()}
    missing = [cell for cell in NEEDED if not found[cell]]
    if len(missing) > 1:
        # A title or a hint for spreadsheets may stand where the columns should.
        are = "its columns are" if any(found.values()) else "its first line, which should name its columns, is"
        raise NeverError(
            f"The file has no costs that are known (EA, MCA, CSP, pay-as-you-go or FOCUS): {are} {_listed(header)}."
        )
    if missing:
        lacks = f"the {missing[0]} ({' or '.join(wanted[missing[0]])})"
        raise NeverError(f"The file, {dataset} by its columns, has none for {lacks}, only {_listed(header)}.")
    chosen = {cell: at[0] for cell, at in found.items() if at}
    others = {cell: at[1:] for cell, at in found.items() if at[1:]}
    if GROUP in chosen:
        chosen.pop(RESOURCE, None)
    cost_column = next(name for name in wanted[COST] if places.get(name.lower()) == chosen[COST])
    named = {name: places[name.lower()] for name in wanted.get(PROVIDER, ()) if name.lower() in places}
    return Layout(dataset, chosen, cost_column, others, named)


def _dataset(has: Container[str], metric: CostMetric) -> tuple[str, Mapping[str, Sequence[str]]]:
    if "chargeperiodstart" in has or "billedcost" in has:
        return f"FOCUS {_focus_version(has)}", {COST: (FOCUS_COST[metric],), **FOCUS}
    if "partnername" in has or "customertenantid" in has:
        return "CSP", MICROSOFT
    if "pricingcurrency" in has or "exchangeratepricingtobilling" in has or "resourcegroupname" in has:
        return "MCA", MICROSOFT
    if "currency" in has and "usagedatetime" in has:
        return "pay-as-you-go", PAY_AS_YOU_GO
    return "EA", MICROSOFT


def _focus_version(has: Container[str]) -> str:
    """The newest version of which it has a column; what a provider leaves out makes it look older."""
    if OURS in has:
        return "1.2"
    if "serviceprovidername" in has:
        return "1.3" if "providername" in has else "1.4"
    if "invoiceid" in has or "pricingcurrency" in has:
        return "1.2"
    return "1.1" if "servicesubcategory" in has else "1.0"


def _places(header: Sequence[str]) -> dict[str, int]:
    """Where each name stands; one in brackets counts where no column is called so."""
    places: dict[str, int] = {}
    for place, name in enumerate(header):
        places.setdefault(_bare(name).lower(), place)
    for place, name in enumerate(header):
        if localised := LOCALISED.fullmatch(_bare(name)):
            places.setdefault(localised[1].lower(), place)
    return places


def _found(names: Sequence[str], places: Mapping[str, int], header: Sequence[str], *, every: bool) -> list[int]:
    """Where the first of these names stands, or every one."""
    there = [name for name in names if name.lower() in places]
    there = there if every else there[:1]
    for name in there:
        _check_once(name.lower(), name, header)
    return [places[name.lower()] for name in there]


def _check_once(lowered: str, name: str, header: Sequence[str]) -> None:
    called = [_bare(each).lower() for each in header]
    in_brackets = [found[1] for each in called if (found := LOCALISED.fullmatch(each))]
    if called.count(lowered) > 1 or (lowered not in called and in_brackets.count(lowered) > 1):
        raise NeverError(f"The file has the column {name} twice.")


def _bare(name: str) -> str:
    return name.strip().lstrip(BOM).strip()


def _listed(header: Sequence[str]) -> str:
    return named([readable(_bare(name), 40) or "one without a name" for name in header], MOST_NAMED) or "none"
