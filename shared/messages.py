"""The queue messages: JSON objects with PascalCase keys.

Reading is generous in form (plain JSON or base64 of it, keys in any case, unknown keys ignored) and strict in
content: what can't be right raises MessageError with a sentence that says what would be.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID, uuid5

from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.domain.periods import Period
from shared.domain.texts import UNSTORABLE, is_one_line, readable, shortened, storable, units

# 64 KiB is the queue's limit; in base64, 48 KiB of text fill it.
LARGEST_BYTES = 48 * 1024
# What comes from elsewhere may have to be put back: Attempt, FirstQueuedAt, Replayed and TraceParent take up to 154
# bytes more.
LARGEST_BY_HAND_BYTES = LARGEST_BYTES - 200
# An id of 10 digits and its comma take 12 bytes; this many leave ample room for the envelope.
PROJECTS_PER_MESSAGE = 2000
# What a provider takes in some seconds, one after the other. A message costs more than a mail: on the queue it is put,
# taken and deleted.
MAILS_PER_MESSAGE = 20
LARGEST_ID = 2**31 - 1
# A reason is kept in the audit, and stands in mails.
LONGEST_REASON = 1000

# Halves of surrogate pairs have no UTF-8, and XML, in which the queue service takes messages, lacks the other two.
ESCAPED = re.compile("[\ud800-\udfff\ufffe\uffff]")
# The names, in lower case, of the host's own properties of a queue message.
HOSTS_OWN = frozenset({"id", "dequeuecount", "insertiontime", "expirationtime", "nextvisibletime", "popreceipt"})
QUEUE_MESSAGES = UUID("0d7b6f0e-6f5c-4f0b-8a55-0b5f1f1a2c11")
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


# Event Grid's schema has the first, CloudEvents the second.
EVENT_TYPES = ("eventType", "type")
BLOB_CREATED = "microsoft.storage.blobcreated"
BLOB_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.IGNORECASE | re.DOTALL)
# A container's name has 63 characters, a blob's 1,024.
LONGEST_PLACE = 63 + 1 + 1024
TRACE_PARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Queue(StrEnum):
    """The chain's queues, by their default names; the settings give each its real one."""

    UPDATE = "project-usage-update"
    NOTIFICATION = "project-usage-notification"
    EMAIL = "email-notification"
    LOCK = "project-lock"
    EXPORT = "cost-export-import"


class LockAction(StrEnum):
    """What a lock message asks for."""

    LOCK = "lock"
    UNLOCK = "unlock"


SYNC = "sync"
"""The third word for Action on the project-lock queue: a BudgetSyncMessage."""


class LockTrigger(StrEnum):
    """Who asks: the notifier's check, Azure's budget alert, an operator's command, or a message from elsewhere."""

    CHECK = "check"
    ALERT = "alert"
    OPERATOR = "operator"
    MESSAGE = "message"


class MessageError(ValueError):
    """A message that can't be right; the text says what would be."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every message may carry.

    run_id: the key of the run it belongs to. attempt: how often it was put back, from 0.
    first_queued_at: when the first of those copies was queued. replayed: a person sent it again, a mail at
    first_queued_at. trace_parent: of the work that it comes of (W3C `traceparent`).
    """

    run_id: str | None = None
    attempt: int = 0
    first_queued_at: datetime | None = None
    replayed: bool = False
    trace_parent: str | None = None


