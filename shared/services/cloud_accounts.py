"""Cloud accounts: where costs are read from, looked at, added, disabled and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from shared.domain.texts import is_one_line, is_seen, odd, readable
from shared.pipeline.exports.places import export_accounts
from shared.ports.azure import AZURE
from shared.ports.blobs import BlobStore
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.errors import GoneError, LaterError, NeverError
from shared.services.errors import RequestError, UnknownError
from shared.services.reasons import given_reason

CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](-?[a-z0-9])+")
LONGEST_PLACE, LONGEST_ORGANIZATION = 200, 100


@dataclass(frozen=True, slots=True)
class Fed:
    """A cloud account, and the ids of the sub-accounts that it feeds. comes_back: by what it is made anew once it is
    removed, in a sentence; None where only a person does.
    """

    account: CloudAccount
    sub_accounts: tuple[str, ...]
    comes_back: str | None


@dataclass(frozen=True, slots=True)
class CloudAccountService:
    """container: the one that registers itself (COST_EXPORT_CONTAINER). blobs: where exports lie; None where that is
    not set. Raises LaterError where the database is away, and RequestError where there is no cloud account of an id.
    """

    ledger: CloudAccountLedger
    clock: Clock
    container: str
    blobs: BlobStore | None = None

    def accounts(self) -> list[CloudAccount]:
        """The cloud accounts, by provider and name, in any case."""
        return sorted(self.ledger.accounts(), key=lambda each: (each.provider, each.name.casefold(), each.id))

    def add_exports(self, place: str) -> CloudAccount:
        """The cloud account of a container (or a folder in it, as `container/folder`) with cost exports.

        Raises RequestError for what is no place, and for a container that is not there.
        """
        container, _, folder = place.strip().strip("/").partition("/")
        if not CONTAINER.fullmatch(container) or len(place) > LONGEST_PLACE or not is_one_line(place):
            said = "a container's name, of 3 to 63 lower-case letters, digits and single hyphens, and perhaps a folder"
            raise RequestError(f"{readable(place)} is no place of exports: write {said} behind it, such as costs/aws")
        at = "/".join(filter(None, (container, folder.strip("/"))))
        self._refuse_missing(container)
        with noted(Change(Action.CLOUD_ACCOUNT_ADDED, f"exports in {at}", self.clock())):
            made = self.ledger.add_exports(AZURE, at)
        found = self.ledger.get(made)
        if found is None:
            raise RequestError(f"the cloud account of {readable(at)} is gone")
        return found

    def shown(self, cloud_account_id: int) -> Fed:
        """A cloud account, what it feeds, and what brings it back."""
        account = self.ledger.get(cloud_account_id)
        if account is None:
            raise UnknownError(f"there is no cloud account {cloud_account_id}; `cloud-accounts list` shows them")
        return Fed(account, tuple(self.ledger.fed_by(account.id)), self._comes_back(account))

    def set_organization(self, cloud_account_id: int, organization: str) -> Fed:
        """Groups it with others under this text. Raises RequestError for what is no line."""
        known, text = self.shown(cloud_account_id), given_organization(organization)
        with self._noted(Action.CLOUD_ACCOUNT_CHANGED, known.account, details={"organization": text}):
            self.ledger.set_organization(known.account.id, text)
        return self.shown(known.account.id)

    def disable(self, cloud_account_id: int, by: str, reason: str = "") -> Fed:
        """Nothing is read from it from now on. Raises RequestError where that is so already."""
        account = self.shown(cloud_account_id).account
        if account.status is AccountStatus.DISABLED:
            raise RequestError(f"cloud account {cloud_account_id} is disabled already")
        why = given_reason(reason) if reason else ""
        with self._noted(Action.CLOUD_ACCOUNT_DISABLED, account, why):
            text = f"by {by} on {self.clock():%Y-%m-%d}" + (f": {why}" if why else "")
            self.ledger.disable(cloud_account_id, text)
        return self.shown(cloud_account_id)

    def enable(self, cloud_account_id: int) -> Fed:
        """It is read again.

        Raises RequestError where it is not disabled, there is nothing to be read, or another reads it by now.
        """
        account = self.shown(cloud_account_id).account
        if account.is_of_files:
            raise RequestError(
                f"cloud account {account.id} stands for files imported by hand: nobody can look for more"
            )
        if account.status is not AccountStatus.DISABLED:
            raise RequestError(f"cloud account {account.id} is not disabled")
        refuse_read_already(self.ledger, account)
        with self._noted(Action.CLOUD_ACCOUNT_ENABLED, account):
            self.ledger.enable(account.id)
        return self.shown(account.id)

    def remove(self, cloud_account_id: int) -> None:
        """Takes it away, and nothing that is stored. Raises RequestError for that of files while it feeds something."""
        known = self.shown(cloud_account_id)
        if known.account.is_of_files and known.sub_accounts:
            raise RequestError(
                f"cloud account {cloud_account_id} stands for what was imported by hand or from a cloud account that "
                "was removed, and feeds sub-accounts; `exports use` gives those to another"
            )
        with self._noted(Action.CLOUD_ACCOUNT_REMOVED, known.account):
            self.ledger.remove(cloud_account_id)

    def _noted(
        self, action: Action, account: CloudAccount, reason: str = "", details: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[list[Change]]:
        return noted(Change(action, account.in_words, self.clock(), reason=reason, details=details or {}))

    def _comes_back(self, account: CloudAccount) -> str | None:
        if account.is_of_files:
            return "The next file that is imported by hand makes it anew."
        if account.connection_type == ConnectionType.COST_MANAGEMENT:
            return "The next load of a project that names the subscription makes it anew."
        others = [each for each in export_accounts(self.ledger.accounts()) if each.id != account.id]
        if self.blobs and not others and account.external_account_id == self.container:
            return (
                "CostExportScanner makes it anew within the day: COST_EXPORT_CONTAINER names it, and there is no other."
            )
        return None

    def _refuse_missing(self, container: str) -> None:
        """One that can't be read yet, or now, is taken: the role may come later."""
        if self.blobs is None:
            return
        try:
            next(iter(self.blobs.listed(container)), None)
        except GoneError as error:
            raise RequestError(error.reason) from error
        except (LaterError, NeverError):
            return


