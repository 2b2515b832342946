"""Values between assets: one JSON file each, replaced as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import StorageReadError, StorageWriteError, TableError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import Encoded, EncodedFile, SourceFile
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


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"rows": 7', '"rows": 8'),
        lambda text: text.replace('"rows": 7', '"rows": "7"'),
        lambda text: text.replace('"rows": 7', '"rows": NaN'),
        lambda text: text.replace('"rows": 7', '"rows": 1e999'),
        lambda text: text.replace('"rows": 7', '"rows": 7, "rows": 70'),
        lambda text: text.replace(', "content": "c"', ""),
        lambda text: text.replace('"written": "', '"written": "9'),
        lambda text: text[: len(text) // 2],
        lambda text: text + text,
        lambda _: "[" * 100_000,
        lambda _: "",
        lambda _: "\0" * 500,
        lambda _: "\udcff",
    ],
)
def test_a_value_that_somebody_has_changed_or_cut_off_is_refused_with_its_file_and_what_to_do(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    files = (EncodedFile(uri="/f", rows=7, size=1),)
    store.write(KEY, "2025-03", Encoded(identity="i", version="v", files=files, content="c"))
    path = tmp_path / "costs" / "raw_reports" / "2025-03.json"
    before = path.read_text()
    assert change(before) != before
    path.write_bytes(change(before).encode(errors="surrogateescape"))
    with pytest.raises(
        TableError, match=r"costs/raw_reports cannot be read.*2025-03\.json"
    ) as found:
        store.find(KEY, "2025-03")
    assert "Materialize costs/raw_reports for 2025-03 again" in found.value.how


@pytest.mark.parametrize("text", ["NaN", "about 7", ""])
def test_an_earlier_releases_sum_that_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "costs" / "raw_reports" / "2025-03.json"
    path.parent.mkdir(parents=True)
    profile = Profile(rows=1, sums={"usage": Decimal(1)})
    crawl = Crawl(
        table="t",
        delivery=Delivery(export="costs", period="2025-03", version="v", layout="loose", files=()),
        source=SOURCE,
        merged=(),
        profile=profile,
    )
    value = crawl.to_json()
    value["profile"]["sums"]["usage"] = text
    document = {"format": FORMAT, "kind": "Crawl", "written": "2025", "value": value}
    path.write_text(json.dumps(document))
    with pytest.raises(TableError, match="cannot be read"):
        ValueStore(str(tmp_path), LocalFiles()).find(KEY, "2025-03")


def test_the_value_of_another_month_is_refused_however_it_came_there(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    store.write(KEY, "2025-03", VALUE)
    folder = tmp_path / "costs" / "raw_reports"
    shutil.copy(folder / "2025-03.json", folder / "2025-04.json")
    with pytest.raises(TableError, match=r"it is the value of costs/raw_reports/2025-03"):
        store.find(KEY, "2025-04")


def test_a_folder_where_a_value_must_be_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "costs" / "raw_reports" / "2025-03.json").mkdir(parents=True)
    with pytest.raises(StorageReadError, match=r"cannot be read: Is a directory"):
        ValueStore(str(tmp_path), LocalFiles()).find(KEY, "2025-03")


def test_a_value_of_an_earlier_release_is_read_which_had_no_digest(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), LocalFiles())
    store.write(KEY, "2025-03", VALUE)
    path = tmp_path / "costs" / "raw_reports" / "2025-03.json"
    kept = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: kept[name] for name in ("format", "kind", "written", "value")})
    )
    assert store.get(KEY, "2025-03", Encoded) == VALUE


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
