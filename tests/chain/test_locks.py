"""Locks, from a night or from Azure's own alert over HTTP, to the lock in Azure, the audit and the mails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from localdev.azure_sim import ActionGroup, AzureSimulator, Charge
from localdev.azurite import Azurite
from localdev.processes import Program
from shared.domain.locks import Outcome
from shared.messages import LockTrigger, Queue
from shared.pipeline.locking.groups import lock_name
from tests.chain.conftest import USUAL, Install
from tests.chain.installation import (
    FUNCTION_KEY,
    NIGHT,
    NORTH,
    ROOT,
    SOUTH,
    Installation,
    book_of,
    contents_of,
    durations,
    entry,
    post,
    subjects,
    until,
)
from tests.postgres import programs

TODAY = NIGHT.date()
ACTION_GROUP = f"/subscriptions/{NORTH}/resourceGroups/rg-warden/providers/Microsoft.Insights/actionGroups/ag-warden"
SCOPE = f"/subscriptions/{NORTH}"
BUDGETS = "providers/Microsoft.Consumption/budgets"
SAMPLES = ROOT.parent / "shared" / "data" / "azure"
ENFORCE = {"LOCK_MODE": "enforce"}
OPERATORS = "operators@example.com"
USED_UP, LOCKED, UNLOCKED = (
    ("p11@example.com", "[P11] 100 % of the budget reached"),
    ("p11@example.com", "[P11] 100 % of the budget reached: the project is being locked"),
    ("p11@example.com", "[P11] The project is unlocked"),
)


@pytest.fixture
def azure() -> Iterator[AzureSimulator]:
    """Two groups that have each cost 190 CAD this month."""
    with AzureSimulator(book_of((NORTH, "RG-11", "10"), (NORTH, "rg-12", "10"))) as simulator:
        yield simulator


def locks_in(azure: AzureSimulator) -> list[tuple[str, str, str]]:
    """Group, name and level of every lock."""
    return sorted((lock.group.lower(), lock.name, lock.level) for lock in azure.locks.of())


def read_only(*project_ids: int) -> list[tuple[str, str, str]]:
    """What `locks_in` shows where these projects, each with its own group, are locked."""
    return [(f"rg-{number}", lock_name(number), "ReadOnly") for number in project_ids]


def outcomes(app: Installation, project_id: int | None = None) -> list[Outcome]:
    return [decision.outcome for decision in app.audit(project_id)]


def charge(azure: AzureSimulator, group: str, amount: str) -> None:
    """One more charge today, of which our own costs know nothing yet."""
    azure.book.set([Charge(NORTH, group, "Azure Machine Learning", TODAY, "CAD", Decimal(amount))])


def handled(host: Program, function: str = "ProjectLockHandler") -> int:
    """How often the function has come to its end in this host."""
    return len(durations(host.output, function))


def waiting(app: Installation) -> int:
    """How many messages there are on the locks' queue, those among them that are to come later."""
    return app.queue(Queue.LOCK).get_queue_properties().approximate_message_count or 0


def common(budget: str, condition: str = "Fired", **more: Any) -> dict[str, Any]:
    """An alert in the common schema, of a budget in NORTH; more: other fields of its data."""
    budget_id = f"{SCOPE}/{BUDGETS}/{budget}"
    data = {"Scope": f"{SCOPE}/", "ThresholdType": "Actual", "BudgetType": "Cost", "BudgetId": budget_id, **more}
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {"monitoringService": "CostAlerts", "monitorCondition": condition},
            "alertContext": {"AlertCategory": "budgets", "AlertData": data},
        },
    }


def legacy(budget: str, **more: Any) -> dict[str, Any]:
    """The same in the schema of its own that budgets have."""
    data = {"SubscriptionId": NORTH, "BudgetName": budget, "BudgetType": "Cost", "Unit": "CAD", **more}
    return {"schemaId": "AIP Budget Notification", "data": data}


# --- the night, and what takes the lock off again ------------------------------------------------------------


