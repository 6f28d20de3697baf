"""What the host reads before it runs anything: host.json, local.settings.json and app settings."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from localdev.functions_host.errors import HostError

_TIME = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,7}))?")
_PERCENT_NAME = re.compile(r"%([^%]+)%")
_OVERRIDE = "AzureFunctionsJobHost__extensions__queues__"
# The extension refuses more than the storage service hands out in one call.
MAX_BATCH_SIZE = 32


@dataclass(frozen=True)
class QueueSettings:
    """The part `extensions.queues` of host.json, with the documented defaults; times are in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 60.0


@dataclass(frozen=True)
class HostSettings:
    """What of host.json matters on a developer's machine."""

    queues: QueueSettings = QueueSettings()
    route_prefix: str = "api"


@dataclass(frozen=True)
class Connection:
    """Where queues lie, and by which name the bindings know it."""

    name: str
    connection_string: str


def read_host_settings(folder: Path) -> HostSettings:
    """Reads host.json of the app; a missing file or part means the defaults."""
    path = folder / "host.json"
    extensions = _section(_read_json(path), "extensions", path)
    http = _section(extensions, "http", path)
    prefix = http.get("routePrefix", "api")
    if not isinstance(prefix, str):
        raise HostError(f'{path}: routePrefix is {prefix!r}; it takes a text, such as "api" or "".')
    queues = {**_section(extensions, "queues", path), **_overrides()}
    return HostSettings(_queue_settings(queues, path), prefix.strip("/"))


def _overrides() -> dict[str, Any]:
    """What app settings such as `AzureFunctionsJobHost__extensions__queues__batchSize` say instead, as in Azure."""
    found = {name.removeprefix(_OVERRIDE): text for name, text in os.environ.items() if name.startswith(_OVERRIDE)}
    return {name: int(text) if text.isdigit() else text for name, text in found.items()}


def _queue_settings(queues: Mapping[str, Any], path: Path) -> QueueSettings:
    batch_size = _whole(queues, "batchSize", 16, 1, MAX_BATCH_SIZE, path)
    encoding = queues.get("messageEncoding", "base64")
    if str(encoding).lower() != "none":
        raise HostError(f'{path}: messageEncoding is {encoding!r}; the local host runs apps with "none" only.')
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=_whole(queues, "newBatchThreshold", batch_size // 2, 0, 10_000, path),
        max_dequeue_count=_whole(queues, "maxDequeueCount", 5, 1, 10_000, path),
        visibility_timeout=_seconds(queues, "visibilityTimeout", 0.0, path),
        max_polling_interval=max(0.1, _seconds(queues, "maxPollingInterval", 60.0, path)),
    )


def _whole(section: Mapping[str, Any], key: str, default: int, low: int, high: int, path: Path) -> int:
    value = section.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise HostError(f"{path}: {key} is {value!r}; it takes a whole number from {low} to {high}.")
    return value


def _seconds(section: Mapping[str, Any], key: str, default: float, path: Path) -> float:
    value = section.get(key)
    if value is None:
        return default
    seconds = parse_time(value)
    if seconds is None:
        raise HostError(f'{path}: {key} is {value!r}; it takes a time as "hh:mm:ss".')
    return seconds


def parse_time(value: object) -> float | None:
    """Reads a time such as "00:00:30" or "1.12:00:00.5" into seconds; None where it is none."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds, fraction = match.groups()
    whole = timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    return whole.total_seconds() + float(f"0.{fraction or 0}")


def _section(parent: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise HostError(f"{path}: {key} is {value!r}; it takes an object.")
    return value


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"{path} can't be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise HostError(f"{path} holds {type(content).__name__}; it takes a JSON object.")
    return content


def load_app_settings(path: Path) -> None:
    """Puts the `Values` of local.settings.json into the environment; what is set there already wins.

    That is the order of Core Tools too. A missing file is fine.
    """
    content = _read_json(path)
    if content.get("IsEncrypted"):
        raise HostError(f"{path} is encrypted: decrypt it with `func settings decrypt`.")
    for name, value in _section(content, "Values", path).items():
        if not isinstance(value, str):
            raise HostError(f"{path}: {name} is {value!r}; an app setting is a text, in quotes.")
        os.environ.setdefault(name, value)


def resolve(text: str, where: str) -> str:
    """Replaces every `%Name%` in a binding by the app setting of that name; `where` names the binding."""

    def setting(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise HostError(
                f"{where} needs the app setting {match[1]}, which is not set: "
                "set it in local.settings.json or in the environment."
            )
        return value

    return _PERCENT_NAME.sub(setting, text)


def find_connection(name: str | None, where: str) -> Connection:
    """Looks a connection up by its setting's name, with or without the prefix AzureWebJobs.

    No name means AzureWebJobsStorage.
    """
    name = name or "AzureWebJobsStorage"
    for candidate in (name, f"AzureWebJobs{name}"):
        if text := os.environ.get(candidate):
            return Connection(name, text)
    raise HostError(
        f"{where} uses the connection {name}, which is not set: set {name} to a connection string "
        "(UseDevelopmentStorage=true for Azurite)."
    )
