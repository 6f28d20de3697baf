"""Making the tables, and bringing them up to date."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, table, text
from sqlalchemy.exc import DBAPIError

from shared.adapters.database import migrate
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import Database
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.tables import audit, budget_periods, budgets, mails, metadata, projects
from shared.domain.budgets import Rollover
from shared.domain.locks import LockMode
from shared.messages import LockAction, Queue
from shared.ports.azure import ResourceGroup
from shared.ports.errors import NeverError
from shared.ports.mails import NewMail, Topic
from tests.contracts.ledger_data import MONTHLY, Ledgers, entry, november, terms
from tests.contracts.rows import NIGHT, add_project
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain
from tests.pipeline.conftest import entry as entry_of
from tests.postgres import Postgres

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[3]


def test_a_migrated_database_has_every_table_and_is_current(database: Database):
    assert set(inspect(database.engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    assert migrate.is_current(database)


def test_the_steps_make_exactly_the_tables_of_the_code(database: Database):
    if database.url.query.get("driver") == "stand-in":
        pytest.skip("the stand-in has no catalogue of columns: test_sql_server.py compares what is sent")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_charges_are_kept_once_on_sqlite(sqlite_url: str):
    with Database(sqlite_url).engine.connect() as connection:
        made = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = 'charges'"))
    assert made is not None
    assert "WITHOUT ROWID" in made


def test_the_head_in_the_code_is_the_newest_step():
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_upgrading_what_is_current_changes_nothing(database: Database):
    migrate.upgrade(database)
    assert migrate.is_current(database)


def test_a_file_that_is_not_there_is_not_made_by_using_it(tmp_path: Path):
    for place in ("warden.db", "mistyped/warden.db"):
        database = Database(f"sqlite:///{tmp_path}/{place}", migrate.see_file)
        with pytest.raises(NeverError, match=rf"no database .*{place}.*DATABASE_URL.*{migrate.COMMAND}"):
            database.read(lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_told_how_it_gets_its_tables(tmp_path: Path):
    (tmp_path / "warden.db").touch()
    with pytest.raises(NeverError, match=migrate.COMMAND):
        Database(f"sqlite:///{tmp_path}/warden.db", migrate.see_file).read(lambda _: None)


def test_an_upgrade_makes_the_file_and_its_folder(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/new/warden.db", migrate.see_file)
    migrate.upgrade(database)
    assert migrate.is_current(database)
    database.close()


def test_only_a_missing_file_is_made_for_whoever_needs_one(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/new/warden.db", migrate.see_file)
    assert [migrate.make_missing(database) for _ in range(2)] == [True, False]
    assert migrate.is_current(database)
    database.close()
    assert not migrate.make_missing(Database("postgresql+psycopg://nobody@127.0.0.1:1/x"))


def test_a_folder_that_can_not_be_made_is_never(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NeverError, match="file can't be made"):
        migrate.upgrade(Database(f"sqlite:///{tmp_path}/file/warden.db"))


def test_a_file_of_another_revision_says_what_to_run(sqlite_url: str):
    with Database(sqlite_url).engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(NeverError, match=r"revision 0000.*python -m shared\.cli db upgrade"):
        Database(sqlite_url, migrate.see_file).read(lambda _: None)


def test_a_database_of_an_unknown_revision_can_not_be_upgraded(sqlite_url: str):
    with Database(sqlite_url).engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NeverError, match="9999"):
        migrate.upgrade(Database(sqlite_url))


def test_somebody_elses_file_is_left_alone(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/other.db"
    with Database(url).engine.begin() as connection:
        connection.execute(text("CREATE TABLE songs (id INTEGER)"))
    with pytest.raises(NeverError, match="not Budget Warden's"):
        Database(url, migrate.see_file).read(lambda _: None)


def move_to(database: Database, revision: str) -> None:
    """Takes the steps back to `revision`."""
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_the_steps_can_be_taken_back(database: Database):
    move_to(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate.upgrade(database)
    assert migrate.is_current(database)


def test_projects_of_the_nightly_chain_are_in_their_first_period(database: Database):
    move_to(database, "0001")
    april, november = date(2026, 4, 1), date(2026, 11, 1)
    add_project(database, 1, period_start=april, period_end=date(2027, 4, 1), budget_number=2)
    add_project(database, 2)
    add_project(database, 3, period_start=november, period_end=date(2026, 12, 1))
    shared = {"period_kind": "annual", "period_rule_start": april, "made_by": "ana", "reason": "loaded"}
    rows = [(1, 1, "CAD", 1000), (1, 2, "USD", 2000), (2, 1, "CAD", None), (3, 1, "CAD", 30)]
    made = [
        {"project_id": project, "number": number, "currency": currency, "amount": amount and Decimal(amount)}
        | shared
        | {"made_at": datetime(2026, 10, number, tzinfo=UTC)}
        for project, number, currency, amount in rows
    ]
    database.run(lambda connection: connection.execute(budgets.insert(), made))
    migrate.upgrade(database)
    with database.engine.connect() as connection:
        periods = connection.execute(select(budget_periods).order_by(budget_periods.c.project_id)).all()
        kept = connection.execute(select(budgets).order_by(budgets.c.id)).all()
        policies = set(connection.scalars(select(projects.c.lock)))
    assert [tuple(row)[1:9] for row in periods] == [
        (1, april, date(2027, 4, 1), "USD", 0, False, True, datetime(2026, 10, 2, tzinfo=UTC)),
        (3, november, date(2026, 12, 1), "CAD", 0, False, True, datetime(2026, 10, 1, tzinfo=UTC)),
    ]
    assert [(row.amount, row.rollover, row.thresholds) for row in kept] == [
        (1000, "reset", None),
        (2000, "reset", None),
        (None, "reset", None),
        (30, "reset", None),
    ]
    assert policies == {"auto"}


def test_of_the_periods_that_ended_before_the_upgrade_only_those_that_nights_still_read_are_compared(
    database: Database,
):
    ledgers = Ledgers(database)
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), now=datetime(2026, 9, 20, 2, tzinfo=UTC))
    ledgers.spend(("rg-1", november(5), "Storage", "300"))
    ledgers.check(1)
    move_to(database, "0003")
    migrate.upgrade(database)
    rows = select(budget_periods.c.period_start, budget_periods.c.closed).order_by(budget_periods.c.period_start)
    with database.engine.connect() as connection:
        closed = [(row.period_start.month, row.closed) for row in connection.execute(rows)]
    assert closed == [(9, True), (10, False), (11, False)]


def test_what_projects_owned_at_the_upgrade_has_always_been_theirs(database: Database):
    ledgers = Ledgers(database)
    ledgers.load(entry(1), entry(2, "rg-2", "given-up"))
    ledgers.spend(("rg-1", november(5), "Storage", "300"), ("nobodys", november(5), "Storage", "7"))
    ledgers.load(entry(2, "rg-2"))
    move_to(database, "0006")
    migrate.upgrade(database)
    views = ledgers.projects.list_projects(november(20))
    assert [(view.spent, view.handed_over) for view in views] == [(300, ()), (0, ())]


@pytest.mark.parametrize("upgraded_on", [20, 31])
def test_a_period_that_ends_around_the_upgrade_is_followed_by_the_next_once(database: Database, upgraded_on: int):
    """On 31 (that is 1 December), no check has run in the new period yet."""
    ledgers, night = Ledgers(database), datetime(2026, 12, 1, 2, tzinfo=UTC)
    ledgers.load(entry(1, terms=terms("1000", rule=MONTHLY)))
    ledgers.spend(("rg-1", november(5), "Storage", "300"))
    ledgers.check(1)
    told = ledgers.mailed()
    move_to(database, "0001")
    migrate.upgrade(database)
    if upgraded_on == 20:
        ledgers.check(1)
    for _ in range(2):
        ledgers.check(1, now=night)
    carrying = terms("1000", rule=MONTHLY, rollover=Rollover.CARRY_OVER)
    ledgers.projects.revise_budget(1, carrying, "ana", "as agreed", night.replace(hour=9))
    ledgers.check(1, now=datetime(2027, 1, 1, 2, tzinfo=UTC))
    found = [(each.period.start.month, each.carried) for each in ledgers.projects.periods(1)]
    assert (found, told, ledgers.mailed()) == ([(11, 0), (12, 0), (1, 1000)], [25], [25])


def test_mails_that_were_put_aside_before_that_was_a_column_still_are(database: Database) -> None:
    chain = Chain(database)
    aside, waits = (
        chain.mails.add(NewMail(key, "notice", ("ops@example.com",), {}, topic=Topic.OTHER), chain.clock())
        for key in ("1", "2")
    )
    chain.app.mail_service.discard([aside], "drill", "ann")
    move_to(database, "0025")
    assert "discarded_at" not in contents(database)["mails"][0]
    migrate.upgrade(database)
    assert [view.stored.id for view in chain.mails.listed(None, 10, unsent=True)] == [waits]
    discarded = chain.mails.get(aside)
    assert discarded and discarded.discarded_at


def test_which_revisions_came_from_a_file_was_in_their_reasons(database: Database):
    ledgers = Ledgers(database)
    ledgers.load(entry(1))
    ledgers.projects.revise_budget(1, terms("3000"), "ana", "avenant 2", NIGHT)
    ledgers.load(entry(1, terms=terms("1500")))
    move_to(database, "0013")
    migrate.upgrade(database)
    revisions = ledgers.projects.revisions(1)
    assert [(each.reason, each.by_load) for each in revisions] == [
        ("loaded", True),
        ("avenant 2", False),
        ("changed by load", True),
    ]


DECISION = {"key": "k", "at": NIGHT, "project_id": 1, "acronym": "P1", "action": "lock", "outcome": "locked"}
DECISION |= {"reason": "full", "trigger": "check", "asked": "", "figures": {}, "details": {}}


@pytest.mark.parametrize("change", ["UPDATE audit SET outcome = 'refused'", "DELETE FROM audit"])
def test_the_database_itself_refuses_to_change_the_audit(database: Database, change: str):
    add_project(database, 1)
    database.run(lambda connection: connection.execute(audit.insert(), [DECISION]))
    with pytest.raises(DBAPIError, match="rows of the audit are never changed"), database.engine.begin() as connection:
        connection.execute(text(change))
    with database.engine.connect() as connection:
        assert connection.scalars(select(audit.c.outcome)).all() == ["locked"]


OTHER_WAYS = {
    "sqlite": [
        "INSERT OR REPLACE INTO audit SELECT * FROM audit",
        'REPLACE INTO audit SELECT id + 1, "key", project_id, at, acronym, action, \'refused\', reason, "trigger", '
        'asked, figures, details, "by", run_key FROM audit',
        "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT DO UPDATE SET outcome = 'refused'",
    ],
    "postgresql": ["TRUNCATE audit", "TRUNCATE projects CASCADE"],
}


def test_no_row_of_the_audit_is_replaced_or_emptied_away_where_the_database_can_refuse_that(database: Database):
    add_project(database, 1)
    database.run(lambda connection: connection.execute(audit.insert(), [DECISION]))
    for change in OTHER_WAYS.get(database.engine.dialect.name, []):
        refused = pytest.raises(DBAPIError, match="rows of the audit are never changed")
        with refused, database.engine.begin() as connection:
            connection.execute(text(change))
    database.run(lambda connection: connection.execute(audit.insert(), [DECISION | {"key": "another"}]))
    with database.engine.connect() as connection:
        assert connection.scalars(select(audit.c.outcome)).all() == ["locked", "locked"]


@pytest.mark.postgres
def test_upgrades_at_once_on_a_server_wait_for_each_other(postgres: Postgres):
    postgres.execute("CREATE DATABASE upgraded_at_once")
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: migrate.upgrade(Database(postgres.url("upgraded_at_once"))), range(4)))
        database = Database(postgres.url("upgraded_at_once"))
        assert migrate.is_current(database)
        database.close()
    finally:
        postgres.execute("DROP DATABASE upgraded_at_once WITH (FORCE)")


USE_AND_NAME_MODULES = """
import sys
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import Database
from shared.adapters.database.migrate import make_missing

