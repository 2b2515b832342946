"""What the roles may do: the product's list of rights, and what ECS and Glue themselves need, put into statements of IAM.

There are two roles: the one that Dagster and its runs have, and that of the Glue job. ECS takes Dagster's too for starting a task
(image, secret, logs): the containers are handed the same secret and write the same logs, so a third role would protect nothing.
A right of the product is left out where the stacks have made beforehand what it would make.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_iam as iam

from billing_lake.aws.rights import RIGHTS, Right
from billing_lake_infra.names import (
    LAKE_FOLDER,
    PIPES_FOLDER,
    RUN_LOGS_FOLDER,
    Names,
)
from billing_lake_infra.settings import Settings

LEFT_OUT = {
    "glue:CreateDatabase": "the stack makes the databases",
    "s3tables:CreateNamespace": "the stack makes the namespaces",
}
"""Rights of the product that Dagster's role is not given, and why."""

_BUCKET_WIDE = {
    f"s3tables:{name}"
    for name in "GetTableBucket GetNamespace ListNamespaces CreateTable ListTables".split()
}
_OF_BUCKETS = {
    f"s3:{name}" for name in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads")
}
_SWITCHED = {"Glue job": "with_glue", "Glue crawler": "crawler"}


@dataclass(frozen=True)
class Granted:
    """A right, and the ARNs that it holds for.

    Attributes:
        right: Feature, actions and reason.
        resources: ARNs.
        conditions: Conditions, as IAM writes them.
    """

    right: Right
    resources: tuple[str, ...]
    conditions: Mapping[str, Any] | None = None


