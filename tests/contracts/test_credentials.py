"""What Credentials do: access keys are sealed in the rows of cloud accounts, and open there and by their key alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from shared.adapters.database.credentials import SqlCredentials
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import cloud_accounts, metadata, sealing_keys
from shared.adapters.sealing import KeyRing
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.credentials import AccessKeys, SealedState
from shared.ports.errors import NeverError

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))
KEYS = AccessKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
OTHERS = AccessKeys("AKIAI44QH8DHBEXAMPLE", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY")
WRONG_KEY = (
    "ENCRYPTION_KEYS has another key under the id 'a' than the one that has sealed credentials here: put that one "
    "back, and give a new key an id of its own."
)


def accounts(database: Database, *names: str) -> list[int]:
    row = {"organization": "default", "provider": "aws", "connection_type": ConnectionType.COST_EXPLORER}
    row |= {"detail": "service", "status": AccountStatus.PENDING}
    ids = []
    for name in names:
        made = insert(cloud_accounts).values(row | {"name": name, "external_account_id": name})
        ids.append(database.run(lambda connection, made=made: connection.execute(made).inserted_primary_key[0]))
    return ids


def kept(database: Database, **keys: bytes) -> SqlCredentials:
    return SqlCredentials(database, KeyRing(keys))


def sealed(database: Database, cloud_account_id: int) -> bytes:
    this = select(cloud_accounts.c.credentials).where(cloud_accounts.c.id == cloud_account_id)
    return bytes(database.read(lambda connection: connection.scalar(this)))


def put(database: Database, cloud_account_id: int, text: bytes) -> None:
    this = update(cloud_accounts).where(cloud_accounts.c.id == cloud_account_id).values(credentials=text)
    database.run(lambda connection: connection.execute(this))


def refused(credentials: SqlCredentials, cloud_account_id: int) -> str:
    with pytest.raises(NeverError) as error:
        credentials.keys_of(cloud_account_id)
    return error.value.reason


def test_keys_are_kept_sealed_and_replaced_and_taken_away(database: Database) -> None:
    one, two = accounts(database, "one", "two")
    credentials = kept(database, a=FIRST)
    assert credentials.keys_of(one) is None
    assert credentials.keep(one, KEYS, NOW)
    assert credentials.keep(two, OTHERS, NOW)
    assert (credentials.keys_of(one), credentials.keys_of(two)) == (KEYS, OTHERS)
    assert sealed(database, one).startswith(b"v1.a.")
    assert KEYS.secret_access_key.encode() not in sealed(database, one)
    credentials.keep(one, OTHERS, NOW)
    assert credentials.keys_of(one) == OTHERS
    credentials.keep(one, None, NOW)
    assert credentials.keys_of(one) is None
    assert not credentials.keep(999, KEYS, NOW)
    assert credentials.keys_of(999) is None


def test_keys_that_were_moved_to_another_cloud_account_or_changed_do_not_open(database: Database) -> None:
    one, two = accounts(database, "one", "two")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    put(database, two, sealed(database, one))
    moved = refused(credentials, two)
    assert moved.startswith(f"The access keys of cloud account {two} (two) do not open by the key 'a'")
    put(database, one, sealed(database, one)[:-3] + b"AAA")
    assert "they were changed" in refused(credentials, one)
    put(database, one, b"\xff\xfe nothing sealed")
    assert "are damaged" in refused(credentials, one)
    assert credentials.state() == SealedState({"a": 1, "?": 1}, (refused(credentials, one), moved))


def test_sealing_anew_takes_everything_to_the_current_key_and_the_older_may_go(database: Database) -> None:
    one, two, three = accounts(database, "one", "two", "three")
    old = kept(database, a=FIRST)
    old.keep(one, KEYS, NOW)
    old.keep(two, OTHERS, NOW)
    both = kept(database, b=SECOND, a=FIRST)
    both.keep(three, KEYS, NOW)
    before = sealed(database, three)
    assert both.state() == SealedState({"a": 2, "b": 1})
    done = both.reseal(NOW)
    assert (done.resealed, done.current, done.faults) == (2, "b", ())
    assert sealed(database, three) == before
    new = kept(database, b=SECOND)
    assert [new.keys_of(each) for each in (one, two, three)] == [KEYS, OTHERS, KEYS]
    assert both.reseal(NOW).resealed == 0
    # Nothing is sealed by the old one any more: its id may come again, with another key.
    again = kept(database, a=SECOND, b=SECOND)
    again.keep(one, KEYS, NOW)
    assert again.keys_of(one) == KEYS


def test_what_does_not_open_stays_as_it_was_when_the_rest_is_sealed_anew(database: Database) -> None:
    one, two = accounts(database, "one", "two")
    old = kept(database, a=FIRST)
    old.keep(one, KEYS, NOW)
    old.keep(two, OTHERS, NOW)
    put(database, two, sealed(database, one))
    done = kept(database, b=SECOND, a=FIRST).reseal(NOW)
    assert done.resealed == 1
    assert [f"cloud account {two} (two)" in fault for fault in done.faults] == [True]
    assert sealed(database, two).startswith(b"v1.a.")
    # What the current key should open, too.
    put(database, one, b"v1.b." + b"A" * 60)
    assert (
        kept(database, b=SECOND, a=FIRST).reseal(NOW).faults[0].startswith("The access keys of cloud account 1 (one)")
    )


def test_another_key_under_an_id_that_has_sealed_is_told_as_that_and_seals_nothing(database: Database) -> None:
    (one,) = accounts(database, "one")
    kept(database, a=FIRST).keep(one, KEYS, NOW)
    wrong = kept(database, a=SECOND)
    assert refused(wrong, one) == WRONG_KEY
    for try_it in (lambda: wrong.keep(one, OTHERS, NOW), lambda: wrong.reseal(NOW)):
        with pytest.raises(NeverError) as error:
            try_it()
        assert error.value.reason == WRONG_KEY
    assert wrong.state() == SealedState({"a": 1}, (WRONG_KEY,))
    assert kept(database, a=FIRST).keys_of(one) == KEYS


def test_a_key_that_is_gone_is_named_and_without_any_nothing_is_sealed(database: Database) -> None:
    (one,) = accounts(database, "one")
    kept(database, a=FIRST).keep(one, KEYS, NOW)
    assert "sealed by the key 'a', which ENCRYPTION_KEYS does not have" in refused(kept(database, b=SECOND), one)
    without = kept(database)
    assert "sealed by the key 'a'" in refused(without, one)
    with pytest.raises(NeverError, match="ENCRYPTION_KEYS is missing"):
        without.keep(one, OTHERS, NOW)
    assert kept(database, a=FIRST).keys_of(one) == KEYS
    # What is to go can go without any.
    assert without.keep(one, None, NOW)


def spoil_check(database: Database, key_id: str, text: str) -> None:
    this = update(sealing_keys).where(sealing_keys.c.key_id == key_id).values(sealed=text)
    database.run(lambda connection: connection.execute(this))


@pytest.mark.parametrize("spoiled", ["garbage", "v1.a.AAAA", ""])
def test_a_damaged_check_of_a_right_key_stops_nothing_and_is_written_anew(database: Database, spoiled: str) -> None:
    one, two = accounts(database, "one", "two")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    spoil_check(database, "a", spoiled)
    assert credentials.keys_of(one) == KEYS
    assert credentials.keep(two, OTHERS, NOW)
    (fault,) = credentials.state().faults
    assert fault.startswith("The check of the key 'a' (a row of sealing_keys, which holds no secret) is damaged")
    # Where it stays in the ring behind a new one, too.
    both = kept(database, b=SECOND, a=FIRST)
    assert both.keys_of(one) == KEYS
    assert credentials.reseal(NOW).mended == ("a",)
    assert credentials.state() == SealedState({"a": 2})
    assert refused(kept(database, a=SECOND), one) == WRONG_KEY


def test_a_damaged_check_does_not_hide_that_a_key_is_another(database: Database) -> None:
    one, two = accounts(database, "one", "two")
    kept(database, a=FIRST).keep(one, KEYS, NOW)
    spoil_check(database, "a", "garbage")
    assert refused(kept(database, a=SECOND), one) == WRONG_KEY
    with pytest.raises(NeverError):
        kept(database, a=SECOND).keep(two, OTHERS, NOW)


@pytest.mark.parametrize("again", [FIRST, SECOND])
def test_a_check_of_a_key_that_seals_nothing_stops_nobody_and_goes_with_the_next_keys(
    database: Database, again: bytes
) -> None:
    (one,) = accounts(database, "one")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    credentials.keep(one, None, NOW)
    spoil_check(database, "a", "garbage")
    assert credentials.state() == SealedState({})
    assert kept(database, a=again).keep(one, KEYS, NOW)
    assert kept(database, a=again).state() == SealedState({"a": 1})
    assert kept(database, a=again).keys_of(one) == KEYS


def noted(database: Database) -> list[str]:
    return list(database.read(lambda connection: connection.scalars(select(sealing_keys.c.key_id)).all()))


def test_a_wrong_key_under_the_id_of_one_that_left_is_not_noted_where_it_opens_nothing(database: Database) -> None:
    (one,) = accounts(database, "one")
    kept(database, a=FIRST).keep(one, KEYS, NOW)
    ring = kept(database, b=SECOND, a=FIRST)
    assert ring.reseal(NOW).resealed == 1
    failed = kept(database, a=SECOND).reseal(NOW)
    assert (failed.resealed, len(failed.faults)) == (0, 1)
    assert noted(database) == ["b"]
    assert (ring.reseal(NOW).faults, ring.state()) == ((), SealedState({"b": 1}))
    assert ring.keys_of(one) == KEYS


def test_a_key_of_which_nothing_is_noted_any_more_is_noted_for_what_it_opens(database: Database) -> None:
    (one,) = accounts(database, "one")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    database.run(lambda connection: connection.execute(delete(sealing_keys)))
    kept(database, a=SECOND).reseal(NOW)
    assert noted(database) == []
    credentials.reseal(NOW)
    assert noted(database) == ["a"]


@pytest.mark.parametrize("value", ["'v1.a.AAAA'", "''", "5", "1000000000000", "1.5"])
def test_what_are_no_bytes_is_damaged_and_no_other_row_with_it(tmp_path: Path, value: str) -> None:
    """SQLite keeps a value of any type in any column."""
    database = Database(f"sqlite:///{tmp_path / 'w.db'}")
    database.run(metadata.create_all)
    one, two = accounts(database, "one", "two")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    credentials.keep(two, OTHERS, NOW)
    spoil = f"UPDATE cloud_accounts SET credentials = {value} WHERE id = {one}"
    database.run(lambda connection: connection.exec_driver_sql(spoil))
    assert refused(credentials, one).startswith(f"The access keys of cloud account {one} (one) are damaged")
    assert credentials.keys_of(two) == OTHERS
    assert credentials.state() == SealedState({"a": 1, "?": 1}, (refused(credentials, one),))
    assert credentials.reseal(NOW).faults == (refused(credentials, one),)
    assert credentials.keep(one, KEYS, NOW)
    assert credentials.keys_of(one) == KEYS
    database.close()


def test_a_key_is_remembered_once_by_what_it_sealed(database: Database) -> None:
    one, two = accounts(database, "one", "two")
    credentials = kept(database, a=FIRST)
    credentials.keep(one, KEYS, NOW)
    credentials.keep(two, KEYS, NOW)
    rows = database.read(lambda connection: connection.execute(select(sealing_keys)).all())
    assert [row.key_id for row in rows] == ["a"]


def test_keys_show_nothing_of_themselves(database: Database) -> None:
    assert repr(KEYS) == f"{KEYS}" == "AccessKeys()"
    with pytest.raises(TypeError):
        vars(KEYS)
