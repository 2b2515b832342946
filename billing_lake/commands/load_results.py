"""Shows the result of each delivery that `billing-lake load` loads: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from billing_lake.commands.results import as_text, rows_table
from billing_lake.domain.errors import shown

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.assets.export import DagsterExport
    from billing_lake.commands.runs import RunFault
    from billing_lake.domain.profiles import Totals

_VERSION_CHARACTERS = 12
_COMPLAINTS = 12
"""Most complaints that people are shown."""


@dataclass(frozen=True, kw_only=True)
class Proved:
    """A table, read back.

    Attributes:
        complaint: How it differs from the delivery, and what to do; empty where it is equal.
    """

    rows: int
    equal: bool
    complaint: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, the complaint where there is one."""
        complaint = {"complaint": self.complaint} if self.complaint else {}
        return {"rows": self.rows, "equal": self.equal, **complaint}


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """The finding of a check of the bill, in a delivery that was loaded and is proved.

    Attributes:
        check: Name of the check.
        severity: `WARN` or `ERROR`.
        text: What it found.
    """

    check: str
    severity: str
    text: str


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """The result of loading a delivery.

    Attributes:
        period: Its billing period; what stands for one where none can be told.
        version: Its version; empty where it cannot be read.
        files: Number of its files.
        rows: Rows of its files; None where they were not counted.
        totals: What its costs add up to.
        tables: Its tables, by output.
        complaints: What the checks of the bill found in it, where they were made now.
        warnings: What else concerns it: that another export counts the same bill, say.
        fault: Why it is not loaded.
        seconds: How long its run took; None where the tables held it already.
    """

    export: DagsterExport
    period: str
    version: str = ""
    files: int = 0
    rows: int | None = None
    totals: Totals = field(default_factory=dict)
    tables: Mapping[str, Proved] = field(default_factory=dict)
    complaints: Sequence[Complaint] = ()
    warnings: Sequence[str] = ()
    fault: RunFault | None = None
    seconds: float | None = None

    @property
    def is_good(self) -> bool:
        """Say whether every table holds the delivery, and equals it."""
        equal = [output for output, table in self.tables.items() if table.equal]
        return self.fault is None and sorted(equal) == sorted(self.export.outputs)

    @property
    def outcome(self) -> str:
        """Return what became of it, in words."""
        if self.fault is not None:
            return "failed"
        if not self.is_good:
            return "not equal"
        return "loaded before" if self.seconds is None else f"loaded, {self.seconds:.1f} s"

    @property
    def cost(self) -> str:
        """Its most telling cost, exactly: `1234.5 USD`."""
        headlines = self.export.format.headline_costs
        parts = []
        for currency, sums in sorted(self.totals.items()):
            name = next((one for one in headlines if one in sums), None)
            if name is not None:
                parts.append(f"{as_text(sums[name])} {shown(currency)}")
        return ", ".join(parts)

    @property
    def proofs(self) -> str:
        """Return how many of its tables equal it: `3 of 3 equal`, or which do not."""
        unequal = [output for output, table in self.tables.items() if not table.equal]
        if unequal:
            return f"≠ {', '.join(unequal)}"
        return f"{len(self.tables)} of {len(self.export.outputs)} equal" if self.tables else ""

    @property
    def unequal(self) -> dict[str, list[str]]:
        """Return what is wrong with tables that do not equal it, and which they are: most often all of them, alike."""
        found: dict[str, list[str]] = {}
        for output, table in self.tables.items():
            if table.complaint:
                found.setdefault(table.complaint, []).append(output)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, decimals as text."""
        fault = self.fault
        return {
            "export": self.export.name,
            "format": self.export.format.name,
            "layout": self.export.location.layout,
            "period": self.period,
            "version": self.version,
            "files": self.files,
            "rows": self.rows,
            "totals": {
                currency: {column: as_text(total) for column, total in sums.items()}
                for currency, sums in self.totals.items()
            },
            "tables": {output: table.to_json() for output, table in self.tables.items()},
            "complaints": [asdict(one) for one in self.complaints],
            "warnings": list(self.warnings),
            "error": fault and fault_values(fault),
        }


def fault_values(fault: RunFault) -> dict[str, Any]:
    """Return the reason why something failed as JSON values."""
    return {
        "class": fault.kind,
        "text": fault.text,
        "file": fault.file,
        "remedy": fault.remedy,
    }


def _short(version: str) -> str:
    """Return a version as it fits into a column, with a mark where it is cut."""
    is_long = len(version) > _VERSION_CHARACTERS
    return f"{version[: _VERSION_CHARACTERS - 1]}…" if is_long else version


def show_results(out: Console, results: Sequence[LoadResult]) -> None:
    """Show a table of all deliveries, and below it what their checks found, and why some are not loaded."""
    from rich.text import Text

    head = ("export", "month", "delivery", "rows", "cost", "tables", "")
    rows = [
        (
            one.export.name,
            one.period,
            _short(shown(one.version)),
            "" if one.rows is None else f"{one.rows:,}",
            one.cost,
            one.proofs,
            one.outcome,
        )
        for one in results
    ]
    out.print(rows_table(head, ("", "", "", "INTEGER", "DECIMAL", "", ""), rows))
    complaints = [(one, complaint) for one in results for complaint in one.complaints]
    for one, complaint in complaints[:_COMPLAINTS]:
        text = f"! {one.export.name}, {complaint.severity} of {complaint.check}: {shown(complaint.text, 500)}"
        out.print(Text(text, style="yellow"))
    if len(complaints) > _COMPLAINTS:
        out.print(f"… and {len(complaints) - _COMPLAINTS} more; Dagster has all checks, --json too")
    for one in results:
        for unequal, outputs in one.unequal.items():
            text = (
                f"✗ {one.export.name} {one.period}, {', '.join(outputs)}: {shown(unequal, 1_000)}"
            )
            out.print(Text(text, style="red"), soft_wrap=True)
        if one.fault is not None:
            text = f"✗ {one.export.name} {shown(one.period)}: {shown(one.fault.text, 1_000)}"
            out.print(Text(text, style="red"), soft_wrap=True)
