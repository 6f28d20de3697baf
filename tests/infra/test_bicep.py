"""What `make check` says of infra/: every file compiles and is linted without a word."""

from __future__ import annotations

import pytest

from localdev import bicep as checker
from localdev.bicep import Bicep

FREE_OF_FAULTS = """param location string

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'st${uniqueString(resourceGroup().id)}'
  location: location
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
}
"""


def test_every_file_of_infra_compiles_and_is_linted_without_a_word(bicep: Bicep):
    paths = checker.files()
    assert {path.name for path in paths} >= {"main.bicep", "running.bicep", "subscriptions.bicep", "app.bicep"}
    assert checker.faults(bicep, paths) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (FREE_OF_FAULTS, None),
        (FREE_OF_FAULTS.replace("location: location", "location: location2"), "error BCP057"),
        (FREE_OF_FAULTS + "\nparam never string\n", "warning no-unused-params"),
        (FREE_OF_FAULTS.replace("2025-01-01", "2099-01-01"), "warning BCP081"),
        (FREE_OF_FAULTS.replace("kind: ", "kind:   "), "not as `bicep format` lays it out"),
        (FREE_OF_FAULTS.replace("  kind", "  #disable-next-line BCP037\n  kind"), "UNKNOWN_TYPES does not name"),
        (FREE_OF_FAULTS + "\noutput key string = storage.listKeys().keys[0].value\n", "outputs-should-not-contain"),
    ],
)
def test_whatever_the_compiler_says_is_a_fault(bicep: Bicep, tmp_path, text, word):
    file = tmp_path / "tried.bicep"
    file.write_text(text, "utf-8")
    found = checker.faults(bicep, [file])
    assert (found == []) if word is None else any(word in each for each in found), found


def test_the_list_of_unknown_types_names_no_more_than_the_files_hide():
    assert set(checker.UNKNOWN_TYPES) == {each for file in checker.files() for each in checker.hidden(file)}


def test_where_there_is_no_compiler_that_is_said(capsys, monkeypatch):
    monkeypatch.delenv("REQUIRE_BICEP", raising=False)
    assert checker.main(None) == 0
    assert "NOT CHECKED" in capsys.readouterr().out


def test_where_the_compiler_is_asked_for_its_lack_is_an_error(capsys, monkeypatch):
    monkeypatch.setenv("REQUIRE_BICEP", "1")
    assert checker.main(None) == 1
    assert "error: " in capsys.readouterr().out
