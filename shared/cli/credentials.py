"""`cloud-accounts keys`, `cloud-accounts reseal`: access keys, which come in by a prompt or standard input only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.cli.app import AsJson, open_app
from shared.cli.cloud_accounts import AccountId
from shared.cli.failures import FailedError
from shared.cli.files import HERE, content_of, somebody_types

if TYPE_CHECKING:
    from shared.ports.credentials import AccessKeys

PROMPTS = ("Access key id", "Secret access key")


def give_keys(
    account: AccountId,
    remove: Annotated[bool, typer.Option("--remove", help="Take its access keys away.")] = False,
    json: AsJson = False,
) -> None:
    """Give an AWS cloud account access keys, which are kept sealed; a role without any is better, where it can be had.

    They are asked for, or read from the standard input: the id and the secret on a line each, or what
    `aws iam create-access-key` writes. They are never shown again.
    """
    service = open_app().credential_service
    known = service.of_explorer(account)
    if remove:
        service.remove(known.id)
    else:
        service.keep(known.id, given_keys())
    if json:
        output.write_json({"id": known.id, "name": known.name, "sealed": not remove})
    elif remove:
        output.say(f"Cloud account {known.id} ({known.name}) has no access keys of ours any more.")
    else:
        output.say(f"The access keys of cloud account {known.id} ({known.name}) are sealed.")


def given_keys() -> AccessKeys:
    """Access keys from a prompt, or from the standard input. Raises RequestError."""
    from shared.services.credentials import keys_in, text_in

    if not somebody_types():
        return keys_in(text_in(content_of(HERE)))
    # Neither is shown: whoever pastes both lines at once would see the secret behind the id.
    asked = [typer.prompt(f"{what} (not shown)", hide_input=True, err=True) for what in PROMPTS]
    return keys_in("\n".join(asked))


def reseal(json: AsJson = False) -> None:
    """Seal all access keys anew, by the first of ENCRYPTION_KEYS; the others may then leave that setting."""
    done = open_app().credential_service.reseal()
    for fault in done.faults:
        output.warn(fault)
    if json:
        output.write_json(output.chosen(done, "resealed", "current", "faults", "mended"))
    else:
        for key_id in done.mended:
            output.say(f"The check of the key {key_id} was damaged, and is written anew.")
        output.say(f"Sealed {output.count(done.resealed, 'cloud account')} anew by the key {done.current}.")
    if done.faults:
        raise FailedError(f"{output.count(len(done.faults), 'cloud account')} stayed as before")
