"""Defines a format: the names, types and meaning of a report's columns, and the files that reports come in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

from billing_lake.domain.bill import Charges, TagKeys
from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.deliveries import Layout
from billing_lake.domain.errors import ReportFileError, shown
from billing_lake.domain.packing import Compression
from billing_lake.domain.schemas import Column, Field
from billing_lake.domain.sources import Container, MapEntryColumn, Roles, Source, SourceFile
from billing_lake.domain.types import Type
from billing_lake.formats.layouts import KeyRules
from billing_lake.formats.report_files import (
    READS,
    Kind,
    is_report_file,
    is_side_file,
    packing_of,
    unread_kind,
)

_NAMED_COLUMNS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Format:
    """One format of billing exports.

    Attributes:
        name: Its name in settings and in stored values: `legacy_cur`.
        status_folder: Name of the folder in which the provider keeps what it notes about deliveries.
        layouts: Where an export puts its files, by its layout: made of the prefix and the name of the report.
        period_of_folder: Returns the billing period of a folder's name; None where it is no folder of a period.
        tree_of: Returns what the tree is that a manifest at this key commits a delivery of, with the settings that read it; None
            where it is none of this format.
        is_header: Says whether header cells are those of a report of this format.
        name_of: Returns the column name of a header cell; empty where nothing of it can stand in a name.
        type_of: Returns the type of a column by its name.
        is_cost: Says whether a column is money, and so belongs to the totals that a proof compares.
        describe: Returns what a column means, in a sentence; None where nothing is known of it.
        roles: Which column has which role.
        nulls: Texts of CSV cells that mean NULL.
        known_columns: Types of the columns that are known by name, by which a table is made before its first load.
        required: Columns without which a report can be neither dated nor totalled.
        preview: Columns by which a person recognises a report.
        headline_costs: The costs that are shown first and plotted, in order, with a short name of each: `unblended_cost`.
        chosen_by_sql: Whether an export's owner chooses its columns by SQL, and may give them other names.
        core: Returns the SQL of each of `CORE_COLUMNS` that a table with the given columns has values for.
        charges: What the kinds of charge mean.
        version_of: Returns the version of its specification that a report with the given columns follows, empty where they do not
            tell; None where there are no versions.
        is_tag: Says whether a column holds a tag of the user's own, as text.
        tag_maps: Maps that hold tags, and which of their keys are tags of the user's own. Of several maps the first one counts that
            a report has: the others repeat it.
        may_be_empty: Whether a report file may hold nothing at all, not even a header.
        mixes_periods: Whether a loose file may hold rows of several billing periods; it then belongs to each of them.
        lifted: Columns that an export's settings make of keys of maps.
        nested_as_text: Says whether a column, by its name, is the JSON text of what Parquet has in it, where that is nested.
        renamed: Header cells that an export's settings give a meaning, each with the column behind it.
    """

    name: str
    status_folder: str
    layouts: Mapping[Layout, Callable[[str, str], KeyRules]]
    period_of_folder: Callable[[str], str | None]
    tree_of: Callable[[str], Kind | None]
    is_header: Callable[[Iterable[str]], bool]
    name_of: Callable[[str], str]
    type_of: Callable[[str], Type]
    is_cost: Callable[[str], bool]
    describe: Callable[[str], str | None]
    roles: Roles
    nulls: tuple[str, ...]
    known_columns: Mapping[str, Type]
    required: tuple[str, ...]
    preview: tuple[str, ...]
    headline_costs: Mapping[str, str]
    core: Callable[[Collection[str]], Mapping[str, str]]
    chosen_by_sql: bool = False
    charges: Charges = field(default_factory=Charges)
    version_of: Callable[[Collection[str]], str] | None = None
    is_tag: Callable[[str], bool] = lambda _: False
    tag_maps: Mapping[str, TagKeys] = field(default_factory=dict)
    may_be_empty: bool = False
    mixes_periods: bool = False
    nested_as_text: Callable[[str], bool] = lambda _: False
    lifted: tuple[MapEntryColumn, ...] = ()
    renamed: tuple[str, ...] = ()

    def is_side_file(self, key: str) -> bool:
        """Say whether ``key`` is an artefact that the provider puts beside reports."""
        return is_side_file(key, self.status_folder)

    def is_report_file(self, key: str) -> bool:
        """Say whether ``key`` is named as a report file is."""
        return is_report_file(key, self.status_folder)

    def packing_of(self, key: str) -> tuple[Container, Compression]:
        """Return container and compression of a report file, by its name.

        Raises:
            ReportFileError: It is not named as a report file is.
        """
        found = packing_of(key)
        if found is None:
            what = f"The file is not named as a report file is; what is read is {READS}"
            raise ReportFileError(what, file=key)
        return found

    def unread_kind(self, key: str) -> Kind | None:
        """Return the kind of a file that may hold rows of a bill and is not read; None for report files and anything else."""
        return None if self.is_report_file(key) or self.is_side_file(key) else unread_kind(key)

    def named(self, keys: Iterable[str]) -> str:
        """Return some of ``keys`` for a message, those of a kind that is not read with it."""
        keys = tuple(keys)
        more = f" and {len(keys) - _NAMED_COLUMNS:,} more" if len(keys) > _NAMED_COLUMNS else ""
        return ", ".join(map(self._named, keys[:_NAMED_COLUMNS])) + more

    def _named(self, key: str) -> str:
        kind = self.unread_kind(key)
        return shown(key) if kind is None else f"{shown(key)} ({kind.name})"

    def role_of(self, name: str) -> str | None:
        """Return what the column ``name`` is for, in words: `usage start`, `cost`; None where it has no role."""
        roles = (role for role, column in asdict(self.roles).items() if column == name)
        role = next(roles, "cost" if self.is_cost(name) else None)
        return None if role is None else role.replace("_", " ")

    def columns(self, names: Iterable[str]) -> tuple[Column, ...]:
        """Return the columns ``names`` with their types."""
        return tuple(Column(name, self.type_of(name)) for name in names)

    def described(self, fields: Iterable[Field]) -> tuple[Field, ...]:
        """Return fields of a table with what they mean, those that the lake adds included."""
        return tuple(
            replace(one, description=LAKE_COLUMNS.get(one.name) or self.describe(one.name) or "")
            for one in fields
        )

    def tags(self, names: Iterable[str]) -> dict[str, TagKeys | None]:
        """Return the columns among ``names`` that hold tags of the user's own, with the keys that are such where it is a map."""
        have = set(names)
        maps = (name for name in self.tag_maps if name in have)
        texts = {name: None for name in have if self.is_tag(name)}
        return {**texts, **{name: self.tag_maps[name] for name in islice(maps, 1)}}

    def lifted_from(self, names: Collection[str]) -> tuple[MapEntryColumn, ...]:
        """Return the columns that are made of maps among the columns ``names``."""
        return tuple(one for one in self.lifted if one.map in names)

    def source(
        self,
        files: Sequence[SourceFile],
        columns: Sequence[Column],
        container: Container = "csv",
        compression: Compression = "gzip",
    ) -> Source:
        """Return report files of this format as an engine takes them."""
        return self.with_roles(
            Source(
                container=container,
                compression=compression,
                files=tuple(files),
                columns=tuple(columns),
            )
        )

    def with_roles(self, source: Source) -> Source:
        """Return ``source`` with what its columns mean in this format; the files of a table do not say so themselves."""
        costs = tuple(column.name for column in source.columns if self.is_cost(column.name))
        return replace(source, roles=self.roles, costs=costs, nulls=self.nulls)
