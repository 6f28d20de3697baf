"""Manifests: Azure's (`manifest.json`, `_manifest.json`) and AWS Data Exports' (`…-Manifest.json`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from shared.adapters.exports.cells import AWS
from shared.domain.exports.runs import Dataset, Export, Width
from shared.domain.periods import DAY, Period
from shared.domain.texts import readable
from shared.ports.azure import AZURE
from shared.ports.errors import NeverError
from shared.ports.exports import Manifest, ManifestPart, ManifestReader

NAME = re.compile(r"(?:^|[/\\])(?:_?manifest|[^/\\]*-manifest)\.json$", re.IGNORECASE)
# The longest that were seen list some hundred parts.
MOST_PARTS, MOST_BYTES = 10_000, 16 * 2**20
# More than any store keeps in one blob, and than any file has rows.
MOST = 10**15
# Azure's `exportConfig.type`; every other one holds no costs.
DATASETS = {
    "actualcost": Dataset.ACTUAL,
    "usage": Dataset.ACTUAL,
    "amortizedcost": Dataset.AMORTIZED,
    "focuscost": Dataset.FOCUS,
}
# Whose scope an export's id begins with, the narrowest first.
WIDTHS = (
    (re.compile(r"^/subscriptions/[^/]+/resourcegroups/", re.IGNORECASE), Width.GROUP),
    (re.compile(r"^/subscriptions/", re.IGNORECASE), Width.SUB_ACCOUNT),
    (re.compile(r"/billingaccounts/[^/]+/providers/", re.IGNORECASE), Width.BILLING_ACCOUNT),
    (re.compile(""), Width.PART),
)
BILLING_ACCOUNT = re.compile(r"/billingaccounts/([^/]+)", re.IGNORECASE)
ARN = re.compile(r"arn:[a-z-]+:bcm-data-exports:[^:]*:(\d*):export/(.+)")
IS_ADDRESS = re.compile("https?://", re.IGNORECASE)
S3 = re.compile(r"s3://([^/]+)/(.+)")
# Azure writes seven digits of a second, of which Python reads six.
TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?=$|[.Z+-]))?)(?:\.(\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?")

Fields = Mapping[str, Any]


class Manifests(ManifestReader):
    """Azure's and AWS's."""

    @override
    def is_manifest(self, name: str) -> bool:
        return is_manifest(name)

    @override
    def manifest(self, content: bytes, container: str = "") -> Manifest:
        return read_manifest(content, container)


def is_manifest(name: str) -> bool:
    """Whether a file of this name says what a run consists of."""
    return NAME.search(name) is not None


def read_manifest(content: bytes, container: str = "") -> Manifest:
    """What a manifest says. container: in which it lies; empty where that is not known. Raises NeverError."""
    fields = _parsed(content)
    if "exportconfig" in fields:
        return _of_azure(fields, container)
    if "exportarn" in fields:
        return _of_aws(fields)
    raise _wrong("it names no export, by `exportConfig` (Azure) or by `exportArn` (AWS)")


def _parsed(content: bytes) -> Fields:
    if len(content) > MOST_BYTES:
        raise _wrong(f"it has {len(content):,} bytes, and {MOST_BYTES:,} at most are read")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise _wrong("it is no JSON") from None
    return _fields(found, "it")


def _of_azure(fields: Fields, container: str) -> Manifest:
    config, run = _fields(fields["exportconfig"], "exportConfig"), _fields(fields.get("runinfo"), "runInfo")
    delivery = _fields(fields.get("deliveryconfig") or {}, "deliveryConfig")
    uri = _text(delivery, "containerUri").rstrip("/")
    # Azure writes the storage account's resource id there (its own tutorial does): only an address names a container.
    address = uri.partition("://")[2] if IS_ADDRESS.match(uri) else ""
    named = unquote(address.partition("/")[2]).rpartition("/")[2]
    if container and named and named.lower() != container.lower():
        raise _wrong(f"its files are in the container {readable(named)}, and it lies in {readable(container)}")
    blobs = fields.get("blobs")
    parts = [_blob(_fields(each, "a blob"), uri) for each in _listed(blobs if blobs is not None else [], "blobs")]
    counted = _number(fields, "blobCount")
    if counted and counted != len(parts):
        raise _wrong(f"it counts {counted:,} blobs, and lists {len(parts):,}")
    return Manifest(
        export=_azure_export(config),
        version=_text(config, "dataVersion"),
        run_id=_text(run, "runId"),
        submitted_at=_time(run, "submittedTime"),
        days=_days(run),
        container=named or container,
        parts=_each_once(parts),
        rows=_number(fields, "dataRowCount"),
    )


def _azure_export(config: Fields) -> Export:
    resource_id = _text(config, "resourceId")
    if not resource_id:
        raise _wrong("its `exportConfig` has no `resourceId`, which says what export it is of")
    name = _text(config, "exportName") or resource_id.rpartition("/")[2]
    dataset = DATASETS.get(_text(config, "type").lower(), Dataset.OTHER)
    width = next(width for pattern, width in WIDTHS if pattern.search(resource_id))
    account = BILLING_ACCOUNT.search(resource_id)
    return Export(AZURE, resource_id, name, dataset, width, account[1] if account else "")


def _blob(fields: Fields, uri: str) -> ManifestPart:
    name = _text(fields, "blobName").strip()
    if uri and name.lower().startswith(f"{uri.lower()}/"):
        name = name[len(uri) + 1 :]
    return ManifestPart(_within(name), _number(fields, "byteCount"), _number(fields, "dataRowCount"))


def _of_aws(fields: Fields) -> Manifest:
    arn = _text(fields, "exportArn")
    known = ARN.fullmatch(arn)
    if known is None:
        raise _wrong(f"its `exportArn` is {readable(arn)!r}, and no export's")
    files = [_s3(each) for each in _listed(fields.get("datafiles"), "dataFiles")]
    buckets = sorted({bucket for bucket, _ in files})
    if len(buckets) > 1:
        raise _wrong(f"its files are in different buckets: {readable(', '.join(buckets))}")
    columns = [_column_name(each) for each in _listed(fields.get("columns") or [], "columns")]
    # Without columns, the files say what they are.
    dataset = Dataset.FOCUS if not columns or "billedcost" in columns else Dataset.OTHER
    return Manifest(
        export=Export(AWS, arn, known[2], dataset, billing_account=known[1]),
        version="",
        run_id=_text(fields, "executionId"),
        submitted_at=None,
        days=None,
        container=buckets[0] if buckets else "",
        parts=_each_once([ManifestPart(_within(key), None, None) for _, key in files]),
        rows=None,
    )


def _s3(uri: Any) -> tuple[str, str]:
    found = S3.fullmatch(uri.strip()) if isinstance(uri, str) else None
    if found is None:
        raise _wrong(f"it lists {readable(str(uri))!r}, which is no address such as s3://bucket/key")
    return found[1], found[2]


def _column_name(column: Any) -> str:
    return str(column.get("name") if isinstance(column, dict) else column).lower()


def _within(name: str) -> str:
    steps = name.split("/")
    if not name or ".." in steps or "\\" in name:
        raise _wrong(f"it lists {readable(name)!r}, which is no name of a file")
    if name.startswith("/") or "://" in name:
        raise _wrong(f"it lists {readable(name)!r}, which is not in its container")
    return name


def _each_once(parts: list[ManifestPart]) -> tuple[ManifestPart, ...]:
    seen = set()
    for part in parts:
        if part.name in seen:
            raise _wrong(f"it lists {readable(part.name)!r} twice")
        seen.add(part.name)
    return tuple(parts)


def _days(run: Fields) -> Period | None:
    """Its last day is named, and is one of them."""
    start, end = _time(run, "startDate"), _time(run, "endDate")
    if start is None or end is None:
        return None
    first, last = start.date(), end.date()
    if last < first or last >= date.max:
        raise _wrong(f"it ends on {last}, and begins on {first}")
    return Period(first, last + DAY)


# --- fields ------------------------------------------------------------------------------------------------------


def _fields(value: Any, name: str) -> Fields:
    if not isinstance(value, dict):
        raise _wrong(f"{name} is no object")
    return {key.lower(): each for key, each in value.items()}


def _listed(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(f"its `{name}` is no list")
    if len(value) > MOST_PARTS:
        raise _wrong(f"its `{name}` are {len(value):,}, and {MOST_PARTS:,} at most are read")
    return value


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name.lower())
    if value is not None and not isinstance(value, str):
        raise _wrong(f"its `{name}` is {readable(str(value))}, and no text")
    return (value or "").strip()


def _number(fields: Fields, name: str) -> int | None:
    value = fields.get(name.lower())
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < MOST:
        raise _wrong(f"its `{name}` is {readable(str(value))!r}, which is no size or count")
    return value


def _time(fields: Fields, name: str) -> datetime | None:
    """A time in UTC, as which one without a zone is meant."""
    text = _text(fields, name)
    if not text:
        return None
    found = TIME.fullmatch(text)
    day, time, fraction, zone = found.groups() if found else ("", None, None, None)
    second = f"{time or '00:00'}" + (f".{fraction[:6]:0<6}" if fraction else "")
    try:
        return datetime.fromisoformat(f"{day}T{second}{zone or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(f"its `{name}` is {readable(text)!r}, and no time such as 2026-09-01T00:00:00Z") from None


def _wrong(what: str) -> NeverError:
    return NeverError(f"The manifest can't be used: {what}.")
