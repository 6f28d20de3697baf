"""`mails`: what became of them, and sending one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli import output
from shared.cli.app import AsJson, command_group, given_reason, open_app, refuse_empty, user_name
from shared.cli.failures import WrongUsageError
from shared.cli.output import Cell, Column
from shared.domain.deliveries import DeliveryState, in_words, missing, refused
from shared.messages import LARGEST_ID
from shared.ports.mails import MailState, Topic

if TYPE_CHECKING:
    from shared.ports.mails import MailView

commands = command_group("Mails: what became of them, sending one again.")

STYLES = {MailState.SENT: "green", MailState.FAILED: "red"}


@commands.command("list")
def list_mails(
    project: Annotated[str | None, typer.Argument(help="Only this project's: its acronym or its id.")] = None,
    unsent: Annotated[bool, typer.Option("--unsent", help="Only those that somebody lacks for whom they are.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the last.")] = 50,
    json: AsJson = False,
) -> None:
    """List the last mails, newest first: what each is about, whether it has arrived, and why not."""
    refuse_empty(PROJECT=project)
    views = open_app().mail_service.listed(project or "", limit, unsent)
    if json:
        output.write_json([_listed(view) for view in views])
    elif not views:
        output.say("There is no such mail.")
    else:
        output.write_records(TABLE, views)


@commands.command()
def resend(
    mail_id: Annotated[int, typer.Argument(min=1, max=LARGEST_ID, metavar="ID", help="Its id in the list.")],
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDRESS", help="Only to this address; may be given again.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Send a mail again, as it was written.

    One that waits or has failed is tried now; one that was sent goes out a second time.
    """
    resent = open_app().mail_service.resend(mail_id, to or [], user_name())
    if json:
        output.write_json(output.chosen(resent, "mail_id", "to"))
    else:
        is_queued = "is queued" if resent.unasked is None else "is written"
        output.say(f"Mail {resent.mail_id} {is_queued} for {', '.join(resent.to) or 'the operators'}.")
    if resent.unasked:
        output.warn(
            f"{resent.unasked}; once the queues take it, the watchdog has it sent, within eight hours at most: "
            "don't ask for it again"
        )


@commands.command()
def discard(
    reason: Annotated[str, typer.Option("--reason", help="Why; shown by `mails list`.")],
    mail_ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=LARGEST_ID, metavar="[ID]...", help="Their ids in the list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    json: AsJson = False,
) -> None:
    """Put aside mails that wait to be sent, have failed, or that not all got: they need no hand any more.

    Nobody gets them, unless they are sent again by `mails resend`.
    """
    if bool(mail_ids) is every:
        raise WrongUsageError("name mails by their ids, or give --all")
    discarded = open_app().mail_service.discard(None if every else mail_ids or [], given_reason(reason), user_name())
    if json:
        output.write_json({"discarded": discarded})
    else:
        output.say(f"Put aside: {output.count(len(discarded), 'mail')}.")


# --- for people ----------------------------------------------------------------------------------------------


def _about(view: MailView) -> str:
    mail = view.stored.mail
    if mail.topic is Topic.ALERT and mail.threshold is not None:
        return output.thresholds([mail.threshold])
    subject = mail.context.get("subject")
    return str(subject) if subject else str(mail.topic).replace("-", " ")


def _state(view: MailView) -> Cell:
    state = view.stored.state
    if view.stored.discarded_at:
        return Cell("put aside", "yellow")
    if state is MailState.SENT and refused(view.stored.deliveries):
        return Cell("sent in part", "yellow")
    return Cell("being sent" if state is MailState.CLAIMED else state, STYLES.get(state, "yellow"))


def _note(view: MailView) -> str:
    stored = view.stored
    without = [*refused(stored.deliveries), *missing(stored.deliveries)]
    notes = [note for note in (stored.reason, f"not for {in_words(without)}" if without else "") if note]
    if stored.state is MailState.PENDING and stored.attempts:
        notes.append(f"tried next at {output.minute(view.due_at)} UTC")
    return "; ".join(notes) or (f"sent {output.minute(stored.sent_at)} UTC" if stored.sent_at else "")


TABLE: output.Table[MailView] = {
    Column("id", right=True): lambda view: str(view.stored.id),
    Column("made, UTC", spare=1): lambda view: output.minute(view.made_at),
    Column("project", words=True): lambda view: view.acronym or "",
    Column("about", words=True): _about,
    Column("to", words=True): lambda view: ", ".join(view.stored.mail.to) or "the operators",
    Column("state"): _state,
    Column("note", words=True): _note,
}


# --- for programs --------------------------------------------------------------------------------------------


def _listed(view: MailView) -> dict[str, Any]:
    stored, mail = view.stored, view.stored.mail
    return {
        "id": stored.id,
        "acronym": view.acronym,
        **output.chosen(mail, "topic", "threshold", "period_start"),
        "subject": mail.context.get("subject"),
        **output.chosen(mail, "to", "cc", "bcc", "language"),
        **output.chosen(view, "made_at", "due_at"),
        **output.chosen(stored, "state", "attempts", "sent_at", "reason", "message_id", "discarded_at"),
        "deliveries": [output.chosen(each, "recipient", "role", "state", "reason") for each in stored.deliveries],
        "arrived": stored.state is MailState.SENT
        and not any(each.state is DeliveryState.REFUSED for each in stored.deliveries),
    }
