"""Deployments: the one place that knows where the lake lives and what moves its data.

An asset gets its storage, catalogs and engine from its `Lake`, whatever they are. Every deployment has
its own entry in `_LAKES` and none is a default branch: a deployment that is forgotten must fail at start, not inherit
another one's tables.

Nothing heavy is imported here: a code location is loaded many times a day, most often only to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import get_args

from billing_lake.deployments.base import DEPLOYMENT_SETTING, HOME_SETTING, Deployment, Lake
from billing_lake.deployments.local import LocalLake, local_lake
from billing_lake.domain.errors import ConfigurationError, shown

__all__ = [
    "DEPLOYMENT_SETTING",
    "HOME_SETTING",
    "Deployment",
    "Lake",
    "LocalLake",
    "chosen_deployment",
    "open_lake",
]


def open_lake(environment: Mapping[str, str] = os.environ) -> Lake:
    """Return the lake of the deployment that the environment chooses.

    Raises:
        ConfigurationError: The environment names no deployment that exists, or a home that is no folder.
    """
    return _LAKES[chosen_deployment(environment)](environment)


def chosen_deployment(environment: Mapping[str, str]) -> Deployment:
    """Return the deployment that the environment names.

    Raises:
        ConfigurationError: It is none.
    """
    name = environment.get(DEPLOYMENT_SETTING) or "local"
    for deployment in _LAKES:
        if name == deployment:
            return deployment
    what = f"{DEPLOYMENT_SETTING} is {shown(name)!r}, which is no deployment"
    raise ConfigurationError(what, remedy=f"Set it to one of: {', '.join(get_args(Deployment))}")


def _local_spark(environment: Mapping[str, str]) -> Lake:
    # Imports Dagster, which the command line does without.
    from billing_lake.deployments.local_spark import local_spark_lake

    return local_spark_lake(environment)


def _aws(environment: Mapping[str, str]) -> Lake:
    # Needs packages that a lake on one machine does without.
    from billing_lake.deployments.aws import aws_lake

    return aws_lake(environment)


_LAKES: dict[Deployment, Callable[[Mapping[str, str]], Lake]] = {
    "local": local_lake,
    "local_spark": _local_spark,
    "aws": _aws,
}
