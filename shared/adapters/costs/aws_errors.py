"""What AWS's errors mean: later or never, told by their codes, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.adapters.retry_after import wait_in
from shared.domain.texts import readable
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError, NoAnswerError, UntilMendedError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

LONGEST_WORDS = 300
# The same fault has other names in each of AWS's protocols.
THROTTLED = re.compile(r"Throttl|LimitExceeded|TooManyRequests|RequestRateTooLarge|SlowDown|BandwidthLimit")
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
UNKNOWN_KEY = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure"})
SIGNATURE = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"})
SKEWED_CODE = frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture", "InvalidSignatureTime"})
SKEWED = re.compile(r"signature (has )?(not yet current|expired)|now (earlier|later) than|skew", re.IGNORECASE)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"})
# Both say that the pages so far and the next one no longer belong together.
STALE = frozenset({"RequestChangedException", "InvalidNextTokenException"})
# What they refuse is the days that are asked for.
OF_ONE_QUERY = frozenset({"BillExpirationException", "ValidationException"})
PASSING = frozenset({"IDPCommunicationError", "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"})
# Seen: "User not enabled for cost explorer access" (aws-samples/aws-cost-explorer-report #15); "Linked account doesn't
# have access to cost explorer", where the management account's preferences bar its members.
BARRED = re.compile(r"(linked|member) account.*(access|enabled)", re.IGNORECASE)
NOT_ENABLED = re.compile(r"not (been )?enabled|isn't enabled|never enabled|enable cost explorer", re.IGNORECASE)
OF_EXPLORER = re.compile("cost explorer", re.IGNORECASE)
# No certificate of whom we know, or no file of those.
DISTRUSTED = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|No such file|Permission denied|doesn.t match|PEM|no certificate", re.IGNORECASE
)
NOT_SIGNED_UP = (
    "The account has not signed up for this service. Where it is Cost Explorer, open that once in the AWS console, in "
    "the management account where there is an organization; data comes up to 24 hours later."
)
WHAT_TO_DO: Mapping[str, str] = {
    "InvalidIdentityToken": "Check the identity provider in IAM (its URL and audience), and AWS_WEB_IDENTITY_AUDIENCE.",
    "IDPRejectedClaim": "The token of the app's identity is refused by its provider: sign in anew, and check both.",
    "OptInRequired": NOT_SIGNED_UP,
    "SubscriptionRequiredException": NOT_SIGNED_UP,
    "BillExpirationException": "Its bill has expired: AWS answers for 13 months at most.",
    "BillingViewHealthStatusException": "Its billing view is not healthy: look at it in AWS's console.",
}


class StaleError(Exception):
    """The next page is refused because it no longer belongs to those before: the answer has to begin anew."""


class ExpiredError(LaterError):
    """What we signed in with has expired meanwhile; the next try signs in anew."""


class RefusedKeysError(NeverError):
    """AWS does not take what signs: it was rotated, switched off or deleted, or its secret is another one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What AWS is asked for, for its refusals to say.

    what: as in `AWS refuses to …`. signed_by: whose keys sign it. to_do: what to check where AWS denies it. if_unknown:
    where it does not know the keys.
    """

    what: str
    signed_by: str
    to_do: str
    if_unknown: str = ""


@contextmanager
def refusals(asked: Asked, clock: Clock) -> Iterator[None]:
    """Turns whatever comes of asking AWS inside, and of reading its answer there, into a LaterError, a NeverError or a
    StaleError.

    None has a cause: botocore quotes what was signed, and answers that hold secrets.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refusal(error, asked, clock) from None
    except (BotoCoreError, OSError) as error:
        raise _silence(error, asked) from None
    except (ResponseParserError, LookupError, TypeError, ValueError, AttributeError):
        # The last four where a field is missing, or of another kind.
        raise LaterError(f"AWS was asked to {asked.what}, but its answer can't be read.") from None


def _refusal(error: ClientError, asked: Asked, clock: Clock) -> Exception:
    # Where the body is no error of AWS's (a proxy's page), botocore takes the status for the code.
    code = str(error.response.get("Error", {}).get("Code") or "")
    message = str(error.response.get("Error", {}).get("Message") or "")
    known = _known(code, message, asked)
    if known is not None:
        return known
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode") or 0)
    said = _said(code, message)
    if THROTTLED.search(code) or status == 429:
        wait = wait_in(str(meta.get("HTTPHeaders", {}).get("retry-after") or ""), clock())
        return LaterError(f"AWS asks us to wait before we ask it to {asked.what}: {said}", wait)
    if status >= 500 or status == 408 or code in PASSING:
        wait = wait_in(str(meta.get("HTTPHeaders", {}).get("retry-after") or ""), clock())
        return LaterError(f"AWS can't {asked.what} at the moment: {said}", wait)
    to_do = asked.to_do if code in DENIED else WHAT_TO_DO.get(code, "")
    refusal = NoAnswerError if code in OF_ONE_QUERY else NeverError
    return refusal(f"AWS refuses to {asked.what}: {said} {to_do}".rstrip())


