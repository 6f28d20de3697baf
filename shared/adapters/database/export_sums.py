"""What the parts of a run come to, until they are charges: exact, packed, and apart by sub-account."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Dialect, delete, select

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.tables import export_sums
from shared.adapters.database.types import largest_amount
from shared.domain.charges import LONGEST_GROUP, LONGEST_SERVICE
from shared.domain.exports.sums import ChargeKey, Sum, Sums, added
from shared.domain.money import plain
from shared.domain.texts import shortened, units
from shared.ports.errors import NeverError

# A sub-account's sums are in one of so many: making one after the other, a run of any size takes little memory.
BUCKETS = 32
LONGEST_SUB_ACCOUNT = 100
# Faster than what packs tighter, and most of what there is to gain.
LEVEL = 1


def bucket_of(provider: str, sub_account: str) -> int:
    """The bucket of a sub-account: the same in every process, and ever."""
    return zlib.crc32(f"{provider}:{sub_account}".encode()) % BUCKETS


def packed(sums: Sums) -> dict[int, bytes]:
    """The sums as they are kept, by bucket."""
    rows, names = defaultdict[int, list[object]](list), defaultdict[int, list[object]](list)
    for key, each in sums.charges.items():
        period = key.billing_period and key.billing_period.isoformat()
        kept = (*key[:3], key.day.isoformat(), key.service, key.currency, period, str(each.cost), each.rows)
        rows[bucket_of(*key[:2])].append(kept)
    for group, name in sums.group_names.items():
        names[bucket_of(*group[:2])].append((*group, name))
    return {bucket: _pack([rows[bucket], names[bucket]]) for bucket in rows}


def _pack(what: object) -> bytes:
    return zlib.compress(json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode("utf-8"), LEVEL)


def _loaded(kept: bytes) -> Any:
    return json.loads(zlib.decompress(kept))


def _unpacked(kept: bytes) -> Sums:
    rows, names = _loaded(kept)
    days: dict[str | None, date | None] = {None: None}
    for row in rows:
        for text in (row[3], row[6]):
            if text not in days:
                days[text] = date.fromisoformat(text)
    charges = {
        ChargeKey._make((*row[:3], days[row[3]], *row[4:6], days[row[6]])): Sum(Decimal(row[7]), row[8]) for row in rows
    }
    return Sums(charges, {(provider, sub, group): name for provider, sub, group, name in names})


def keep_sums(connection: Connection, run_id: int, number: int, by_bucket: Mapping[int, bytes]) -> None:
    """Keeps what a part comes to."""
    rows = [{"run_id": run_id, "bucket": each, "number": number, "sums": by_bucket[each]} for each in sorted(by_bucket)]
    insert_rows(connection, export_sums, rows)


def kept_sums(connection: Connection, run_id: int, bucket: int) -> Sums:
    """What the parts of a run come to together, of the sub-accounts of a bucket."""
    parts = [_unpacked(each) for each in _kept(connection, run_id, bucket)]
    return parts[0] if len(parts) == 1 else added(parts)


def kept_buckets(connection: Connection, run_id: int) -> Sequence[int]:
    """The buckets of a run in which sums are kept."""
    these = select(export_sums.c.bucket).where(export_sums.c.run_id == run_id)
    return connection.scalars(these.distinct().order_by(export_sums.c.bucket)).all()


def _kept(connection: Connection, run_id: int, bucket: int) -> Iterator[bytes]:
    this = (export_sums.c.run_id == run_id) & (export_sums.c.bucket == bucket)
    rows = connection.scalars(select(export_sums.c.sums).where(this).order_by(export_sums.c.number))
    return map(bytes, rows)


def forget_sums(connection: Connection, run_id: int, bucket: int | None = None) -> None:
    """Forgets what is kept of a run, or of one of its buckets."""
    these = delete(export_sums).where(export_sums.c.run_id == run_id)
    connection.execute(these if bucket is None else these.where(export_sums.c.bucket == bucket))


def refuse_unstorable(sums: Sums, dialect: Dialect) -> None:
    """Raises NeverError for names and amounts that no row of a charge can hold."""
    for what, names, longest in (
        ("sub-account", (key[1] for key in sums.group_names), LONGEST_SUB_ACCOUNT),
        ("resource group", _both(sums.group_names.items()), LONGEST_GROUP),
        ("service", (key.service for key in sums.charges), LONGEST_SERVICE),
        ("currency", (key.currency for key in sums.charges), 3),
    ):
        for name in dict.fromkeys(names):
            if units(name) > longest:
                said = f"{units(name)} characters, of which {longest} can be stored"
                raise NeverError(f"It has a {what} of {said}: {shortened(name, 41)}")
    largest = largest_amount(dialect)
    for key, each in sums.charges.items():
        if each.cost.copy_abs() > largest:
            said = f"{plain(each.cost)} {key.currency} for {key.service} of {key.sub_account} on {key.day}"
            raise NeverError(f"It has {said}, which can't be stored; the largest amount is {plain(largest)}.")


def refuse_unstorable_together(connection: Connection, run_id: int, period_of: Callable[[ChargeKey], date]) -> None:
    """The same of what the parts of a run come to, each of which can be stored: in billing periods, and on their days.

    period_of: the billing period of a charge.
    """
    most = 0.99 * float(largest_amount(connection.dialect))
    for bucket in kept_buckets(connection, run_id):
        # Where all of them are less than one may be, which takes little to see, none is too large.
        costs = (abs(float(row[7])) for kept in _kept(connection, run_id, bucket) for row in _loaded(kept)[0])
        if sum(costs) > most:
            sums = kept_sums(connection, run_id, bucket)
            for each in (period_of, lambda key: key.day.replace(day=1)):
                refuse_unstorable(sums.placed(each), connection.dialect)


def _both(names: Iterable[tuple[tuple[str, str, str], str]]) -> Iterable[str]:
    for key, name in names:
        yield from (key[2], name)