def test_a_night_that_finds_100_percent_locks_the_project_and_a_raised_budget_unlocks_it(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure, **ENFORCE)
    app.load(entry(11, "190"), entry(12, "400"))
    app.night()
    assert locks_in(azure) == read_only(11)
    assert app.held() == ["P11"]
    (decision,) = app.audit()
    assert (decision.outcome, decision.trigger) == (Outcome.LOCKED, LockTrigger.CHECK)
    assert (decision.figures["usage"], decision.figures["amount"]) == ("190", "190")
    assert decision.run_key == "night-2026-11-20"
    told = [mail for mail in subjects(app.outbox()) if mail[0] == "p11@example.com"]
    assert told == [LOCKED]

    said = app.cli("budgets", "set", "P11", "5000", "--reason", "more was granted")
    assert "is now 5,000" in said
    app.run("--drain")
    assert locks_in(azure) == []
    assert app.held() == []
    assert outcomes(app) == [Outcome.LOCKED, Outcome.UNLOCKED]
    assert UNLOCKED in subjects(app.outbox())
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []
    listed = json.loads(app.cli("audit", "P11", "--json"))
    assert [row["outcome"] for row in listed] == ["locked", "unlocked"]


def test_a_check_that_asks_twice_to_unlock_leaves_one_decision(install: Install, azure: AzureSimulator) -> None:
    app = install(azure, **ENFORCE)
    app.load(entry(11, "190"))
    app.night()
    app.load(entry(11, "5000"))
    # A queue delivers twice, and a check that was killed after it had sent its messages sends them again.
    host = app.host()
    for times in (1, 2):
        app.queue(Queue.LOCK).send_message('{"ProjectId": 11, "Action": "unlock", "Trigger": "check"}')
        until(lambda wanted=times: handled(host) == wanted)
    assert locks_in(azure) == []
    assert outcomes(app) == [Outcome.LOCKED, Outcome.UNLOCKED]


def test_unless_told_otherwise_the_app_locks_nothing_and_tells_the_operators_what_it_would_lock(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure, LOCK_MODE="")
    app.load(entry(11, "190"))
    app.night()
    assert locks_in(azure) == []
    assert outcomes(app) == [Outcome.WOULD_LOCK]
    assert subjects(app.outbox()) == [(OPERATORS, "P11 would be locked now"), USED_UP]


# --- Azure's own alert ---------------------------------------------------------------------------------------


def with_azures_budgets(install: Install, azure: AzureSimulator, kind: str = USUAL) -> Installation:
    """Two projects at 190.00 of 250.00 CAD, whose costs were read, and whose budgets in Azure call an Action Group."""
    app = install(azure, kind, **ENFORCE)
    app.load(entry(11, "250"), entry(12, "250"))
    app.night()
    app.more["LOCK_ACTION_GROUP_ID"] = ACTION_GROUP
    app.cli("budgets", "sync")
    return app


def told_of(app: Installation, project: int) -> list[str]:
    """The subjects of the project's mails but for the night's own: the alert at 50 % and the early warning."""
    (address,) = entry(project, "1").project.contacts
    own = ("50 %", "At this pace")
    return [subject for to, subject in subjects(app.outbox()) if to == address and not any(w in subject for w in own)]


def test_azures_alert_in_either_schema_locks_a_project_whose_costs_the_app_has_not_read(
    install: Install, azure: AzureSimulator
) -> None:
    app = with_azures_budgets(install, azure)
    _, url = app.listening()
    post(url, common("team-budget"))
    for project, schema in ((11, "common"), (12, "legacy")):
        azure.action_groups[ACTION_GROUP] = ActionGroup(url, schema)
        charge(azure, f"rg-{project}", "60")
        begun = time.monotonic()
        (call,) = azure.evaluate_budgets(TODAY)
        assert time.monotonic() - begun < 1
        assert (call.status, call.attempts) == (202, 1)
        until(lambda number=project: app.held().count(f"P{number}"))
        (decision,) = app.audit(project)
        assert (decision.outcome, decision.trigger) == (Outcome.LOCKED, LockTrigger.ALERT)
        assert (decision.figures["usage"], decision.figures["azure_spend"]) == ("190", "250")
        until(lambda number=project: len(told_of(app, number)) == 1)
    assert locks_in(azure) == read_only(11, 12)


def sample(schema: str) -> bytes:
    path = SAMPLES / f"action_group_budget_{schema}.json"
    if not path.exists():
        pytest.skip(f"the sample alert {path.name} is not next to this project")
    return path.read_bytes()


def as_ours(schema: str) -> dict[str, Any]:
    """Microsoft's sample as an alert of project 11's budget."""
    content: dict[str, Any] = json.loads(sample(schema))
    if schema == "legacy":
        content["data"] |= {"BudgetName": "warden-p11", "SubscriptionId": NORTH}
    else:
        ours = {"BudgetName": "warden-p11", "BudgetId": f"{SCOPE}/{BUDGETS}/warden-p11"}
        content["data"]["alertContext"]["AlertData"] |= ours
    return content