@dataclass(frozen=True, slots=True)
class ScopeTarget:
    """What one update message is about: a whole cloud account, or one project (or one resource group of it).

    An Azure subscription that is asked for its costs goes by its id; other cloud accounts by ours, and their provider.
    left: the days that are read whatever is known of them (`Since`, `Before`); None for what is due.
    """

    subscription_id: str | None = None
    project_id: int | None = None
    resource_group: str | None = None
    cloud_account_id: int | None = None
    provider: str | None = None
    left: Period | None = None

    @property
    def subject(self) -> str:
        """The target in words, unique within a run."""
        if self.subscription_id is not None:
            return f"subscription {self.subscription_id}"
        if self.cloud_account_id is not None:
            return f"account {self.cloud_account_id} ({self.provider})"
        group = f", group {self.resource_group}" if self.resource_group else ""
        return f"project {self.project_id}{group}"

    @classmethod
    def of(cls, message: UpdateMessage) -> ScopeTarget:
        """What a message is about."""
        return cls(*(getattr(message, each.name) for each in fields(cls)))

    def message(self, envelope: Envelope) -> UpdateMessage:
        """The message that reads it."""
        return UpdateMessage(**{each.name: getattr(self, each.name) for each in fields(self)}, envelope=envelope)


@dataclass(frozen=True, slots=True)
class UpdateMessage(ScopeTarget):
    """Read the costs of a target again. project_acronym: names the project by hand, in the place of its id."""

    project_acronym: str | None = None
    envelope: Envelope = field(default=Envelope())


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """Compare the usage of these projects with their budgets. project_acronym: names the only one by hand."""

    project_ids: tuple[int, ...] = ()
    envelope: Envelope = field(default=Envelope())
    project_acronym: str | None = None


@dataclass(frozen=True, slots=True)
class MailMessage:
    """A whole mail: `body` is HTML. attachments: the names of those that it came with, which are not sent."""

    to: tuple[str, ...]
    subject: str
    body: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SentAs:
    """A mail that was handed over while the database was away: what became of it only has to be noted.

    deliveries: empty in messages of earlier versions, which say that all got it.
    """

    claimant: str
    receipt: str
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """Send a mail: one from the database by its id, or a whole one; or note that it has been sent.

    claimant: whose claim on it the message has waited for, to go on once it is over; it never goes with sent_as.
    """

    email_id: int | None = None
    mail: MailMessage | None = None
    sent_as: SentAs | None = None
    envelope: Envelope = field(default=Envelope())
    claimant: str | None = None


@dataclass(frozen=True, slots=True)
class EmailsMessage:
    """Send several mails from the database."""

    email_ids: tuple[int, ...]
    envelope: Envelope = field(default=Envelope())


@dataclass(frozen=True, slots=True)
class LockMessage:
    """Lock or unlock a project.

    The project is named by its id, by hand by its acronym, or, as Azure's alert does, by its Azure budget and that
    one's subscription. by, ordered_at: who and when, where an operator orders it; of two orders the later one counts.
    """

    action: LockAction
    project_id: int | None = None
    budget_name: str | None = None
    subscription_id: str | None = None
    reason: str = ""
    trigger: LockTrigger = LockTrigger.MESSAGE
    by: str | None = None
    ordered_at: datetime | None = None
    envelope: Envelope = field(default=Envelope())
    project_acronym: str | None = None

    @property
    def is_look(self) -> bool:
        """Whether it only asks to look again: what a check asks of a lock that it knows of (`look`)."""
        return self.trigger is LockTrigger.CHECK and self.action is LockAction.UNLOCK


@dataclass(frozen=True, slots=True)
class BudgetSyncMessage:
    """Bring Azure's own budgets of a subscription in step with the projects'. It goes by the project-lock queue."""

    subscription_id: str
    envelope: Envelope = field(default=Envelope())


@dataclass(frozen=True, slots=True)
class ManifestMessage:
    """Import the run of a cost export that a manifest lists. manifest: its container and its name there.

    cloud_account_id: of which it is; None where its place says so.
    """

    manifest: str
    cloud_account_id: int | None = None
    envelope: Envelope = field(default=Envelope())


@dataclass(frozen=True, slots=True)
class PartMessage:
    """Read a part of a run, by the run's number in the history and the part's in the run, from 0.

    content: of the run as the app found it (`runs.content_of`); None where a person sends it.
    """

    export_run_id: int
    part: int
    content: str | None = None
    envelope: Envelope = field(default=Envelope())