def _known(code: str, message: str, asked: Asked) -> Exception | None:
    """What a code means whatever its status is."""
    if code in STALE:
        return StaleError(_said(code, message))
    if code in EXPIRED:
        return ExpiredError(f"What signs us in to AWS ({asked.signed_by}) has expired; the next try signs in anew.")
    if code in SKEWED_CODE or (code in SIGNATURE and SKEWED.search(message)):
        return UntilMendedError(CLOCK)
    if code == "DataUnavailableException":
        return LaterError(f"AWS can't {asked.what} yet: {PREPARING}")
    why = _why_refused(code, asked)
    if why:
        return RefusedKeysError(why)
    why = _why_never(code, message, asked)
    return NeverError(why) if why else None


CLOCK = "The clocks here and at AWS differ by more than five minutes, so that AWS refuses what we sign. Set ours."
PREPARING = "it is still preparing the data, which takes up to 24 hours after Cost Explorer was enabled."
NEW_KEYS = "`cloud-accounts keys` takes new ones."


def _why_refused(code: str, asked: Asked) -> str:
    if code in SIGNATURE:
        whose = f"{asked.signed_by}: the secret does not belong to the access key"
        return f"AWS refuses what is signed by {whose}. {NEW_KEYS}"
    if code in UNKNOWN_KEY:
        why = f"AWS does not know {asked.signed_by}: rotated, switched off or deleted there. {NEW_KEYS}"
        return f"{why} {asked.if_unknown}".rstrip()
    return ""


def _why_never(code: str, message: str, asked: Asked) -> str:
    if code == "RegionDisabledException":
        todo = "Activate it in the account settings of IAM."
        return f"AWS refuses to {asked.what}: STS is switched off in that region. {todo}"
    to_do = _of_explorer(message) if code in DENIED else ""
    return f"AWS refuses to {asked.what}: {to_do}" if to_do else ""


def _of_explorer(message: str) -> str:
    """What keeps Cost Explorer from answering, whatever the role may do."""
    if not OF_EXPLORER.search(message):
        return ""
    if BARRED.search(message):
        return (
            "the management account of its organization keeps Cost Explorer from its members. Allow it there, in the "
            "preferences of Cost Management; no policy of the role helps."
        )
    if NOT_ENABLED.search(message):
        return (
            "Cost Explorer was never enabled there. Open it once in the AWS console, in the management account where "
            "there is an organization; data comes up to 24 hours later."
        )
    return ""


def _said(code: str, message: str) -> str:
    """AWS's words, as a sentence."""
    said = readable(": ".join(filter(None, [code, message])), LONGEST_WORDS)
    return said if said.endswith((".", "…", "!")) else f"{said}."


def _silence(error: BotoCoreError | OSError, asked: Asked) -> LaterError | NeverError:
    from botocore import exceptions as theirs

    if isinstance(error, theirs.NoCredentialsError | theirs.PartialCredentialsError | theirs.CredentialRetrievalError):
        return NeverError(
            "There is nothing to sign in to AWS with: set AWS_ROLE_ARN and AWS_WEB_IDENTITY_AUDIENCE, or give the "
            "cloud account access keys (`cloud-accounts keys`); on your own machine, sign in with `aws`."
        )
    if isinstance(error, theirs.SSLError):
        return _without_tls(str(error), asked)
    if isinstance(error, theirs.ConnectTimeoutError | theirs.EndpointConnectionError | theirs.ProxyConnectionError):
        return LaterError(f"AWS was asked to {asked.what}, but it is out of reach ({type(error).__name__}).")
    if isinstance(error, theirs.HTTPClientError) and isinstance(error.kwargs.get("error"), ValueError):
        # Ours are right. Its words may hold the proxy's password.
        return UntilMendedError(f"AWS can't be asked to {asked.what}: HTTPS_PROXY or HTTP_PROXY is no proxy's address.")
    if isinstance(error, theirs.HTTPClientError | theirs.ReadTimeoutError | theirs.ResponseStreamingError | OSError):
        return LaterError(
            f"AWS was asked to {asked.what}, but it did not answer in time, or not to the end ({type(error).__name__})."
        )
    return NeverError(f"AWS can't be asked to {asked.what}: {readable(str(error), LONGEST_WORDS)}")


def _without_tls(words: str, asked: Asked) -> LaterError:
    said = f"AWS was asked to {asked.what}, but there is no safe connection to it: {_said('', words)}"
    if not DISTRUSTED.search(words):
        return LaterError(said)
    return UntilMendedError(
        f"{said} Where a proxy reads what is sent, AWS_CA_BUNDLE has to name a file with its certificate; otherwise "
        "leave that, and REQUESTS_CA_BUNDLE, out."
    )