def test_microsofts_samples_are_ignored_and_as_alerts_of_ours_lock_once_however_often_they_come(
    install: Install, azure: AzureSimulator
) -> None:
    app = with_azures_budgets(install, azure)
    charge(azure, "rg-11", "60")
    # Nobody is called: no receiver is registered.
    azure.evaluate_budgets(TODAY)
    host, url = app.listening()
    for schema in ("common", "legacy"):
        reply = post(url, sample(schema))
        assert reply.status == 200
        assert "Ignored" in reply.text
    assert handled(host) == 0
    for number, body in enumerate(map(as_ours, ("common", "common", "legacy", "legacy")), 1):
        reply = post(url, body)
        assert reply.status == 202
        assert reply.seconds < 1
        until(lambda wanted=number: handled(host) == wanted)
    assert locks_in(azure) == read_only(11)
    assert outcomes(app) == [Outcome.LOCKED]
    until(lambda: set(app.mail_states().values()) == {"sent"})
    assert len(told_of(app, 11)) == 1
    until(lambda: waiting(app) == 0)


def test_an_alert_that_comes_while_the_queues_are_away_is_put_off_and_taken_when_it_comes_again(
    install: Install, azure: AzureSimulator, tmp_path: Path
) -> None:
    storage = Azurite(tmp_path / "storage")  # a disk of its own: the one that tests share goes on
    with storage:
        app = install(azure, **ENFORCE)
        app.storage = storage.connection_string
        app.load(entry(11, "250"))
        host, url = app.listening()
    alert = common("warden-p11")
    reply = post(url, alert)
    assert reply.status == 503
    assert json.loads(reply.text)["reason"].startswith("the queues can't be reached")
    assert reply.seconds < 5
    assert outcomes(app) == []
    with storage:
        assert post(url, alert).status == 202
        # Nobody knows yet what it has spent, and that Azure has no budget for it is no hint.
        until(lambda: outcomes(app) == [Outcome.REFUSED])
        until(lambda: waiting(app) == 0)
        assert handled(host) == 1
        assert host.stop() == 0
    assert app.dead_letters() == []


# --- who may call, and with what ------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """An alert of ours that has so many bytes."""
    body = json.dumps(common("warden-p11")).encode()
    return body + b" " * (size - len(body))


REFUSED: dict[str, tuple[int, bytes | dict[str, Any]]] = {
    "over 64 KiB": (413, padded(64 * 1024 + 1)),
    "empty": (400, b""),
    "cut off": (400, json.dumps(common("warden-p11")).encode()[:-20]),
    "no UTF-8": (400, b'{"schemaId": "\xff"}'),
    "a list": (400, b"[1]"),
    "nested deep": (400, b"[" * 60_000),
    "of no known schema": (400, {"schemaId": "someone's own", "data": {}}),
    "without data": (400, {"schemaId": "azureMonitorCommonAlertSchema"}),
    "a path in BudgetId": (400, common("", BudgetId=f"{SCOPE}/{BUDGETS}/../budgets/warden-p11")),
    "dots in BudgetId": (400, common("", BudgetId=f"/subscriptions/../{NORTH}/budgets/warden-p11")),
    "dots as a name": (400, common("..")),
    "two names": (400, common("warden-p11", BudgetName="warden-p12")),
    "a name with markup": (400, common("warden-<script>")),
    "no subscription": (400, legacy("warden-p11", SubscriptionId="../..")),
}
IGNORED = {
    "another's budget": common("team-budget"),
    "a forecast": common("warden-p11", ThresholdType="Forecasted"),
    "a budget of usage": common("warden-p11", BudgetType="Usage"),
    "a group's budget": common("", BudgetId=f"{SCOPE}/resourceGroups/rg-11/{BUDGETS}/warden-p11"),
    "resolved": common("warden-p11", condition="Resolved"),
    "a metric's alert": {"schemaId": "AzureMonitorMetricAlert", "data": {}},
    "a service's health": {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {"essentials": {"monitoringService": "ServiceHealth"}, "alertContext": {}},
    },
}


