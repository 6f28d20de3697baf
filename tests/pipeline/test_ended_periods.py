"""Costs of a period's last days that arrive after its end are compared with its budget, until no night reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import update

from shared.adapters.database.tables import charges
from shared.domain.locks import LockMode
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import ProjectEntry
from shared.messages import LockMessage, NotificationMessage, Queue, to_json
from shared.ports.azure import ResourceGroup
from tests.pipeline.conftest import APRIL, SUBSCRIPTION, Chain, entry, only
from tests.pipeline.test_year import DECEMBER, amount, carrying, check, nights, on, refuse, told

LAST_DAY = date(2026, 11, 30)
ENDED = "in the period that ended on 30 November 2026"


def half_spent(chain: Chain, project: ProjectEntry) -> None:
    """On 1 December, 520 of November's 1,000 are known, and its people were told of 50 %."""
    chain.load(project)
    chain.spend("520", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    nights(chain, DECEMBER, DECEMBER)
    assert told(chain) == ["50"]


def store_late(chain: Chain, cost: str) -> None:
    """What was spent in November comes to this, as no night has read it."""
    these = update(charges).where(charges.c.charge_period_start < DECEMBER).values(billed_cost=Decimal(cost))
    chain.database.run(lambda connection: connection.execute(these))


def shown(chain: Chain) -> list[str]:
    return [subject.replace("\xa0", " ") for subject in chain.subjects()]


def test_late_costs_of_an_ended_period_are_told_once_in_words_that_say_which_period(chain: Chain) -> None:
    half_spent(chain, entry())
    chain.spend("1200", LAST_DAY)
    nights(chain, date(2026, 12, 2), date(2027, 1, 10))
    assert shown(chain)[1:] == [f"[P11] 100 % of the budget reached {ENDED}"]
    (_, mail) = chain.mailer.sent
    text = mail.text.replace("\xa0", " ")
    assert "has used 172.0 % of its budget for the period that ended on 30 November 2026" in text
    assert "Nothing is locked or stopped" in mail.text
    assert "Last 7 days" not in mail.text


@pytest.mark.parametrize("language", ["en", "fr", None])
def test_the_mail_on_an_ended_period_is_whole_in_every_language(chain: Chain, language: str | None) -> None:
    half_spent(chain, entry(language=language))
    chain.spend("300", LAST_DAY)
    nights(chain, date(2026, 12, 2), date(2026, 12, 2))
    mail = chain.mailer.sent[-1]
    for part in (mail.text, mail.html):
        text = part.replace("\xa0", " ").replace("&#160;", " ")
        for each, sentence in {"en": "ended on 30 November 2026", "fr": "terminée le 30 novembre 2026"}.items():
            assert (sentence in text) == (language in (None, each))
        assert not {"None", "NaN", "Undefined"} & set(text.replace("<", " ").replace(">", " ").split())


def test_the_old_periods_figure_asks_for_no_lock_and_counts_for_nothing_in_the_new_one(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    half_spent(chain, entry())
    chain.spend("1200", LAST_DAY)
    chain.spend("260", date(2026, 12, 1))
    on(chain, date(2026, 12, 2))
    chain.night()
    assert not chain.azure_locks.groups[SUBSCRIPTION, "rg-11"]
    assert only(LockMessage, chain.work(Queue.NOTIFICATION, to_json(NotificationMessage((11,))))) == []
    assert told(chain) == ["50", "100", "25"], "of November, and of December"


def test_what_comes_after_a_period_is_final_is_told_no_more(chain: Chain) -> None:
    half_spent(chain, entry())
    nights(chain, date(2026, 12, 2), date(2027, 1, 3))
    chain.spend("1200", LAST_DAY)
    chain.costs.queries.clear()
    nights(chain, date(2027, 1, 4), date(2027, 1, 7))
    assert told(chain) == ["50"]
    assert min(query.window.start for query in chain.costs.queries) > LAST_DAY
    # Somebody reads those days after all.
    store_late(chain, "1200")
    check(chain)
    assert told(chain) == ["50"]


def test_the_last_night_that_reads_the_period_is_still_compared(chain: Chain) -> None:
    half_spent(chain, entry())
    nights(chain, date(2026, 12, 2), date(2027, 1, 2))
    chain.spend("1200", LAST_DAY)
    nights(chain, date(2027, 1, 3), date(2027, 1, 3))
    assert told(chain) == ["50", "100"]


def test_a_period_whose_end_nobody_could_read_for_months_is_compared_once_that_is_read(chain: Chain) -> None:
    half_spent(chain, entry())
    refuse(chain, SUBSCRIPTION)
    nights(chain, date(2026, 12, 2), date(2027, 2, 20))
    chain.mailer.sent.clear()
    chain.spend("300", LAST_DAY)
    chain.spend("1000", date(2026, 12, 31))
    refuse(chain, None)
    nights(chain, date(2027, 2, 21), date(2027, 2, 25))
    assert sorted(shown(chain)) == sorted(
        [
            "[P11] 80 % of the budget reached in the period that ended on 30 November 2026",
            "[P11] 100 % of the budget reached in the period that ended on 31 December 2026",
        ]
    )


def test_a_fixed_budget_that_has_ended_is_compared_too(chain: Chain) -> None:
    until_december = PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), DECEMBER)
    half_spent(chain, entry(rule=until_december))
    chain.spend("300", LAST_DAY)
    nights(chain, date(2026, 12, 2), date(2026, 12, 5))
    assert shown(chain)[1:] == [f"[P11] 80 % of the budget reached {ENDED}"]
    nights(chain, date(2026, 12, 6), date(2027, 1, 10))
    assert len(chain.mailer.sent) == 2


