import dataclasses
from datetime import date
from decimal import Decimal

import pytest

from localdev.azure_sim import OFFICE_WEEK, ChargeBook, GroupSeries, group_names, made_up, read_ea_export
from localdev.azure_sim.charges import exact_sum

DAY = date(2026, 11, 5)
MONTH = (date(2026, 11, 1), date(2026, 11, 30))
SUBSCRIPTIONS = ["00000000-0000-0000-0000-00000000000A", "00000000-0000-0000-0000-00000000000b"]


def book_of(seed=1, end_day=date(2026, 11, 19), days=60, groups=20, services=8):
    return made_up(seed, SUBSCRIPTIONS, groups, services, days, end_day)


def test_a_seed_makes_the_same_charges_each_time_and_another_one_others():
    one, same, other = book_of(), book_of(), book_of(seed=2)

    assert one.rows(SUBSCRIPTIONS[0], DAY) == same.rows(SUBSCRIPTIONS[0].lower(), DAY)
    assert one.rows(SUBSCRIPTIONS[0], DAY) != other.rows(SUBSCRIPTIONS[0], DAY)
    assert one.rows(SUBSCRIPTIONS[0], DAY) != one.rows(SUBSCRIPTIONS[1], DAY)


def test_a_seed_makes_the_same_amounts_on_every_machine_and_python():
    amounts = [amount for _, _, _, amount in book_of().rows(SUBSCRIPTIONS[0], DAY)]

    assert amounts[:3] == ["0.324598930286", "0.1064550704", "0.134982286005"]


def test_a_book_that_ends_a_day_later_has_the_same_earlier_days():
    today, tomorrow = book_of(), book_of(end_day=date(2026, 11, 20), days=61)

    assert today.rows(SUBSCRIPTIONS[0], DAY) == tomorrow.rows(SUBSCRIPTIONS[0], DAY)
    assert today.rows(SUBSCRIPTIONS[0], date(2026, 11, 20)) == []
    assert len(tomorrow.rows(SUBSCRIPTIONS[0], date(2026, 11, 20))) == 160


def test_a_made_up_day_has_one_row_for_each_group_and_service():
    rows = book_of().rows(SUBSCRIPTIONS[1], DAY)

    assert len({(group.lower(), service) for group, service, _, _ in rows}) == len(rows) == 20 * 8
    assert {group for group, *_ in rows} == set(group_names(1, 20))
    assert book_of(days=1).rows(SUBSCRIPTIONS[0], DAY) == []


def test_made_up_spending_is_plausible():
    charges = list(book_of(groups=200).charges(SUBSCRIPTIONS[0], date(2026, 9, 21), date(2026, 11, 15)))

    credits = [charge for charge in charges if charge.amount < 0]
    assert 0 < len(credits) < len(charges) / 100
    assert max(-charge.amount.as_tuple().exponent for charge in charges) == 12
    assert min(-charge.amount.as_tuple().exponent for charge in charges) == 2
    assert max(charge.amount for charge in charges) < 1000
    weekdays = exact_sum(charge.amount for charge in charges if charge.day.weekday() < 5) / 5
    weekends = exact_sum(charge.amount for charge in charges if charge.day.weekday() >= 5) / 2
    assert Decimal("0.6") < weekends / weekdays < Decimal("0.98")


def test_there_are_at_most_twelve_made_up_services():
    with pytest.raises(ValueError, match="1 to 12"):
        book_of(services=13)


def test_setting_and_adding_are_seen_at_once(azure):
    book = ChargeBook([azure.charge(amount="1.5"), azure.charge(amount="0.25")])
    place = (azure.subscription, *MONTH)
    assert book.total(*place) == Decimal("1.75")

    book.set([azure.charge("ALPHA_rg", amount="2")])
    assert book.total(*place) == 2
    book.add([azure.charge(service="SQL", amount="3"), azure.charge(amount="-0.5")])
    assert book.total(*place, group="alpha_RG") == Decimal("4.5")
    assert book.subscriptions() == {azure.subscription}


def test_a_made_up_day_can_be_changed_too():
    book = book_of()
    before = list(book.charges(SUBSCRIPTIONS[0], DAY, DAY))
    first = before[0]

    book.add([dataclasses.replace(first, group=first.group.upper(), amount=Decimal("0.5"))])
    after = list(book.charges(SUBSCRIPTIONS[0], DAY, DAY))
    assert after == [dataclasses.replace(first, amount=first.amount + Decimal("0.5")), *before[1:]]

    book.restate_day(SUBSCRIPTIONS[0], DAY, Decimal("1.1"), group=before[-1].group)
    restated = list(book.charges(SUBSCRIPTIONS[0], DAY, DAY))
    assert restated[:-8] == after[:-8]
    assert [charge.amount for charge in restated[-8:]] == [charge.amount * Decimal("1.1") for charge in after[-8:]]


