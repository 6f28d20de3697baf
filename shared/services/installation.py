"""Whether everything is there that the app needs: each part as it was found, good or with what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.locks import LockMode
from shared.domain.periods import Period
from shared.ports.azure import AZURE
from shared.ports.clock import Clock
from shared.ports.costs import CostQuery, CostSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.projects import ProjectLedger

# What to do where a part does not answer; where it says no, it says itself what would help.
ADVICE = {
    "database": "see that DATABASE_URL is right, and that the server runs",
    "queues": "see that DatahubStorageConnectionString is right; on your own machine, `make dev` runs Azurite",
    "Azure": "the app needs an identity; on your own machine, `az login` gives it yours",
    "mail": "try again in a while",
}
NO_SNAPSHOTS = (
    "but READ_COMMITTED_SNAPSHOT is off, so that checks and readings stop each other; run, as the database's owner: "
    "ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE"
)
UPGRADE = "python -m shared.cli db upgrade"
NO_FAILSAFE = "so that nothing locks a project while this app is down: Azure's own budgets have nobody to call"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part was found; `text` says what is there, or what to do.

    warning: the app can do its work, and something is worth a look.
    """

    part: str
    ok: bool
    text: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class MailSetup:
    """How mails go out. provider: where to, in a word; folder: that of the outbox."""

    provider: str
    folder: str | None
    operators: Sequence[str]


@dataclass(frozen=True, slots=True)
class LockSetup:
    """What is to happen at 100 %."""

    mode: LockMode
    level: str
    queue: str
    action_group_id: str | None


@dataclass(frozen=True, slots=True)
class Installation:
    """The parts of the app.

    database: where it is, without its password; tables_are_current and reads_snapshots ask it (the second: whether its
    readers see what is committed, and do not wait for who writes). make_queues: makes what is missing of
    `queue_names`. endpoint: where the costs come from.
    """

    database: str
    tables_are_current: Callable[[], bool]
    reads_snapshots: Callable[[], bool]
    make_queues: Callable[[], None]
    queue_names: Sequence[str]
    projects: ProjectLedger
    costs: CostSource
    endpoint: str
    mail: MailSetup
    lock: LockSetup
    clock: Clock

    def findings(self, explain: Callable[[Exception], str]) -> list[Finding]:
        """Looks at each part, in the order in which the app needs them. explain: what an error says to a person."""
        parts: dict[str, Callable[[], str | Finding]]
        parts = {"database": self._database, "queues": self._queues, "Azure": self._azure, "mail": self._mail}
        return [*(_found(part, look, explain) for part, look in parts.items()), self._at_100()]

    def _database(self) -> Finding:
        if not self.tables_are_current():
            raise NeverError(f"{self.database} answers, but its tables are missing or old; run: {UPGRADE}")
        text = f"{self.database} answers, and its tables are up to date"
        return Finding("database", True, text, None if self.reads_snapshots() else NO_SNAPSHOTS)

    def _queues(self) -> str:
        self.make_queues()
        return f"there are {', '.join(self.queue_names)}"

    def _azure(self) -> str:
        """Asks for one day of one group's costs: one query unit."""
        scope = self.projects.first_scope(AZURE)
        if scope is None:
            return "not asked: no project is loaded yet (`python -m shared.cli projects load FILE.csv`)"
        today = self.clock().date()
        day = Period(today - timedelta(days=1), today)
        self.costs.read(CostQuery(AZURE, scope.sub_account_id, day, (scope.resource_group,)))
        return f"{self.endpoint} tells the costs of subscription {scope.sub_account_id}"

    def _mail(self) -> str:
        if not self.mail.operators:
            raise NeverError("EMAIL_OPERATORS is empty, so nobody learns of what goes wrong; set it to a mail address")
        place = f" in {self.mail.folder}" if self.mail.folder else ""
        return f"by {self.mail.provider}{place}; operators: {'; '.join(self.mail.operators)}"

    def _at_100(self) -> Finding:
        """What happens at 100 %, as the settings say; whether Azure would let us is seen when it comes to it."""
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


def _found(part: str, look: Callable[[], str | Finding], explain: Callable[[Exception], str]) -> Finding:
    try:
        found = look()
        return found if isinstance(found, Finding) else Finding(part, True, found)
    except LaterError as error:
        return Finding(part, False, f"{error.reason.rstrip('.')}; {ADVICE[part]}")
    except Exception as error:  # noqa: BLE001 - every fault becomes a line of the report
        return Finding(part, False, explain(error))
