"""What holds for every module, whatever it does."""

from __future__ import annotations

from pathlib import Path

import billing_lake

MOST_LINES = 400


def test_no_module_has_more_lines_than_one_reads_at_once() -> None:
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in Path(billing_lake.__file__).parent.rglob("*.py")
    }
    assert len(sizes) > 100
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}
