"""Builds the adapters from the settings, and hands them to the stages: the one place that wires.

Everything is built when it is first asked for, so that a function loads only the SDKs that it needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from shared.adapters.database.engine import Database
from shared.adapters.queues import QueueOpener, StorageQueues, by_connection_string, by_identity
from shared.domain.charges import CostMetric
from shared.domain.currencies import Converting
from shared.domain.locks import LockMode, LockRules
from shared.domain.texts import digest
from shared.messages import (
    BlobsMessage,
    BudgetSyncMessage,
    EmailMessage,
    EmailsMessage,
    LockMessage,
    ManifestMessage,
    Message,
    NotificationMessage,
    PartMessage,
    UpdateMessage,
)
from shared.pipeline.alerts import AlertPolicy
from shared.pipeline.asking import Asking
from shared.pipeline.azure_budgets.handler import BudgetSyncHandler
from shared.pipeline.azure_budgets.sync import BudgetSync
from shared.pipeline.budget_alert import BudgetAlerts
from shared.pipeline.chain import Chain, Stage
from shared.pipeline.dead_letters import DeadLetters
from shared.pipeline.deliver import Deliverer
from shared.pipeline.ending import Ending
from shared.pipeline.events import observers
from shared.pipeline.exports.importer import Importer, not_set_up
from shared.pipeline.exports.places import Finder, places
from shared.pipeline.exports.scanner import Scanner
from shared.pipeline.exports.seen import CONTAINER, SeenBlob
from shared.pipeline.exports.telling import Telling
from shared.pipeline.keys import KeyCheck
from shared.pipeline.left_over import LeftOver
from shared.pipeline.locking.carry_out import Locking
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.handler import Locker
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.locking.records import Records
from shared.pipeline.measures import measure
from shared.pipeline.naming import Naming
from shared.pipeline.notify import Notifier
from shared.pipeline.operators import Operators
from shared.pipeline.pace import Pace
from shared.pipeline.payers import Payers
from shared.pipeline.rounds import Rounds, Writing
from shared.pipeline.schedule import Scheduler
from shared.pipeline.stage import Outgoing, Retry
from shared.pipeline.update import Updater
from shared.pipeline.watch import Watchdog
from shared.ports.allocations import AllocationLedger
from shared.ports.azure import (
    ACTION_GROUPS,
    AZURE,
    BUDGETS,
    COSTS,
    LOCKS,
    MACHINES,
    AzureBudgets,
    AzureCompute,
    AzureLocks,
    AzureRights,
    ResourceGroup,
    TokenCheck,
)
from shared.ports.azure_budgets import SeenBudgets
from shared.ports.blobs import BlobStore
from shared.ports.changes import ChangeLedger
from shared.ports.charges import ChargeLedger
from shared.ports.checks import CheckLedger
from shared.ports.clock import Clock, utc_now
from shared.ports.cloud_accounts import CloudAccountLedger, ConnectionType
from shared.ports.costs import AccountsSource, CostSource
from shared.ports.credentials import Credentials
from shared.ports.dead_letters import DeadLetterLedger
from shared.ports.errors import NeverError
from shared.ports.export_runs import CLOSED_ON, ExportLedger
from shared.ports.exports import ExportReader
from shared.ports.idempotency import IdempotencyLedger
from shared.ports.locks import LockLedger
from shared.ports.mails import Mailer, MailLedger
from shared.ports.payers import PayerLedger
from shared.ports.projects import ProjectLedger
from shared.ports.rates import RateFeed, RateLedger
from shared.ports.runs import RunLedger
from shared.ports.spending import SpendingLedger
from shared.ports.standings import StandingLedger
from shared.ports.telemetry import NoTelemetry, Telemetry
from shared.services.cloud_accounts import CloudAccountService
from shared.services.dead_letters import DeadLetterService
from shared.services.health import Health
from shared.services.locks import LockService
from shared.services.runs import RunService
from shared.settings import Provider, Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.adapters.azure.arm import ArmClient
    from shared.pipeline.rates import RateUpdate
    from shared.services.allocations import AllocationService
    from shared.services.aws_accounts import AwsAccountService
    from shared.services.aws_check import AwsCheck
    from shared.services.aws_syncs import AwsSyncService
    from shared.services.azure_check import AzureCheck
    from shared.services.budgets import BudgetService
    from shared.services.changes import ChangeService
    from shared.services.costs import CostService
    from shared.services.credentials import CredentialService
    from shared.services.export_history import ExportHistory
    from shared.services.export_import import ExportImport
    from shared.services.export_scan import ExportScan
    from shared.services.export_sources import ExportStorage
    from shared.services.exports import ExportService
    from shared.services.focus import FocusService
    from shared.services.full_sync import SyncService
    from shared.services.installation import Installation
    from shared.services.mails import MailService
    from shared.services.projects import ProjectService
    from shared.services.rates import RateService
    from shared.services.reconcile import ReconcileService
    from shared.services.smoke_test import SmokeTest
    from shared.services.status import StatusService
    from shared.services.totals import TotalService

# A subscription's currency is seen in its latest charges.
CURRENCIES_SINCE = timedelta(days=100)
OUTBOX_SENDER = "budget-warden@localhost.localdomain"


def clock_from(start: datetime | None, speed: int = 1) -> Clock:
    """The clock, or, for trying things out, one that stood at `start` a moment ago and runs `speed` times as fast."""
    begun = utc_now()
    if start is None and speed == 1:
        return utc_now
    first = start or begun
    aware = first if first.tzinfo else first.replace(tzinfo=UTC)
    return lambda: aware + (utc_now() - begun) * speed


class Composition:
    """The app, built from its settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock: Clock = clock_from(settings.clock_start, settings.clock_speed)
        # Where traces and metrics go.
        self.telemetry: Telemetry = NoTelemetry()

    # --- adapters ---

    @cached_property
    def database(self) -> Database:
        """The database; nothing is opened before its first use, and no file is made by it."""
        return Database(self.settings.database_url.get_secret_value(), _see_file, self.writing.begins)

    @cached_property
    def writing(self) -> Writing:
        """What tells the watchdog that somebody writes."""
        return Writing(lambda: self.queues, self.clock)

    def make_missing_database(self) -> bool:
        """Makes a SQLite file that is not there, with its tables; returns whether it did."""
        from shared.adapters.database import migrate

        return migrate.make_missing(self.database)

    def upgrade_tables(self) -> str:
        """Makes the database's tables, or brings them up to date; returns their revision."""
        from shared.adapters.database import migrate

        migrate.upgrade(self.database)
        return migrate.HEAD

    @cached_property
    def runs(self) -> RunLedger:
        """Runs."""
        from shared.adapters.database.runs import SqlRuns

        return SqlRuns(self.database)

    @cached_property
    def charges(self) -> ChargeLedger:
        """Charges."""
        from shared.adapters.database.charges import SqlCharges

        return SqlCharges(self.database, self.settings.lookback_days)

    @cached_property
    def cloud_accounts(self) -> CloudAccountLedger:
        """Where costs are read from."""
        from shared.adapters.database.cloud_accounts import SqlCloudAccounts

        return SqlCloudAccounts(self.database)

    @cached_property
    def payers(self) -> PayerLedger:
        """Cloud accounts that are asked for all of their sub-accounts at once."""
        from shared.adapters.database.payers import SqlPayers

        return SqlPayers(self.database)

    @cached_property
    def credentials(self) -> Credentials:
        """Access keys of cloud accounts, sealed."""
        from shared.adapters.database.credentials import SqlCredentials
        from shared.adapters.sealing import KeyRing

        return SqlCredentials(self.database, KeyRing(self.settings.key_ring))

    @cached_property
    def export_runs(self) -> ExportLedger:
        """The history of cost exports."""
        from shared.adapters.database.exports import SqlExports

        return SqlExports(self.database)

    @cached_property
    def checks(self) -> CheckLedger:
        """Checks and alerts."""
        from shared.adapters.database.checks import SqlChecks

        return SqlChecks(self.database, self._sender_domain, self.settings.lookback_days, self.converts)

    @cached_property
    def mails(self) -> MailLedger:
        """Mails."""
        from shared.adapters.database.mails import SqlMails

        return SqlMails(self.database, self._sender_domain)

    @cached_property
    def changes(self) -> ChangeLedger:
        """What people changed."""
        from shared.adapters.database.changes import SqlChanges

        return SqlChanges(self.database)

    @cached_property
    def idempotency(self) -> IdempotencyLedger:
        """Keys of changes that are ordered over HTTP."""
        from shared.adapters.database.idempotency import SqlIdempotency

        return SqlIdempotency(self.database)

    @cached_property
    def letters(self) -> DeadLetterLedger:
        """Dead letters."""
        from shared.adapters.database.dead_letters import SqlDeadLetters

        return SqlDeadLetters(self.database)

    @cached_property
    def projects(self) -> ProjectLedger:
        """Projects and listings."""
        from shared.adapters.database.projects import SqlProjects

        return SqlProjects(self.database, self.settings.lookback_days, self.converts)

    @cached_property
    def standings(self) -> StandingLedger:
        """How projects stand, by the page."""
        from shared.adapters.database.standings import SqlStandings

        return SqlStandings(self.database, self.settings.lookback_days)

    @cached_property
    def spending(self) -> SpendingLedger:
        """Sums of the stored charges."""
        from shared.adapters.database.spending import SqlSpending

        return SqlSpending(self.database, self.settings.lookback_days)

    @cached_property
    def allocations(self) -> AllocationLedger:
        """Rules that allocate what no project owns."""
        from shared.adapters.database.allocations import SqlAllocations

        return SqlAllocations(self.database)

    @property
    def converts(self) -> bool:
        """Whether charges in other currencies than a budget's count."""
        return self.settings.converting is not Converting.OFF

    @cached_property
    def rates(self) -> RateLedger:
        """Exchange rates."""
        from shared.adapters.database.rates import SqlRates

        return SqlRates(self.database, self.converts)

    @cached_property
    def rate_feed(self) -> RateFeed:
        """Who sets exchange rates."""
        from shared.adapters.rates.ecb import EcbRates

        return EcbRates()

    @cached_property
    def lock_ledger(self) -> LockLedger:
        """Which projects are locked, and every decision about it."""
        from shared.adapters.database.locks import SqlLocks

        return SqlLocks(self.database, self._sender_domain, self.settings.lookback_days, self.converts)

    @cached_property
    def queues(self) -> StorageQueues:
        """The storage queues."""
        return StorageQueues(self._queue_opener, self.settings.queue_names, self.settings.clock_speed)

    @cached_property
    def arm(self) -> ArmClient:
        """Azure Resource Manager."""
        from shared.adapters.azure.arm import ArmClient

        return ArmClient(self.settings.management_endpoint, self.settings.client_id, mark=self.settings.mark)

    @cached_property
    def costs(self) -> CostSource:
        """Azure's cost API, or costs that are made up."""
        if self.settings.made_up_costs:
            from shared.adapters.costs.made_up import MadeUpCosts

            return MadeUpCosts(lambda: self.projects.entries(), self.clock)  # noqa: PLW0108 - projects need the sources
        return self._azure_costs(self.settings.cost_metric)

    def _azure_costs(self, metric: CostMetric) -> CostSource:
        from shared.adapters.costs.azure import AzureCosts

        return AzureCosts(
            self.arm,
            metric=metric.value,
            units_per_minute=self.settings.units_per_minute,
            units_per_hour=self.settings.units_per_hour,
            clock=self.clock,
        )

    @cached_property
    def sources(self) -> Mapping[str, CostSource | AccountsSource]:
        """What costs are asked of, by connection type."""
        return {ConnectionType.COST_MANAGEMENT: self.costs, ConnectionType.COST_EXPLORER: self.aws_costs}

    @cached_property
    def aws_costs(self) -> AccountsSource:
        """AWS Cost Explorer, or costs that are made up; botocore is loaded with the first account that is asked."""
        if self.settings.made_up_costs:
            from shared.adapters.costs.made_up import MadeUpPayers

            return MadeUpPayers(lambda: self.projects.entries(), self.clock)  # noqa: PLW0108 - as of Azure
        from shared.adapters.costs.aws import AwsCosts
        from shared.adapters.costs.aws_access import AwsAccess, IdentityToken

        settings = self.settings
        token = IdentityToken(settings.client_id, settings.aws_audience) if settings.aws_audience else None
        access = AwsAccess(
            lambda cloud_account_id: self.credentials.keys_of(cloud_account_id),  # noqa: PLW0108 - loads cryptography
            settings.aws_role_arn,
            token,
            settings.aws_endpoint,
            clock=self.clock,
        )
        return AwsCosts(access, settings.cost_metric, self.clock)

    @cached_property
    def export_blobs(self) -> BlobStore:
        """Where cost exports lie."""
        from shared.adapters import blobs

        settings = self.settings
        if settings.export_connection is not None:
            return blobs.StorageBlobs(blobs.by_connection_string(settings.export_connection))
        client_id = settings.export_client_id or settings.client_id
        return blobs.StorageBlobs(blobs.by_identity(str(settings.export_storage_uri), client_id))

    @cached_property
    def export_reader(self) -> ExportReader:
        """Reads files of cost exports."""
        from shared.adapters.exports.reader import PolarsExports

        return PolarsExports()

    @cached_property
    def azure_budgets(self) -> AzureBudgets:
        """Azure's own budgets."""
        from shared.adapters.azure.budgets import ConsumptionBudgets

        return ConsumptionBudgets(self.arm)

    @cached_property
    def seen_budgets(self) -> SeenBudgets:
        """What is known of Azure's own budgets that Azure does not say."""
        from shared.adapters.database.azure_budgets import SqlSeenBudgets

        return SqlSeenBudgets(self.database)

    @cached_property
    def azure_locks(self) -> AzureLocks:
        """Locks on resource groups."""
        from shared.adapters.azure.locks import ArmLocks

        return ArmLocks(self.arm)

    @cached_property
    def azure_compute(self) -> AzureCompute:
        """Virtual machines and scale sets."""
        from shared.adapters.azure.compute import ArmCompute

        return ArmCompute(self.arm)

    @cached_property
    def azure_rights(self) -> AzureRights:
        """What the app's identity may do."""
        from shared.adapters.azure.permissions import ArmPermissions

        return ArmPermissions(self.arm)

    def rights_of(self, principal: str) -> AzureRights:
        """What an identity may do, for whoever may see its roles. principal: its object id in Entra."""
        from shared.adapters.azure.permissions import ArmPermissions

        return ArmPermissions(self.arm, principal)

    @cached_property
    def token_check(self) -> TokenCheck | None:
        """Who may call BudgetAlert, besides having its key; None where that is all."""
        settings = self.settings
        if settings.alert_audience is None or settings.alert_tenant_id is None:
            return None
        from shared.adapters.azure.alert_token import EntraTokenCheck

        return EntraTokenCheck(settings.alert_audience, settings.alert_tenant_id, settings.alert_authority)

    @cached_property
    def mailer(self) -> Mailer:
        """The mail provider that EMAIL_PROVIDER names, or what marks its mails."""
        if not self.settings.mark:
            return self.mail_provider
        from shared.adapters.mail.marked import MarkedMailer

        operators = self.settings.email_operators if self.settings.staging else None
        return MarkedMailer(lambda: self.mail_provider, self.settings.mark, operators)

    @cached_property
    def mail_provider(self) -> Mailer:
        """The mail provider that EMAIL_PROVIDER names."""
        settings = self.settings
        sender, name = settings.email_sender or OUTBOX_SENDER, settings.email_sender_name
        if settings.email_provider is Provider.SENDGRID and settings.sendgrid_api_key is not None:
            from shared.adapters.mail.sendgrid import SendGridMailer

            key = settings.sendgrid_api_key.get_secret_value()
            return SendGridMailer(key, sender, name, settings.sendgrid_endpoint)
        if settings.email_provider is Provider.ACS and settings.acs_endpoint is not None:
            from shared.adapters.mail.acs import AcsMailer

            return AcsMailer(settings.acs_endpoint, settings.client_id, sender)
        if settings.email_provider is Provider.SMTP:
            from shared.adapters.mail.smtp import SmtpMailer

            password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
            return SmtpMailer(
                host=settings.smtp_host or "",
                port=settings.smtp_port,
                username=settings.smtp_username or "",
                password=password,
                starttls=settings.smtp_starttls,
                sender=sender,
                sender_name=name,
            )
        from shared.adapters.mail.outbox import OutboxMailer

        return OutboxMailer(Path(settings.outbox_dir), sender, name)

    @cached_property
    def chain(self) -> Chain:
        """Takes messages from their queues, and sends what the stages want sent."""
        stages: dict[type[Message], Callable[[], Stage]] = {
            UpdateMessage: lambda: self.updater.update,
            NotificationMessage: lambda: self.notifier.notify,
            EmailMessage: lambda: self.deliverer.deliver,
            EmailsMessage: lambda: self.deliverer.deliver_each,
            LockMessage: lambda: self.locker.handle,
            BudgetSyncMessage: lambda: self.budget_sync_handler.handle,
            ManifestMessage: lambda: self._of_exports(lambda: self.export_importer.take_manifest),
            PartMessage: lambda: self._of_exports(lambda: self.export_importer.take_part),
            BlobsMessage: lambda: self._of_exports(lambda: self.export_importer.take_blobs),
        }
        # The projects' ledger is built for a message by hand only.
        naming = Naming(self._project_id, self.retry)
        return Chain(stages, naming.by_id, self.dead_letters, self.queues, self.telemetry)

    def _of_exports(self, stage: Callable[[], Stage]) -> Stage:
        return stage() if self.settings.has_exports else not_set_up

    def tell(self) -> None:
        """Has telemetry told of what happens from now on in this process, where there is somewhere to send it.

        Before anything else is built; commands don't do it, for whom it would take seconds to load.
        """
        connection = self.settings.application_insights
        if connection is None:
            return
        from shared.adapters.telemetry import application_insights

        telemetry = self.telemetry = application_insights(connection.get_secret_value(), self.settings.client_id)
        observers.append(lambda name, fields: measure(telemetry, name, fields))

    # --- stages ---

    @cached_property
    def operators(self) -> Operators:
        """Whom to tell what projects can't be told."""
        return Operators(self.settings.email_operators)

    @cached_property
    def retry(self) -> Retry:
        """Puts messages back."""
        return Retry(self.clock, random.random)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Keeps what failed for good."""
        return DeadLetters(
            self.letters,
            self.ending,
            self.checks,
            self.mails,
            self.operators,
            self.clock,
            self._lock_failed,
            self._export_failed,
        )

    def _lock_failed(self, message: LockMessage, origin: str) -> list[Outgoing]:
        # Built only then, since it needs the dead letters itself.
        return self.locker.poisoned(message, origin)

    def _export_failed(self, message: PartMessage, origin: str) -> list[Outgoing]:
        return self.export_importer.poisoned(message, origin) if self.settings.has_exports else []

    @cached_property
    def ending(self) -> Ending:
        """How scopes end that have failed."""
        return Ending(self.runs, self.charges, self.mails, self.operators, self.clock)

    @cached_property
    def asking(self) -> Asking:
        """What costs are asked for."""
        return Asking(self.charges, self.cloud_accounts, self.sources, self.clock, self.settings.lookback_days)

    @cached_property
    def pace(self) -> Pace:
        """When messages that ask for costs may be taken."""
        return Pace(self.runs, self.asking)

    @cached_property
    def scheduler(self) -> Scheduler:
        """ProjectUsageScheduler."""
        return Scheduler(
            runs=self.runs,
            schedule=self.settings.nights,
            asking=self.asking,
            pace=self.pace,
            clock=self.clock,
            budgets_in=self.budget_sync.subscriptions if self.settings.lock_action_group_id else None,
            rates=self.rate_update.tonight if self.converts else None,
            keys=self.key_check.tonight,
        )

    @cached_property
    def key_check(self) -> KeyCheck:
        """ProjectUsageScheduler, for credentials."""
        opened = lambda: self.credentials  # noqa: E731 - loads cryptography
        return KeyCheck(opened, self.cloud_accounts, self.mails, self.operators, self.clock)

    @cached_property
    def rate_update(self) -> RateUpdate:
        """ProjectUsageScheduler, and people, for exchange rates."""
        from shared.adapters.rates.bundled import BundledRates
        from shared.pipeline.rates import RateUpdate

        return RateUpdate(self.rates, self.rate_feed, BundledRates(), self.mails, self.operators, self.clock)

    @cached_property
    def updater(self) -> Updater:
        """ProjectUsageUpdater."""
        return Updater(
            asking=self.asking,
            pace=self.pace,
            charges=self.charges,
            cloud_accounts=self.cloud_accounts,
            payers=Payers(self.payers, self.charges, self.clock, self.settings.aws_calls_per_day),
            runs=self.runs,
            dead_letters=self.dead_letters,
            ending=self.ending,
            retry=self.retry,
            clock=self.clock,
        )

    @cached_property
    def alert_policy(self) -> AlertPolicy:
        """What alerts there are, and what they say."""
        settings = self.settings
        return AlertPolicy(
            thresholds=settings.thresholds,
            bcc=settings.email_bcc,
            bcc_from=settings.email_bcc_from_percent,
            lock_mode=settings.lock_mode,
            lock_level=settings.lock_level,
            lock_stops=settings.lock_stop_compute,
            portal_url=settings.project_link,
        )

    @cached_property
    def notifier(self) -> Notifier:
        """ProjectUsageNotifier."""
        return Notifier(
            self.checks, self.mails, self.dead_letters, self.operators, self.alert_policy, self.retry, self.clock
        )

    @cached_property
    def budget_alerts(self) -> BudgetAlerts:
        """BudgetAlert."""
        return BudgetAlerts(self.token_check)

    @cached_property
    def budget_sync(self) -> BudgetSync:
        """Keeps Azure's own budgets as they are to be."""
        return BudgetSync(
            azure=self.azure_budgets,
            seen=self.seen_budgets,
            projects=self.projects,
            action_group_id=self.settings.lock_action_group_id,
            clock=self.clock,
            currencies=self._currencies_of,
        )

    def _currencies_of(self, subscription_id: str) -> frozenset[str]:
        return self.charges.currencies_of(AZURE, subscription_id, self.clock().date() - CURRENCIES_SINCE)

    @cached_property
    def budget_sync_handler(self) -> BudgetSyncHandler:
        """ProjectLockHandler, for what is about Azure's own budgets."""
        return BudgetSyncHandler(
            self.budget_sync, self.mails, self.operators, self.dead_letters, self.retry, self.clock
        )

    @cached_property
    def lock_mails(self) -> LockMails:
        """What people are told about locks."""
        settings = self.settings
        contact = settings.support_contact or settings.email_reply_to
        return LockMails(self.operators, settings.email_bcc, settings.project_link, settings.lock_level, contact)

    @cached_property
    def locker(self) -> Locker:
        """ProjectLockHandler."""
        settings = self.settings
        level, mode = settings.lock_level, settings.lock_mode
        records = Records(self.lock_ledger, self.lock_mails, mode)
        locking = Locking(
            groups=GroupLocks(self.azure_locks, self.azure_compute, level, settings.never_locked),
            mails=self.lock_mails,
            records=records,
            rules=LockRules(mode, settings.lock_when_unsure, settings.lock_stop_compute),
            retry=self.retry,
            clock=self.clock,
        )
        return Locker(
            ledger=self.lock_ledger,
            budgets=self.azure_budgets,
            seen=self.seen_budgets,
            locking=locking,
            records=records,
            dead_letters=self.dead_letters,
            retry=self.retry,
            clock=self.clock,
        )

    @cached_property
    def deliverer(self) -> Deliverer:
        """EmailNotificationHandler."""
        from shared.adapters.mail.addresses import valid_addresses
        from shared.adapters.mail.rendering import TemplateRenderer

        return Deliverer(
            mails=self.mails,
            mailer=self.mailer,
            renderer=TemplateRenderer(
                support=self.settings.support_contact, can_reply=bool(self.settings.email_reply_to)
            ).render,
            valid_addresses=valid_addresses,
            dead_letters=self.dead_letters,
            operators=self.operators,
            retry=self.retry,
            clock=self.clock,
            private=self.settings.email_private_recipients,
            reply_to=self.settings.email_reply_to,
        )

    @cached_property
    def export_finder(self) -> Finder:
        """What manifests list."""
        from shared.adapters.exports.manifests import Manifests

        return Finder(Manifests(), self.export_blobs, self.settings.cost_metric)

    @cached_property
    def export_telling(self) -> Telling:
        """What operators are told of cost exports."""
        return Telling(self.mails, self.operators, self.clock)

    @cached_property
    def export_seen(self) -> SeenBlob:
        """What the scanner has seen, for the database that this installation has."""
        return SeenBlob(self.export_blobs, digest(self.database.url.render_as_string(hide_password=True)))

    @cached_property
    def export_scanner(self) -> Scanner:
        """CostExportScanner."""
        return Scanner(
            ledger=self.export_runs,
            cloud_accounts=self.cloud_accounts,
            blobs=self.export_blobs,
            finder=self.export_finder,
            seen=self.export_seen,
            telling=self.export_telling,
            container=self.settings.export_container,
            let_go=self.database.let_go,
            clock=self.clock,
        )

    def scan_exports(self) -> Iterable[Outgoing]:
        """What CostExportScanner wants sent: nothing where it is not said where exports lie."""
        return self.export_scanner.scan() if self.settings.has_exports else ()

    @cached_property
    def export_importer(self) -> Importer:
        """CostExportImporter."""
        return Importer(
            ledger=self.export_runs,
            cloud_accounts=self.cloud_accounts,
            blobs=self.export_blobs,
            finder=self.export_finder,
            reader=lambda: self.export_reader,
            metric=self.settings.cost_metric,
            closed_on=CLOSED_ON,
            telling=self.export_telling,
            dead_letters=self.dead_letters,
            retry=self.retry,
            clock=self.clock,
        )

    @cached_property
    def watchdog(self) -> Watchdog:
        """PipelineWatchdog."""
        return Watchdog(
            runs=self.runs,
            schedule=self.settings.nights,
            pace=self.pace,
            checks=self.checks,
            charges=self.charges,
            mails=self.mails,
            letters=self.letters,
            locks=self.lock_ledger,
            operators=self.operators,
            clock=self.clock,
        )

    @cached_property
    def rounds(self) -> Rounds:
        """PipelineWatchdog's rounds, of which few look at the database."""
        from shared.adapters.database.watch import SqlWatch

        ledger, schedules = SqlWatch(self.database), (self.settings.nights, self.settings.watchdog_rounds)
        return Rounds(self.watchdog, ledger, self.queues, *schedules, self.database.let_go, self.clock)

    @cached_property
    def health(self) -> Health:
        """Health."""
        return Health(self.queues, self.settings.watchdog_rounds, self.settings.nights, self.clock)

    @cached_property
    def left_over(self) -> LeftOver:
        """PipelineWatchdog, for what stays on the `-poison` queues."""
        return LeftOver(self.chain, sleep, self.clock)

    # --- what a person can ask for ---

    @cached_property
    def run_service(self) -> RunService:
        """Runs: started, looked at."""
        return RunService(
            runs=self.runs,
            projects=self.projects,
            charges=self.charges,
            scheduler=self.scheduler,
            chain=self.chain,
            queues=self.queues,
            clock=self.clock,
        )

    @cached_property
    def status_service(self) -> StatusService:
        """How all stands."""
        from shared.services.status import StatusService

        return StatusService(
            run_service=self.run_service,
            runs=self.runs,
            projects=self.projects,
            charges=self.charges,
            letters=self.letters,
            mails=self.mails,
            locks=self.lock_ledger,
            totals=self.total_service,
            cloud_accounts=self.cloud_accounts,
            schedule=self.settings.nights,
            clock=self.clock,
        )

    @cached_property
    def lock_service(self) -> LockService:
        """Locks by hand, and what was decided."""
        return LockService(self.lock_ledger, self.projects, self.queues, self.settings.lock_mode, self.clock)

    @cached_property
    def change_service(self) -> ChangeService:
        """The audit."""
        from shared.services.changes import ChangeService

        return ChangeService(self.changes, self.projects, self.clock)

    @cached_property
    def cloud_account_service(self) -> CloudAccountService:
        """Cloud accounts, for people."""
        blobs = self.export_blobs if self.settings.has_exports else None
        return CloudAccountService(self.cloud_accounts, self.clock, self.settings.export_container, blobs)

    @cached_property
    def aws_account_service(self) -> AwsAccountService:
        """Cloud accounts at AWS, for people."""
        from shared.services.aws_accounts import AwsAccountService

        return AwsAccountService(
            *(self.cloud_accounts, self.payers, self.credentials, self.sources),
            *(self.settings.aws_role_arn, self.settings.aws_calls_per_day, self.clock),
        )

    @cached_property
    def aws_sync_service(self) -> AwsSyncService:
        """AWS accounts, synced by hand."""
        from shared.services.aws_syncs import AwsSyncService

        return AwsSyncService(
            *(self.cloud_accounts, self.payers, self.runs, self.scheduler, self.chain),
            *(self.settings.aws_calls_per_day, self.clock),
        )

    @cached_property
    def credential_service(self) -> CredentialService:
        """Access keys, for people."""
        from shared.services.credentials import CredentialService

        return CredentialService(self.cloud_accounts, self.credentials, self.clock)

    @cached_property
    def dead_letter_service(self) -> DeadLetterService:
        """Dead letters: looked at, sent again."""
        return DeadLetterService(self.letters, self.queues, self.clock)

    @cached_property
    def project_service(self) -> ProjectService:
        """Lists, shows and loads projects."""
        from shared.adapters.mail.addresses import valid_addresses
        from shared.services.projects import ProjectService

        return ProjectService(self.projects, self.standings, self.cloud_accounts, valid_addresses, self.clock)

    @cached_property
    def mail_service(self) -> MailService:
        """Mails: looked at, sent again."""
        from shared.adapters.mail.addresses import valid_addresses
        from shared.services.mails import MailService

        return MailService(self.mails, self.projects, self.queues, valid_addresses, self.clock)

    @cached_property
    def cost_service(self) -> CostService:
        """Where the money went."""
        from shared.services.costs import CostService

        rates = self.rates if self.converts else None
        reporting = self.settings.reporting_currency or ""
        return CostService(self.projects, self.spending, self.allocations, self.clock, rates, reporting)

    @cached_property
    def total_service(self) -> TotalService:
        """What projects have used together."""
        from shared.services.totals import TotalService

        return TotalService(self.spending, self.rates, self.settings.reporting_currency)

    @cached_property
    def allocation_service(self) -> AllocationService:
        """Rules that allocate what no project owns."""
        from shared.services.allocations import AllocationService

        ledgers = (self.allocations, self.projects, self.spending)
        return AllocationService(*ledgers, self.queues, self.clock, self.converts)

    @cached_property
    def rate_service(self) -> RateService:
        """Exchange rates, for people."""
        from shared.adapters.rates.ecb import rates_in
        from shared.services.rates import RateService

        updating = (self.rates, self.rate_update, rates_in)
        return RateService(
            *updating,
            self.settings.converting,
            self.queues,
            self.projects,
            self.clock,
            self.settings.reporting_currency or "",
        )

    @cached_property
    def reconcile_service(self) -> ReconcileService:
        """Whether what is stored is what others say."""
        from shared.adapters.database.reconcile import SqlReconcile
        from shared.services.reconcile import ReconcileService

        metric = self.settings.cost_metric
        return ReconcileService(
            *(self.charges, self.export_runs, SqlReconcile(self.database)),
            {each: self._azure_costs(each) for each in CostMetric} | {metric: self.costs},
            *(metric, self.settings.lookback_days, self.clock),
        )

    @cached_property
    def export_service(self) -> ExportService:
        """Cost exports that lie in files."""
        from shared.services.exports import ExportService

        return ExportService(self.export_reader, self.settings.cost_metric, self.clock)

    @cached_property
    def focus_service(self) -> FocusService:
        """Stored charges as FOCUS files."""
        from shared.adapters.database.focus import SqlChargeStore
        from shared.adapters.exports.focus import PolarsFocus
        from shared.services.focus import FocusService

        store, writer = SqlChargeStore(self.database), PolarsFocus()
        return FocusService(self.projects, self.spending, store, writer, self.settings.cost_metric, self.clock)

    @cached_property
    def export_history(self) -> ExportHistory:
        """What became of cost exports, and who feeds."""
        from shared.services.export_history import ExportHistory

        ledgers = self.export_runs, self.projects, self.cloud_accounts
        return ExportHistory(*ledgers, self.queues, self.clock, self.settings.cost_metric)

    @cached_property
    def export_scan(self) -> ExportScan:
        """Looks for new runs of cost exports by hand."""
        from shared.services.export_scan import ExportScan

        return ExportScan(
            lambda: self.export_scanner.scan(asks=True),
            *(self.chain, self.queues, self.export_runs, self.letters, self.export_finder),
            lambda: places(self.cloud_accounts.accounts()),
        )

    @cached_property
    def sync_service(self) -> SyncService:
        """Reads all costs now."""
        from shared.services.full_sync import SyncService

        scan = (lambda: self.export_scan) if self.settings.has_exports else None
        return SyncService(self.run_service, scan, self.clock)

    @cached_property
    def export_import(self) -> ExportImport:
        """Imports cost exports at once."""
        from shared.services.export_import import ExportImport

        return ExportImport(
            ledger=self.export_runs,
            reader=self.export_reader,
            metric=self.settings.cost_metric,
            closed_on=CLOSED_ON,
            storage=self._export_storage,
            telling=self.export_telling,
            chain=self.chain,
            clock=self.clock,
        )

    def _export_storage(self) -> ExportStorage | None:
        from shared.services.export_sources import ExportStorage

        if not self.settings.has_exports:
            return None
        return ExportStorage(self.export_finder, places(self.cloud_accounts.accounts()))

    @cached_property
    def budget_service(self) -> BudgetService:
        """Revises budgets."""
        from shared.services.budgets import BudgetService

        return BudgetService(self.projects, self.queues, self.clock)

    @cached_property
    def installation(self) -> Installation:
        """Whether everything is there that the app needs."""
        from shared.adapters.database.migrate import is_current
        from shared.adapters.mail.addresses import valid_addresses
        from shared.adapters.mail.rendering import TemplateRenderer
        from shared.services.installation import ExportSetup, Installation, LockSetup, MailSetup, SealedSetup

        settings = self.settings
        exports = ExportSetup(self.export_blobs, settings.export_container, (CONTAINER, self.export_seen.name))
        return Installation(
            database=self.database.url.render_as_string(hide_password=True),
            tables_are_current=lambda: is_current(self.database),
            reads_snapshots=self.database.reads_snapshots,
            make_queues=self.queues.check,
            queue_names=list(settings.queue_names.values()),
            azure=self.azure_check,
            mail=MailSetup(
                settings.email_provider,
                settings.email_operators,
                self.mailer,
                TemplateRenderer().render,
                valid_addresses,
                self._sender_domain,
            ),
            lock=LockSetup(settings.lock_mode, settings.lock_level, settings.queue_lock, settings.lock_action_group_id),
            clock=self.clock,
            aws=self.aws_check.finding,
            exports=exports if settings.has_exports else None,
            sealed=SealedSetup(self.credentials.state, list(settings.key_ring)),
            rates=self.rate_service.finding if self.converts else None,
        )

    @cached_property
    def smoke_test(self) -> SmokeTest:
        """One of every kind of mail."""
        from shared.services.smoke_test import SmokeTest

        return SmokeTest(self.mails, self.queues, self.alert_policy, self.lock_mails, self.operators, self.clock)

    @cached_property
    def aws_check(self) -> AwsCheck:
        """Whether AWS is read, as far as that is known without asking."""
        from shared.services.aws_check import AwsCheck

        settings = self.settings

        def signs_in() -> bool:
            if settings.made_up_costs or settings.aws_role_arn:
                return True
            from shared.adapters.costs.aws_access import environment_signs_in

            return environment_signs_in()

        def has_keys(cloud_account_id: int) -> bool:
            try:
                return self.credentials.keys_of(cloud_account_id) is not None
            except NeverError:
                # There are some, which do not open: that is told by itself.
                return True

        return AwsCheck(self.projects, self.cloud_accounts, has_keys, signs_in)

    @cached_property
    def azure_check(self) -> AzureCheck:
        """Whether Azure does what the settings need of it."""
        from shared.services.azure_check import AzureCheck, Need

        settings = self.settings
        locks, action_group = settings.lock_mode is LockMode.ENFORCE, settings.lock_action_group_id
        needs = [] if settings.made_up_costs else [Need("costs", COSTS)]
        needs += [Need("budgets", BUDGETS)] if action_group else []
        needs += [Need("locks", LOCKS, by_group=True)] if locks else []
        needs += [Need("machines", MACHINES, by_group=True)] if locks and settings.lock_stop_compute else []
        return AzureCheck(
            projects=self.projects,
            cloud_accounts=self.cloud_accounts,
            costs=self.costs,
            rights=self.azure_rights,
            endpoint="USE_MADE_UP_COSTS" if settings.made_up_costs else settings.management_endpoint,
            needs=needs,
            action_group=(_group_of(action_group), ACTION_GROUPS) if action_group else None,
            clock=self.clock,
        )

    def _project_id(self, acronym: str) -> int | None:
        return self.projects.find(acronym)

    @property
    def _queue_opener(self) -> QueueOpener:
        settings = self.settings
        if settings.storage_connection is not None:
            return by_connection_string(settings.storage_connection.get_secret_value())
        return by_identity(str(settings.storage_queue_uri), settings.storage_client_id or settings.client_id)

    @property
    def _sender_domain(self) -> str:
        return (self.settings.email_sender or OUTBOX_SENDER).rpartition("@")[2]


def _group_of(resource_id: str) -> ResourceGroup:
    """The resource group that a resource is in."""
    _, _, subscription_id, _, group, *_ = resource_id.split("/")
    return ResourceGroup(subscription_id, group)


def _see_file(engine: Engine) -> None:
    from shared.adapters.database.migrate import see_file

    see_file(engine)
