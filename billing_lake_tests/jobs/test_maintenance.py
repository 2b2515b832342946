"""The job that removes what killed loads left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

import pytest

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.schemas import Column, lake_columns, plan
from billing_lake.domain.sources import PeriodKey
from billing_lake.domain.types import DOUBLE, STRING
from billing_lake.files.base import FileInfo
from billing_lake.landing.stated_periods import REPORT_FILES_FOLDER, StatedPeriods
from billing_lake.loads import staging
from billing_lake.loads.maintenance import maintain
from billing_lake.tables.base import CleanUp, KeptHistory
from billing_lake.tables.iceberg_compaction import FEWEST_FILES
from billing_lake_tests.assets.test_load import op_config
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import EXPORT, SampleLake
from billing_lake_tests.tables.making import encode

PERIOD = "2025-03"
# A moment ahead: the clock of a storage need not be ours to the second.
ANY = CleanUp(older_than=timedelta(seconds=-2))


@pytest.fixture(params=["local", "aws"])
def lake(request: pytest.FixtureRequest) -> SampleLake:
    """A lake whose period was loaded twice, so that it has a history."""
    fixture = {"local": "make_lake", "aws": "make_aws_lake"}[request.param]
    lake: SampleLake = request.getfixturevalue(fixture)()
    for restatement in (0, 1):
        lake.deliver(PERIOD, restatement=restatement)
        assert lake.load(PERIOD).success
    return lake


def left_by_a_kill(lake: SampleLake) -> list[str]:
    """Put files where a load has them at different moments; return what is to go."""
    uris = {
        str(lake.lake.hive.new_location(lake.table, PeriodKey(EXPORT, PERIOD))): "part-0.parquet",
        f"{lake.lake.iceberg.uri(lake.table)}/data/{EXPORT}/left.parquet": "",
        f"{lake.lake.staging}/0123abcd": "part-0.parquet",
    }
    for uri, name in uris.items():
        lake.lake.files.write(f"{uri}/{name}".rstrip("/"), b"half")
    return sorted(uris)


def files(lake: SampleLake) -> list[str]:
    """Return every file of the tables and of the staging folder."""
    tables = [lake.lake.hive.uri(lake.table), lake.lake.iceberg.uri(lake.table)]
    folders = [*tables, lake.lake.staging]
    return [file.uri for folder in folders for file in lake.lake.files.list(folder)]


def test_what_a_killed_load_left_goes_when_it_is_old_and_the_tables_stay_as_they_are(
    lake: SampleLake,
) -> None:
    tables = files(lake)
    left = left_by_a_kill(lake)
    beside_loads = files(lake)
    result = lake.run(f"{EXPORT}_maintenance")
    assert result.success
    (output,) = (one for one in result.all_node_events if one.is_successful_output)
    assert output.step_output_data.metadata["removed"].value == 0, "a load may be at work"
    assert files(lake) == beside_loads

    log: list[str] = []
    removed = maintain(lake.lake, lake.component.export, ANY, log.append).removed
    assert sorted(uri for uris in removed.values() for uri in uris) == left
    assert files(lake) == tables
    managed = [line for line in log if "cleans up by its own rules" in line]
    assert len(managed) == isinstance(lake, SampleLakeOnAws)


@pytest.mark.parametrize("name", ["keep_days", "keep_loads", "older_than_days"])
@pytest.mark.parametrize("number", [0, 365_001])
def test_a_number_out_of_bounds_is_refused_by_name_before_anything_is_done(
    make_lake: Callable[..., SampleLake], name: str, number: int
) -> None:
    lake = make_lake()
    job = f"{EXPORT}_maintenance"
    result = lake.run(job, config=op_config(f"{EXPORT}_maintain", **{name: number}))
    (event,) = result.get_step_failure_events()
    raised = event.step_failure_data.user_failure_data
    assert raised is not None
    assert str(raised.description).startswith(
        f"ConfigurationError: `{name}` in the run config is {number}; it may be 1 to 365,000"
    )
    assert "start the job again" in str(raised.description)


def test_tables_that_are_not_the_exports_are_left_alone(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["iceberg"])
    fields = plan(None, lake_columns([Column("line_item_unblended_cost", DOUBLE)])).fields
    mine = [f"{lake.table}{rest}" for rest in ("", "_static", "__before_1")]
    for table in (*mine, f"{lake.table}_of_others", "other.costs"):
        lake.lake.iceberg.create(table, fields)
        lake.lake.files.write(f"{lake.lake.iceberg.uri(table)}/data/left.parquet", b"half")
    removed = maintain(lake.lake, lake.component.export, ANY, print).removed
    assert set(removed) == {f"iceberg_table {table}" for table in mine}


def test_static_files_are_looked_after_whatever_else_the_export_is_loaded_into(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake(outputs=["hive"])
    static = lake.component.export.static_table
    lake.lake.iceberg.create(static, plan(None, lake_columns([Column("a", STRING)])).fields)
    lake.lake.files.write(f"{lake.lake.iceberg.uri(static)}/data/left.parquet", b"half")
    removed = maintain(lake.lake, lake.component.export, ANY, print).removed
    assert set(removed) == {f"iceberg_table {static}"}


def test_a_lake_without_tables_has_no_orphans(make_lake: Callable[..., SampleLake]) -> None:
    lake = make_lake()
    assert maintain(lake.lake, lake.component.export, ANY, print).removed == {}


def test_small_files_are_compacted_and_the_dry_run_says_so_and_how_much_space_comes_back(
    lake: SampleLake,
) -> None:
    iceberg, key = lake.lake.iceberg, PeriodKey(EXPORT, PERIOD)
    fields = iceberg.fields(lake.table)
    assert fields is not None
    folder = f"{lake.lake.staging}/by-hand"
    many = encode(folder, key, (3,) * FEWEST_FILES, fields=fields)
    iceberg.replace_period(lake.table, key, many, properties={}, verify=lambda: None)
    lake.lake.files.remove_folder(folder)
    left_by_a_kill(lake)
    before = files(lake)
    listed, done = (
        maintain(lake.lake, lake.component.export, replace(ANY, dry_run=dry), print)
        for dry in (True, False)
    )
    place = f"iceberg_table {lake.table}"
    assert listed.compacted[place] == [f"{EXPORT} {PERIOD}, files: {FEWEST_FILES} become 1"]
    assert done.compacted == listed.compacted
    assert done.removed == listed.removed
    assert (listed.freed_bytes, done.freed_bytes) == (12, 12), "what kills left: half, three times"
    assert (
        set()
        < set(before) - set(files(lake))
        <= {
            uri if "." in uri.rpartition("/")[2] else f"{uri}/part-0.parquet"
            for uris in done.removed.values()
            for uri in uris
        }
    )
    source = iceberg.files(lake.table, key)
    assert len(source.files) == 1
    assert lake.profile("iceberg", PERIOD).rows == 3 * FEWEST_FILES


def test_space_comes_back_with_the_last_name_of_a_file(
    make_lake: Callable[..., SampleLake],
) -> None:
    lake = make_lake()
    for restatement in range(4):
        lake.deliver(PERIOD, restatement=restatement)
        assert lake.load(PERIOD).success
    what = replace(ANY, kept=KeptHistory(days=0, loads=1))
    before = sum({one.names: one.size for one in everything(lake)}.values())
    listed = maintain(lake.lake, lake.component.export, replace(what, dry_run=True), print)
    done = maintain(lake.lake, lake.component.export, what, print)
    after = sum({one.names: one.size for one in everything(lake)}.values())
    names = {file.uri: file.names for file in everything(lake)}
    assert not {uri for uris in done.removed.values() for uri in uris} & names.keys()
    # Forgetting snapshots writes metadata anew, which is small.
    assert before - after <= done.freed_bytes <= before - after + 200_000
    assert 0 < listed.freed_bytes <= done.freed_bytes


def everything(lake: SampleLake) -> list[FileInfo]:
    return list(lake.lake.files.list(str(lake.home / "warehouse")))


def test_messages_of_glue_runs_go_after_the_grace_period_and_those_of_a_run_at_work_stay(
    make_aws_lake: Callable[..., SampleLakeOnAws], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = make_aws_lake()
    files, pipes = lake.lake.files, lake.lake.scratch[-1]
    assert pipes.endswith("/billing-lake-pipes")
    killed = [f"{pipes}/killed/1/{name}" for name in ("context.json", "messages/1.json")]
    at_work = [f"{pipes}/at-work/1/{name}" for name in ("context.json", "messages/1.json")]

    def put(uri: str) -> datetime:
        files.write(uri, b"{}")
        return next(one.modified for one in files.list(pipes) if one.uri == uri)

    put(at_work[0])
    ended = max(map(put, killed))
    # It goes on writing; the clock of a storage may have no fractions of a second.
    while (later := put(at_work[1])) <= ended:
        pass

    def there() -> list[str]:
        return [one.uri for one in files.list(pipes)]

    def clean_up(now: datetime, what: CleanUp) -> Sequence[str]:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Clock:
                return cls.fromtimestamp(now.timestamp(), tz)

        monkeypatch.setattr(staging, "datetime", Clock)
        return maintain(lake.lake, lake.component.export, what, print).removed.get(pipes, ())

    grace = CleanUp(older_than=timedelta(days=1))
    assert clean_up(ended + timedelta(hours=23), grace) == ()
    assert there() == sorted([*killed, *at_work])
    over = ended + (later - ended) / 2 + timedelta(days=1)
    assert clean_up(over, replace(grace, dry_run=True)) == [f"{pipes}/killed"]
    assert there() == sorted([*killed, *at_work])
    assert clean_up(over, grace) == [f"{pipes}/killed"]
    assert there() == sorted(at_work), "also the request, which is as old as what is gone"


def test_crawled_tables_of_loads_that_failed_long_ago_go(lake: SampleLake) -> None:
    crawled = lake.lake.values.get([EXPORT, "crawler_table"], PERIOD, Crawl)
    lake.lake.crawled.register(crawled)
    assert crawled.table in lake.lake.crawled.names()
    export = lake.component.export
    for days, there in ((1, True), (0, False)):
        kept = KeptHistory(days=days, loads=9)
        done = maintain(lake.lake, export, replace(ANY, kept=kept), print)
        assert (crawled.table in lake.lake.crawled.names()) is there
        assert (crawled.table in done.removed.get("crawled tables", ())) is not there


def test_what_is_known_of_report_files_goes_with_them(make_lake: Callable[..., SampleLake]) -> None:
    lake = make_lake()
    memory = StatedPeriods(f"{lake.lake.values.root}/{REPORT_FILES_FOLDER}", lake.lake.files)
    there = lake.landing / "there.csv"
    there.parent.mkdir(parents=True)
    there.write_text("rows")
    for address, tag in ((there, "old"), (there, "new"), (lake.landing / "gone.csv", "tag")):
        memory.keep((PERIOD,), str(address), tag)
    export = lake.component.export
    maintain(lake.lake, export, replace(ANY, kept=KeptHistory(days=1, loads=1)), print)
    assert memory.periods(str(there), "old") == (PERIOD,)
    maintain(lake.lake, export, replace(ANY, kept=KeptHistory(days=0, loads=1)), print)
    assert memory.periods(str(there), "new") == (PERIOD,)
    assert memory.periods(str(there), "old") is None
    assert memory.periods(str(lake.landing / "gone.csv"), "tag") is None