@dataclass(frozen=True, slots=True)
class BlobsMessage:
    """Blobs were written, as Event Grid tells: each by its container and its name there. Some may be manifests."""

    blobs: tuple[str, ...]
    envelope: Envelope = field(default=Envelope())


Message = (
    UpdateMessage
    | NotificationMessage
    | EmailMessage
    | EmailsMessage
    | LockMessage
    | BudgetSyncMessage
    | ManifestMessage
    | PartMessage
    | BlobsMessage
)
QUEUES: dict[type[Message], Queue] = {
    UpdateMessage: Queue.UPDATE,
    NotificationMessage: Queue.NOTIFICATION,
    EmailMessage: Queue.EMAIL,
    EmailsMessage: Queue.EMAIL,
    LockMessage: Queue.LOCK,
    BudgetSyncMessage: Queue.LOCK,
    ManifestMessage: Queue.EXPORT,
    PartMessage: Queue.EXPORT,
    BlobsMessage: Queue.EXPORT,
}
"""On which queue each kind of message goes."""
T = TypeVar("T")
Word = TypeVar("Word", bound=str)
Sized = TypeVar("Sized", "NotificationMessage", "EmailMessage", "EmailsMessage", "BlobsMessage")


# What a person may write, where what is there is no message.
A_PROJECT, A_MANIFEST = '{"ProjectId": 11}', '{"Manifest": "msexports/daily/manifest.json"}'


def parse_update(body: str | bytes) -> UpdateMessage:
    """A project-usage-update message. Raises MessageError."""
    fields = _Fields(body)
    message = UpdateMessage(
        subscription_id=fields.take("SubscriptionId", _guid),
        project_id=fields.take("ProjectId", _identifier),
        project_acronym=fields.take("ProjectAcronym", _one_line(1, 50)),
        resource_group=fields.take("ResourceGroup", _one_line(1, 90)),
        cloud_account_id=fields.take("CloudAccountId", _identifier),
        provider=fields.take("Provider", _provider),
        left=_days_left(fields),
        envelope=fields.envelope(),
    )
    projects = (message.project_id, message.project_acronym)
    if [message.subscription_id, *projects, message.cloud_account_id].count(None) != 3:
        raise MessageError(
            'name either a project ({"ProjectId": 11} or {"ProjectAcronym": "DIE1"}), '
            'a subscription ({"SubscriptionId": "…"}) or a cloud account ({"CloudAccountId": 7})'
        )
    if message.resource_group is not None and projects == (None, None):
        raise MessageError('a ResourceGroup goes with a ProjectId: {"ProjectId": 11, "ResourceGroup": "…"}')
    if message.provider is not None and message.cloud_account_id is None:
        raise MessageError('a Provider goes with a CloudAccountId: {"CloudAccountId": 7, "Provider": "…"}')
    return message


def _days_left(fields: _Fields) -> Period | None:
    since, before = fields.take("Since", _day), fields.take("Before", _day)
    if since is None and before is None:
        return None
    if since is None or before is None or since >= before:
        raise MessageError('Since and Before go together, the earlier day first: {"Since": "2026-04-01", "Before": …}')
    return Period(since, before)


def parse_notification(body: str | bytes) -> NotificationMessage:
    """A project-usage-notification message. Raises MessageError."""
    fields = _Fields(body)
    one = fields.take("ProjectId", _identifier)
    many = fields.take("ProjectIds", _list_of(_identifier))
    acronym = fields.take("ProjectAcronym", _one_line(1, 50))
    if [one, many, acronym].count(None) != 2:
        raise MessageError(
            'name the projects: {"ProjectId": 11}, {"ProjectAcronym": "DIE1"} or {"ProjectIds": [11, 12]}, '
            "only one of them"
        )
    if acronym is not None:
        return NotificationMessage((), fields.envelope(), acronym)
    ids = (one,) if one is not None else tuple(dict.fromkeys(many or ()))
    if not ids:
        raise MessageError("ProjectIds is empty; name at least one project")
    return with_room(NotificationMessage(ids, fields.envelope()))


