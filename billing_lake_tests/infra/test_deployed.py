"""The synthesized stacks, deployed: every request of their two roles is judged by the policies of the template.

What is loaded, proved and kept in order with refusal on shows that the policies give enough. What was asked for on the way shows that
they give no more: a right that no request needed is taken out of the list, or has its reason here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from billing_lake_tests.infra.deployed import Deployed
from billing_lake_tests.infra.passes import EVERYTHING, PERIOD, Passes
from billing_lake_tests.infra.policies import Asked

# Dagster's own, where it reads defs.yaml.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

Statement = dict[str, Any]
Key = tuple[str, str, str]

_THRICE = "stated for three features, whose bucket is the same one in these stacks"
_TROUBLE = "asked for when something went wrong"
_QUERY = "no query is asked through these roles; what `billing-lake query` calls is held against the list where it is tested"
_ATHENA = "Athena asks for it on behalf of who sends a query, and what stands for it here does not"
_SERVICE = "ECS, SSM and Glue themselves ask for it, and what stands for them here does not"

_REASONS: dict[tuple[str, str], dict[str, str]] = {
    ("dagster", "Warehouse"): {"s3:AbortMultipartUpload": _TROUBLE, "s3:ListBucket": _THRICE},
    ("dagster", "GlueDataCatalog"): {
        "glue:BatchDeletePartition": "a Hive table is put back to months that it had not",
    },
    ("dagster", "S3Tables"): {"s3tables:ListNamespaces s3tables:ListTables": _QUERY},
    ("dagster", "GlueJob"): {"s3:ListBucket": _THRICE, "glue:BatchStopJobRun": _TROUBLE},
    ("dagster", "GlueCrawler"): {"glue:StopCrawler": _TROUBLE},
    ("dagster", "Queries"): {
        "athena:GetQueryExecution athena:GetQueryResults athena:GetWorkGroup athena:StartQueryExecution "
        "athena:StopQueryExecution s3:AbortMultipartUpload s3:GetBucketLocation s3:GetObject s3:ListBucket s3:PutObject "
        "s3:ListBucketMultipartUploads s3:ListMultipartUploadParts": _QUERY,
        "glue:GetCatalog glue:GetDatabase glue:GetTable s3tables:GetTable": _ATHENA,
    },
    ("dagster", "Runs"): {
        "ecs:StopTask": "asked for when a run is cancelled",
        "logs:GetLogEvents": _TROUBLE,
    },
    ("dagster", "StartOfTasks"): {"logs:CreateLogStream logs:PutLogEvents": _SERVICE},
    ("dagster", "UIByPortForwarding"): {
        "ssmmessages:CreateControlChannel ssmmessages:CreateDataChannel ssmmessages:OpenControlChannel "
        "ssmmessages:OpenDataChannel": _SERVICE,
    },
    ("glue-job", "Warehouse"): {"s3:AbortMultipartUpload": _TROUBLE},
    ("glue-job", "Folders"): {
        "s3:DeleteObject s3:GetObject s3:PutObject": "asked for by the file system of Glue 5.0; here Spark has its own, S3A",
    },
    ("glue-job", "Logs"): {
        "logs:CreateLogGroup logs:CreateLogStream logs:PutLogEvents": _SERVICE,
    },
}

IDLE: dict[Key, str] = {
    (*owner, action): reason
    for owner, reasons in _REASONS.items()
    for actions, reason in reasons.items()
    for action in actions.split()
}
"""Rights that nothing here asks for, and why they are given all the same. One that is asked for may not stand here."""


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_policies_allow_what_the_lake_does(passes: Passes, name: str) -> None:
    passes.require(name)


def test_nothing_is_refused_but_what_the_stacks_made_beforehand_and_what_others_have(
    passes: Passes,
) -> None:
    passes.require(*EVERYTHING)
    refused = passes.deployed.recorder.refused
    looks = [one for one in refused if one.action == "glue:GetTables"]
    ours = passes.deployed.stacks.resources("lake", "AWS::Glue::Database").values()
    names = {one["Properties"]["DatabaseInput"]["Name"] for one in ours}
    assert "of_others" in {one.resource.rpartition("/")[2] for one in looks} - names
    assert not [str(one) for one in looks if one.resource.rpartition("/")[2] in names]
    assert {(_kind(one.who), one.action) for one in refused if one not in looks} <= {
        ("dagster", "glue:CreateDatabase"),
        ("dagster", "s3tables:CreateNamespace"),
        # Spark's S3A looks after the markers of folders above its own, and goes on where it may not.
        ("glue-job", "s3:DeleteObject"),
        ("glue-job", "s3:GetObject"),
    }


def test_without_any_one_right_a_request_that_was_made_is_refused(passes: Passes) -> None:
    passes.require(*EVERYTHING)
    deployed = passes.deployed
    asked = deployed.recorder.asked
    idle = {right.key for right in rights(deployed) if not missed(deployed, right, asked)}
    assert idle == IDLE.keys(), "\n".join(map(repr, sorted(idle ^ IDLE.keys())))


@dataclass(frozen=True, eq=False)
class Right:
    """An action in a statement of a role's policies."""

    role: str
    statement: Statement
    action: str

    @property
    def key(self) -> Key:
        return _kind(self.role), self.statement["Sid"].rstrip("0123456789"), self.action


