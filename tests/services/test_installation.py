"""How the parts of an installation are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode
from shared.domain.projects import ProjectEntry
from shared.ports.azure import ACTION_GROUPS, BUDGETS, COSTS, LOCKS, MACHINES
from shared.ports.errors import GoneError, LaterError, NeverError
from shared.ports.mails import Mailer, Refusal
from shared.services.findings import Finding
from shared.services.installation import Installation
from tests.pipeline.conftest import ACTION_GROUP, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.export_files import with_exports


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    yield Chain(database)
    database.close()


@pytest.fixture
def installation(chain: Chain) -> Installation:
    return chain.installation


def found(installation: Installation) -> dict[str, Finding]:
    return {finding.part: finding for finding in installation.findings(str)}


def test_every_part_is_looked_at_and_good(chain: Chain, installation: Installation) -> None:
    chain.load(entry(11, active=False), entry(12))
    parts = found(installation)
    assert list(parts) == ["database", "queues", "Azure", "costs", "accounts", "mail", "lock"]
    assert all(finding.ok for finding in parts.values()), parts
    (query,) = chain.costs.queries
    assert (query.sub_account_id, query.resource_groups, query.window.days) == (SUBSCRIPTION, ("rg-12",), 1)


def test_azure_is_not_asked_before_a_project_is_loaded(chain: Chain, installation: Installation) -> None:
    parts = found(installation)
    assert list(parts) == ["database", "queues", "Azure", "accounts", "mail", "lock"]
    assert parts["Azure"].text.startswith("not asked: no active project is loaded yet")
    assert chain.costs.queries == []


# --- Azure ---


def test_every_subscription_is_asked_and_each_that_refuses_is_told_with_its_projects(chain: Chain) -> None:
    chain.load(entry(11), entry(12), entry(21, subscription=OTHER_SUBSCRIPTION))
    refused = {SUBSCRIPTION: NeverError("no role in the first.")}
    chain.costs.fails = lambda query: refused.get(query.sub_account_id)
    azure = found(chain.installation)["Azure"]
    assert (azure.ok, azure.text) == (False, "costs can't be read, of P11, P12: no role in the first.")
    refused[OTHER_SUBSCRIPTION] = NeverError("nor in the other.")
    azure = found(chain.installation)["Azure"]
    assert azure.text == "costs can't be read, of P11, P12: no role in the first.; P21: nor in the other."
    refused.clear()
    assert found(chain.installation)["Azure"].text.endswith(f"tells the costs of {SUBSCRIPTION}, {OTHER_SUBSCRIPTION}")


def test_of_many_subscriptions_some_are_asked_and_the_roles_are_looked_at_in_all(chain: Chain) -> None:
    names = [f"{number:08}-2b66-438e-8ab4-bce37d518c5d" for number in range(25)]
    chain.load(*(entry(number + 1, subscription=name) for number, name in enumerate(names)))
    chain.azure_rights.denied[names[24], ""] = COSTS.actions
    parts = found(chain.installation)
    assert len(chain.costs.queries) == 10
    assert parts["Azure"].text.endswith("; 15 more were not asked")
    assert parts["costs"].text == (
        f"the app's identity lacks the role Cost Management Reader in {names[24]} (P25): "
        "it may not do Microsoft.CostManagement/query/read there"
    )


ACTION_GROUP_NEEDS = {"lock_action_group_id": ACTION_GROUP}
ENFORCE = {"lock_mode": LockMode.ENFORCE}


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"lock_mode": LockMode.DRY_RUN, "lock_stop_compute": True}, ["costs"]),
        (ACTION_GROUP_NEEDS, ["costs", "budgets", "action group"]),
        (ENFORCE, ["costs", "locks"]),
        (ENFORCE | {"lock_stop_compute": True}, ["costs", "locks", "machines"]),
        (ENFORCE | ACTION_GROUP_NEEDS, ["costs", "budgets", "locks", "action group"]),
    ],
)
def test_each_role_that_the_settings_need_is_a_part_of_its_own(
    chain: Chain, settings: dict[str, Any], parts: list[str]
) -> None:
    chain.configure(**settings)
    chain.load(entry())
    usual = {"database", "queues", "Azure", "accounts", "mail", "lock"}
    good = found(chain.installation)
    assert [part for part in good if part not in usual] == parts
    assert all(finding.ok for finding in good.values())
    lacking = {"costs": COSTS, "budgets": BUDGETS, "locks": LOCKS, "machines": MACHINES, "action group": ACTION_GROUPS}
    for part in parts:
        action = lacking[part].actions[-1]
        places = [(SUBSCRIPTION, group) for group in ("", "rg-11", "rg-warden")]
        chain.azure_rights.denied = dict.fromkeys(places, (action,))
        seen = found(chain.installation)
        assert [each for each in seen if not seen[each].ok] == [part]
        assert lacking[part].name in seen[part].text and action in seen[part].text


def test_an_action_group_that_is_not_there_is_told_with_the_setting_that_names_it(chain: Chain) -> None:
    class NoGroup:
        def missing(self, _subscription: str, group: str | None, _actions: object) -> list[str]:
            if group:
                raise GoneError("Azure refuses: 404 (ResourceGroupNotFound).")
            return []

    chain.load(entry())
    chain.configure(**ACTION_GROUP_NEEDS)
    chain.app.azure_rights = NoGroup()
    parts = found(chain.installation)
    assert [part for part in parts if not parts[part].ok] == ["action group"]
    assert parts["action group"].text == (
        "Azure refuses: 404 (ResourceGroupNotFound). LOCK_ACTION_GROUP_ID names it: correct that, or make the Action "
        "Group (docs/action-group.md)"
    )


def test_a_lock_may_be_allowed_in_each_group_by_itself(chain: Chain) -> None:
    chain.configure(**ENFORCE)
    chain.load(entry(11, groups=("rg-a", "rg-b")), entry(12))
    chain.azure_rights.denied[SUBSCRIPTION, ""] = LOCKS.actions
    locks = found(chain.installation)["locks"]
    assert (locks.ok, locks.text) == (True, "the app's identity may do what Locks Contributor allows, in 3 of 3")
    chain.azure_rights.denied[SUBSCRIPTION, "rg-b"] = LOCKS.actions[1:]
    locks = found(chain.installation)["locks"]
    assert not locks.ok
    assert f"lacks the role Locks Contributor in rg-b of {SUBSCRIPTION} (P11): it may not do" in locks.text


def test_where_azure_does_not_tell_what_the_app_may_do_that_is_a_warning(chain: Chain) -> None:
    chain.load(entry(), entry(21, subscription=OTHER_SUBSCRIPTION))
    chain.azure_rights.hidden = frozenset({OTHER_SUBSCRIPTION})
    costs = found(chain.installation)["costs"]
    assert (costs.ok, costs.warning) == (
        True,
        f"Azure does not tell it what it may do in {OTHER_SUBSCRIPTION} (P21)",
    )


def test_a_cloud_account_that_could_not_be_read_is_a_warning_in_its_own_words(chain: Chain) -> None:
    chain.load(entry(), entry(21, subscription=OTHER_SUBSCRIPTION))
    chain.costs.fails = lambda query: NeverError("No.") if query.sub_account_id == OTHER_SUBSCRIPTION else None
    chain.night()
    accounts = found(chain.installation)["accounts"]
    assert accounts.text == "the last reading of 1 of 2 cloud accounts was without fault"
    assert accounts.warning is not None
    assert accounts.warning.startswith(f"that of others was not: {OTHER_SUBSCRIPTION}: No.")


# --- a failed part does not blame another ---


def test_a_database_that_is_away_is_the_only_fault(chain: Chain, installation: Installation) -> None:
    class Away:
        def entries(self) -> list[ProjectEntry]:
            raise LaterError("the database can't be used now")

    chain.load(entry())

    def away() -> bool:
        raise LaterError("the database can't be used now")

    azure = replace(installation.azure, projects=Away())
    parts = found(replace(installation, tables_are_current=away, azure=azure))
    assert [part for part in parts if not parts[part].ok] == ["database"]
    assert (parts["Azure"].text, parts["Azure"].warning) == (
        "not asked",
        "the database is at fault, which knows the subscriptions",
    )
    assert parts["mail"].ok and parts["queues"].ok


@pytest.mark.parametrize("error", [NeverError("There is no token: run `az login`."), LaterError("It is away.")])
def test_whoever_gets_no_token_is_told_so_once(chain: Chain, error: LaterError | NeverError) -> None:
    class NoToken:
        def missing(self, *_asked: object) -> list[str]:
            raise error

    chain.load(entry(), entry(21, subscription=OTHER_SUBSCRIPTION))
    chain.configure(**ENFORCE | ACTION_GROUP_NEEDS)
    chain.app.azure_rights = NoToken()
    chain.costs.fails = lambda _query: error
    parts = found(chain.installation)
    assert [part for part in parts if not parts[part].ok] == ["Azure"]
    assert parts["Azure"].text == f"costs can't be read, of P11, P21: {error.reason}"
    for part in ("costs", "budgets", "locks", "action group"):
        assert (parts[part].text, parts[part].warning) == ("not known", "Azure, which would tell it, is at fault")


@pytest.mark.parametrize("error", [LaterError("Azure asks us to wait."), LaterError("It is out of reach.")])
def test_an_azure_that_is_unwell_is_no_fault_of_the_identity(chain: Chain, error: LaterError) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: error
    azure = found(chain.installation)["Azure"]
    assert error.reason in azure.text
    assert "identity" not in azure.text and "az login" not in azure.text


# --- mail ---


def test_a_mail_provider_that_refuses_us_is_told_in_its_words(chain: Chain, installation: Installation) -> None:
    class Refusing:
        def check(self) -> str:
            raise LaterError("the mail server refuses our sign-in: 535 no; see that SMTP_PASSWORD is right")

    mail = found(replace(installation, mail=replace(installation.mail, mailer=cast("Mailer", Refusing()))))["mail"]
    assert (mail.ok, mail.text) == (
        False,
        "the mail server refuses our sign-in: 535 no; see that SMTP_PASSWORD is right",
    )


def test_a_mail_to_try_it_out_is_sent_as_alerts_are(chain: Chain, installation: Installation) -> None:
    sent = installation.send_mail("Ann@Example.com", str)
    assert (sent.part, sent.ok, sent.text) == ("test mail", True, "outbox has taken one for Ann@Example.com")
    (mail,) = chain.mailer.sent
    assert mail.to == ("Ann@example.com",)
    assert "try it out" in mail.subject
    assert "check --send-mail" in mail.text and "check --send-mail" in mail.html


@pytest.mark.parametrize("address", ["ann", "ann@example.com, eve@example.com", ""])
def test_no_mail_is_sent_to_what_is_no_address(chain: Chain, installation: Installation, address: str) -> None:
    sent = installation.send_mail(address, str)
    assert not sent.ok
    assert "is no mail address" in sent.text
    assert chain.mailer.sent == []


def test_a_mail_that_is_refused_says_why(chain: Chain, installation: Installation) -> None:
    chain.mailer.refuses["ann@example.com"] = Refusal("550 no such user", for_good=True)
    sent = installation.send_mail("ann@example.com", str)
    assert (sent.ok, sent.text) == (False, "ann@example.com does not get it: 550 no such user")


# --- the other parts ---


def test_a_part_that_does_not_answer_says_what_may_help_and_one_that_refuses_says_it_itself(
    chain: Chain, installation: Installation
) -> None:
    def away() -> None:
        raise LaterError("the queues do not answer.")

    def refused() -> bool:
        raise NeverError("the login is wrong")

    parts = found(replace(installation, make_queues=away, tables_are_current=refused))
    assert parts["queues"].text.startswith("the queues do not answer; see that DatahubStorageConnectionString is right")
    assert (parts["database"].ok, parts["database"].text) == (False, "the login is wrong")
    assert parts["mail"].ok


def test_old_tables_and_missing_operators_are_told(installation: Installation) -> None:
    nobody = replace(installation.mail, operators=())
    parts = found(replace(installation, tables_are_current=lambda: False, mail=nobody))
    assert "its tables are missing or old" in parts["database"].text
    assert "EMAIL_OPERATORS is empty" in parts["mail"].text
    assert not (parts["database"].ok or parts["mail"].ok)


def test_a_database_whose_readers_and_writers_stop_each_other_is_a_warning(installation: Installation) -> None:
    assert found(installation)["database"].warning is None
    finding = found(replace(installation, reads_snapshots=lambda: False))["database"]
    assert finding.ok
    assert finding.warning is not None
    assert "ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON" in finding.warning


@pytest.mark.parametrize(
    ("mode", "group", "warns"),
    [(LockMode.OFF, None, False), (LockMode.ENFORCE, None, True), (LockMode.ENFORCE, "/group", False)],
)
def test_a_lock_without_a_failsafe_is_a_warning(
    installation: Installation, mode: LockMode, group: str | None, warns: bool
) -> None:
    lock = replace(installation.lock, mode=mode, action_group_id=group)
    finding = found(replace(installation, lock=lock))["lock"]
    assert (finding.ok, finding.warning is not None) == (True, warns)
    assert f"LOCK_MODE is {mode}" in finding.text


# --- cost exports ---


def test_the_container_of_exports_is_looked_at_where_there_is_one(chain: Chain) -> None:
    blobs = with_exports(chain)
    first = "but there is no container budget-warden yet; the first look makes it"
    assert found(chain.installation)["exports"] == Finding(
        "exports", True, "the container msexports can be read; nothing lies in it yet", first
    )
    blobs.put("msexports", "manifest.json", b"{}")
    blobs.write("budget-warden", "other", b"")
    assert found(chain.installation)["exports"] == Finding("exports", True, "the container msexports can be read")
    blobs.fails = lambda what: NeverError("no role to read") if what == "read" else None
    assert found(chain.installation)["exports"].warning == "but each look opens the database: no role to read"
    blobs.fails = lambda what: NeverError("no role to list")
    exports = found(chain.installation)["exports"]
    assert not exports.ok and "no role to list" in exports.text