def parse_email(body: str | bytes) -> EmailMessage | EmailsMessage:
    """An email-notification message. Raises MessageError."""
    fields = _Fields(body)
    email_id, many = fields.take("EmailId", _identifier), fields.take("EmailIds", _list_of(_identifier))
    if many is not None:
        if email_id is not None or not many:
            raise MessageError('EmailIds names at least one mail, and goes without EmailId: {"EmailIds": [123, 124]}')
        return with_room(EmailsMessage(tuple(dict.fromkeys(many)), fields.envelope()))
    if email_id is not None:
        claimant, receipt = fields.take("Claimant", _one_line(1, 100)), fields.take("Receipt", _receipt)
        deliveries = tuple(fields.take("Deliveries", _list_of(_delivery)) or ())
        if claimant is None or receipt is None:
            return EmailMessage(email_id, envelope=fields.envelope(), claimant=claimant)
        return EmailMessage(email_id, None, SentAs(claimant, receipt, deliveries), fields.envelope())
    mail = MailMessage(
        to=fields.take("To", _addresses) or (),
        cc=fields.take("Cc", _addresses) or (),
        bcc=fields.take("Bcc", _addresses) or (),
        subject=fields.take("Subject", _one_line(1, 500)) or "",
        body=fields.take("Body", _text(1, LARGEST_BYTES)) or "",
        attachments=fields.take("Attachments", _attachments) or (),
    )
    if not (mail.to or mail.cc or mail.bcc) or not mail.subject or not mail.body:
        raise MessageError(
            'send {"EmailId": 123}, or a whole mail with To, Subject and Body: '
            '{"To": ["a@b.ca"], "Subject": "…", "Body": "<p>…</p>"}'
        )
    return with_room(EmailMessage(None, mail, None, fields.envelope()))


def with_room(message: Sized) -> Sized:
    """The message, if it can be put back however often. Raises MessageError."""
    as_it_came = replace(message, envelope=Envelope(run_id=message.envelope.run_id))
    _written(_content(as_it_came), LARGEST_BY_HAND_BYTES)
    return message


def parse_lock(body: str | bytes) -> LockMessage | BudgetSyncMessage:
    """A project-lock message. Raises MessageError."""
    fields = _Fields(body)
    action = fields.take("Action", _one_of((*LockAction, SYNC)))
    if action is None:
        raise MessageError('Action is missing; write lock or unlock: {"ProjectId": 11, "Action": "lock"}')
    project_id, budget_name = fields.take("ProjectId", _identifier), fields.take("BudgetName", _one_line(1, 100))
    acronym = fields.take("ProjectAcronym", _one_line(1, 50))
    subscription_id = fields.take("SubscriptionId", _guid)
    if action == SYNC:
        if subscription_id is None or [project_id, acronym, budget_name].count(None) != 3:
            raise MessageError('a sync is for a subscription: {"SubscriptionId": "…", "Action": "sync"}')
        return BudgetSyncMessage(subscription_id, fields.envelope())
    if [project_id, acronym, budget_name].count(None) != 2:
        raise MessageError(
            'name the project: {"ProjectId": 11, "Action": "lock", "Reason": "…"}, or "ProjectAcronym": "DIE1", '
            "only one of them"
        )
    if budget_name is not None and subscription_id is None:
        raise MessageError("a BudgetName goes with its SubscriptionId")
    return LockMessage(
        action=LockAction(action),
        project_id=project_id,
        budget_name=budget_name,
        subscription_id=subscription_id,
        reason=fields.take("Reason", _text(0, LONGEST_REASON)) or "",
        trigger=fields.take("Trigger", _one_of(LockTrigger)) or LockTrigger.MESSAGE,
        by=fields.take("By", _one_line(1, 100)),
        ordered_at=fields.take("OrderedAt", _instant),
        envelope=fields.envelope(),
        project_acronym=acronym,
    )


