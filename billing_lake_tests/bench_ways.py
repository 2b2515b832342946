"""What `make bench` measures: each way to get somewhere from the same report files, prepared before the clock starts."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg

    from billing_lake.domain.sources import EncodeTarget, Source

PERIOD = "2025-03"


def deliver(
    home: Path,
    rows: int,
    chunks: int,
    format_: str = "legacy_cur",
    restatement: int = 0,
    container: str = "csv.gz",
) -> None:
    """Write a sample delivery, and say how large it is."""
    from billing_lake.sample import SampleSpec, write_delivery

    spec = SampleSpec(
        format=format_,
        layout="create-new",
        prefix="billing",
        report="daily",
        rows=rows,
        chunks=chunks,
        container=container,
    )
    started = time.monotonic()
    delivery = write_delivery(home / "landing", PERIOD, spec, restatement=restatement)
    size = sum(file.stat().st_size for file in delivery.files) >> 20
    print(
        f"sample: {rows:,} rows in {len(delivery.files)} files, {size:,} MB of {container}, "
        f"{rows / (time.monotonic() - started):,.0f} rows/s",
        flush=True,
    )


def measured(
    prepare: Callable[[Path, str], Callable[[], object]], home: Path, format_: str
) -> dict[str, Any]:
    """Return what it took to do what ``prepare`` prepares, and what it returns of itself."""
    work = prepare(home, format_)
    clock = Clock()
    parts = work() or {}
    return {
        **clock.spent(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "parts": parts,
    }


class Clock:
    """Begins to run when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()

    def spent(self) -> dict[str, float]:
        """Return the seconds since, and those of CPU time."""
        return {
            "seconds": time.monotonic() - self._began,
            "cpu_seconds": time.process_time() - self._cpu,
        }


def _baseline(home: Path, _: str) -> Callable[[], None]:
    import polars as pl

    files = sorted((home / "landing").rglob("*.csv.gz"))
    names = pl.scan_csv(files[0], infer_schema=False).collect_schema().names()

    def work() -> None:
        out = home / "baseline.parquet"
        pl.scan_csv(files, schema=dict.fromkeys(names, pl.String())).sink_parquet(
            out, compression="zstd"
        )
        out.unlink()

    return work


def _parquet_baseline(home: Path, _: str) -> Callable[[], None]:
    import polars as pl

    files = sorted((home / "landing").rglob("*.parquet"))

    def work() -> None:
        out = home / "baseline.parquet"
        pl.scan_parquet(files).sink_parquet(out, compression="zstd")
        out.unlink()

    return work


def _parquet_pass(home: Path, format_: str) -> Callable[[], None]:
    lake, _, _, source = source_of(home, format_)
    target = _target(source, str(home / "passed"))

    def work() -> None:
        profile, files = lake.engine(_silent).convert(source, target)
        if profile.rows != sum(file.rows for file in files):
            raise AssertionError(profile.rows)
        lake.files.remove_folder(target.folder)

    return work


def source_of(home: Path, format_: str = "legacy_cur") -> Any:
    """Return the lake, and the export, the delivery and the report files that lie in its landing folder."""
    # Imported before the clock starts, as Polars is for the baseline.
    import polars  # noqa: F401, ICN001
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import pyiceberg.catalog.sql
    import pyiceberg.io.pyarrow  # noqa: F401

    import billing_lake.engines.csv_pass  # noqa: F401
    from billing_lake.deployments import LocalLake
    from billing_lake.engines.digests import local_digest
    from billing_lake.formats.locations import ExportLocation
    from billing_lake.formats.registry import format_named
    from billing_lake.landing.deliveries import read_source, resolve_delivery

    lake = LocalLake(home)
    location = ExportLocation(
        name="bench",
        layout="create-new",
        prefix="billing",
        report="daily",
        format=format_named(format_),
    )
    delivery = resolve_delivery(lake.storage, location, PERIOD)
    source, _ = read_source(lake.storage, delivery)
    # As the profile's pass would leave them: encoding compares what it read.
    files = tuple(replace(file, digest=local_digest(file, lake.files)) for file in source.files)
    return lake, location, delivery, replace(source, files=files)


