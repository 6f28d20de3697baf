"""A small server that speaks the part of AWS that Budget Warden uses, to the genuine boto3 clients.

In a test: `with AwsSimulator() as sim:` and give `sim.url` to the clients as their `endpoint_url`; one address stands
for all services. There are identities (`sim.iam`: users with access keys, roles, tokens of other providers),
organizations (`sim.organizations`), and what accounts spend (`sim.book`); `sim.fault(kind)` makes calls go wrong, and
`sim.stats()` tells what was asked, and what it would have cost.
"""

from localdev.aws_sim.book import AwsBook, AwsCharge
from localdev.aws_sim.faults import KINDS, Fault
from localdev.aws_sim.iam import Iam, SimRole
from localdev.aws_sim.organizations import AwsAccount, Organization
from localdev.aws_sim.simulator import AwsSimulator

__all__ = [
    "KINDS",
    "AwsAccount",
    "AwsBook",
    "AwsCharge",
    "AwsSimulator",
    "Fault",
    "Iam",
    "Organization",
    "SimRole",
]
