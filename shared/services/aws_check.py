"""Whether AWS is read as projects need it, as far as that is known without asking, which is paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.aws import AWS
from shared.domain.projects import Scope
from shared.domain.texts import named
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.projects import ProjectLedger
from shared.services.findings import Finding

PART = "AWS"
ADD_AWS = "`cloud-accounts add aws` makes one that does (docs/aws.md)"


@dataclass(frozen=True, slots=True)
class AwsCheck:
    """has_keys: whether we hold access keys of a cloud account. signs_in: whether anything else signs in to AWS."""

    projects: ProjectLedger
    cloud_accounts: CloudAccountLedger
    has_keys: Callable[[int], bool]
    signs_in: Callable[[], bool]

    def finding(self) -> Finding | None:
        """How it is; None where nobody has anything at AWS."""
        explorers = [each for each in self.cloud_accounts.accounts() if _is_asked(each)]
        entries = (entry for entry in self.projects.entries() if entry.project.active)
        unread = unread_accounts(self.cloud_accounts, ((each.project.acronym, each.scopes) for each in entries))
        if not explorers and not unread:
            return None
        warnings = [*self._warnings(explorers), *([f"{unread_in_words(unread)}: {ADD_AWS}"] if unread else [])]
        return Finding(PART, True, _to_be_asked(len(explorers)), "; ".join(warnings) or None)

    def _warnings(self, explorers: Sequence[CloudAccount]) -> list[str]:
        pending = [each for each in explorers if each.status is AccountStatus.PENDING]
        if not pending:
            return []
        test = "`cloud-accounts test ID` tries one"
        found = [f"{len(pending):,} of them {'was' if len(pending) == 1 else 'were'} never read: {test}"]
        keyless = [each for each in pending if not self.has_keys(each.id)]
        if keyless and not self.signs_in():
            whose = named([f"{each.name} ({each.id})" for each in keyless])
            found.append(f"nothing signs in for {whose}: set AWS_ROLE_ARN, or give keys (`cloud-accounts keys ID`)")
        return found


def _to_be_asked(many: int) -> str:
    if not many:
        return "not asked: it has no cloud account"
    by = "1 cloud account" if many == 1 else f"{many:,} cloud accounts"
    return f"not asked, for each question is paid for; nights ask by {by}"


def unread_accounts(
    cloud_accounts: CloudAccountLedger, owners: Iterable[tuple[str, Iterable[Scope]]]
) -> Mapping[str, str]:
    """The AWS accounts that no cloud account reads, nor may turn out to, each with the acronym of its project.

    owners: acronyms of active projects, with their scopes.
    """
    found = {each.sub_account_id: acronym for acronym, scopes in owners for each in scopes if each.provider == AWS}
    if not found:
        return {}
    fed, known = cloud_accounts.fed(AWS), cloud_accounts.accounts()
    return {
        account: acronym
        for account, acronym in sorted(found.items())
        if account not in fed and not any(_may_read(each, account) for each in known)
    }


def unread_in_words(unread: Mapping[str, str]) -> str:
    """Which they are, and that nobody reads them."""
    what = "AWS account" if len(unread) == 1 else "AWS accounts"
    return f"no cloud account reads {what} {named([f'{each} ({acronym})' for each, acronym in unread.items()])}"


def _is_asked(account: CloudAccount) -> bool:
    is_explored = account.connection_type == ConnectionType.COST_EXPLORER
    return is_explored and account.status is not AccountStatus.DISABLED


def _may_read(by: CloudAccount, account: str) -> bool:
    """Whether it names the account, or nobody knows yet what it will bring."""
    if by.provider != AWS or by.status is AccountStatus.DISABLED:
        return False
    if account == by.external_account_id or account in (by.reads or ()):
        return True
    brings_others = by.is_organization and (by.reads is None or by.organizational_unit is not None)
    return by.last_synced_at is None and (brings_others or by.connection_type == ConnectionType.COST_EXPORT)
