"""What each command writes onto a terminal of 80 columns, compared with tests/cli/golden.

`pytest tests/cli/test_golden.py --write-golden` writes the files anew; what has changed is seen in the diff.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from localdev.azure_sim import Charge, ChargeBook, SimulatedExport
from shared.cli.app import user_name
from shared.composition import Composition
from shared.domain.currencies import FixedRate
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.domain.periods import Period
from shared.messages import Queue
from shared.ports.mails import NewMail, Topic
from shared.ports.runs import RunTrigger, ScopeTarget
from tests.adapters.exports.files import EA, csv_of
from tests.cli.commands import (
    BARE,
    DIE1,
    EAU,
    HOLD,
    LOCKED,
    LOCKED_AT,
    SECOND,
    Cli,
    checked,
    costs_were_read,
    decided,
    night,
    spend,
    spend_unowned,
    write_csv,
    write_rules,
)
from tests.docs import sources
from tests.services.test_export_service import write_run

GOLDEN = Path(__file__).parent / "golden"
THIRD = "3caaa5a3-2b66-438e-8ab4-bce37d518c5d"
READ_AT = datetime(2026, 11, 20, 2, 12, tzinfo=UTC)
FORET = (
    f"14,FORÊT,Observatoire des forêts boréales et de leurs lacs,{SECOND},foret,3000,EUR,monthly,,,"
    "fred@example.com,fr,true"
)
COMMANDS = {
    "help": "--help",
    "projects-list": "projects list",
    "projects-list-over": "projects list --over 80 --sort used",
    "projects-list-none": "projects list --search nobody",
    "projects-show": "projects show foret",
    "projects-load": "projects load projects.csv --dry-run",
    "projects-export": "projects export",
    "projects-forget": "projects forget DIE1",
    "projects-lock": "projects lock DIE1 --reason security",
    "projects-unlock": "projects unlock DIE1 --reason mended",
    "budgets-set": "budgets set DIE1 15000 --reason granted",
    "budgets-sync": "budgets sync",
    "costs": "costs DIE1 --by month",
    "costs-subscription": f"costs --subscription {SECOND} --by resource-group",
    "costs-unallocated": "costs --unallocated",
    "allocations-load": "allocations load rules.csv --dry-run",
    "allocations-list": "allocations list",
    "allocations-show": "allocations show hub",
    "allocations-end": "allocations end Hub --last-day 2026-11-30 --reason moved",
    "reconcile": "reconcile --month 2026-11",
    "audit": "audit",
    "changes": "changes",
    "run": "run --project DIE1",
    # Without a host, it would wait.
    "sync": "sync --help",
    "status": "status",
    "status-quiet": "status --quiet",
    "mails-list": "mails list",
    "mails-resend": "mails resend 1",
    "mails-discard": "mails discard 2 --reason drill",
    "dead-letters-list": "dead-letters list",
    "dead-letters-show": "dead-letters show 1",
    "dead-letters-discard": "dead-letters discard 1 --reason drill",
    "dead-letters-replay": "dead-letters replay 1",
    # Without AWS accounts, there is nothing to seal.
    "cloud-accounts-keys": "cloud-accounts keys 1",
    "cloud-accounts-reseal": "cloud-accounts reseal",
    "cloud-accounts-list": "cloud-accounts list",
    "cloud-accounts-add": "cloud-accounts add aws --name shop --role-arn arn:aws:iam::123456789012:role/costs "
    "--external-id warden-1 --payer",
    "cloud-accounts-show": "cloud-accounts show 1",
    "cloud-accounts-test": "cloud-accounts test 1",
    "cloud-accounts-add-exports": "cloud-accounts add-exports costs/aws",
    "cloud-accounts-sync": "cloud-accounts sync 1",
    "cloud-accounts-set": "cloud-accounts set 2 --organization museum",
    "cloud-accounts-disable": "cloud-accounts disable 2 --reason moved",
    "cloud-accounts-enable": "cloud-accounts enable 2",
    "cloud-accounts-remove": "cloud-accounts remove 2 --yes",
    "rates-list": "rates list",
    "rates-set": "rates set USD CAD 1.375 --from 2026-04-01 --to 2027-03-31 --reason granted",
    "rates-update": "rates update --file rates.csv",
    "exports-read": "exports read exports",
    "focus-export": "focus export --from 2026-11-02 --to 2026-11-03 --output november.csv",
    "exports-import": "exports import exports october.csv",
    "exports-list": "exports list",
    "exports-show": "exports show 1",
    "exports-scan": "exports scan",
    "exports-feeds": "exports feeds",
    "exports-use": "exports use daily --yes",
    "db-upgrade": "db upgrade",
    "check": "check",
    "smoke-test": "smoke-test",
}


@pytest.fixture(scope="session")
def kept_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder of the first test's world is kept: the others begin with a copy."""
    return tmp_path_factory.mktemp("golden") / "world"


