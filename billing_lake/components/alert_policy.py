"""The component `AlertPolicy`: one sensor that reports to notifiers what fails, warns, or is green again."""

from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

import dagster as dg

from billing_lake.alerts.policies import Policy, QuietHours
from billing_lake.components.alert_settings import AlertSettings, parse_clock
from billing_lake.components.billing_export import BillingExport
from billing_lake.components.broken_exports import (
    ExportNotLoadedError,
    YamlComponent,
    YamlPlace,
    not_loaded,
    not_loaded_sensor,
)
from billing_lake.components.scaffolding import AlertPolicyScaffolder
from billing_lake.sensors.alerts import build_alerts
from billing_lake.sql.tables import ALL_COSTS


@dg.scaffold_with(AlertPolicyScaffolder)
class AlertPolicy(YamlComponent, AlertSettings):
    """Tells people, in the way that they chose, when a check turns red or green again, a load fails, or a sensor does.

    Makes the sensor `<name>_alerts`. Several policies stand side by side: each has notifiers, quiet hours and a memory of its own.
    """

    def policy(self, exports: frozenset[str]) -> Policy:
        """Return the policy, which watches ``exports``."""
        quiet = self.quiet_hours
        return Policy(
            name=self.name,
            exports=exports,
            checks=frozenset(self.checks),
            severities=frozenset(self.severities),
            notifiers=[one.notifier for one in self.notifiers],
            quiet_hours=None
            if quiet is None
            else QuietHours(
                begin=parse_clock(quiet.begin),
                end=parse_clock(quiet.end),
                severities=frozenset(quiet.severities),
            ),
            digest_at=None if self.digest is None else parse_clock(self.digest.at),
            digest="beside" if self.digest is None else self.digest.use,
            zone=ZoneInfo(self.timezone),
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the sensor."""
        found = context.component_tree.get_all_components(BillingExport)
        sound = [one for one in found if one.fault is None]
        sensors = {f"{one.name}_new_reports": one.name for one in sound}
        # The view of all exports belongs to none, and is watched under its own name.
        known = {ALL_COSTS, *(one.name for one in sound)}
        origin = self.origin
        if origin is not None:
            fault = origin.fault or self._conflict(origin.place, known, context)
            if fault is not None:
                return not_loaded(fault, origin.place, "alert policy")
        if not self.exports:
            for one in found:
                if one.origin is not None and one.fault is not None:
                    label = one.origin.place.label
                    known.add(label)
                    sensors[not_loaded_sensor(one.origin.place)] = label
        return dg.Definitions(sensors=[self.sensor(sensors, known)])

    def sensor(self, sensors: Mapping[str, str], exports: Iterable[str]) -> dg.SensorDefinition:
        """Build the sensor of the policy.

        Args:
            sensors: The export of each sensor of the project.
            exports: The project's exports; the policy watches those that it names, or all.
        """
        policy = self.policy(frozenset(self.exports or exports))
        watched = {name: export for name, export in sensors.items() if export in policy.exports}
        return build_alerts(
            policy, watched, interval_seconds=self.interval_seconds, running=self.running
        )

    def _conflict(
        self, place: YamlPlace, known: set[str], context: dg.ComponentLoadContext
    ) -> ExportNotLoadedError | None:
        """Say what is wrong with the policy among the project's other components."""
        others = context.component_tree.get_all_components(AlertPolicy)
        if [one.name for one in others if one.fault is None].count(self.name) > 1:
            what = f"Several alert policies have the name {self.name}"
            return ExportNotLoadedError(
                what, file=place.file, remedy="Give each a `name` of its own"
            )
        unknown = sorted(set(self.exports) - known)
        if unknown:
            what = f"`exports` names {', '.join(unknown)}, which is no export that is loaded"
            remedy = f"Exports are: {', '.join(sorted(known)) or 'none'}"
            return ExportNotLoadedError(
                what, file=place.file, line=place.lines.get("exports", place.line), remedy=remedy
            )
        return None
