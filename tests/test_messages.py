"""Messages: generous in form, strict in content, and never an error of another kind."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.periods import Period
from shared.messages import (
    GUID,
    LARGEST_BY_HAND_BYTES,
    LARGEST_BYTES,
    LARGEST_ID,
    LONGEST_REASON,
    BlobsMessage,
    BudgetSyncMessage,
    EmailMessage,
    EmailsMessage,
    Envelope,
    LockAction,
    LockMessage,
    LockTrigger,
    MailMessage,
    ManifestMessage,
    Message,
    MessageError,
    NotificationMessage,
    PartMessage,
    SentAs,
    UpdateMessage,
    as_replayed,
    is_batch,
    notifications,
    origin_of,
    parse_email,
    parse_export,
    parse_lock,
    parse_notification,
    parse_update,
    put_back,
    to_json,
    traced,
    without_hosts_own,
)

NAMES = [
    *(
        "SubscriptionId",
        "ProjectId",
        "ProjectIds",
        "ProjectAcronym",
        "ResourceGroup",
        "Since",
        "Before",
        "EmailId",
        "Claimant",
        "Receipt",
    ),
    *("Action", "BudgetName", "Reason", "Trigger", "By", "Attachments"),
    *("Manifest", "CloudAccountId", "ExportRunId", "Part", "Content", "Blobs", "eventType", "type"),
    *("To", "Cc", "Bcc", "Subject", "Body", "RunId", "Attempt", "FirstQueuedAt", "Replayed", "TraceParent"),
]
PARSERS = [parse_update, parse_notification, parse_email, parse_lock, parse_export]
TRACE = "00-2222222222222222222222222222222a-2222222222222222-01"
ACCOUNT = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
MANIFEST: dict[str, Any] = {"Manifest": "msexports/daily/manifest.json"}
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)

IDS = st.integers(1, LARGEST_ID)
# What can be stored anywhere: no NUL, no half of a surrogate pair.
WRITABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=80).filter(str.strip)
TEXTS = st.text(WRITABLE, min_size=1, max_size=300).filter(str.strip)
PERIODS = st.lists(st.dates(), min_size=2, max_size=2, unique=True).map(lambda days: Period(min(days), max(days)))
ENVELOPES = st.builds(
    Envelope,
    run_id=st.none() | LINES,
    attempt=st.integers(0, 10_000),
    first_queued_at=st.none() | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    replayed=st.booleans(),
    trace_parent=st.none() | st.just(TRACE),
)
# At most 50 units of UTF-16, as SQL Server counts: some characters are two.
ACRONYMS = LINES.map(lambda text: text[:25]).filter(str.strip)
UPDATES = st.one_of(
    st.builds(UpdateMessage, subscription_id=st.uuids().map(str), left=st.none() | PERIODS, envelope=ENVELOPES),
    st.builds(
        UpdateMessage,
        project_id=IDS,
        resource_group=st.none() | LINES,
        left=st.none() | PERIODS,
        envelope=ENVELOPES,
    ),
    st.builds(UpdateMessage, project_acronym=ACRONYMS, resource_group=st.none() | LINES, envelope=ENVELOPES),
    st.builds(
        UpdateMessage,
        cloud_account_id=IDS,
        provider=st.none() | st.sampled_from(["azure", "aws", "hetzner"]),
        left=st.none() | PERIODS,
        envelope=ENVELOPES,
    ),
)
NOTIFICATIONS = st.one_of(
    st.builds(NotificationMessage, st.lists(IDS, min_size=1, unique=True).map(tuple), envelope=ENVELOPES),
    st.builds(NotificationMessage, project_acronym=ACRONYMS, envelope=ENVELOPES),
)
ADDRESSES = st.lists(st.text(WRITABLE, max_size=40), max_size=3).map(tuple)
FILES = st.lists(st.sampled_from(["report.pdf", "données é.csv"]), max_size=3).map(tuple)
MAILS = st.builds(
    MailMessage,
    to=ADDRESSES.filter(bool),
    cc=ADDRESSES,
    bcc=ADDRESSES,
    subject=LINES,
    body=TEXTS,
    attachments=FILES,
)
EMAILS = st.one_of(
    st.builds(EmailMessage, email_id=IDS, envelope=ENVELOPES, claimant=st.none() | LINES),
    st.builds(
        EmailMessage,
        email_id=IDS,
        sent_as=st.builds(SentAs, LINES, st.text(WRITABLE, max_size=900)),
        envelope=ENVELOPES,
    ),
    st.builds(EmailMessage, mail=MAILS, envelope=ENVELOPES),
)
GUIDS = st.uuids().map(str)
SUBJECTS = st.one_of(
    st.fixed_dictionaries({"project_id": IDS}, optional={"subscription_id": GUIDS}),
    st.fixed_dictionaries({"project_acronym": ACRONYMS}),
    st.fixed_dictionaries({"budget_name": LINES, "subscription_id": GUIDS}),
).flatmap(lambda named: st.sampled_from([LockAction.LOCK, LockAction.UNLOCK]).map(lambda a: named | {"action": a}))
LOCKS = st.builds(
    lambda named, reason, trigger, by, envelope: LockMessage(
        **named, reason=reason, trigger=trigger, by=by, envelope=envelope
    ),
    SUBJECTS,
    st.text(WRITABLE, max_size=LONGEST_REASON),
    st.sampled_from(LockTrigger),
    st.none() | LINES,
    ENVELOPES,
)
SYNCS = st.builds(BudgetSyncMessage, GUIDS, ENVELOPES)
PLACES = st.builds(
    "{}/{}/manifest.json".format, st.sampled_from(["msexports", "costs-2"]), LINES.map(str.strip)
).filter(lambda place: "//" not in place)
EXPORTS = st.one_of(
    st.builds(ManifestMessage, PLACES, st.none() | IDS, ENVELOPES),
    st.builds(PartMessage, IDS, st.integers(0, 10_000), st.none() | st.just("a" * 64), ENVELOPES),
    st.builds(BlobsMessage, st.lists(PLACES, max_size=3).map(tuple), ENVELOPES),
)
MESSAGES = st.one_of(UPDATES, NOTIFICATIONS, EMAILS, LOCKS, SYNCS, EXPORTS)

FORMS: dict[str, Callable[[str], str | bytes]] = {
    "plain": lambda text: text,
    "bytes": lambda text: text.encode(),
    "with blanks": lambda text: f"\r\n\t {text} \n",
    "with a byte order mark": lambda text: "\ufeff" + text,
    "bytes with a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 as bytes": lambda text: base64.b64encode(text.encode()),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode().replace("\n", "\r\n"),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 with a byte order mark inside": lambda text: base64.b64encode(b"\xef\xbb\xbf" + text.encode()).decode(),
    "pretty": lambda text: json.dumps(json.loads(text), indent=4),
    "escaped": lambda text: json.dumps(json.loads(text), ensure_ascii=True),
}


def parser_of(message: Message) -> Callable[[str | bytes], Message]:
    parsers = {
        UpdateMessage: parse_update,
        NotificationMessage: parse_notification,
        EmailMessage: parse_email,
        LockMessage: parse_lock,
        BudgetSyncMessage: parse_lock,
        ManifestMessage: parse_export,
        PartMessage: parse_export,
        BlobsMessage: parse_export,
    }
    return parsers[type(message)]


def refusal(parse: Callable[[str | bytes], Message], body: str | bytes | dict[str, Any]) -> str:
    with pytest.raises(MessageError) as refused:
        parse(json.dumps(body) if isinstance(body, dict) else body)
    text = str(refused.value)
    text.encode("utf-8")  # it has to be written into logs and rows
    assert len(text) < 300
    return text


# --- form ----------------------------------------------------------------------------------------------------


@given(message=MESSAGES, form=st.sampled_from(sorted(FORMS)))
def test_every_message_comes_back_as_it_was_from_every_form_that_it_may_have(message: Message, form: str) -> None:
    assert parser_of(message)(FORMS[form](to_json(message))) == message


@pytest.mark.parametrize("form", FORMS)
def test_a_message_by_hand_is_understood_in_every_form(form: str) -> None:
    body = FORMS[form]('{"ProjectId": 11, "ResourceGroup": "fsdh_proj_die1_dev_rg"}')
    assert parse_update(body) == UpdateMessage(project_id=11, resource_group="fsdh_proj_die1_dev_rg")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f'{{"SubscriptionId":"{ACCOUNT}","RunId":"night-1"}}', UpdateMessage(ACCOUNT, envelope=Envelope("night-1"))),
        ('{"ProjectId":11}', UpdateMessage(project_id=11)),
        (
            f'{{"SubscriptionId":"{ACCOUNT}","Since":"2026-04-01","Before":"2026-09-01","RunId":"night-1","Attempt":2,'
            '"FirstQueuedAt":"2026-11-20T02:00:00+00:00","Replayed":true}',
            UpdateMessage(
                ACCOUNT,
                left=Period(date(2026, 4, 1), date(2026, 9, 1)),
                envelope=Envelope("night-1", 2, NOW, replayed=True),
            ),
        ),
    ],
)
def test_an_update_message_that_the_version_before_left_on_the_queue_is_understood(
    body: str, expected: UpdateMessage
) -> None:
    assert parse_update(body) == expected


@given(message=MESSAGES, data=st.data())
def test_names_of_fields_may_have_any_case_and_unknown_ones_are_ignored(message: Message, data: st.DataObject) -> None:
    content = json.loads(to_json(message))
    respelled = {
        data.draw(st.sampled_from([name.lower(), name.upper(), name.swapcase()])): content[name] for name in content
    }
    strange = {"Note": "by hand", "x": [1, {"y": None}], "": 1, "Größe": 1.5}
    assert parser_of(message)(json.dumps(strange | respelled)) == message


@given(message=MESSAGES)
def test_a_field_that_is_null_is_the_same_as_one_that_is_missing(message: Message) -> None:
    assert parser_of(message)(json.dumps(dict.fromkeys(NAMES) | json.loads(to_json(message)))) == message


@given(MESSAGES)
def test_what_goes_onto_a_queue_is_a_line_of_utf_8_that_xml_can_hold_and_within_the_limit(message: Message) -> None:
    text = to_json(message)
    assert len(text.encode("utf-8")) <= LARGEST_BYTES
    assert not any(ord(character) < 32 or character in "\ufffe\uffff" for character in text)


@pytest.mark.parametrize("form", FORMS)
def test_a_lock_by_hand_is_understood_in_every_form_with_words_in_any_case(form: str) -> None:
    by_hand = {
        "projectid": "11",
        "ACTION": " Lock ",
        "reason": "Budget épuisé",
        "Note": {"by": "hand"},
        "TRIGGER": None,
    }
    assert parse_lock(FORMS[form](json.dumps(by_hand, ensure_ascii=False))) == LockMessage(
        LockAction.LOCK, project_id=11, reason="Budget épuisé", trigger=LockTrigger.MESSAGE
    )


@pytest.mark.parametrize("word", [*LockTrigger, "Operator", " ALERT "])
def test_who_asks_for_a_lock_is_one_of_a_few_words_in_any_case(word: str) -> None:
    message = parse_lock(json.dumps({"ProjectId": 11, "Action": "UNLOCK", "Trigger": word, "By": "anna"}))
    assert (message.action, message.by) == (LockAction.UNLOCK, "anna")
    assert message.trigger == word.strip().lower()


def test_a_lock_may_name_azure_s_budget_and_its_subscription_instead_of_the_project() -> None:
    body = {"BudgetName": "warden-die1", "SubscriptionId": ACCOUNT.upper(), "Action": "lock"}
    assert parse_lock(json.dumps(body)) == LockMessage(
        LockAction.LOCK, budget_name="warden-die1", subscription_id=ACCOUNT
    )


def test_numbers_may_be_written_as_text() -> None:
    assert parse_update('{"ProjectId": " 11 "}').project_id == 11
    assert parse_notification('{"ProjectIds": ["11", 12, "0013", 11]}').project_ids == (11, 12, 13)


def test_a_subscription_is_compared_in_lower_case() -> None:
    body = json.dumps({"SubscriptionId": f" {ACCOUNT.upper()} "})
    assert parse_update(body).subscription_id == ACCOUNT


@pytest.mark.parametrize(
    ("attachments", "names"),
    [
        ([{"Name": "report.pdf", "Content": "JVBERi0="}, {"fileName": "b.csv"}], ("report.pdf", "b.csv")),
        (["c.txt"], ("c.txt",)),
        ("c.txt", ("c.txt",)),
        ([{"Content": "JVBERi0="}, 5, {"name": 7}, {"Name": "a\r\nb"}], ("file", "file", "file", "a b")),
        ([], ()),
        ("", ()),
        ([None, {}], ()),
    ],
)
def test_of_attachments_their_names_are_kept(attachments: object, names: tuple[str, ...]) -> None:
    message = parse_email(json.dumps({"To": "a@b.ca", "Subject": "x", "Body": "y", "Attachments": attachments}))
    assert isinstance(message, EmailMessage)
    assert message.mail
    assert message.mail.attachments == names


def test_one_address_may_stand_without_brackets() -> None:
    mail = parse_email('{"To": "a@b.ca", "Subject": "Hello", "Body": "<p>…</p>"}').mail
    assert mail == MailMessage(("a@b.ca",), "Hello", "<p>…</p>")


def test_a_time_in_another_zone_or_without_one_is_told_in_utc() -> None:
    def queued_at(text: str) -> datetime | None:
        return parse_update(json.dumps({"ProjectId": 1, "FirstQueuedAt": text})).envelope.first_queued_at

    assert (
        queued_at("2026-11-19T21:00:00-05:00")
        == queued_at("2026-11-20T02:00:00")
        == queued_at("2026-11-20T02:00:00Z")
        == NOW
    )
    assert queued_at("2026-11-19T21:00:00-05:00").tzinfo is UTC


# --- content -------------------------------------------------------------------------------------------------

BAD_IDS = [
    0,
    -1,
    -(10**30),
    LARGEST_ID + 1,
    10**400,
    1.0,
    1.5,
    True,
    "",
    "eleven",
    "-1",
    "1e3",
    "٣",
    [],
    {},
    [1],
    "9" * 5000,
]


@pytest.mark.parametrize("value", BAD_IDS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (parse_update, "ProjectId"),
        (parse_notification, "ProjectId"),
        (parse_email, "EmailId"),
        (parse_lock, "ProjectId"),
    ],
)
def test_what_is_no_id_is_refused_with_what_would_be(parse: Callable[..., Message], name: str, value: object) -> None:
    text = refusal(parse, {name: value, "Action": "lock"})
    assert text.startswith(f"{name} is ")
    assert text.endswith(f"it has to be a whole number from 1 to {LARGEST_ID}")


@pytest.mark.parametrize("value", BAD_IDS, ids=lambda value: repr(value)[:20])
def test_a_bad_id_among_many_is_named_by_its_place(value: object) -> None:
    text = refusal(parse_notification, {"ProjectIds": [*range(1, 500), value, 7]})
    assert "its item 500 is " in text
    assert text.endswith(f"it has to be a whole number from 1 to {LARGEST_ID}")


@pytest.mark.parametrize(
    ("parse", "body", "expected"),
    [
        (
            parse_update,
            {},
            'name either a project ({"ProjectId": 11} or {"ProjectAcronym": "DIE1"}), a subscription ({"Subscr',
        ),
        (parse_update, {"ProjectId": 1, "SubscriptionId": ACCOUNT}, "name either a project"),
        (parse_update, {"ProjectId": None}, "name either a project"),
        (parse_update, {"ProjectId": 1, "CloudAccountId": 7}, "name either a project"),
        (parse_update, {"SubscriptionId": ACCOUNT, "CloudAccountId": 7}, 'or a cloud account ({"CloudAccountId": 7})'),
        (parse_update, {"CloudAccountId": 0}, "CloudAccountId is 0; it has to be a whole number from 1"),
        (parse_update, {"CloudAccountId": 7, "ResourceGroup": "rg"}, "a ResourceGroup goes with a ProjectId"),
        (parse_update, {"ProjectId": 1, "Provider": "aws"}, "a Provider goes with a CloudAccountId"),
        (parse_update, {"CloudAccountId": 7, "Provider": 1}, "Provider is 1; it has to be a text"),
        (parse_update, {"CloudAccountId": 7, "Provider": "a\nb"}, "it has to be one line of text"),
        (parse_update, {"SubscriptionId": ACCOUNT, "ResourceGroup": "rg"}, "a ResourceGroup goes with a ProjectId"),
        (parse_update, {"SubscriptionId": "main"}, "it has to be a subscription's id, such as 1caaa5a3-"),
        (parse_update, {"SubscriptionId": ACCOUNT + "0"}, "it has to be a subscription's id"),
        (parse_update, {"SubscriptionId": 5}, "it has to be a subscription's id"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": ""}, "it has to be a text of 1 to 90 characters"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": " " * 5}, "it has to be a text of 1 to 90 characters"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": "g" * 91}, "it has to be a text of 1 to 90 characters"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": " " * 91 + "g"}, "it has to be a text of 1 to 90 characters"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": "a\nb"}, "it has to be one line of text"),
        (parse_update, {"ProjectId": 1, "ResourceGroup": ["rg"]}, "it has to be a text of 1 to 90 characters"),
        (parse_update, {"ProjectId": 1, "Since": "2026-04-01"}, "Since and Before go together"),
        (parse_update, {"ProjectId": 1, "Since": "2026-04-01", "Before": "2026-04-01"}, "the earlier day first"),
        (parse_update, {"ProjectId": 1, "Before": "20.11.2026"}, "it has to be a day such as 2026-11-20"),
        (parse_update, {"ProjectId": 1, "Before": "2026-02-30"}, "it has to be a day such as 2026-11-20"),
        (parse_update, {"ProjectId": 1, "Before": 20261120}, "it has to be a day such as 2026-11-20"),
        (
            parse_notification,
            {},
            'name the projects: {"ProjectId": 11}, {"ProjectAcronym": "DIE1"} or {"ProjectIds": [11, 12]}',
        ),
        (parse_notification, {"ProjectId": 1, "ProjectIds": [2]}, "name the projects"),
        (parse_notification, {"ProjectId": 1, "ProjectAcronym": "DIE1"}, "only one of them"),
        (parse_notification, {"ProjectAcronym": ["DIE1"]}, "it has to be a text of 1 to 50 characters"),
        (parse_update, {"ProjectId": 1, "ProjectAcronym": "DIE1"}, "name either a project"),
        (parse_update, {"ProjectAcronym": " "}, "it has to be a text of 1 to 50 characters"),
        (parse_update, {"ProjectAcronym": "A" * 51}, "it has to be a text of 1 to 50 characters"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "ProjectAcronym": "DIE1"}, "only one of them"),
        (parse_lock, {"Action": "sync", "SubscriptionId": ACCOUNT, "ProjectAcronym": "A"}, "a sync is for a subscr"),
        (parse_notification, {"ProjectIds": []}, "ProjectIds is empty; name at least one project"),
        (parse_notification, {"ProjectIds": 11}, "it has to be a list in [ ]"),
        (parse_notification, {"ProjectIds": {"11": 12}}, "it has to be a list in [ ]"),
        (parse_notification, {"ProjectIds": "11,12"}, "it has to be a list in [ ]"),
        (parse_email, {"EmailIds": []}, "EmailIds names at least one mail"),
        (parse_email, {"EmailIds": [1], "EmailId": 2}, "goes without EmailId"),
        (parse_email, {"EmailIds": [1, "x"]}, "it has to be a whole number"),
        (parse_email, {}, 'send {"EmailId": 123}, or a whole mail with To, Subject and Body'),
        (parse_email, {"To": ["a@b.ca"], "Subject": "x"}, "or a whole mail with To, Subject and Body"),
        (parse_email, {"To": ["a@b.ca"], "Body": "x"}, "or a whole mail with To, Subject and Body"),
        (parse_email, {"To": [], "Subject": "x", "Body": "x"}, "or a whole mail with To, Subject and Body"),
        (parse_email, {"To": [1], "Subject": "x", "Body": "x"}, "it has to be a list of addresses"),
        (parse_email, {"To": {"a": 1}, "Subject": "x", "Body": "x"}, "it has to be a list of addresses"),
        (parse_email, {"To": "a@b.ca", "Subject": "a\r\nBcc: c@d.ca", "Body": "x"}, "it has to be one line of text"),
        (parse_email, {"To": "a@b.ca", "Subject": "a\u2028b", "Body": "x"}, "it has to be one line of text"),
        (parse_email, {"To": "a@b.ca", "Subject": "x" * 501, "Body": "x"}, "it has to be a text of 1 to 500"),
        (parse_email, {"To": "a@b.ca", "Subject": "x", "Body": 5}, "Body is 5; it has to be a text"),
        (parse_email, {"To": "a@b.ca", "Subject": "x", "Body": "a\x00b"}, "it holds a character that can't be stored"),
        (parse_lock, {}, 'Action is missing; write lock or unlock: {"ProjectId": 11, "Action": "lock"}'),
        (parse_lock, {"ProjectId": 11}, "Action is missing; write lock or unlock"),
        (parse_lock, {"ProjectId": 11, "Action": ""}, 'Action is ""; it has to be one of lock, unlock, sync'),
        (parse_lock, {"ProjectId": 11, "Action": "delete"}, "it has to be one of lock, unlock, sync"),
        (parse_lock, {"ProjectId": 11, "Action": ["lock"]}, "it has to be one of lock, unlock, sync"),
        (parse_lock, {"ProjectId": 11, "Action": True}, "it has to be one of lock, unlock, sync"),
        (parse_lock, {"Action": "lock"}, 'name the project: {"ProjectId": 11, "Action": "lock", "Reason": "…"}'),
        (parse_lock, {"Action": "unlock", "SubscriptionId": ACCOUNT}, 'name the project: {"ProjectId": 11'),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "BudgetName": "warden-die1"}, "name the project"),
        (parse_lock, {"Action": "lock", "BudgetName": "warden-die1"}, "a BudgetName goes with its SubscriptionId"),
        (parse_lock, {"Action": "lock", "BudgetName": "", "SubscriptionId": ACCOUNT}, "a text of 1 to 100 characters"),
        (parse_lock, {"Action": "lock", "BudgetName": "a\nb", "SubscriptionId": ACCOUNT}, "it has to be one line"),
        (parse_lock, {"Action": "lock", "BudgetName": 5, "SubscriptionId": ACCOUNT}, "a text of 1 to 100 characters"),
        (
            parse_lock,
            {"Action": "lock", "BudgetName": "w", "SubscriptionId": "main"},
            "it has to be a subscription's id",
        ),
        (parse_lock, {"Action": "sync"}, 'a sync is for a subscription: {"SubscriptionId": "…", "Action": "sync"}'),
        (parse_lock, {"Action": "sync", "ProjectId": 11}, "a sync is for a subscription"),
        (parse_lock, {"Action": "sync", "SubscriptionId": ACCOUNT, "ProjectId": 11}, "a sync is for a subscription"),
        (parse_lock, {"Action": "sync", "SubscriptionId": ACCOUNT, "BudgetName": "w"}, "a sync is for a subscription"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "Trigger": "me"}, "one of check, alert, operator, message"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "Trigger": 1}, "one of check, alert, operator, message"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "Reason": ["x"]}, "it has to be a text of 0 to 1000"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "Reason": "x" * 1001}, "it has to be a text of 0 to 1000"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "Reason": "a\x00b"}, "a character that can't be stored"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "By": "anna\nbob"}, "it has to be one line of text"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "By": " "}, "it has to be a text of 1 to 100 characters"),
        (parse_lock, {"Action": "lock", "ProjectId": 11, "By": "a" * 101}, "it has to be a text of 1 to 100"),
        (parse_export, {"ProjectId": 11}, 'name a manifest ({"Manifest": "msexports/daily/manifest.json"}) or a part'),
        (parse_export, {"Manifest": "c/m", "ExportRunId": 1, "Part": 0}, "only one of them"),
        (parse_export, {"ExportRunId": 1}, 'an ExportRunId goes with a Part, from 0: {"ExportRunId": 7, "Part": 0}'),
        (parse_export, {"ExportRunId": 1, "Part": -1}, "Part is -1; it has to be a whole number from 0 to"),
        (parse_export, {"ExportRunId": 0, "Part": 1}, "ExportRunId is 0; it has to be a whole number from 1 to"),
        (parse_export, {"Manifest": "manifest.json"}, "it has to be a container and the name of a blob in it"),
        (parse_export, {"Manifest": "c/a\nb"}, "it has to be one line of text"),
        (parse_export, {"Manifest": "c/" + "x" * 1100}, "it has to be a text of 3 to 1088 characters"),
        (parse_export, {"Manifest": "c/m", "CloudAccountId": "all"}, "CloudAccountId is"),
        (parse_export, {"type": "Microsoft.Storage.BlobCreated"}, "name a manifest"),
    ],
)
def test_what_cant_be_right_is_refused_with_what_would_be(
    parse: Callable[..., Message], body: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(parse, body)


@pytest.mark.parametrize("body", ["[]", "null", "no JSON"])
def test_what_is_no_message_is_refused_with_one_for_its_queue(body: str) -> None:
    for parse, example in (
        (parse_export, '{"Manifest": "msexports/daily/manifest.json"}'),
        (parse_update, '{"ProjectId": 11}'),
    ):
        with pytest.raises(MessageError, match=re.escape(f"write one such as {example}")):
            parse(body)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"Attempt": -1}, "Attempt is -1; it has to be a whole number from 0 to"),
        ({"Attempt": "1"}, 'Attempt is "1"; it has to be a whole number from 0 to'),
        ({"Attempt": float("nan")}, "Attempt is NaN; it has to be a whole number from 0 to"),
        ({"Attempt": 10**300}, "it has to be a whole number from 0 to"),
        ({"Replayed": "false"}, "it has to be true or false"),
        ({"FirstQueuedAt": "yesterday"}, "it has to be a time such as 2026-11-20T02:00:00+00:00"),
        ({"FirstQueuedAt": 1763604000}, "it has to be a time such as 2026-11-20T02:00:00+00:00"),
        ({"FirstQueuedAt": "0001-01-01T00:00:00+14:00"}, "it has to be a time such as"),
        ({"FirstQueuedAt": "9999-12-31T23:59:59-14:00"}, "it has to be a time such as"),
        ({"RunId": ""}, "it has to be a text of 1 to 100 characters"),
        ({"RunId": "r" * 101}, "it has to be a text of 1 to 100 characters"),
        ({"RunId": "\U0001f600" * 51}, "it has to be a text of 1 to 100 characters"),
        ({"RunId": "night\x00"}, "it holds a character that can't be stored"),
        ({"RunId": "night\nday"}, "it has to be one line of text"),
        ({"RunId": "\ud800"}, "it holds a character that can't be stored"),
    ],
)
def test_what_every_message_may_carry_is_checked_in_each(
    parse: Callable[..., Message], extra: dict[str, Any], expected: str
) -> None:
    bodies: dict[Any, dict[str, Any]] = {parse_email: {"EmailId": 1}, parse_export: MANIFEST}
    body = bodies.get(parse, {"ProjectId": 1})
    assert expected in refusal(parse, body | {"Action": "lock"} | extra)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            " ",
            "null",
            "true",
            "11",
            '"text"',
            "[]",
            '[{"ProjectId": 11}]',
            "NaN",
            "hello",
            "{",
            "{'ProjectId': 11}",
        ),
        *('{"ProjectId": 11', '{"ProjectId": 11}}', "<xml/>", "====", "aGVsbG8=", "bnVsbA==", "MTE=", "\ufeff"),
        *(b"", b"\xff\xfe{\x00", b"\x80abc", '{"ProjectId": 11}'.encode("utf-16"), "{" * 40_000, "[" * 40_000),
        *("\ud800", '{"\ud800": ', '{"ProjectId": ' + "9" * 30_000 + "}", "é", "A", "AAAAA"),
        base64.b64encode('{"ProjectId": 11}'.encode("utf-16-le")).decode(),
    ],
    ids=lambda body: repr(body)[:25],
)
def test_what_is_no_json_object_in_any_form_is_refused_with_an_example(
    parse: Callable[..., Message], body: str | bytes
) -> None:
    text = refusal(parse, body)
    assert "JSON" in text


@pytest.mark.parametrize("depth", [10, 500, 900, 950, *range(960, 1000, 3), 5000, 15_000])
def test_deep_nesting_is_refused_and_never_a_recursion_error(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    refusal(parse_update, '{"ProjectId": ' + deep + "}")
    refusal(parse_notification, '{"ProjectIds": [' + deep + "]}")
    try:
        replayed = as_replayed('{"ProjectId": 1, "x": ' + deep + "}")
    except MessageError:
        assert depth > 500
    else:
        assert parse_update(replayed).project_id == 1


@pytest.mark.parametrize("name", ["To", "Subject", "Body", "RunId"])
@pytest.mark.parametrize("half", ["\ud800", "x\udfffy"])
def test_half_of_a_surrogate_pair_is_refused_since_nothing_can_write_it(name: str, half: str) -> None:
    mail = {"To": "a@b.ca", "Subject": "x", "Body": "x"} | {name: half}
    assert "it holds a character that can't be stored" in refusal(parse_email, mail)


def test_a_whole_pair_written_as_escapes_is_the_character_that_it_means() -> None:
    message = parse_email('{"To": "a@b.ca", "Subject": "\\ud83d\\ude00", "Body": "x"}')
    assert message.mail is not None
    assert message.mail.subject == "😀"
    assert parse_email(to_json(message)) == message


@pytest.mark.parametrize(
    "body", ['{"ProjectId": 1, "projectid": 2}', '{"projectid": 1, "ProjectId": 2}', '{"ProjectId": 1, "ProjectId": 2}']
)
def test_of_a_field_that_is_there_twice_the_last_counts(body: str) -> None:
    assert parse_update(body).project_id == 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
WORDS = ["lock", "sync", "alert"]
LIKELY = st.sampled_from([1, "1", ACCOUNT, "2026-11-20", "2026-11-20T02:00:00Z", "x", ["x"], [1, 2], True, 0, *WORDS])


def try_all(body: str | bytes) -> None:
    """Every parser either refuses it or makes a message that can be put back, replayed and read again."""
    for parse in PARSERS:
        try:
            message = parse(body)
        except MessageError as error:
            str(error).encode("utf-8")
            continue
        assert parse(to_json(message)) == _in_whole_seconds(message)
        if message.envelope.attempt == LARGEST_ID:
            continue
        later = put_back(message, NOW)
        assert parse(to_json(later)).envelope.attempt == message.envelope.attempt + 1
    if isinstance(body, str):
        try:
            replayed = as_replayed(body)
        except MessageError:
            return
        replayed.encode("utf-8")
        assert json.loads(replayed)["Replayed"] is True


def _in_whole_seconds(message: Message) -> Message:
    first = message.envelope.first_queued_at
    if first is None:
        return message
    whole = replace(message.envelope, first_queued_at=first.replace(microsecond=0))
    return type(message)(**{name: getattr(message, name) for name in message.__slots__} | {"envelope": whole})


@given(st.dictionaries(st.sampled_from(NAMES), LIKELY | JSON, max_size=6))
def test_any_json_object_with_our_names_is_refused_or_understood(content: dict[str, Any]) -> None:
    try_all(json.dumps(content))


@given(JSON)
def test_any_json_is_refused_or_understood(value: object) -> None:
    try_all(json.dumps(value))
    try_all(base64.b64encode(json.dumps(value).encode()).decode())


@given(st.text() | st.text(st.characters(codec=None)) | st.text('AQgw= \n{}[]":,1\\ud8', max_size=40))
def test_any_text_is_refused_or_understood(text: str) -> None:
    try_all(text)


@given(st.binary())
def test_any_bytes_are_refused_or_understood(body: bytes) -> None:
    try_all(body)


# --- size ----------------------------------------------------------------------------------------------------


def mail_of(size: int, letter: str = "x") -> str:
    """A whole mail as plain JSON of exactly so many bytes (where the letter has one)."""
    start, end = '{"To":["a@b.ca"],"Subject":"s","Body":"', '"}'
    letters = (size - len(start) - len(end)) // len(letter.encode())
    return start + letter * letters + end


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("form", [str, str.encode, in_base64])
def test_48_kib_are_taken_and_a_byte_more_is_refused(form: Callable[[str], str | bytes]) -> None:
    largest = mail_of(LARGEST_BY_HAND_BYTES)
    assert parse_email(form("{" + " " * (LARGEST_BYTES - LARGEST_BY_HAND_BYTES) + largest[1:])).mail is not None
    assert f"the limit of {LARGEST_BYTES} bytes" in refusal(parse_email, form(mail_of(LARGEST_BYTES + 1)))


@pytest.mark.parametrize("size", [65_600, 5_000_000])
@pytest.mark.parametrize("form", [str, str.encode, in_base64])
def test_what_is_far_too_large_is_refused_before_it_is_read(form: Callable[[str], str | bytes], size: int) -> None:
    assert f"bytes; the limit is {LARGEST_BYTES}" in refusal(parse_email, form(mail_of(size)))


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert f"the limit of {LARGEST_BYTES} bytes" in refusal(parse_email, mail_of(LARGEST_BYTES + 100, "é"))


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀", "<", "\ufffd"])
def test_a_large_mail_in_any_script_can_be_put_back_and_replayed(letter: str) -> None:
    body = mail_of(LARGEST_BYTES - 200, letter)
    again = put_back(parse_email(body), NOW)
    assert parse_email(to_json(again)).mail == parse_email(body).mail
    assert parse_email(as_replayed(body)).mail == parse_email(body).mail


@pytest.mark.parametrize("letter", ["x", '\\"', "\\u0001"])
def test_a_mail_that_fills_its_limit_can_be_put_back_for_ever_and_a_byte_more_is_refused(letter: str) -> None:
    run_id = "é" * 100
    begun = json.dumps({"RunId": run_id}, ensure_ascii=False, separators=(",", ":"))[:-1] + ","
    size = LARGEST_BY_HAND_BYTES - len(begun.encode()) + 1
    room = " " * ((size - len(mail_of(size, letter))) % len(letter))
    body = begun + mail_of(size, letter)[1:-2] + room + '"}'
    again = replace(parse_email(as_replayed(body)), envelope=Envelope(run_id, LARGEST_ID - 1, None, replayed=True))
    for _ in range(2):
        again = replace(again, envelope=replace(again.envelope, attempt=LARGEST_ID - 1))
        again = parse_email(to_json(traced(put_back(again, NOW), TRACE)))
    assert again.mail == parse_email(body).mail
    assert (
        f"a message of {LARGEST_BY_HAND_BYTES + 1} bytes is too large; the limit is {LARGEST_BY_HAND_BYTES}"
        in refusal(parse_email, body[:-2] + ' "}')
    )


def test_a_message_says_which_work_it_comes_of() -> None:
    message = traced(NotificationMessage((11,)), TRACE)
    assert to_json(message) == f'{{"ProjectId":11,"TraceParent":"{TRACE}"}}'
    assert parse_notification(to_json(message)) == message
    assert traced(message, None) == message


BROKEN = ["", "none", 7, None, [], {}, TRACE[:-1], TRACE.upper(), f"{TRACE}-more", "\0" * 55, "x" * 1000, "\ud800"]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_trace_that_can_not_be_right_is_no_reason_to_refuse_a_message(broken: object) -> None:
    bodies = [{"ProjectId": 11}, {"ProjectId": 11}, {"EmailId": 7}, {"ProjectId": 11, "Action": "lock"}, MANIFEST]
    for parse, body in zip(PARSERS, bodies, strict=True):
        assert parse(json.dumps(body | {"TraceParent": broken})) == parse(json.dumps(body))


@pytest.mark.parametrize(
    ("message", "several"),
    [
        (NotificationMessage((1,)), False),
        (NotificationMessage((1, 2)), True),
        (EmailMessage(7), False),
        (EmailsMessage((7, 8)), True),
        (UpdateMessage(ACCOUNT), False),
    ],
)
def test_a_batch_is_about_several(message: Message, several: bool) -> None:
    assert is_batch(message) is several


def test_projects_by_hand_are_taken_as_far_as_their_message_can_be_put_back() -> None:
    count = (LARGEST_BY_HAND_BYTES - len('{"ProjectIds":[]}') + 1) // 11
    body = json.dumps({"ProjectIds": [10**9 + number for number in range(count)]}, separators=(",", ":"))
    again = put_back(parse_notification(body), NOW)
    assert parse_notification(to_json(again)).project_ids == parse_notification(body).project_ids
    assert "is too large" in refusal(parse_notification, body.replace("]", ",2000000000]"))


def test_a_message_that_would_be_too_large_is_not_written() -> None:
    message = EmailMessage(mail=MailMessage(("a@b.ca",), "s", "é" * 30_000))
    with pytest.raises(MessageError, match=f"bytes is too large; the limit is {LARGEST_BYTES}"):
        to_json(message)
    with pytest.raises(MessageError, match=f"bytes is too large; the limit is {LARGEST_BYTES}"):
        as_replayed(mail_of(LARGEST_BYTES))


@pytest.mark.parametrize("first", [1, LARGEST_ID - 100_000])
def test_a_hundred_thousand_projects_are_handed_on_complete_in_order_and_under_the_limit(first: int) -> None:
    ids = range(first, first + 100_000)
    envelope = Envelope(run_id="night-2026-11-20" + "x" * 84, attempt=3, first_queued_at=NOW, replayed=True)
    messages = notifications(ids, envelope)
    assert [each for message in messages for each in message.project_ids] == list(ids)
    assert len(messages) <= 100
    for message in messages:
        text = to_json(put_back(message, NOW))
        assert len(text.encode()) <= LARGEST_BYTES
        assert parse_notification(text).project_ids == message.project_ids


def test_handed_on_messages_belong_to_the_same_run_and_are_counted_from_the_start() -> None:
    envelope = Envelope("night-2026-11-20", attempt=3, first_queued_at=NOW, replayed=True)
    assert notifications([5], envelope) == [NotificationMessage((5,), Envelope("night-2026-11-20"))]
    assert notifications([], envelope) == []


# --- again ---------------------------------------------------------------------------------------------------


@given(message=MESSAGES, minutes=st.lists(st.integers(0, 5000), min_size=1, max_size=8))
def test_a_message_put_back_again_and_again_counts_its_attempts_and_keeps_its_first_time(
    message: Message, minutes: list[int]
) -> None:
    first = message.envelope.first_queued_at or NOW + timedelta(minutes=minutes[0])
    again = message
    for minute in minutes:
        again = parser_of(message)(to_json(put_back(again, NOW + timedelta(minutes=minute))))
    attempt = message.envelope.attempt + len(minutes)
    assert again.envelope == replace(message.envelope, attempt=attempt, first_queued_at=first)
    assert {name: getattr(again, name) for name in again.__slots__ if name != "envelope"} == {
        name: getattr(message, name) for name in message.__slots__ if name != "envelope"
    }


@given(
    message=MESSAGES,
    form=st.sampled_from(sorted(set(FORMS) - {"bytes", "bytes with a byte order mark", "base64 as bytes"})),
)
def test_a_replayed_message_is_the_same_counted_from_the_start_and_marked(message: Message, form: str) -> None:
    replayed = parser_of(message)(as_replayed(str(FORMS[form](to_json(message)))))
    assert replayed.envelope == replace(message.envelope, attempt=0, first_queued_at=None, replayed=True)
    assert {name: getattr(replayed, name) for name in replayed.__slots__ if name != "envelope"} == {
        name: getattr(message, name) for name in message.__slots__ if name != "envelope"
    }


def test_a_replay_drops_the_count_in_any_case_and_keeps_what_it_does_not_know() -> None:
    body = '{"projectid": 11, "ATTEMPT": 7, "firstQueuedAt": "2026-11-20T02:00:00Z", "replayed": false, "Note": "é"}'
    assert json.loads(as_replayed(body)) == {"projectid": 11, "Note": "é", "Replayed": True}


@pytest.mark.parametrize("body", ["", "hello", "[1]", "null", "\\x80\\xff"])
def test_what_is_no_json_object_cant_be_replayed(body: str) -> None:
    with pytest.raises(MessageError, match="JSON"):
        as_replayed(body)


def test_a_dead_letter_of_a_lock_is_replayed_as_the_same_wish_counted_from_the_start() -> None:
    envelope = Envelope("night-2026-11-20", attempt=40, first_queued_at=NOW)
    by_hand = LockMessage(LockAction.UNLOCK, 11, reason="too early", trigger=LockTrigger.OPERATOR, by="anna")
    for given_up in (by_hand, BudgetSyncMessage(ACCOUNT)):
        with_envelope = replace(given_up, envelope=envelope)
        replayed = parse_lock(as_replayed(to_json(with_envelope)))
        assert replayed == replace(given_up, envelope=Envelope("night-2026-11-20", replayed=True))


def test_messages_are_written_as_the_contract_says() -> None:
    run = Envelope("night-2026-11-20")
    assert json.loads(to_json(UpdateMessage(subscription_id=ACCOUNT, envelope=run))) == {
        "SubscriptionId": ACCOUNT,
        "RunId": "night-2026-11-20",
    }
    by_hand = UpdateMessage(project_id=11, resource_group="rg", left=Period(date(2026, 4, 1), date(2026, 9, 1)))
    assert to_json(by_hand) == '{"ProjectId":11,"ResourceGroup":"rg","Since":"2026-04-01","Before":"2026-09-01"}'
    elsewhere = UpdateMessage(cloud_account_id=7, provider="aws")
    assert to_json(elsewhere) == '{"CloudAccountId":7,"Provider":"aws"}'
    assert to_json(NotificationMessage((11,))) == '{"ProjectId":11}'
    assert to_json(NotificationMessage((11, 12))) == '{"ProjectIds":[11,12]}'
    assert to_json(EmailMessage(123)) == '{"EmailId":123}'
    assert to_json(LockMessage(LockAction.LOCK, 11)) == '{"ProjectId":11,"Action":"lock"}'
    asked = LockMessage(LockAction.UNLOCK, 11, reason="raised", trigger=LockTrigger.OPERATOR, by="anna", envelope=run)
    assert json.loads(to_json(asked)) == {
        "ProjectId": 11,
        "Action": "unlock",
        "Reason": "raised",
        "Trigger": "operator",
        "By": "anna",
        "RunId": "night-2026-11-20",
    }
    manifest = ManifestMessage("msexports/daily/manifest.json", 7)
    assert to_json(manifest) == '{"Manifest":"msexports/daily/manifest.json","CloudAccountId":7}'
    assert to_json(PartMessage(7, 0)) == '{"ExportRunId":7,"Part":0}'
    assert to_json(PartMessage(7, 0, "1f")) == '{"ExportRunId":7,"Part":0,"Content":"1f"}'
    sync = BudgetSyncMessage(ACCOUNT)
    assert to_json(sync) == f'{{"SubscriptionId":"{ACCOUNT}","Action":"sync"}}'
    assert to_json(put_back(EmailMessage(123), NOW)) == (
        '{"EmailId":123,"Attempt":1,"FirstQueuedAt":"2026-11-20T02:00:00+00:00"}'
    )


# --- events of Event Grid -------------------------------------------------------------------------------------

CREATED = "Microsoft.Storage.BlobCreated"
PLACE = "/blobServices/default/containers/msexports/blobs/daily/a b/manifest.json"
EVENT = {
    "topic": "/subscriptions/x/resourceGroups/y/providers/Microsoft.Storage/storageAccounts/z",
    "subject": PLACE,
    "eventType": CREATED,
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": {"api": "PutBlockList", "contentLength": 0, "url": "https://z.blob.core.windows.net/msexports/daily/…"},
    "eventTime": "2026-11-20T02:00:00.0Z",
    "metadataVersion": "1",
    "dataVersion": "",
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": CREATED,
    "source": "/subscriptions/x",
    "id": "9",
    "subject": PLACE,
    "data": {},
}
FOUND = ("msexports/daily/a b/manifest.json",)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("event", "blobs"),
    [(EVENT, FOUND), (CLOUD_EVENT, FOUND), ([EVENT], FOUND), ([EVENT, CLOUD_EVENT, EVENT], FOUND * 3)],
    ids=["Event Grid", "CloudEvents", "a list", "several"],
)
def test_an_event_names_its_blob_in_every_form(form: str, event: object, blobs: tuple[str, ...]) -> None:
    assert parse_export(FORMS[form](json.dumps(event))) == BlobsMessage(blobs)


@pytest.mark.parametrize(
    "change",
    [
        {"eventType": "Microsoft.Storage.BlobDeleted"},
        {"eventType": None},
        {"eventType": [1]},
        {"subject": "/blobServices/default/containers/msexports"},
        {"subject": "/subscriptions/x"},
        {"subject": {"a": 1}},
        {"subject": PLACE + "\x00"},
        {"subject": PLACE + "\n"},
        {"subject": PLACE + "x" * 2000},
    ],
    ids=lambda change: repr(change)[:40],
)
def test_an_event_of_anything_else_names_none(change: dict[str, Any]) -> None:
    assert parse_export(json.dumps(EVENT | change)) == BlobsMessage(())


# --- from 0.1.0: every form that may lie on a queue, or in a dead letter, while the app is updated ------------

OLD_NIGHT = Envelope(run_id="night-2026-11-20", first_queued_at=NOW)
OLD_FORMS: list[tuple[Callable[[str], Message], str, Message]] = [
    (
        parse_update,
        '{"SubscriptionId":"1caaa5a3-2b66-438e-8ab4-bce37d518c5d","RunId":"night-2026-11-20",'
        '"FirstQueuedAt":"2026-11-20T02:00:00+00:00"}',
        UpdateMessage(subscription_id=ACCOUNT, envelope=OLD_NIGHT),
    ),
    (
        parse_update,
        '{"SubscriptionId":"1caaa5a3-2b66-438e-8ab4-bce37d518c5d","Since":"2026-04-01","Before":"2026-06-01",'
        '"RunId":"night-2026-11-20","Attempt":2,"FirstQueuedAt":"2026-11-20T02:00:00+00:00"}',
        UpdateMessage(
            subscription_id=ACCOUNT,
            left=Period(date(2026, 4, 1), date(2026, 6, 1)),
            envelope=replace(OLD_NIGHT, attempt=2),
        ),
    ),
    (parse_update, '{"ProjectId":11}', UpdateMessage(project_id=11)),
    (
        parse_update,
        '{"ProjectId":11,"ResourceGroup":"Rg-1","Replayed":true}',
        UpdateMessage(project_id=11, resource_group="Rg-1", envelope=Envelope(replayed=True)),
    ),
    (parse_notification, '{"ProjectId":11}', NotificationMessage((11,))),
    (
        parse_notification,
        '{"ProjectIds":[11,12],"RunId":"night-2026-11-20","Attempt":2,"FirstQueuedAt":"2026-11-20T02:00:00+00:00"}',
        NotificationMessage((11, 12), replace(OLD_NIGHT, attempt=2)),
    ),
    (parse_email, '{"EmailId":7}', EmailMessage(email_id=7)),
    (parse_email, '{"EmailIds":[7,8,7]}', EmailsMessage(email_ids=(7, 8))),
    (
        parse_email,
        '{"EmailId":7,"Claimant":"message-5","Receipt":"<7@mail>","Attempt":1,'
        '"FirstQueuedAt":"2026-11-20T02:00:00+00:00"}',
        EmailMessage(
            email_id=7, sent_as=SentAs("message-5", "<7@mail>"), envelope=Envelope(attempt=1, first_queued_at=NOW)
        ),
    ),
    (parse_email, '{"EmailId":7,"Claimant":"message-5"}', EmailMessage(email_id=7, claimant="message-5")),
    (
        parse_email,
        '{"To":["a@b.ca"],"Cc":["c@b.ca"],"Bcc":["d@b.ca"],"Subject":"Hello","Body":"<p>é</p>"}',
        EmailMessage(mail=MailMessage(("a@b.ca",), "Hello", "<p>é</p>", ("c@b.ca",), ("d@b.ca",))),
    ),
    (parse_lock, '{"ProjectId":11,"Action":"lock"}', LockMessage(LockAction.LOCK, 11)),
    (
        parse_lock,
        '{"ProjectId":11,"Action":"lock","Reason":"1000 of 1000 CAD is used","Trigger":"check",'
        '"RunId":"night-2026-11-20"}',
        LockMessage(
            LockAction.LOCK,
            11,
            reason="1000 of 1000 CAD is used",
            trigger=LockTrigger.CHECK,
            envelope=Envelope(run_id="night-2026-11-20"),
        ),
    ),
    (
        parse_lock,
        '{"BudgetName":"warden-die1","SubscriptionId":"1caaa5a3-2b66-438e-8ab4-bce37d518c5d","Action":"lock",'
        '"Reason":"Azure\'s budget is used up","Trigger":"alert"}',
        LockMessage(
            LockAction.LOCK,
            budget_name="warden-die1",
            subscription_id=ACCOUNT,
            reason="Azure's budget is used up",
            trigger=LockTrigger.ALERT,
        ),
    ),
    (
        parse_lock,
        '{"ProjectId":11,"Action":"unlock","Reason":"agreed","Trigger":"operator","By":"ana"}',
        LockMessage(LockAction.UNLOCK, 11, reason="agreed", trigger=LockTrigger.OPERATOR, by="ana"),
    ),
    (
        parse_lock,
        '{"SubscriptionId":"1caaa5a3-2b66-438e-8ab4-bce37d518c5d","Action":"sync"}',
        BudgetSyncMessage(ACCOUNT),
    ),
]


@pytest.mark.parametrize(("parse", "text", "message"), OLD_FORMS)
def test_what_0_1_0_put_on_its_queues_is_understood(
    parse: Callable[[str], Message], text: str, message: Message
) -> None:
    assert parse(text) == message
    replayed = parse(as_replayed(text))
    assert replace(replayed, envelope=message.envelope) == message


# --- what the host makes of foreign messages ---

MADE_AT = datetime(2026, 11, 20, 2, tzinfo=UTC)


def test_messages_with_the_same_id_are_told_apart_by_their_bodies_and_when_they_came() -> None:
    origins = {
        origin_of("same", MADE_AT, '{"id": "same", "ProjectId": 11}'),
        origin_of("same", MADE_AT, '{"id": "same", "ProjectId": 12}'),
        origin_of("same", MADE_AT + timedelta(seconds=1), '{"id": "same", "ProjectId": 11}'),
        origin_of("other", MADE_AT, '{"id": "same", "ProjectId": 11}'),
        origin_of(None, None, "\ud800"),
    }
    assert len(origins) == 5
    assert all(GUID.fullmatch(origin) for origin in origins)
    assert origin_of("same", MADE_AT, '{"id": "same", "ProjectId": 11}') in origins


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ('{"ProjectId": 11, "insertionTime": "soon", "DEQUEUECOUNT": "x"}', '{"ProjectId": 11}'),
        ('{"ProjectId": 11}', '{"ProjectId": 11}'),
        ('["InsertionTime"]', '["InsertionTime"]'),
        ("no JSON", "no JSON"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_members_with_the_names_of_the_hosts_properties_are_left_out(body: str, kept: str) -> None:
    assert without_hosts_own(body) == kept
