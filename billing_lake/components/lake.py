"""The lake that a project's exports share: opened by whichever of them is loaded first."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from billing_lake.deployments import open_lake


def lake_resources() -> dict[str, Any]:
    """Return the resources of the lake that the environment chooses: the same objects to each export of a project.

    Dagster refuses two resources of one key unless they are one object.

    Raises:
        ConfigurationError: The environment describes no lake.
    """
    return _opened(str(Path.cwd()), frozenset(os.environ.items()))


@lru_cache(maxsize=1)
def _opened(_folder: str, environment: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """Open the lake; its folder may be given in relation to the working directory."""
    return open_lake(dict(environment)).resources()
