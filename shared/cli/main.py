"""All the commands, and what becomes of their errors."""

from __future__ import annotations

import gc
import io
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import Annotated, NoReturn

import typer

from shared import __version__
from shared.cli import (
    allocations,
    audit,
    aws_accounts,
    aws_syncs,
    budget_revisions,
    budget_sync,
    changes,
    check,
    cloud_accounts,
    costs,
    credentials,
    database,
    dead_letters,
    export_imports,
    export_runs,
    export_scan,
    exports,
    focus,
    mails,
    project_locks,
    projects,
    rates,
    reconcile,
    runs,
    smoke_test,
    status,
)
from shared.cli.app import command_group
from shared.cli.failures import FAILED, STOPPED, WRONG_USAGE, explain
from shared.cli.program import INSTALLED, PROGRAM

# A command holds many thousands of records at once, and looking for circles among them takes a third of its time.
OBJECTS_BEFORE_A_LOOK = 200_000

app = typer.Typer(
    help="Budget Warden: watches what cloud projects spend.",
    no_args_is_help=True,
    add_completion=INSTALLED,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
projects.commands.command("lock")(project_locks.lock)
projects.commands.command("unlock")(project_locks.unlock)
budgets = command_group("What projects may spend, and Azure's own budgets.")
# Unknown options are left to the argument, so that -5 is told to be no amount rather than no option.
budgets.command("set", context_settings={"ignore_unknown_options": True})(budget_revisions.set_budget)
budgets.command("sync")(budget_sync.sync)
cloud_accounts.commands.command("add")(aws_accounts.add)
cloud_accounts.commands.command("show")(aws_accounts.show)
cloud_accounts.commands.command("test")(aws_accounts.test)
cloud_accounts.commands.command("sync")(aws_syncs.sync)
cloud_accounts.commands.command("keys")(credentials.give_keys)
cloud_accounts.commands.command("reseal")(credentials.reseal)
exports.commands.command("list")(export_runs.list_runs)
exports.commands.command("show")(export_runs.show)
exports.commands.command("feeds")(export_runs.feeds)
exports.commands.command("use")(export_runs.use)
exports.commands.command("scan")(export_scan.scan)
exports.commands.command("import")(export_imports.import_files)
for commands, name in ((projects.commands, "project"), (budgets, "budget")):
    app.add_typer(commands, name=f"{name}s")
    # How some of them were called in 0.1.0.
    app.add_typer(commands, name=name, hidden=True)
app.command("run")(runs.run)
app.command("sync")(export_scan.sync)
# As other tools call it.
app.command("sync_daily_costs", hidden=True)(export_scan.sync)
app.command("status")(status.status)
app.command("costs")(costs.costs)
app.command("reconcile")(reconcile.reconcile)
app.command("audit")(audit.audit)
app.command("changes")(changes.changes)
app.add_typer(allocations.commands, name="allocations")
app.add_typer(cloud_accounts.commands, name="cloud-accounts")
app.add_typer(exports.commands, name="exports")
app.add_typer(focus.commands, name="focus")
app.add_typer(rates.commands, name="rates")
app.add_typer(mails.commands, name="mails")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(database.commands, name="db")
app.command("check")(check.check)
app.command("smoke-test")(smoke_test.smoke_test)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"budget-warden {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all of an error that nobody foresaw.")] = False,
) -> None:
    """Budget Warden: watches what cloud projects spend, and tells their people."""
    context.meta["debug"] = debug
    logging.basicConfig(level=logging.INFO if debug else logging.CRITICAL)


# In Typer's words.
NO_NUMBER = "Input should be a valid integer, unable to parse string as an integer"

EXTRA = "Got unexpected extra argument"
# Whose extra arguments may be access keys, whole or not.
TAKE_KEYS = ("cloud-accounts add", "cloud-accounts keys")
NO_KEYS = (
    "there are more arguments than it takes, which are not shown: access keys never go there, but are asked for or "
    "read from the standard input; if these were some, the shell's history has them: change them at AWS"
)
# As AWS's secret access keys are, for whoever writes one behind another command.
SECRET = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. No error leaves here."""
    if arguments is None:
        signal.signal(signal.SIGTERM, _ended)
    given = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(OBJECTS_BEFORE_A_LOOK)
    _write_any_character()
    if sys.stdout is None:
        return _closed()
    try:
        code = _commands()(args=given, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        return STOPPED
    except typer.TyperException as error:
        return _wrong_usage(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one sentence and an exit code
        return _failed(error, "--debug" in given)
    return code if isinstance(code, int) else 0


def _ended(*_: object) -> NoReturn:
    """Whoever is told to end tidies up first, as after Ctrl-C: what is not whole, and what nobody would go on with."""
    raise SystemExit(128 + signal.SIGTERM)


@cache
def _commands() -> Callable[..., object]:
    """All the commands, for as many calls as a process makes: Typer would make them anew for each."""
    return typer.main.get_command(app)


def _write_any_character() -> None:
    """A name that the terminal's encoding lacks a letter of is written with escapes, rather than not at all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _wrong_usage(error: typer.TyperException) -> int:
    from shared.cli.output import complain

    context = getattr(error, "ctx", None)
    # Typer gives the help itself as the message where a group of commands is called without one.
    if "\n" in error.format_message():
        sys.stderr.write(error.format_message() + "\n")
        return error.exit_code
    command = context.command_path if context else PROGRAM
    said = error.format_message().rstrip(".").replace("Value error, ", "").replace(NO_NUMBER, "it has to be a number")
    if said.startswith(EXTRA) and command.endswith(TAKE_KEYS):
        complain(f"{NO_KEYS} (`{command} --help` says what it takes)")
        return error.exit_code
    complain(f"{SECRET.sub('…', said)} (`{command} --help` says what it takes)")
    return error.exit_code


def _failed(error: Exception, debug: bool) -> int:
    from shared.cli.output import complain

    if debug:
        traceback.print_exception(error)
    sentence, code = explain(error)
    complain(sentence)
    return code


def _closed() -> int:
    """Before anything is done: it could not be said."""
    from shared.cli.output import complain

    complain("the standard output is closed; what is not wanted can go to /dev/null")
    return WRONG_USAGE


def _reader_left() -> int:
    """Whoever read our output (`| head`) has seen enough; without this, Python complains again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