def test_an_ended_period_is_compared_with_the_budget_that_counted_at_its_end(chain: Chain) -> None:
    half_spent(chain, entry())
    chain.load(entry(amount="9000"))
    chain.spend("300", LAST_DAY)
    nights(chain, date(2026, 12, 2), date(2026, 12, 3))
    assert shown(chain)[1:] == [f"[P11] 80 % of the budget reached {ENDED}"]


def test_a_period_that_was_given_up_for_another_rule_is_not_compared(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("520", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    chain.load(entry(amount="90000", rule=APRIL))
    chain.spend("1200", LAST_DAY)
    nights(chain, DECEMBER, date(2026, 12, 5))
    assert told(chain) == ["50"]


def test_a_threshold_that_is_added_after_a_periods_end_below_its_percent_is_not_mailed(chain: Chain) -> None:
    half_spent(chain, entry())
    chain.configure(thresholds=(25, 50, 51, 80, 100))
    nights(chain, date(2026, 12, 2), date(2026, 12, 4))
    assert told(chain) == ["50"]
    chain.configure(thresholds=(25, 50, 51, 55, 80, 100))
    chain.spend("50", LAST_DAY)
    nights(chain, date(2026, 12, 5), date(2026, 12, 5))
    assert told(chain) == ["50", "55"]


def test_a_period_that_had_no_budget_says_nothing_after_its_end(chain: Chain) -> None:
    chain.load(entry(amount=None))
    chain.spend("520", date(2026, 11, 10))
    nights(chain, date(2026, 11, 20), date(2026, 11, 20))
    chain.load(entry())
    chain.load(replace(entry(), terms=replace(entry().terms, amount=None)))
    nights(chain, DECEMBER, date(2026, 12, 3))
    assert [subject for subject in chain.subjects() if "ended" in subject] == []


def test_late_costs_count_for_what_is_carried_and_are_told(chain: Chain) -> None:
    half_spent(chain, carrying())
    chain.spend("300", LAST_DAY)
    nights(chain, date(2026, 12, 2), date(2026, 12, 2))
    assert shown(chain)[1:] == [f"[P11] 80 % of the budget reached {ENDED}"]
    assert amount(chain) == Decimal(1000) + 180