make_missing(Database(sys.argv[1]))
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"alembic", "mako", "pyodbc", "psycopg"}))
"""


def test_a_current_file_is_used_without_importing_alembic(sqlite_url: str):
    command = [sys.executable, "-c", USE_AND_NAME_MODULES, sqlite_url]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "\n"


# --- from 0.1.0 ----------------------------------------------------------------------------------------------

# The keys of mails in 0.1.0, and what such a mail is about: topic, project, revision, period, threshold.
START = date(2026, 4, 1)
OLD_KEYS = {
    "alert/11/2/2026-04-01/80": ("alert", 11, 2, START, 80),
    "warning/11/2/2026-04-01": ("early-warning", 11, 2, START, None),
    "lock/locked/message-1": ("lock", 11, None, None, None),
    "operators/lock/refused/11/2/2026-04-01/lasting": ("lock", 11, None, None, None),
    "operators/costs/2026-11-20/0123456789ab": ("costs-failed", None, None, None, None),
    "operators/check/2026-11-20": ("checks-failed", None, None, None, None),
    "operators/late/night-2026-11-20": ("late-run", None, None, None, None),
    "operators/no-night/2026-11-20": ("no-night", None, None, None, None),
    "operators/poison/2026-11-20": ("dead-letters", None, None, None, None),
    "operators/mail/2026-11-20": ("mails-failed", None, None, None, None),
    "operators/no-budget/11/2": ("no-budget", 11, 2, None, None),
    "operators/no-budget/11/2/2026-04-01": ("no-budget", 11, 2, None, None),
    "operators/currency/11/2/EUR, USD": ("currency", 11, 2, None, None),
    f"operators/azure-budgets/{SUBSCRIPTION}/2026-11/0123456789ab": ("azure-budgets", None, None, None, None),
    "message/5f0c": ("message", None, None, None, None),
    "by hand": ("other", None, None, None, None),
    # Somebody's own rows.
    "alert/11": ("alert", None, None, None, None),
    "alert/x/2/2026-04-01/80": ("alert", None, None, None, None),
    "alert/11/2/2026-04-01/80/again": ("alert", None, None, None, None),
    "alert/11/2/2026-04-31/80": ("alert", None, None, None, None),
    "alert/11/99999999999/2026-04-01/80": ("alert", None, None, None, None),
    "alert/11/2//": ("alert", None, None, None, None),
    "warning/11/2/": ("early-warning", None, None, None, None),
    "operators/currency/11": ("currency", None, None, None, None),
    "operators/no-budget/p/2": ("no-budget", None, None, None, None),
    "operators/no-budget/12/2": ("no-budget", None, None, None, None),
}


def contents(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as it lies there."""
    with database.engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(select(text("*")).select_from(table(name))).mappings()]
            for name in inspect(connection).get_table_names()
        }


