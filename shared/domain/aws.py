"""AWS's names: partitions, roles and external ids; each that can't be right ends in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.texts import odd, readable

AWS = "aws"
"""The provider, as FOCUS exports and cloud accounts name it; also the name of AWS's standard partition"""


class AwsNameError(ValueError):
    """A name that can't be right; the text says what would be, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One of AWS's clouds, which know nothing of each other. region: where its Cost Explorer answers."""

    name: str
    region: str


PARTITIONS: Mapping[str, Partition] = {
    partition.name: partition
    for partition in (
        Partition(AWS, "us-east-1"),
        Partition("aws-cn", "cn-northwest-1"),
        Partition("aws-eusc", "eusc-de-east-1"),
    )
}
NO_COSTS_IN_GOV = (
    "aws-us-gov has no Cost Explorer: its costs are in the standard AWS account that the GovCloud account belongs to; "
    "add that one"
)
ROLE = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/([\w+=,.@/-]+)", re.ASCII)
ACCOUNT = re.compile("[0-9]{12}")
EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Role:
    """A role that can be taken on. account: whose it is."""

    arn: str
    partition: Partition
    account: str


def parse_role(arn: str) -> Role:
    """The role of an ARN such as `arn:aws:iam::123456789012:role/budget-warden`. Raises AwsNameError."""
    match = ROLE.fullmatch(arn)
    if match is None:
        raise AwsNameError(
            f"'{readable(arn, 80)}' is no role; write it like arn:aws:iam::123456789012:role/budget-warden{odd(arn)}"
        )
    name, account = match[1], parse_account(match[2])
    if not {"", ".", ".."}.isdisjoint(match[3].split("/")):
        raise AwsNameError(
            f"'{readable(match[3], 80)}' is no role's path and name: write it like team/costs, without a part that is "
            "empty, . or .."
        )
    if name == "aws-us-gov":
        raise AwsNameError(NO_COSTS_IN_GOV)
    if name not in PARTITIONS:
        raise AwsNameError(f"{name} is no partition of AWS whose costs can be read; {', '.join(PARTITIONS)} are")
    return Role(arn, PARTITIONS[name], account)


def parse_external_id(text: str | None) -> str:
    """An external id as AWS takes it; a role is never taken on without one. Raises AwsNameError."""
    if text is None or not EXTERNAL_ID.fullmatch(text):
        raise AwsNameError(f"an external id has 2 to 1,224 letters, digits or characters of +=,.@:/-_{odd(text or '')}")
    return text


def parse_account(text: str) -> str:
    """An AWS account's id, of twelve digits. Raises AwsNameError."""
    if not ACCOUNT.fullmatch(text):
        raise AwsNameError(f"'{readable(text, 40)}' is no AWS account; its id has twelve digits{odd(text)}")
    if not text.strip("0"):
        raise AwsNameError(f"{text} is nobody's AWS account; write the id that the console shows")
    return text
