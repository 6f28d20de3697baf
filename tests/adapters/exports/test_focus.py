"""FOCUS files: what stands in them, and that they are read again as what was stored."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.exports import focus
from shared.adapters.exports.focus import PolarsFocus
from shared.domain.charges import CostMetric, group_name, key_of_group, service_name
from shared.domain.money import stored
from shared.ports.errors import LaterError, NeverError
from shared.ports.focus import FocusCharge, FocusCharges, FocusFormat, FocusProject, FocusScope, Given
from tests.adapters.exports.files import SUB, exact, read, rows_of

SCOPE = FocusScope(1, "azure", SUB, "Water, clean", "RG-a", "8611537", "The state")
PROJECT = FocusProject(11, "DIE1", "Ann Roy", None, "CC-1")
CHARGE = FocusCharge(1, date(2026, 11, 30), "Storage", "CAD", Decimal("1.5000000000"), 11)
# Of the specification's version 1.2, and of 1.4.
MANDATORY = (
    "BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargeCategory,"
    "ChargeClass,ChargeDescription,ChargePeriodStart,ChargePeriodEnd,ContractedCost,EffectiveCost,InvoiceIssuerName,"
    "ListCost,PricingQuantity,PricingUnit,ProviderName,PublisherName,ServiceCategory,ServiceName"
)
NEWER = "ServiceProviderName,HostProviderName"
RECOMMENDED = "ChargeFrequency,InvoiceId,ServiceSubcategory"


def charges(
    rows: Iterable[FocusCharge], scopes: Sequence[FocusScope] = (SCOPE,), projects: Sequence[FocusProject] = (PROJECT,)
) -> FocusCharges:
    return FocusCharges(scopes, projects, iter([list(rows)]))


def streamed(*rows: FocusCharge, metric: CostMetric = CostMetric.ACTUAL) -> list[dict[str, str]]:
    out = io.BytesIO()
    PolarsFocus().stream(charges(rows), metric, out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode())))


def written(path: Path, rows: Iterable[FocusCharge], form: FocusFormat = FocusFormat.PARQUET) -> Given:
    return PolarsFocus().write(charges(rows), CostMetric.ACTUAL, path, form)


def test_a_row_says_what_is_stored_and_nothing_that_is_not():
    (row,) = streamed(CHARGE)
    costs = dict.fromkeys(["BilledCost", "ContractedCost", "EffectiveCost", "ListCost"], "1.5000000000")
    provider = ["ProviderName", "PublisherName", "InvoiceIssuerName", "ServiceProviderName", "HostProviderName"]
    assert {name: cell for name, cell in row.items() if cell} == {
        **costs,
        **dict.fromkeys(provider, "Microsoft"),
        "BillingAccountId": "8611537",
        "BillingAccountName": "The state",
        "BillingCurrency": "CAD",
        "BillingPeriodStart": "2026-11-01T00:00:00Z",
        "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "ChargePeriodStart": "2026-11-30T00:00:00Z",
        "ChargePeriodEnd": "2026-12-01T00:00:00Z",
        "ChargeCategory": "Adjustment",
        "ChargeFrequency": "Usage-Based",
        "ServiceCategory": "Other",
        "ServiceSubcategory": "Other (Other)",
        "ServiceName": "Storage",
        "ChargeDescription": "Storage",
        "SubAccountId": SUB,
        "SubAccountName": "Water, clean",
        "x_ResourceGroupName": "RG-a",
        "x_CostMetric": "ActualCost",
        "x_Project": "DIE1",
        "x_Owner": "Ann Roy",
        "x_CostCentre": "CC-1",
    }
    assert set(",".join([MANDATORY, NEWER, RECOMMENDED]).split(",")) < set(row)


def test_a_meter_has_an_id_beside_it_for_by_focus_none_is_without():
    told, silent = streamed(CHARGE._replace(meter="EU-\nOut"), CHARGE)
    assert (told["SkuMeter"], told["SkuId"]) == ("EU- Out", "EU- Out")
    assert (silent["SkuMeter"], silent["SkuId"]) == ("", "")


def test_a_charge_of_nobody_has_no_project_and_one_outside_of_groups_no_group():
    out = io.BytesIO()
    outside = charges([CHARGE._replace(project_id=None)], [SCOPE._replace(resource_group="", provider="Google Cloud")])
    PolarsFocus().stream(outside, CostMetric.ACTUAL, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue().decode()))
    assert (row["x_Project"], row["x_ResourceGroupName"], row["ProviderName"]) == ("", "", "Google Cloud")


@pytest.mark.parametrize("cost", ["1E-10", "-0.0000000001", "0E-10", "899999999.9999999999", "1E+5", "-12"])
def test_a_cost_is_written_with_all_its_places_and_no_exponent(cost):
    (row,) = streamed(CHARGE._replace(cost=Decimal(cost)))
    assert row["BilledCost"] == f"{stored(Decimal(cost)) + 0:f}"


def test_which_metric_is_stored_is_said():
    assert streamed(CHARGE, metric=CostMetric.AMORTIZED)[0]["x_CostMetric"] == "AmortizedCost"


def test_parquet_holds_decimals_and_times_in_utc(tmp_path):
    path = tmp_path / "f.parquet"
    assert written(path, [CHARGE, CHARGE._replace(currency="USD", cost=Decimal("-2"))]) == Given(
        2, {"CAD": Decimal("1.5"), "USD": Decimal(-2)}
    )
    frame = pl.read_parquet(path)
    assert frame.schema["BilledCost"] == frame.schema["PricingQuantity"] == pl.Decimal(38, 10)
    assert frame["BilledCost"].to_list() == [Decimal("1.5"), Decimal("-2")]
    assert frame["BillingPeriodEnd"][0] == datetime(2026, 12, 1, tzinfo=UTC)
    assert frame["ChargeClass"].null_count() == frame["InvoiceId"].null_count() == 2


@pytest.mark.parametrize("form", FocusFormat)
def test_no_charges_are_a_file_of_columns_alone(tmp_path, form):
    path = tmp_path / "f"
    assert written(path, [], form) == Given(0, {})
    file = read(path)
    assert (file.count, file.dataset) == (0, "FOCUS 1.2")
    assert streamed() == []


def test_a_file_and_what_is_streamed_are_the_same_however_many_frames_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(focus, "FRAME_ROWS", 2)
    rows = [CHARGE._replace(day=date(2026, 11, day), cost=Decimal(day)) for day in range(1, 8)]
    out = io.BytesIO()
    batches = FocusCharges([SCOPE], [PROJECT], iter([rows[:1], rows[1:6], [], rows[6:]]))
    given_out = PolarsFocus().stream(batches, CostMetric.ACTUAL, out)
    path = tmp_path / "f.csv"
    assert written(path, rows, FocusFormat.CSV) == given_out == Given(7, {"CAD": Decimal(28)})
    assert path.read_bytes() == out.getvalue()
    assert [row["BilledCost"] for row in csv.DictReader(path.open())] == [f"{day}.0000000000" for day in range(1, 8)]


@pytest.mark.parametrize("form", FocusFormat)
def test_a_database_that_goes_away_meanwhile_says_so_in_its_own_words(tmp_path, form):
    def batches():
        yield [CHARGE]
        raise LaterError("the database is away")

    with pytest.raises(LaterError, match="the database is away"):
        PolarsFocus().write(FocusCharges([SCOPE], [], batches()), CostMetric.ACTUAL, tmp_path / "f", form)


@pytest.mark.parametrize("form", FocusFormat)
def test_a_disk_that_is_full_ends_in_a_sentence(form):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(NeverError, match=r"the file can't be written: .*(No space left|room on the disk)"):
        written(full, [CHARGE] * 100_000, form)


# --- read again --------------------------------------------------------------------------------------------------

# What our own reader, as FOCUS's sample data, takes for nothing.
NOTHING = {"null", "others", "not applicable"}
LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
ODD = st.text(st.one_of(LETTERS, st.sampled_from(",\"';\t|\n\r=+-@ éİ😀")), max_size=130)
NAMES = ODD.filter(lambda text: text.strip().lower() not in NOTHING)
COSTS = st.decimals(-(10**15), 10**15, places=10)
DAYS = st.dates(date(2000, 1, 1), date(2026, 11, 30))
CURRENCIES = st.sampled_from(["CAD", "USD", "EUR"])
PROVIDERS = st.sampled_from(["azure", "aws", "Google Cloud", 'Odd, "Inc."'])
SUB_ACCOUNTS = st.sampled_from([SUB, "000123456789", "my-project"])


def one_line(text: str) -> str:
    """As a name with line breaks is written."""
    return " ".join(part.strip() for part in text.replace("\r", "\n").split("\n"))


@pytest.mark.parametrize("form", FocusFormat)
@settings(max_examples=60)
@given(data=st.data())
def test_what_was_written_is_read_as_what_was_stored(tmp_path_factory, form, data):
    places = data.draw(
        st.lists(st.tuples(PROVIDERS, SUB_ACCOUNTS, NAMES.map(group_name)), min_size=1, max_size=5), label="scopes"
    )
    scopes = [
        FocusScope(number, provider, account, data.draw(ODD), group, "b", data.draw(ODD))
        for number, (provider, account, group) in enumerate(places)
    ]
    project = FocusProject(1, data.draw(ODD), data.draw(ODD), data.draw(ODD), None)
    a_charge = st.builds(
        FocusCharge,
        st.sampled_from(scopes).map(lambda scope: scope.id),
        DAYS,
        NAMES.map(service_name),
        CURRENCIES,
        COSTS,
        st.sampled_from([1, None]),
    )
    rows = data.draw(st.lists(a_charge, max_size=20), label="charges")
    path = tmp_path_factory.mktemp("focus") / "f"
    PolarsFocus().write(charges(rows, scopes, [project]), CostMetric.ACTUAL, path, form)
    assert found_in(path) == expected_of(rows, scopes)


def expected_of(rows: Iterable[FocusCharge], scopes: Sequence[FocusScope]) -> dict[tuple[object, ...], Decimal]:
    sums = defaultdict(list)
    for row in rows:
        scope = scopes[row.scope_id]
        group = key_of_group(one_line(scope.resource_group))
        service = service_name(one_line(row.service))
        sums[scope.provider, scope.sub_account_id, group, row.day, service, row.currency].append(row.cost)
    return {key: exact(costs) for key, costs in sums.items()}


def found_in(path: Path) -> dict[tuple[object, ...], Decimal]:
    """The sums in a file, by what makes a charge one."""
    sums = defaultdict(list)
    for provider, rows in read(path).rows.items():
        for row in rows:
            assert row.billing_period == row.day.replace(day=1)
            key = (provider, row.sub_account_id, key_of_group(row.group), row.day, row.service, row.currency)
            sums[key].append(row.cost)
    return {key: exact(costs) for key, costs in sums.items()}


def test_a_group_named_as_nothing_is_named_is_read_as_none(tmp_path):
    """Azure's files name charges of no group so: nobody can tell."""
    path = tmp_path / "f.parquet"
    others = charges([CHARGE], [SCOPE._replace(resource_group="Others")])
    PolarsFocus().write(others, CostMetric.ACTUAL, path, FocusFormat.PARQUET)
    assert [(row.group, row.cost) for row in rows_of(read(path))] == [("", Decimal("1.5"))]
