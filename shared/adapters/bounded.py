"""Answers over HTTP that come whole within a time-out, which for a socket is for each piece, however small."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.request import AbstractHTTPHandler, HTTPHandler, HTTPSHandler

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Bounded(io.RawIOBase):
    """What the other side of a socket says, until the socket's time-out from now on."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock, self._seconds = raw, sock, sock.gettimeout()
        self._until = time.monotonic() + (self._seconds or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self._seconds is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the answer has no end within {self._seconds:g} seconds")
            self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(self._seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """An answer, headers and body: the `response_class` of a connection."""

    def __init__(self, sock: socket.socket, *how: Any, **more: Any) -> None:
        super().__init__(sock, *how, **more)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock))


class _BoundedHandler(AbstractHTTPHandler):
    def do_open(self, http_class: Any, req: Any, **how: Any) -> Any:
        """See urllib."""

        def connection(*its: Any, **more: Any) -> http.client.HTTPConnection:
            made: http.client.HTTPConnection = http_class(*its, **more)
            made.response_class = BoundedResponse
            return made

        return super().do_open(connection, req, **how)


class BoundedHttp(_BoundedHandler, HTTPHandler):
    """For an opener of urllib."""


class BoundedHttps(_BoundedHandler, HTTPSHandler):
    """For an opener of urllib."""
