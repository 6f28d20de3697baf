"""Tokens as a careful receiver checks them: with PyJWT, over HTTP, against the published keys."""

import jwt
import pytest

from localdev.azure_sim.entra import TENANT, Entra

AUDIENCE = "api://warden"


@pytest.fixture(scope="module")
def issuing():
    """One Entra for the tests that don't rotate its keys, which take long to make."""
    return Entra()


def checked(token, entra, **expected):
    """The claims of a token that passes PyJWT's checks against the published keys."""
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(entra.public_keys()).keys}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, **expected)


@pytest.mark.parametrize(
    ("version", "issuer", "application"),
    [
        (1, f"https://sts.windows.net/{TENANT}/", "appid"),
        (2, f"https://login.microsoftonline.com/{TENANT}/v2.0", "azp"),
    ],
)
def test_both_versions_pass_the_checks_with_their_own_claims(issuing, version, issuer, application):
    claims = checked(issuing.token(AUDIENCE, version=version), issuing, issuer=issuer)

    assert claims[application] == "461e8683-5575-4561-ac7f-899cc907d62a"
    assert (claims["roles"], claims["tid"]) == (["ActionGroupsSecureWebhook"], TENANT)


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"audience": "api://other"}, jwt.InvalidAudienceError),
        ({"issuer": "https://evil.example"}, jwt.InvalidIssuerError),
        ({"expires_in": -10}, jwt.ExpiredSignatureError),
        ({"algorithm": "none"}, jwt.InvalidAlgorithmError),
        ({"algorithm": "HS256"}, jwt.InvalidAlgorithmError),
        ({"exp": None}, jwt.MissingRequiredClaimError),
    ],
)
def test_it_mints_tokens_that_have_to_be_refused(issuing, wrong, refusal):
    token = issuing.token(**{"audience": AUDIENCE, **wrong})

    with pytest.raises(refusal):
        checked(token, issuing, issuer=f"https://sts.windows.net/{TENANT}/", options={"require": ["exp"]})


def test_another_entra_has_the_same_key_id_and_another_key(issuing):
    with pytest.raises(jwt.InvalidSignatureError):
        checked(Entra().token(AUDIENCE), issuing)
