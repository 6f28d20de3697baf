"""Mail servers on the loopback interface: SMTP (aiosmtpd), SendGrid's v3 API, and Azure Communication Services."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override

API_KEY = "SG.a-secret-key"
USERNAME = "warden"
PASSWORD = "hunter2-s3cret"
RESERVED = {
    *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
    *("to", "from", "subject", "reply-to", "cc", "bcc"),
}


@dataclass(frozen=True)
class Arrived:
    """A mail as its recipients see it; bcc is what the envelope has and the header has not."""

    message_id: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    text: str
    html: str
    importance: str | None
    priority: str | None
    reply_to: str | None


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def arrived(message: EmailMessage, recipients: list[str]) -> Arrived:
    to, cc = addresses_in(message, "To"), addresses_in(message, "Cc")
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None and html is not None
    return Arrived(
        message_id=message["Message-ID"],
        sender=str(message["From"]),
        to=to,
        cc=cc,
        bcc=tuple(address for address in recipients if address not in to + cc),
        subject=message["Subject"],
        text=text.get_content(),
        html=html.get_content(),
        importance=message["Importance"],
        priority=message["X-Priority"],
        reply_to=message["Reply-To"],
    )


def addresses_in(message: EmailMessage, header: str) -> tuple[str, ...]:
    return tuple(address.addr_spec for address in message[header].addresses) if message[header] else ()


# --- SMTP ----------------------------------------------------------------------------------------------------


class SmtpServer(Controller):
    """An SMTP server on a port of its own.

    refusals: answers to RCPT by address. hangs_up_at: what it says there before it hangs up, which may be nothing.
    recipient_seconds: for how long it looks at each of them. mail_answer: to MAIL FROM. data_answer: to DATA, after
    data_seconds. sign_in_answer: to a sign-in, whatever the password. breaks_at: the command (MAIL, DATA for the whole
    mail, QUIT) at which it hangs up instead of answering. connections: how many there were. With
    tls, STARTTLS is demanded, and then signing in with USERNAME and PASSWORD; with implicit_tls, it speaks TLS from the
    first byte.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, implicit_tls: ssl.SSLContext | None = None) -> None:
        self.mails: list[tuple[bytes, list[str]]] = []
        self.refusals: dict[str, str] = {}
        self.hangs_up_at: dict[str, bytes] = {}
        self.recipient_seconds = 0.0
        self.connections = 0
        self.mail_answer = "250 OK"
        self.data_answer = "250 OK queued"
        self.sign_in_answer = ""
        self.data_seconds = 0.0
        self.breaks_at = ""
        self.signed_in: list[bytes] = []
        secured = {"require_starttls": True, "auth_required": True, "authenticator": self._authenticate} if tls else {}
        super().__init__(self, hostname="127.0.0.1", port=0, ssl_context=implicit_tls, tls_context=tls, **secured)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.signed_in.append(data.login)
        if self.sign_in_answer:
            return AuthResult(success=False, handled=False, message=self.sign_in_answer)
        return AuthResult(success=(data.login, data.password) == (USERNAME.encode(), PASSWORD.encode()), handled=False)

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: Any) -> Any:  # noqa: N802 - aiosmtpd's name
        self.connections += 1
        session.host_name = hostname
        return responses

    def _break(self, server: Any, command: str) -> None:
        if self.breaks_at == command:
            server.transport.abort()

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self._break(server, "MAIL")
        envelope.mail_from = address if self.mail_answer.startswith("250") else None
        return self.mail_answer

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        await asyncio.sleep(self.recipient_seconds)
        if address in self.hangs_up_at:
            server.transport.write(self.hangs_up_at[address])
            server.transport.close()
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        await asyncio.sleep(self.data_seconds)
        if self.data_answer.startswith("250"):
            self.mails.append((envelope.content, list(envelope.rcpt_tos)))
        self._break(server, "DATA")
        return self.data_answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self._break(server, "QUIT")
        return "221 Bye"


class SilentServer:
    """Takes connections and says nothing, or a word every tenth of a second; with hang_up, it closes them at once."""

    def __init__(self, hang_up: bool, word: bytes = b"") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._socket.settimeout(0.1)
        self._hang_up, self._word = hang_up, word
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                self._talk()
                continue
            except OSError:
                return
            if self._hang_up:
                connection.close()
            else:
                self._open.append(connection)

    def _talk(self) -> None:
        for connection in self._open:
            with suppress(OSError):  # the other side has left
                connection.sendall(self._word)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself: its file, and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = folder / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


# --- SendGrid ------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


class ApiServer:
    """An HTTP API that takes mails; `answer` makes it say something else.

    silent: it never answers. hangs_up: it closes the connection instead of answering. shown: the Authorization header
    of each request, whatever it asks.
    """

    def __init__(self) -> None:
        self.shown: list[str | None] = []
        self.bodies: list[dict[str, Any]] = []
        self.answer: Answer | None = None
        self.silent = False
        self.hangs_up = False
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def judge(self, path: str, headers: Message, content: bytes) -> Answer:
        raise NotImplementedError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"] or 0))
                if server.silent:
                    server.over.wait(30)
                if server.silent or server.hangs_up:
                    self.close_connection = True
                    return
                server.shown.append(self.headers["Authorization"])
                answer = server.answer or server.judge(self.path, self.headers, content)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body.encode())))
                self.end_headers()
                self.wfile.write(answer.body.encode())

            do_GET = do_POST  # noqa: N815 - what a redirect makes of it

            def log_message(self, *values: Any) -> None:
                pass

        return Handler


