from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.table import Transaction
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import StringType

from billing_lake.tables.iceberg import IcebergTables
from billing_lake.tables.iceberg_transactions import LakeTransaction
from billing_lake_tests.tables.making import TABLE


def change(transaction: Transaction) -> None:
    transaction.set_properties({"owner": "finance"})
    with transaction.update_schema() as schema:
        schema.add_column("more", StringType())
    transaction.remove_properties("owner")


def test_its_metadata_is_what_pyiceberg_works_out_after_every_change(
    iceberg_tables: IcebergTables,
) -> None:
    table = iceberg_tables.open(TABLE)
    ours, theirs = LakeTransaction(table), table.transaction()
    for transaction in (ours, theirs):
        change(transaction)
    assert ours.table_metadata.schema() == theirs.table_metadata.schema()
    assert ours.table_metadata.properties == theirs.table_metadata.properties
    ours.commit_transaction()
    assert "more" in iceberg_tables.open(TABLE).schema().column_names
    assert ours.table_metadata == table.metadata == iceberg_tables.open(TABLE).metadata


def test_it_is_worked_out_once_for_each_change_however_often_it_is_asked_for(
    iceberg_tables: IcebergTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out = 0

    def counted(*arguments: Any) -> object:
        nonlocal worked_out
        worked_out += 1
        return update_table_metadata(*arguments)

    module = LakeTransaction.__module__
    monkeypatch.setattr(f"{module}.update_table_metadata", counted)
    transaction = LakeTransaction(iceberg_tables.open(TABLE))
    for _ in range(5):
        assert "owner" not in transaction.table_metadata.properties
    assert worked_out == 1
    transaction.set_properties({"owner": "finance"})
    for _ in range(5):
        assert transaction.table_metadata.properties["owner"] == "finance"
    assert worked_out == 2
