"""What FOCUS's official validator says, as `make focus-validate` takes it. The validator itself is not run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from localdev.focus_validator import Found, found_in, judged

ANSWER = """<?xml version='1.0' encoding='utf-8'?>
<testsuites name="FOCUS Validations" tests="4">
  <testsuite><testcase name="BilledCost-C-001-M :: Type" /></testsuite>
  <testsuite><testcase name="CommitmentDiscountId-C-001-M :: Type"><skipped message="Type" /></testcase></testsuite>
  <testsuite><testcase name="InvoiceId-C-005-C :: Nullability"><failure message="Nullability" /></testcase></testsuite>
  <testsuite><testcase name="ListCost-C-002-M :: Format"><error message="" /></testcase></testsuite>
</testsuites>
"""


def test_rules_that_passed_failed_and_were_left_out_are_told_apart():
    assert found_in(ANSWER) == Found(1, 1, {"InvoiceId-C-005-C": "Nullability", "ListCost-C-002-M": ""})


@pytest.mark.parametrize(
    ("rule", "of_csv", "of_parquet"),
    [("InvoiceId-C-005-C", 0, 0), ("BillingAccountId-C-002-M", 0, 1), ("ListCost-C-002-M", 1, 1)],
)
def test_only_the_validators_own_faults_are_accepted(capsys, rule, of_csv, of_parquet):
    found = Found(1, 1, {rule: "Format check"})
    assert (judged(Path("a.csv"), found), judged(Path("a.parquet"), found)) == (of_csv, of_parquet)
    assert (f"{rule}: Format check" in capsys.readouterr().out) == bool(of_parquet)
