"""The decisions that the tests of rights rest on, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from billing_lake_tests.infra.policies import Asked, UnknownPolicyError, allows, like

ROLE = "arn:aws:iam::123456789012:role/dagster"
BUCKET, OBJECT = "arn:aws:s3:::lake", "arn:aws:s3:::lake/tables/a.parquet"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any = "s3:GetObject", resource: Any = OBJECT, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:GetObject", resource: Any = OBJECT, **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def asked(action: str = "s3:GetObject", resource: str = OBJECT, **context: str) -> Asked:
    keys = {key.replace("__", ":"): value for key, value in context.items()}
    return Asked(ROLE, action, resource, keys)


INSECURE = {"Bool": {"aws:SecureTransport": "false"}}
ANYBODY = {"AWS": "*"}


@pytest.mark.parametrize(
    ("statements", "request_", "allowed"),
    [
        ([], asked(), False),
        ([allow()], asked(), True),
        ([allow()], asked("s3:PutObject"), False),
        ([allow()], asked(resource=BUCKET), False),
        ([allow("S3:getobject")], asked(), True),
        ([allow(["s3:PutObject", "s3:Get*"])], asked(), True),
        ([allow("s3:Get*")], asked("s3:ListBucket"), False),
        ([allow("*", "*")], asked("glue:GetTable", "arn:aws:glue:x:1:catalog"), True),
        ([allow(resource=f"{BUCKET}/*")], asked(), True),
        ([allow(resource=f"{BUCKET}/*")], asked(resource=BUCKET), False),
        ([allow(resource=f"{BUCKET}/TABLES/*")], asked(), False),
        ([allow(resource=f"{BUCKET}/tables/?.parquet")], asked(), True),
        ([allow(resource=f"{BUCKET}/tables/??.parquet")], asked(), False),
        ([allow(resource=f"{BUCKET}/*"), deny()], asked(), False),
        ([deny(), allow(resource=f"{BUCKET}/*")], asked(), False),
        ([allow(), deny("s3:PutObject")], asked(), True),
        ([allow(Condition={"StringEquals": {"a:b": "x"}})], asked(a__b="x"), True),
        ([allow(Condition={"StringEquals": {"a:B": ["x", "y"]}})], asked(a__b="y"), True),
        ([allow(Condition={"StringEquals": {"a:b": "x"}})], asked(a__b="X"), False),
        ([allow(Condition={"StringEquals": {"a:b": "x"}})], asked(), False),
        ([allow(Condition={"StringEquals": {"a:b": "x*"}})], asked(a__b="xy"), False),
        ([allow(Condition={"StringLike": {"a:b": "x*"}})], asked(a__b="xy"), True),
        (
            [allow(Condition={"StringEquals": {"a:b": "x"}, "ArnLike": {"a:c": "arn:*"}})],
            asked(a__b="x", a__c="other"),
            False,
        ),
        (
            [allow(Condition={"StringEquals": {"a:b": "x", "a:c": "y"}})],
            asked(a__b="x"),
            False,
        ),
        ([allow(Condition={"ArnEquals": {"a:b": "arn:1"}})], asked(a__b="arn:1"), True),
        ([allow(), deny(Condition=INSECURE)], asked(), True),
        ([allow(), deny(Condition=INSECURE)], Asked(ROLE, "s3:GetObject", OBJECT), True),
        (
            [allow(), deny(Condition=INSECURE)],
            Asked(ROLE, "s3:GetObject", OBJECT, {"aws:securetransport": "false"}),
            False,
        ),
        (
            [allow(), deny(Condition={"Bool": {"aws:SecureTransport": False}})],
            Asked(ROLE, "s3:GetObject", OBJECT, {"aws:securetransport": "false"}),
            False,
        ),
    ],
)
def test_the_policies_of_a_role_decide(
    statements: list[dict[str, Any]], request_: Asked, *, allowed: bool
) -> None:
    assert allows(request_, [policy(*statements)]) is allowed
    assert allows(request_, [policy(one) for one in statements]) is allowed


@pytest.mark.parametrize(
    ("of_role", "of_bucket", "allowed"),
    [
        ([], [allow(Principal=ANYBODY)], True),
        ([], [allow(Principal={"AWS": ROLE})], True),
        ([], [allow(Principal={"AWS": "arn:aws:iam::123456789012:role/other"})], False),
        ([], [allow(Principal={"Service": "delivery.logs.amazonaws.com"})], False),
        ([allow()], [deny(Principal="*")], False),
        ([allow()], [deny(Principal={"Service": "delivery.logs.amazonaws.com"})], True),
        ([allow()], [deny(Principal=ANYBODY, Condition=INSECURE)], True),
    ],
)
def test_the_policy_of_a_bucket_adds_to_it_and_takes_away(
    of_role: list[dict[str, Any]], of_bucket: list[dict[str, Any]], *, allowed: bool
) -> None:
    assert allows(asked(), [policy(*of_role)], [policy(*of_bucket)]) is allowed


@pytest.mark.parametrize(
    "unknown",
    [
        {"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "*"},
        {"Effect": "Allow", "Action": "s3:GetObject"},
        {"Effect": "allow", "Action": "s3:GetObject", "Resource": "*"},
        allow(Principal="*"),
        allow(resource="arn:aws:s3:::lake/${aws:username}/*"),
        allow(Condition={"NumericLessThan": {"s3:max-keys": "10"}}),
        allow(Condition={"StringEqualsIfExists": {"a:b": "x"}}),
        allow(Condition={"StringEquals": {"a:b": "${aws:username}"}}),
        # It would not matter to this request: another action.
        allow("s3:PutObject", Condition={"Null": {"a:b": "true"}}),
    ],
)
def test_what_is_not_known_is_never_guessed(unknown: dict[str, Any]) -> None:
    with pytest.raises(UnknownPolicyError):
        allows(asked(a__b="x"), [policy(allow(), unknown)])


@pytest.mark.parametrize(
    "document",
    [
        {"Version": "2008-10-17", "Statement": []},
        {"Statement": []},
        {"Version": "2012-10-17", "Statement": [], "More": 1},
    ],
)
def test_a_policy_of_another_version_is_not_judged(document: dict[str, Any]) -> None:
    with pytest.raises(UnknownPolicyError):
        allows(asked(), [document])


@pytest.mark.parametrize(
    "principal",
    [
        {"Federated": "x"},
        {"AWS": "123456789012"},
        {"AWS": "arn:aws:iam::1:user/x", "CanonicalUser": "x"},
    ],
)
def test_a_principal_of_another_kind_is_not_judged(principal: dict[str, str]) -> None:
    with pytest.raises(UnknownPolicyError):
        allows(asked(), [], [policy(allow(Principal=principal))])


def test_characters_of_regular_expressions_stand_for_themselves() -> None:
    assert like("a.b+(c)*", "a.b+(c)d")
    assert not like("a.b", "axb")
    assert like("a*", "a\nb")
