"""What the log says: a constant event name with ids as fields; never an object, a setting or a mail's contents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

log = logging.getLogger("warden")

Observer = Callable[[str, Mapping[str, object]], None]
# Beside the log: telemetry, where there is any.
observers: list[Observer] = []


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs one event, as `mail_sent mail=3 …`; the fields are dimensions too, where telemetry takes them."""
    shown = " ".join(f"{field}={value}" for field, value in fields.items())
    log.log(level, "%s %s", name, shown, extra={f"warden_{field}": str(value) for field, value in fields.items()})
    for observe in observers:
        observe(name, fields)
