"""The outbox: one file a mail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.mail.outbox import OutboxMailer, file_name
from shared.ports.errors import LaterError
from shared.ports.mails import OutgoingMail
from tests.adapters.mail.servers import read

MAIL = OutgoingMail("<alert-7-80@example.ca>", ("ann@example.ca",), "Budget", "text", "<p>html</p>", bcc=("dora@x.ca",))


def mailer(folder: Path) -> OutboxMailer:
    return OutboxMailer(folder, "warden@example.ca", "Warden")


def test_the_receipt_is_the_name_of_the_file(tmp_path: Path) -> None:
    name = mailer(tmp_path).send(MAIL).receipt
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert name.startswith("alert-7-80-") and name.endswith(".eml")


def test_a_mail_that_is_sent_twice_is_one_file(tmp_path: Path) -> None:
    assert mailer(tmp_path).send(MAIL) == mailer(tmp_path).send(replace(MAIL, subject="again"))
    assert len(list(tmp_path.iterdir())) == 1


def test_many_at_the_same_time_leave_one_whole_file_and_nothing_else(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = set(threads.map(lambda _: mailer(tmp_path / "outbox").send(MAIL).receipt, range(40)))
    assert {path.name for path in (tmp_path / "outbox").iterdir()} == names
    assert read((tmp_path / "outbox" / names.pop()).read_bytes())["Message-ID"] == MAIL.message_id


def test_blind_copies_can_be_seen(tmp_path: Path) -> None:
    assert str(read((tmp_path / mailer(tmp_path).send(MAIL).receipt).read_bytes())["Bcc"]) == "dora@x.ca"


def test_a_folder_that_cannot_be_made_is_tried_later(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaterError, match="outbox"):
        mailer(tmp_path / "file" / "outbox").send(MAIL)


def test_a_file_that_cannot_be_moved_into_place_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / file_name(MAIL.message_id)
    in_the_way.mkdir()
    with pytest.raises(LaterError):
        mailer(tmp_path).send(MAIL)
    assert list(tmp_path.iterdir()) == [in_the_way]


@pytest.mark.parametrize(
    "message_id", ["<../../etc/passwd@x>", "<" + "a" * 400 + "@x>", "<@x>", "<A:b\\c?*@x>", "<é@x>"]
)
def test_no_message_id_leads_out_of_the_folder(tmp_path: Path, message_id: str) -> None:
    name = file_name(message_id)
    assert Path(name).name == name and not name.startswith(".") and len(name) < 100
    assert name.isascii() and not set(name) & set('\\/:*?"<>|')


def test_names_that_read_alike_are_different_files() -> None:
    assert len({file_name("<a:b@x>"), file_name("<a-b@x>"), file_name("<A-b@x>".lower()), file_name("<a/b@x>")}) == 3


def test_the_check_tries_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    assert mailer(tmp_path / "outbox").check() == f"files in {tmp_path}/outbox"
    assert list((tmp_path / "outbox").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(LaterError, match="can't be written"):
        mailer(tmp_path / "file").check()
