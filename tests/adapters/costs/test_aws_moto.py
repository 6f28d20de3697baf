"""A second opinion beside our own stand-in: moto's server, as far as it plays STS and Cost Explorer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from urllib.request import Request, urlopen

import pytest

from shared.domain.periods import Period
from shared.ports.costs import AccountsQuery
from tests.aws_worlds import ACCOUNT, always, aws_costs, cloud_account

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def answers_next(moto: str, *results: object) -> None:
    """Puts answers of GetCostAndUsage into moto's queue."""
    body = json.dumps({"account_id": ACCOUNT, "results": results}).encode()
    urlopen(Request(f"{moto}/moto-api/static/ce/cost-and-usage-results", body, {"Content-Type": "application/json"}))


def a_day(day: str, *groups: tuple[str, str, str], estimated: bool = False) -> dict[str, object]:
    return {
        "TimePeriod": {"Start": day, "End": str(date.fromisoformat(day) + timedelta(days=1))},
        "Total": {},
        "Groups": [
            {"Keys": [account, service], "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}
            for account, service, amount in groups
        ],
        "Estimated": estimated,
    }


def test_moto_lets_us_in_by_both_roles_and_its_answer_is_read(moto: str) -> None:
    days = [
        a_day("2026-11-01", (ACCOUNT, "Tax", "1.23"), (ACCOUNT, "Amazon S3", "0.0000001")),
        a_day("2026-11-02", (ACCOUNT, "Tax", "-0"), estimated=True),
    ]
    answers_next(moto, {"ResultsByTime": days, "DimensionValueAttributes": []})
    answer = aws_costs(moto).read_all(AccountsQuery(cloud_account(), NOVEMBER), always)
    (charges,) = answer.charges[ACCOUNT]
    assert charges.amounts == {
        ("", date(2026, 11, 1), "Tax"): Decimal("1.23"),
        ("", date(2026, 11, 1), "Amazon S3"): Decimal("0.0000001"),
        ("", date(2026, 11, 2), "Tax"): Decimal(0),
    }
    assert answer.estimated_from == date(2026, 11, 2)


def test_an_answer_of_motos_without_days_is_one_without_charges(moto: str) -> None:
    october = Period(date(2026, 10, 1), date(2026, 11, 1))
    assert aws_costs(moto).read_all(AccountsQuery(cloud_account(), october), always).charges == {}
