"""A bill of materials (CycloneDX) of what is deployed: the packages of requirements.txt, as they are pinned.

`python -m localdev.sbom` writes build/sbom.json; a release carries it. It says the same for the same pins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from shared import __version__

ROOT = Path(__file__).resolve().parents[1]
NAME = "budget-warden"


def bill(requirements: str) -> dict[str, Any]:
    """The bill of pinned requirements, one a line."""
    lines = (line for line in requirements.splitlines() if line.strip() and not line.startswith("#"))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("application", NAME, __version__)},
        "components": [_of_requirement(Requirement(line)) for line in lines],
    }


def _of_requirement(wanted: Requirement) -> dict[str, Any]:
    (pin,) = wanted.specifier
    return _component("library", wanted.name, pin.version) | (
        # Which of two versions it is depends on the Python.
        {"properties": [{"name": f"{NAME}:marker", "value": str(wanted.marker)}]} if wanted.marker else {}
    )


def _component(kind: str, name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main() -> None:
    """Writes build/sbom.json."""
    file = ROOT / "build" / "sbom.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(bill((ROOT / "requirements.txt").read_text("utf-8")), indent=2) + "\n", "utf-8")
    print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