@pytest.fixture
def world(
    cli: Cli, app: Composition, queue_names: dict[str, str], kept_world: Path, monkeypatch: pytest.MonkeyPatch
) -> Composition:
    """Four projects after a night in which one subscription could not be read, on a terminal of 80 columns."""
    if not kept_world.exists():
        _make_world(cli, app)
        app.database.close()
        shutil.copytree(Path(), kept_world)
    shutil.copytree(kept_world, Path(), dirs_exist_ok=True)
    monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", "http://127.0.0.1:9")
    # Rich takes this for a terminal of 80 columns that knows no colours.
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    return app


def _make_world(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU, BARE, FORET))
    for day in range(1, 20):
        spend(app, 11, "350.1234", date(2026, 11, day))
        spend(app, 14, "140", date(2026, 11, day), currency="EUR")
    spend(app, 12, "2460.5", date(2026, 11, 3))
    costs_were_read(app, READ_AT)
    first, second = night(app)
    app.runs.mark_read(first.id, None, READ_AT)
    app.runs.mark_failed(second.id, "Azure says no (403): the app's identity lacks a role", READ_AT)
    checked(app, 11, 12, 14)
    by_hand = ScopeTarget(project_id=11)
    app.runs.scope_of("message-6f1c0d5e-2b66-438e-8ab4-bce37d518c5d", RunTrigger.MESSAGE, by_hand, READ_AT)
    decided(app, LOCKED, HOLD, LOCKED_AT)
    _mails(app)
    _exports(Path("exports"))
    _rules(app, cli)
    app.letters.record(Queue.NOTIFICATION, '{"ProjectId": 99}', "there is no project 99", "a", READ_AT)


def _mails(app: Composition) -> None:
    """The alerts of the check above: one has arrived in part, one waits; and a notice that failed."""
    refused = Delivery("ann@example.com", Role.TO, DeliveryState.REFUSED, "550 5.1.1 no such user")
    app.mails.claim(1, "me", READ_AT + timedelta(minutes=15), READ_AT)
    app.mails.mark_sent(1, "", (refused,), READ_AT)
    app.mails.claim(2, "me", READ_AT + timedelta(minutes=15), READ_AT)
    app.mails.release(2, "me", "the mail server is busy (421)", READ_AT + timedelta(hours=1))
    notice = {"subject": "Costs could not be read", "intro": "", "lines": [], "advice": None}
    failed = app.mails.add(NewMail("notice", "notice", ("ops@example.com",), notice, topic=Topic.COSTS_FAILED), READ_AT)
    app.mails.claim(failed, "me", READ_AT + timedelta(minutes=15), READ_AT)
    app.mails.mark_failed(failed, "me", "there is no valid address")


def _rules(app: Composition, cli: Cli) -> None:
    """Shared costs of a subscription, and a rule that gives most of them to two projects."""
    spend_unowned(app, "Network hub", "90.5", date(2026, 11, 4), date(2026, 11, 5))
    cli("allocations", "load", write_rules("Hub,FIRST,fixed,2026-11-01,DIE1,60", "Hub,,,,FORÊT,20"))
    lines = ("Hub,FIRST,,fixed,2026-11-20,DIE1,70", "DNS,FIRST,dns-zones,proportional-everywhere,2026-12-01,*,")
    write_rules(*lines, header="name,sub_account_id,resource_group,method,first_day,project,percent")


