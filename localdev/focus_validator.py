"""Has FOCUS's official validator look at what `focus export` writes: `python -m localdev.focus_validator [FILE]`.

It runs in `.venv-focus`, an environment of its own (650 MB), since it needs Python 3.12 (older ones get a validator of
2024 from pip, for 3.13 there is no wheel of its numpy) and older packages than the app. Without a file, CSV and Parquet
are made of charges that are odd in every way. Exit code 1 where a rule fails that is not in ACCEPTED.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from localdev.worker_venv import find_python
from shared.adapters.exports.focus import PolarsFocus
from shared.domain.charges import CostMetric
from shared.ports.focus import FocusCharge, FocusCharges, FocusFormat, FocusProject, FocusScope

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".venv-focus"
VERSION = "3.12"
# The validator pins a numpy that pyarrow 23 and later do not take, and does not say so.
PACKAGES = ("focus-validator==2.2.1", "pyarrow<23")
# The one version whose rules it brings along; those of others it would fetch.
OPTIONS = ("--validate-version", "1.2.0.1", "--block-download", "--focus-dataset", "CostAndUsage")
# What of FOCUS's conditional columns applies to charges that are stored.
APPLIES = ("--applicability-criteria", "SUB_ACCOUNT_SUPPORTED,ACCOUNT_NAMING_SUPPORTED")
# What people name as they like. By StringHandling-A-001-M texts are Unicode, and the validator takes only ASCII.
NAMES = ("BillingAccountName", "ChargeDescription", "ServiceName", "SubAccountName")
RULES_OF_TEXTS = ("C-000-M", "C-000-C", "C-002-M")
# Rules that fail by the validator's own fault, and why.
ACCEPTED = {f"{name}-{rule}": "a letter that ASCII has not" for name in NAMES for rule in RULES_OF_TEXTS} | {
    "InvoiceId-C-005-C": "an InvoiceId must not be null, and by InvoiceId-C-004-C must: it asks both of every row",
}
# Of CSV, whose types it guesses.
ACCEPTED_OF_CSV = ACCEPTED | {
    "BillingAccountId-C-002-M": "where ids consist of digits, it takes them for numbers and not for texts",
    "BillingAccountId-C-000-M": "holds BillingAccountId-C-002-M",
}


@dataclass(frozen=True)
class Found:
    """How many rules passed and were left out (those of columns that are not there), and which failed, with words."""

    passed: int
    skipped: int
    failed: dict[str, str]


class ValidatorError(Exception):
    """The validator can't be had, or gave no answer; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Validates, says what was found, and gives the exit code."""
    python = find_python(version=VERSION)
    if python is None:
        print(f"There is no Python {VERSION} here: FOCUS files are not validated.")
        return 0
    try:
        _make(python)
        with TemporaryDirectory(prefix="warden-focus-") as folder:
            files = [Path(each).resolve() for each in arguments] or _files(Path(folder))
            return max([judged(each, _validated(each, Path(folder, "found.xml"))) for each in files])
    except ValidatorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def judged(file: Path, found: Found) -> int:
    """Says what was found of a file, and gives the exit code."""
    accepted = ACCEPTED if file.suffix == ".parquet" else ACCEPTED_OF_CSV
    faults = {rule: words for rule, words in found.failed.items() if rule not in accepted}
    print(
        f"{file.name}: {found.passed} rules passed, {len(faults)} failed, {len(found.failed) - len(faults)} more by "
        f"the validator's own fault; {found.skipped} are of columns that are not there"
    )
    for rule, words in faults.items():
        print(f"  {rule}: {words}")
    return 1 if faults else 0


def _make(python: str) -> None:
    marker = FOLDER / "made-of.txt"
    if marker.is_file() and marker.read_text(encoding="utf-8") == " ".join(PACKAGES):
        return
    print(f"Making {FOLDER.name} with {python} …")
    shutil.rmtree(FOLDER, ignore_errors=True)
    _run([python, "-m", "venv", str(FOLDER)])
    _run([str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
    marker.write_text(" ".join(PACKAGES), encoding="utf-8")


def _validated(file: Path, answer: Path) -> Found:
    # It looks for its list of currencies in the folder in which it runs, and its exit code is 0 whatever it finds.
    (packages,) = FOLDER.glob("lib/python*/site-packages")
    command = [str(FOLDER / "bin" / "focus-validator"), "--data-file", str(file), *OPTIONS, *APPLIES]
    answer.unlink(missing_ok=True)
    _run([*command, "--output-type", "unittest", "--output-destination", str(answer)], packages)
    if not answer.is_file():
        raise ValidatorError(f"the validator said nothing of {file.name}")
    return found_in(answer.read_text(encoding="utf-8"))


def found_in(answer: str) -> Found:
    """What the validator's answer, in JUnit's XML, says."""
    passed, skipped, failed = 0, 0, {}
    for case in ET.fromstring(answer).iter("testcase"):
        faults = [each for each in case if each.tag in ("failure", "error")]
        if faults:
            failed[(case.get("name") or "").split(" ")[0]] = faults[0].get("message") or faults[0].text or ""
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return Found(passed, skipped, failed)


def _run(command: list[str], folder: Path = PROJECT) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ValidatorError(f"{' '.join(command[:4])} … failed:\n{(result.stderr or result.stdout).strip()}")


# --- files to look at ------------------------------------------------------------------------------------------------

SUB = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
SCOPES = (
    FocusScope(1, "azure", SUB, SUB, "RG-a", "8611537", "8611537"),
    FocusScope(2, "azure", SUB, "Water, clean", "", SUB, "Water, clean"),
    FocusScope(3, "aws", "000123456789", 'Équipe "A"', "", "111122223333", "The payer"),
    FocusScope(4, "Google Cloud", "my-project", "l'eau", "", "0X-0", "Société"),
)
PROJECTS = (FocusProject(11, "DIE1", "Ann Roy", "Données, eau", "CC-1"),)
COSTS = ("1.5", "-0.0000000001", "0", "12", "899999999.9999999999")


def _files(folder: Path) -> list[Path]:
    paths = [folder / f"focus.{form}" for form in FocusFormat]
    for path, form in zip(paths, FocusFormat, strict=True):
        PolarsFocus().write(FocusCharges(SCOPES, PROJECTS, iter([_charges()])), CostMetric.ACTUAL, path, form)
    return paths


def _charges() -> list[FocusCharge]:
    return [
        FocusCharge(scope.id, day, service, currency, Decimal(cost), 11 if scope.id == 1 else None)
        for scope in SCOPES
        for day in (date(2026, 2, 28), date(2026, 12, 31))
        for service, currency in (("Storage", "CAD"), ("Bandwidth, out", "USD"), ("Éditions « spéciales »", "EUR"))
        for cost in COSTS
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
