"""A lake with a report written by hand, whose every figure can be added up on paper."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing_lake.cli import main
from billing_lake.deployments import LocalLake
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.loads.crawl import crawl_delivery
from billing_lake.loads.load import Loader
from billing_lake.tables.exports import Export

LOCATION = ExportLocation("cost_and_usage", "loose", "billing")
TABLE = "billing.cost_and_usage"

_ARN = "arn:aws:rds:eu-central-1:000000000002:ri:one"
_REFUND = "Refund for one-time fee for Savings Plan ID 1234"

MARCH: list[dict[str, str]] = [
    {"type": "Usage", "cost": "10.1", "tag": "A"},
    {"type": "SavingsPlanCoveredUsage", "cost": "19", "sp": "8"},
    {"type": "SavingsPlanNegation", "cost": "-19"},
    {"type": "SavingsPlanRecurringFee", "cost": "12.5", "total": "12.5", "used": "8", "service": "ComputeSavingsPlans"},
    {"type": "SavingsPlanUpfrontFee", "cost": "96", "service": "ComputeSavingsPlans"},
    {"type": "Refund", "cost": "-96", "service": "ComputeSavingsPlans", "text": _REFUND},
    {"type": "DiscountedUsage", "cost": "0", "arn": _ARN, "ri": "3.25", "service": "AmazonRDS", "account": "000000000002", "day": "02"},
    {"type": "RIFee", "cost": "5", "arn": _ARN, "upfront": "0.5", "recurring": "0.25", "service": "AmazonRDS", "account": "000000000002"},
    {"type": "Fee", "cost": "60", "arn": _ARN, "service": "AmazonRDS", "account": "000000000002"},
    {"type": "Fee", "cost": "7.000000000000000001", "entity": "AWS Marketplace", "name": 'Contoso "Pro", GmbH'},
    {"type": "Usage", "cost": "1.1", "currency": "EUR", "service": "AmazonS3", "text": "two\nlines \x1b[31m"},
]  # fmt: skip
FEBRUARY: list[dict[str, str]] = [{"type": "Usage", "cost": "2"}]


def write_report(path: Path, period: str, rows: list[dict[str, str]], *, thin: bool) -> None:
    """Write a report; a thin one lacks all columns of commitments and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        cells = [_cells(number, period, row) for number, row in enumerate(rows)]
        names = [
            n
            for n in cells[0]
            if not (thin and n.split("/")[0] in ("reservation", "savingsPlan", "resourceTags"))
        ]
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)


def _cells(number: int, period: str, row: dict[str, str]) -> dict[str, str]:
    service = row.get("service", "AmazonEC2")
    start = f"{period}-{row.get('day', '01')}T00:00:00Z"
    return {
        "identity/LineItemId": f"id{number}",
        "identity/TimeInterval": f"{start}/{start}",
        "bill/BillingEntity": row.get("entity", "AWS"),
        "bill/BillingPeriodStartDate": f"{period}-01T00:00:00Z",
        "lineItem/UsageAccountId": row.get("account", "000000000001"),
        "lineItem/LineItemType": row["type"],
        "lineItem/UsageStartDate": start,
        "lineItem/ProductCode": service,
        "lineItem/CurrencyCode": row.get("currency", "USD"),
        "lineItem/UnblendedCost": row["cost"],
        "lineItem/LineItemDescription": row.get("text", ""),
        "product/ProductName": row.get("name", service),
        "product/servicecode": service,
        "reservation/EffectiveCost": row.get("ri", ""),
        "reservation/ReservationARN": row.get("arn", ""),
        "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": row.get("upfront", ""),
        "reservation/UnusedRecurringFee": row.get("recurring", ""),
        "savingsPlan/SavingsPlanEffectiveCost": row.get("sp", ""),
        "savingsPlan/TotalCommitmentToDate": row.get("total", ""),
        "savingsPlan/UsedCommitment": row.get("used", ""),
        "resourceTags/user:Project": row.get("tag", ""),
    }


def load(lake: LocalLake, location: ExportLocation, period: str) -> None:
    """Load a billing period into all three tables."""
    crawl = crawl_delivery(
        lake, lake.engine(lambda _: None), resolve_delivery(lake.storage, location, period)
    )
    export = Export(location=location)
    loader = Loader(lake=lake, export=export, run_id="test", engine=lake.engine(lambda _: None))
    hive, *others = lake.tables(export)
    files = loader.load(hive, crawl).encoded
    for table in others:
        loader.load(table, crawl, files)


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> LocalLake:
    """A lake with two months, in a folder whose name wants quoting."""
    lake = LocalLake(tmp_path_factory.mktemp("home") / "finance's lake")
    folder = lake.home / "landing" / "billing"
    write_report(folder / "february.csv.gz", "2025-02", FEBRUARY, thin=True)
    write_report(folder / "march.csv.gz", "2025-03", MARCH, thin=False)
    for period in ("2025-02", "2025-03"):
        load(lake, LOCATION, period)
    return lake


class Runner:
    """Runs `billing-lake` in this process, on one lake."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        settings = {"BILLING_LAKE_HOME": str(self.home), "COLUMNS": "120", **(env or {})}
        return CliRunner().invoke(main, arguments, env=settings)


@pytest.fixture
def run(lake: LocalLake) -> Runner:
    return Runner(lake.home)
