"""A look for new runs of exports by hand, and how far their imports are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from localdev.azure_sim import SimulatedExport, demo_charges
from shared.adapters.database.engine import Database
from shared.domain.exports.runs import RunState
from shared.ports.errors import LaterError, NeverError
from shared.services.errors import RequestError
from tests.fakes import FakeBlobs
from tests.pipeline.conftest import Chain
from tests.services.test_export_import import total

EXPORT = SimulatedExport(demo_charges.NORTH)
NIGHT = datetime(2026, 11, 20, 1, tzinfo=UTC)
BOOK = demo_charges.book()


@pytest.fixture
def blobs() -> FakeBlobs:
    return FakeBlobs()


@pytest.fixture
def chain(fresh_database: Callable[[], Database], blobs: FakeBlobs) -> Chain:
    """The container has the run of a night."""
    chain = Chain(fresh_database())
    blobs.clock = chain.clock
    chain.parts["export_blobs"] = blobs
    chain.configure(export_storage=SecretStr("UseDevelopmentStorage=true"))
    put(blobs, EXPORT.nightly(BOOK, NIGHT))
    return chain


def put(blobs: FakeBlobs, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        blobs.put(EXPORT.container, name, content)


def test_what_is_new_is_found_once_and_its_import_is_followed_to_its_end(chain: Chain, blobs: FakeBlobs):
    scan = chain.export_scan
    scanned = scan.look()
    (manifest,) = scanned.manifests
    before = scan.imports(scanned)
    assert (before.ended, before.total, before.is_quiet) == ((), 1, False)
    chain.drain()
    after = scan.imports(scanned)
    assert [(each.run.place, each.state) for each in after.ended] == [(manifest, RunState.IMPORTED)]
    assert total(chain) > 0
    assert scan.look().manifests == ()


def test_runs_of_before_are_none_of_what_was_found(chain: Chain, blobs: FakeBlobs):
    chain.export_scan.look()
    chain.drain()
    put(blobs, EXPORT.nightly(BOOK, NIGHT.replace(day=21)))
    scanned = chain.export_scan.look()
    assert (len(scanned.manifests), chain.export_scan.imports(scanned).ended) == (1, ())


def test_a_run_that_waited_before_ends_once_its_parts_have_come(chain: Chain, blobs: FakeBlobs):
    chain.export_scan.look()
    chain.drain()
    later = EXPORT.nightly(BOOK, NIGHT.replace(day=21))
    put(blobs, {name: content for name, content in later.items() if name.endswith("manifest.json")})
    chain.export_scan.look()
    chain.work_off(hours=4)
    assert chain.export_runs.runs(limit=1)[0].state is RunState.WAITING
    put(blobs, later)
    scanned = chain.export_scan.look()
    assert chain.export_scan.imports(scanned).ended == ()
    chain.drain()
    assert [each.state for each in chain.export_scan.imports(scanned).ended] == [RunState.IMPORTED]


def test_a_run_that_fails_has_ended_too(chain: Chain, blobs: FakeBlobs):
    later = EXPORT.nightly(BOOK, NIGHT.replace(day=21))
    put(blobs, {name: b"x" * len(content) if name.endswith(".gz") else content for name, content in later.items()})
    scanned = chain.export_scan.look()
    assert len(scanned.manifests) == 2
    chain.drain()
    states = {each.state for each in chain.export_scan.imports(scanned).ended}
    assert states == {RunState.IMPORTED, RunState.FAILED}


def test_a_manifest_that_is_put_off_is_not_through(chain: Chain, blobs: FakeBlobs):
    scanned = chain.export_scan.look()
    blobs.fails = lambda what: LaterError("the blobs answered 503") if what == "read" else None
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    for _ in range(2):
        imports = chain.export_scan.imports(scanned)
        assert (imports.unheard, imports.are_through) == (scanned.manifests, False)
        blobs.fails = lambda _what: None
    chain.work_off(hours=1)
    imports = chain.export_scan.imports(scanned)
    assert ([each.state for each in imports.ended], imports.unheard) == ([RunState.IMPORTED], ())


def test_a_manifest_that_is_a_copy_is_not_waited_for(chain: Chain, blobs: FakeBlobs):
    chain.export_scan.look()
    chain.drain()
    put(blobs, {f"copies/{name}": content for name, content in EXPORT.nightly(BOOK, NIGHT).items()})
    scanned = chain.export_scan.look()
    chain.drain()
    imports = chain.export_scan.imports(scanned)
    assert (imports.total, imports.ended, imports.is_quiet, imports.unheard) == (1, (), True, ())


def test_a_manifest_that_the_history_has_no_room_for_has_ended_as_a_failed_run(chain: Chain, blobs: FakeBlobs):
    files = EXPORT.nightly(BOOK, NIGHT.replace(day=21))
    (name,) = [each for each in files if each.endswith("manifest.json")]
    manifest = json.loads(files[name])
    manifest["runInfo"]["runId"] = "r" * 250
    put(blobs, files | {name: json.dumps(manifest).encode()})
    scanned = chain.export_scan.look()
    chain.drain()
    imports = chain.export_scan.imports(scanned)
    (failed,) = [each for each in imports.ended if each.state is RunState.FAILED]
    assert failed.reason.startswith("A run's id has 250 characters")
    assert (imports.total, imports.are_through, imports.failed) == (2, True, ())


def test_a_manifest_whose_message_was_given_up_without_a_run_has_failed(chain: Chain, blobs: FakeBlobs):
    put(blobs, EXPORT.nightly(BOOK, NIGHT.replace(day=21)))
    scanned = chain.export_scan.look()
    for number, (queue, text, _) in enumerate(chain.queues.take()):
        chain.bury(queue, text, f"poisoned-{number}")
    imports = chain.export_scan.imports(scanned)
    assert {each.partition(": ")[0] for each in imports.failed} == set(scanned.manifests)
    assert (imports.total, imports.are_through) == (len(scanned.manifests), True)
    # What failed before a look is none of it.
    assert chain.export_scan.imports(chain.export_scan.look()).failed == ()


def test_a_place_that_cannot_be_read_is_named_and_no_container_is_added_that_is_not_there(
    chain: Chain, blobs: FakeBlobs
):
    assert chain.export_scan.look().refused == ()
    chain.cloud_accounts.add_exports("azure", "nix/costs")
    (refused,) = chain.export_scan.look().refused
    assert refused.startswith("nix/costs: there is no container nix")
    with pytest.raises(RequestError, match="there is no container nix2"):
        chain.cloud_account_service.add_exports("nix2")
    # The role may come later.
    blobs.fails = lambda _what: NeverError("the role is missing")
    assert chain.cloud_account_service.add_exports("nix3").external_account_id == "nix3"
