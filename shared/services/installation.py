"""Whether everything is there that the app needs: each part as it was found, good or with what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from shared.domain.locks import LockMode
from shared.domain.texts import digest
from shared.pipeline.operators import Operators
from shared.ports.blobs import BlobStore
from shared.ports.clock import Clock
from shared.ports.credentials import SealedState
from shared.ports.errors import GoneError, NeverError
from shared.ports.mails import AddressCheck, Mailer, MailRenderer, OutgoingMail, Topic
from shared.services.azure_check import AzureCheck, not_asked
from shared.services.credentials import sealed_finding
from shared.services.findings import Explain, Finding, found

# What may help where a part does not answer.
SERVER = "see that DATABASE_URL is right, and that the server runs"
STORAGE = "see that DatahubStorageConnectionString is right; on your own machine, `make dev` runs Azurite"
TEST_MAIL = ("A mail to try it out", "Somebody has run `check --send-mail`: mails of Budget Warden reach this address.")
NO_SNAPSHOTS = (
    "but READ_COMMITTED_SNAPSHOT is off, so that checks and readings stop each other; run, as the database's owner: "
    "ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE"
)
UPGRADE = "python -m shared.cli db upgrade"
NOTHING_SEALED = Finding("credentials", True, "nothing is sealed")
NOTHING_AT_AWS = Finding("AWS", True, "nobody has anything there")
NO_FAILSAFE = "so that nothing locks a project while this app is down: Azure's own budgets have nobody to call"


@dataclass(frozen=True, slots=True)
class MailSetup:
    """How mails go out. provider: where to, in a word. domain: the right half of their Message-IDs."""

    provider: str
    operators: Sequence[str]
    mailer: Mailer
    renderer: MailRenderer
    valid_addresses: AddressCheck
    domain: str


@dataclass(frozen=True, slots=True)
class LockSetup:
    """What is to happen at 100 %."""

    mode: LockMode
    level: str
    queue: str
    action_group_id: str | None


@dataclass(frozen=True, slots=True)
class ExportSetup:
    """Where cost exports lie, and where the scanner keeps what it has seen."""

    blobs: BlobStore
    container: str
    state: tuple[str, str]


@dataclass(frozen=True, slots=True)
class SealedSetup:
    """What is kept sealed, and the ids of the keys for it, the current one first."""

    state: Callable[[], SealedState]
    key_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Installation:
    """The parts of the app.

    database: where it is, without its password; tables_are_current and reads_snapshots ask it (the second: whether its
    readers see what is committed, and do not wait for who writes). make_queues: makes what is missing of
    `queue_names`. exports: None where there are none. sealed: None where nothing ever is. rates:
    how exchange rates are; None where nothing is converted. aws: how AWS is read; tells None where nobody has anything
    there.
    """

    database: str
    tables_are_current: Callable[[], bool]
    reads_snapshots: Callable[[], bool]
    make_queues: Callable[[], None]
    queue_names: Sequence[str]
    azure: AzureCheck
    mail: MailSetup
    lock: LockSetup
    clock: Clock
    aws: Callable[[], Finding | None]
    exports: ExportSetup | None = None
    sealed: SealedSetup | None = None
    rates: Callable[[], Finding] | None = None

    def findings(self, explain: Explain) -> list[Finding]:
        """Looks at each part, in the order in which the app needs them; none says anything of another's faults."""
        database = found("database", self._database, explain, SERVER)
        queues = found("queues", self._queues, explain, STORAGE)
        mail = found("mail", self._mail, explain)
        exports = [found("exports", partial(_exports, self.exports), explain)] if self.exports else []
        azure, credentials = self._azure(database, explain), self._credentials(database, explain)
        aws = self._aws(database, explain)
        rates = [found("rates", self.rates, explain)] if self.rates and database.ok else []
        return [database, queues, *exports, *azure, *aws, *credentials, *rates, mail, self._at_100()]

    def send_mail(self, address: str, explain: Explain) -> Finding:
        """Sends somebody a mail, as alerts are sent."""
        return found("test mail", lambda: self._sent(address), explain)

    def _azure(self, database: Finding, explain: Explain) -> list[Finding]:
        try:
            return list(self.azure.findings(explain))
        except Exception as error:  # noqa: BLE001 - the database has said it
            return [not_asked(database if not database.ok else Finding("database", False, explain(error)))]

    def _aws(self, database: Finding, explain: Explain) -> list[Finding]:
        """How AWS is read; nothing where nobody has anything there, or where the database has said why nobody knows."""
        if not database.ok:
            return []
        seen = found("AWS", lambda: self.aws() or NOTHING_AT_AWS, explain)
        return [] if seen is NOTHING_AT_AWS else [seen]

    def _credentials(self, database: Finding, explain: Explain) -> list[Finding]:
        """How access keys are kept; nothing where there are none, or where the database has said why nobody knows."""
        sealed = self.sealed
        if sealed is None or not database.ok:
            return []
        seen = found("credentials", lambda: sealed_finding(sealed.state(), sealed.key_ids) or NOTHING_SEALED, explain)
        return [] if seen is NOTHING_SEALED else [seen]

    def _database(self) -> Finding:
        if not self.tables_are_current():
            raise NeverError(f"{self.database} answers, but its tables are missing or old; run: {UPGRADE}")
        text = f"{self.database} answers, and its tables are up to date"
        return Finding("database", True, text, None if self.reads_snapshots() else NO_SNAPSHOTS)

    def _queues(self) -> str:
        self.make_queues()
        return f"there are {', '.join(self.queue_names)}"

    def _mail(self) -> str:
        if not self.mail.operators:
            raise NeverError("EMAIL_OPERATORS is empty, so nobody learns of what goes wrong; set it to a mail address")
        seen = self.mail.mailer.check()
        return f"by {self.mail.provider}: {seen}; operators: {'; '.join(self.mail.operators)}"

    def _sent(self, address: str) -> str:
        mail, now = self.mail, self.clock()
        valid, invalid = mail.valid_addresses([address])
        if not valid:
            raise NeverError("; ".join(f"'{text}' is no mail address: {reason}" for text, reason in invalid))
        notice = Operators(valid).notice(Topic.OTHER, f"check/{now}", *TEST_MAIL)
        rendered = mail.renderer(notice.template, notice.language, notice.context)
        message_id = f"<check.{digest(address, now.isoformat())}@{mail.domain}>"
        handover = mail.mailer.send(OutgoingMail(message_id, valid, **asdict(rendered)))
        for refusal in handover.refused.values():
            raise NeverError(f"{address} does not get it: {refusal.reason}")
        return f"{mail.provider} has taken one for {address}"

    def _at_100(self) -> Finding:
        """What happens at 100 %, as the settings say."""
        lock = self.lock
        at_100 = {
            LockMode.OFF: "nothing is locked at 100 %",
            LockMode.DRY_RUN: "at 100 % it is only written down what would be locked",
            LockMode.ENFORCE: f"projects are locked at 100 % ({lock.level})",
        }
        text = f"LOCK_MODE is {lock.mode}: {at_100[lock.mode]}, asked for on {lock.queue}"
        if lock.mode is LockMode.ENFORCE and lock.action_group_id is None:
            return Finding("lock", True, text, f"but LOCK_ACTION_GROUP_ID is missing, {NO_FAILSAFE}")
        return Finding("lock", True, text)


def _exports(setup: ExportSetup) -> Finding:
    """Whether the container can be read, and what the scanner keeps."""
    first = next(iter(setup.blobs.listed(setup.container)), None)
    text = f"the container {setup.container} can be read" + ("" if first else "; nothing lies in it yet")
    try:
        setup.blobs.read(*setup.state, most=0)
    except GoneError:
        return Finding(
            "exports", True, text, f"but there is no container {setup.state[0]} yet; the first look makes it"
        )
    except NeverError as error:
        return Finding("exports", True, text, f"but each look opens the database: {error.reason}")
    return Finding("exports", True, text)
