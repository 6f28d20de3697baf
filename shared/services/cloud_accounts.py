"""Cloud accounts: where costs are read from, looked at and added."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.domain.texts import is_one_line, readable
from shared.ports.azure import AZURE
from shared.ports.blobs import BlobStore
from shared.ports.cloud_accounts import CloudAccount, CloudAccountLedger
from shared.ports.errors import GoneError, LaterError, NeverError
from shared.services.errors import RequestError

CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](-?[a-z0-9])+")
LONGEST_PLACE = 200


@dataclass(frozen=True, slots=True)
class CloudAccountService:
    """blobs: where exports lie; None where that is not set. Raises LaterError where the database is away."""

    ledger: CloudAccountLedger
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
        found = self.ledger.get(self.ledger.add_exports(AZURE, at))
        if found is None:
            raise RequestError(f"the cloud account of {readable(at)} is gone")
        return found

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
