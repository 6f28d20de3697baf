"""Whether sealed credentials open: looked at when a night begins, before anything is asked by them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.pipeline.events import event
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, mails_out
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger, ConnectionType
from shared.ports.credentials import Credentials
from shared.ports.errors import NeverError
from shared.ports.mails import MailLedger


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """credentials: loads what seals them, with the first account that may have any."""

    credentials: Callable[[], Credentials]
    cloud_accounts: CloudAccountLedger
    mails: MailLedger
    operators: Operators
    clock: Clock

    def tonight(self) -> Iterable[Outgoing]:
        """The mail to the operators where some don't open, once a day; the night goes on."""
        may_be_sealed = (
            each.connection_type == ConnectionType.COST_EXPLORER for each in self.cloud_accounts.accounts()
        )
        if not any(may_be_sealed):
            return []
        try:
            faults = self.credentials().state().faults
        except NeverError as error:
            faults = (error.reason,)
        if not faults:
            return []
        now = self.clock()
        event("credentials_not_opened", level=logging.WARNING, faults=len(faults))
        return mails_out([self.mails.add(self.operators.keys_open_nothing(faults, now.date()), now)])
