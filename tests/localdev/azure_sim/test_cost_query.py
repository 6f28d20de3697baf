import json
from datetime import date
from decimal import Decimal

import pytest

from localdev.azure_sim import made_up, read_ea_export
from localdev.azure_sim.charges import exact_sum

OTHER = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"


@pytest.fixture
def book(azure):
    return made_up(
        seed=7,
        subscriptions=[azure.subscription],
        groups_per_subscription=25,
        services=4,
        days=40,
        end_day=date(2026, 11, 19),
    )


def keys(rows):
    return [(row["ResourceGroupName"], row["ServiceName"], row["UsageDate"], row["Currency"]) for row in rows]


@pytest.mark.parametrize("top", [None, 1, 7, 100, 5000])
def test_paging_gives_every_row_exactly_once_and_the_exact_sum(running, azure, book, top):
    days = ("2026-11-18", "2026-11-19") if top == 1 else ("2026-11-01", "2026-11-19")
    sim = running(book)

    pages = list(azure.ask(sim.url).pages(azure.subscription, azure.body(*days), top))

    rows = [row for page in pages for row in azure.by_name(page)]
    assert len(set(keys(rows))) == len(rows)
    assert sum(row["Cost"] for row in rows) == book.total(azure.subscription, *map(date.fromisoformat, days))
    assert {len(page["properties"]["rows"]) for page in pages[:-1]} <= {top or 1000}
    assert len(pages) == -(-len(rows) // (top or 1000))


def test_without_variation_the_answer_is_the_book_row_by_row(running, azure, book):
    sim = running(book, vary=False)

    rows = azure.ask(sim.url).rows(azure.subscription, azure.body(), top=999)

    expected = book.charges(azure.subscription, date(2026, 11, 1), date(2026, 11, 19))
    assert [(*key, row["Cost"]) for key, row in zip(keys(rows), rows, strict=True)] == [
        (charge.group, charge.service, int(charge.day.strftime("%Y%m%d")), charge.currency, charge.amount)
        for charge in expected
    ]


def test_without_days_a_query_of_any_length_is_one_row_a_currency_on_one_page(running, azure):
    charges = [
        azure.charge(day=day, amount=amount, currency=currency)
        for day, amount, currency in [
            ("2026-09-01", "0.1", "CAD"),
            ("2026-10-15", "0.2", "CAD"),
            ("2026-10-15", "7", "USD"),
            ("2026-11-19", "0.0000000001", "CAD"),
            ("2026-11-20", "9", "CAD"),
        ]
    ]
    ask = azure.ask(running(charges).url)
    whole = azure.body("2026-09-01", "2026-11-19", granularity="None", grouping=[])
    for _ in range(8):
        (page,) = ask.pages(azure.subscription, whole, 1)
        assert page["properties"]["nextLink"] is None
        found = sorted((row["Currency"], row["Cost"]) for row in azure.by_name(page))
        assert found == [("CAD", Decimal("0.3000000001")), ("USD", Decimal(7))]
        assert {len(row) for row in page["properties"]["rows"]} == {2}
    assert ask.rows(azure.subscription, azure.body("2026-01-01", "2026-08-31", granularity="None", grouping=[])) == []


def test_both_days_of_the_period_are_included_as_dates_and_as_date_times(running, azure):
    days = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]
    sim = running([azure.charge(day=day) for day in days])
    ask = azure.ask(sim.url)

    for first, last in [("2026-11-02", "2026-11-03"), ("2026-11-02T00:00:00Z", "2026-11-03T23:59:59.999+00:00")]:
        rows = ask.rows(azure.subscription, azure.body(first, last))
        assert sorted(row["UsageDate"] for row in rows) == [20261102, 20261103]


def test_columns_change_their_order_and_names_between_requests_in_a_fixed_sequence(running, azure):
    def answers():
        sim = running([azure.charge()])
        ask = azure.ask(sim.url)
        return [
            [column["name"] for column in page["properties"]["columns"]]
            for _ in range(20)
            for page in ask.pages(azure.subscription, azure.body())
        ]

    seen = answers()
    assert len({tuple(names) for names in seen}) == 20
    assert {name for names in seen for name in names} == {
        "Cost", "PreTaxCost", "ResourceGroupName", "ResourceGroup", "UsageDate", "ServiceName", "Currency",
    }  # fmt: skip
    assert answers() == seen


