"""What a crawl encodes goes to the load that follows, or goes away: in folders here, in S3, and on Spark."""

from __future__ import annotations

import errno
import gzip
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from billing_lake.domain.column_names import DELIVERY_VERSION
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import DeliveryChangedError, PeriodMismatchError, ReportFileError
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.types import STRING
from billing_lake.engines.base import Engine
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.loads.crawl import crawl
from billing_lake.loads.load import Loaded, Loader
from billing_lake.loads.prove import prove
from billing_lake.loads.staging import remove_left
from billing_lake.tables.base import CleanUp
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import SampleLake, SampleLakeOnSpark

PERIOD = "2025-03"

HERE_AND_ON_AWS = pytest.mark.parametrize("lake", ["local", "aws"], indirect=True)
EVERYWHERE = pytest.mark.parametrize(
    "lake",
    [
        "local",
        "aws",
        pytest.param(
            "spark", marks=pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
        ),
    ],
    indirect=True,
)


@pytest.fixture
def lake(request: pytest.FixtureRequest) -> SampleLake:
    """A lake of three tables with a delivery that nothing has read."""
    kind = getattr(request, "param", "local")
    make = request.getfixturevalue("make_aws_lake" if kind == "aws" else "make_lake")
    lake: SampleLake = make()
    if kind == "spark":
        session = request.getfixturevalue("spark")
        lake = SampleLakeOnSpark(lake.home, lake.settings, lake.instance, session=session)
    lake.deliver(PERIOD)
    return lake


def engine_of(lake: SampleLake) -> Engine:
    return lake.lake.engine(lambda _: None)


def on_aws(lake: SampleLake) -> bool:
    return isinstance(lake, SampleLakeOnAws)


