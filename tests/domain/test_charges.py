"""Rows worked through by column are the same charges as rows that are added one by one."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.charges import ChargeSet, rounded_columns

FEW_SO_THAT_THEY_REPEAT = ["rg-One", "RG-ONE", " rg-one ", "rg-two", ""]
COSTS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=14, min_value=-1000, max_value=1000),
    st.sampled_from([Decimal("0.00000000005"), Decimal("0.00000000015"), Decimal("-0.00000000005"), Decimal(0)]),
    st.decimals(allow_nan=False, allow_infinity=False, places=0, min_value=-(10**12), max_value=10**12),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(FEW_SO_THAT_THEY_REPEAT),
        st.integers(0, 2).map(lambda offset: date(2026, 11, 1) + timedelta(days=offset)),
        st.sampled_from(["Storage", "Storage ", "Virtual Machines"]),
        COSTS,
    ),
    min_size=1,
)


@given(rows=ROWS)
def test_columns_make_the_same_charges_as_adding_each_row_and_rounding_after(rows: list) -> None:
    one_by_one = ChargeSet()
    for group, day, service, cost in rows:
        one_by_one.add(group, day, service, cost, "CAD")
    expected = one_by_one.rounded()

    by_column = rounded_columns(*zip(*rows, strict=True), currency="CAD")

    assert by_column == expected
    assert list(by_column.amounts) == list(expected.amounts)
    assert [amount.as_tuple() for amount in by_column.amounts.values()] == [
        amount.as_tuple() for amount in expected.amounts.values()
    ]


def test_halves_are_rounded_once_after_the_rows_of_a_charge_are_summed() -> None:
    half = Decimal("0.00000000005")
    charges = rounded_columns(["a", "A"], [date(2026, 11, 1)] * 2, ["Storage"] * 2, [half, half], "CAD")
    assert charges.amounts == {("a", date(2026, 11, 1), "Storage"): Decimal("0.0000000001")}
