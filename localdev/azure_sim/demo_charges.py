"""The demo's made-up spending: 60 days of a dozen projects, the second night's changes, and the day after it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from localdev.azure_sim.charges import Charge, ChargeBook
from localdev.azure_sim.made_up import OFFICE_WEEK, GroupSeries

FIRST_NIGHT = date(2026, 11, 20)
DAYS = 60
NORTH = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
SOUTH = "ed570627-0265-4620-bb42-bae06bcfa914"
# It has a cost export, too (localdev/demo_exports.py).
EAST, LAKES = "7b0c2f6e-9f4d-4a53-8a3e-5d1f0c9b7e42", "LAKES"
WAVES_GROUP = "fsdh_proj_waves_rg"
# Its project has an AWS account, too (localdev/demo_aws.py), and AWS bills in US dollars.
WEST = "c2d6f0a1-53b7-4e0e-9d0c-8f3f6a1b2e95"

COMPUTE = {"Virtual Machines": Decimal("0.62"), "Storage": Decimal("0.25"), "Bandwidth": Decimal("0.13")}
DATA = {
    "Azure Databricks": Decimal("0.55"),
    "Storage": Decimal("0.21"),
    "SQL Database": Decimal("0.12"),
    "Key Vault": Decimal("0.02"),
    "Log Analytics": Decimal("0.04"),
    "Bandwidth": Decimal("0.06"),
}

# (subscription, resource group as Azure spells it, dollars a day, services, growth a day)
GROUPS = [
    (NORTH, "FSDH_Proj_DIE1_dev_rg", "41.307", DATA, "0.004"),
    (NORTH, "fsdh_proj_die1_dev_dbk_rg", "18.0042", COMPUTE, "0"),
    (NORTH, "fsdh_proj_ocean_rg", "33.9", COMPUTE, "0.002"),
    (NORTH, "fsdh_proj_FORET_rg", "36.4181", DATA, "0"),
    (NORTH, "fsdh_proj_genom_rg", "96.55", DATA, "0.006"),
    (NORTH, "fsdh_proj_maps_rg", "5.21", COMPUTE, "0"),
    (NORTH, "fsdh_proj_ice_rg", "13.77", COMPUTE, "0.001"),
    (NORTH, WAVES_GROUP, "34.68", COMPUTE, "0"),
    (NORTH, "shared-network-rg", "22.1", COMPUTE, "0"),
    (SOUTH, "airq-prod-rg", "22.9", DATA, "0"),
    (SOUTH, "airq-test-rg", "4.031", COMPUTE, "0"),
    (SOUTH, "Census-RG", "121.9", DATA, "0.003"),
    (SOUTH, "crops-rg", "29.15", COMPUTE, "0"),
    (SOUTH, "radar-rg", "61.2", DATA, "0.001"),
    (SOUTH, "soils-rg", "8.9", COMPUTE, "0"),
    (SOUTH, "tides-rg", "3.3", COMPUTE, "0"),
    (EAST, "lakes-rg", "27.45", DATA, "0"),
    (EAST, "shared-monitoring-rg", "6.2", COMPUTE, "0"),
    (WEST, "glaciers-rg", "14.2", COMPUTE, "0"),
]


def book(night: date = FIRST_NIGHT) -> ChargeBook:
    """All the charges as they stand in a night: of the 60 days before it."""
    charges = ChargeBook()
    for series in _series():
        charges.add(series.charges(night - timedelta(days=DAYS), night - timedelta(days=1)))
    return charges


def change_overnight(charges: ChargeBook) -> list[str]:
    """What a night changes: one more day for everybody, a late charge, a restated day. Says what, in words."""
    for series in _series():
        charges.add(series.charges(FIRST_NIGHT, FIRST_NIGHT))
    late = FIRST_NIGHT - timedelta(days=3)
    charges.add([Charge(NORTH, "fsdh_proj_ice_rg", "Azure Databricks", late, "CAD", Decimal("900.55"))])
    restated = FIRST_NIGHT - timedelta(days=7)
    charges.restate_day(SOUTH, restated, Decimal("0.5"), "airq-prod-rg")
    return [
        f"a late charge of 900.55 CAD for ICE on {late}",
        f"the costs of AIRQ on {restated} restated to half",
    ]


def past_the_budget(day: date) -> Charge:
    """What brings WAVES past its budget."""
    return Charge(NORTH, WAVES_GROUP, "Virtual Machines", day, "CAD", Decimal("99.50"))


def _series() -> list[GroupSeries]:
    return [
        GroupSeries(
            subscription=subscription,
            group=group,
            per_day=Decimal(per_day),
            services=services,
            currency="USD" if subscription == WEST else "CAD",
            weekday_factors=OFFICE_WEEK,
            growth_per_day=Decimal(growth),
        )
        for subscription, group, per_day, services, growth in GROUPS
    ]
