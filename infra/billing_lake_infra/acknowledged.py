"""Findings of cdk-nag that are meant to be so, each with its reason.

Every one is kept in a list as well, so that the check can tell one that no rule asks for any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import aws_cdk as cdk
from constructs import IConstruct

from billing_lake_infra.roles import Granted

ACKNOWLEDGED: dict[tuple[str, str], str] = {}
"""Reasons by the construct's path and the rule."""


def acknowledge(construct: IConstruct, findings: Mapping[str, str]) -> None:
    """Acknowledge findings about a construct.

    Args:
        construct: What they are about.
        findings: Reasons, by the rules without `AwsSolutions-`.
    """
    for rule, reason in findings.items():
        name = f"AwsSolutions-{rule}"
        ACKNOWLEDGED[construct.node.path, name] = reason
        cdk.Validations.of(construct).acknowledge(
            cdk.Acknowledgment(id=f"AwsSolutions::{name}", reason=reason)
        )


def acknowledge_wildcards(construct: IConstruct, granted: Iterable[Granted]) -> None:
    """Acknowledge the resources with `*` of a policy, for the reasons of the rights that have them."""
    reasons: dict[str, list[str]] = {}
    for one in granted:
        for resource in one.resources:
            # Where account or region are CloudFormation's parameters, there is no text to name a finding by.
            if "*" in resource and not cdk.Token.is_unresolved(resource):
                reasons.setdefault(resource, []).append(f"{one.right.feature}: {one.right.why}")
    acknowledge(
        construct,
        {f"IAM5[Resource::{resource}]": "; ".join(why) for resource, why in reasons.items()},
    )