def _exports(folder: Path) -> None:
    """A run of an export, with its manifest, and a file that is none."""
    manifest = write_run(folder / "20261101-20261130", 2)
    whole = json.loads(manifest.read_text())
    whole["runInfo"] |= {"submittedTime": "2026-11-20T04:05:06", "startDate": "2026-11-01", "endDate": "2026-11-20"}
    manifest.write_text(json.dumps(whole))
    (folder / "prices.csv").write_text("MeterId,UnitPrice,Currency\n", encoding="utf-8")


def _imported(app: Composition) -> None:
    """A file, and then a run of an export that has the same subscription, and is not used."""
    rows = [{**EA, "SubscriptionId": THIRD, "Date": f"10/{day:02}/2026", "Cost": "12.3456789"} for day in range(1, 32)]
    Path("october.csv").write_text(csv_of([{**each, "BillingPeriodStartDate": "10/01/2026"} for each in rows]))
    export = SimulatedExport(THIRD)
    book = ChargeBook(Charge(THIRD, "rg-a", "Storage", date(2026, 10, day), "CAD", Decimal(12)) for day in range(1, 32))
    for name, content in export.month_before(book, datetime(2026, 11, 5, 1, tzinfo=UTC)).items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)
    for path in ("october.csv", "costs"):
        list(app.export_import.carry_out(app.export_import.look([path]), lambda *_: None))


def _rates(app: Composition) -> None:
    """Those of a week, without one that has ended, and one that was fixed."""
    for day in range(12, 19):
        app.rates.keep([(date(2026, 11, day), currency, Decimal("1.5")) for currency in ("CAD", "USD", "GBP")], READ_AT)
    app.rates.keep([(date(2025, 12, 31), "BGN", Decimal("1.9558"))], READ_AT)
    year = Period(date(2026, 4, 1), date(2027, 4, 1))
    app.rates.fix(FixedRate("USD", "CAD", year, Decimal("1.38")), user_name(), "budget of the year", READ_AT)
    Path("rates.csv").write_text("Date,USD,CAD,\n2026-11-19,1.4172,1.5606,\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_writes_what_it_did(
    world: Composition, cli: Cli, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    if name.startswith("exports-"):
        _imported(world)
    if name.startswith("rates-"):
        _rates(world)
    if name == "cloud-accounts-list":
        cli(*COMMANDS["cloud-accounts-add"].split())
    if name == "cloud-accounts-enable":
        cli("cloud-accounts", "disable", "2")
    outcome = cli(*COMMANDS[name].split())
    written = f"$ budget-warden {COMMANDS[name]}\n{outcome.out}{outcome.err}exit code {outcome.code}\n"
    written = _steady(written, tmp_path)
    golden = GOLDEN / f"{name}.txt"
    if request.config.getoption("--write-golden"):
        golden.write_text(written, encoding="utf-8")
    assert written == golden.read_text(encoding="utf-8")


def _steady(text: str, folder: Path) -> str:
    """Without what differs from run to run: this test's folder, ports, ids and the names of its queues."""
    text = text.replace(str(folder), "FOLDER").replace(" " * 3 + "\n", "\n")
    text = re.sub(r"\bt[0-9a-f]{12}-", "", text)
    text = re.sub(rf"\b{re.escape(user_name())}\b", "USER", text)
    text = re.sub(r"revision \d{4}\b", "revision NNNN", text)
    text = re.sub(r"(\d\d:\d\d):\d\d UTC", r"\1:SS UTC", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"manual-\S+?(?=[: ])", "manual-TIME", text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def test_every_command_has_its_golden_file() -> None:
    shown = {" ".join(words.split()[:2]) for words in COMMANDS.values()} | {
        words.split()[0] for words in COMMANDS.values()
    }
    assert set(sources.commands()) <= shown
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(COMMANDS)


LISTS = [
    *("projects-list", "projects-list-over", "mails-list", "dead-letters-list", "cloud-accounts-list", "audit"),
    *("costs", "costs-subscription", "status", "allocations-list"),
]


@pytest.mark.parametrize("name", LISTS)
def test_a_table_fits_80_columns(name: str) -> None:
    lines = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    rule = next(at for at, line in enumerate(lines) if line.startswith("────"))
    end = next((at for at in range(rule, len(lines)) if not lines[at]), len(lines))
    assert [line for line in lines[rule - 1 : end] if len(line) > 80] == []
