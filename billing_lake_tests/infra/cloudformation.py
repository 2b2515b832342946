"""Deploys synthesized templates: with moto's CloudFormation, and the types that it lacks made by their services' own calls.

What is made is where the tests' product looks for it: buckets and table buckets in the real S3 server, the rest in moto. A type that
neither knows fails the deployment, where moto alone would leave it out and say that all is well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from billing_lake_tests.infra.stacks import Stacks
from billing_lake_tests.servers.account import Account

Properties = Mapping[str, Any]


class TemplateError(ValueError):
    """A template says something that this stand-in would have to leave out."""


@dataclass
class Resource:
    """What moto's CloudFormation has to know of a resource that it did not make itself."""

    physical_resource_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def is_created() -> bool:
        """Say that it is there: each is made at once."""
        return True

    def get_cfn_attribute(self, name: str) -> Any:
        """Return an attribute; one that is unknown raises, where a guess would be deployed."""
        return self.attributes[name]


class Deployment:
    """Stacks in an account, and what they made.

    Attributes:
        aws: The account.
        database: Address of the server that stands for a database; None where no stack asks for one.
        resource_policies: Policies of buckets and topics, by their ARNs. The S3 server is not told: it would refuse what is not TLS.
        table_buckets: Names of the table buckets.
        tasks: Task definitions, whole: moto's own keeps neither roles nor network.
    """

    def __init__(self, aws: Account, *, database: str | None = None) -> None:
        self.aws = aws
        self.database = database
        self.resource_policies: dict[str, list[Any]] = {}
        self.table_buckets: set[str] = set()
        self.tasks: dict[str, dict[str, Any]] = {}

    def deploy(self, stacks: Stacks, *kinds: str) -> dict[str, str]:
        """Create stacks in order, and return the settings among their outputs.

        The files of the Glue job are published first, as `cdk deploy` does.
        """
        settings: dict[str, str] = {}
        for kind in kinds:
            self._publish(stacks, kind)
            name = f"{stacks.name}-{kind}"
            template = stacks.template(kind)
            with self._types() as known:
                wanted = {one["Type"] for one in template["Resources"].values()}
                if unknown := wanted - known:
                    # moto would leave them out, and say that the stack is complete.
                    raise TemplateError(f"{name} has types that cannot be made: {unknown}")
                stack = self._create(name, template)
            outputs = stack.get("Outputs", [])
            settings |= {
                one["Description"]: one["OutputValue"] for one in outputs if one.get("Description")
            }
        return settings

    def role_policies(self, role: str) -> list[dict[str, Any]]:
        """Return the policies of a role, from all stacks, as IAM has them."""
        iam = self.aws.client("iam")
        name = role.rpartition("/")[2]
        assert not iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return [
            iam.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"]
            for one in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ]

    def task_arn(self, named: str) -> str:
        """Return the ARN of a task definition, of the newest one where a family is named."""
        described = self.aws.client("ecs").describe_task_definition(taskDefinition=named)
        return str(described["taskDefinition"]["taskDefinitionArn"])

    def task_roles(self, named: str) -> tuple[str, ...]:
        """Return the roles that a task is handed."""
        task = self.tasks[self.task_arn(named)]
        return tuple(dict.fromkeys((task["taskRoleArn"], task["executionRoleArn"])))

    def _create(self, name: str, template: dict[str, Any]) -> dict[str, Any]:
        cloudformation = self.aws.client("cloudformation")
        try:
            cloudformation.create_stack(
                StackName=name,
                TemplateBody=json.dumps(template),
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
        except Exception as error:
            # moto answers with a page of HTML; what it says itself is in the log above.
            raise TemplateError(f"{name} cannot be deployed") from error
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        return dict(stack)

    def _publish(self, stacks: Stacks, kind: str) -> None:
        listed = json.loads((stacks.folder / f"{stacks.name}-{kind}.assets.json").read_text())
        s3, ssm = self.aws.client("s3"), self.aws.client("ssm")
        # What `cdk bootstrap` leaves in an account.
        ssm.put_parameter(
            Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String", Overwrite=True
        )
        for asset in listed["files"].values():
            assert asset["source"]["packaging"] == "file"
            (there,) = asset["destinations"].values()
            bucket = there["bucketName"]
            if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
                s3.create_bucket(Bucket=bucket)
            data = (stacks.folder / asset["source"]["path"]).read_bytes()
            s3.put_object(Bucket=bucket, Key=there["objectKey"], Body=data)

    @contextmanager
    def _types(self) -> Iterator[set[str]]:
        """Add the types, for as long as a stack is created, and give the names of all."""
        from moto.cloudformation import parsing

        known = parsing.get_model_map()
        added = {f"AWS::{name}": _type(make) for name, make in self._makers.items()}
        with pytest.MonkeyPatch.context() as patch:
            for name, made in added.items():
                patch.setitem(known, name, made)
            yield {*known}

    @property
    def _makers(self) -> dict[str, Callable[[str, Properties], Resource]]:
        return {
            "S3::Bucket": self._bucket,
            "S3::BucketPolicy": self._bucket_policy,
            "S3Tables::TableBucket": self._table_bucket,
            "S3Tables::Namespace": self._namespace,
            "Glue::Database": self._glue_database,
            "Glue::Job": self._glue_job,
            "Athena::WorkGroup": self._workgroup,
            "EC2::FlowLog": self._flow_log,
            "IAM::Role": self._role,
            "IAM::Policy": self._policy,
            "SNS::TopicPolicy": self._topic_policy,
            "SecretsManager::Secret": self._secret,
            "SecretsManager::SecretTargetAttachment": self._attachment,
            "RDS::DBInstance": self._database,
            "ECS::TaskDefinition": self._task,
            "ECS::Service": self._service,
            "CloudWatch::Alarm": self._alarm,
        }

    def _bucket(self, _: str, wanted: Properties) -> Resource:
        name = wanted["BucketName"]
        s3 = self.aws.client("s3")
        s3.create_bucket(Bucket=name)
        if versioning := wanted.get("VersioningConfiguration"):
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=dict(versioning))
        return Resource(name, {"Arn": f"arn:aws:s3:::{name}"})

    def _bucket_policy(self, name: str, wanted: Properties) -> Resource:
        arn = f"arn:aws:s3:::{wanted['Bucket']}"
        self.resource_policies.setdefault(arn, []).append(
            json.loads(_text(wanted["PolicyDocument"]))
        )
        return Resource(name)

    def _table_bucket(self, _: str, wanted: Properties) -> Resource:
        name = wanted["TableBucketName"]
        arn = self.aws.client("s3tables").create_table_bucket(name=name)["arn"]
        assert arn == f"arn:aws:s3tables:{self.aws.region}:{self.aws.account}:bucket/{name}"
        self.table_buckets.add(name)
        return Resource(arn, {"TableBucketARN": arn})

    def _namespace(self, _: str, wanted: Properties) -> Resource:
        arn, name = wanted["TableBucketARN"], wanted["Namespace"]
        self.aws.client("s3tables").create_namespace(tableBucketARN=arn, namespace=[name])
        return Resource(f"{arn}|{name}")

    def _glue_database(self, _: str, wanted: Properties) -> Resource:
        # Other tests of this process may have had the product make one of this name.
        glue = self.aws.client("glue")
        name = wanted["DatabaseInput"]["Name"]
        with suppress(glue.exceptions.EntityNotFoundException):
            glue.delete_database(Name=name)
        glue.create_database(DatabaseInput=dict(wanted["DatabaseInput"]))
        return Resource(name)

    def _glue_job(self, _: str, wanted: Properties) -> Resource:
        given = {key: value for key, value in wanted.items() if key != "Tags"}
        return Resource(self.aws.client("glue").create_job(**given)["Name"])

    def _workgroup(self, _: str, wanted: Properties) -> Resource:
        configuration = json.loads(json.dumps(wanted["WorkGroupConfiguration"]))
        self.aws.client("athena").create_work_group(
            Name=wanted["Name"], Configuration=configuration, Description=wanted["Description"]
        )
        return Resource(wanted["Name"])

    def _flow_log(self, name: str, wanted: Properties) -> Resource:
        # moto would look for the bucket among its own.
        bucket = wanted["LogDestination"].removeprefix("arn:aws:s3:::").partition("/")[0]
        self.aws.client("s3").head_bucket(Bucket=bucket)
        return Resource(name)

    def _role(self, _: str, wanted: Properties) -> Resource:
        iam, name = self.aws.client("iam"), wanted["RoleName"]
        trust = _text(wanted["AssumeRolePolicyDocument"])
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
        if wanted.get("ManagedPolicyArns"):
            raise TemplateError(f"{name} has policies that are not written out")
        for one in wanted["Policies"]:
            document = _text(one["PolicyDocument"])
            iam.put_role_policy(
                RoleName=name, PolicyName=one["PolicyName"], PolicyDocument=document
            )
        return Resource(name, {"Arn": made["Arn"], "RoleId": made["RoleId"]})

    def _policy(self, name: str, wanted: Properties) -> Resource:
        for role in wanted["Roles"]:
            self.aws.client("iam").put_role_policy(
                RoleName=role,
                PolicyName=wanted["PolicyName"],
                PolicyDocument=_text(wanted["PolicyDocument"]),
            )
        return Resource(name)

    def _topic_policy(self, name: str, wanted: Properties) -> Resource:
        for topic in wanted["Topics"]:
            self.resource_policies.setdefault(topic, []).append(
                json.loads(_text(wanted["PolicyDocument"]))
            )
        return Resource(name)

    def _secret(self, name: str, wanted: Properties) -> Resource:
        secrets = self.aws.client("secretsmanager")
        how = wanted["GenerateSecretString"]
        made = secrets.get_random_password(
            PasswordLength=how["PasswordLength"], ExcludeCharacters=how["ExcludeCharacters"]
        )
        value = {
            **json.loads(how["SecretStringTemplate"]),
            how["GenerateStringKey"]: made["RandomPassword"],
        }
        arn = secrets.create_secret(Name=name, SecretString=json.dumps(value))["ARN"]
        return Resource(arn, {"Id": arn})

    def _attachment(self, _: str, wanted: Properties) -> Resource:
        return Resource(wanted["SecretId"])

    def _database(self, name: str, wanted: Properties) -> Resource:
        if self.database is None:
            raise TemplateError("A database is asked for, and there is no server to stand for it")
        if wanted["Engine"] != "postgres" or wanted["PubliclyAccessible"]:
            raise TemplateError(f"Another database than the one that stands here: {dict(wanted)}")
        return Resource(name, {"Endpoint.Address": self.database, "Endpoint.Port": "5432"})

    def _task(self, _: str, wanted: Properties) -> Resource:
        definition = _camel(json.loads(json.dumps(wanted)))
        containers = [
            # moto counts what a run takes by its containers; Fargate by the task.
            {"cpu": 0, "memory": 128, **one}
            for one in definition["containerDefinitions"]
        ]
        given = {**definition, "containerDefinitions": containers}
        made = self.aws.client("ecs").register_task_definition(**given)["taskDefinition"]
        self.tasks[made["taskDefinitionArn"]] = definition
        return Resource(made["taskDefinitionArn"])

    def _service(self, _: str, wanted: Properties) -> Resource:
        if wanted["DesiredCount"] != 1:
            raise TemplateError("More than one task with a daemon")
        network = _camel(json.loads(json.dumps(wanted["NetworkConfiguration"])))
        made = self.aws.client("ecs").create_service(
            cluster=wanted["Cluster"],
            serviceName=wanted["ServiceName"],
            taskDefinition=wanted["TaskDefinition"],
            desiredCount=1,
            launchType=wanted["LaunchType"],
            networkConfiguration=network,
        )["service"]
        return Resource(made["serviceArn"], {"Name": made["serviceName"]})

    def _alarm(self, name: str, wanted: Properties) -> Resource:
        given = json.loads(json.dumps({k: v for k, v in wanted.items() if k != "Tags"}))
        self.aws.client("cloudwatch").put_metric_alarm(**{"AlarmName": name, **given})
        arn = f"arn:aws:cloudwatch:{self.aws.region}:{self.aws.account}:alarm:{name}"
        return Resource(name, {"Arn": arn})


def _text(document: Any) -> str:
    """Return a policy as JSON; moto reads templates as YAML, to which its version is a date."""
    return json.dumps(document, default=str)


def _type(make: Callable[[str, Properties], Resource]) -> Any:
    """Return a class as moto's CloudFormation wants one, for resources that ``make`` makes."""

    class Type:
        @classmethod
        def has_cfn_attr(cls, _: str) -> bool:
            return True

        @classmethod
        def create_from_cloudformation_json(
            cls, name: str, resource: Mapping[str, Any], *_: Any, **__: Any
        ) -> Resource:
            return make(name, resource["Properties"])

    return Type


# Keys of these are the user's own.
_VERBATIM = {"options"}


def _camel(value: Any) -> Any:
    """Return properties as ECS's own calls name them: `TaskRoleArn` is `taskRoleArn`."""
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {key[0].lower() + key[1:]: one for key, one in value.items()}
    return {key: one if key in _VERBATIM else _camel(one) for key, one in named.items()}