def test_a_group_comes_under_two_spellings_in_one_answer_and_still_sums_up(running, azure, book):
    rows = azure.ask(running(book).url).rows(azure.subscription, azure.body())

    spellings: dict[str, set[str]] = {}
    sums: dict[str, Decimal] = {}
    for row in rows:
        group = row["ResourceGroupName"].lower()
        spellings.setdefault(group, set()).add(row["ResourceGroupName"])
        sums[group] = sums.get(group, Decimal(0)) + row["Cost"]

    assert max(len(names) for names in spellings.values()) >= 2
    assert any(name != name.lower() for names in spellings.values() for name in names)
    for group, total in sums.items():
        assert total == book.total(azure.subscription, date(2026, 11, 1), date(2026, 11, 19), group)


@pytest.mark.parametrize(
    "amount", ["0", "3.25", "-0.01", "19.545363672276512", "0.0000000000007", "12345678901234567890.123456789012345678"]
)
@pytest.mark.parametrize("vary", [True, False])
def test_amounts_keep_every_digit(running, azure, amount, vary):
    # Enough groups and days that, with variation, some rows are split in two.
    charges = [
        azure.charge(f"Group-{letter}", day=f"2026-11-{day:02d}", amount=amount)
        for letter in "abcdefghijklmnop"
        for day in range(1, 11)
    ]
    sim = running(charges, vary=vary)

    rows = azure.ask(sim.url).rows(azure.subscription, azure.body())

    assert exact_sum(row["Cost"] for row in rows) == exact_sum(charge.amount for charge in charges)
    # What is less than three units of its last digit can't be split.
    assert (len(rows) > len(charges)) == (vary and amount not in ("0", "-0.01"))
    assert "E" not in azure.post(sim.url, azure.path(azure.subscription), azure.body()).text.split('"rows"')[1]


def test_charges_without_a_group_keep_an_empty_one(running, azure):
    sim = running([azure.charge(group="")])

    assert [row["ResourceGroupName"] for row in azure.ask(sim.url).rows(azure.subscription, azure.body())] == [""]


def test_rows_are_summed_by_day_group_and_service(running, azure):
    parts = [("Alpha", "Storage", "1"), ("Alpha", "Storage", "2"), ("Alpha", "SQL", "4"), ("Beta", "SQL", "8")]
    sim = running([azure.charge(group, service, "2026-11-05", amount) for group, service, amount in parts], vary=False)

    rows = azure.ask(sim.url).rows(azure.subscription, azure.body())

    found = {(row["UsageDate"], row["ResourceGroupName"], row["ServiceName"]): row["Cost"] for row in rows}
    assert found == {
        (20261105, "Alpha", "Storage"): 3,
        (20261105, "Alpha", "SQL"): 4,
        (20261105, "Beta", "SQL"): 8,
    }


def in_groups(*names):
    return {"dimensions": {"name": "ResourceGroupName", "operator": "In", "values": list(names)}}


@pytest.mark.parametrize(
    ("the_filter", "expected"),
    [
        (in_groups("ALPHA_rg"), {"Alpha_RG"}),
        (in_groups("alpha_rg", "gamma_rg", "no-such-group"), {"Alpha_RG", "Gamma_RG"}),
    ],
)
def test_a_filter_takes_groups_without_regard_to_case(running, azure, the_filter, expected):
    sim = running([azure.charge(name) for name in ("Alpha_RG", "Beta_RG", "Gamma_RG")], vary=False)

    rows = azure.ask(sim.url).rows(azure.subscription, azure.body(filter=the_filter))

    assert {row["ResourceGroupName"] for row in rows} == expected


