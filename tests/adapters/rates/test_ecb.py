"""The ECB's file of rates, and what is none."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.adapters.rates.ecb import EcbRates, rates_in
from shared.ports.errors import LaterError, NeverError

# As the ECB writes it: newest first, N/A where there is none, a comma at each end.
CSV = b"""Date,USD,BGN,CAD,
2026-10-30,1.1172,N/A,1.5606,
2026-10-29,1.1199,,1.5599,
2025-12-31,1.1750,1.9558,1.6088,
"""
DAY, BEFORE = date(2026, 10, 30), date(2026, 10, 29)
EXPECTED = [
    (DAY, "USD", Decimal("1.1172")),
    (DAY, "CAD", Decimal("1.5606")),
    (BEFORE, "USD", Decimal("1.1199")),
    (BEFORE, "CAD", Decimal("1.5599")),
]


def packed(*files: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files:
            file.writestr(name, text)
    return content.getvalue()


# The ECB has its rates as XML, too; nothing of one is ever unfolded.
BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<gesmes:Envelope><Cube time="2026-10-30"><Cube currency="USD" rate="&b;"/></Cube></gesmes:Envelope>"""


@contextmanager
def serving(content: bytes, status: int = 200) -> Iterator[EcbRates]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield EcbRates(f"http://127.0.0.1:{server.server_port}/eurofxref-hist.zip", is_local=True)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("content", [CSV, CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV, packed(("e.csv", CSV))])
def test_rates_are_read_from_a_day_on_and_what_is_not_available_is_none(content: bytes) -> None:
    assert rates_in(content, BEFORE) == EXPECTED
    assert (date(2025, 12, 31), "BGN", Decimal("1.9558")) in rates_in(content, date(2025, 1, 1))


def test_a_file_without_newer_days_has_nothing_new() -> None:
    assert rates_in(CSV, date(2026, 11, 1)) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"<html>no</html>", "its first line is not Date and the currencies"),
        (b"Date,USD,euros,\n2026-10-30,1,1,\n", "its first line is not Date and the currencies"),
        (b"Date,USD,\n", "it has no days"),
        (b"Date,USD,\n30.10.2026,1.1,\n", "line 2 begins with '30.10.2026', which is no day"),
        (b"Date,USD,\n2026-W44-5,1.1,\n", "line 2 begins with '2026-W44-5', which is no day"),
        (b"Date,USD,\n20261030,1.1,\n", "line 2 begins with '20261030', which is no day"),
        ("Date,USD,\n٢٠٢٦-10-30,1.1,\n".encode(), "line 2 begins with '٢٠٢٦-10-30', which is no day"),
        (b"Date,USD,\n2026-10-30,1;1,\n", "the rate of USD on 2026-10-30 is '1;1', which is none"),
        (b"Date,USD,\n2026-10-30,0,\n", "the rate of USD on 2026-10-30 is '0', which is none"),
        (b"Date,USD,\n2026-10-30,-1.1,\n", "the rate of USD on 2026-10-30 is '-1.1', which is none"),
        (b"Date,USD,\n2026-10-30,NaN,\n", "the rate of USD on 2026-10-30 is 'NaN', which is none"),
        (b"Date,USD,\n2026-10-30,1e400,\n", "the rate of USD on 2026-10-30 is '1e400', which is none"),
        (b"Date,USD,\n2026-10-30,1_1,\n", "the rate of USD on 2026-10-30 is '1_1', which is none"),
        ("Date,USD,\n2026-10-30,١,\n".encode(), "the rate of USD on 2026-10-30 is '١', which is none"),
        (b"Date,USD,\n2026-10-30,0.00000000001,\n", "the rate of USD on 2026-10-30 is '0.00000000001', which is none"),
        (b"Date,USD,\n2026-10-30,900000001,\n", "the rate of USD on 2026-10-30 is '900000001', which is none"),
        (b"Date,USD,CAD,\n2026-10-30,1.1,\n", "line 2 has other columns than the first line"),
        (b"Date,USD,CAD,\n2026-10-30,1.1,1.5,7,\n", "line 2 has other columns than the first line"),
        # Of a day that is too old to be kept, too: the file is another than was meant.
        (b"Date,USD,CAD,\n1999-01-04,1.1,\n", "line 2 has other columns than the first line"),
        (b"Date,USD,\n2026-10-30,1.1,7\n", "line 2 has other columns than the first line"),
        (b"Date,USD\n2026-10-30,1.1,7\n", "line 2 has other columns than the first line"),
        (b"Date,USD,,CAD,\n2026-10-30,1.1,,1.5,\n", "its first line is not Date and the currencies"),
        (b"Date,USD,CAD,USD,\n2026-10-30,1.1,1.5,1.2,\n", "it has USD twice"),
        (b"Date,USD,\n2026-10-30,1.1,\n2026-10-30,1.2,\n", "it has 2026-10-30 twice"),
        (
            b"Date,EUR,CAD,\n2026-10-30,0.9,1.4,\n",
            "it has rates of EUR: those of the European Central Bank are of one euro in other currencies",
        ),
        (b"Currency,Date,Rate\nUSD,2026-10-30,1.1\n", "its first line is not Date and the currencies"),
        (b"Date;USD;CAD\n2026-10-30;1,1;1,5\n", "its first line is not Date and the currencies"),
        (BOMB, "its first line is not Date and the currencies"),
        (packed(("a.csv", CSV))[:60] + b"\xff" * 20 + packed(("a.csv", CSV))[80:], "it is no CSV, and no ZIP of one"),
        (b"PK\x03\x04 broken", "it is no CSV, and no ZIP of one"),
        (b"\xff\xfe\x00", "it is no CSV, and no ZIP of one"),
        (packed(("a.csv", CSV), ("b.csv", CSV)), "it holds 2 CSV files, and not one"),
        (packed(("a.txt", CSV)), "it holds 0 CSV files, and not one"),
        (packed(("a.csv", b"Date,USD,\n" + b" " * 50_000_001)), "it unpacks to more than 50,000,000 bytes"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_no_file_of_rates_is_refused_in_a_sentence(content: bytes, why: str) -> None:
    with pytest.raises(NeverError) as refused:
        rates_in(content, BEFORE)
    assert refused.value.reason == f"The file of exchange rates can't be used: {why}."


def test_a_quote_that_never_ends_is_refused() -> None:
    # In words that depend on what else was loaded: reading exports lifts the limit of a field for all of a process.
    with pytest.raises(NeverError, match=r"^The file of exchange rates can't be used: "):
        rates_in(b'Date,USD,\n2026-10-30,"' + b"1" * 200_000, BEFORE)


def test_the_ecb_is_asked_over_http() -> None:
    with serving(packed(("eurofxref-hist.csv", CSV))) as feed:
        assert feed.read(BEFORE) == EXPECTED


def test_what_answers_otherwise_is_later_or_never() -> None:
    with serving(b"", 503) as feed, pytest.raises(LaterError, match=r"does not hand out exchange rates \(503\)"):
        feed.read(BEFORE)
    with serving(b"<html>") as feed, pytest.raises(NeverError, match="first line"):
        feed.read(BEFORE)
    with pytest.raises(LaterError, match="can't be reached"):
        EcbRates("http://127.0.0.1:1/x.zip", is_local=True).read(BEFORE)
