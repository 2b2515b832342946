"""Turns dataclasses into JSON values and back, for what is kept between assets and what is sent to a Spark job.

The types of a class's attributes say how each is read, so that no class spells out its shape twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from billing_lake.domain import types

_ValuesT = TypeVar("_ValuesT", bound="JsonValues")

_DIGEST = "sha256"
"""Name of the entry that says what the other entries of a document are."""

NOT_UNDERSTOOD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What text raises that is no JSON, or no value of its class."""


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with a digest of its entries, by which somebody's correction of a figure is noticed."""
    entries = {name: value for name, value in document.items() if name != _DIGEST}
    return {**entries, _DIGEST: _digest(entries)}


def require_whole(document: Mapping[str, Any]) -> None:
    """Refuse a document that is not as it was sealed; earlier releases sealed none.

    Raises:
        ValueError: Somebody has changed it.
    """
    entries = {name: value for name, value in document.items() if name != _DIGEST}
    if _DIGEST in document and document[_DIGEST] != _digest(entries):
        msg = "somebody has changed it since it was written"
        raise ValueError(msg)


def _digest(entries: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


class JsonValues:
    """Base of dataclasses that are kept or sent as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: decimals and types as text, without attributes that equality does not look at."""
        return cast("dict[str, Any]", _written(self))

    @classmethod
    def from_json(cls: type[_ValuesT], value: Mapping[str, Any]) -> _ValuesT:  # noqa: PYI019 -- `Self` comes with Python 3.11
        """Read what `to_json` wrote.

        Raises:
            NOT_UNDERSTOOD: An attribute is missing, cannot have its value, or does not exist.
        """
        return cast("_ValuesT", _reader(cast("Any", cls))(value))


def _written(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, types.Type):
        return str(value)
    if is_dataclass(value):
        return {
            one.name: _written(getattr(value, one.name)) for one in fields(value) if one.compare
        }
    if isinstance(value, Mapping):
        return {name: _written(one) for name, one in value.items()}
    return [_written(one) for one in value]


@lru_cache(maxsize=256)
def _reader(kind: Any) -> Callable[[Any], Any]:  # noqa: PLR0911 -- one for each kind of type
    """Return what reads a value of the type ``kind``."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind == types.Type:
        return types.parse
    if origin in (Union, UnionType):
        read = _reader(parts[0])
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        read = _reader(parts[0])
        return lambda value: tuple(map(read, value))
    if origin is Mapping:
        read = _reader(parts[1])
        return lambda value: {name: read(one) for name, one in value.items()}
    if is_dataclass(kind):
        make = cast("Callable[..., Any]", kind)
        readers = {name: _reader(one) for name, one in get_type_hints(kind).items()}
        return lambda value: make(**{name: readers[name](one) for name, one in value.items()})
    if isinstance(kind, type) and issubclass(kind, tuple):
        return lambda value: kind(*value)
    return _number if kind is Decimal else lambda value: value


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        msg = f"{text} is no number"
        raise ValueError(msg)
    return number
