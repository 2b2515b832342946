"""What holds for every catalog of tables."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.errors import (
    ConfigurationError,
    DeliveryChangedError,
    FieldIdMismatchError,
    LoadError,
    SchemaChangeError,
    SnapshotGoneError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.schemas import Column, Field, plan
from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.domain.types import INT, LONG, STRING, Map, parse
from billing_lake.tables.base import Commit, TableCatalog
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.hive import HiveTables
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MAKERS,
    MARCH,
    OTHER_MARCH,
    TABLE,
    and_glue_hive,
    changed,
    count,
    data_below,
    data_of,
    encode,
    everywhere,
    files_of,
    load,
    versions,
)


@everywhere
def test_a_table_has_the_fields_it_was_created_with(catalog: TableCatalog) -> None:
    assert catalog.fields(TABLE) == FIELDS
    assert TABLE in catalog.tables()
    assert catalog.fields("billing.other") is None


@everywhere
def test_creating_a_table_twice_changes_nothing(catalog: TableCatalog) -> None:
    assert not catalog.create(TABLE, FIELDS[2:])
    assert catalog.fields(TABLE) == FIELDS


@everywhere
def test_the_first_load_of_a_period_replaces_nothing(catalog: TableCatalog, staging: str) -> None:
    commit = load(catalog, encode(staging, rows=(2, 3)))
    assert (commit.table, commit.rows, commit.files) == (TABLE, 5, 2)
    assert (commit.replaced_rows, commit.replaced_version) == (0, None)
    assert count(catalog.files(TABLE, MARCH)) == 5
    assert catalog.files(TABLE, MARCH).columns == COLUMNS


@everywhere
def test_a_restatement_with_fewer_files_leaves_nothing_of_the_first(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging, rows=(2, 3)))
    commit = load(catalog, encode(staging, rows=(4,), version="v2"))
    assert (commit.replaced_rows, commit.replaced_version) == (5, "v1")
    assert count(catalog.files(TABLE, MARCH)) == 4
    assert versions(catalog.files(TABLE, MARCH)) == {"v2"}


@everywhere
def test_what_a_commit_made_can_be_read_after_the_next_one_and_never_in_part(
    catalog: TableCatalog, staging: str
) -> None:
    first = load(catalog, encode(staging, rows=(2, 3)))
    load(catalog, encode(staging, rows=(4,), version="v2"))
    assert count(catalog.files(TABLE, MARCH, first)) == 5
    assert versions(catalog.files(TABLE, MARCH, first)) == {"v1"}
    load(catalog, encode(staging, rows=(6,), version="v3"))
    if first.generation is None:
        assert count(catalog.files(TABLE, MARCH, first)) == 5
        first = replace(first, snapshot_id=1)
    with pytest.raises(SnapshotGoneError):
        catalog.files(TABLE, MARCH, first)


@everywhere
def test_the_same_files_can_be_loaded_again(catalog: TableCatalog, staging: str) -> None:
    encoded = encode(staging)
    load(catalog, encoded)
    assert load(catalog, encoded).replaced_version == "v1"
    assert count(catalog.files(TABLE, MARCH)) == 2


@everywhere
def test_a_load_touches_neither_other_periods_nor_other_exports(
    catalog: TableCatalog, staging: str
) -> None:
    for key, rows in ((MARCH, 1), (APRIL, 2), (OTHER_MARCH, 3)):
        load(catalog, encode(staging, key, (rows,)), key)
    load(catalog, encode(staging, rows=(7,)))
    assert [count(catalog.files(TABLE, k)) for k in (MARCH, APRIL, OTHER_MARCH)] == [7, 2, 3]
    assert catalog.periods(TABLE, "cur") == ("2025-03", "2025-04")
    assert catalog.periods(TABLE, "other") == ("2025-03",)
    assert catalog.periods(TABLE, "nobody") == ()
    assert catalog.periods(TABLE) == ("2025-03", "2025-04")


@and_glue_hive
@pytest.mark.parametrize("rows", [(), (0,), (0, 0)])
def test_an_empty_delivery_empties_the_period(
    catalog: TableCatalog, staging: str, rows: tuple[int, ...]
) -> None:
    load(catalog, encode(staging, rows=(3,)))
    commit = load(catalog, encode(staging, rows=rows, version="v2"))
    assert (commit.rows, commit.replaced_rows) == (0, 3)
    assert catalog.files(TABLE, MARCH).files == ()
    assert catalog.periods(TABLE, "cur") == ()
    after = load(catalog, encode(staging, rows=(1,), version="v3"))
    assert (after.replaced_rows, after.replaced_version) == (0, "v2")


@everywhere
def test_a_table_says_which_delivery_each_period_holds_and_forgets_it_with_its_rows(
    catalog: TableCatalog, staging: str
) -> None:
    assert catalog.held(TABLE, "cur") == {}
    march, april, other = (encode(staging, key) for key in (MARCH, APRIL, OTHER_MARCH))
    for encoded, key in ((march, MARCH), (april, APRIL), (other, OTHER_MARCH)):
        load(catalog, encoded, key)
    assert catalog.held(TABLE, "cur") == {"2025-03": march.identity, "2025-04": april.identity}
    assert catalog.held(TABLE, "other") == {"2025-03": other.identity}
    empty = encode(staging, rows=(0,), version="v2")
    load(catalog, empty)
    assert catalog.held(TABLE, "cur") == {"2025-03": empty.identity, "2025-04": april.identity}
    with pytest.raises(DeliveryChangedError):
        load(catalog, encode(staging), APRIL, verify=changed)
    assert catalog.held(TABLE, "cur")["2025-04"] == april.identity
    catalog.drop(TABLE)
    assert catalog.held(TABLE, "cur") == {}
    assert catalog.create(TABLE, FIELDS)
    assert catalog.held(TABLE, "cur") == {}


def rebuild(
    catalog: TableCatalog, periods: dict[str, Encoded], verify: Callable[[], None] = lambda: None
) -> Commit:
    return catalog.rebuild(
        TABLE,
        "cur",
        periods,
        properties={period: {"billing-lake.run-id": "run-2"} for period in periods},
        verify=verify,
        before="now",
    )


@everywhere
def test_a_rebuild_exchanges_columns_and_all_rows_of_the_export_or_nothing(
    catalog: TableCatalog, staging: str
) -> None:
    have = catalog.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("measure", LONG)))) or ()
    for key, rows in ((MARCH, 1), (APRIL, 2)):
        load(catalog, encode(staging, key, (rows,), fields=have), key)
    fields = catalog.plan_rebuild(TABLE, (*COLUMNS, Column("measure", STRING))).fields
    assert fields[-1] == Field("measure", STRING, 8)
    new = encode(staging, rows=(5, 1), version="v2", fields=fields)
    with pytest.raises(DeliveryChangedError):
        rebuild(catalog, {"2025-03": new}, changed)
    assert catalog.fields(TABLE) == have
    assert [count(catalog.files(TABLE, key)) for key in (MARCH, APRIL)] == [1, 2]
    commit = rebuild(catalog, {"2025-03": new})
    assert (commit.rows, commit.files, commit.replaced_rows) == (6, 2, 3)
    assert catalog.fields(TABLE) == fields
    assert catalog.periods(TABLE, "cur") == ("2025-03",)
    assert catalog.held(TABLE, "cur") == {"2025-03": new.identity}
    assert count(catalog.files(TABLE, MARCH)) == 6
    old = encode(staging, fields=have)
    with pytest.raises(FieldIdMismatchError):
        load(catalog, old)
    load(catalog, encode(staging, APRIL, (3,), fields=fields), APRIL)
    assert [count(catalog.files(TABLE, key)) for key in (MARCH, APRIL)] == [6, 3]


@everywhere
def test_the_files_of_a_commit_are_found_behind_the_next_one(
    catalog: TableCatalog, staging: str
) -> None:
    first = load(catalog, encode(staging, rows=(2, 3)))
    second = load(catalog, encode(staging, rows=(4,), version="v2"))
    for commit, rows, version in ((first, 5, "v1"), (second, 4, "v2")):
        source = catalog.files(TABLE, MARCH, commit)
        assert (count(source), versions(source)) == (rows, {version})
    assert versions(catalog.files(TABLE, MARCH)) == {"v2"}


@everywhere
def test_an_empty_delivery_can_be_the_first(catalog: TableCatalog, staging: str) -> None:
    commit = load(catalog, encode(staging, rows=()))
    assert (commit.rows, commit.files, commit.replaced_version) == (0, 0, None)
    assert catalog.files(TABLE, MARCH).files == ()


@everywhere
def test_evolving_adds_columns_and_older_periods_lack_them(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging))
    change = plan(FIELDS, (*COLUMNS, Column("resource_tags_user_team", STRING)))
    assert catalog.evolve(TABLE, change) == change.fields
    assert catalog.evolve(TABLE, change) == change.fields
    assert catalog.fields(TABLE) == change.fields
    load(catalog, encode(staging, APRIL, fields=change.fields), APRIL)
    assert catalog.files(TABLE, MARCH).type_of("resource_tags_user_team") == STRING
    assert count(catalog.files(TABLE, MARCH)) == 2


@and_glue_hive
def test_files_without_a_column_that_the_table_has_are_loaded(
    catalog: TableCatalog, staging: str
) -> None:
    catalog.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("tag", STRING))))
    assert load(catalog, encode(staging)).rows == 2


@everywhere
def test_two_plans_made_side_by_side_are_merged(catalog: TableCatalog) -> None:
    one = plan(FIELDS, (*COLUMNS, Column("tag_a", STRING)))
    two = plan(FIELDS, (*COLUMNS, Column("tag_b", STRING)))
    catalog.evolve(TABLE, one)
    after = catalog.evolve(TABLE, two)
    assert [(f.name, f.field_id) for f in after[-2:]] == [("tag_a", 7), ("tag_b", 8)]


@and_glue_hive
@pytest.mark.parametrize(
    ("narrow", "wide"),
    [("int", "long"), ("float", "double"), ("decimal(20, 18)", "decimal(38, 18)")],
)
def test_columns_are_promoted_and_never_narrowed(
    catalog: TableCatalog, narrow: str, wide: str
) -> None:
    catalog.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("measure", parse(narrow)))))
    have = catalog.fields(TABLE)
    after = catalog.evolve(TABLE, plan(have, (*COLUMNS, Column("measure", parse(wide)))))
    assert after[-1] == Field("measure", parse(wide), 7)
    again = catalog.evolve(TABLE, plan(have, (*COLUMNS, Column("measure", parse(narrow)))))
    assert again == after


@everywhere
def test_a_map_is_added_and_its_values_are_promoted_with_the_ids_that_were_planned(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging))
    for type_ in (Map(STRING, INT), Map(STRING, LONG)):
        change = plan(catalog.fields(TABLE), (*COLUMNS, Column("tags", type_)))
        assert change.fields[-1] == Field("tags", type_, 7, (8, 9))
        assert catalog.evolve(TABLE, change) == change.fields
        encoded = encode(staging, APRIL, fields=change.fields, tags={"a": 1, "b": None})
        load(catalog, encoded, APRIL)
    change = plan(catalog.fields(TABLE), (*COLUMNS, Column("more", Map(STRING, STRING))))
    assert change.fields[-1] == Field("more", Map(STRING, STRING), 10, (11, 12))
    assert catalog.evolve(TABLE, change) == change.fields
    assert catalog.files(TABLE, APRIL).type_of("tags") == Map(STRING, LONG)
    swapped = tuple(replace(field, nested_ids=field.nested_ids[::-1]) for field in change.fields)
    with pytest.raises(FieldIdMismatchError):
        load(catalog, replace(encode(staging, fields=swapped), fields=change.fields))
    assert count(catalog.files(TABLE, MARCH)) == 2


@everywhere
def test_a_type_that_somebody_else_chose_otherwise_is_refused(catalog: TableCatalog) -> None:
    catalog.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("measure", STRING))))
    with pytest.raises(SchemaChangeError, match="measure"):
        catalog.evolve(TABLE, plan(FIELDS, (*COLUMNS, Column("measure", LONG))))


@and_glue_hive
@pytest.mark.parametrize(
    ("table_fields", "file_fields"),
    [
        ([replace(FIELDS[0], type=STRING), *FIELDS[1:]], None),
        ([*FIELDS, Field("tag", STRING, 7)], None),
        (FIELDS, [replace(FIELDS[0], type=STRING), *FIELDS[1:]]),
        (FIELDS, [replace(FIELDS[0], field_id=9), *FIELDS[1:]]),
        (FIELDS, FIELDS[1:]),
    ],
    ids=["type of table", "column of table", "type in file", "id in file", "column in file"],
)
def test_files_with_other_fields_than_stated_or_than_the_tables_are_refused(
    catalog: TableCatalog,
    staging: str,
    table_fields: list[Field],
    file_fields: list[Field] | None,
) -> None:
    load(catalog, encode(staging))
    before = data_of(catalog)
    stated = tuple(table_fields)
    encoded = replace(
        encode(staging, fields=stated if file_fields is None else file_fields, rows=(0,)),
        fields=stated,
    )
    with pytest.raises(FieldIdMismatchError):
        load(catalog, encoded)
    assert data_of(catalog) == before
    assert count(catalog.files(TABLE, MARCH)) == 2


@everywhere
def test_files_without_any_field_ids_are_found_by_name(catalog: TableCatalog, staging: str) -> None:
    load(catalog, encode(staging, ids=False))
    assert count(catalog.files(TABLE, MARCH)) == 2


@and_glue_hive
@pytest.mark.parametrize("damage", ["gone", "cut", "fewer rows"])
def test_a_file_that_is_gone_or_damaged_is_refused(
    catalog: TableCatalog, staging: str, damage: str
) -> None:
    encoded = encode(staging)
    uri = encoded.files[0].uri
    files = files_of(uri)
    if damage == "gone":
        files.remove(uri)
    elif damage == "cut":
        files.write(uri, files.read(uri)[:-20])
    else:
        encoded = replace(encoded, files=(replace(encoded.files[0], rows=3),))
    with pytest.raises(LoadError, match="encoded file"):
        load(catalog, encoded)
    assert data_of(catalog) == set()


@and_glue_hive
def test_a_changed_delivery_leaves_the_table_and_its_folder_untouched(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging))
    before = data_of(catalog)
    with pytest.raises(DeliveryChangedError):
        load(catalog, encode(staging, rows=(9,)), verify=changed)
    assert data_of(catalog) == before
    assert count(catalog.files(TABLE, MARCH)) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_storage_that_refuses_the_files_leaves_the_table_untouched(
    catalog: TableCatalog,
    staging: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    load(catalog, encode(staging))
    before = data_below(tmp_path / "warehouse")
    encoded = encode(staging, rows=(1, 1))
    link = os.link

    def refuse_the_second(source: Path, target: Path) -> None:
        if str(source) == encoded.files[1].uri:
            raise OSError(number, os.strerror(number), str(target))
        link(source, target)

    monkeypatch.setattr(os, "link", refuse_the_second)
    with pytest.raises(StorageWriteError, match="refuses a write") as caught:
        load(catalog, encoded)
    assert str(tmp_path / "warehouse") in str(caught.value.file)
    assert data_below(tmp_path / "warehouse") == before
    assert count(catalog.files(TABLE, MARCH)) == 2


def test_files_are_copied_where_they_cannot_be_linked_and_a_full_disk_then_leaves_nothing(
    catalog: TableCatalog, staging: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(source: str, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, str(target))

    monkeypatch.setattr(os, "link", other_file_system)
    load(catalog, encode(staging))
    before = data_below(tmp_path / "warehouse")
    assert count(catalog.files(TABLE, MARCH)) == 2

    def half(source: str, target: Path) -> Any:
        target.write_bytes(Path(source).read_bytes()[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source, None, str(target))

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(StorageWriteError, match="No space left"):
        load(catalog, encode(staging))
    assert data_below(tmp_path / "warehouse") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_warehouse_is_a_named_error(
    catalog: TableCatalog, staging: str, tmp_path: Path
) -> None:
    encoded = encode(staging)
    folders = [
        tmp_path / "warehouse",
        *(p for p in (tmp_path / "warehouse").rglob("*") if p.is_dir()),
    ]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with pytest.raises(StorageWriteError):
            load(catalog, encoded)
    finally:
        for folder in folders:
            folder.chmod(0o755)


@and_glue_hive
def test_a_dropped_table_is_gone_with_its_files_and_can_be_made_again(
    catalog: TableCatalog, staging: str
) -> None:
    load(catalog, encode(staging))
    folder, data = catalog.uri(TABLE), data_of(catalog)
    assert data
    catalog.drop(TABLE)
    for uri in data:
        with pytest.raises(FileNotFoundError):
            files_of(uri).size(uri)
    assert not Path(folder).exists()
    assert catalog.tables() == ()
    assert catalog.create(TABLE, FIELDS)
    assert catalog.files(TABLE, MARCH).files == ()
    assert load(catalog, encode(staging)).replaced_version is None


@everywhere
@pytest.mark.parametrize("verb", ["files", "periods", "drop", "evolve", "replace_period"])
def test_a_missing_table_is_a_named_error(catalog: TableCatalog, staging: str, verb: str) -> None:
    missing = "billing.nothing"
    calls: dict[str, Callable[[], object]] = {
        "files": lambda: catalog.files(missing, MARCH),
        "periods": lambda: catalog.periods(missing, "cur"),
        "drop": lambda: catalog.drop(missing),
        "evolve": lambda: catalog.evolve(missing, plan(FIELDS, COLUMNS)),
        "replace_period": lambda: catalog.replace_period(
            missing, MARCH, encode(staging), properties={}, verify=lambda: None
        ),
    }
    with pytest.raises(TableError, match=r"no table billing\.nothing"):
        calls[verb]()


@and_glue_hive
def test_a_name_that_could_mean_something_else_reaches_neither_sql_nor_a_path(
    catalog: TableCatalog,
) -> None:
    nothing = Encoded(identity="", version="v1", fields=FIELDS)

    def load_into(table: str, key: PeriodKey) -> None:
        catalog.replace_period(table, key, nothing, properties={}, verify=lambda: None)

    for name in ("", ".", "a.", "a.b.c", "../x", "a/b", 'x"; DROP --', "Ünïcode", "A", "x" * 256):
        calls: list[Callable[[str], object]] = [
            lambda name: catalog.create(name, FIELDS),
            catalog.fields,
            lambda name: catalog.create("billing.new", (Field(name, STRING, 1), *FIELDS)),
            lambda name: load_into(name, MARCH),
            lambda name: load_into(TABLE, PeriodKey(name, "2025-03")),
            lambda name: catalog.files(TABLE, PeriodKey("cur", name)),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError):
                call(name)
    assert catalog.tables() == (TABLE,)
    if isinstance(catalog, HiveTables | GlueHiveTables):
        with pytest.raises(ConfigurationError):
            catalog.new_location("../x", MARCH)


@and_glue_hive
def test_a_table_needs_a_namespace(catalog: TableCatalog) -> None:
    with pytest.raises(ConfigurationError, match="after its namespace"):
        catalog.create("cur", FIELDS)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_lake_may_lie_below_a_folder_with_spaces_and_accents(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "my lake é %20 & co"
    catalog = MAKERS[kind](home)
    catalog.create(TABLE, FIELDS)
    load(catalog, encode(tmp_path / "staging"))
    again = MAKERS[kind](home)
    assert count(again.files(TABLE, MARCH)) == 2
    assert str(home) in again.uri(TABLE)