def parse_export(body: str | bytes) -> ManifestMessage | PartMessage | BlobsMessage:
    """A cost-export-import message, or events of Event Grid, in its schema or as CloudEvents. Raises MessageError."""
    value = _json_within(body, A_MANIFEST)
    if isinstance(value, list) and value and all(isinstance(each, dict) and _is_event(_Fields(each)) for each in value):
        return BlobsMessage(tuple(blob for each in value for blob in _blobs_of(_Fields(each))))
    fields = _Fields(_member(value, A_MANIFEST))
    manifest, run_id = fields.take("Manifest", _place), fields.take("ExportRunId", _identifier)
    blobs = fields.take("Blobs", _list_of(_place))
    if (manifest, run_id, blobs) == (None, None, None) and _is_event(fields):
        return BlobsMessage(_blobs_of(fields))
    if [manifest, run_id, blobs].count(None) != 2:
        raise MessageError(
            f'name a manifest ({A_MANIFEST}) or a part of a run ({{"ExportRunId": 7, "Part": 0}}), only one of them'
        )
    if blobs is not None:
        return with_room(BlobsMessage(tuple(blobs), fields.envelope()))
    if manifest is not None:
        return ManifestMessage(manifest, fields.take("CloudAccountId", _identifier), fields.envelope())
    part = fields.take("Part", _count)
    if part is None:
        raise MessageError('an ExportRunId goes with a Part, from 0: {"ExportRunId": 7, "Part": 0}')
    return PartMessage(run_id or 0, part, fields.take("Content", _one_line(1, 64)), fields.envelope())


def _is_event(fields: _Fields) -> bool:
    return any(fields.has(name) for name in EVENT_TYPES) and fields.has("subject")


def _blobs_of(event: _Fields) -> tuple[str, ...]:
    """The blob that an event of Event Grid tells of; none where it tells of anything else."""
    kinds = [str(event.take(name, _if_text)).lower() for name in EVENT_TYPES]
    found = BLOB_SUBJECT.fullmatch(event.take("subject", _if_text) or "")
    if found is None or BLOB_CREATED not in kinds:
        return ()
    try:
        return (_place(f"{found[1]}/{found[2]}"),)
    except ValueError:
        return ()


def _if_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def is_batch(message: Message) -> bool:
    """Whether it is about several projects or mails."""
    return len(getattr(message, "project_ids", ())) > 1 or isinstance(message, EmailsMessage)


def traced(message: Message, trace_parent: str | None) -> Message:
    """The message as coming of this work; as it is, where there is no trace."""
    if trace_parent is None:
        return message
    return replace(message, envelope=replace(message.envelope, trace_parent=trace_parent))


def acronym_in(message: Message) -> str | None:
    """The acronym by which a message by hand names its project; None where it names none so."""
    return getattr(message, "project_acronym", None)


def projects_in(message: Message) -> tuple[int, ...]:
    """The ids of the projects that a message names."""
    if isinstance(message, NotificationMessage):
        return message.project_ids
    project_id = getattr(message, "project_id", None)
    return () if project_id is None else (project_id,)


def with_id(message: Message, project_id: int) -> Message:
    """A message that names its project by its acronym, with that one's id in its place."""
    if isinstance(message, NotificationMessage):
        return replace(message, project_acronym=None, project_ids=(project_id,))
    if isinstance(message, UpdateMessage | LockMessage):
        return replace(message, project_acronym=None, project_id=project_id)
    return message


PARSERS: dict[Queue, Callable[[str], Message]] = {
    Queue.UPDATE: parse_update,
    Queue.NOTIFICATION: parse_notification,
    Queue.EMAIL: parse_email,
    Queue.LOCK: parse_lock,
    Queue.EXPORT: parse_export,
}


