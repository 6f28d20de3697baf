"""Access keys of cloud accounts, sealed in their rows; and what tells a wrong key from a damaged row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Null, RowMapping, delete, null, select, type_coerce, update
from sqlalchemy.types import NullType
from typing_extensions import override

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.tables import cloud_accounts, sealing_keys
from shared.adapters.sealing import KeyRing, key_id_of
from shared.ports.credentials import AccessKeys, Credentials, Resealed, SealedState
from shared.ports.errors import NeverError

cloud, check = cloud_accounts.c, sealing_keys.c
# As the database has it: in SQLite that may be of any type, and one row must not stop the others from being read.
KEPT = type_coerce(cloud.credentials, NullType()).label("credentials")
SEALED = select(cloud.id, cloud.name, KEPT).where(cloud.credentials.is_not(None)).order_by(cloud.id)
# What each key has sealed once: that it opens tells that the key is the same.
CHECKED = "Budget Warden"
WRONG_KEY = (
    "ENCRYPTION_KEYS has another key under the id '{}' than the one that has sealed credentials here: put that one "
    "back, and give a new key an id of its own."
)
DAMAGED_CHECK = (
    "The check of the key '{}' (a row of sealing_keys, which holds no secret) is damaged; the key is right, and opens "
    "credentials: `python -m shared.cli cloud-accounts reseal` writes the check anew."
)


@dataclass(frozen=True)
class SqlCredentials(Ledger, Credentials):
    """Credentials on a SQL database, under the keys of a ring."""

    ring: KeyRing

    @override
    @reads
    def keys_of(self, connection: Connection, cloud_account_id: int) -> AccessKeys | None:
        row = connection.execute(SEALED.where(cloud.id == cloud_account_id)).mappings().one_or_none()
        if row is None:
            return None
        self._see_keys(connection)
        return _read(self._opened(row), _whose(row))

    @override
    @writes
    def keep(self, connection: Connection, cloud_account_id: int, keys: AccessKeys | None, now: datetime) -> bool:
        # Not None, of which each driver for SQL Server makes a NULL of bytes in a way of its own.
        sealed: bytes | Null = null()
        if keys is not None:
            self._see_keys(connection)
            self._forget_unused(connection)
            self._note(connection, self.ring.current, now)
            text = json.dumps({"id": keys.access_key_id, "secret": keys.secret_access_key})
            sealed = self.ring.seal(text, _place(cloud_account_id)).encode()
        kept = update(cloud_accounts).where(cloud.id == cloud_account_id).values(credentials=sealed)
        return connection.execute(kept).rowcount == 1

    @override
    @writes
    def reseal(self, connection: Connection, now: datetime) -> Resealed:
        current, resealed, faults = self.ring.current, 0, list[str]()
        damaged = self._see_keys(connection)
        connection.execute(delete(sealing_keys).where(check.key_id.in_(damaged)))
        # A key is noted for what it has opened or sealed here, and never because somebody has named it.
        proven = set[str]()
        for row in connection.execute(SEALED).mappings().all():
            try:
                text = self._opened(row)
            except NeverError as error:
                faults.append(error.reason)
                continue
            sealed_by = key_id_of(_text(row))
            proven.update(filter(None, [sealed_by]))
            if sealed_by == current:
                continue
            sealed = self.ring.seal(text, _place(row["id"])).encode()
            # Not over what somebody has given meanwhile.
            same = (cloud.id == row["id"]) & (cloud.credentials == _kept(row))
            if connection.execute(update(cloud_accounts).where(same).values(credentials=sealed)).rowcount:
                resealed += 1
                proven.add(current)
        for key_id in proven:
            self._note(connection, key_id, now)
        self._forget_unused(connection)
        return Resealed(resealed, current, tuple(faults), tuple(damaged))

    @override
    @reads
    def state(self, connection: Connection) -> SealedState:
        rows = connection.execute(SEALED).mappings().all()
        wrong, damaged = self._checks(connection)
        faults = [WRONG_KEY.format(key_id) for key_id in wrong]
        # By a wrong key no row opens, and each would be called damaged.
        if not faults:
            faults += [DAMAGED_CHECK.format(key_id) for key_id in damaged]
            for row in rows:
                try:
                    _read(self._opened(row), _whose(row))
                except NeverError as error:
                    faults.append(error.reason)
        sealed_by = Counter(key_id_of(_text(row)) or "?" for row in rows)
        return SealedState(dict(sealed_by), tuple(faults))

    def _opened(self, row: RowMapping) -> str:
        return self.ring.unseal(_text(row), _place(row["id"]), _whose(row))

    # --- the check of the keys ---

    def _see_keys(self, connection: Connection) -> list[str]:
        """The ids of the keys whose check is damaged. Raises NeverError where a key is another than had its id."""
        wrong, damaged = self._checks(connection)
        for key_id in wrong:
            raise NeverError(WRONG_KEY.format(key_id))
        return damaged

    def _checks(self, connection: Connection) -> tuple[list[str], list[str]]:
        """The ids of the keys that are others than had sealed what is here, and of those whose check is damaged.

        A check tells nothing any more once its key seals nothing.
        """
        wrong, damaged = list[str](), list[str]()
        # All at once: SQL Server answers one statement of a connection at a time, and the loop asks more.
        checks = connection.execute(select(check.key_id, type_coerce(check.sealed, NullType()))).all()
        for key_id, sealed in checks:
            if key_id in self.ring.keys and not self._opens(sealed, _place_of_check(key_id)):
                rows = [row for row in connection.execute(SEALED).mappings() if key_id_of(_text(row)) == key_id]
                if any(self._opens(_text(row), _place(row["id"])) for row in rows):
                    damaged.append(key_id)
                elif rows:
                    wrong.append(key_id)
        return wrong, damaged

    def _opens(self, sealed: object, place: str) -> bool:
        try:
            return isinstance(sealed, str) and bool(self.ring.unseal(sealed, place, ""))
        except NeverError:
            return False

    def _note(self, connection: Connection, key_id: str, now: datetime) -> None:
        if connection.scalar(select(check.key_id).where(check.key_id == key_id)) is None:
            sealed = self.ring.seal(CHECKED, _place_of_check(key_id), key_id)
            insert_rows(connection, sealing_keys, [{"key_id": key_id, "sealed": sealed, "made_at": now}])

    def _forget_unused(self, connection: Connection) -> None:
        """A key that seals nothing any more may leave the ring, and its id may come again."""
        # The checks first: what another one notes and seals meanwhile is in neither, or in both.
        noted = connection.scalars(select(check.key_id)).all()
        used = {key_id_of(_text(row)) for row in connection.execute(SEALED).mappings()}
        for key_id in noted:
            if key_id not in used:
                connection.execute(delete(sealing_keys).where(check.key_id == key_id))


def _read(text: str, whose: str) -> AccessKeys:
    try:
        content = json.loads(text)
        return AccessKeys(content["id"], content["secret"])
    except (ValueError, KeyError, TypeError):
        raise NeverError(f"{whose} open, and are none: give them again.") from None


def _text(row: RowMapping) -> str:
    return _kept(row).decode("ascii", "replace")


def _kept(row: RowMapping) -> bytes:
    """Nothing, where somebody has put in what are no bytes."""
    kept = row["credentials"]
    return bytes(kept) if isinstance(kept, bytes | memoryview) else b""


def _place(cloud_account_id: int) -> str:
    return f"cloud_accounts.credentials.{cloud_account_id}"


def _place_of_check(key_id: str) -> str:
    return f"sealing_keys.sealed.{key_id}"


def _whose(row: RowMapping) -> str:
    return f"The access keys of cloud account {row['id']} ({row['name']})"