def test_a_filtered_answer_is_paged_too(running, azure, book):
    groups = sorted({charge.group for charge in book.charges(azure.subscription, *[date(2026, 11, 3)] * 2)})[:3]
    sim = running(book, vary=False)

    rows = azure.ask(sim.url).rows(azure.subscription, azure.body(filter=in_groups(*groups)), top=10)

    assert len(rows) == 3 * 4 * 19
    assert sum(row["Cost"] for row in rows) == sum(
        book.total(azure.subscription, date(2026, 11, 1), date(2026, 11, 19), group) for group in groups
    )


def test_the_path_is_taken_in_any_case_and_the_type_may_be_amortized(running, azure):
    sim = running([azure.charge()])
    path = (
        f"/SUBSCRIPTIONS/{azure.subscription.upper()}/Providers/microsoft.costmanagement/QUERY?API-Version=2025-03-01"
    )

    answer = azure.post(sim.url, path, azure.body() | {"type": "amortizedcost"})

    assert answer.status == 200
    assert len(json.loads(answer.text)["properties"]["rows"]) == 1


def test_the_answer_has_the_envelope_of_a_documented_one(running, azure, real_export):
    sample = json.loads((real_export.parent / "query_response_page.json").read_text())
    charges = [azure.charge(f"group-{number}") for number in range(3)]
    sim = running(charges)

    page = next(azure.ask(sim.url).pages(azure.subscription, azure.body(), top=2))

    assert sample.keys() <= page.keys()
    assert sample["properties"].keys() == page["properties"].keys()
    assert page["type"].lower() == sample["type"].lower()
    assert page["id"].strip("/").lower().endswith(f"microsoft.costmanagement/query/{page['name']}")
    types = {column["name"]: column["type"] for column in sample["properties"]["columns"]}
    for column in page["properties"]["columns"]:
        assert types.get(column["name"], column["type"]) == column["type"]


def test_no_charges_in_the_period_are_an_empty_table(running, azure):
    body = azure.body("2026-01-01", "2026-01-31")
    table = azure.ask(running([azure.charge()]).url).send("POST", azure.path(azure.subscription), body)

    assert table.status_code == 200
    assert table.json()["properties"]["rows"] == []
    assert len(table.json()["properties"]["columns"]) == 5


def test_the_next_link_needs_a_post_of_the_same_body(running, azure):
    sim = running([azure.charge(f"group-{number}") for number in range(3)])
    ask = azure.ask(sim.url)
    link = next(ask.pages(azure.subscription, azure.body(), top=1))["properties"]["nextLink"]

    assert link.startswith(sim.url + "/subscriptions/")
    assert ask.send("GET", link).status_code == 405
    assert ask.send("POST", link, azure.body(last="2026-11-18")).status_code == 400
    assert ask.send("POST", link.split("skiptoken=")[0] + "skiptoken=nonsense", azure.body()).status_code == 400
    assert ask.send("POST", link, azure.body()).status_code == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "Usage"}, "Invalid type"),
        ({"timeframe": "MonthToDate"}, "Invalid timeframe"),
        ({"timePeriod": None}, "Time period"),
        ({"timePeriod": {"from": "2026-11-01"}}, "not a date-time"),
        ({"timePeriod": {"from": "2026-11-02", "to": "2026-11-01"}}, "is after"),
        ({"timePeriod": {"from": "2026-10-01", "to": "2026-11-01"}}, "cannot exceed 31 days"),
        ({"dataset": None}, "Dataset is invalid"),
        ({"dataset": {"granularity": "Hourly"}}, "Invalid granularity"),
        ({"dataset": {"aggregation": {}}}, "aggregation"),
        ({"dataset": {"aggregation": {"a": {"name": "Cost", "function": "Max"}}}}, "Invalid function"),
        ({"dataset": {"grouping": [{"type": "Dimension", "name": "ServiceName"}] * 3}}, "limited to 2"),
        (
            {"dataset": {"grouping": [{"type": "Dimension", "name": "Nonsense"}]}},
            "Invalid dataset grouping: 'Nonsense'",
        ),
        ({"dataset": {"filter": {}}}, "filter"),
        ({"dataset": {"filter": {"and": [in_groups("a")]}}}, "filters compare dimensions"),
        ({"dataset": {"grouping": [{"type": "Dimension", "name": "ServiceName"}]}}, "by resource group and service"),
        ({"dataset": {"granularity": "None"}}, "or one total of all days"),
        ({"dataset": {"filter": in_groups()}}, "no values"),
        (
            {"dataset": {"filter": {"dimensions": {"name": "ResourceGroup", "operator": "Like", "values": ["a"]}}}},
            "Invalid operator",
        ),
    ],
)
def test_a_query_that_azure_would_refuse_is_refused_in_its_envelope(running, azure, change, words):
    sim = running([azure.charge()])
    dataset = change.get("dataset")
    body = azure.body(**dataset) if dataset else azure.body() | change

    answer = azure.post(sim.url, azure.path(azure.subscription), body)

    assert answer.status == 400
    error = json.loads(answer.text)["error"]
    assert error["code"] == "BadRequest"
    assert words in error["message"]
    assert sim.record.in_all().qpu == 0