def test_a_change_is_in_the_next_answer_although_the_day_was_served_before(running, azure):
    book = made_up(1, [azure.subscription], 3, 2, 5, DAY)
    ask = azure.ask(running(book).url)
    body = azure.body("2026-11-05", "2026-11-05")
    assert len(ask.rows(azure.subscription, body)) >= 6

    book.restate_day(azure.subscription, DAY, Decimal(2))
    book.add([azure.charge("late", amount="0.125")])

    rows = ask.rows(azure.subscription, body)
    assert sum(row["Cost"] for row in rows) == book.total(azure.subscription, DAY, DAY)
    assert Decimal("0.125") in [row["Cost"] for row in rows] or len(rows) > 7


def test_two_currencies_have_no_total(azure):
    book = ChargeBook([azure.charge(), azure.charge(currency="EUR")])

    with pytest.raises(ValueError, match="several currencies"):
        book.total(azure.subscription, *MONTH)


def test_an_amount_must_be_a_number(azure):
    with pytest.raises(ValueError, match="not NaN"):
        ChargeBook([azure.charge(amount="NaN")])


def test_a_series_follows_the_week_grows_and_is_split_by_shares(azure):
    series = GroupSeries(
        azure.subscription,
        "Demo_RG",
        per_day=Decimal(100),
        services={"Storage": Decimal("0.25"), "Virtual Machines": Decimal("0.75")},
        weekday_factors=OFFICE_WEEK,
        growth_per_day=Decimal("0.01"),
    )
    book = ChargeBook(series.charges(date(2026, 11, 2), date(2026, 11, 8)))  # a Monday to a Sunday

    days = [book.total(azure.subscription, day, day) for day in (date(2026, 11, n) for n in range(2, 9))]

    assert days[:3] == [100, 101, Decimal("102.01")]
    assert days[5] == Decimal("100") * Decimal("1.01") ** 5 * Decimal("0.35")
    monday = {service: amount for _, service, _, amount in book.rows(azure.subscription, date(2026, 11, 2))}
    assert {name: Decimal(amount) for name, amount in monday.items()} == {"Storage": 25, "Virtual Machines": 75}


HEADER = "SubscriptionId,Date,MeterCategory,Cost,BillingCurrency,ResourceGroup"


def export(folder, *lines, header=HEADER):
    path = folder / "export.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8-sig")
    return path


def test_rows_of_an_export_with_the_same_group_service_and_day_are_summed(tmp_path):
    book = read_ea_export(
        export(
            tmp_path,
            "S1,11/05/2026,Storage,0.1,USD,Alpha",
            "S1,11/05/2026,Storage,0.02,USD,ALPHA",
            "S1,2026-11-05,Storage,1,USD,",
        )
    )

    assert book.rows("s1", DAY) == [("Alpha", "Storage", "USD", "0.12"), ("", "Storage", "USD", "1")]


def test_a_newer_export_has_its_cost_in_other_columns(tmp_path):
    header = "SubscriptionId,Date,MeterCategory,CostInBillingCurrency,BillingCurrencyCode,ResourceGroup"

    book = read_ea_export(export(tmp_path, "S1,11/05/2026,Storage,7,CAD,Alpha", header=header))

    assert book.rows("S1", DAY) == [("Alpha", "Storage", "CAD", "7")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("S1,11/05/2026,Storage,abc,USD,Alpha", "line 2: the cost 'abc'"),
        ("S1,11/05/2026,Storage,NaN,USD,Alpha", "line 2: the cost 'NaN'"),
        ("S1,31/31/2026,Storage,1,USD,Alpha", "line 2: .*31/31/2026"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line, words):
    with pytest.raises(ValueError, match=words):
        read_ea_export(export(tmp_path, line))


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="no column for the amount: expected costinbillingcurrency or cost"):
        read_ea_export(export(tmp_path, header=HEADER.replace("Cost,", "")))


def test_an_export_without_rows_is_an_empty_book(real_export):
    assert read_ea_export(real_export.parent / "ea_no_rows.csv").subscriptions() == frozenset()
