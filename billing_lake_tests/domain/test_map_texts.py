"""Maps as reports write them: what one is, and why another text is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.map_texts import BadMapError, map_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.dictionaries(TEXTS, TEXTS | st.none(), max_size=5), st.booleans())
def test_a_flat_object_of_texts_is_the_map_that_it_says(
    found: dict[str, str | None],
    ascii_only: bool,  # noqa: FBT001
) -> None:
    assert map_of(json.dumps(found, ensure_ascii=ascii_only)) == found


@pytest.mark.parametrize(
    "number", ["1.0E-7", "0.10", "-0", "12345678901234567890.123456789", "1e400"]
)
def test_numbers_keep_their_text(number: str) -> None:
    assert map_of(f'{{"EDP": {number}, "on": true, "off": false}}') == {
        "EDP": number,
        "on": "true",
        "off": "false",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON"),
        ("x", "no JSON"),
        ('{"a":"b"', "no JSON"),
        ('{"a":"b"} x', "no JSON"),
        ("{'a':'b'}", "no JSON"),
        ('{"a":01}', "no JSON"),
        ('{"a":NaN}', "NaN is no number"),
        ('{"a":"\x01"}', "no JSON"),
        ("null", "no JSON object"),
        ('["a"]', "no JSON object"),
        ('{"a":{}}', "the key 'a' .* nested value|key 'a' of the map has a nested"),
        ('{"a":[1]}', "key 'a' of the map has a nested"),
        ('{"a":1,"\\u0061":2}', "the key 'a' twice"),
        ('{"a":"\\ud800"}', "text that is none"),
        ('{"a":"\\u0000"}', "text that is none"),
        ("{" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_map_says_why(text: str, reason: str) -> None:
    with pytest.raises(BadMapError, match=reason):
        map_of(text)
