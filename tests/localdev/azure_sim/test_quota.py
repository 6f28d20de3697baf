from datetime import date

import pytest

from localdev.azure_sim import Guardrail, Limit, Quota, made_up

QPU = "x-ms-ratelimit-microsoft.costmanagement-qpu-"
ENTITY = "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after"
CLIENT = "x-ms-ratelimit-microsoft.costmanagement-client-retry-after"
TENANT = "x-ms-ratelimit-microsoft.costmanagement-tenant-retry-after"


@pytest.fixture
def asked(running, azure, clock):
    """A simulator on a clock moved by hand, and a function that asks it for one month or more."""

    def start(**options):
        options.setdefault("quota", Quota(clock=clock))
        sim = running([azure.charge()], clock=clock, **options)

        def ask(first="2026-11-01", last="2026-11-19", granularity="Daily"):
            body = azure.body(first, last, granularity=granularity)
            return azure.post(sim.url, azure.path(azure.subscription), body)

        return sim, ask

    return start


def test_the_thirteenth_unit_within_ten_seconds_is_refused_until_one_has_left(asked, clock):
    sim, ask = asked(vary=False)
    for _ in range(4):
        assert ask().status == 200
    clock.now += 3.5
    for _ in range(8):
        assert ask().status == 200

    refused = ask()
    assert refused.status == 429
    assert refused.headers[QPU + "retry-after"] == "7"
    assert refused.headers["x-ms-request-id"]

    clock.now += 6.4
    assert ask().status == 429
    clock.now += 0.1
    assert [ask().status for _ in range(5)] == [200] * 4 + [429]
    assert sim.record.in_all().qpu == 16


def test_the_minute_and_the_hour_have_their_own_limits(asked, clock):
    sim, ask = asked(vary=False)

    def spend(units):
        for _ in range(units // 12):
            assert [ask().status for _ in range(12)] == [200] * 12
            clock.now += 10

    for _ in range(9):
        spend(60)
        minute = ask()
        assert (minute.status, minute.headers[QPU + "retry-after"]) == (429, "10")
        clock.now += 10
    spend(60)
    clock.now += 10

    hour = ask()
    assert hour.status == 429
    assert hour.headers[QPU + "retry-after"] == str(3600 - 600)
    clock.now += 3000
    assert ask().status == 200
    assert sim.stats()["largest_qpu"] == {"QueriesPerHour": 600, "QueriesPerMin": 60, "QueriesPer10Sec": 12}


def test_a_refused_request_uses_no_quota(asked, clock):
    sim, ask = asked(quota=Quota([Limit("QueriesPer10Sec", 2, 10)], clock))
    assert [ask().status for _ in range(7)] == [200, 200, 429, 429, 429, 429, 429]
    clock.now += 10
    assert [ask().status for _ in range(3)] == [200, 200, 429]
    counts = sim.record.in_all()
    assert (counts.calls, counts.throttled, counts.qpu) == (10, 6, 4)


@pytest.mark.parametrize(
    ("first", "last", "units"),
    [
        ("2026-11-01", "2026-11-30", 1),
        ("2026-10-31", "2026-11-01", 2),
        ("2025-12-31", "2026-01-01", 2),
    ],
)
def test_a_query_costs_a_unit_for_each_month_that_it_touches(asked, first, last, units):
    _, ask = asked()

    answer = ask(first, last)

    assert answer.headers[QPU + "consumed"] == str(units)
    left = f"QueriesPerHour:{600 - units},QueriesPerMin:{60 - units},QueriesPer10Sec:{12 - units}"
    assert answer.headers[QPU + "remaining"] == left


def test_further_pages_cost_nothing_and_come_although_the_quota_is_used_up(running, azure, clock):
    book = made_up(1, [azure.subscription], 10, 2, 19, date(2026, 11, 19))
    sim = running(book, quota=Quota([Limit("QueriesPerMin", 1, 60)], clock), clock=clock, vary=False)
    ask = azure.ask(sim.url)

    assert len(ask.rows(azure.subscription, azure.body(), top=100)) == 380
    assert ask.send("POST", azure.path(azure.subscription), azure.body()).status_code == 429
    counts = sim.record.of(azure.subscription)
    assert (counts.calls, counts.pages, counts.rows, counts.qpu) == (5, 4, 380, 1)


def test_refusals_sometimes_name_other_limits_too(asked, clock):
    _, ask = asked(quota=Quota([Limit("QueriesPer10Sec", 1, 10)], clock))
    ask()

    refusals = [ask() for _ in range(3)]

    waits = [
        {name.lower(): value for name, value in one.headers.items() if name.lower().endswith("-retry-after")}
        for one in refusals
    ]
    assert waits == [
        {QPU + "retry-after": "10"},
        {ENTITY: "1", QPU + "retry-after": "10"},
        {QPU + "retry-after": "10", TENANT: "11"},
    ]


def test_without_a_quota_nothing_is_refused_but_everything_is_counted(asked):
    sim, ask = asked(quota=None)

    assert {ask().status for _ in range(80)} == {200}
    assert sim.stats()["largest_qpu"] == {"QueriesPerHour": 80, "QueriesPerMin": 80, "QueriesPer10Sec": 80}
    assert sim.stats()["qpu"] == 80


# --- the guardrail on calls ----------------------------------------------------------------------------------

MANY = [f"00000000-0000-4000-8000-{number:012d}" for number in range(22)]


def test_the_fifth_call_of_a_scope_within_a_minute_is_refused_whatever_page_it_asks_for(running, azure, clock):
    book = made_up(1, [azure.subscription, MANY[0]], 10, 2, 19, date(2026, 11, 19))
    sim = running(book, guardrail=Guardrail(clock), clock=clock, vary=False)
    pages = azure.ask(sim.url).pages(azure.subscription, azure.body(), top=100)
    links = [next(pages)["properties"]["nextLink"]]
    for seconds in (5, 5, 5):
        clock.now += seconds
        links.append(next(pages)["properties"]["nextLink"])

    refused = azure.post(sim.url, azure.path(azure.subscription.upper()), azure.body())
    assert (refused.status, refused.headers[ENTITY]) == (429, "45")
    assert CLIENT not in refused.headers
    assert len(set(links)) == 4
    clock.now += 45
    assert azure.post(sim.url, azure.path(azure.subscription), azure.body()).status == 200
    assert azure.post(sim.url, azure.path(MANY[0]), azure.body()).status == 200
    assert sim.stats()["largest_calls"] == {"CallsOfScopePerMin": 4, "CallsOfIdentityPerMin": 5}


def test_the_twenty_first_call_of_an_identity_within_a_minute_is_refused_whatever_scope_it_asks(running, azure, clock):
    sim = running(made_up(1, MANY, 1, 1, 1, date(2026, 11, 19)), guardrail=Guardrail(clock), clock=clock, vary=False)

    def ask(number, token="local"):
        return azure.post(sim.url, azure.path(MANY[number]), azure.body(), token)

    assert [ask(number).status for number in range(20)] == [200] * 20
    clock.now += 18.5
    refused = ask(20)
    assert (refused.status, refused.headers[CLIENT]) == (429, "42")
    assert ENTITY not in refused.headers
    assert ask(21, token="another").status == 200
    clock.now += 41.5
    assert ask(20).status == 200
    sim.reset()
    assert [ask(number).status for number in range(20)] == [200] * 20


def test_without_a_guardrail_no_call_is_refused(running, azure, clock):
    sim = running([azure.charge()], clock=clock)
    assert {azure.post(sim.url, azure.path(azure.subscription), azure.body()).status for _ in range(30)} == {200}
    assert "largest_calls" not in sim.stats()
