"""Exchange rates over the nights: kept where the settings say so, whatever becomes of the ECB."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.adapters.rates.ecb import EcbRates
from shared.domain.currencies import Converting
from shared.domain.periods import Period
from shared.messages import EmailMessage
from shared.ports.rates import RateFeed
from tests.adapters.rates.test_ecb import serving
from tests.pipeline.conftest import Chain, entry, only

AWAY = EcbRates("http://127.0.0.1:1/x.zip", is_local=True)
BUNDLED = date(2026, 10, 30)
YEARS = Period(date(2022, 1, 1), date(2027, 1, 1))
SUBJECT = "Exchange rates are old"


def given(*days: date) -> bytes:
    rows = "".join(f"{day},1.1172,1.5606,\n" for day in sorted(days, reverse=True))
    return f"Date,USD,CAD,\n{rows}".encode()


def converting(chain: Chain, feed: RateFeed) -> Chain:
    chain.parts["rate_feed"] = feed
    chain.configure(converting=Converting.ECB)
    return chain


def newest(chain: Chain) -> date | None:
    days = chain.app.rates.days(chain.clock().date())
    return days[1] if days else None


def known(chain: Chain, currency: str, day: date) -> bool:
    return chain.app.rates.rates([currency], YEARS).rate("EUR", currency, day) is not None


def rates_told(chain: Chain) -> int:
    return [mail.subject for mail in chain.mailer.sent].count(f"[Budget Warden] {SUBJECT}")


def test_where_none_are_kept_no_rate_is_asked_for(chain: Chain) -> None:
    chain.parts["rate_feed"] = AWAY
    chain.configure()
    chain.night()
    assert (newest(chain), rates_told(chain)) == (None, 0)


def test_the_first_night_begins_with_the_rates_that_come_with_the_app_and_has_the_newest(chain: Chain) -> None:
    yesterday = chain.clock().date() - timedelta(days=1)
    with serving(given(yesterday, BUNDLED)) as feed:
        converting(chain, feed).night()
    last = chain.app.rates.last_days(yesterday)
    assert (last["CAD"], last["GBP"], last["BGN"]) == (yesterday, BUNDLED, date(2025, 12, 31))
    # Three years, and no more.
    known = chain.app.rates.rates(["GBP"], YEARS)
    assert [known.rate("GBP", "EUR", day) is not None for day in (date(2024, 1, 2), date(2023, 1, 2))] == [True, False]
    assert rates_told(chain) == 0


def test_a_rate_that_was_mended_is_read_again(chain: Chain) -> None:
    day = chain.clock().date() - timedelta(days=3)
    chain.app.rates.keep([(day, "USD", Decimal("11.172"))], chain.clock())
    with serving(given(day)) as feed:
        converting(chain, feed).night()
    rate = chain.app.rates.rates(["USD"], YEARS).rate("EUR", "USD", day)
    assert rate is not None and rate.multiplier == Decimal("1.1172")


def test_a_few_days_by_hand_do_not_keep_the_years_before_from_coming(chain: Chain) -> None:
    today = chain.clock().date()
    chain.app.rates.keep([(today - timedelta(days=1), "USD", Decimal("1.1"))], chain.clock())
    converting(chain, AWAY).night()
    # Those that come with the app; what is between them and the file comes once the ECB is back.
    assert known(chain, "CAD", BUNDLED)
    between = BUNDLED + timedelta(days=10)
    assert not known(chain, "CAD", between)
    with serving(given(today - timedelta(days=1), between)) as feed:
        converting(chain, feed).night()
    assert known(chain, "CAD", between)


def test_a_day_that_is_to_come_keeps_no_later_night_from_reading(chain: Chain) -> None:
    today = chain.clock().date()
    typed = date(today.year + 36, 11, 20)
    with serving(given(today - timedelta(days=1), typed)) as feed:
        converting(chain, feed).night()
    assert newest(chain) == BUNDLED
    # An earlier version has kept such a one.
    chain.app.rates.keep([(typed, "USD", Decimal("1.1"))], chain.clock())
    with serving(given(today)) as feed:
        converting(chain, feed).night()
    assert (newest(chain), known(chain, "USD", today)) == (today, True)
    converting(chain, AWAY)
    chain.clock.forward(days=14)
    chain.night()
    assert rates_told(chain) == 2


@pytest.mark.parametrize("answer", [(b"<html>", 200), (b"", 503), (b"PK\x03\x04", 200)])
def test_a_night_goes_on_whatever_the_ecb_says_and_operators_hear_of_it_once(
    chain: Chain, answer: tuple[bytes, int]
) -> None:
    chain.load(entry())
    with serving(*answer) as feed:
        converting(chain, feed)
        # The subscription, and the mail.
        assert chain.tonight() == 1
        chain.drain()
        assert newest(chain) == BUNDLED
        for _ in range(3):
            chain.clock.forward(days=1)
            chain.night()
    assert rates_told(chain) == 1


def test_a_file_that_cant_be_read_is_told_once_before_any_rate_is_missing(chain: Chain) -> None:
    today = chain.clock().date()
    chain.app.rates.keep([(today - timedelta(days=1), "USD", Decimal("1.1"))], chain.clock())
    with serving(b"<html>please sign in</html>") as feed:
        converting(chain, feed)
        for _ in range(3):
            chain.night()
            chain.clock.forward(days=1)
    (told,) = [mail for mail in chain.mailer.sent if "Exchange rates" in mail.subject]
    assert told.subject == "[Budget Warden] Exchange rates can't be read"
    assert "The newest rates are of 2026-11-19, and count until 2026-11-26" in told.text
    assert "rates update --file" in told.text


def test_the_ecb_away_for_ten_days_is_told_once_and_again_the_next_time(chain: Chain) -> None:
    today = chain.clock().date()
    chain.app.rates.keep([(today - timedelta(days=1), "USD", Decimal("1.1"))], chain.clock())
    converting(chain, AWAY)
    told = []
    for _ in range(10):
        chain.night()
        told.append(rates_told(chain))
        chain.clock.forward(days=1)
    # The newest are of Thursday 19; the sixth working day after it is Friday 27.
    assert told == [0] * 7 + [1] * 3
    with serving(given(today + timedelta(days=8))) as feed:
        converting(chain, feed).night()
        converting(chain, AWAY)
        chain.clock.forward(days=14)
        chain.night()
    assert rates_told(chain) == 2


def test_the_mail_goes_out_by_itself(chain: Chain) -> None:
    converting(chain, AWAY)
    sent = chain.send(chain.app.scheduler.tonight())
    assert len(only(EmailMessage, sent)) == 1
