"""What a format is: the names, types and meaning of a report's columns, as values that every other module can work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Compression, Container, Roles, Source, SourceFile


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of billing exports.

    Attributes:
        name: Its name in settings and in stored values: `legacy_cur`.
        roles: Which column has which role.
        nulls: Texts of CSV cells that mean NULL.
        preview: Columns by which a person recognises a report.
        type_of: Returns the type of a column by its name.
        is_cost: Says whether a column is money, and so belongs to the totals that a proof compares.
    """

    name: str
    roles: Roles
    nulls: tuple[str, ...]
    preview: tuple[str, ...]
    type_of: Callable[[str], str]
    is_cost: Callable[[str], bool]

    def columns(self, names: Iterable[str]) -> tuple[Column, ...]:
        """Return the columns ``names`` with their types."""
        return tuple(Column(name, self.type_of(name)) for name in names)

    def source(
        self,
        files: Sequence[SourceFile],
        columns: Sequence[Column],
        container: Container = "csv",
        compression: Compression = "gzip",
    ) -> Source:
        """Return report files of this format as an engine takes them."""
        return self.meaning(
            Source(
                container=container,
                compression=compression,
                files=tuple(files),
                columns=tuple(columns),
            )
        )

    def meaning(self, source: Source) -> Source:
        """Return ``source`` with what its columns mean in this format; the files of a table do not say so themselves."""
        costs = tuple(column.name for column in source.columns if self.is_cost(column.name))
        return replace(source, roles=self.roles, costs=costs, nulls=self.nulls)
