"""What the parts of a run come to, until they are charges: exact, packed, and apart by sub-account."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
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
Account = tuple[str, str]
"""provider, sub-account"""
# Faster than what packs tighter, and most of what there is to gain.
LEVEL = 1
# What sums begin with that are kept as they are now; another whenever that changes. Earliest versions had none.
FORMAT = b"\x02"


class StrangeSumsError(Exception):
    """Sums are kept as another version of this app does."""


def bucket_of(provider: str, sub_account: str) -> int:
    """The bucket of a sub-account: the same in every process, and ever."""
    return zlib.crc32(f"{provider}:{sub_account}".encode()) % BUCKETS


def packed(sums: Sums) -> dict[int, bytes]:
    """The sums as they are kept, by bucket: group by group, and what is the same of many charges once."""
    groups: dict[tuple[str, str, str], list[tuple[ChargeKey, Sum]]] = {}
    for charge in sums.charges.items():
        groups.setdefault(charge[0][:3], []).append(charge)
    buckets = defaultdict[int, list[tuple[str, str, str]]](list)
    for group in groups:
        buckets[bucket_of(*group[:2])].append(group)
    return {bucket: _pack({group: groups[group] for group in its}, sums) for bucket, its in buckets.items()}


def _pack(groups: Mapping[tuple[str, str, str], list[tuple[ChargeKey, Sum]]], sums: Sums) -> bytes:
    kinds: dict[tuple[Any, ...], int] = {}
    kept = [
        (
            *group,
            sums.group_names[group],
            [kinds.setdefault(key[3:], len(kinds)) for key, _ in charges],
            [str(cost) for _, (cost, _) in charges],
            [rows for _, (_, rows) in charges],
        )
        for group, charges in groups.items()
    ]
    said = [(day.isoformat(), *names, period and period.isoformat()) for day, *names, period in kinds]
    text = json.dumps([said, kept], ensure_ascii=False, separators=(",", ":"))
    return FORMAT + zlib.compress(text.encode("utf-8"), LEVEL)


def _loaded(kept: bytes) -> Any:
    if not kept.startswith(FORMAT):
        raise StrangeSumsError
    return json.loads(zlib.decompress(kept.removeprefix(FORMAT)))


# As `_make` does, without a call of Python's for each of a great many.
_KEY, _SUM = partial(tuple.__new__, ChargeKey), partial(tuple.__new__, Sum)


def _unpacked(kept: bytes) -> dict[Account, Sums]:
    said, groups = _loaded(kept)
    kinds = [(date.fromisoformat(day), *names, period and date.fromisoformat(period)) for day, *names, period in said]
    charges: dict[Account, dict[ChargeKey, Sum]] = {}
    group_names: dict[Account, dict[tuple[str, str, str], str]] = {}
    for provider, sub_account, group_key, name, of_kind, costs, rows in groups:
        account, group = (provider, sub_account), (provider, sub_account, group_key)
        keys: Iterable[ChargeKey] = map(_KEY, [group + kinds[each] for each in of_kind])
        sums: Iterable[Sum] = map(_SUM, zip(map(Decimal, costs), rows, strict=True))
        charges.setdefault(account, {}).update(zip(keys, sums, strict=True))
        group_names.setdefault(account, {})[group] = name
    return {account: Sums(its, group_names[account]) for account, its in charges.items()}


def keep_sums(connection: Connection, run_id: int, number: int, by_bucket: Mapping[int, bytes]) -> None:
    """Keeps what a part comes to."""
    rows = [{"run_id": run_id, "bucket": each, "number": number, "sums": by_bucket[each]} for each in sorted(by_bucket)]
    insert_rows(connection, export_sums, rows)


def kept_sums(connection: Connection, run_id: int, bucket: int) -> dict[Account, Sums]:
    """What the parts of a run come to together, by sub-account, of those of a bucket."""
    parts: dict[Account, list[Sums]] = {}
    for kept in _kept(connection, run_id, bucket):
        for account, sums in _unpacked(kept).items():
            parts.setdefault(account, []).append(sums)
    return {account: added(its) for account, its in parts.items()}


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
        ("service", {key.service: 1 for key in sums.charges}, LONGEST_SERVICE),
        ("currency", {key.currency: 1 for key in sums.charges}, 3),
    ):
        for name in dict.fromkeys(names):
            if units(name) > longest:
                said = f"{units(name)} characters, of which {longest} can be stored"
                raise NeverError(f"It has a {what} of {said}: {shortened(name, 41)}")
    largest = largest_amount(dialect)
    if any(abs(each.cost) > largest for each in sums.charges.values()):
        key, cost = next((key, each.cost) for key, each in sums.charges.items() if abs(each.cost) > largest)
        said = f"{plain(cost)} {key.currency} for {key.service} of {key.sub_account} on {key.day}"
        raise NeverError(f"It has {said}, which can't be stored; the largest amount is {plain(largest)}.")


def refuse_unstorable_together(
    connection: Connection, run_id: int, period_of: Callable[[date, date | None], date]
) -> None:
    """The same of what the parts of a run come to, each of which can be stored: in billing periods, and on their days.

    period_of: the billing period of a charge, by its day and the period that its rows name.
    """
    most = 0.99 * float(largest_amount(connection.dialect))
    for bucket in kept_buckets(connection, run_id):
        # Where all of them are less than one may be, which takes little to see, none is too large.
        groups = (group for kept in _kept(connection, run_id, bucket) for group in _loaded(kept)[1])
        if sum(abs(float(cost)) for group in groups for cost in group[5]) > most:
            for sums in kept_sums(connection, run_id, bucket).values():
                for each in (period_of, lambda day, _: day.replace(day=1)):
                    refuse_unstorable(sums.placed(each), connection.dialect)


def _both(names: Iterable[tuple[tuple[str, str, str], str]]) -> Iterable[str]:
    for key, name in names:
        yield from (key[2], name)
