"""What the log says: a constant event name with ids as fields; no object, setting, address or contents of a mail.

Logs are read by more people than the database, and nobody can take anything out of them (`projects forget`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

log = logging.getLogger("warden")

Observer = Callable[[str, Mapping[str, object]], None]
# Beside the log: telemetry, where there is any.
observers: list[Observer] = []
# In a provider's words on a recipient, mostly.
ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+")


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs one event, as `mail_sent mail=3 …`; the fields are dimensions too, where telemetry takes them."""
    told = {field: ADDRESS.sub("(address)", str(value)) for field, value in fields.items()}
    shown = " ".join(f"{field}={value}" for field, value in told.items())
    log.log(level, "%s %s", name, shown, extra={f"warden_{field}": value for field, value in told.items()})
    for observe in observers:
        observe(name, fields)
