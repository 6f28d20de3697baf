"""At which endpoint, and as whom, Azure Resource Manager is asked."""

import subprocess
import sys
from pathlib import Path

import pytest
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from shared.adapters.azure.access import LocalCredential, credential_for, parse_endpoint, shown

PUBLIC = "https://management.azure.com"


@pytest.mark.parametrize(
    ("endpoint", "client_id", "kind"),
    [
        ("http://127.0.0.1:7070", None, LocalCredential),
        ("http://127.0.0.1:7070", "6f1c0d5e-0000-4000-8000-000000000001", LocalCredential),
        (PUBLIC, "6f1c0d5e-0000-4000-8000-000000000001", ManagedIdentityCredential),
        (PUBLIC, None, DefaultAzureCredential),
    ],
)
def test_the_identity_follows_from_the_endpoint_and_the_client_id(
    endpoint: str, client_id: str | None, kind: type
) -> None:
    assert type(credential_for(parse_endpoint(endpoint), client_id)) is kind


def test_a_token_is_for_the_cloud_that_the_endpoint_belongs_to() -> None:
    assert parse_endpoint("https://management.usgovcloudapi.net/").token_scope == (
        "https://management.usgovcloudapi.net/.default"
    )


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("https://MANAGEMENT.azure.com/x", True),
        ("https://management.azure.com:443/x", True),
        ("https://management.azure.com:444/x", False),
        ("http://management.azure.com/x", False),
        ("https://management.azure.com@example.com/x", False),
        ("https://management.azure.com\\@example.com/x", False),
        ("https://management.azure.com.example.com/x", False),
        ("https://management.azure.com/x?a=//example.com&b=c@d#//", True),
        ("https://management.azure.com//example.com/x", False),
        ("https://management.azure.com/\\example.com/x", False),
        ("https://management.azure.com\\/example.com/x", False),
        ("https://somebody:else@management.azure.com/x", False),
        ("https://management.azure.com/\t/example.com/x", False),
        ("https://management.azure\n.com/x", False),
        ("\x00https://management.azure.com/x", False),
        ("", False),
    ],
)
def test_only_links_to_the_endpoint_itself_are_held(url: str, held: bool) -> None:
    assert parse_endpoint(PUBLIC).holds(url) is held


def test_what_somebody_else_said_becomes_one_short_line_without_secrets() -> None:
    text = "Line one\n  of https://h.example/x?code=abc and eyJhbGciOiJIUzI1NiJ9.e30.sig " + "x" * 300
    line = shown(text)
    assert line.startswith("Line one of https://h.example/x?… and … xxx")
    assert len(line) == 240


@pytest.mark.parametrize("odd", ["\x00", "\x1b[31m", "\r\n", "\ud800", "\u202e", "\u2028", "\x7f", "\x85"])
def test_what_somebody_else_said_holds_nothing_that_can_not_be_stored_or_would_be_read_otherwise(odd: str) -> None:
    line = shown(f"a{odd}b")
    assert line.isprintable()
    assert (line[0], line[-1]) == ("a", "b")


def test_a_token_that_is_broken_by_what_can_not_be_seen_is_no_secret_that_gets_through() -> None:
    assert "secret" not in shown("of https://h.example/x?co\x00de=secret and eyJhbGciOiJIUzI1NiJ9\x00.secret")


def test_loading_the_module_loads_no_sdk() -> None:
    code = "import sys; import shared.adapters.azure.access; sys.exit('azure.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0
