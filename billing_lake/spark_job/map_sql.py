"""Maps from the JSON text of report cells, as Spark SQL.

Spark's own `from_json` writes numbers in another way, takes equal keys, single quotes and whatever follows the object. So a cell is
matched as a whole, then divided into its tokens; only tokens with escapes are given to `from_json`. Every repetition keeps what it took:
Java would else need a deeper stack for each pair.
"""

from __future__ import annotations

_BLANK = r"[ \t\n\r]*+"
_BARE_TEXT = r'[^"\\\x00-\x1f]*+'
_CHARACTER = (
    r"(?!0000|[dD][89a-fA-F])[0-9a-fA-F]{4}|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
"""What follows upon `\\u`: a character, or both halves of one; never the zero byte."""
_STRING = rf'"{_BARE_TEXT}(?:\\(?:["\\/bfnrt]|u(?:{_CHARACTER})){_BARE_TEXT})*+"'
_BARE = r"-?(?:0|[1-9][0-9]*+)(?:[.][0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null"
_KEY_OR_VALUE = rf"{_STRING}|{_BARE}"
_PAIR = rf"{_STRING}{_BLANK}:{_BLANK}(?:{_KEY_OR_VALUE}){_BLANK}"
_OBJECT = rf"\A{_BLANK}\{{{_BLANK}(?:{_PAIR}(?:,{_BLANK}{_PAIR})*+)?+\}}{_BLANK}\z"


def map_of_text(cell: str) -> str:
    """Return the text ``cell`` as a map of texts; NULL where it is no flat JSON object with keys that differ."""
    inner = "substr(t, 2, length(t) - 2)"
    string = (
        f"CASE WHEN instr(t, '{_escaped(chr(92))}') = 0 THEN {inner} "
        "ELSE element_at(from_json(concat('[', t, ']'), 'array<string>'), 1) END"
    )
    value = f"CASE WHEN startswith(t, '\"') THEN {string} WHEN t != 'null' THEN t END"
    tokens = f"regexp_extract_all({cell}, '{_escaped(_KEY_OR_VALUE)}', 0)"
    keys = f"transform(filter(tokens, (t, i) -> i % 2 = 0), t -> {string})"
    values = f"transform(filter(tokens, (t, i) -> i % 2 = 1), t -> {value})"
    pairs = f"transform(array({tokens}), tokens -> struct({keys} AS keys, {values} AS values))"
    whole = "CASE WHEN size(array_distinct(p.keys)) = size(p.keys) THEN map_from_arrays(p.keys, p.values) END"
    return f"CASE WHEN {cell} RLIKE '{_escaped(_OBJECT)}' THEN element_at(transform({pairs}, p -> {whole}), 1) END"


def _escaped(regex: str) -> str:
    """Return a text without single quotes as it stands in a SQL literal."""
    return regex.replace("\\", "\\\\")