def lake_rights(settings: Settings, names: Names, key_arn: str) -> list[Granted]:
    """Return what Dagster's role may do with the lake: the product's rights for the features that are switched on.

    ``key_arn`` is that of the deployment's own key, and empty where there is none.
    """
    granted = []
    for right in RIGHTS:
        switch = _SWITCHED.get(right.feature)
        if switch is not None and not getattr(settings, switch):
            continue
        kept = tuple(action for action in right.actions if action not in LEFT_OUT)
        for actions, resources in _by_resources(right, kept, settings, names):
            conditions = (
                {"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}}
                if actions == ("iam:PassRole",)
                else None
            )
            part = Right(right.feature, actions, right.resource, right.why)
            granted.append(Granted(part, resources, conditions))
    granted += _encryption(key_arn)
    if settings.lake_formation:
        why = "be handed credentials where Lake Formation governs a table"
        right = Right("Lake Formation", ("lakeformation:GetDataAccess",), "*", why)
        granted.append(Granted(right, ("*",)))
    return granted


def _by_resources(
    right: Right, actions: tuple[str, ...], settings: Settings, names: Names
) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the actions of a right in groups with the ARNs that each of them can be asked for."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for action in actions:
        groups.setdefault(_resources(right, action, settings, names), []).append(action)
    for resources, grouped in groups.items():
        yield tuple(grouped), resources


def _resources(right: Right, action: str, settings: Settings, names: Names) -> tuple[str, ...]:
    databases = settings.databases
    warehouse = names.bucket_arn("warehouse")
    catalog = names.arn("glue", "catalog")
    whole: dict[str, Callable[[], tuple[str, ...]]] = {
        "<landing bucket>": lambda: (names.bucket_arn("exports"),),
        "<landing bucket>/*": lambda: (names.bucket_arn("exports", "/*"),),
        "<warehouse>": lambda: (warehouse,),
        "<warehouse>/*": lambda: (f"{warehouse}/{LAKE_FOLDER}/*",),
        "catalog, database/*, table/*": lambda: (
            (catalog, names.arn("glue", "database/*"))
            if action == "glue:GetDatabases"
            else (
                catalog,
                *(names.arn("glue", f"database/{one}") for one in databases),
                *(names.arn("glue", f"table/{one}/*") for one in databases),
            )
        ),
        "catalog, database/default": lambda: (catalog, names.arn("glue", "database/default")),
        "catalog, and what is in catalog/s3tablescatalog/<table bucket>": lambda: (
            catalog,
            *(
                names.arn("glue", f"{kind}/s3tablescatalog{below}")
                for kind, below in (
                    ("catalog", ""),
                    ("catalog", f"/{names.table_bucket}"),
                    ("database", f"/{names.table_bucket}/*"),
                    ("table", f"/{names.table_bucket}/*/*"),
                )
            ),
        ),
        "<table bucket>": lambda: (names.table_bucket_arn,),
        "<table bucket>, and table/* of it": lambda: (
            (names.table_bucket_arn,)
            if action in _BUCKET_WIDE
            else (f"{names.table_bucket_arn}/table/*",)
        ),
        "job/<Glue job>": lambda: (names.arn("glue", f"job/{settings.name}"),),
        "<Pipes bucket>": lambda: (warehouse,),
        "<Pipes bucket>/billing-lake-pipes/*": lambda: (f"{warehouse}/{PIPES_FOLDER}/*",),
        "crawler/billing-lake-*": lambda: (names.arn("glue", "crawler/billing-lake-*"),),
        "*": lambda: ("*",),
        "<topic>": lambda: (names.arn("sns", f"{settings.name}-*"),),
        "<crawler role>": lambda: (names.role_arn("crawler"),),
        "workgroup/<workgroup>": lambda: (names.arn("athena", f"workgroup/{settings.name}"),),
        "<query results>": lambda: (
            (warehouse,) if action in _OF_BUCKETS else (f"{warehouse}/{LAKE_FOLDER}/athena/*",)
        ),
    }
    return whole[right.resource]()


def orchestrator_rights(settings: Settings, names: Names, secret_arn: str) -> list[Granted]:
    """Return what Dagster's role needs to run on ECS: to start runs, to be started, to show its UI by port forwarding."""
    tasks = names.arn("ecs", f"task/{names.cluster}/*")
    logs = names.arn("logs", "log-group:/billing-lake/" + settings.name)
    definitions = names.arn("ecs", f"task-definition/{names.run_family}:*")
    in_cluster = {"ArnEquals": {"ecs:cluster": names.arn("ecs", f"cluster/{names.cluster}")}}
    passed = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    warehouse = names.bucket_arn("warehouse")
    granted = [
        _granted("runs", "ecs:RunTask", (definitions,), "start a run as a task", in_cluster),
        _granted(
            "runs",
            "ecs:DescribeTasks ecs:StopTask ecs:TagResource",
            (tasks,),
            "watch and stop runs, and name theirs",
        ),
        _granted(
            "runs",
            "ecs:DescribeTaskDefinition ec2:DescribeNetworkInterfaces",
            ("*",),
            "start a run in the network of the task that starts it; IAM knows no narrower resource for these",
        ),
        _granted(
            "runs", "iam:PassRole", (names.role_arn("dagster"),), "give runs the same role", passed
        ),
        _granted(
            "runs",
            "logs:GetLogEvents",
            (f"{logs}/runs:log-stream:*",),
            "show why a task of a run stopped",
        ),
        _granted(
            "runs",
            "s3:GetObject s3:PutObject",
            (f"{warehouse}/{RUN_LOGS_FOLDER}/*",),
            "keep and show what steps print",
        ),
        _granted(
            "start of tasks",
            "logs:CreateLogStream logs:PutLogEvents",
            (f"{logs}/dagster:log-stream:*", f"{logs}/runs:log-stream:*"),
            "write the logs of containers",
        ),
        _granted(
            "start of tasks",
            "secretsmanager:GetSecretValue",
            (secret_arn,),
            "hand the database's password to containers",
        ),
        _granted(
            "UI by port forwarding",
            "ssmmessages:CreateControlChannel ssmmessages:CreateDataChannel ssmmessages:OpenControlChannel "
            "ssmmessages:OpenDataChannel",
            ("*",),
            "let a session of SSM in; IAM knows no narrower resource for these",
        ),
    ]
    return granted + _image_rights(settings, names)


def _image_rights(settings: Settings, names: Names) -> list[Granted]:
    """Return the rights to pull the image, where it may lie in ECR."""
    host, _, rest = settings.image.partition("/")
    repositories = names.arn("ecr", "repository/*")
    if settings.image not in {"", "build"}:
        found = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", host)
        if not found:
            return []
        repository = re.split("[:@]", rest)[0]
        repositories = f"arn:{names.partition}:ecr:{found[2]}:{found[1]}:repository/{repository}"
    actions = "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer"
    return [
        _granted("start of tasks", "ecr:GetAuthorizationToken", ("*",), "log in to ECR"),
        _granted("start of tasks", actions, (repositories,), "pull the image"),
    ]


def job_rights(names: Names, assets: tuple[str, ...], key_arn: str) -> list[Granted]:
    """Return what the Glue job's role may do; ``assets`` are the objects of its program, ``key_arn`` as for `lake_rights`."""
    warehouse, lake = names.bucket_arn("warehouse"), f"/{LAKE_FOLDER}"
    granted = [
        _granted("program", "s3:GetObject", assets, "read the script and its zip"),
        _granted(
            "landing area",
            "s3:GetObject",
            (names.bucket_arn("exports", "/*"),),
            "read report files",
        ),
        _granted(
            "landing area",
            "s3:ListBucket",
            (names.bucket_arn("exports"), warehouse),
            "S3A looks for a file by listing",
        ),
        _granted(
            "warehouse",
            "s3:GetObject s3:PutObject s3:DeleteObject s3:AbortMultipartUpload",
            tuple(
                f"{warehouse}{folder}/*"
                for folder in (f"{lake}/hive", f"{lake}/staging", f"/{PIPES_FOLDER}")
            ),
            "write files for tables, and answer the run",
        ),
        _granted(
            "folders",
            "s3:GetObject s3:PutObject s3:DeleteObject",
            tuple(
                f"{warehouse}{folder}_$folder$"
                for folder in (lake, f"{lake}/hive", f"{lake}/staging")
            ),
            "mark folders that are new, as the file system of Glue 5.0 does",
        ),
        _granted(
            "logs",
            "logs:CreateLogGroup logs:CreateLogStream logs:PutLogEvents",
            (names.arn("logs", "log-group:/aws-glue/jobs/*"),),
            "write Glue's logs of the run",
        ),
    ]
    return granted + _encryption(key_arn)


def crawler_rights(settings: Settings, names: Names) -> list[Granted]:
    """Return what a crawler's role may do: read what it crawls and write the table of it."""
    database = settings.crawled_database
    return [
        _granted(
            "crawler",
            "s3:GetObject s3:ListBucket",
            (names.bucket_arn("exports"), names.bucket_arn("exports", "/*")),
            "read report files",
        ),
        _granted(
            "crawler",
            "glue:GetDatabase glue:GetTable glue:GetTables glue:CreateTable glue:UpdateTable glue:BatchGetPartition "
            "glue:BatchCreatePartition",
            (
                names.arn("glue", "catalog"),
                names.arn("glue", f"database/{database}"),
                names.arn("glue", f"table/{database}/*"),
            ),
            "register the table",
        ),
        _granted(
            "crawler",
            "logs:CreateLogGroup logs:CreateLogStream logs:PutLogEvents",
            (names.arn("logs", "log-group:/aws-glue/crawlers*"),),
            "write Glue's logs of the crawl",
        ),
    ]


def replication_rights(settings: Settings, names: Names, key_arn: str) -> list[Granted]:
    """Return what S3 may do when it copies the buckets to another region."""
    feature, kinds = "replicas", ("exports", "warehouse")
    own = tuple(names.bucket_arn(kind) for kind in kinds)
    copies = tuple(f"arn:{names.partition}:s3:::{names.replica(kind)}/*" for kind in kinds)
    versions = "s3:GetObjectVersionAcl s3:GetObjectVersionForReplication s3:GetObjectVersionTagging"
    granted = [
        _granted(feature, "s3:GetReplicationConfiguration s3:ListBucket", own, "see what is new"),
        _granted(feature, versions, tuple(f"{one}/*" for one in own), "read it"),
        _granted(
            feature,
            "s3:ReplicateDelete s3:ReplicateObject s3:ReplicateTags",
            copies,
            "write the copy",
        ),
    ]
    if key_arn:
        keys = f"arn:{names.partition}:kms:{settings.replicas}:{names.account}:key/*"
        through = {"StringLike": {"kms:ViaService": f"s3.{settings.replicas}.amazonaws.com"}}
        granted += [
            _granted(feature, "kms:Decrypt", (key_arn,), "read what the key encrypts"),
            _granted(feature, "kms:Encrypt", (keys,), "encrypt the copy", through),
        ]
    return granted


def _encryption(key_arn: str) -> list[Granted]:
    if not key_arn:
        return []
    actions, why = "kms:Decrypt kms:GenerateDataKey", "read and write what the key encrypts"
    return [_granted("encryption", actions, (key_arn,), why)]


def _granted(
    feature: str,
    actions: str,
    resources: tuple[str, ...],
    why: str,
    conditions: Mapping[str, Any] | None = None,
) -> Granted:
    return Granted(
        Right(feature, tuple(actions.split()), ", ".join(resources), why), resources, conditions
    )


def document(granted: Iterable[Granted]) -> iam.PolicyDocument:
    """Return a policy with a statement for the rights of a feature to the same things, which is named after the feature.

    All policies of a role together may have 10,240 characters.
    """
    together: dict[tuple[str, tuple[str, ...], str], list[Granted]] = {}
    for one in granted:
        key = (one.right.feature, one.resources, json.dumps(one.conditions))
        together.setdefault(key, []).append(one)
    statements = []
    for number, ((feature, resources, _), its) in enumerate(together.items(), start=1):
        words = re.findall("[A-Za-z0-9]+", feature)
        statements.append(
            iam.PolicyStatement(
                sid=f"{''.join(word[0].upper() + word[1:] for word in words)}{number}",
                actions=[action for one in its for action in one.right.actions],
                resources=list(resources),
                conditions=its[0].conditions,
            )
        )
    return iam.PolicyDocument(statements=statements)


def rights_table(settings: Settings) -> str:
    """Return what each role may do as the table of the documentation, in Markdown; names of settings stand in angle brackets."""
    names = Names(settings)
    secret = names.arn("secretsmanager", "secret:<database>")
    key = names.arn("kms", "key/<key>") if settings.kms else ""
    assets = (f"arn:{names.partition}:s3:::<assets of the CDK>/<script and zip>",)
    roles = [
        ("Dagster", lake_rights(settings, names, key)),
        ("Dagster, on ECS", orchestrator_rights(settings, names, secret)),
        ("Glue job", job_rights(names, assets, key)),
        ("crawler", crawler_rights(settings, names)),
        ("replicas", replication_rights(settings, names, key)),
    ]
    rows = ["| role | for | actions | on | to |", "|---|---|---|---|---|"]
    for role, granted in roles:
        for one in granted:
            actions = ", ".join(f"`{action}`" for action in one.right.actions)
            resources = ", ".join(f"`{_shortened(each, settings)}`" for each in one.resources)
            rows.append(
                f"| {role} | {one.right.feature} | {actions} | {resources} | {one.right.why} |"
            )
    return "\n".join(rows)


def _shortened(arn: str, settings: Settings) -> str:
    text = re.sub(r"^arn:[^:]*:[^:]*:[^:]*:[^:]*:", "", arn)
    for key in ("account", "region", "replicas"):
        text = text.replace(getattr(settings, key), f"<{key}>")
    return text.replace(settings.name, "<name>")
