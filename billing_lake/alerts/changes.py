"""Describes what an alert is about: something that fails or warns, or is green again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Severity = Literal["WARN", "ERROR"]
AlertKind = Literal["check", "run", "sensor"]

_DELIVERY = "delivery"
"""Asset of what the provider put down, of which nothing is loaded yet."""


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """One thing that fails or warns (is red, of a severity), or is green again.

    Attributes:
        kind: What it is.
        name: Name of the check, the job or the sensor.
        is_red: Whether it fails or, with the severity `WARN`, warns.
        severity: How bad it is, or was.
        export: The export that it belongs to.
        asset: Key of the asset that a check is of, with slashes.
        period: The billing period, where it is of one.
        found: What was found, in words.
        table: What was expected and found, as a table in Markdown whose cells are escaped.
        since: When it turned red.
        at: When this change happened.
        run_id: The run that found it.
        stops_load: Whether nothing was loaded because of it.
    """

    kind: AlertKind
    name: str
    is_red: bool
    severity: Severity
    export: str
    asset: str = ""
    period: str = ""
    found: str = ""
    table: str = ""
    since: datetime
    at: datetime
    run_id: str = ""
    stops_load: bool = False

    @property
    def subject(self) -> str:
        """Return what changed, in words."""
        if self.kind == "check":
            return f"check {self.name} of {self.asset}"
        return f"{self.kind} of {self.name}" if self.kind == "run" else f"sensor {self.name}"

    @property
    def remedy(self) -> str:
        """Return what to do about it."""
        if not self.is_red:
            return "Nothing: it is as it should be again."
        if self.kind == "sensor":
            return (
                "New deliveries of this export are not noticed while its sensor fails. Open the sensor's ticks in the UI, "
                "mend what the text names, and wait for the next tick."
            )
        if self.kind == "run":
            unharmed = "The tables hold what they held before for each month that is not loaded."
            if not self.period:
                unharmed = "No table is left half changed."
            again = f"{self.name} for {self.period}" if self.period else self.name
            return f"{unharmed} Mend what the text names, then start the job {again} again."
        if self.stops_load:
            return (
                "Nothing was written: the tables still hold the delivery before this one. Compare what was expected with "
                "what was found, and load the month again when the delivery or the table is mended."
            )
        if self.severity == "WARN":
            return "The month is loaded. Look at what was found before its figures are reported."
        of_table = "Do not report figures from this table until the check is green: open the check, then load the month again."
        of_delivery = (
            "The tables hold what they held before for each month that cannot be read. Mend what the text names; the export's "
            "sensor then loads the month by itself."
        )
        return of_delivery if self.asset.rpartition("/")[2] == _DELIVERY else of_table


@dataclass(frozen=True, kw_only=True)
class AlertGroup:
    """Changes that belong together: those of one run, or one that belongs to none.

    Attributes:
        id: Names it, always alike for the same event.
        changes: The changes, in the order in which they happened.
    """

    id: str
    changes: Sequence[StatusChange]

    @property
    def severity(self) -> Severity:
        """The worst that turned red, or was red."""
        return "ERROR" if any(one.severity == "ERROR" for one in self.changes) else "WARN"
