"""Says which actions of IAM a call of Glue, ECS, SNS or another service of JSON is checked for, on what, and in which context.

A call that is not known here raises, like a request to S3 that is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from billing_lake_tests.infra.s3_requests import UnknownRequestError

Check = tuple[str, str, Mapping[str, str]]
Parameters = Mapping[str, Any]

_OF_TABLES = frozenset(
    "CreateTable DeleteTable GetTable GetTables UpdateTable "
    "BatchCreatePartition BatchDeletePartition BatchGetPartition BatchUpdatePartition CreatePartition DeletePartition "
    "GetPartition GetPartitions UpdatePartition".split()
)
_OF_JOBS = frozenset("GetJob StartJobRun GetJobRun GetJobRuns BatchStopJobRun".split())
_OF_CRAWLERS = frozenset("DeleteCrawler GetCrawler StartCrawler StopCrawler".split())
_OF_QUERIES = frozenset(
    "GetQueryExecution GetQueryResults StartQueryExecution StopQueryExecution".split()
)


@dataclass(frozen=True)
class Services:
    """The services of an account in a region.

    Attributes:
        account: The account.
        region: The region.
        task_roles: Returns the roles of a task definition, by its ARN or family: a run of it is handed them.
        task_arn: Returns the ARN of a task definition with its revision.
    """

    account: str
    region: str
    task_roles: Callable[[str], tuple[str, ...]] = lambda _: ()
    task_arn: Callable[[str], str] = str

    def checks(self, service: str, action: str, given: Parameters) -> list[Check]:
        """Return what a call is checked for."""
        name = f"{service}:{action}"
        if (service, action) == ("sts", "GetCallerIdentity"):
            return []  # nobody can be denied it
        of_service = {
            "glue": self._glue,
            "athena": self._athena,
            "ecs": self._ecs,
            "ec2": self._ec2,
            "sns": lambda _, given: [given["TopicArn"]],
            "secretsmanager": lambda _, given: [given["SecretId"]],
            "logs": self._logs,
        }.get(service)
        resources = of_service(action, given) if of_service else None
        if resources is None:
            raise UnknownRequestError(f"{name} with {sorted(given)}")
        context = self._context(name, given)
        return [(name, one, context) for one in resources] + self._passed(name, given)

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"

    def _glue(self, action: str, given: Parameters) -> list[str] | None:
        rests: list[str] | None = None
        if action in _OF_TABLES:
            database = given["DatabaseName"]
            names = {
                given.get("TableName")
                or given.get("Name")
                or given.get("TableInput", {}).get("Name", "*")
            }
            rests = [
                "catalog",
                f"database/{database}",
                *(f"table/{database}/{one}" for one in names),
            ]
        elif action == "GetDatabases":
            rests = ["catalog", "database/*"]
        elif action in {"GetDatabase", "CreateDatabase"}:
            name = given.get("Name") or given["DatabaseInput"]["Name"]
            rests = ["catalog", f"database/{name}"]
        elif action in _OF_JOBS:
            rests = [f"job/{given['JobName']}"]
        elif action in _OF_CRAWLERS:
            rests = [f"crawler/{given['Name']}"]
        elif action in {"CreateClassifier", "CreateCrawler", "DeleteClassifier", "GetCrawlers"}:
            return ["*"]
        return None if rests is None else [self._arn("glue", one) for one in rests]

    def _athena(self, action: str, given: Parameters) -> list[str] | None:
        if action in _OF_QUERIES or action == "GetWorkGroup":
            # AWS knows the workgroup of a query by its id; here there is one workgroup besides `primary`.
            group = given.get("WorkGroup", "billing-lake")
            return [self._arn("athena", f"workgroup/{group}")]
        return None

    def _ecs(self, action: str, given: Parameters) -> list[str] | None:
        if action == "RunTask":
            return [self.task_arn(given["taskDefinition"])]
        if action == "DescribeTasks":
            return list(given["tasks"])
        if action == "StopTask":
            return [given["task"]]
        if action == "DescribeTaskDefinition":
            return ["*"]
        return None

    def _ec2(self, action: str, _: Parameters) -> list[str] | None:
        return ["*"] if action == "DescribeNetworkInterfaces" else None

    def _logs(self, action: str, given: Parameters) -> list[str] | None:
        if action in {"GetLogEvents", "CreateLogStream", "PutLogEvents"}:
            group, stream = given["logGroupName"], given["logStreamName"]
            return [self._arn("logs", f"log-group:{group}:log-stream:{stream}")]
        return None

    def _context(self, name: str, given: Parameters) -> dict[str, str]:
        if name != "ecs:RunTask":
            return {}
        cluster = given.get("cluster", "default").rpartition("/")[2]
        return {"ecs:cluster": self._arn("ecs", f"cluster/{cluster}")}

    def _passed(self, name: str, given: Parameters) -> list[Check]:
        """Return the checks of roles that are handed to a service, and of tags that are given."""
        if name == "glue:CreateCrawler":
            context = {"iam:passedtoservice": "glue.amazonaws.com"}
            return [("iam:PassRole", given["Role"], context)]
        if name != "ecs:RunTask":
            return []
        context = {"iam:passedtoservice": "ecs-tasks.amazonaws.com"}
        checks: list[Check] = [
            ("iam:PassRole", role, context) for role in self.task_roles(given["taskDefinition"])
        ]
        if given.get("tags"):
            cluster = given.get("cluster", "default").rpartition("/")[2]
            checks.append(("ecs:TagResource", self._arn("ecs", f"task/{cluster}/*"), {}))
        return checks
