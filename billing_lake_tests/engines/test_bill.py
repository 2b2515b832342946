"""Which rows of a table count as tagged, whether tags are columns or keys of a map."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_lake.domain.sources import Source, SourceFile
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.registry import format_named

KEYS = {
    "cur2": ("resource_tags", "user_team", "user_", "aws_created_by", "User_x", ""),
    "focus": ("tags", "team", "aws:createdBy", "aws:tags:CostCategory/Team", "goog-x", "AWS:x"),
}
OWN = {"user_team", "user_", "team", "AWS:x"}
VALUES = st.sampled_from(["x", "", None])


@pytest.mark.parametrize("name", KEYS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_a_key_of_ones_own_with_a_value_is_a_tag(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    form, (column, *keys) = format_named(name), KEYS[name]
    maps = st.dictionaries(st.sampled_from(keys), VALUES, max_size=3) | st.none()
    rows = data.draw(st.lists(maps, min_size=1, max_size=12))
    roles, cost = form.roles, next(iter(form.headline_costs))
    kinds = [str(roles.charge_type), str(roles.currency), cost, column]
    texts = pa.map_(pa.string(), pa.string())
    table = pa.table(
        [
            pa.array(["Usage"] * len(rows)),
            pa.array(["USD"] * len(rows)),
            pa.array([Decimal(2) ** at for at in range(len(rows))], pa.decimal128(38, 18)),
            pa.array([None if row is None else [*row.items()] for row in rows], texts),
        ],
        names=kinds,
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=5)
    files = (SourceFile(uri=str(path), name=path.name),)
    source = form.with_roles(Source(container="parquet", files=files, columns=form.columns(kinds)))
    bill = PolarsEngine().bill(source, cost, form.charges, form.tags(kinds))
    tagged = [any(key in OWN and value for key, value in (row or {}).items()) for row in rows]
    expected = sum(2**at for at, is_tagged in enumerate(tagged) if not is_tagged)
    assert bill.untagged.get("USD", Decimal()) == expected
    assert bill.usage == {"USD": 2 ** len(rows) - 1}