def test_who_has_no_key_is_turned_away_and_what_is_no_alert_of_ours_does_nothing(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure, **ENFORCE)
    app.load(entry(11, "250"))
    host, url = app.listening()
    right, no_key = common("warden-p11"), url.partition("?")[0]
    assert post(no_key, right).status == 401
    assert post(f"{no_key}?code=", right).status == 401
    assert post(f"{no_key}?code={FUNCTION_KEY}x", right).status == 401
    assert post(no_key, right, {"x-functions-key": FUNCTION_KEY[:-1]}).status == 401
    assert post(url, b"", method="GET").status == 404
    for name, (status, body) in REFUSED.items():
        assert (name, post(url, body).status) == (name, status)
    for name, body in IGNORED.items():
        assert (name, post(url, body).status) == (name, 200)
    # A key in the header is as good. It is the only call that anything comes of.
    assert post(no_key, padded(64 * 1024), {"x-functions-key": FUNCTION_KEY}).status == 202
    until(lambda: handled(host) == 1)
    until(lambda: waiting(app) == 0)
    assert handled(host) == 1
    # Nobody knows yet what it has spent, and that Azure has no budget for it is no hint.
    assert outcomes(app) == [Outcome.REFUSED]
    assert app.dead_letters() == []


AUDIENCE = "api://budget-warden"
WRONG_TOKENS: dict[str, tuple[int, dict[str, Any]]] = {
    "for another audience": (401, {"audience": "api://another"}),
    "of another issuer": (401, {"issuer": "https://sts.example.com/"}),
    "of another tenant": (401, {"tenant": "99999999-0b7f-4f0e-9c55-2f6f2f1f0a11"}),
    "expired": (401, {"expires_in": -600}),
    "of another application": (403, {"app_id": "11111111-5575-4561-ac7f-899cc907d62a"}),
    "without the role": (403, {"roles": ()}),
    "with another role": (403, {"roles": ("Reader",)}),
    "not signed": (401, {"algorithm": "none"}),
    "signed with the public key": (401, {"algorithm": "HS256"}),
}


def test_with_an_audience_set_only_a_token_of_the_action_groups_lets_an_alert_in(
    install: Install, azure: AzureSimulator
) -> None:
    entra = {"ALERT_AUDIENCE": AUDIENCE, "ALERT_AUTHORITY": azure.url, "ALERT_TENANT_ID": azure.entra.tenant}
    app = install(azure, **ENFORCE, **entra)
    app.load(entry(11, "250"))
    host, url = app.listening()
    body = common("warden-p11")

    def status(token: str | None, address: str = url) -> int:
        return post(address, body, {"Authorization": f"Bearer {token}"} if token is not None else {}).status

    right = azure.entra.token(AUDIENCE)
    head, content, signature = right.split(".")
    other = azure.entra.token(AUDIENCE, roles=("Reader", "ActionGroupsSecureWebhook")).split(".")[1]
    for name, (wanted, claims) in WRONG_TOKENS.items():
        token = azure.entra.token(**({"audience": AUDIENCE} | claims))
        assert (name, status(token)) == (name, wanted)
    for name, token in {
        "missing": None,
        "empty": "",
        "not signed any more": f"{head}.{content}.",
        "of other content": f"{head}.{other}.{signature}",
        "no token": "x.y.z",
    }.items():
        assert (name, status(token)) == (name, 401)
    assert status(right, url.partition("?")[0]) == 401, "a token does not stand in for the key"
    assert handled(host) == 0
    assert waiting(app) == 0
    for token in (right, azure.entra.token(AUDIENCE, version=2, issuer=f"{azure.url}/{azure.entra.tenant}/v2.0")):
        assert status(token) == 202
    until(lambda: handled(host) == 2)
    azure.action_groups[ACTION_GROUP] = ActionGroup(url, token_audience=AUDIENCE)
    app.more["LOCK_ACTION_GROUP_ID"] = ACTION_GROUP
    app.cli("budgets", "sync")
    charge(azure, "rg-11", "60")
    assert [call.status for call in azure.evaluate_budgets(TODAY)] == [202]


# --- alerts that are not true ---------------------------------------------------------------------------------


