"""Keys of files: what is plain, and what is safe."""

from __future__ import annotations

import pytest

from billing_lake.formats.keys import is_safe_key, plain_key


@pytest.mark.parametrize("key", ["/a/b", "a//b", "//a///b", "a/b"])
def test_a_plain_key_is_how_a_folder_of_a_machine_holds_it(key: str) -> None:
    assert plain_key(key) == "a/b"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb", "\ud800"]
)
def test_a_key_with_tricks_is_not_safe(key: str) -> None:
    assert not is_safe_key(key)


@pytest.mark.parametrize(
    "key", ["a", "a/b c/d.csv.gz", "a..b/c", "ä/日本", "a+b/.c", "a\u00a0b", "\u3000", "می\u200cخ"]
)
def test_a_plain_key_is_safe(key: str) -> None:
    assert is_safe_key(key)
