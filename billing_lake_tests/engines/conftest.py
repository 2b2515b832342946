"""Every engine case runs on every engine."""

from __future__ import annotations

import pytest

from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine


@pytest.fixture(params=["polars"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return {"polars": PolarsEngine}[request.param]()
