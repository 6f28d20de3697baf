"""What azd makes of its files: azure.yaml, and main.parameters.json with the environment's values in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.docs import sources

# As azd writes them: `${NAME}`, or `${NAME=what counts without it}`.
PLACE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")
# What azd knows by itself, and what it asks for.
GIVEN = {
    "AZURE_ENV_NAME": "prod",
    "AZURE_LOCATION": "westeurope",
    "AZURE_PRINCIPAL_ID": "99999999-0000-0000-0000-000000000003",
    "EMAIL_OPERATORS": "ops@example.com; on.call@example.com; ops@example.com",
}


def project() -> dict[str, Any]:
    """azure.yaml."""
    read: dict[str, Any] = yaml.safe_load(sources.read("azure.yaml"))
    return read


def written() -> dict[str, str]:
    """main.parameters.json as it is: each parameter with its text."""
    parameters = json.loads(sources.read("infra/main.parameters.json"))["parameters"]
    return {name: each["value"] for name, each in parameters.items()}


def parameters(environment: Mapping[str, str]) -> dict[str, str]:
    """The parameters of main.bicep with these values of azd's environment, besides what it always has."""
    values = GIVEN | dict(environment)

    def put(found: re.Match[str]) -> str:
        return values.get(found[1], found[2] or "")

    return {name: PLACE.sub(put, text) for name, text in written().items()}


def bicepparam(using: str, values: Mapping[str, str], types: Mapping[str, str]) -> str:
    """The text of a .bicepparam file; azd turns texts into the parameters' types, which the compiler does not."""
    lines = [f"param {name} = {_literal(text, types[name])}" for name, text in values.items()]
    return "\n".join([f"using '{using}'", *lines])


def _literal(text: str, kind: str) -> str:
    return text if kind in ("bool", "int") else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
