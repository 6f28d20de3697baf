import json
import signal
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from localdev.aws_sim import demo_organization
from localdev.simulator import SimulatorControl
from shared.adapters.costs.aws import AwsCosts
from shared.adapters.costs.aws_access import AwsAccess
from shared.domain.periods import Period
from shared.ports.costs import AccountsQuery
from shared.ports.credentials import AccessKeys
from tests.aws_worlds import always, cloud_account

SIMULATOR = "localdev.aws_sim"
DEMO = cloud_account(
    demo_organization.PAYER,
    role_arn=demo_organization.ROLE,
    external_id=demo_organization.EXTERNAL_ID,
    is_organization=True,
)


def costs_of_the_demo(url):
    """As the app reads them."""
    keys = AccessKeys(demo_organization.ACCESS_KEY, demo_organization.SECRET)
    return AwsCosts(AwsAccess(lambda _id: keys, endpoint=url), sleep=lambda _seconds: None)


def test_statistics_count_calls_paid_pages_and_their_price(running, charge):
    aws = running(charge(), charge(day=6), rows_a_page=1)
    aws.take_on()
    aws.rows()

    stats = SimulatorControl(aws.sim.url).stats()

    expected = {"calls": {"AssumeRole": 1, "GetCostAndUsage": 2}, "paid_pages": 2, "cost_usd": "0.02"}
    assert stats == expected == json.loads(json.dumps(aws.sim.stats()))


def test_a_reset_forgets_statistics_and_faults_but_no_charges_and_nobody(running, charge):
    aws = running(charge())
    aws.rows()
    aws.sim.fault("server_error", times=None)

    SimulatorControl(aws.sim.url).reset()

    assert aws.sim.stats() == {"calls": {}, "paid_pages": 0, "cost_usd": "0.00"}
    assert len(aws.rows(client=aws.client("ce", aws.take_on()))) == 1


def test_a_stopped_simulator_starts_again_at_its_address(running, charge):
    aws = running(charge())
    url = aws.sim.url

    aws.sim.stop()
    aws.sim.start()

    assert (aws.sim.url, len(aws.rows())) == (url, 1)


def test_the_program_serves_the_demos_organization_up_to_yesterday_and_stops_at_sigterm(started):
    program, url = started("--others", 2, "--rows-a-page", 3)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    costs = costs_of_the_demo(url)

    answer = costs.read_all(AccountsQuery(DEMO, Period(yesterday, yesterday + timedelta(days=2))), always)
    listed = costs.sub_accounts(DEMO)

    assert [each.name for each in listed.values()][:4] == ["Polar Data", "Glacier Watch", "Sandbox", "Account 1"]
    (glaciers,) = answer.charges[demo_organization.GLACIERS]
    assert glaciers.amounts["", yesterday, demo_organization.COMPUTE] == Decimal("7.3")
    assert {day for _, day, _ in glaciers.amounts} == {yesterday}
    assert set(answer.charges) == set(listed)
    assert SimulatorControl(url).stats()["paid_pages"] >= 3
    program.send_signal(signal.SIGTERM)
    output, errors = program.communicate(timeout=20)
    assert (program.returncode, output, errors) == (0, "", "")


def test_a_night_that_is_named_has_the_same_charges_as_the_library_makes(started):
    night = date(2026, 11, 20)
    _, url = started("--night", night)
    november = AccountsQuery(DEMO, Period(date(2026, 11, 1), date(2026, 12, 1)))

    with demo_organization.simulator(night) as aws:
        made, served = (costs_of_the_demo(each).read_all(november, always) for each in (aws.url, url))
    assert made.charges == served.charges
    assert {day for _, day, _ in made.charges[demo_organization.PAYER][0].amounts} == {
        date(2026, 11, day) for day in range(1, 20)
    }


def test_the_program_says_in_one_line_why_it_cannot_start(started, running):
    program, _ = started("--port", running().sim.port)

    _, errors = program.communicate(timeout=20)
    assert program.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("The simulator can't start: ")
    assert "already in use" in line
