"""Values between assets: one JSON file each, replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import StorageWriteError, TableError
from billing_lake.domain.sources import Encoded, SourceFile
from billing_lake.files.local import LocalFiles
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.values import FORMAT, ValueStore

KEY = ("costs", "raw_reports")
VALUE = Encoded(identity="i", version="v")
_NAMES = ("identity_line_item_id", "line_item_unblended_cost", "resource_tags_user_team")
SOURCE = LEGACY_CUR.source(
    [SourceFile(uri="/r/a", name="a", columns=_NAMES)], LEGACY_CUR.columns(_NAMES)
)


def test_what_is_written_is_read_and_the_latest_counts(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    delivery = Delivery(export="costs", period="2025-03", version="v", layout="loose", files=())
    store.write(KEY, "2025-03", VALUE)
    store.write(KEY, "2025-03", delivery)
    assert store.get(KEY, "2025-03", Delivery) == delivery
    assert store.periods(KEY) == ("2025-03",)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["2025-03.json"]


def test_a_value_written_later_has_a_later_time(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    times = []
    for _ in range(3):
        store.write(KEY, "2025-03", VALUE)
        kept = store.find(KEY, "2025-03")
        assert kept
        times.append(kept.written)
    assert times == sorted(times)


def test_a_value_that_is_missing_or_broken_says_what_to_materialize(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    assert store.find(KEY, "2025-03") is None
    with pytest.raises(TableError, match="Materialize costs/raw_reports for 2025-03 first"):
        store.get(KEY, "2025-03", Encoded)
    path = tmp_path / "costs" / "raw_reports" / "2025-03.json"
    for text in ("{", "[]", '{"kind": "os.system", "written": "", "value": {}}'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(TableError, match="cannot be read"):
            store.find(KEY, "2025-03")


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1])
def test_a_value_of_another_version_is_refused_with_what_to_do(
    tmp_path: Path, version: int
) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    store.write(KEY, "2025-03", VALUE)
    path = tmp_path / "costs" / "raw_reports" / "2025-03.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": version}))
    with pytest.raises(TableError, match=r"another version of Billing Lake.*Use that version"):
        store.find(KEY, "2025-03")


def test_a_folder_that_takes_no_values_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "costs").write_text("a file where a folder must be")
    with pytest.raises(StorageWriteError, match="costs/raw_reports cannot be kept"):
        ValueStore(str(tmp_path), LocalFiles()).write(KEY, "2025-03", VALUE)
