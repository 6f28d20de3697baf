"""Projects that have spent something, as the API tells of them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from shared.composition import Composition
from tests.cli.commands import BARE, DIE1, EAU, Cli, checked, costs_were_read, spend, write_csv

READ_AT = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)


@pytest.fixture
def spent(cli: Cli, app: Composition) -> Composition:
    """DIE1 spent 1.005 in April and 30 in November; EAU 5 in October and in November; all was checked."""
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    spend(app, 11, "1.005", date(2026, 4, 1))
    spend(app, 11, "30", date(2026, 11, 20))
    spend(app, 12, "5", date(2026, 10, 1), date(2026, 11, 1))
    costs_were_read(app, READ_AT)
    checked(app, 11, 12, 13)
    return app
