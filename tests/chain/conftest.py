"""What every story of the chain needs: installations of the app."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localdev.azure_sim import AzureSimulator
from localdev.azurite import Azurite
from tests.chain.installation import Installation
from tests.conftest import TEMPLATE, USUAL, new_mssql
from tests.postgres import Postgres

NewDatabase = Callable[[str], str]


@pytest.fixture
def new_database(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes a migrated, empty database of a kind (sqlite, postgresql, mssql) and gives its URL."""
    made: list[str] = []

    def make(kind: str) -> str:
        name = f"warden_{uuid.uuid4().hex}"
        if kind == "sqlite":
            shutil.copyfile(sqlite_template, tmp_path / f"{name}.db")
            return f"sqlite:///{tmp_path / f'{name}.db'}"
        if kind == "mssql":
            return new_mssql(request, tmp_path / f"{name}.db")
        server: Postgres = request.getfixturevalue("postgres")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        made.append(name)
        return server.url(name)

    yield make
    for name in made:
        request.getfixturevalue("postgres").execute(f"DROP DATABASE {name} WITH (FORCE)")


Install = Callable[..., Installation]


@pytest.fixture
def install(azurite: Azurite, new_database: NewDatabase, tmp_path: Path) -> Iterator[Install]:
    """Makes an installation that asks this simulator: `install(azure, kind, SETTING="…")`."""
    made: list[Installation] = []

    def make(azure: AzureSimulator, kind: str = USUAL, **more: str) -> Installation:
        folder = tmp_path / f"installation-{len(made)}"
        made.append(Installation(folder, azurite.connection_string, azure, new_database(kind), more))
        return made[-1]

    yield make
    for installation in made:
        installation.stop()
