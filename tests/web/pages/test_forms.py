"""What operators change by a page: it ends in the database and in the audit, and no other site can have it done."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from localdev.aws_sim import AwsSimulator
from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import FIRST, Cli, queued
from tests.web.conftest import HOST, Answer, Call
from tests.web.pages.test_pages import text_of

PROJECT = "/finops/projects/11"


def send(call: Call, page: str, path: str, who: str = "operator", headers: dict[str, str] | None = None, **fields: str):
    """Opens a page, and sends its form with its cookie, as a browser does."""
    opened = call("GET", page, who=who)
    token = re.search(r'name="token" value="([^"]+)"', opened.body.decode())
    cookie = re.search(r"form=([^;]+)", opened.headers.get("set-cookie", ""))
    filled = ({"token": token[1]} if token else {}) | fields
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    sent |= {"Cookie": f"form={cookie[1]}"} if cookie else {}
    return call("POST", path, who=who, body=urlencode(filled).encode(), headers=sent | (headers or {}))


def last_change(spent: Composition) -> tuple[str, str, str, str]:
    change = spent.change_service.listed(limit=1)[0]
    return change.action, change.subject, change.by, change.via


def then(call: Call, answer: Answer) -> str:
    """What the page shows to which it leads."""
    assert answer.status == 303
    return text_of(call("GET", answer.headers["location"], who="operator"))


def test_a_budget_is_raised(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    answer = send(call, PROJECT, f"{PROJECT}/budget", amount="15000", reason="granted")
    assert "The budget is revised; the project is checked." in then(call, answer)
    assert [each.reason for each in spent.projects.revisions(11)] == ["loaded", "granted"]
    assert last_change(spent) == ("budget-revised", "DIE1", "operator", "page")


def test_a_project_is_locked_and_read(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    assert "The lock is ordered" in then(call, send(call, PROJECT, f"{PROJECT}/lock", reason="security"))
    assert [each["Action"] for each in queued("QueueProjectLock")] == ["lock"]
    assert "Its costs are being read." in then(call, send(call, PROJECT, f"{PROJECT}/sync"))
    assert len(queued("QueueProjectUsageUpdate")) == 1
    assert last_change(spent) == ("sync-ordered", "11", "operator", "page")


def test_an_account_is_read_now_and_one_of_aws_once_in_a_quarter_of_an_hour(
    call: Call, cli: Cli, aws: AwsSimulator, spent: Composition
) -> None:
    page = "/finops/accounts"
    known = {each.name: each.id for each in spent.cloud_accounts.accounts()}
    assert "Its costs are being read." in then(call, send(call, page, f"{page}/{known[FIRST]}/sync"))
    assert "Its costs are being read." in then(call, send(call, page, f"{page}/{known['shop']}/sync"))
    too_soon = send(call, page, f"{page}/{known['shop']}/sync")
    assert (too_soon.status, "Please wait 900 seconds" in text_of(too_soon)) == (422, True)
    assert [each.action for each in spent.change_service.listed(limit=2)] == ["sync-ordered", "sync-ordered"]
    assert send(call, page, f"{page}/99/sync").status == 404


def test_dead_letters_are_replayed_and_put_aside(call: Call, spent: Composition, queue_names: dict[str, str]) -> None:
    letters = [
        spent.letters.record(Queue.UPDATE, f'{{"ProjectId": 1{number}}}', "why", str(number), spent.clock())[0]
        for number in (1, 2)
    ]
    page = "/finops/dead-letters"
    assert "sent again" in then(call, send(call, page, f"{page}/{letters[0]}/replay"))
    assert "put aside" in then(call, send(call, page, f"{page}/{letters[1]}/discard", reason="old"))
    assert spent.letters.letters() == []


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"amount": "lots", "reason": "x"}, 422, "lots"),
        ({"amount": "15000", "reason": " "}, 422, "The reason is empty"),
        ({"amount": "", "reason": "x"}, 422, "The amount is empty"),
        ({"amount": "15000", "reason": "x", "token": "another"}, 403, "another time or place"),
    ],
)
def test_what_can_t_be_done_is_a_page_and_changes_nothing(
    call: Call, spent: Composition, queue_names: dict[str, str], fields: dict[str, str], status: int, said: str
) -> None:
    answer = send(call, PROJECT, f"{PROJECT}/budget", **fields)
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said in text_of(answer)
    assert len(spent.projects.revisions(11)) == 1


def test_no_other_site_and_nobody_else_can_have_anything_done(call: Call, spent: Composition) -> None:
    wish = {"amount": "1", "reason": "x"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Cookie": ""}, {"Cookie": "form=guessed"}):
        assert send(call, PROJECT, f"{PROJECT}/budget", headers=headers, **wish).status == 403
    foreign = {"Sec-Fetch-Site": "none", "Origin": f"https://{HOST}.evil.example.com", "Cookie": ""}
    assert send(call, PROJECT, f"{PROJECT}/budget", headers=foreign, **wish).status == 403
    for who, status in (("nobody", 401), ("contact", 403), ("viewer", 403)):
        assert send(call, PROJECT, f"{PROJECT}/budget", who, **wish).status == status
    assert "<form method" not in call("GET", PROJECT, who="viewer").body.decode()
    assert len(spent.projects.revisions(11)) == 1


def test_a_link_changes_nothing(call: Call, spent: Composition) -> None:
    for path in (f"{PROJECT}/budget?amount=1&reason=x", f"{PROJECT}/lock", "/finops/dead-letters/1/replay"):
        assert call("GET", path, who="operator").status in (404, 405)
    assert len(spent.projects.revisions(11)) == 1