def test_an_alert_without_cause_locks_nothing_and_the_operators_hear_of_it_once_a_day(
    install: Install, azure: AzureSimulator
) -> None:
    app = with_azures_budgets(install, azure)
    charge(azure, "rg-12", "60")
    azure.evaluate_budgets(TODAY)
    app.load(entry(12, "250", active=False))
    host, url = app.listening()
    texts = "<b>&amp; \u202e$11,111.00\r\nBcc: eve@example.com"
    forged = [
        common("warden-p11", SpentAmount=texts, BudgetThreshold="11.111,00 €"),
        common("WARDEN-P11", BudgetName="Warden-p11", SpentAmount=""),
        legacy("Warden-P11", SpendingAmount="-1e999999", Budget=None),
    ]
    for number, body in enumerate(forged, 1):
        assert post(url, body).status == 202
        until(lambda wanted=number: handled(host) == wanted)
    # Of a project that is closed, of one that is not there, and of one that is in another subscription.
    for body in (common("warden-p12"), common("warden-p99"), legacy("warden-p11", SubscriptionId=SOUTH)):
        assert post(url, body).status == 202
    until(lambda: handled(host) == 6)
    until(lambda: set(app.mail_states().values()) == {"sent"})
    assert locks_in(azure) == []
    (decision,) = app.audit(11)
    assert decision.outcome is Outcome.REFUSED
    assert "190.00 of 250.00" in decision.reason
    assert [(d.outcome, d.reason) for d in app.audit(12)] == [(Outcome.REFUSED, "the project is not active")]
    (told,) = [mail for mail in app.outbox() if mail["Subject"] == "[Budget Warden] P11 was not locked"]
    to, _, bcc, _, _, text, html = contents_of(told)
    assert (to, bcc) == (OPERATORS, "None")
    assert "$11,111.00" in text
    assert "<b>&amp; " not in html
    assert sorted(letter.reason.partition(";")[0] for letter in app.dead_letters()) == [
        "there is no project with the Azure budget warden-p11",
        "there is no project with the Azure budget warden-p99",
    ]


# --- at the same moment -----------------------------------------------------------------------------------------


def test_two_alerts_and_a_night_at_the_same_moment_make_one_lock_one_decision_and_one_mail(
    install: Install, azure: AzureSimulator
) -> None:
    app = with_azures_budgets(install, azure, "postgresql" if programs() else USUAL)
    charge(azure, "rg-11", "60")
    azure.evaluate_budgets(TODAY)
    host, url = app.listening()
    post(url, common("team-budget"))
    azure.fault("slow", path="rg-11/providers/Microsoft.Authorization/locks", method="PUT", delay=3, times=None)
    app.queue(Queue.UPDATE).send_message(json.dumps({"SubscriptionId": NORTH}))
    with ThreadPoolExecutor(2) as senders:
        replies = [senders.submit(post, url, body) for body in (common("warden-p11"), legacy("warden-p11"))]
    assert [reply.result().status for reply in replies] == [202, 202]
    until(lambda: handled(host, "ProjectUsageNotifier") == 1 and app.held() == ["P11"])
    # Who comes second waits for a quarter of a minute. Not this test: it has both come again now, one by one.
    assert "another message is working on this project's lock" in host.output
    app.queue(Queue.LOCK).clear_messages()
    for request in (
        {"BudgetName": "warden-p11", "SubscriptionId": NORTH, "Trigger": "alert"},
        {"ProjectId": 11, "Trigger": "check"},
    ):
        before = handled(host)
        again = {"Action": "lock", "Attempt": 1, "FirstQueuedAt": NIGHT.isoformat(), **request}
        app.queue(Queue.LOCK).send_message(json.dumps(again))
        until(lambda seen=before: handled(host) > seen)
    until(lambda: set(app.mail_states().values()) == {"sent"})
    assert locks_in(azure) == read_only(11)
    assert outcomes(app) == [Outcome.LOCKED]
    # Whoever came first tells it, and the other one nothing.
    (told,) = told_of(app, 11)
    assert told == LOCKED[1] or told.startswith("[P11] The project is locked")
    assert app.dead_letters() == []


# --- machines ---------------------------------------------------------------------------------------------------


