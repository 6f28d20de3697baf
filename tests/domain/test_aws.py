import pytest

from shared.domain.aws import AwsNameError, parse_account, parse_external_id, parse_role


def test_a_role_says_its_partition_and_account() -> None:
    role = parse_role("arn:aws-cn:iam::123456789012:role/costs/budget-warden")
    assert (role.partition.name, role.partition.region, role.account) == ("aws-cn", "cn-northwest-1", "123456789012")
    assert parse_role("arn:aws:iam::123456789012:role/w").partition.region == "us-east-1"
    assert parse_role("arn:aws-eusc:iam::123456789012:role/w").partition.region == "eusc-de-east-1"


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:iam::123456789012:role/warden\n", "is no role"),
        ("arn:aws:iam::123456789012:role/war\nden", "is no role"),
        ("arn:aws:iam::12345678901:role/warden", "is no role"),
        ("arn:aws:iam::123456789012:user/warden", "is no role"),
        ("arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/warden", "is no role"),
        ("", "is no role"),
        ("arn:aws-us-gov:iam::123456789012:role/warden", "its costs are in the standard AWS account"),
        ("arn:aws-iso:iam::123456789012:role/warden", "aws-iso is no partition"),
    ],
)
def test_what_is_no_role_is_refused_in_a_sentence_of_one_line(arn: str, said: str) -> None:
    with pytest.raises(AwsNameError, match=said) as caught:
        parse_role(arn)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("{} ", "; it ends with a blank"),
        (" {} ", "; it begins and ends with a blank"),
        ("{}\n", "; it holds U+000A (a line break)"),
        ("{}\t", "; it holds U+0009 (a tab)"),
        ("{}\x1b", "; it holds U+001B (a control character)"),
        ("\u200b{}", "; it holds U+200B (ZERO WIDTH SPACE)"),
        ("{}\u00a0", "; it holds U+00A0 (NO-BREAK SPACE)"),
    ],
)
def test_what_nobody_sees_in_a_name_is_said(text: str, odd: str) -> None:
    arn, account = "arn:aws:iam::123456789012:role/budget-warden", "123456789012"
    for parse, right in ((parse_role, arn), (parse_account, account), (parse_external_id, "warden-1")):
        with pytest.raises(AwsNameError) as caught:
            parse(text.format(right))
        assert str(caught.value).endswith(odd)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [None, "", "x", " ab", "ab\n", "a b", "a" * 1225, "ä-ö"])
def test_an_external_id_that_aws_does_not_take_is_refused(text: str | None) -> None:
    with pytest.raises(AwsNameError, match=r"2 to 1,224 letters, digits"):
        parse_external_id(text)


def test_an_external_id_may_hold_what_aws_lets_it() -> None:
    for text in ("ab", "a" * 1224, "warden_1+=,.@:/-"):
        assert parse_external_id(text) == text


@pytest.mark.parametrize("text", ["", "12345678901", "1234567890123", "12345678901a", "123456789012\n"])
def test_an_account_has_twelve_digits(text: str) -> None:
    with pytest.raises(AwsNameError, match="twelve digits"):
        parse_account(text)
    assert parse_account("012345678901") == "012345678901"
