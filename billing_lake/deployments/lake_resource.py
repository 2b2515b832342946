"""The resource `billing_lake`: gives assets the lake that its settings describe, which the UI shows and a run may set otherwise."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from pydantic import Field, create_model

from billing_lake.deployments.base import HOME_SETTING, Lake
from billing_lake.deployments.local import LocalLake, local_lake
from billing_lake.landing.local import LANDING_SETTING

if TYPE_CHECKING:
    from billing_lake.aws.settings import AwsSettings


class LakeResource(dg.ConfigurableResource[Any], ABC):
    """The lake of a deployment."""

    @abstractmethod
    def create_lake(self) -> Lake:
        """Return the lake that the settings describe.

        Raises:
            ConfigurationError: A setting cannot be right.
        """

    def create_resource(self, context: dg.InitResourceContext) -> Lake:  # noqa: ARG002  # needs no run
        """Return what an asset gets: the lake itself."""
        return self.create_lake()


class LocalLakeResource(LakeResource):
    """A lake in a folder of this machine."""

    home: str = Field(description="Folder of the lake, absolute.")
    landing: str = Field(
        default="",
        description=(
            "Folder that exports are delivered to, absolute, or a bucket as `s3://bucket`; `landing` in the lake's folder where it is "
            "empty."
        ),
    )

    def create_lake(self) -> LocalLake:
        """See `LakeResource`."""
        return _local_lake(self.home, self.landing)


def local_lake_resource(lake: LocalLake) -> Any:
    """Return the resource that gives ``lake`` unless a run says otherwise."""
    return LocalLakeResource.configure_at_launch(**local_settings(lake))


def local_settings(lake: LocalLake) -> dict[str, Any]:
    """Return the values of the fields that describe ``lake``."""
    landing = f"s3://{lake.bucket}" if lake.bucket else str(lake.elsewhere or "")
    return {
        "home": _from_environment(HOME_SETTING, str(lake.home)),
        "landing": _from_environment(LANDING_SETTING, landing),
    }


def aws_lake_resource(settings: AwsSettings) -> Any:
    """Return the resource that gives the lake of ``settings``, with a field for each of them, unless a run says otherwise."""
    fields = type(settings).model_fields
    described: dict[str, Any] = {
        name: (str | None, Field(default=None, description=field.description))
        for name, field in fields.items()
    }
    model = create_model("AwsLakeResource", __base__=_AwsLakeResource, **described)
    values = {
        name: _from_environment(str(fields[name].alias), str(value))
        for name, value in settings.model_dump().items()
        if value is not None
    }
    return model.configure_at_launch(**values)


class _AwsLakeResource(LakeResource):
    """A lake on AWS. Its fields are those of `AwsSettings`, as text, which alone checks them."""

    def create_lake(self) -> Lake:
        """See `LakeResource`."""
        from billing_lake.aws.settings import AwsSettings

        aliases = {name: str(field.alias) for name, field in AwsSettings.model_fields.items()}
        given = {
            alias: str(value)
            for name, alias in aliases.items()
            if (value := getattr(self, name, None)) is not None
        }
        return _aws_lake(frozenset(given.items()))


# The same object for the same settings: a sensor asks for it every few minutes, and its clients and catalogs take time to open.
@lru_cache(maxsize=8)
def _local_lake(home: str, landing: str) -> LocalLake:
    return local_lake({HOME_SETTING: home, LANDING_SETTING: landing})


@lru_cache(maxsize=8)
def _aws_lake(settings: frozenset[tuple[str, str]]) -> Lake:
    from billing_lake.deployments.aws import aws_lake

    return aws_lake(dict(settings))


def _from_environment(variable: str, value: str) -> str:
    """Return ``value``, or the variable that has it, so that each process reads its own environment."""
    environment: Mapping[str, str] = os.environ
    same = bool(value) and environment.get(variable) == value
    return cast("str", dg.EnvVar(variable)) if same else value
