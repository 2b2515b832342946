"""The fixture `aws`: an account's worth of services on this machine, started when a test first asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

from billing_lake_tests.servers.account import Account

if TYPE_CHECKING:
    from billing_lake_tests.servers.glue import Glue

# What of the machine's own environment would lead a client elsewhere.
_FOREIGN = ("AWS_", "BILLING_LAKE_")


class Aws(Account):
    """An account, and the services behind it, whose faults a test may choose."""

    glue: Glue


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """The services, one set for all tests of a process; buckets and names keep tests apart."""
    from botocore.loaders import create_loader

    from billing_lake_tests.servers.glue import Glue
    from billing_lake_tests.servers.seaweedfs import SeaweedFS

    keys = (Aws.key, *Aws.more_keys)
    with (
        pytest.MonkeyPatch.context() as patch,
        SeaweedFS(keys=keys, secret=Aws.secret, account=Aws.account) as seaweedfs,
    ):
        # Each session of boto3, of which each test has some, would read the descriptions of the services anew: megabytes of JSON.
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        services = Aws(seaweedfs)
        with Glue(services) as services.glue:
            services.glue_url = services.glue.url
            yield services


@pytest.fixture(autouse=True)
def no_wish_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let Glue go on after each test: what one holds back would be waited for by those after it, and its faults would be theirs."""
    services: Aws | None = request.getfixturevalue("aws") if "aws" in request.fixturenames else None
    yield
    if services is not None:
        services.glue.forget_wishes()


@pytest.fixture
def aws_environment(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process, and those that it starts, find the services; a test adds settings of its own."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    variables = aws.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # It keeps the keys that it found when it was made.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    return variables