def test_machines_are_stopped_before_the_lock_and_nobody_starts_them_when_it_comes_off(
    install: Install, azure: AzureSimulator
) -> None:
    add = azure.machines.add
    add(NORTH, "rg-11", "vm-on")
    add(NORTH, "rg-11", "vm-off", running=False)
    add(NORTH, "rg-11", "set-on", kind="scale set", instances=2)
    add(NORTH, "rg-12", "vm-of-another")
    # It takes Azure a moment; a lock that came before its end would keep the machine running.
    azure.machines.deallocate_seconds = 1
    app = install(azure, **ENFORCE, LOCK_STOP_COMPUTE="true", LOCAL_CLOCK_SPEED="5")
    app.load(entry(11, "190"), entry(12, "400"))
    app.night()
    assert locks_in(azure) == read_only(11)
    stopped = {"vm-on": "deallocated", "vm-off": "deallocated", "set-on": "deallocated"}
    assert azure.machines.states() == {**stopped, "vm-of-another": "running"}
    assert sorted(action.machine.rpartition("/")[2] for action in azure.machines.actions) == ["set-on", "vm-on"]
    assert outcomes(app) == [Outcome.STOPPING, Outcome.LOCKED]
    said = "is being stopped"
    assert sorted(name for _, name, word in app.audit()[0].details["machines"] if word == said) == ["set-on", "vm-on"]
    app.cli("budgets", "set", "P11", "5000", "--reason", "more was granted")
    app.run("--drain")
    assert locks_in(azure) == []
    assert azure.machines.started == []
    assert azure.machines.states() == {**stopped, "vm-of-another": "running"}


# --- what Azure refuses -----------------------------------------------------------------------------------------


def test_each_projects_lock_fails_alone_and_the_operators_read_which_role_is_missing_where(
    install: Install, azure: AzureSimulator
) -> None:
    groups = ["rg-13", "rg-14", "rg-15"]
    azure.book.add(book_of(*((NORTH, group, "10") for group in groups)).charges(NORTH, date(2026, 11, 1), TODAY))
    azure.groups.remove(NORTH, "rg-15")
    lock_of = "{}/providers/Microsoft.Authorization/locks"
    azure.fault("forbidden", path=lock_of.format("rg-11"), method="PUT", times=None)
    azure.fault("arm_throttled", path=lock_of.format("rg-12"), method="PUT", seconds=1)
    azure.fault("conflict", path=lock_of.format("rg-13"), method="PUT", headers={"Retry-After": "1"})
    app = install(azure, **ENFORCE)
    app.load(*(entry(number, "190") for number in (11, 12, 13)), entry(14, "190", groups=("rg-14", "rg-15")))
    log = app.night()
    assert locks_in(azure) == read_only(12, 13, 14)
    assert app.held() == ["P12", "P13", "P14"]
    assert log.count(" lock_deferred ") == 2
    decisions = {decision.project_id: decision for decision in app.audit()}
    assert len(decisions) == len(app.audit()) == 4
    assert [decisions[n].outcome for n in (11, 12, 13, 14)] == [Outcome.FAILED, *[Outcome.LOCKED] * 3]
    assert decisions[14].details["groups"] == [[NORTH, "rg-15", "there is no such group"], [NORTH, "rg-14", "locked"]]
    told = [mail for mail in app.outbox() if mail["To"] == OPERATORS]
    assert subjects(told) == [(OPERATORS, "P11 could not be locked")]
    text = " ".join(contents_of(told[0])[5].split())
    assert "lacks the role Locks Contributor there" in text
    assert f"/subscriptions/{NORTH}/resourceGroups/rg-11".lower() in text.lower()
    assert LOCKED in subjects(app.outbox()), "it is being locked: the next night tries again"


# --- Azure's own budgets ----------------------------------------------------------------------------------------


def test_the_night_brings_azures_budgets_into_step_two_hours_after_it_began(
    install: Install, azure: AzureSimulator
) -> None:
    app = install(azure, LOCK_ACTION_GROUP_ID=ACTION_GROUP)
    app.load(entry(11, "190"), entry(12, "400", currency="USD"))
    host = app.host()
    with app.app() as parts:
        parts.chain.send(parts.scheduler.tonight())
    until(lambda: app.runs()["night-2026-11-20"].state == "done")
    assert waiting(app) == 1
    assert app.queue(Queue.LOCK).peek_messages() == [], "it is there, and not to be taken yet"
    assert azure.budgets.of() == []

    app.queue(Queue.LOCK).send_message(json.dumps({"SubscriptionId": NORTH, "Action": "sync"}))
    until(lambda: handled(host) == 1)
    (budget,) = azure.budgets.of()
    assert (budget.name, budget.terms.amount) == ("warden-p11", Decimal(190))
    until(lambda: (OPERATORS, "Azure budgets are not in step") in subjects(app.outbox()))
    until(lambda: waiting(app) == 1)