def rights(deployed: Deployed) -> list[Right]:
    """Return the rights of both roles."""
    return [
        Right(role, statement, action)
        for role in (deployed.dagster.arn, deployed.job.arn)
        for document in deployed.recorder.identity[role]
        for statement in document["Statement"]
        for action in _list(statement["Action"])
    ]


@contextmanager
def without(deployed: Deployed, right: Right) -> Iterator[None]:
    """Take one right away within the block: the action, in its statement alone."""
    rest = [name for name in _list(right.statement["Action"]) if name != right.action]
    less = {**right.statement, "Action": rest}
    kept = deployed.recorder.identity[right.role]
    deployed.recorder.identity[right.role] = [
        {
            **document,
            "Statement": [less if one is right.statement else one for one in document["Statement"]],
        }
        for document in kept
    ]
    try:
        yield
    finally:
        deployed.recorder.identity[right.role] = kept


def missed(deployed: Deployed, right: Right, asked: Iterable[Asked]) -> list[Asked]:
    """Return which of the requests that were made would be refused without a right."""
    made = [one for one in asked if (one.who, one.action) == (right.role, right.action)]
    with without(deployed, right):
        return [one for one in made if not deployed.recorder.allows(one)]


def _kind(role: str) -> str:
    return "glue-job" if role.endswith("-glue-job") else role.rpartition("-")[2]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


NEEDED = (
    ("dagster", "LandingArea", "s3:ListBucket"),
    ("dagster", "GlueDataCatalog", "glue:UpdateTable"),
    ("dagster", "S3Tables", "s3tables:UpdateTableMetadataLocation"),
)
"""One right of each service, without which a load has to fail; `--every-variant` tries each that a load with Polars uses."""


def test_a_load_without_a_right_names_it_and_fails_or_goes_on(
    passes: Passes, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    deployed, lake = passes.deployed, passes.lake("polars", "refused")
    asked = deployed.recorder.asked
    kept, every_variant = dict(asked), request.config.getoption("every_variant")
    for restatement in (0, 1) if every_variant else ():
        # What a restatement asks for, as all that follow are.
        asked.clear()
        lake.deliver(PERIOD, restatement=restatement)
        assert lake.load(PERIOD).success
        kept.update(asked)
    used = list(asked) if every_variant else []
    asked.update(kept)
    silent = []
    for number, right in enumerate(rights(deployed), start=2):
        if right.key not in NEEDED and not missed(deployed, right, used):
            continue
        lake.deliver(PERIOD, restatement=number)
        caplog.clear()
        with deployed.recorder.refusing(), without(deployed, right):
            result = lake.load(PERIOD)
        # What is only tidied up after a load may stay undone, and the log says so.
        assert not (result.success and right.key in NEEDED), right.key
        said = [str(event.step_failure_data) for event in result.get_step_failure_events()]
        said += [str(one) for one in result.get_asset_check_evaluations() if not one.passed]
        said += [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        if not any(right.action in one for one in said):
            silent.append((*right.key, result.success, said))
    assert silent == [], "\n".join(map(repr, silent))
