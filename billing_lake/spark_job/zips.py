"""Report files in ZIP as lines and rows of text: Spark reads no ZIP, so Python does, where the rows are.

Spark hands each ZIP over as it lies there, packed; it is unpacked as a stream, line by line. That each holds one CSV file was looked
at before (`inputs`). The functions that travel to the workers bring nothing of this program with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing_lake.spark_job.inputs import OWN_PATH, PATH, exact_files, require_all_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from billing_lake.spark_job.inputs import Input

_LONGEST_LINE_BYTES = 128 << 20


def zipped_lines(spark: SparkSession, inputs: Sequence[Input]) -> DataFrame:
    """Return the lines of ``inputs``, headers too: `path`, and `value` without the line feed."""
    return _texts(spark, inputs, whole_rows=False).selectExpr(
        "path", "CAST(text AS STRING) AS value"
    )


def zipped_rows(spark: SparkSession, inputs: Sequence[Input]) -> DataFrame:
    """Return the rows of ``inputs`` behind their headers: their path, and `text`, of several lines where quotes say so."""
    return _texts(spark, inputs, whole_rows=True).selectExpr(
        f"path AS {OWN_PATH}", "CAST(text AS STRING) AS text"
    )


def _texts(spark: SparkSession, inputs: Sequence[Input], *, whole_rows: bool) -> DataFrame:
    files = exact_files(spark.read.format("binaryFile")).load([one.file.uri for one in inputs])
    packed = require_all_read(files, inputs).selectExpr(f"{PATH} AS path", "content")
    texts = packed.rdd.flatMap(_unpacking(whole_rows=whole_rows))
    return spark.createDataFrame(texts, "path STRING, text BINARY", verifySchema=False)


def _unpacking(*, whole_rows: bool) -> Callable[[Any], Iterator[tuple[str, bytes]]]:
    """Return what unpacks a ZIP, given with its path; all that it needs it imports and holds itself."""
    longest = _LONGEST_LINE_BYTES

    def rows_of(lines: Iterator[bytes]) -> Iterator[bytes]:
        held: list[bytes] = []
        is_open, is_header = False, True
        for line in lines:
            held.append(line)
            is_open ^= line.count(b'"') % 2 == 1
            if not is_open:
                if not is_header:
                    yield b"".join(held)
                held, is_header = [], False
        if held:
            yield b"".join(held)

    def unpack(file: Any) -> Iterator[tuple[str, bytes]]:
        import io
        import zipfile

        packed = io.BytesIO(file.content)
        with zipfile.ZipFile(packed) as archive, archive.open(archive.infolist()[0]) as text:
            lines = iter(lambda: text.readline(longest), b"")
            for one in rows_of(lines) if whole_rows else lines:
                yield file.path, one.removesuffix(b"\n")

    return unpack