class SendGridServer(ApiServer):
    """Behaves like POST /v3/mail/send as its documentation has it."""

    @override
    def judge(self, path: str, headers: Message, content: bytes) -> Answer:
        if path not in {"/v3/mail/send", "/v3/scopes"}:
            return fault(404, "not found")
        if headers["Authorization"] != f"Bearer {API_KEY}":
            return fault(401, "The provided authorization grant is invalid, expired, or revoked")
        if path == "/v3/scopes":
            return Answer(200, {}, json.dumps({"scopes": ["mail.send", "sender_verification_eligible"]}))
        body = json.loads(content)
        wrong = fault_of(body)
        if wrong:
            return fault(400, wrong)
        self.bodies.append(body)
        return Answer(202, {"X-Message-Id": f"sg-{len(self.bodies)}"})


def fault(status: int, message: str, field: object = None) -> Answer:
    return Answer(status, {}, json.dumps({"errors": [{"message": message, "field": field, "help": None}]}))


def fault_of(body: dict[str, Any]) -> str:
    """What SendGrid's page "Mail Send: Errors" says against this body; empty where it says nothing."""
    faults = [*map(fault_of_recipients, body["personalizations"]), fault_of_content(body)]
    return next(filter(None, faults), "")


def fault_of_recipients(block: dict[str, Any]) -> str:
    everybody = [entry["email"].lower() for kind in ("to", "cc", "bcc") for entry in block.get(kind, [])]
    if not block.get("to"):
        return "The to array is required for all personalization objects"
    if len(everybody) != len(set(everybody)):
        return "Each email address in the personalization block should be unique between to, cc, and bcc."
    if [] in block.values():
        return "The cc and bcc arrays, when used, must at least have an email parameter"
    return ""


def fault_of_content(body: dict[str, Any]) -> str:
    if not body["subject"] or "\n" in body["subject"]:
        return "The subject is required."
    if [part["type"] for part in body["content"]] not in (["text/plain", "text/html"], ["text/plain"], ["text/html"]):
        return "text/plain needs to be first, followed by text/html"
    if not all(part["value"] for part in body["content"]):
        return "The content value must be a string at least one character in length."
    if RESERVED & {name.lower() for name in body["headers"]}:
        return "Header cannot be one of the reserved keys."
    return ""


def arrived_at_sendgrid(body: dict[str, Any]) -> Arrived:
    (block,) = body["personalizations"]
    texts = {part["type"]: part["value"] for part in body["content"]}
    sender = body["from"]
    return Arrived(
        message_id=body["headers"]["Message-ID"],
        sender=f"{sender['name']} <{sender['email']}>",
        **{kind: tuple(entry["email"] for entry in block.get(kind, [])) for kind in ("to", "cc", "bcc")},
        subject=body["subject"],
        text=texts["text/plain"],
        html=texts["text/html"],
        importance=body["headers"].get("Importance"),
        priority=body["headers"].get("X-Priority"),
        reply_to=body.get("reply_to", {}).get("email"),
    )


# --- Azure Communication Services ----------------------------------------------------------------------------


class AcsServer(ApiServer):
    """Behaves like POST /emails:send as its documentation has it, for the token of a developer's machine.

    An operation that is there already is a conflict, as its page "Repeatable requests" has it. operations: the bodies
    by the operations' ids. states: how those stand that do not run any more.
    """

    def __init__(self) -> None:
        self.operations: dict[str, dict[str, Any]] = {}
        self.states: dict[str, dict[str, Any]] = {}
        super().__init__()

    @override
    def judge(self, path: str, headers: Message, content: bytes) -> Answer:
        where, _, asked = urlsplit(path).path.rpartition("/")
        if headers["Authorization"] != "Bearer local-development":
            return acs_fault(401, "Denied", "Denied by the resource provider.")
        if where == "/emails/operations":
            known = asked in self.operations
            return self.state(200, asked) if known else acs_fault(404, "NotFound", "There is no such operation.")
        if (asked, urlsplit(path).query) != ("emails:send", "api-version=2025-09-01"):
            return acs_fault(404, "NotFound", "There is no such resource.")
        operation, body = str(UUID(headers["Operation-Id"])), json.loads(content)
        if operation in self.operations:
            return acs_fault(409, "Conflict", "The operation is there already.")
        wrong = fault_of_acs(body)
        if wrong:
            return acs_fault(400, "BadRequest", wrong)
        self.operations[operation] = body
        return self.state(202, operation)

    def state(self, status: int, operation: str) -> Answer:
        return Answer(status, {}, json.dumps(self.states.get(operation, {"id": operation, "status": "Running"})))


def acs_fault(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"error": {"code": code, "message": message}}))


def fault_of_acs(body: dict[str, Any]) -> str:
    everybody = [each["address"].lower() for some in body["recipients"].values() for each in some]
    if not 1 <= len(everybody) <= 50 or len(everybody) != len(set(everybody)) or [] in body["recipients"].values():
        return "The recipients are not right."
    known = {"senderAddress", "recipients", "content", "headers", "replyTo", "userEngagementTrackingDisabled"}
    return "" if set(body) <= known and body["senderAddress"] else "The request is not right."


def arrived_at_acs(body: dict[str, Any]) -> Arrived:
    reply_to = [each["address"] for each in body.get("replyTo", [])]
    return Arrived(
        message_id=body["headers"]["Message-ID"],
        sender=body["senderAddress"],
        **{kind: tuple(each["address"] for each in body["recipients"].get(kind, [])) for kind in ("to", "cc", "bcc")},
        subject=body["content"]["subject"],
        text=body["content"]["plainText"],
        html=body["content"]["html"],
        importance=body["headers"].get("Importance"),
        priority=body["headers"].get("X-Priority"),
        reply_to=next(iter(reply_to), None),
    )
