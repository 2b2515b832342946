"""FOCUS as other providers write it: their columns, spellings and folders, loaded as they are and proved."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.landing.inspection import inspect
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.lakes import EXPORT, SampleLake, failed, verdicts
from billing_lake_tests.landing.small_deliveries import put
from billing_lake_tests.test_containers_agree import IGNORED, on_spark

Make = Callable[..., SampleLake]
Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Provider:
    """A provider's way of writing FOCUS.

    Attributes:
        version: What its columns tell of the version.
        write: Writes an export's files below a folder.
        folder: The export's folder below that.
        months: Rows and billed cost of each month.
    """

    version: str
    write: Callable[[Path], None]
    folder: str
    months: Mapping[str, tuple[int, str]]


def csv_text(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def microsoft(root: Path) -> None:
    """A folder of days for each month, one of the run in it, a manifest of its own kind; BOM, moments without seconds, exponents."""

    def row(month: str, cost: str) -> Mapping[str, object]:
        return {
            "BilledCost": cost,
            "BillingAccountId": "/providers/Microsoft.Billing/billingAccounts/1",
            "BillingAccountType": "Billing Profile",
            "BillingCurrency": "EUR",
            "BillingPeriodStart": f"{month}-01T00:00Z",
            "ChargeCategory": "Usage",
            "ChargePeriodStart": f"{month}-02T00:00Z",
            "ChargePeriodEnd": f"{month}-03T00:00Z",
            "SubAccountType": "Subscription",
            "Tags": json.dumps({"team": "a, b", "hidden-link": None}),
            "x_PricingBlockSize": "100",
            "x_SkuDetails": json.dumps({"VCPUs": {"a": 2}}),
        }

    for month, days, costs in (
        ("2025-02", "20250201-20250228", ["1.2E-05", "3"]),
        ("2025-03", "20250301-20250331", ["0.5"]),
    ):
        run = root / "focus-cost" / days / "6f2a0c3e-run"
        put(
            run / "part_0_0001.csv",
            b"\xef\xbb\xbf" + csv_text([row(month, cost) for cost in costs]),
        )
        put(run / "manifest.json", json.dumps({"blobs": []}).encode())


def google(root: Path) -> None:
    """Parquet out of BigQuery: numbers of nine decimals, moments with a zone, tags as a list of pairs, own columns nested."""
    moment, pairs = (
        pa.timestamp("us", "UTC"),
        pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())])),
    )
    start = datetime(2025, 3, 1, tzinfo=timezone.utc)
    table = pa.table(
        {
            "BilledCost": pa.array([Decimal("1.000000001"), Decimal(-2)], pa.decimal128(38, 9)),
            "BillingCurrency": ["USD", "USD"],
            "BillingPeriodStart": pa.array([start, start], moment),
            "ChargeCategory": ["Usage", "Credit"],
            "ChargePeriodStart": pa.array([start, start], moment),
            "InvoiceId": pa.array([None, None], pa.string()),
            "PricingCurrency": ["USD", "USD"],
            "Tags": pa.array([[{"key": "env", "value": "prod"}], []], pairs),
            "x_Credits": [[{"Name": "cud", "Amount": -0.5}], []],
            "x_Project": pa.array([{"Id": "p", "Parents": ["f", "o"]}, None]),
            "x_ExportTime": pa.array([start, start], moment),
        }
    )
    (root / "gcp").mkdir(parents=True)
    pq.write_table(table, root / "gcp" / "focus-000000000000.parquet")


def oracle(root: Path) -> None:
    """A folder for each day, late rows of the month before, columns of the preview of 1.0 and of its own."""

    def row(month: str, cost: str) -> Mapping[str, object]:
        return {
            "BilledCost": cost,
            "BillingCurrency": "USD",
            "BillingPeriodStart": f"{month}-01T00:00:00.000Z",
            "ChargeCategory": "Usage",
            "ChargePeriodStart": f"{month}-02T00:00:00.000Z",
            "ChargeSubcategory": "On-Demand",
            "InvoiceIssuer": "Oracle",
            "Region": "eu-frankfurt-1",
            "Tags": json.dumps({"Oracle-Tags.CreatedBy": "x"}),
            "UsageQuantity": "2.5",
            "oci_AttributedCost": "",
            "oci_ReferenceNumber": "r1",
        }

    days = root / "FOCUS Reports" / "2025" / "03"
    first = [row("2025-03", "0.25"), row("2025-02", "0.125")]
    put(days / "01" / "0001000000000001.csv.gz", gzip.compress(csv_text(first)))
    put(days / "02" / "0001000000000002.csv.gz", gzip.compress(csv_text([row("2025-03", "4")])))


def another(root: Path) -> None:
    """A vendor of software: words with underscores, the text NULL, a ZIP."""
    row = {
        "billed_cost": "10",
        "billing_currency": "USD",
        "billing_period_start": "2025-03-01 00:00:00 UTC",
        "charge_category": "Purchase",
        "charge_period_start": "2025-03-05",
        "host_provider_name": "NULL",
        "service_provider_name": "Vendor",
    }
    (root / "vendor").mkdir(parents=True)
    with zipfile.ZipFile(root / "vendor" / "march.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("march.csv", csv_text([row]))


PROVIDERS = {
    "microsoft": Provider(
        "not told",
        microsoft,
        "focus-cost",
        {"2025-02": (2, "3.000012"), "2025-03": (1, "0.5")},
    ),
    "google": Provider("1.2", google, "gcp", {"2025-03": (2, "-0.999999999")}),
    "oracle": Provider(
        "1.0-preview", oracle, "FOCUS Reports", {"2025-02": (1, "0.125"), "2025-03": (2, "4.25")}
    ),
    "another": Provider("1.3", another, "vendor", {"2025-03": (1, "10")}),
}


@pytest.fixture(
    params=["polars", pytest.param("spark", marks=[IGNORED, pytest.mark.every_variant])]
)
def make(request: pytest.FixtureRequest, make_lake: Make) -> Make:
    """Make lakes that an engine loads."""
    return on_spark(request, make_lake) if request.param == "spark" else make_lake


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_files_of_a_provider_are_found_as_one_export_and_loaded_as_they_are(
    name: str, make: Make
) -> None:
    provider = PROVIDERS[name]
    lake = make(
        layout="loose", format="focus", prefix=provider.folder, report="", outputs=["iceberg"]
    )
    provider.write(lake.landing)
    (found,) = inspect(LocalStorage(lake.landing)).exports
    assert found.location.prefix == provider.folder
    assert (found.format_version or "not told") == provider.version
    assert sorted(found.findings.deliveries) == sorted(provider.months)
    for month, (rows, cost) in provider.months.items():
        result = lake.load(month)
        assert result.success
        assert failed(verdicts(result)) == []
        (made,) = result.asset_materializations_for_node(f"{EXPORT}__crawler_table")
        assert made.metadata["format_version"].value == provider.version
        profile = lake.profile("iceberg", month)
        (totals,) = profile.totals.values()
        assert (profile.rows, totals["billedcost"]) == (rows, Decimal(cost))


def test_nested_columns_of_a_provider_are_json_text_in_the_table(make: Make) -> None:
    lake = make(layout="loose", format="focus", prefix="gcp", report="", outputs=["iceberg"])
    google(lake.landing)
    assert failed(verdicts(lake.load("2025-03"))) == []
    with lake.lake.sql() as sql:
        table = sql.table(EXPORT)
        asked = sql.ask(
            f"SELECT x_credits, x_project, x_credits->>'$[0].Amount' FROM {table.identifier} ORDER BY 1"
        )
        assert list(asked.rows()) == [
            ("[]", None, None),
            ('[{"Name":"cud","Amount":-0.5}]', '{"Id":"p","Parents":["f","o"]}', "-0.5"),
        ]


def test_numbers_and_names_of_the_preview_count_as_those_of_the_specification(
    make_lake: Make,
) -> None:
    lake = make_lake(
        layout="loose", format="focus", prefix="FOCUS Reports", report="", outputs=["iceberg"]
    )
    oracle(lake.landing)
    assert lake.load("2025-03").success
    with lake.lake.sql() as sql:
        table = sql.table(EXPORT)
        core = lake.component.export.format.core(table.columns)
        wanted = ("consumedquantity", "invoiceissuername", "regionid")
        cells = ", ".join(core[one] for one in wanted)
        asked = sql.ask(f"SELECT DISTINCT {cells} FROM {table.identifier}")
        assert list(asked.rows()) == [(Decimal("2.5"), "Oracle", "eu-frankfurt-1")]


def test_several_runs_of_one_month_beside_each_other_are_refused_and_not_added_up(
    make_lake: Make,
) -> None:
    lake = make_lake(
        layout="loose", format="focus", prefix="focus-cost", report="", outputs=["iceberg"]
    )
    microsoft(lake.landing)
    run = lake.landing / "focus-cost" / "20250301-20250331" / "6f2a0c3e-run"
    put(run.with_name("another-run") / "part_0_0001.csv", (run / "part_0_0001.csv").read_bytes())
    (found,) = inspect(LocalStorage(lake.landing)).exports
    assert "2 folders, 6f2a0c3e-run, another-run: probably as many deliveries" in str(
        found.findings.broken
    )
    assert not lake.load("2025-03").success
    assert lake.lake.iceberg.tables() == ()
