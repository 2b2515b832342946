"""The values between assets: a delivery, a crawl, an encoded delivery, one JSON file per asset and billing period.

No pickles: a value outlives the release that wrote it, is read by people who look for a fault, and must not run code
when it is loaded. The latest value of an asset's period says what that table was last loaded with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    StorageReadError,
    StorageWriteError,
    TableError,
    shown,
)
from billing_lake.domain.json_values import NOT_UNDERSTOOD, require_whole, sealed
from billing_lake.domain.sources import Encoded
from billing_lake.files.base import Files

Value = Delivery | Crawl | Encoded
"""What an asset may hand on."""

ValueT = TypeVar("ValueT", Delivery, Crawl, Encoded)

FORMAT = 2
"""Number of the shape that values are written in."""

_SUFFIX = ".json"

_KINDS: dict[str, type[Value]] = {kind.__name__: kind for kind in (Delivery, Crawl, Encoded)}


@dataclass(frozen=True)
class Kept:
    """A value as it was kept.

    Attributes:
        written: When, ISO 8601 in UTC with microseconds: two of them compare as text.
    """

    value: Value
    written: str


@dataclass(frozen=True)
class ValueStore:
    """Values in files `<root>/<asset key…>/<period>.json`.

    Attributes:
        root: URI of the folder of the values.
        files: Where the folder lies.
    """

    root: str
    files: Files

    def write(self, key: Sequence[str], period: str, value: Value) -> None:
        """Keep ``value`` as the latest one of the asset ``key`` and ``period``; a reader sees the old or the new one.

        Raises:
            StorageWriteError: The lake's folder takes no more.
        """
        uri = self._uri(key, period)
        document = {
            "format": FORMAT,
            "kind": type(value).__name__,
            "of": "/".join((*key, period)),
            "written": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            "value": value.to_json(),
        }
        text = json.dumps(sealed(document))
        try:
            self.files.write(uri, text.encode())
        except OSError as error:
            what = f"The value of {'/'.join(key)} cannot be kept: {error.strerror or error}"
            raise StorageWriteError(what, file=uri) from error

    def find(self, key: Sequence[str], period: str) -> Kept | None:
        """Return the latest value of the asset ``key`` and ``period``, or None where there is none.

        Raises:
            TableError: The file is no value, one of another version, of another asset or period, or somebody has changed it.
            StorageReadError: It cannot be read.
        """
        uri = self._uri(key, period)
        try:
            data = self.files.read(uri)
        except FileNotFoundError:
            return None
        except OSError as error:
            what = f"The value of {'/'.join(key)} cannot be read: {error.strerror or error}"
            raise StorageReadError(what, file=uri) from error
        try:
            kept = json.loads(data)
            if kept["format"] == FORMAT:
                require_whole(kept)
                _require_of(kept, "/".join((*key, period)))
                return Kept(_KINDS[kept["kind"]].from_json(kept["value"]), kept["written"])
        except NOT_UNDERSTOOD as error:
            what = f"The value of {'/'.join(key)} cannot be read: {shown(error)}"
            remedy = f"Materialize {'/'.join(key)} for {period} again; that writes it anew"
            raise TableError(what, file=uri, remedy=remedy) from error
        what = f"The value of {'/'.join(key)} was written by another version of Billing Lake"
        remedy = f"Use that version, or materialize {'/'.join(key)} for {period} again: that writes it anew"
        raise TableError(what, file=uri, remedy=remedy)

    def get(self, key: Sequence[str], period: str, kind: type[ValueT]) -> ValueT:
        """Return the latest value of the asset ``key`` and ``period``.

        Raises:
            TableError: There is none, or one of another kind.
        """
        value = self.latest(key, period, kind)
        if value is None:
            what = f"{'/'.join(key)} has no value for {period}"
            raise TableError(what, remedy=f"Materialize {'/'.join(key)} for {period} first")
        return value

    def latest(self, key: Sequence[str], period: str, kind: type[ValueT]) -> ValueT | None:
        """Return the latest value of the asset ``key`` and ``period``; None where there is none of the kind."""
        kept = self.find(key, period)
        return kept.value if kept is not None and isinstance(kept.value, kind) else None

    def remove(self, key: Sequence[str], period: str) -> None:
        """Forget the value of the asset ``key`` and ``period``.

        Raises:
            StorageWriteError: The lake's folder lets nothing go.
        """
        uri = self._uri(key, period)
        try:
            self.files.remove(uri)
        except OSError as error:
            what = f"The value of {'/'.join(key)} cannot be removed: {error.strerror or error}"
            raise StorageWriteError(what, file=uri) from error

    def periods(self, key: Sequence[str]) -> tuple[str, ...]:
        """Return the periods that the asset ``key`` has a value for."""
        folder = "/".join((self.root, *key))
        names = (file.uri.removeprefix(f"{folder}/") for file in self.files.list(folder))
        return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))

    def _uri(self, key: Sequence[str], period: str) -> str:
        return "/".join((self.root, *key, f"{period}{_SUFFIX}"))


def _require_of(kept: Mapping[str, Any], place: str) -> None:
    if kept.get("of", place) != place:
        msg = f"it is the value of {shown(kept['of'])}"
        raise ValueError(msg)
