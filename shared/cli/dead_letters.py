"""`dead-letters`: messages that failed for good."""

from __future__ import annotations

import json as json_format
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, given_reason, open_app, user_name
from shared.cli.failures import FailedError, WrongUsageError, later
from shared.cli.output import Column
from shared.domain.texts import shortened
from shared.messages import LARGEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.ports.dead_letters import DeadLetter
    from shared.services.dead_letters import DeadLetterService

commands = command_group("Messages that failed for good.")

Letter = Annotated[int, typer.Argument(min=1, max=LARGEST_ID, metavar="ID", help="Its id in the list.")]


@commands.command("list")
def list_letters(
    json: AsJson = False,
    replayed: Annotated[
        bool, typer.Option("--replayed", "--all", help="Also those that were replayed or discarded.")
    ] = False,
) -> None:
    """List those that wait: neither replayed nor discarded.

    Oldest first.
    """
    letters = open_app().dead_letter_service.letters(replayed)
    if json:
        output.write_json([_listed(letter) for letter in letters])
    elif not letters:
        output.say("There are no dead letters.")
    else:
        output.write_records({**TABLE, **REPLAYED} if replayed else TABLE, letters)
        output.say()
        output.say(
            "When the cause is mended: `python -m shared.cli dead-letters replay ID…`, or `--all`; "
            "where nothing is to become of one: `dead-letters discard ID… --reason TEXT`"
        )


@commands.command()
def show(letter_id: Letter, json: AsJson = False) -> None:
    """Show all of one dead letter."""
    letter = _found(open_app().dead_letter_service, letter_id)
    if json:
        output.write_json(_listed(letter))
        return
    output.write_facts(
        [
            ("id", str(letter.id)),
            ("queue", letter.queue),
            ("failed", f"{output.minute(letter.at)} UTC"),
            ("replayed", f"{output.minute(letter.replayed_at)} UTC" if letter.replayed_at else "no"),
            ("discarded", _discarded(letter)),
            ("reason", letter.reason),
            ("message", _indented(letter.body)),
        ]
    )


@commands.command()
def discard(
    letter_ids: Annotated[list[int], typer.Argument(min=1, max=LARGEST_ID, metavar="ID…", help="Their ids.")],
    reason: Annotated[str, typer.Option(help="Why; kept with them.")],
    json: AsJson = False,
) -> None:
    """Put them aside for good: they are listed no more but with --replayed, and can still be replayed."""
    why = given_reason(reason)
    service = open_app().dead_letter_service
    wanted = [_found(service, letter_id).id for letter_id in dict.fromkeys(letter_ids)]
    service.discard(wanted, why, user_name())
    if json:
        output.write_json([_listed(_found(service, letter_id)) for letter_id in wanted])
    else:
        output.say(f"Discarded: {len(wanted):,}.")


@commands.command()
def replay(
    letter_ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=LARGEST_ID, metavar="ID…", help="Their ids in the list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were not replayed yet.")] = False,
    json: AsJson = False,
) -> None:
    """Queue them again, once the cause is mended."""
    if every == bool(letter_ids):
        raise WrongUsageError("name the dead letters to replay by their ids, or write --all")
    service = open_app().dead_letter_service
    if every:
        wanted = [letter.id for letter in service.letters()]
    else:
        wanted = [_found(service, letter_id).id for letter_id in dict.fromkeys(letter_ids or [])]
    refused = _replay(service, wanted)
    if json:
        reasons = [{"id": letter_id, "reason": reason} for letter_id, reason in refused.items()]
        output.write_json({"replayed": [each for each in wanted if each not in refused], "refused": reasons})
    else:
        output.say(f"Replayed: {len(wanted) - len(refused):,} of {len(wanted):,}.")
    if refused:
        raise FailedError("not all could be replayed:\n" + "\n".join(f"  {each}" for each in refused.values()))


def _replay(service: DeadLetterService, wanted: Sequence[int]) -> dict[int, str]:
    """Queues them again; returns a sentence for each one that can't be."""
    from shared.ports.errors import LaterError

    refused = {}
    for done, letter_id in enumerate(output.tracked(wanted, "Replaying")):
        try:
            sentence = service.replay(letter_id)
        except LaterError as error:
            raise FailedError(f"{done:,} of {len(wanted):,} were dealt with; then {later(error)}") from error
        if sentence:
            refused[letter_id] = sentence
    return refused


def _found(service: DeadLetterService, letter_id: int) -> DeadLetter:
    letter = service.get(letter_id)
    if letter is None:
        raise WrongUsageError(
            f"there is no dead letter {letter_id}; `python -m shared.cli dead-letters list` shows them all"
        )
    return letter


TABLE: output.Table[DeadLetter] = {
    Column("id", right=True): lambda letter: str(letter.id),
    Column("failed, UTC", spare=1): lambda letter: output.minute(letter.at),
    Column("queue"): attrgetter("queue"),
    Column("reason", words=True): attrgetter("reason"),
    Column("message", words=True, spare=2): lambda letter: shortened(letter.body),
}


def _discarded(letter: DeadLetter) -> str:
    if letter.discarded_at is None:
        return ""
    return f"{output.minute(letter.discarded_at)} UTC by {letter.discarded_by}: {letter.discard_reason}"


REPLAYED: output.Table[DeadLetter] = {
    Column("replayed, UTC"): lambda letter: output.minute(letter.replayed_at) if letter.replayed_at else "no",
    Column("discarded", words=True): _discarded,
}


def _indented(body: str) -> str:
    """JSON in a form that can be read; anything else as it is."""
    try:
        return json_format.dumps(json_format.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _listed(letter: DeadLetter) -> dict[str, Any]:
    discarded = output.chosen(letter, "discarded_at", "discarded_by", "discard_reason")
    return output.chosen(letter, "id", "queue", "body", "reason", "at", "replayed_at") | discarded
