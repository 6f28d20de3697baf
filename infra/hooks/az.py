"""The Azure CLI, and azd's environment, for the hooks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import refusals

PROJECT = Path(__file__).resolve().parents[2]


class HookError(Exception):
    """What keeps a hook from doing its work, in words for whoever deploys."""


class RefusedError(HookError):
    """Azure says no."""


def az(*arguments: str) -> Any:
    """What a command of the Azure CLI answers. Raises RefusedError, and HookError where there is no Azure CLI."""
    program = shutil.which("az")
    if program is None:
        raise HookError("The Azure CLI (az) is not installed: https://learn.microsoft.com/cli/azure/install-azure-cli")
    # azd's subscription, not the one that az takes by default; `az rest` has it in the address.
    subscription = os.environ.get("AZURE_SUBSCRIPTION_ID", "")
    is_said = not subscription or "--subscription" in arguments or arguments[0] == "rest"
    where = [] if is_said else ["--subscription", subscription]
    command = [program, *arguments, *where, "--only-show-errors", "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise HookError(f"The Azure CLI can't be run: {error}") from error
    if done.returncode != 0:
        raise refused(done.stderr or done.stdout or f"nothing (exit code {done.returncode} of az {arguments[0]})")
    try:
        return json.loads(done.stdout or "null")
    except ValueError as error:
        raise HookError(f"The Azure CLI answers no JSON: {done.stdout[:200]}") from error


def refused(said: str) -> RefusedError:
    """Azure's own words, cut, and what they mean."""
    own = " ".join(said.split())
    own = own if len(own) <= 1000 else f"{own[:1000]} …"
    return RefusedError("\n".join([f"Azure says: {own}", *refusals.plain(said)]))


def value(name: str) -> str:
    """What azd's environment has, which it hands to its hooks. Raises HookError where that is nothing."""
    text = os.environ.get(name, "").strip()
    if not text:
        raise HookError(f"{name} is not set. azd sets it when it provisions: `azd provision`, or `azd hooks run …`.")
    return text


def is_on(name: str) -> bool:
    """Whether a switch of azd's environment is on; before.py lets nothing but true and false through."""
    return os.environ.get(name, "") == "true"


def listed(text: str) -> Sequence[str]:
    """The parts of a text that are joined by ; or commas."""
    return [part.strip() for part in text.replace(",", ";").split(";") if part.strip()]


def run(hook: Callable[[], None]) -> int:
    """Runs a hook; the exit code, with what went wrong on the standard error."""
    try:
        hook()
    except HookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