@pytest.mark.parametrize("top", ["0", "5001", "-1", "many", ""])
def test_a_page_has_at_most_5000_rows(running, azure, top):
    sim = running([azure.charge()])

    answer = azure.post(sim.url, f"{azure.path(azure.subscription)}&$top={top}", azure.body())

    assert answer.status == 400
    assert "1 to 5000" in answer.text


def test_what_is_no_json_or_no_object_is_a_400(running, azure):
    sim = running([azure.charge()])

    for body in ("{", "[]", '"text"', ""):
        assert azure.post(sim.url, azure.path(azure.subscription), body).status == 400


def test_the_api_version_is_required(running, azure):
    sim = running([azure.charge()])
    path = azure.path(azure.subscription)

    missing = azure.post(sim.url, path.split("?")[0], azure.body())
    malformed = azure.post(sim.url, path.replace("2025-03-01", "latest"), azure.body())

    assert (missing.status, json.loads(missing.text)["error"]["code"]) == (400, "MissingApiVersionParameter")
    assert (malformed.status, json.loads(malformed.text)["error"]["code"]) == (400, "InvalidApiVersionParameter")


def test_a_bearer_token_is_needed(running, azure):
    path, sim = azure.path(azure.subscription), running([azure.charge()])

    assert azure.post(sim.url, path, azure.body(), token="whatever").status == 200
    for token in (None, ""):
        refused = azure.post(sim.url, path, azure.body(), token=token)
        assert (refused.status, json.loads(refused.text)["error"]["code"]) == (401, "AuthenticationFailed")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")


def test_unknown_subscriptions_are_404(running, azure):
    sim = running([azure.charge()])

    unknown = azure.post(sim.url, azure.path("00000000-0000-0000-0000-000000000001"), azure.body())

    assert (unknown.status, json.loads(unknown.text)["error"]["code"]) == (404, "SubscriptionNotFound")
    assert azure.post(sim.url, azure.path(azure.subscription), azure.body()).status == 200


def test_other_paths_are_404_and_other_methods_405(running, azure):
    ask = azure.ask(running([azure.charge()]).url)

    assert ask.send("POST", f"/subscriptions/{azure.subscription}/nothing?api-version=2025-03-01").status_code == 404
    assert ask.send("PUT", azure.path(azure.subscription), {}).status_code == 405


def test_the_real_export_sums_exactly_over_all_its_subscriptions(running, azure, real_export):
    book = read_ea_export(real_export)
    ask = azure.ask(running(book).url)
    body = azure.body("2023-09-01", "2023-09-30")

    rows = {name: ask.rows(name, body) for name in sorted(book.subscriptions())}

    assert sum(row["Cost"] for part in rows.values() for row in part) == Decimal("8.5450077867419368")
    assert len(rows) == 4
    purchase = next(row for row in rows[OTHER] if row["ResourceGroupName"] == "")
    assert (purchase["Cost"], purchase["UsageDate"], purchase["ServiceName"]) == (
        Decimal("3.25"), 20230921, "Virtual Machines",
    )  # fmt: skip
    assert sum(row["ResourceGroupName"].lower() == "ahbtest" for row in rows[OTHER]) == 1
