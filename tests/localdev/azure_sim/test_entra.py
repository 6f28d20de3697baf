"""Tokens as a careful receiver checks them: with PyJWT, over HTTP, against the published keys."""

import json
from urllib.request import urlopen

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


def test_the_keys_are_public_and_rotate(running):
    sim = running()
    before = sim.entra.token(AUDIENCE)
    sim.entra.rotate()
    after = sim.entra.token(AUDIENCE, tenant="other", app_id="me", roles=())

    with urlopen(f"{sim.url}/{TENANT}/v2.0/.well-known/openid-configuration", timeout=20) as answer:
        metadata = json.load(answer)
    client = jwt.PyJWKClient(metadata["jwks_uri"])
    both = [
        jwt.decode(one, client.get_signing_key_from_jwt(one), ["RS256"], audience=AUDIENCE) for one in (before, after)
    ]
    sim.entra.rotate(keep_old=False)

    assert metadata["issuer"] == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert [(claims["tid"], claims["roles"]) for claims in both][1] == ("other", [])
    with pytest.raises(jwt.PyJWKClientError):
        jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(after)
