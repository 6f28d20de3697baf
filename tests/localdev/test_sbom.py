"""The bill of materials that a release carries."""

from __future__ import annotations

from localdev.sbom import ROOT, bill


def test_every_package_that_is_deployed_is_in_the_bill_with_its_version():
    pinned = [line.partition(" ;")[0] for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    found = bill((ROOT / "requirements.txt").read_text("utf-8"))
    assert [f"{each['name']}=={each['version']}" for each in found["components"]] == pinned
    assert len(pinned) > 20
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")


def test_a_package_whose_version_depends_on_the_python_says_so():
    (one, other) = bill("a==1.0 ; python_full_version < '3.13'\na==2.0\n")["components"]
    assert one["purl"] == "pkg:pypi/a@1.0"
    assert one["properties"][0]["value"] == 'python_full_version < "3.13"'
    assert "properties" not in other
