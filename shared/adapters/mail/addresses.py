"""Which texts are mail addresses."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from shared.domain.texts import is_one_line


def valid_addresses(texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The valid addresses, in their order and each once, and the others with the reason.

    `Ann Lee <ann@corp.ca>` counts as `ann@corp.ca`. Internal domains (`corp.local`) and those reserved for
    examples are taken; nothing is looked up in the DNS. A domain without a period is not taken: it is nearly
    always a slip (`ann@gmail`). Domains come back in small ASCII letters (IDNA); before the @, only ASCII is
    taken, since neither SendGrid nor most mail servers deliver to anything else.
    """
    valid: dict[str, None] = {}
    invalid = []
    for text in texts:
        address, reason = _read(text)
        if reason is None:
            valid[address] = None
        else:
            invalid.append((text, reason))
    return tuple(valid), tuple(invalid)


def _read(text: str) -> tuple[str, str | None]:
    """The address and None, or a reason why there is none."""
    if not text.strip():
        return "", "it is blank"
    if not is_one_line(text):
        return "", "it holds a line break or another control character"
    return _parsed(text.strip())


def _parsed(text: str) -> tuple[str, str | None]:
    from email_validator import EmailNotValidError, validate_email

    _take_internal_domains()
    try:
        found = validate_email(
            text, check_deliverability=False, test_environment=True, allow_smtputf8=False, allow_display_name=True
        )
    except EmailNotValidError as error:
        return "", str(error)
    return found.ascii_email or found.normalized, None


@cache
def _take_internal_domains() -> None:
    """Takes `.local` off the library's list of names that it refuses; its README names the list as the way."""
    import email_validator

    # Two mails may be the first at the same time; the second finds it gone.
    with suppress(ValueError):
        email_validator.SPECIAL_USE_DOMAIN_NAMES.remove("local")