def to_json(message: Message) -> str:
    """The message as it goes onto its queue: JSON on one line. Raises MessageError over 48 KiB of UTF-8."""
    return _written(_content(message))


def origin_of(message_id: str | None, inserted_at: datetime | None, body: str) -> str:
    """What tells a queue message from all others, through all its attempts, in the form of an id.

    A foreign message with a member `id` has that as its id, as far as the host says; its body, and when it was put
    onto its queue, tell it from another one with the same.
    """
    told = "\n".join([message_id or "", inserted_at.isoformat() if inserted_at else "", body])
    return str(uuid5(QUEUE_MESSAGES, told.encode("utf-8", "replace").decode()))


def without_hosts_own(body: str) -> str:
    """The message without members that the Functions host would take for its own properties of it."""
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(members, dict) or not any(name.lower() in HOSTS_OWN for name in members):
        return body
    return json.dumps({name: value for name, value in members.items() if name.lower() not in HOSTS_OWN})


def changed(body: str, change: Callable[[Any], Any]) -> str:
    """The body with its JSON value changed, written without escapes, whether it is base64 of it or not; with its text
    changed, where it is none. As it is, where that changes nothing.
    """
    try:
        value = _json(body)
    except MessageError:
        return str(change(body))
    after = change(value)
    return body if after == value else storable(json.dumps(after, ensure_ascii=False))


def one_by_one(message: Message) -> list[NotificationMessage]:
    """A set of projects as messages of one each, which are tried from the start; none where it is no set."""
    if not isinstance(message, NotificationMessage) or len(message.project_ids) == 1:
        return []
    return [NotificationMessage((each,), Envelope(message.envelope.run_id)) for each in message.project_ids]


def notifications(project_ids: Iterable[int], envelope: Envelope) -> list[NotificationMessage]:
    """As few messages as hold these projects, each under the size limit."""
    ids = tuple(project_ids)
    starts = range(0, len(ids), PROJECTS_PER_MESSAGE)
    fresh = Envelope(run_id=envelope.run_id)
    return [NotificationMessage(ids[start : start + PROJECTS_PER_MESSAGE], fresh) for start in starts]


def emails(mail_ids: Iterable[int]) -> list[EmailMessage | EmailsMessage]:
    """As few messages as have these mails sent."""
    ids = tuple(mail_ids)
    sets = [ids[start : start + MAILS_PER_MESSAGE] for start in range(0, len(ids), MAILS_PER_MESSAGE)]
    return [EmailsMessage(some) if len(some) > 1 else EmailMessage(some[0]) for some in sets]


def look(project_id: int, reason: str = "", envelope: Envelope | None = None) -> LockMessage:
    """Asks for a project's lock to be looked at again: nothing is told where all is as it should be."""
    trigger = LockTrigger.CHECK
    return LockMessage(LockAction.UNLOCK, project_id, reason=reason, trigger=trigger, envelope=envelope or Envelope())


def put_back(message: Message, now: datetime) -> Message:
    """The copy of a message that is tried again later: one attempt more, its first time kept."""
    envelope = message.envelope
    first = envelope.first_queued_at or now
    return replace(message, envelope=replace(envelope, attempt=envelope.attempt + 1, first_queued_at=first))


def as_replayed(body: str, now: datetime | None = None) -> str:
    """The same message, marked as sent again by a person (now) and counted from the start.

    Raises MessageError where the body is no JSON object, or too large: replaying it can't help.
    """
    dropped = {"attempt", "firstqueuedat", "replayed"}
    kept = {name: value for name, value in _object(body).items() if name.lower() not in dropped}
    ordered = {"Replayed": True} | ({"FirstQueuedAt": now.astimezone(UTC).isoformat()} if now else {})
    return _written(kept | ordered)


def _written(content: Mapping[str, Any], limit: int = LARGEST_BYTES) -> str:
    # Letters stay letters: escaped, a mail in French is longer than what was taken in, and could not be put back.
    try:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise MessageError("the message is nested too deep") from None
    text = _escaped(text)
    size = len(text.encode("utf-8"))
    if size > limit:
        raise MessageError(f"a message of {size} bytes is too large; the limit is {limit}")
    return text


