"""Bad input: a named error that says file, line, column and value; nothing is left behind."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from billing_lake.domain import errors
from billing_lake.engines.base import Engine
from billing_lake.formats.headers import column_names
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake_tests.engines.report_files import csv_text, encode, report, source_of
from billing_lake_tests.reports import MINIMAL_HEADER, minimal_row

GOOD = csv_text([minimal_row() for _ in range(3)])
WIDTH = len(MINIMAL_HEADER)


def broken(row: str, after: int = 1) -> str:
    """Return a report whose line after ``after`` good rows is ``row``."""
    lines = GOOD.splitlines()
    return "\n".join([*lines[: after + 1], row, *lines[after + 1 :], ""])


def line(**cells: str) -> str:
    return csv_text([minimal_row(**cells)]).split("\n", 1)[1].rstrip("\n")


@pytest.mark.parametrize(
    ("row", "error", "says"),
    [
        (line() + ",extra", errors.RaggedRowError, f"{WIDTH + 1} cells"),
        (line().rsplit(",", 1)[0], errors.RaggedRowError, f"{WIDTH - 1} cells"),
        ("", errors.RaggedRowError, "0 cells"),
        (line(cost="ten"), errors.BadValueError, "ten"),
        (line(cost="1,5"), errors.BadValueError, "1,5"),
        (line(cost="NaN"), errors.BadValueError, "NaN"),
        (line(cost=" 1"), errors.BadValueError, "' 1'"),
        (line(cost="1" * 21), errors.BadValueError, "1" * 21),
        (line(cost="1E+400"), errors.BadValueError, "1E+400"),
        (line(start="yesterday"), errors.BadValueError, "yesterday"),
        (line(start="2025-02-30T00:00:00Z"), errors.BadValueError, "2025-02-30"),
        (line(period_start="2025-13-01"), errors.BadValueError, "2025-13-01"),
        (line(cost="\u0663"), errors.BadValueError, "line_item_unblended_cost"),
        (line(start="\u0662025-03-01"), errors.BadValueError, "line_item_usage_start_date"),
        (line(start="0000-01-01T00:00:00Z"), errors.BadValueError, "line_item_usage_start_date"),
        (line(start="2025-03-01T05:00:00+01:00"), errors.BadValueError, "not in UTC"),
        (line(start="2025-03-01 05:00:00 CET"), errors.BadValueError, "not in UTC"),
        (line(product="a\0b"), errors.EncodingError, "zero byte"),
        (line(product='a\0b"'), errors.EncodingError, "zero byte"),
        (
            line(product="P").replace(",P,", ',"a"b"c",'),
            errors.UnclosedQuoteError,
            "line_item_product_code",
        ),
        (
            line(product="P").replace(",P,", ',"a" ,'),
            errors.UnclosedQuoteError,
            "line_item_product_code",
        ),
        (
            line(product="P").replace(",P,", ',5" disk,'),
            errors.UnclosedQuoteError,
            "line_item_product_code",
        ),
        (
            line(product="P").replace(",P,", ',7",'),
            errors.UnclosedQuoteError,
            "line_item_product_code",
        ),
        (
            line(product="P").replace(",P,", ",P\r,"),
            errors.ReportFileError,
            "line_item_product_code",
        ),
    ],
)
def test_a_faulty_row_is_named_by_file_and_line(
    engine: Engine, tmp_path: Path, row: str, error: type[errors.ReportFileError], says: str
) -> None:
    source = source_of(report(tmp_path / "bad.csv.gz", broken(row)))
    with pytest.raises(error) as caught:
        engine.profile(source)
    assert caught.value.file == "bad.csv.gz"
    assert caught.value.line == 3
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "column", "value"),
    [("end", "line_item_usage_end_date", "soon"), ("amount", "line_item_usage_amount", "12 GB")],
)
def test_a_value_in_a_column_that_no_profile_reads_stops_the_encoding(
    engine: Engine, tmp_path: Path, cell: str, column: str, value: str
) -> None:
    source = source_of(report(tmp_path / "bad.csv.gz", broken(line(**{cell: value}))))
    with pytest.raises(errors.BadValueError, match=column) as caught:
        encode(engine, source, tmp_path / "out")
    assert (caught.value.line, caught.value.value) == (3, value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "end", ["0000-01-01T00:00:00Z", "2025-3-1T0:00:00Z", "2025-03-01T23:59:60Z", "+2025-03-01"]
)
def test_a_moment_in_an_unknown_spelling_is_loaded_by_no_engine(
    engine: Engine, tmp_path: Path, end: str
) -> None:
    source = source_of(report(tmp_path / "bad.csv.gz", broken(line(end=end))))
    with pytest.raises(errors.BadValueError, match="line_item_usage_end_date") as caught:
        (engine.profile(source), encode(engine, source, tmp_path / "out"))
    assert (caught.value.line, caught.value.value) == (3, end)


def test_a_quote_that_never_closes_is_named(engine: Engine, tmp_path: Path) -> None:
    source = source_of(
        report(tmp_path / "bad.csv.gz", broken(line().replace("AmazonS3", '"AmazonS3')))
    )
    for act in (engine.profile, lambda s: encode(engine, s, tmp_path / "out")):
        with pytest.raises(errors.UnclosedQuoteError, match=r"bad\.csv\.gz"):
            act(source)


@pytest.mark.parametrize(
    "content",
    [
        broken(line().replace("AmazonS3", '"Amazon"S3')),
        f'{GOOD}{line().rpartition(",")[0]},"0.25',
        f'{GOOD}{line().rpartition(",")[0]},"0.25\n',
    ],
    ids=["closes-in-a-cell", "open-in-the-last-cell", "open-at-the-end-of-the-file"],
)
def test_a_quote_that_closes_in_a_cell_or_never_stops_the_encoding(
    engine: Engine, tmp_path: Path, content: str
) -> None:
    source = source_of(report(tmp_path / "bad.csv.gz", content))
    with pytest.raises(errors.UnclosedQuoteError, match=r"bad\.csv\.gz"):
        encode(engine, source, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_latin_1_bytes_are_named_with_their_line(engine: Engine, tmp_path: Path) -> None:
    content = broken(line(product="Café")).encode("latin-1")
    source = source_of(report(tmp_path / "bad.csv.gz", content))
    with pytest.raises(errors.EncodingError, match="0xe9") as caught:
        encode(engine, source, tmp_path / "out")
    assert caught.value.line == 3


def test_stray_quotes_in_two_rows_do_not_make_one_row_of_them(
    engine: Engine, tmp_path: Path
) -> None:
    row = line(product="P").replace(",P,", ',7",')
    source = source_of(report(tmp_path / "bad.csv.gz", broken(f"{row}\n{line()}\n{row}")))
    with pytest.raises(errors.UnclosedQuoteError) as caught:
        engine.profile(source)
    assert (caught.value.line, caught.value.column) == (3, "line_item_product_code")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("line_item_unblended_cost", ("1", "2")),
        ("line_item_currency_code", ("USD", "EUR")),
        ("line_item_usage_start_date", ("2025-03-01", "2025-03-02")),
    ],
)
def test_a_row_that_states_two_amounts_currencies_or_dates_stops_the_load(
    engine: Engine, tmp_path: Path, column: str, values: tuple[str, str]
) -> None:
    header = (*MINIMAL_HEADER, column, "tag")
    position = column_names(MINIMAL_HEADER, "header", LEGACY_CUR).index(column)
    rows = [[*minimal_row(), "", "t"] for _ in range(2)]
    rows[1][position], rows[1][-2] = values
    source = source_of(report(tmp_path / "bad.csv.gz", csv_text(rows, header)), header=header)
    for act in (engine.profile, lambda s: encode(engine, s, tmp_path / "out")):
        with pytest.raises(errors.BadValueError, match=f"cells {position + 1} and") as caught:
            act(source)
        assert (caught.value.line, caught.value.column) == (3, column)
        assert caught.value.value == " | ".join(values)


def test_a_total_that_no_table_can_hold_is_named_by_its_column(
    engine: Engine, tmp_path: Path
) -> None:
    for currencies in (("USD", "USD"), ("USD", "USD", "EUR")):
        rows = [minimal_row(cost="9" * 20, currency=currency) for currency in currencies]
        with pytest.raises(errors.LoadError, match="too large for DECIMAL") as caught:
            engine.profile(source_of(report(tmp_path / "bad.csv.gz", csv_text(rows))))
        assert caught.value.column == "line_item_unblended_cost"


def cut(content: bytes) -> bytes:
    return gzip.compress(content)[:-20]


def without_checksum(content: bytes) -> bytes:
    return gzip.compress(content)[:-8]


def flipped(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (cut, errors.TruncatedFileError),
        (without_checksum, errors.TruncatedFileError),
        (flipped, errors.TruncatedFileError),
        (lambda _: b"", errors.EmptyFileError),
        (lambda content: content, errors.NotGzipError),
    ],
    ids=["cut", "no-checksum", "wrong-checksum", "empty", "plain"],
)
def test_damaged_files_are_named_by_both_verbs(
    engine: Engine,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    error: type[errors.ReportFileError],
) -> None:
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(damage(GOOD.encode() * 200))
    for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
        with pytest.raises(error, match=r"bad\.csv\.gz"):
            act(source_of(path))
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (line() + ",extra", errors.RaggedRowError),
        (line(end="soon"), errors.BadValueError),
        (line(product="P").replace(",P,", ',"a"b"c",'), errors.UnclosedQuoteError),
    ],
    ids=["ragged", "value", "quote"],
)
def test_faults_are_named_beside_a_row_that_ends_with_a_carriage_return_in_quotes(
    engine: Engine, tmp_path: Path, row: str, error: type[errors.ReportFileError]
) -> None:
    returned = line().rpartition(",")[0] + ',"0.25\r"'
    good = line().rpartition(",")[0] + ',""'
    header = GOOD.split("\n", 1)[0].rpartition(",")[0] + ",tag"
    content = f"{header}\r\n{good}\r\n{returned}\r\n{row}\r\n{good}\r\n"
    source = source_of(report(tmp_path / "bad.csv.gz", content), header=header.split(","))
    with pytest.raises(error, match=r"bad\.csv\.gz") as caught:
        (engine.profile(source), encode(engine, source, tmp_path / "out"))
    assert caught.value.line == 4


@pytest.mark.parametrize("zeros", [3 << 10, 1, 3])
def test_zeros_behind_a_gzip_are_named_with_what_to_do(
    engine: Engine, tmp_path: Path, zeros: int
) -> None:
    members = [gzip.compress(part.encode()) for part in (GOOD, line() + "\n")]
    for content in (members[0], b"".join(members)):
        (tmp_path / "good.csv.gz").write_bytes(content)
        (tmp_path / "bad.csv.gz").write_bytes(content + bytes(zeros))
        source = source_of(tmp_path / "good.csv.gz", tmp_path / "bad.csv.gz")
        for act in (engine.profile, lambda source: encode(engine, source, tmp_path / "out")):
            with pytest.raises(errors.PaddedFileError, match="Copy the file again") as caught:
                act(source)
            assert caught.value.file == "bad.csv.gz"
        assert list((tmp_path / "out").iterdir()) == []


def test_zeros_between_the_members_of_a_gzip_are_loaded_by_no_engine(
    engine: Engine, tmp_path: Path
) -> None:
    first, second = (gzip.compress(part.encode()) for part in (GOOD, line() + "\n"))
    path = tmp_path / "bad.csv.gz"
    path.write_bytes(first + bytes(512) + second)
    with pytest.raises(errors.PaddedFileError, match=r"bad\.csv\.gz"):
        (engine.profile(source_of(path)), encode(engine, source_of(path), tmp_path / "out"))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (gzip.compress(broken(line(cost="ten")).encode(), mtime=0), errors.BadValueError),
        (gzip.compress(broken(line() + ",extra").encode(), mtime=0), errors.RaggedRowError),
        (cut(GOOD.encode() * 200), errors.TruncatedFileError),
    ],
    ids=["value", "width", "end"],
)
def test_a_fault_in_the_second_file_leaves_nothing_of_the_first(
    engine: Engine, tmp_path: Path, content: bytes, error: type[errors.ReportFileError]
) -> None:
    good = report(tmp_path / "good.csv.gz", GOOD)
    bad = tmp_path / "bad.csv.gz"
    bad.write_bytes(content)
    with pytest.raises(error, match=r"bad\.csv\.gz"):
        encode(engine, source_of(good, bad), tmp_path / "out")
    assert list((tmp_path / "out").glob("*")) == []


def test_a_folder_that_is_a_file_cannot_be_written(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    source = source_of(report(tmp_path / "r.csv.gz", GOOD))
    with pytest.raises(errors.StorageWriteError):
        encode(engine, source, tmp_path / "out")


def test_a_table_whose_file_is_gone_says_so(engine: Engine, tmp_path: Path) -> None:
    from billing_lake_tests.engines.report_files import table_of

    source = source_of(report(tmp_path / "r.csv.gz", GOOD))
    files = encode(engine, source, tmp_path / "out")
    Path(files[0].uri).unlink()
    with pytest.raises(errors.TableError, match=r"\.parquet"):
        engine.profile(table_of(source, files))
