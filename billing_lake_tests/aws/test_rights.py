"""The list of rights is that of the documentation; every end-to-end test on AWS holds it against the calls (`make_aws_lake`)."""

from __future__ import annotations

from pathlib import Path

import pytest

import billing_lake
from billing_lake.aws.clients import AwsClients
from billing_lake.aws.rights import RIGHTS, rights_table
from billing_lake_tests.aws.rights import only_listed_rights
from billing_lake_tests.servers.aws import Aws

DEPLOYMENTS = Path(billing_lake.__file__).parents[1] / "docs" / "deployments.md"


def test_the_documentation_has_the_table_of_rights_that_the_list_makes() -> None:
    assert rights_table() in DEPLOYMENTS.read_text(encoding="utf-8")


def test_no_right_is_listed_twice() -> None:
    listed = [(right.resource, one) for right in RIGHTS for one in right.actions]
    assert len(listed) == len(set(listed))


def test_a_call_that_no_listed_right_allows_is_found(aws: Aws, aws_environment: object) -> None:
    with only_listed_rights() as used:
        AwsClients(aws.region).client("glue").get_databases()
    assert used == {"glue:GetDatabases"}
    with pytest.raises(AssertionError), only_listed_rights():
        AwsClients(aws.region).client("s3").list_buckets()