# Where the key is not the field's name in PascalCase.
_KEYS = {"start": "Since", "end": "Before"}


_LAST = frozenset({"action", "reason", "trigger", "by", "ordered_at", "envelope"})


def _content(part: Any) -> dict[str, Any]:
    """A message or a part of it, field by field, the parts in their places. What is as it is by itself is left out."""
    content: dict[str, Any] = {}
    # Whom it is about comes before what is to be done.
    for each in sorted(fields(part), key=lambda each: each.name in _LAST):
        value = getattr(part, each.name)
        if value == each.default:
            continue
        if is_dataclass(value):
            content |= _content(value)
        elif each.name == "project_ids" and len(value) == 1:
            content["ProjectId"] = value[0]
        else:
            content[_KEYS.get(each.name) or each.name.title().replace("_", "")] = _as_json(value)
    return content | {"Action": SYNC} if isinstance(part, BudgetSyncMessage) else content


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return [astuple(each) for each in value]
    return value.isoformat() if isinstance(value, date) else value


class _Fields:
    """A message's fields, found without regard to the case of their names."""

    def __init__(self, body: str | bytes | Mapping[str, Any]) -> None:
        members = _object(body) if isinstance(body, str | bytes) else body
        self._values = {name.lower(): value for name, value in members.items()}

    def has(self, name: str) -> bool:
        """Whether it has this field."""
        return name.lower() in self._values

    def take(self, name: str, read: Callable[[Any], T | None]) -> T | None:
        """The field as `read` takes it; None where it is missing or null."""
        value = self._values.get(name.lower())
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as error:
            raise MessageError(f"{name} is {_shown(value)}; {error}") from None

    def envelope(self) -> Envelope:
        """The fields that every message may carry."""
        return Envelope(
            run_id=self.take("RunId", _one_line(1, 100)),
            attempt=self.take("Attempt", _count) or 0,
            first_queued_at=self.take("FirstQueuedAt", _instant),
            replayed=self.take("Replayed", _flag) or False,
            trace_parent=self.take("TraceParent", _trace_parent),
        )


def _object(body: str | bytes) -> Mapping[str, Any]:
    return _member(_json_within(body))


def _member(value: Any, such_as: str = A_PROJECT) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(f"the message is not a JSON object; write one such as {such_as}")
    return value


def _json_within(body: str | bytes, such_as: str = A_PROJECT) -> Any:
    """The JSON of a message that is not too large."""
    size = len(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body)
    # Base64 makes a message a third larger; the limit is on the text inside.
    if size > LARGEST_BYTES * 4 // 3 + 4:
        raise MessageError(f"the message has {size} bytes; the limit is {LARGEST_BYTES}")
    return _json(body, such_as)


