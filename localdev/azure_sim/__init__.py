"""A small server that speaks the part of Azure Resource Manager that Budget Warden uses, to the real SDKs.

In a test: `with AzureSimulator(book) as sim:` and give `sim.url` to the client as its `base_url`. By itself:
`python -m localdev.azure_sim`, told what to do through `SimulatorControl(url)`. A new API is a class like
`cost_query.CostQueryApi` with an `add_to(routes)`.

There are cost queries (`sim.book`; `SimulatedExport` writes the same charges as files), budgets with their daily
evaluation and the calls of Action Groups (`sim.budgets`, `sim.action_groups`, `sim.evaluate_budgets(day)`), locks of
resource groups (`sim.locks`), virtual machines and scale sets (`sim.machines`), and Entra's keys and tokens
(`sim.entra`).
"""

from localdev.azure_sim.action_groups import ActionGroup
from localdev.azure_sim.charges import Charge, ChargeBook
from localdev.azure_sim.ea_export import read_ea_export
from localdev.azure_sim.export_runs import SimulatedExport
from localdev.azure_sim.faults import KINDS, Fault
from localdev.azure_sim.made_up import OFFICE_WEEK, GroupSeries, group_names, made_up
from localdev.azure_sim.quota import PUBLISHED_LIMITS, Guardrail, Limit, Quota
from localdev.azure_sim.simulator import AzureSimulator
from localdev.simulator import SimulatorControl

__all__ = [
    "KINDS",
    "OFFICE_WEEK",
    "PUBLISHED_LIMITS",
    "ActionGroup",
    "AzureSimulator",
    "Charge",
    "ChargeBook",
    "Fault",
    "GroupSeries",
    "Guardrail",
    "Limit",
    "Quota",
    "SimulatedExport",
    "SimulatorControl",
    "group_names",
    "made_up",
    "read_ea_export",
]
