"""An answer of many pages that Azure breaks off goes on with its next page, however often that happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localdev.azure_sim import AzureSimulator, made_up
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.costs.progress import BrokenOff, packed, unpacked
from shared.domain.periods import Period
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError
from tests.fakes import FakeClock

ACCOUNT = "6f1c0d5e-0000-4000-8000-00000000000a"
QUERY = CostQuery(AZURE, ACCOUNT, Period(date(2026, 11, 1), date(2026, 11, 13)))
PAGES = 8


@pytest.fixture
def azure() -> Iterator[AzureSimulator]:
    # 400 groups, 8 services and 12 days are 38,400 rows.
    with AzureSimulator(made_up(7, [ACCOUNT], 400, 8, 12, date(2026, 11, 12)), vary=False) as simulator:
        yield simulator


@pytest.fixture
def costs(azure: AzureSimulator) -> Iterator[AzureCosts]:
    source = AzureCosts(ArmClient(azure.url))
    yield source
    source.arm.close()


def pages_given_out(azure: AzureSimulator) -> int:
    return azure.record.in_all().pages


def test_a_throttled_answer_goes_on_without_asking_for_any_page_twice(azure: AzureSimulator, costs: AzureCosts) -> None:
    whole = costs.read(QUERY)
    assert pages_given_out(azure) == PAGES
    progress, before = None, costs.clock()
    for pages_more in (3, 1, 2):
        azure.fault("throttled", after=pages_more, times=1, seconds=60)
        with pytest.raises(LaterError) as caught:
            costs.read(QUERY, progress)
        progress = caught.value.progress
        assert progress is not None
        assert caught.value.wait == timedelta(seconds=60)
    costs.clock = lambda: before + timedelta(hours=1)
    answer = costs.read(QUERY, progress)
    assert answer.charges == whole.charges
    assert before < answer.begun_at < before + timedelta(minutes=1), "it is as of its first page"
    assert pages_given_out(azure) == 2 * PAGES


@pytest.mark.parametrize("fault", ["truncated", "invalid_json"])
def test_a_page_that_breaks_off_in_the_middle_costs_none_of_those_before_it(
    azure: AzureSimulator, costs: AzureCosts, fault: str
) -> None:
    azure.fault(fault, after=3, times=1)
    with pytest.raises(LaterError) as caught:
        costs.read(QUERY)
    assert len(unpacked(caught.value.progress or b"").pages) == 3
    assert costs.read(QUERY, caught.value.progress).charges == costs.read(QUERY).charges


def test_an_answer_that_never_began_has_no_progress(azure: AzureSimulator, costs: AzureCosts) -> None:
    azure.fault("throttled", times=1)
    with pytest.raises(LaterError) as caught:
        costs.read(QUERY)
    assert caught.value.progress is None


def test_a_link_that_azure_no_longer_takes_means_to_begin_anew(azure: AzureSimulator, costs: AzureCosts) -> None:
    azure.fault("unavailable", after=3, times=1)
    with pytest.raises(LaterError) as broken_off:
        costs.read(QUERY)
    known = unpacked(broken_off.value.progress or b"")
    stale = packed(replace(known, next_page=f"{azure.url}/subscriptions/{ACCOUNT}/no-such-page"))
    with pytest.raises(LaterError, match="does not go on") as caught:
        costs.read(QUERY, stale)
    given_out = pages_given_out(azure)
    assert costs.read(QUERY, caught.value.progress).charges
    assert pages_given_out(azure) == given_out + PAGES


def test_an_answer_of_which_a_page_is_always_refused_is_begun_anew_twice_and_throttles_in_between_do_not_count(
    azure: AzureSimulator, costs: AzureCosts
) -> None:
    progress = None
    for _ in range(2):
        azure.fault("forbidden", after=2, times=1)
        with pytest.raises(LaterError, match="begun anew") as caught:
            costs.read(QUERY, progress)
        azure.fault("throttled", times=1)
        with pytest.raises(LaterError, match="wait") as throttled:
            costs.read(QUERY, caught.value.progress)
        progress = throttled.value.progress
    azure.fault("forbidden", after=2, times=1)
    with pytest.raises(NeverError, match="refuses to tell"):
        costs.read(QUERY, progress)


def test_a_refusal_of_the_first_page_is_still_for_never(azure: AzureSimulator, costs: AzureCosts) -> None:
    azure.fault("forbidden", times=1)
    with pytest.raises(NeverError):
        costs.read(QUERY)


def test_what_is_kept_of_a_real_answer_is_small(azure: AzureSimulator, costs: AzureCosts) -> None:
    azure.fault("throttled", after=PAGES - 1, times=1)
    with pytest.raises(LaterError) as caught:
        costs.read(QUERY)
    progress = caught.value.progress or b""
    pages = unpacked(progress).pages
    assert len(pages) == PAGES - 1
    assert len(progress) < sum(map(len, pages)) / 2


def test_no_page_is_begun_after_the_time_that_a_message_has(azure: AzureSimulator, costs: AzureCosts) -> None:
    whole = costs.read(QUERY)
    clock = FakeClock()

    def ticking() -> datetime:
        clock.forward(seconds=50)
        return clock.now

    costs.clock, progress, given_out = ticking, None, pages_given_out(azure)
    for _ in range(PAGES):
        try:
            answer = costs.read(QUERY, progress, clock.now + timedelta(minutes=2))
            break
        except LaterError as error:
            assert error.wait == timedelta(0)
            progress = error.progress
    assert answer.charges == whole.charges
    assert progress is not None, "it was put off"
    assert pages_given_out(azure) == given_out + PAGES


def test_another_question_is_answered_from_its_first_page(azure: AzureSimulator, costs: AzureCosts) -> None:
    azure.fault("throttled", after=3, times=1)
    with pytest.raises(LaterError) as caught:
        costs.read(QUERY)
    one_group = replace(QUERY, resource_groups=(sorted(costs.read(QUERY).charges[0].group_names.values())[0],))
    assert costs.read(one_group, caught.value.progress).charges == costs.read(one_group).charges
    amortized = AzureCosts(ArmClient(azure.url), metric="AmortizedCost")
    given_out = pages_given_out(azure)
    amortized.read(QUERY, caught.value.progress)
    amortized.arm.close()
    assert pages_given_out(azure) == given_out + PAGES


def test_pages_of_long_ago_are_asked_for_again_however_often_the_answer_broke_off(
    azure: AzureSimulator, costs: AzureCosts
) -> None:
    clock = FakeClock()
    costs.clock = clock
    progress = None
    for _ in range(2):
        azure.fault("throttled", after=2, times=1)
        with pytest.raises(LaterError) as caught:
            costs.read(QUERY, progress)
        progress = caught.value.progress
        clock.forward(hours=1, minutes=1)
    given_out = pages_given_out(azure)
    costs.read(QUERY, progress)
    assert pages_given_out(azure) == given_out + PAGES


@given(st.lists(st.binary(max_size=200)), st.none() | st.text(st.characters(codec="utf-8")), st.datetimes())
def test_packing_loses_nothing(pages: list[bytes], next_url: str | None, begun_at: datetime) -> None:
    answer = BrokenOff(tuple(pages), next_url, "where {}", begun_at)
    assert unpacked(packed(answer)) == answer
