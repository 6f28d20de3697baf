"""`cloud-accounts keys` and `cloud-accounts reseal`: keys come in by a prompt or standard input, and never out."""

from __future__ import annotations

import io
import json
import logging
from base64 import b64encode

import pytest
from sqlalchemy import insert

from shared import settings
from shared.adapters.database.tables import cloud_accounts
from shared.composition import Composition
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.credentials import AccessKeys
from tests.cli.commands import DIE1, Cli, on_terminal, write_csv

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
FIRST, SECOND = (b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100))
SESSION = json.dumps({"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": "x"})
CREATED = json.dumps({"AccessKey": {"UserName": "warden", "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET}})


@pytest.fixture
def sealing(cli: Cli, app: Composition, monkeypatch: pytest.MonkeyPatch) -> Composition:
    """An app with a key, an Azure subscription (1) and an AWS account (2)."""
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2026:{FIRST}")
    cli("projects", "load", write_csv(DIE1))
    explored(app)
    return Composition(settings.load())


def explored(app: Composition) -> int:
    """An AWS account that is read by Cost Explorer; its id."""
    row = {"organization": "default", "provider": "aws", "connection_type": ConnectionType.COST_EXPLORER}
    row |= {"detail": "service", "status": AccountStatus.PENDING, "name": "shop", "external_account_id": "123456789012"}
    new = insert(cloud_accounts).values(row).returning(cloud_accounts.c.id)
    return int(app.database.run(lambda connection: connection.execute(new).scalar_one()))


def hand_in(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


BOTH = f"{KEY_ID}\r\n{SECRET}\r\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY_ID}\n{SECRET}\n",
        f"  {KEY_ID}  {SECRET}",
        CREATED,
        # As PowerShell writes it.
        *(BOTH.encode(encoding) for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")),
        CREATED.encode("utf-8-sig"),
        CREATED.encode("utf-16"),
    ],
)
def test_keys_are_taken_from_the_standard_input_and_sealed(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch, text: str | bytes
) -> None:
    hand_in(monkeypatch, text)
    given = cli("cloud-accounts", "keys", "2")
    assert (given.code, given.out) == (0, "The access keys of cloud account 2 (shop) are sealed.\n")
    assert sealing.credentials.keys_of(2) == AccessKeys(KEY_ID, SECRET)


def test_on_a_terminal_both_are_asked_for_and_the_secret_is_not_shown(sealing: Composition) -> None:
    shown = on_terminal(80, "cloud-accounts", "keys", "2", answers=(KEY_ID, SECRET))
    assert "Secret access key" in shown
    assert KEY_ID not in shown and SECRET not in shown
    assert sealing.credentials.keys_of(2) == AccessKeys(KEY_ID, SECRET)


@pytest.mark.parametrize(
    ("cloud_account", "text", "why"),
    [
        ("2", "", "what came in holds no access keys"),
        ("2", SECRET, "what came in holds no access keys"),
        ("2", f"{KEY_ID}\n{SECRET}\n{SECRET}", "what came in holds no access keys"),
        ("2", json.dumps({"AccessKey": SECRET}), "what came in holds no access keys"),
        ("2", f"{SECRET}\n{KEY_ID}", "the access key id has to be AKIA"),
        ("2", f"{KEY_ID}\n{SECRET[:-1]}", "the secret access key has to be of 40"),
        ("2", f"{KEY_ID}\n{SECRET[:-1]}é", "the secret access key has to be of 40"),
        ("2", f"ASIA{KEY_ID[4:]}\n{SECRET}", "these access keys are temporary"),
        ("2", f"{KEY_ID[:-1]}\n{SECRET}", "the access key id has to be AKIA"),
        ("2", SESSION, "these access keys are temporary"),
        ("2", json.dumps({"Credentials": json.loads(SESSION)}), "these access keys are temporary"),
        ("2", '{"AccessKey":' * 20_000, "what came in holds no access keys"),
        ("2", f"é{KEY_ID}\n{SECRET}".encode("latin-1"), "what came in is no text in UTF-8 or UTF-16"),
        ("2", f"{KEY_ID}\n{SECRET}\0\n", "line 2 of what came in holds a NUL character, which is part of no key"),
        ("2", f"{KEY_ID}\0\n{SECRET}\n", "line 1 of what came in holds a NUL character"),
        ("1", f"{KEY_ID}\n{SECRET}", "is read by COST_MANAGEMENT, which takes no access keys"),
        ("9", f"{KEY_ID}\n{SECRET}", "there is no cloud account 9"),
    ],
)
def test_what_can_not_be_right_is_refused_without_being_shown(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch, cloud_account: str, text: str | bytes, why: str
) -> None:
    hand_in(monkeypatch, text)
    refused = cli("cloud-accounts", "keys", cloud_account)
    assert refused.code == 2
    assert why in refused.err
    assert SECRET[:20] not in refused.err
    assert KEY_ID not in refused.err
    assert sealing.credentials.keys_of(2) is None


@pytest.mark.parametrize("answers", [("\x04",), (KEY_ID, "\x04")])
def test_whoever_gives_no_answer_has_stopped(sealing: Composition, answers: tuple[str, ...]) -> None:
    shown = on_terminal(80, "cloud-accounts", "keys", "2", answers=answers, code=130)
    assert shown.splitlines()[-1].endswith("error: stopped: there was no answer\x1b[0m")
    assert sealing.credentials.keys_of(2) is None


def test_both_lines_pasted_at_once_show_nothing(sealing: Composition) -> None:
    shown = on_terminal(80, "cloud-accounts", "keys", "2", answers=(f"{KEY_ID}\n{SECRET}", SECRET))
    assert KEY_ID not in shown and SECRET not in shown
    assert sealing.credentials.keys_of(2) == AccessKeys(KEY_ID, SECRET)


@pytest.mark.parametrize(
    "arguments", [("cloud-accounts", "keys", "2"), ("projects", "load", "-"), ("rates", "update", "--file", "-")]
)
def test_a_closed_standard_input_is_told_as_that(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    refused = cli(*arguments)
    assert (refused.code, refused.err) == (2, "error: the standard input is closed: nothing can come in there\n")


def test_with_a_closed_standard_input_nobody_is_asked(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    refused = cli("cloud-accounts", "remove", "1")
    assert (refused.code, "nothing was changed; where this is meant, add --yes" in refused.err) == (2, True)


@pytest.mark.parametrize("number", ["99999999999999999999", "2147483648", "0", "-1"])
def test_what_is_no_id_is_wrong_usage(cli: Cli, sealing: Composition, number: str) -> None:
    refused = cli("cloud-accounts", "keys", "--", number)
    assert refused.code == 2
    assert "Invalid value for 'ID'" in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "2", KEY_ID, SECRET),
        ("keys", "2", SECRET[:-1]),
        ("keys", SECRET),
        ("keys", KEY_ID, SECRET),
        ("add", "aws", "--name", "x", "--account", "300000000003", "--access-keys", KEY_ID, SECRET),
        ("add", SECRET, "--name", "x"),
        ("add", KEY_ID, "--name", "x"),
        ("test", "2", SECRET),
        ("sync", "2", KEY_ID, SECRET),
        (SECRET,),
    ],
)
def test_keys_that_were_written_as_arguments_are_not_repeated(
    cli: Cli, sealing: Composition, arguments: tuple[str, ...]
) -> None:
    refused = cli("cloud-accounts", *arguments)
    assert refused.code == 2
    assert SECRET[:39] not in refused.out + refused.err
    assert arguments[0] not in {"keys", "add"} or KEY_ID not in refused.out + refused.err


def test_without_a_key_ring_keys_are_refused_with_the_setting(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENCRYPTION_KEYS")
    hand_in(monkeypatch, CREATED)
    refused = cli("cloud-accounts", "keys", "2")
    assert refused.code == 1
    assert "ENCRYPTION_KEYS is missing: set it to an id, a colon and the base64 of 32 random bytes" in refused.err


def test_programs_are_told_what_was_done_and_no_key(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(monkeypatch, CREATED)
    assert cli("cloud-accounts", "keys", "2", "--json").json == {"id": 2, "name": "shop", "sealed": True}
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2027:{SECOND};2026:{FIRST}")
    assert cli("cloud-accounts", "reseal", "--json").json == {
        "resealed": 1,
        "current": "2027",
        "faults": [],
        "mended": [],
    }
    assert cli("cloud-accounts", "keys", "2", "--remove", "--json").json["sealed"] is False


def test_keys_can_be_taken_away(cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in(monkeypatch, CREATED)
    cli("cloud-accounts", "keys", "2")
    assert "has no access keys of ours any more" in cli("cloud-accounts", "keys", "2", "--remove").out
    assert sealing.credentials.keys_of(2) is None


def test_a_new_key_takes_over_by_reseal_and_check_says_what_is_left_to_do(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[bool, str]:
        parts = {each["part"]: each for each in cli("check", "--json").json}
        return parts["credentials"]["ok"], f"{parts['credentials']['text']} {parts['credentials']['warning'] or ''}"

    hand_in(monkeypatch, CREATED)
    cli("cloud-accounts", "keys", "2")
    assert found() == (True, "access keys of 1 cloud account are sealed, and open ")
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2027:{SECOND}")
    ok, text = found()
    assert not ok
    assert "are sealed by the key '2026', which ENCRYPTION_KEYS does not have" in text
    refused = cli("cloud-accounts", "reseal")
    assert (refused.code, "cloud account 2 (shop)" in refused.err) == (1, True)
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2027:{SECOND};2026:{FIRST}")
    assert "not all by the current key, 2027: run `python -m shared.cli cloud-accounts reseal`" in found()[1]
    assert cli("cloud-accounts", "reseal").out == "Sealed 1 cloud account anew by the key 2027.\n"
    assert found() == (
        True,
        "access keys of 1 cloud account are sealed, and open and 2026 in ENCRYPTION_KEYS seals nothing any more, and "
        "may go",
    )
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2027:{SECOND}")
    assert Composition(settings.load()).credentials.keys_of(2) == AccessKeys(KEY_ID, SECRET)
    monkeypatch.setenv("ENCRYPTION_KEYS", f"2027:{FIRST}")
    ok, text = found()
    assert not ok
    assert text.startswith("ENCRYPTION_KEYS has another key under the id '2027'")


def test_check_says_nothing_of_credentials_where_there_are_none(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1))
    assert "credentials" not in {each["part"] for each in cli("check", "--json").json}


def test_no_key_is_in_any_log(
    cli: Cli, sealing: Composition, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hand_in(monkeypatch, CREATED)
    said = cli("cloud-accounts", "keys", "2")
    listed = cli("cloud-accounts", "list", "--json")
    assert sealing.credentials.keys_of(2) is not None
    for secret in (KEY_ID, SECRET, FIRST):
        assert secret not in f"{caplog.text} {said.out} {said.err} {listed.out} {sealing.settings!r}"
