from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

PAYER = "200000000002"
ROLE, APP_ROLE = f"arn:aws:iam::{PAYER}:role/costs", "arn:aws:iam::100000000001:role/warden"


def refusal(call, **given):
    with pytest.raises(ClientError) as refused:
        call(**given)
    return refused.value.response["Error"]


def test_a_role_is_taken_on_with_its_external_id_and_reads_costs(running, charge):
    aws = running(charge())

    session = aws.take_on()
    assert len(aws.rows(client=aws.client("ce", session))) == 1
    me = aws.client("sts", session).get_caller_identity()
    assert (me["Account"], me["Arn"]) == (PAYER, f"arn:aws:sts::{PAYER}:assumed-role/costs/tests")


def test_a_role_that_asks_for_no_external_id_is_taken_on_with_any(running):
    aws = running()
    aws.sim.iam.roles[ROLE].external_id = None

    assert aws.take_on(external_id="warden-another")["AccessKeyId"]


def test_a_wrong_external_id_a_role_that_trusts_another_and_none_at_all_are_told_alike(running):
    aws = running()
    aws.sim.iam.add_role("arn:aws:iam::200000000002:role/other", trusts=["arn:aws:iam::1:user/x"], external_id="id")

    said = [
        refusal(aws.take_on, external_id="warden-another"),
        refusal(aws.take_on, role=f"arn:aws:iam::{PAYER}:role/other", external_id="id"),
        refusal(aws.take_on, role=f"arn:aws:iam::{PAYER}:role/nobody"),
    ]
    assert {each["Code"] for each in said} == {"AccessDenied"}
    assert all(" is not authorized to perform: sts:AssumeRole on resource: " in each["Message"] for each in said)


def test_a_session_ends_after_an_hour(running, charge, clock):
    aws = running(charge(), now=clock)
    session = aws.take_on()
    client = aws.client("ce", session)
    aws.page(client)
    assert timedelta(minutes=59) < session["Expiration"] - clock() <= timedelta(hours=1)
    # An hour later, as far as this session goes: clocks that are off would be refused before.
    key = aws.sim.iam.keys[session["AccessKeyId"]]
    aws.sim.iam.keys[session["AccessKeyId"]] = replace(key, until=clock() - timedelta(seconds=1))

    assert refusal(aws.page, client=client)["Code"] == "ExpiredTokenException"
    assert refusal(aws.client("sts", session).get_caller_identity)["Code"] == "ExpiredToken"


def test_a_token_of_the_apps_identity_takes_on_the_apps_role_and_from_there_the_accounts(running, charge):
    aws = running(charge())
    aws.sim.iam.tokens["eyJ.good"] = "the app"
    aws.sim.iam.add_role(APP_ROLE, trusts=["the app"])
    aws.sim.iam.add_role(ROLE, trusts=[APP_ROLE], external_id="warden-5f1d")
    by_token = aws.sts_without_keys().assume_role_with_web_identity

    session = by_token(RoleArn=APP_ROLE, RoleSessionName="warden", WebIdentityToken="eyJ.good")["Credentials"]
    taken = aws.client("sts", session).assume_role(RoleArn=ROLE, RoleSessionName="x1", ExternalId="warden-5f1d")
    aws.page(aws.client("ce", taken["Credentials"]))
    refused = {"RoleArn": APP_ROLE, "RoleSessionName": "warden"}
    assert refusal(by_token, **refused, WebIdentityToken="eyJ.other")["Code"] == "InvalidIdentityToken"
    refused["RoleArn"] = ROLE
    assert refusal(by_token, **refused, WebIdentityToken="eyJ.good")["Code"] == "AccessDenied"


def test_only_what_the_roles_policy_allows_is_answered(running, charge):
    aws = running(charge())
    aws.sim.iam.roles[ROLE].allows = frozenset({"ce:GetCostAndUsage"})
    session = aws.take_on()
    aws.page(aws.client("ce", session))

    said = refusal(aws.client("organizations", session).list_accounts)
    assert said["Code"] == "AccessDeniedException"
    assert "is not authorized to perform: organizations:ListAccounts" in said["Message"]


def test_a_signature_of_another_secret_an_unknown_key_and_a_clock_that_is_off_are_refused(running, clock):
    aws = running(now=clock)
    wrong = {"AccessKeyId": "AKIAREADER0000000001", "SecretAccessKey": "not it"}
    unknown = {"AccessKeyId": "AKIANOBODY0000000001", "SecretAccessKey": "a-secret"}

    for service, bad, missing in (
        ("sts", "SignatureDoesNotMatch", "InvalidClientTokenId"),
        ("ce", "InvalidSignatureException", "UnrecognizedClientException"),
    ):
        for keys, code in ((wrong, bad), (unknown, missing)):
            client = aws.client(service, keys)
            call = client.get_caller_identity if service == "sts" else lambda client=client: aws.page(client)
            assert refusal(call)["Code"] == code
    for ahead, words in ((6, "Signature expired"), (-6, "Signature not yet current")):
        clock.ahead = timedelta(minutes=ahead)
        assert words in refusal(aws.page)["Message"]
    clock.ahead = timedelta(minutes=4)
    aws.page()
