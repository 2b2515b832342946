"""A template is deployed whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from billing_lake_tests.infra.cloudformation import Deployment, TemplateError
from billing_lake_tests.infra.stacks import Stacks
from billing_lake_tests.servers.aws import Aws


def stacks(folder: Path, resources: dict[str, Any]) -> Stacks:
    made = Stacks(folder, folder.name)
    (folder / f"{made.name}-part.template.json").write_text(json.dumps({"Resources": resources}))
    (folder / f"{made.name}-part.assets.json").write_text(json.dumps({"files": {}}))
    return made


def test_a_type_that_is_not_supported_fails_the_deployment(aws: Aws, tmp_path: Path) -> None:
    resources = {"Unknown": {"Type": "AWS::DataZone::Domain", "Properties": {"Name": "a"}}}
    with pytest.raises(TemplateError, match="DataZone"):
        Deployment(aws).deploy(stacks(tmp_path, resources), "part")


def test_an_attribute_that_a_resource_has_not_fails_the_deployment(
    aws: Aws, tmp_path: Path
) -> None:
    resources = {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": aws.new_bucket() + "-of-stack"},
        },
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"TopicName": {"Fn::GetAtt": ["Bucket", "WebsiteURL"]}},
        },
    }
    with pytest.raises(TemplateError, match="cannot be deployed"):
        Deployment(aws).deploy(stacks(tmp_path, resources), "part")


def test_buckets_are_made_on_the_real_server_with_their_policies_kept_apart(
    aws: Aws, tmp_path: Path
) -> None:
    name = aws.new_bucket() + "-of-stack"
    policy = {"Version": "2012-10-17", "Statement": []}
    resources = {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"BucketName": name, "VersioningConfiguration": {"Status": "Enabled"}},
        },
        "Policy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": policy},
        },
    }
    deployment = Deployment(aws)
    deployment.deploy(stacks(tmp_path, resources), "part")
    assert aws.client("s3").get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert deployment.resource_policies == {f"arn:aws:s3:::{name}": [policy]}
