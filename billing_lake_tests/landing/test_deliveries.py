"""Deliveries in a folder: found, pinned, read, and caught when they change."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.deliveries import Delivery, Findings, StoredObject
from billing_lake.domain.errors import (
    BadHeaderError,
    BrokenManifestError,
    ConfigurationError,
    DeliveryChangedError,
    DuplicateHeaderError,
    EmptyFileError,
    ForeignKeyInManifestError,
    IncompleteDeliveryError,
    MissingColumnError,
    NoDeliveryError,
    PeriodMismatchError,
    ReportFileError,
)
from billing_lake.domain.schemas import Column
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.types import DECIMAL
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import (
    find_deliveries,
    read_source,
    resolve_delivery,
    verify_unchanged,
)
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import HEADER, csv_gz, deliver, put, row

CREATE_NEW = ExportLocation("cur", "create-new", "billing", "cur")
OVERWRITE = ExportLocation("cur", "overwrite", "billing", "cur")
LOOSE = ExportLocation("cur", "loose", "billing")
FOLDER = "billing/cur/20250301-20250401"


@pytest.fixture(name="root")
def a_root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture(name="storage")
def a_storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def keys(delivery: Delivery) -> list[str]:
    return [file.key for file in delivery.files]


def test_an_empty_folder_has_no_deliveries(storage: LocalStorage) -> None:
    (storage.root / "billing/cur").mkdir(parents=True)
    for export in (CREATE_NEW, OVERWRITE, LOOSE):
        findings = find_deliveries(storage, export)
        assert findings == Findings()


def test_the_manifest_of_the_period_names_the_current_assembly(
    root: Path, storage: LocalStorage
) -> None:
    deliver(root, version="v1", chunks=3)
    deliver(root, version="v2", chunks=2)
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    assert delivery.version == "v2"
    assert keys(delivery) == [f"{FOLDER}/v2/cur-0000{n}.csv.gz" for n in (1, 2)]
    assert delivery.manifest == storage.stat(f"{FOLDER}/cur-Manifest.json")
    assert delivery.columns == HEADER
    assert (delivery.export, delivery.period, delivery.layout) == ("cur", "2025-03", "create-new")


def test_stale_chunks_and_side_files_are_no_part_of_a_delivery(
    root: Path, storage: LocalStorage
) -> None:
    deliver(root, version="v1", chunks=3, assembly_folder=False)
    deliver(root, version="v2", chunks=2, assembly_folder=False)
    put(root / FOLDER / "cur-RedshiftCommands.sql", b"copy")
    delivery = resolve_delivery(storage, OVERWRITE, "2025-03")
    assert keys(delivery) == [f"{FOLDER}/cur-0000{n}.csv.gz" for n in (1, 2)]
    assert delivery.ignored == (
        f"{FOLDER}/cur-00003.csv.gz",
        f"{FOLDER}/cur-RedshiftCommands.sql",
    )


def test_no_more_than_twenty_ignored_files_are_listed(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    for n in range(50):
        put(root / FOLDER / f"x{n}", b"")
    assert len(resolve_delivery(storage, CREATE_NEW, "2025-03").ignored) == 20


def test_files_keep_the_order_of_the_manifest(root: Path, storage: LocalStorage) -> None:
    listed = [f"{FOLDER}/v1/cur-0000{n}.csv.gz" for n in (2, 1)]
    deliver(root, reportKeys=listed)
    assert keys(resolve_delivery(storage, CREATE_NEW, "2025-03")) == listed


def test_an_export_without_a_prefix_may_write_keys_with_a_leading_slash(
    tmp_path: Path,
) -> None:
    deliver(tmp_path / "landing", reportKeys=[f"/{FOLDER[8:]}/v1/cur-00001.csv.gz"])
    storage = LocalStorage(tmp_path / "landing/billing")
    export = ExportLocation("cur", "create-new", "", "cur", buckets=("landing",))
    assert keys(resolve_delivery(storage, export, "2025-03")) == [
        "cur/20250301-20250401/v1/cur-00001.csv.gz"
    ]


def test_every_period_is_found_and_one_alone_when_asked(root: Path, storage: LocalStorage) -> None:
    for period in ("2024-12", "2025-01", "2025-02"):
        deliver(root, period)
    assert sorted(find_deliveries(storage, CREATE_NEW).deliveries) == [
        "2024-12",
        "2025-01",
        "2025-02",
    ]
    assert resolve_delivery(storage, CREATE_NEW, "2025-01").period == "2025-01"


def test_one_period_alone_is_looked_for_in_its_own_folder(root: Path) -> None:
    deliver(root)
    listed = []

    class Watched(LocalStorage):
        def list(self, prefix: str, *, hidden: bool = False) -> Sequence[StoredObject]:  # type: ignore[override]
            listed.append(prefix)
            return super().list(prefix, hidden=hidden)

    resolve_delivery(Watched(root), CREATE_NEW, "2025-03")
    assert listed == [f"{FOLDER}/"]


@pytest.mark.parametrize("state", ["missing", "empty"])
def test_a_delivery_whose_files_are_not_all_there_waits(
    root: Path, storage: LocalStorage, state: str
) -> None:
    _, second, _ = deliver(root)
    second.unlink()
    if state == "empty":
        second.touch()
    findings = find_deliveries(storage, CREATE_NEW)
    assert findings == Findings(waiting=findings.waiting)
    assert f"1 of 2 files listed in the manifest is {state}" in findings.waiting["2025-03"]
    assert "cur-00002.csv.gz" in findings.waiting["2025-03"]
    with pytest.raises(IncompleteDeliveryError):
        resolve_delivery(storage, CREATE_NEW, "2025-03")


def test_report_files_without_their_manifest_wait(root: Path, storage: LocalStorage) -> None:
    deliver(root)[-1].unlink()
    assert (
        "2 report files of 2025-03 are there and no manifest"
        in (find_deliveries(storage, CREATE_NEW).waiting["2025-03"])
    )


def test_a_folder_of_side_files_alone_is_no_delivery(root: Path, storage: LocalStorage) -> None:
    put(root / FOLDER / "cur-create-table.sql", b"create")
    findings = find_deliveries(storage, CREATE_NEW)
    assert findings == Findings()


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"assemblyId": ""}, BrokenManifestError),
        ({"reportKeys": ["billing/secret/x.csv.gz"]}, ForeignKeyInManifestError),
        (
            {"billingPeriod": {"start": "20250401T000000.000Z", "end": "20250501T000000.000Z"}},
            PeriodMismatchError,
        ),
    ],
)
def test_one_broken_manifest_and_one_waiting_period_stop_no_other(
    root: Path, storage: LocalStorage, changes: dict[str, Any], kind: type[Exception]
) -> None:
    deliver(root, "2025-03", **changes)
    deliver(root, "2025-04")[0].unlink()
    deliver(root, "2025-05")
    findings = find_deliveries(storage, CREATE_NEW)
    assert ([*findings.broken], [*findings.waiting], [*findings.deliveries]) == (
        ["2025-03"],
        ["2025-04"],
        ["2025-05"],
    )
    assert "cur-Manifest.json" in findings.broken["2025-03"]
    with pytest.raises(kind):
        resolve_delivery(storage, CREATE_NEW, "2025-03")


def test_a_manifest_that_is_no_json_names_itself(root: Path, storage: LocalStorage) -> None:
    deliver(root)[-1].write_bytes(b"not json")
    with pytest.raises(BrokenManifestError, match=f"no JSON.*file {FOLDER}/cur-Manifest.json"):
        resolve_delivery(storage, CREATE_NEW, "2025-03")


def test_a_manifest_that_is_too_large_is_not_read(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(root)
    monkeypatch.setattr("billing_lake.formats.manifests.MAX_MANIFEST_BYTES", 100)
    monkeypatch.setattr(storage, "read", lambda key: pytest.fail(f"{key} was read"))
    with pytest.raises(BrokenManifestError, match="at most 100 are read"):
        resolve_delivery(storage, CREATE_NEW, "2025-03")


def test_a_manifest_outside_of_any_periods_folder_is_named(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "billing/cur/cur/year=2025/month=3/cur-Manifest.json", b"{}")
    deliver(root)
    findings = find_deliveries(storage, CREATE_NEW)
    assert [*findings.deliveries] == ["2025-03"]
    assert [*findings.broken] == ["billing/cur/cur/year=2025/month=3/cur-Manifest.json"]


def test_a_listed_file_that_links_out_of_the_storage_is_never_read(
    root: Path, storage: LocalStorage
) -> None:
    first, *_ = deliver(root)
    first.rename(root.parent / "secret")
    first.symlink_to(root.parent / "secret")
    delivery = find_deliveries(storage, CREATE_NEW).deliveries["2025-03"]
    with pytest.raises(ReportFileError, match="leads out of the storage"):
        read_source(storage, delivery)


def test_a_copy_of_a_bucket_is_read_unless_the_export_names_another_bucket(
    root: Path, storage: LocalStorage
) -> None:
    deliver(root, "2025-03", bucket="acme-billing")
    assert resolve_delivery(storage, CREATE_NEW, "2025-03").bucket == "acme-billing"
    named = replace(CREATE_NEW, buckets=("acme-exports",))
    assert "'acme-billing'" in find_deliveries(storage, named).broken["2025-03"]


@pytest.mark.parametrize("before", ["", "acme/", "acme/2024/"])
@pytest.mark.parametrize("above", ["", "copies/", "copies/of acme/"])
def test_a_copy_of_any_folder_of_a_bucket_is_read_wherever_it_was_put(
    tmp_path: Path, before: str, above: str
) -> None:
    listed = [f"{before}cur/20250301-20250401/v1/cur-0000{n}.csv.gz" for n in (1, 2)]
    deliver(tmp_path / "elsewhere", reportKeys=listed)
    copy = tmp_path / "landing" / above
    copy.mkdir(parents=True)
    (tmp_path / "elsewhere" / "billing" / "cur").rename(copy / "cur")
    export = ExportLocation("cur", "create-new", above, "cur")
    delivery = resolve_delivery(LocalStorage(tmp_path / "landing"), export, "2025-03")
    assert keys(delivery) == [f"{above}{one.removeprefix(before)}" for one in listed]


def test_a_copy_that_lacks_files_waits_for_them(tmp_path: Path) -> None:
    listed = [f"acme/cur/20250301-20250401/v1/cur-0000{n}.csv.gz" for n in (1, 2)]
    deliver(tmp_path / "elsewhere", reportKeys=listed)[0].unlink()
    (tmp_path / "elsewhere" / "billing").rename(tmp_path / "landing")
    export = ExportLocation("cur", "create-new", "", "cur")
    with pytest.raises(IncompleteDeliveryError, match=r"missing: cur/2025.*cur-00001\.csv\.gz"):
        resolve_delivery(LocalStorage(tmp_path / "landing"), export, "2025-03")


def test_files_that_could_be_meant_in_two_ways_are_refused(
    root: Path, storage: LocalStorage
) -> None:
    inner = "20250301-20250401/20250301-20250401/cur-00001.csv.gz"
    deliver(root, reportKeys=[f"acme/cur/{inner}"])
    for folder in ("", "20250301-20250401/"):
        put(root / FOLDER / folder / "cur-00001.csv.gz", b"x")
    with pytest.raises(ForeignKeyInManifestError, match="in several ways"):
        resolve_delivery(storage, CREATE_NEW, "2025-03")


def test_a_period_without_a_delivery_says_which_have_one(root: Path, storage: LocalStorage) -> None:
    deliver(root, "2025-01")
    deliver(root, "2025-03")
    deliver(root, "2025-04", assemblyId="")
    deliver(root, "2025-05")[0].unlink()
    with pytest.raises(NoDeliveryError) as caught:
        resolve_delivery(storage, CREATE_NEW, "2025-02")
    assert str(caught.value) == (
        "Export cur has no delivery for 2025-02; it has 2025-03, 2025-01; 2025-05 wait to be "
        "completed; unusable are 2025-04 (file billing/cur/). "
        "Choose a period that has one, or check the export's folder and layout"
    )


def test_an_export_without_any_delivery_says_so(storage: LocalStorage) -> None:
    (storage.root / "billing").mkdir(parents=True)
    with pytest.raises(NoDeliveryError, match=r"2025-02, nor for any other period \(file billing"):
        resolve_delivery(storage, LOOSE, "2025-02")


def test_what_is_no_period_is_refused(storage: LocalStorage) -> None:
    with pytest.raises(ConfigurationError, match="'2025-3' is not a billing period"):
        resolve_delivery(storage, CREATE_NEW, "2025-3")
    with pytest.raises(ConfigurationError, match="not a billing period"):
        resolve_delivery(storage, CREATE_NEW, "../x")


def test_a_delivery_that_stays_as_it_is_is_unchanged(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    put(root / "loose/a.csv.gz", csv_gz([row()]))
    for export in (CREATE_NEW, replace(LOOSE, prefix="loose")):
        delivery = resolve_delivery(storage, export, "2025-03")
        verify_unchanged(storage, export, delivery)
        verify_unchanged(storage, export, Delivery.from_json(delivery.to_json()))


def test_another_periods_delivery_changes_nothing(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    deliver(root, "2025-04")
    put(root / FOLDER / "crawler-cfn.yml", b"")
    verify_unchanged(storage, CREATE_NEW, delivery)


def test_a_newer_delivery_is_noticed(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    deliver(root, version="v2")
    with pytest.raises(DeliveryChangedError, match="v2 took the place of v1"):
        verify_unchanged(storage, CREATE_NEW, delivery)


def test_a_rewritten_chunk_is_noticed_and_named(root: Path, storage: LocalStorage) -> None:
    _, second, _ = deliver(root, assembly_folder=False)
    delivery = resolve_delivery(storage, OVERWRITE, "2025-03")
    second.write_bytes(csv_gz([row(), row()]))
    with pytest.raises(DeliveryChangedError, match=r"changed: .*cur-00002\.csv\.gz"):
        verify_unchanged(storage, OVERWRITE, delivery)


def test_a_delivery_that_vanishes_or_breaks_is_noticed(root: Path, storage: LocalStorage) -> None:
    files = deliver(root)
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    files[0].unlink()
    with pytest.raises(DeliveryChangedError, match=r"being replaced: 1 of 2 files"):
        verify_unchanged(storage, CREATE_NEW, delivery)
    for file in files[1:]:
        file.unlink()
    with pytest.raises(DeliveryChangedError, match="not there any more"):
        verify_unchanged(storage, CREATE_NEW, delivery)


def loose(root: Path, *headers: tuple[str, ...]) -> Delivery:
    for n, header in enumerate(headers):
        cells = [*row(line_item=str(n)), *("x" * (len(header) - len(HEADER)))]
        put(root / f"billing/{n}.csv.gz", csv_gz([cells], header))
    return resolve_delivery(LocalStorage(root), LOOSE, "2025-03")


def test_a_source_has_every_files_columns_by_position_and_their_union(
    root: Path, storage: LocalStorage
) -> None:
    tags = ("resourceTags/user:Env", "resourceTags/user:env")
    delivery = loose(root, (*HEADER, *tags), (*HEADER, "lineItem/BlendedCost"))
    source, merged = read_source(storage, delivery)
    known = (
        "identity_line_item_id",
        "bill_billing_period_start_date",
        "line_item_usage_start_date",
        "line_item_currency_code",
        "line_item_unblended_cost",
    )
    tag = "resource_tags_user_env"
    first, second = source.files
    assert (first.uri, first.name) == (delivery.files[0].uri, "billing/0.csv.gz")
    assert Path(first.uri).is_absolute()
    assert first.columns == (*known, tag, f"{tag}__2")
    assert second.columns == (*known, "line_item_blended_cost")
    names = [*known, tag, f"{tag}__2", "line_item_blended_cost"]
    assert [column.name for column in source.columns] == names
    assert Column("line_item_blended_cost", DECIMAL) in source.columns
    assert merged == (Merge(tag, tags),)
    assert (source.container, source.compression) == ("csv", "gzip")


def test_columns_that_several_files_merge_are_reported_once(
    root: Path, storage: LocalStorage
) -> None:
    tags = ("resourceTags/user:Env", "resourceTags/user:env")
    _, merged = read_source(storage, loose(root, (*HEADER, *tags), (*HEADER, *tags)))
    assert len(merged) == 1


def test_a_header_only_delivery_with_a_manifest_is_legal(root: Path, storage: LocalStorage) -> None:
    first, _ = deliver(root, chunks=1)
    first.write_bytes(csv_gz([]))
    source, _ = read_source(storage, resolve_delivery(storage, CREATE_NEW, "2025-03"))
    assert len(source.columns) == len(HEADER)


@pytest.mark.parametrize(
    ("header", "kind", "reason"),
    [
        (HEADER[:-1], MissingColumnError, "line_item_unblended_cost"),
        ((*HEADER, "a", "a"), DuplicateHeaderError, "column a"),
        ((*HEADER, "🙂"), BadHeaderError, "Header cell 6"),
        (HEADER[1:], BadHeaderError, "promises .*column identity/LineItemId"),
    ],
)
def test_a_header_that_cannot_be_loaded_names_its_file(
    root: Path,
    storage: LocalStorage,
    header: tuple[str, ...],
    kind: type[Exception],
    reason: str,
) -> None:
    _, second, _ = deliver(root)
    second.write_bytes(csv_gz([row()], header))
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    with pytest.raises(kind, match=reason) as caught:
        read_source(storage, delivery)
    assert "cur-00002.csv.gz" in str(caught.value)


def test_a_gzip_of_nothing_is_refused(root: Path, storage: LocalStorage) -> None:
    first, *_ = deliver(root)
    first.write_bytes(bytes.fromhex("1f8b08000000000000030300000000000000000000"[:40]))
    delivery = resolve_delivery(storage, CREATE_NEW, "2025-03")
    with pytest.raises(EmptyFileError, match="no header"):
        read_source(storage, delivery)


def test_findings_can_be_told_as_json(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    delivery = find_deliveries(storage, CREATE_NEW).deliveries["2025-03"]
    assert Delivery.from_json(json.loads(json.dumps(delivery.to_json()))) == delivery


@pytest.mark.parametrize("export", [CREATE_NEW, LOOSE])
def test_a_file_that_is_written_to_during_a_load_is_noticed_with_its_size_and_time_kept(
    root: Path, storage: LocalStorage, export: ExportLocation
) -> None:
    deliver(root, chunks=1)
    if export == LOOSE:
        for beside in root.rglob("*.json"):
            beside.unlink()
    delivery = resolve_delivery(storage, export, "2025-03")
    path, pinned = Path(delivery.files[0].uri), delivery.files[0]
    kept, data = path.stat(), path.read_bytes()
    # The clock of a file system goes on in steps of some milliseconds.
    while storage.stat(pinned.key) == pinned:
        path.write_bytes(data)
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert resolve_delivery(storage, export, "2025-03").identity == delivery.identity
    with pytest.raises(DeliveryChangedError, match=r"written to while it was loaded.*csv\.gz"):
        verify_unchanged(storage, export, delivery)
