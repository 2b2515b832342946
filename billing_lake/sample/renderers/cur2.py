"""CUR 2.0: gzipped CSV files with maps as JSON, and the folders and manifests of Data Exports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import polars as pl

from billing_lake.domain.types import DECIMAL, TIMESTAMP, Map
from billing_lake.formats.cur2.columns import KNOWN_COLUMNS
from billing_lake.formats.legacy_cur.naming import athena_name, name_of
from billing_lake.sample.canonical import MONEY_SCALE
from billing_lake.sample.renderers.legacy_columns import NATURAL, canonical_name
from billing_lake.sample.renderers.legacy_cur import LegacyCur, numbers_where

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from billing_lake.domain.types import Type
    from billing_lake.sample.canonical import Attributes, RowBlock
    from billing_lake.sample.renderers.files import Note

_OPTIONAL = (
    "capacity_reservation_",
    "split_line_item_",
    "line_item_iam_principal",
    "discount_total_",
)
"""Columns that an export has only with further settings, or that the sample's rows say nothing of."""

COLUMNS = tuple(sorted(name for name in KNOWN_COLUMNS if not name.startswith(_OPTIONAL)))
"""The columns of every sample, as the provider's console orders them."""

_CANONICAL = {
    **{name_of(raw): canonical_name(raw) for raw in NATURAL},
    "bill_payer_account_name": "payer_name",
    "line_item_usage_account_name": "account_name",
    "product_instance_family": "product/instanceTypeFamily",
    "product_region_code": "product/region",
    "discount": "discount",
}
_SHOWN = {_CANONICAL.get(name) for name in COLUMNS}
_TAGS, _CATEGORIES, _PRODUCT = "tag/", "category/", "product/"
_DISCOUNT = '"{""EDP discount"":'


class Cur2(LegacyCur):
    """Renders one delivery as CUR 2.0: the rows of a legacy report in other columns and folders."""

    _partition = "BILLING_PERIOD"
    _tag, _category = "resourceTags/", "costCategory/"
    """What keys of all tags begin with."""

    def _identify(self) -> None:
        self.version = str(uuid5(NAMESPACE_URL, f"{self._delivered} {self._spec.seed}"))

    def _select(self, _: Iterable[str]) -> dict[str, str]:
        return {name: _CANONICAL.get(name, name) for name in COLUMNS}

    def _place_export(self, numbers: list[str]) -> None:
        spec = self._spec
        base = self._root / spec.prefix / spec.report
        partition = f"{self._partition}={self._month.start:%Y-%m}"
        own = f"{self._delivered:%Y-%m-%dT%H:%M:%S}.000Z-{self.version}"
        run = own if spec.layout == "create-new" else ""
        data, metadata = base / "data" / partition, base / "metadata" / partition
        self.files = [data / run / f"{spec.report}-{number}" for number in numbers]
        name = f"{spec.report}-Manifest.json"
        self._manifests = [place / name for place in dict.fromkeys((metadata / run, metadata))]
        if not run:
            before = data.glob(f"{spec.report}-[0-9][0-9][0-9][0-9][0-9].{spec.container}")
            self._surplus = tuple(sorted({*before} - {*self.files}))

    def _put_surplus(self, note: Note) -> None:
        """Empty the chunks that the delivery before had in addition, as AWS does."""
        for path in self._surplus:
            with self.report(path, note):
                pass

    def _manifest(self, bucket: str, files: Iterable[Path]) -> dict[str, Any]:
        name = f"{self._spec.report}-{self.version}"
        return {
            "executionId": self.version,
            "exportArn": f"arn:aws:bcm-data-exports:us-east-1:004512345678:export/{name}",
            "columns": [
                {"name": one, "type": _token(self._parquet_field(one)[1])} for one in self._columns
            ],
            "dataFiles": [
                f"s3://{bucket}/{file.relative_to(self._root).as_posix()}" for file in files
            ],
            "additionalOutputFiles": [],
        }

    def _parquet_field(self, column: str) -> tuple[str, Type]:
        return column, KNOWN_COLUMNS[column]

    def _hourly(self, block: RowBlock) -> dict[str, pl.Series]:
        hourly = super()._hourly(block)
        net, cost = block.money.get("net_cost"), block.money.get("cost")
        if net is not None and cost is not None:
            amounts = numbers_where(net.values - cost.values, MONEY_SCALE, net.filled)
            hourly["discount"] = pl.select(_DISCOUNT + pl.lit(amounts) + '}"').to_series()
        return hourly

    def _cells(self, attributes: Attributes) -> Attributes:
        tags = _named(attributes, _TAGS)
        categories = _named(attributes, _CATEGORIES)
        products = {
            name: value
            for name, value in _named(attributes, _PRODUCT).items()
            if f"{_PRODUCT}{name}" not in _SHOWN
        }
        return {
            **super()._cells(attributes),
            "payer_name": _account_name(attributes.get("payer", "")),
            "account_name": _account_name(attributes.get("account", "")),
            "product": _json(_normalised(products)),
            "resource_tags": _json(_normalised(tags)),
            "cost_category": _json(_normalised(categories)),
            "tags": _json(
                {f"{self._tag}{name}": value for name, value in tags.items()}
                | {f"{self._category}{name}": value for name, value in categories.items()}
            ),
        }


def _named(attributes: Attributes, prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix) and value
    }


def _normalised(values: Mapping[str, str]) -> dict[str, str]:
    """Name the keys of a map; of tags that have one name then, AWS keeps one."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found.setdefault(athena_name(name), value)
    return found


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _account_name(account: str) -> str:
    return f"sample {account[-4:]}" if account else ""


def _token(type_: Type) -> str:
    """Return the manifest's own word for the type of a column."""
    if isinstance(type_, Map):
        return "map"
    return "timestamp" if type_ == TIMESTAMP else "double" if type_ == DECIMAL else "string"