def refuse_read_already(
    ledger: CloudAccountLedger,
    account: CloudAccount,
    has_left: Callable[[CloudAccount, str], bool] = lambda _payer, _account: False,
) -> None:
    """Raises RequestError, with who reads it, for one AWS account that another cloud account reads, or will read.

    has_left: whether a night would leave it to another. What exports feed an order gives to whoever can be asked.
    """
    if account.connection_type != ConnectionType.COST_EXPLORER or account.is_organization:
        return
    wanted, others = account.external_account_id, [each for each in ledger.accounts() if each.id != account.id]
    # One that names it will read it, though it has read nothing yet.
    naming = (each for each in others if wanted in (each.reads or ()) and each.status is not AccountStatus.DISABLED)
    feeding = (by for by in feeding_others(ledger, account, [wanted]).values() if not _is_of_exports(by))
    for by in (*naming, *(each for each in feeding if not has_left(each, wanted))):
        raise RequestError(
            f"AWS account {wanted} is read already, by cloud account {by.id} ({by.name}): disable or remove that one "
            "first, or leave it so"
        )


def feeding_others(ledger: CloudAccountLedger, account: CloudAccount, ids: list[str]) -> dict[str, CloudAccount]:
    """Of these sub-accounts those that another cloud account feeds, with that; exports feed whoever is disabled."""
    found = {each: ledger.feeding(account.provider, each) for each in ids}
    return {
        each: by
        for each, by in found.items()
        if by and by.id != account.id and (by.status is not AccountStatus.DISABLED or _is_of_exports(by))
    }


def _is_of_exports(account: CloudAccount) -> bool:
    return account.connection_type == ConnectionType.COST_EXPORT


def given_organization(text: str) -> str:
    """The text by which a person groups cloud accounts. Raises RequestError for what is no line, or too long."""
    organization = text.strip()
    if not organization or not is_seen(organization) or len(organization) > LONGEST_ORGANIZATION:
        raise RequestError(
            f"'{readable(organization, 40)}' is no organization: write a line of at most {LONGEST_ORGANIZATION} "
            f"characters, such as a department's name{odd(organization)}"
        )
    return organization
