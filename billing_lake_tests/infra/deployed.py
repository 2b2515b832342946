"""The fixture `deployed`: the synthesized stacks, deployed, and two roles whose every request is seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest

from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.infra.cloudformation import Deployment
from billing_lake_tests.infra.recorder import Proxy, Recorder
from billing_lake_tests.infra.s3_requests import Place, iceberg_checks, s3_checks, signer
from billing_lake_tests.infra.service_requests import Services
from billing_lake_tests.infra.stacks import ROOT, Stacks
from billing_lake_tests.lakes import SPEC
from billing_lake_tests.servers.account import Account
from billing_lake_tests.servers.aws import Aws

if TYPE_CHECKING:
    from billing_lake_tests.servers.glue import Glue

NAME = "finops"
NAMESPACE = "finance"
CONTEXT = {
    "name": NAME,
    "namespaces": f"{NAMESPACE},billing",
    "region": Aws.region,
    "glue": "true",
    "crawler": "true",
    "image": "registry.example/billing-lake:1",
}
"""Settings of the deployment: everything that the harness can run is switched on."""

FROM_EXPORTS = replace(SPEC, prefix="exports")


class Role(Account):
    """The account as somebody sees it who has a role: by a key of its own, and through the proxies."""

    def __init__(self, aws: Account, arn: str, key: str, s3: str, iceberg: str) -> None:
        self.arn = arn
        self.key = key
        self.glue_url = aws.glue_url
        self._s3, self._iceberg = s3, iceberg
        self._clients: dict[str, Any] = {}

    @property
    def s3_url(self) -> str:
        return self._s3

    @property
    def iceberg_url(self) -> str:
        return self._iceberg


@dataclass(frozen=True)
class Deployed:
    """What was deployed.

    Attributes:
        aws: The account, as nobody's role.
        stacks: The templates.
        settings: The product's settings, from the outputs of the stacks.
        recorder: What saw the roles' requests.
        dagster: The role of Dagster.
        job: The role of the Glue job.
        deployment: What the stacks made.
    """

    aws: Aws
    stacks: Stacks
    settings: dict[str, str]
    recorder: Recorder
    dagster: Role
    job: Role
    deployment: Deployment

    @property
    def environment(self) -> dict[str, str]:
        """What Dagster is given: its role's key, the outputs, and where the endpoints of AWS are here."""
        there = {"BILLING_LAKE_S3_TABLES_URI": self.dagster.iceberg_url}
        return {**self.dagster.environment(), **self.settings, **there}


@dataclass(frozen=True)
class DeployedLake(SampleLakeOnAws):
    """A lake where the stacks made it, with everything in the names that the outputs state."""

    @cached_property
    def variables(self) -> dict[str, str]:
        return {**self.environment, "BILLING_LAKE_ENGINE": self.engine}

    def deliver(self, period: str, **arguments: Any) -> Any:
        spec = replace(FROM_EXPORTS, report=str(self.settings["report"]))
        return super().deliver(period, **{"spec": spec, **arguments})


@pytest.fixture(scope="session")
def deployed(aws: Aws, synthesize: Callable[..., Stacks]) -> Iterator[Deployed]:
    """The stacks `lake` and `dagster`, deployed once for a process of tests."""
    from billing_lake.resources.glue_package import build_glue_package

    build_glue_package(ROOT / "dist")
    stacks = synthesize(**CONTEXT)
    deployment = Deployment(aws, database="127.0.0.1")
    settings = deployment.deploy(stacks, "lake", "dagster")
    # The account is not the lake's alone.
    aws.client("glue").create_database(DatabaseInput={"Name": "of_others"})
    arns = {
        kind: f"arn:aws:iam::{aws.account}:role/{NAME}-{aws.region}-{kind}"
        for kind in ("dagster", "glue-job")
    }
    keys = dict(zip(arns.values(), Aws.more_keys, strict=True))
    recorder = Recorder({key: arn for arn, key in keys.items()})
    recorder.identity.update({arn: [*deployment.role_policies(arn)] for arn in keys})
    recorder.resource = deployment.resource_policies
    place = Place(aws.account, aws.region, lambda: frozenset(deployment.table_buckets))
    services = Services(aws.account, aws.region, deployment.task_roles, deployment.task_arn)
    with ExitStack() as stack:
        s3 = stack.enter_context(
            Proxy(aws.s3_url, recorder, partial(s3_checks, place=place), json_errors=False)
        )
        iceberg = stack.enter_context(
            Proxy(aws.iceberg_url, recorder, partial(iceberg_checks, place=place), json_errors=True)
        )
        stack.enter_context(_watching(aws.glue, recorder, services))
        dagster, job = (Role(aws, arn, keys[arn], s3.url, iceberg.url) for arn in keys)
        aws.glue.runs.run_as(NAME, job)
        yield Deployed(aws, stacks, settings, recorder, dagster, job, deployment)
    assert recorder.faults == []


@contextmanager
def _watching(glue: Glue, recorder: Recorder, services: Services) -> Iterator[None]:
    """Judge moto's calls by roles; those of the tests themselves pass."""

    def watch(response: Any, action: str) -> Any | None:
        # moto's own reading of the key knows only keys that look like those of AWS.
        who = recorder.roles.get(signer(response.headers.get("Authorization", ""))[0])
        if who is None:
            return None
        service = str(response.service_name)
        json_body = response.headers.get("X-Amz-Target") is not None
        given = (
            json.loads(response.body or "{}")
            if json_body
            else {name: values[0] for name, values in response.querystring.items()}
        )
        try:
            refusal = recorder.refusal(who, services.checks(service, action, given))
        except Exception as fault:
            recorder.faults.append(f"{service}:{action}: {fault!r}")
            raise
        if refusal is None:
            return None
        if json_body:
            body = json.dumps({"__type": "AccessDeniedException", "message": refusal})
            return 400, {"x-amzn-errortype": "AccessDeniedException"}, body
        code = "UnauthorizedOperation" if service == "ec2" else "AuthorizationError"
        error = f"<ErrorResponse><Error><Code>{code}</Code><Message>{refusal}</Message></Error></ErrorResponse>"
        return 403, {}, error

    assert glue.watch is None
    glue.watch = watch
    try:
        yield
    finally:
        glue.watch = None