def _json(body: str | bytes, such_as: str = A_PROJECT) -> Any:
    text = _decoded(body)
    if text is not None and not text.startswith("{"):
        text = _from_base64(text) or text
    if text is None:
        raise MessageError("the message is neither JSON nor base64 of JSON in UTF-8")
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES:
        raise MessageError(f"the message is over the limit of {LARGEST_BYTES} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError(f"the message is neither JSON nor base64 of JSON; write one such as {such_as}") from None


def _decoded(body: str | bytes) -> str | None:
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text.lstrip("\ufeff").strip()


def _from_base64(text: str) -> str | None:
    try:
        compact = "".join(text.split())
        # Some tools leave out the padding.
        return _decoded(base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _identifier(value: Any) -> int:
    # Ten digits are all that an id can have; int() complains in words of its own of thousands of them.
    is_digits = isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,10}\s*", value)
    number = int(value) if is_digits else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= LARGEST_ID:
        raise ValueError(f"it has to be a whole number from 1 to {LARGEST_ID}")
    return number


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_ID:
        raise ValueError(f"it has to be a whole number from 0 to {LARGEST_ID}")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it has to be true or false")  # noqa: TRY004 - a fault of the message, not of our types
    return value


def _trace_parent(value: Any) -> str | None:
    """None where it can't be one: a trace is no reason to refuse a message."""
    return value if isinstance(value, str) and TRACE_PARENT.fullmatch(value) else None


def _guid(value: Any) -> str:
    if not isinstance(value, str) or not GUID.fullmatch(value.strip()):
        raise ValueError("it has to be a subscription's id, such as 1caaa5a3-2b66-438e-8ab4-bce37d518c5d")
    return value.strip().lower()


def _text(shortest: int, longest: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or units(value) > longest or len(value.strip()) < shortest:
            raise ValueError(f"it has to be a text of {shortest} to {longest} characters")
        return _storable(value)

    return read


def _one_line(shortest: int, longest: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        text = _text(shortest, longest)(value)
        if not is_one_line(text):
            raise ValueError("it has to be one line of text")
        return text

    return read


def _provider(value: Any) -> str:
    return _one_line(1, 20)(value).strip().lower()


def _place(value: Any) -> str:
    place = _one_line(3, LONGEST_PLACE)(value)
    container, _, name = place.strip("/").partition("/")
    if not container or not name:
        raise ValueError("it has to be a container and the name of a blob in it, such as msexports/daily/manifest.json")
    return f"{container}/{name}"


def _one_of(words: Iterable[Word]) -> Callable[[Any], Word]:
    known = {word: word for word in words}

    def read(value: Any) -> Word:
        try:
            return known[value.strip().lower()]
        except (AttributeError, KeyError):
            raise ValueError(f"it has to be one of {', '.join(known)}") from None

    return read


def _storable(text: str) -> str:
    if UNSTORABLE.search(text):
        raise ValueError("it holds a character that can't be stored: a NUL, or half of a surrogate pair")
    return text


def _list_of(read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    def read_list(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise ValueError("it has to be a list in [ ]")  # noqa: TRY004 - a fault of the message, not of our types
        return [_item(read, number, item) for number, item in enumerate(value, start=1)]

    return read_list


def _item(read: Callable[[Any], T], number: int, value: Any) -> T:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"its item {number} is {_shown(value)}; {error}") from None


def _addresses(value: Any) -> tuple[str, ...]:
    """Addresses as they are written: whether each is one is seen, and recorded, when the mail is sent."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError('it has to be a list of addresses, such as ["a@b.ca"]')
    return tuple(_storable(text) for text in texts)


def _attachments(value: Any) -> tuple[str, ...]:
    """Their names, whatever else is said of them; `file` of one without a name."""
    several = value if isinstance(value, list) else [value]
    return tuple(_name_of(each) for each in several if each)


def _name_of(attachment: Any) -> str:
    if isinstance(attachment, dict):
        named = (each for key, each in attachment.items() if key.lower() in {"name", "filename"})
        attachment = next(named, None)
    return (readable(attachment, 100) if isinstance(attachment, str) else "") or "file"


def _receipt(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it has to be a text")  # noqa: TRY004 - a fault of the message, not of our types
    return storable(value)


def _delivery(value: Any) -> Delivery:
    try:
        recipient, role, state, reason = value
        # Cleaned, not refused: without the note, a mail that is sent goes out once more.
        found = Delivery(storable(recipient), Role(role), DeliveryState(state), reason and storable(reason))
    except (TypeError, ValueError):
        raise ValueError('it has to be ["a@b.ca", "to", "taken", null]') from None
    return found


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("it has to be a day such as 2026-11-20") from None


def _instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        # Overflows where the day in UTC is before year 1 or after year 9999.
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("it has to be a time such as 2026-11-20T02:00:00+00:00") from None


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "nested too deep"
    return _escaped(shortened(text))


def _escaped(json_text: str) -> str:
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)
