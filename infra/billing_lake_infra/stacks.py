"""Puts the stacks together, in the order in which they are deployed."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk

from billing_lake_infra.buckets import ReplicaStack
from billing_lake_infra.exports import REGION, ExportsStack
from billing_lake_infra.lake import LakeStack
from billing_lake_infra.orchestrator import DagsterStack
from billing_lake_infra.settings import Settings


def add_stacks(app: cdk.App, settings: Settings, glue_package: Path) -> None:
    """Add the stacks that the settings ask for.

    Args:
        app: Where they are added.
        settings: What is to be deployed.
        glue_package: Folder with the files of the Glue job.
    """
    account, region = settings.account or None, settings.region or None
    here = cdk.Environment(account=account, region=region)
    lake = LakeStack(app, settings, glue_package, env=here, **_common(settings, "lake"))
    if settings.replicas:
        there = cdk.Environment(account=account, region=settings.replicas)
        replica = ReplicaStack(app, settings, env=there, **_common(settings, "replica"))
        lake.add_stack_dependency(replica)
    if settings.exports != ("none",):
        payer = cdk.Environment(account=settings.payer or account, region=REGION)
        exports = ExportsStack(app, settings, env=payer, **_common(settings, "exports"))
        # A legacy report writes a test object as soon as it is made. Across accounts the order is the user's.
        if not settings.payer or settings.payer == settings.account:
            exports.add_stack_dependency(lake)
    if settings.dagster:
        dagster = DagsterStack(app, settings, lake.key, env=here, **_common(settings, "dagster"))
        dagster.add_stack_dependency(lake)
    cdk.Tags.of(app).add("billing-lake", settings.name)


def _common(settings: Settings, kind: str) -> dict[str, object]:
    portable = not settings.account and not settings.region
    return {
        "description": f"Billing Lake {settings.name}: {kind}",
        "termination_protection": kind != "exports",
        # A template for any account is deployed without the CDK, so it must not ask for what `cdk bootstrap` makes.
        # What is given to CloudFormation in a call of its own may have 51,200 characters.
        "suppress_template_indentation": portable,
        "synthesizer": cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=not portable),
    }
