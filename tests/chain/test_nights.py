"""Whole nights: what is read, who is told, and what a second firing or an unchanged day does not do."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from localdev.azure_sim import AzureSimulator, ChargeBook, demo_charges
from shared.adapters.database.tables import alerts, budgets
from shared.adapters.database.tables import projects as stored_projects
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, make_rule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.domain.thresholds import AlertOutcome
from shared.messages import Queue
from shared.ports.azure import AZURE
from tests.chain.conftest import Install
from tests.chain.installation import (
    NIGHT,
    NORTH,
    ROOT,
    SOUTH,
    Installation,
    book_of,
    contents_of,
    entry,
    spent_in,
    subjects,
)
from tests.conftest import KINDS

NEXT_NIGHT = NIGHT + timedelta(days=1)


@pytest.fixture
def small() -> Iterator[AzureSimulator]:
    """Two subscriptions with three groups."""
    book = book_of((NORTH, "RG-11", "10.5"), (NORTH, "rg-12", "3.25"), (SOUTH, "rg-21", "77.7"))
    with AzureSimulator(book) as azure:
        yield azure


def sample_projects() -> list[ProjectEntry]:
    with (ROOT / "localdev" / "sample_projects.csv").open(encoding="utf-8-sig", newline="") as file:
        return [_sample(line) for line in csv.DictReader(file)]


def _sample(line: dict[str, str]) -> ProjectEntry:
    days = [date.fromisoformat(line[name]) if line[name] else None for name in ("period_start", "period_end")]
    project = Project(
        id=int(line["id"]),
        acronym=line["acronym"],
        name=line["name"],
        language=line["language"] or None,
        contacts=tuple(filter(None, line["contacts"].split(";"))),
        active=line["active"] == "true",
    )
    scopes = tuple(Scope(AZURE, line["subscription_id"], group) for group in line["resource_groups"].split(";"))
    terms = BudgetTerms(Decimal(line["budget"]), line["currency"], make_rule(PeriodKind(line["period"]), *days))
    return ProjectEntry(project, scopes, terms)


@pytest.mark.parametrize("kind", KINDS)
def test_two_nights_of_the_sample_projects_give_the_books_own_sums_and_one_mail_for_each_threshold(
    install: Install, kind: str
) -> None:
    book, projects = demo_charges.book(), [entry for entry in sample_projects() if entry.project.active]
    with AzureSimulator(book) as azure:
        # Reading back to April is paced too: a larger share keeps the test short.
        app = install(azure, kind, COST_QPU_PER_MINUTE="1000", COST_QPU_PER_HOUR="10000")
        app.load(*sample_projects())
        app.night()
        _agrees_with_the_book(app, projects, book, NIGHT.date())
        reached = {p.project.acronym: _reached(p, book, NIGHT.date()) for p in projects}
        first = {(acronym, threshold) for acronym, threshold in reached.items() if threshold}
        assert _told(app) == sorted(first)
        warned = _warned(app)
        assert warned, "the demo's story warns nobody"
        assert all(reached[acronym] < 100 for acronym in warned)

        demo_charges.change_overnight(book)
        projects = [_with_budget(p, "4500") if p.project.acronym == "OCEAN" else p for p in projects]
        app.set_clock(NEXT_NIGHT - timedelta(hours=10))
        app.load(*projects)
        app.night(at=NEXT_NIGHT)
    _agrees_with_the_book(app, projects, book, NEXT_NIGHT.date())
    now_reached = {p.project.acronym: _reached(p, book, NEXT_NIGHT.date()) for p in projects}
    second = {(acronym, threshold) for acronym, threshold in now_reached.items() if threshold > reached[acronym]}
    assert second, "the second night has nothing new to tell: the demo's story has become dull"
    assert now_reached["OCEAN"] < reached["OCEAN"], "the raised budget of OCEAN no longer lies below a threshold"
    assert _told(app) == sorted(first | second)
    again = [acronym for acronym, times in Counter(_warned(app)).items() if times > 1]
    assert again == ["OCEAN"], "a warning is given once, and once more for a new revision of the budget"
    assert set(warned) <= set(_warned(app))
    _goes_to_its_contacts(app, projects)
    assert [(run.key, run.state) for run in app.runs().values()] == [
        ("night-2026-11-21", "done"),
        ("night-2026-11-20", "done"),
    ]
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []


def _reached(project: ProjectEntry, book: ChargeBook, day: date) -> int:
    """The highest threshold that the book says the project has reached; 0 for none."""
    assert project.terms.amount is not None
    percent = spent_in(book, project, day) / project.terms.amount * 100
    return max((threshold for threshold in (25, 50, 80, 100) if threshold <= percent), default=0)


def _with_budget(project: ProjectEntry, amount: str) -> ProjectEntry:
    return replace(project, terms=replace(project.terms, amount=Decimal(amount)))


def _told(app: Installation) -> list[tuple[str, int]]:
    """Acronym and threshold in the subject of each alert in the outbox."""
    found = [re.search(r"\[(\w+)\].*?(\d+)\s%", mail["Subject"]) for mail in app.outbox()]
    alone = [mail for mail in app.outbox() if re.search("At this pace|À ce rythme", mail["Subject"])]
    assert found.count(None) == len(alone), subjects(app.outbox())
    return sorted((match[1], int(match[2])) for match in found if match)


def _warned(app: Installation) -> list[str]:
    """The acronym of each early warning that was given, by itself or in the mail on a threshold."""
    given = select(stored_projects.c.acronym).join(budgets, budgets.c.project_id == stored_projects.c.id)
    given = given.join(alerts, alerts.c.budget_id == budgets.c.id).where(alerts.c.outcome == AlertOutcome.WARNED)
    with app.app() as parts:
        return list(parts.database.read(lambda connection: connection.scalars(given).all()))


def _goes_to_its_contacts(app: Installation, projects: list[ProjectEntry]) -> None:
    records = [entry.project for entry in projects]
    contacts = {project.acronym: ", ".join(project.contacts) or "operators@example.com" for project in records}
    for mail in app.outbox():
        match = re.search(r"\[(\w+)\]", mail["Subject"])
        assert match
        assert mail["To"] == contacts[match[1]]


def _agrees_with_the_book(app: Installation, projects: list[ProjectEntry], book: ChargeBook, day: date) -> None:
    views = app.projects()
    read = {entry.project.acronym: views[entry.project.acronym].spent for entry in projects}
    assert read == {entry.project.acronym: spent_in(book, entry, day) for entry in projects}


def test_an_unchanged_second_night_reads_everything_writes_no_charge_and_mails_nobody(
    install: Install, small: AzureSimulator
) -> None:
    app = install(small)
    app.load(entry(11, "400"), entry(12, "1000"), entry(21, "1400", subscription=SOUTH))
    app.night()
    before, asked = app.outcome(), small.record.in_all().calls
    assert before.charges
    assert len(before.outbox) == 2
    _count_writes(app)
    app.night(at=NEXT_NIGHT)
    assert small.record.in_all().calls == 2 * asked
    assert _counted_writes(app) == 0
    assert app.outcome() == before


def test_a_changed_amount_in_the_second_night_is_the_only_charge_that_is_written(
    install: Install, small: AzureSimulator
) -> None:
    app = install(small)
    app.load(entry(11, "400"), entry(21, "1400", subscription=SOUTH))
    app.night()
    _count_writes(app)
    changed = next(small.book.charges(NORTH, date(2026, 11, 10), date(2026, 11, 10)))
    small.book.set([replace(changed, amount=changed.amount + 1)])
    app.night(at=NEXT_NIGHT)
    assert _counted_writes(app) == 1
    assert app.projects()["P11"].spent == spent_in(small.book, entry(11, "400"), NIGHT.date())


def test_a_second_firing_of_the_same_night_asks_azure_nothing_and_changes_nothing(
    install: Install, small: AzureSimulator
) -> None:
    app = install(small)
    app.load(entry(11, "400"), entry(21, "1400", subscription=SOUTH))
    app.night()
    before, asked, finished = app.outcome(), small.record.in_all().calls, app.runs()["night-2026-11-20"].finished_at
    app.night(at=NIGHT + timedelta(minutes=5))
    assert small.record.in_all().calls == asked
    assert app.outcome() == before
    assert list(app.runs()) == ["night-2026-11-20"]
    assert app.runs()["night-2026-11-20"].finished_at == finished


def test_a_subscription_that_refuses_us_fails_alone_and_the_operators_are_told_once(
    install: Install, small: AzureSimulator
) -> None:
    small.fault("forbidden", subscription=NORTH, times=None)
    app = install(small)
    app.load(entry(11, "400"), entry(21, "1400", subscription=SOUTH))
    app.night()
    run = app.runs()["night-2026-11-20"]
    assert run.state == "failed"
    assert dict(run.scopes) == {"failed": 1, "done": 1}
    assert [scope for scope, _ in run.errors] == [f"subscription {NORTH}"]
    assert subjects(app.outbox()) == [
        ("operators@example.com", f"Costs could not be read: subscription {NORTH} (P11)"),
        ("p21@example.com", "[P21] 100 % of the budget reached"),
    ]


def test_a_night_whose_messages_are_lost_is_picked_up_by_the_watchdog(install: Install, small: AzureSimulator) -> None:
    app = install(small)
    app.load(entry(11, "400"), entry(21, "1400", subscription=SOUTH))
    with app.app() as parts:
        parts.chain.send(parts.scheduler.tonight())
    app.queue(Queue.UPDATE).clear_messages()
    app.set_clock(NIGHT + timedelta(hours=1))
    app.run("--once", "PipelineWatchdog")
    assert app.runs()["night-2026-11-20"].state == "done"
    assert subjects(app.outbox()) == [
        ("p11@example.com", "[P11] 25 % of the budget reached"),
        ("p21@example.com", "[P21] 100 % of the budget reached"),
    ]


def test_the_operators_are_told_once_of_a_night_that_is_not_complete_after_four_hours(
    install: Install, small: AzureSimulator
) -> None:
    app = install(small)
    app.load(entry(11, "400"))
    with app.app() as parts:
        parts.chain.send(parts.scheduler.tonight())
    app.queue(Queue.UPDATE).clear_messages()
    small.fault("throttled", times=2, seconds=1)
    for hours in (5, 6):
        app.set_clock(NIGHT + timedelta(hours=hours))
        app.run("--once", "PipelineWatchdog")
    late = [mail for mail in app.outbox() if mail["To"] == "operators@example.com"]
    assert subjects(late) == [("operators@example.com", "night-2026-11-20 is not complete")]
    assert f"subscription {NORTH}" in contents_of(late[0])[5]


# What has the database itself note each row of the charges that is inserted, updated or deleted, in its own words.
NOTING = {
    "sqlite": """
        CREATE TRIGGER note_{change} AFTER {change} ON charges
        BEGIN INSERT INTO charge_writes VALUES ('{change}'); END
        """,
    "mssql": """
        CREATE TRIGGER note_{change} ON charges AFTER {change} AS
        SET NOCOUNT ON; INSERT INTO charge_writes SELECT '{change}' FROM {rows}
        """,
    "postgresql": """
        CREATE FUNCTION note_{change}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO charge_writes VALUES (TG_OP); RETURN NULL; END $$;
        CREATE TRIGGER note_{change} AFTER {change} ON charges FOR EACH ROW EXECUTE FUNCTION note_{change}()
        """,
}
# The name under which a trigger of SQL Server finds those rows.
ROWS = {"INSERT": "inserted", "UPDATE": "inserted", "DELETE": "deleted"}


def _count_writes(app: Installation) -> None:
    """From here on the database itself notes every write to the charges."""
    with app.app() as parts, parts.database.engine.begin() as connection:
        # A server may have it from the test before.
        connection.exec_driver_sql("DROP TABLE IF EXISTS charge_writes")
        connection.exec_driver_sql("CREATE TABLE charge_writes (change VARCHAR(10))")
        for change, rows in ROWS.items():
            if connection.dialect.name == "mssql":
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS note_{change}")
            connection.exec_driver_sql(NOTING[connection.dialect.name].format(change=change, rows=rows))


def _counted_writes(app: Installation) -> int:
    with app.app() as parts, parts.database.engine.begin() as connection:
        return int(connection.execute(text("SELECT COUNT(*) FROM charge_writes")).scalar_one())