def go_back_to_0_1_0(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Takes the tables back to those of 0.1.0; returns what is in them."""
    move_to(database, "0002")
    old = contents(database)
    for mail in old["mails"]:
        mail["context"] = mail.pop("figures")
    del old["alembic_version"]
    return old


def year_of(database: Database) -> Chain:
    """A chain with something in every table: alerts, an early warning, a lock, a failure, and a night that waits."""
    chain = Chain(database, lock_mode=LockMode.ENFORCE)
    chain.clock.now = datetime(2026, 4, 1, 2, tzinfo=UTC)
    chain.load(entry_of(11, "10000", rule=APRIL), entry_of(12, "100"), entry_of(13, None))
    for number in (11, 12):
        chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, f"rg-{number}"))
    # Three nights in a row, after which it is believed that March is empty.
    for days in (1, 1, 1, 10, 6, 1):
        chain.clock.forward(days=days)
        for ago in range(1, days + 1):
            chain.spend("200", chain.clock.now.date() - timedelta(days=ago))
            chain.spend("20", chain.clock.now.date() - timedelta(days=ago), "rg-12")
        chain.night()
    chain.clock.forward(days=1)
    chain.work(Queue.UPDATE, '{"ProjectId": 99}')
    chain.tonight()
    return chain


def test_a_database_of_0_1_0_keeps_all_that_it_has(database: Database) -> None:
    year_of(database)
    old = go_back_to_0_1_0(database)
    empty = {"cloud_accounts", "unfinished_answers"}
    assert {name for name, rows in old.items() if not rows} <= empty
    migrate.upgrade(database)
    new = contents(database)
    assert old.pop("unfinished_answers") == []
    for row in old["accounts"]:
        for column in BY_MONTH:
            del row[column]
    for row in old["locks"]:
        for column in OF_LOCKS:
            del row[column]
    # How each stands is for its next check to say, which is due.
    for row in old["projects"]:
        del row["check_due_since"]
    assert all(row["check_due_since"] for row in new["projects"] if row["active"])
    assert sorted(row["project_id"] for row in new["standings"]) == sorted(row["id"] for row in new["projects"])
    for name, rows in old.items():
        kept = [{column: row[column] for column in rows[0]} for row in new[name]] if rows else new[name]
        assert sorted(map(repr, kept)) == sorted(map(repr, rows)), name


OF_LOCKS = ("by_hand", "released_number", "released_period_start")
BY_MONTH = ("read_from", "read_until", "read_started_at", "suspect_days", "suspect_on")


def test_what_was_ordered_of_a_lock_and_what_it_rests_on_is_kept_and_back_again(database: Database) -> None:
    chain = year_of(database)
    chain.queues.take()
    send_orders(chain)
    ledger, now = chain.lock_ledger, chain.clock()
    before = [ledger.facts(number, now) for number in (11, 12)]
    for _ in range(2):
        move_to(database, "0019")
        lock = {row["project_id"]: row for row in contents(database)["locks"]}
        assert (bool(lock[11]["by_hand"]), bool(lock[12]["by_hand"])) == (True, False)
        assert (lock[11]["released_number"], lock[12]["released_number"]) == (None, 1)
        migrate.upgrade(database)
    after = [ledger.facts(number, now) for number in (11, 12)]
    for old, new in zip(before, after, strict=True):
        assert old and new and old.order and new.order
        assert new.order == replace(old.order, by=None)
        assert (old.held and old.held.why, old.held_groups) == (new.held and new.held.why, new.held_groups)
    assert ledger.looks_due(now) == [11, 12]


def send_orders(chain: Chain) -> None:
    """Project 11 is locked and project 12 unlocked, both by order."""
    chain.lock_service.order("P11", LockAction.LOCK, "security", "olga")
    chain.lock_service.order("P12", LockAction.UNLOCK, "it is needed", "olga")
    chain.drain()


def test_what_was_known_of_an_account_is_known_by_month_and_back_again(database: Database) -> None:
    year_of(database)
    known = SqlCharges(database, 35).account("azure", SUBSCRIPTION).known
    move_to(database, "0003")
    (account,) = contents(database)["accounts"]
    last = datetime(2026, 4, 21, 2, tzinfo=UTC)
    assert [str(account[name]) for name in BY_MONTH[:2]] == ["2026-03-01", str(last.date())]
    migrate.upgrade(database)
    upgraded = SqlCharges(database, 35).account("azure", SUBSCRIPTION).known
    days = [
        {month: (each.read_from, each.read_through) for month, each in of.items() if each.read_from}
        for of in (known, upgraded)
    ]
    assert days[0] == days[1]
    april = upgraded[APRIL.start]
    assert (april.good_on, april.begun_at, april.state) == (last.date(), last, "good")


def test_subscriptions_that_0_1_0_watched_are_cloud_accounts(database: Database) -> None:
    chain = year_of(database)
    chain.load(entry_of(14, subscription=OTHER_SUBSCRIPTION))
    go_back_to_0_1_0(database)
    migrate.upgrade(database)
    new = contents(database)
    assert [
        (row["external_account_id"], row["provider"], row["connection_type"], row["status"], row["organization"])
        for row in sorted(new["cloud_accounts"], key=lambda row: row["status"])
    ] == [
        (SUBSCRIPTION, "azure", "COST_MANAGEMENT", "active", "default"),
        (OTHER_SUBSCRIPTION, "azure", "COST_MANAGEMENT", "pending", "default"),
    ]
    feeding = {row["external_account_id"]: row["id"] for row in new["cloud_accounts"]}
    assert {row["sub_account_id"]: row["cloud_account_id"] for row in new["accounts"]} == {
        account: feeding[account] for account in {row["sub_account_id"] for row in new["accounts"]}
    }


def test_after_the_upgrade_nothing_is_mailed_or_locked_twice(database: Database) -> None:
    chain = year_of(database)
    go_back_to_0_1_0(database)
    migrate.upgrade(database)
    told = chain.subjects()
    for words in ("P13 has no budget", "[P12] 100 %", "[P11] 25 %", "[P11] At this pace"):
        assert [subject for subject in told if words in subject], words
    assert chain.tonight() == 0, "the night that is on its way is the one of this occurrence"
    chain.drain()
    assert [run.state for run in chain.runs.recent_runs(30)] == ["done"] * 7, "the night that was waiting too"
    chain.clock.forward(days=1)
    chain.night()
    assert chain.subjects() == told


def test_what_a_mail_of_0_1_0_is_about_was_in_its_key(database: Database) -> None:
    add_project(database, 11)
    ledger = SqlMails(database, "warden.example")
    for key, about in OLD_KEYS.items():
        told = about[1] if about[0] in ("alert", "early-warning", "lock") else None
        old = NewMail(key, "notice", (), {}, topic=Topic.OTHER, project_id=told)
        ledger.add(old, NIGHT)
    go_back_to_0_1_0(database)
    migrate.upgrade(database)
    columns = mails.c
    subject = (columns.topic, columns.project_id, columns.budget_number, columns.period_start, columns.threshold)
    with database.engine.connect() as connection:
        found = connection.execute(select(columns.key, *subject)).all()
    assert {key: tuple(about) for key, *about in found} == OLD_KEYS


def test_every_topic_there_is_was_known_from_some_key_of_0_1_0():
    assert {about[0] for about in OLD_KEYS.values()} == set(Topic)