def _convert(home: Path, format_: str) -> Callable[[], object]:
    from billing_lake.domain.sources import Encoded, PeriodKey

    lake, _, delivery, source = source_of(home, format_)
    table, key = "bench.encode", PeriodKey("bench", PERIOD)

    def work() -> object:
        target = _target(source, str(lake.hive.new_location(table, key)))
        fields = target.fields
        clock = Clock()
        profile, files = lake.engine(_silent).convert(source, target)
        passed = clock.spent()
        if profile.rows != sum(file.rows for file in files):
            raise AssertionError(profile.rows)
        encoded = Encoded(
            identity=delivery.identity, version=delivery.version, files=files, fields=fields
        )
        for catalog in (lake.hive, lake.iceberg):
            catalog.create(table, fields)
            catalog.replace_period(table, key, encoded, properties={}, verify=_silent_verify)
        return {"pass": passed}

    return work


def _target(source: Source, folder: str) -> EncodeTarget:
    from billing_lake.domain.schemas import lake_columns, plan
    from billing_lake.domain.sources import EncodeTarget

    return EncodeTarget(
        fields=plan(None, lake_columns(source.columns)).fields,
        constants={"export_name": "bench", "billing_period": PERIOD, "delivery_version": "1"},
        folder=folder,
        stem="bench",
    )


def _content(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake.domain.column_names import LAKE_COLUMNS, SOURCE_FILE
    from billing_lake.domain.sources import PeriodKey

    lake, _, _, source = source_of(home, format_)
    table = lake.iceberg.files("bench.encode", PeriodKey("bench", PERIOD))
    columns = [
        one for one in table.columns if one.name == SOURCE_FILE or one.name not in LAKE_COLUMNS
    ]

    def work() -> None:
        if lake.reader.content(source, columns) != lake.reader.content(table, columns):
            msg = "The table holds other cells than the report files"
            raise AssertionError(msg)

    return work


def _bill(home: Path, format_: str) -> Callable[[], None]:
    from billing_lake.domain.sources import PeriodKey
    from billing_lake.formats.registry import format_named

    lake, _, _, _ = source_of(home, format_)
    form = format_named(format_)
    table = form.with_roles(lake.iceberg.files("bench.encode", PeriodKey("bench", PERIOD)))
    cost = next(iter(form.headline_costs))
    tags = form.tags(one.name for one in table.columns)
    rows = lake.reader.profile(replace(table, columns=table.columns[:1])).rows

    def work() -> None:
        bill = lake.reader.bill(table, cost, form.charges, tags)
        if sum(bill.payers.values()) != rows:
            msg = "The checks of the bill did not see every row"
            raise AssertionError(msg)

    return work


def _month(home: Path, format_: str) -> Callable[[], None]:
    load = load_of(home, format_)

    def work() -> None:
        failed = [
            check.check_name for check in load().get_asset_check_evaluations() if not check.passed
        ]
        if failed:
            raise AssertionError(failed)

    return work


def load_of(home: Path, format_: str) -> Callable[[], dg.ExecuteInProcessResult]:
    """Prepare the run that loads the month."""
    from billing_lake_tests.lakes import SampleLake

    source_of(home, format_)
    logging.disable(logging.CRITICAL)
    settings = {"layout": "create-new", "prefix": "billing", "report": "daily"}
    lake = SampleLake(home, {**settings, "format": format_})
    definitions = lake.definitions
    job = definitions.resolve_job_def("costs_load")

    def work() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=lake.instance, partition_key=PERIOD, raise_on_error=True
        )

    return work


def _silent(_: str) -> None:
    """Take a line of progress and forget it."""


def _silent_verify() -> None:
    """Take the delivery for unchanged; nothing else writes here."""


CHILDREN: dict[str, Callable[[Path, str], Callable[[], object]]] = {
    "baseline": _baseline,
    "parquet-baseline": _parquet_baseline,
    "parquet-pass": _parquet_pass,
    "convert": _convert,
    "month": _month,
    "content": _content,
    "bill": _bill,
}