def change(lake: SampleLake, path: Path, data: bytes) -> None:
    """Give a report file other bytes, with its size and time kept where there is no tag that tells."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if isinstance(lake, SampleLakeOnAws):
        lake.sync()


def crawled(lake: SampleLake) -> Crawl:
    export = lake.component.export
    delivery = resolve_delivery(lake.lake.storage, export.location, PERIOD)
    return crawl(lake.lake, export, engine_of(lake), delivery)


def loaded(lake: SampleLake, found: Crawl) -> Loaded:
    """Load the first table, and prove it."""
    export = lake.component.export
    table = lake.lake.table(export, "hive")
    done = Loader(lake=lake.lake, export=export, run_id="run", engine=engine_of(lake)).load(
        table, found
    )
    prove(lake.lake, export, found, table.files(PERIOD, done.commit))
    return done


def staged_files(lake: SampleLake) -> list[str]:
    return [file.uri for file in lake.lake.files.list(lake.lake.staging)]


def nothing_waits(lake: SampleLake) -> bool:
    folders = [] if on_aws(lake) else [*Path(lake.lake.staging).glob("*")]
    value = lake.lake.values.find(lake.component.export.path("staged"), PERIOD)
    return not folders and not staged_files(lake) and value is None


@EVERYWHERE
def test_the_first_load_takes_over_what_the_crawl_encoded(lake: SampleLake) -> None:
    found = crawled(lake)
    (file,) = staged_files(lake)
    inode = None if on_aws(lake) else Path(file).stat().st_ino
    done = loaded(lake, found)
    assert (done.while_crawled, done.encoded_here) == (True, False)
    (placed,) = (one.uri for one in done.encoded.files)
    assert placed.endswith(Path(file).name)
    assert on_aws(lake) or Path(placed).stat().st_ino == inode
    assert nothing_waits(lake)
    again = loaded(lake, found)
    assert again.encoded_here, "what was staged is used once"


def test_a_load_that_is_committed_stands_where_what_waited_for_it_cannot_be_removed(
    lake: SampleLake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = crawled(lake)
    remove = Path.unlink

    def refused(path: Path, **options: bool) -> None:
        if "staged" in path.parts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        remove(path, **options)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "unlink", refused)
        assert loaded(lake, found).while_crawled
    assert f"could not remove what waited for a load of {PERIOD}" in caplog.text
    assert loaded(lake, found).encoded_here
    assert nothing_waits(lake)


@HERE_AND_ON_AWS
def test_a_new_crawl_takes_the_place_of_what_waits(lake: SampleLake) -> None:
    crawled(lake)
    before = staged_files(lake)
    lake.deliver(PERIOD, restatement=1)
    found = crawled(lake)
    assert len(staged_files(lake)) == len(before)
    assert not {*staged_files(lake)} & {*before}
    assert loaded(lake, found).while_crawled


@HERE_AND_ON_AWS
def test_files_of_another_delivery_are_not_taken(lake: SampleLake) -> None:
    found = crawled(lake)
    export = lake.component.export
    table = lake.lake.table(export, "hive")
    other = replace(found, delivery=replace(found.delivery, version="v2"))
    loader = Loader(
        lake=lake.lake, export=export, run_id="run", engine=engine_of(lake), verify=lambda _: None
    )
    assert loader.load(table, other).encoded_here
    assert nothing_waits(lake)
    rows = lake.lake.reader.preview(table.files(PERIOD), [DELIVERY_VERSION], 5)
    assert {row[DELIVERY_VERSION] for row in rows} == {"v2"}


def test_files_that_do_not_fit_a_table_that_changed_meanwhile_are_encoded_again(
    lake: SampleLake,
) -> None:
    found = crawled(lake)
    columns = lake_columns([Column("of_somebody_else", STRING), *found.source.columns])
    lake.lake.iceberg.create(lake.table, plan(None, columns).fields)
    done = loaded(lake, found)
    assert done.encoded_here
    assert nothing_waits(lake)


@HERE_AND_ON_AWS
def test_files_that_are_gone_or_cut_off_are_encoded_again(lake: SampleLake) -> None:
    files = lake.lake.files

    for spoil in (files.remove, lambda file: files.write(file, b"PAR1")):
        found = crawled(lake)
        (file,) = staged_files(lake)
        spoil(file)
        assert loaded(lake, found).encoded_here
        assert nothing_waits(lake)


@HERE_AND_ON_AWS
def test_a_report_that_was_rewritten_after_the_crawl_is_not_loaded(lake: SampleLake) -> None:
    found = crawled(lake)
    (path, *_) = (lake.landing / file.name for file in found.source.files)
    data = bytearray(path.read_bytes())
    data[4] ^= 1  # the time in a gzip's header: other bytes, the same rows
    change(lake, path, bytes(data))
    says = "is being replaced|changed" if on_aws(lake) else "rewritten while it was loaded"
    with pytest.raises(DeliveryChangedError, match=says):
        loaded(lake, found)
    assert nothing_waits(lake)


@EVERYWHERE
def test_a_crawl_that_fails_leaves_nothing(lake: SampleLake) -> None:
    export, engine = lake.component.export, engine_of(lake)
    delivery = resolve_delivery(lake.lake.storage, export.location, PERIOD)
    with pytest.raises(PeriodMismatchError):
        crawl(lake.lake, export, engine, replace(delivery, period="2025-04"))
    assert nothing_waits(lake)
    path = lake.landing / delivery.files[-1].key
    rows = gzip.decompress(path.read_bytes())
    change(lake, path, gzip.compress(rows + b"one cell\n"))
    with pytest.raises(ReportFileError, match="The row has 1 cell"):
        crawled(lake)
    assert nothing_waits(lake)


def test_nothing_is_encoded_for_a_gate_that_will_not_open(lake: SampleLake) -> None:
    fields = plan(None, lake_columns([Column("line_item_unblended_cost", STRING)])).fields
    lake.lake.iceberg.create(lake.table, fields)
    crawled(lake)
    assert nothing_waits(lake)


@HERE_AND_ON_AWS
def test_what_no_load_came_for_is_swept_when_it_is_old(lake: SampleLake) -> None:
    crawled(lake)
    staging, now = lake.lake.staging, timedelta(seconds=-2)
    assert remove_left(lake.lake, staging) == []
    (folder,) = remove_left(lake.lake, staging, CleanUp(older_than=now, dry_run=True))
    assert staged_files(lake)
    assert remove_left(lake.lake, staging, CleanUp(older_than=now)) == [folder]
    assert staged_files(lake) == []
    assert loaded(lake, crawled(lake)).while_crawled
