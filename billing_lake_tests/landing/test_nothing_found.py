"""Why nothing is found: the folder is not there, or holds something else; and keys with empty parts, which are found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from billing_lake.domain.deliveries import Findings
from billing_lake.domain.errors import (
    BillingLakeError,
    NoDeliveryError,
    NoFolderError,
    ReportFileError,
    UnusableFilesError,
    WrongLayoutError,
)
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import find_deliveries, resolve_delivery
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row

CREATE_NEW = ExportLocation("cur", "create-new", "billing", "cur")
OVERWRITE = ExportLocation("cur", "overwrite", "billing", "cur")
LOOSE = ExportLocation("cur", "loose", "billing")


@pytest.fixture(name="root")
def a_root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture(name="storage")
def a_storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def refused(storage: LocalStorage, export: ExportLocation) -> BillingLakeError:
    """What a run says; a look at the folder says the same, and so it is never quiet."""
    with pytest.raises(BillingLakeError) as caught:
        resolve_delivery(storage, export, "2025-03")
    findings = find_deliveries(storage, export)
    assert findings == Findings(broken=findings.broken)
    assert str(caught.value) in findings.broken.values()
    assert findings.notes
    return caught.value


@pytest.mark.parametrize("export", [CREATE_NEW, LOOSE])
def test_a_folder_that_is_not_there_is_named_with_what_is_there_instead(
    root: Path, storage: LocalStorage, export: ExportLocation
) -> None:
    put(root / "billings/a", b"")
    put(root / "mybill/a", b"")
    put(root / "notes.txt", b"")
    error = refused(storage, export)
    assert isinstance(error, NoFolderError)
    assert error.what == (
        f"There is no folder {root}/{export.rules.folder}; in {root}/ there are: billings/, mybill/, notes.txt"
    )
    assert "`prefix` and `report`" in error.how


def test_a_wrong_report_name_is_looked_for_in_the_right_prefix(
    root: Path, storage: LocalStorage
) -> None:
    deliver(root)
    error = refused(storage, replace(CREATE_NEW, report="daily"))
    assert error.what == (
        f"There is no folder {root}/billing/daily/; in {root}/billing/ there are: cur/"
    )


def test_a_landing_folder_that_is_missing_or_empty_or_holds_a_file_instead_is_said(
    root: Path, storage: LocalStorage
) -> None:
    for export in (LOOSE, replace(LOOSE, prefix="")):
        error = refused(storage, export)
        said = f"the folder that exports are delivered to, {root}/, is not there"
        assert error.what.endswith(f": {said}")
        assert error.how.startswith("Set BILLING_LAKE_LANDING to the folder or bucket")
    root.mkdir()
    assert refused(storage, LOOSE).what.endswith(f"; {root}/ is empty")
    put(root / "billing", b"")
    assert refused(storage, CREATE_NEW).what.endswith(f": {root}/billing is a file")


def test_many_neighbours_are_not_all_named(root: Path, storage: LocalStorage) -> None:
    for number in range(30):
        put(root / f"{number:02d}/a", b"")
    assert refused(storage, LOOSE).what.endswith("08/, 09/ and 20 more")


def test_a_folder_that_is_there_and_empty_has_no_delivery_yet(
    root: Path, storage: LocalStorage
) -> None:
    (root / "billing/cur").mkdir(parents=True)
    for export in (CREATE_NEW, LOOSE):
        with pytest.raises(NoDeliveryError):
            resolve_delivery(storage, export, "2025-03")
        assert find_deliveries(storage, export) == Findings()


def cur_2(root: Path) -> None:
    for period in ("2025-03", "2025-04"):
        put(root / f"billing/cur/metadata/BILLING_PERIOD={period}/cur-Manifest.json", b"{}")
        put(root / f"billing/cur/data/BILLING_PERIOD={period}/cur-00001.csv.gz", csv_gz([row()]))


def athena(root: Path) -> None:
    put(root / "billing/cur/cur/year=2025/month=3/cur-Manifest.json", b"{}")


def loose_files(root: Path) -> None:
    put(root / "billing/cur/march.csv.gz", csv_gz([row()]))


def packed_files(root: Path) -> None:
    put(root / "billing/cur/march.csv.xz", b"")


@pytest.mark.parametrize(
    ("fill", "what", "remedy"),
    [
        (cur_2, "2 manifests lie in no .* a tree of AWS Data Exports", "`format: cur2`"),
        (athena, "a legacy CUR in Parquet for Athena", "`layout: athena`"),
        (loose_files, "holds .*march.csv.gz, and no folder of a billing", "`layout: loose`"),
        (packed_files, r"march.csv.xz \(CSV compressed in another way", "Compress it with gzip"),
    ],
)
def test_a_folder_that_is_laid_out_in_another_way_is_named_and_nobody_is_told_to_move_files(
    root: Path, storage: LocalStorage, fill: Callable[[Path], None], what: str, remedy: str
) -> None:
    fill(root)
    error = refused(storage, CREATE_NEW)
    assert isinstance(error, WrongLayoutError)
    assert re.search(what, error.what)
    assert remedy in error.how
    assert "Move the file to" not in str(error)


def test_a_prefix_that_is_too_short_is_answered_with_the_right_settings(
    root: Path, storage: LocalStorage
) -> None:
    deliver(root)
    error = refused(storage, ExportLocation("cur", "overwrite", "", "billing"))
    assert "`prefix: 'billing'` and `report: 'cur'`" in error.how


@pytest.mark.parametrize("name", ["cur-00001.csv.xz", "cur-00001.parquet.zst", "cur-1.xlsx"])
def test_a_month_of_a_kind_that_is_not_read_is_named_and_stops_no_other(
    root: Path, storage: LocalStorage, name: str
) -> None:
    put(root / "billing/cur/20250301-20250401" / name, b"")
    deliver(root, "2025-04")
    with pytest.raises(UnusableFilesError, match=re.escape(name)):
        resolve_delivery(storage, OVERWRITE, "2025-03")
    findings = find_deliveries(storage, OVERWRITE)
    assert ([*findings.deliveries], [*findings.broken]) == (["2025-04"], ["2025-03"])


def test_months_beside_a_tree_of_another_layout_are_read(root: Path, storage: LocalStorage) -> None:
    athena(root)
    deliver(root)
    assert resolve_delivery(storage, CREATE_NEW, "2025-03").period == "2025-03"
    with pytest.raises(NoDeliveryError, match="unusable are"):
        resolve_delivery(storage, CREATE_NEW, "2025-04")


def test_a_linked_folder_is_refused_with_the_setting_that_serves_instead(
    root: Path, storage: LocalStorage
) -> None:
    (root.parent / "elsewhere").mkdir()
    root.mkdir()
    (root / "billing").symlink_to(root.parent / "elsewhere")
    with pytest.raises(ReportFileError, match="BILLING_LAKE_LANDING"):
        find_deliveries(storage, LOOSE)


@pytest.mark.parametrize(
    ("written", "prefix"),
    [
        ("/cur", ""),
        ("cur", ""),
        ("cur/123456789012//cur", "cur/123456789012/"),
        ("a b/cur", "a b"),
        ("a+b/x.y/cur", "a+b/x.y"),
        ("Région/部署/cur", "Région/部署"),
        (".dot/cur", ".dot"),
        ("a\u00a0b/cur", "a\u00a0b"),
    ],
)
def test_a_copy_of_a_bucket_is_read_by_the_keys_that_its_manifest_states(
    root: Path, storage: LocalStorage, written: str, prefix: str
) -> None:
    folder = f"{written}/20250301-20250401"
    there = root / folder.strip("/").replace("//", "/")
    put(there / "v1/cur-00001.csv.gz", csv_gz([row()]))
    made = deliver(root.parent / "x", reportKeys=[f"{folder}/v1/cur-00001.csv.gz"], bucket="b")
    put(there / "cur-Manifest.json", made[-1].read_bytes())
    export = ExportLocation("cur", "create-new", prefix, "cur", ("b",))
    (file,) = resolve_delivery(storage, export, "2025-03").files
    assert Path(file.uri) == there / "v1/cur-00001.csv.gz"
    assert [*find_deliveries(storage, export).deliveries] == ["2025-03"]


def test_a_report_whose_name_begins_with_a_dot_is_read(root: Path, storage: LocalStorage) -> None:
    folder = "billing/.cur/20250301-20250401"
    put(root / folder / ".cur-00001.csv.gz", csv_gz([row()]))
    made = deliver(root.parent / "x", reportKeys=[f"{folder}/.cur-00001.csv.gz"], bucket="b")
    put(root / folder / ".cur-Manifest.json", made[-1].read_bytes())
    export = ExportLocation("cur", "overwrite", "billing", ".cur", ("b",))
    assert resolve_delivery(storage, export, "2025-03").period == "2025-03"
