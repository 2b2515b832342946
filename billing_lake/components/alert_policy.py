"""The component `AlertPolicy`: one sensor that reports what turned red or green to the notifiers that it names."""

import re
from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

import dagster as dg
from dagster.components.resolved.errors import ResolutionException
from pydantic import BaseModel, PrivateAttr, ValidationError

from billing_lake.alerts.policies import Policy, QuietHours
from billing_lake.components.alert_settings import AlertSettings, clock
from billing_lake.components.billing_export import BillingExport
from billing_lake.components.broken_exports import (
    ExportNotLoadedError,
    Origin,
    Place,
    keeping_faults,
    kept_fault,
    not_loaded,
    not_loaded_sensor,
)
from billing_lake.components.scaffolding import AlertPolicyScaffolder
from billing_lake.domain.errors import shown
from billing_lake.sensors.alerts import build_alerts


@dg.scaffold_with(AlertPolicyScaffolder)
class AlertPolicy(dg.Component, AlertSettings):
    """Who is told, and how, when a check turns red or green again, a load fails, or a sensor does.

    Makes the sensor `<name>_alerts`. Several policies stand side by side: each has notifiers, quiet hours and a memory of its own.
    """

    _origin: Origin | None = PrivateAttr(default=None)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model that YAML is read by: one that takes what is wrong, for `load` to say it."""
        return keeping_faults(cls.model())

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "AlertPolicy":
        """Load the policy that YAML describes; settings that are wrong are kept for `build_defs` to say."""
        place = Place.of(context)
        fault = None
        try:
            if (kept := kept_fault(attributes)) is not None:
                raise kept
            made = super().load(attributes, context)
        except ValidationError as error:
            made = cls.model_construct()
            fault = place.fault(error, cls.model())
        except ResolutionException as error:
            # Dagster's text about a setting within a setting is a traceback; pydantic's sentence is in it.
            said = re.search(r"Value error, (.*?) \[type=", str(error), re.DOTALL)
            setting = str(error).partition("\n")[0].rpartition("attributes.")[2]
            what = said[1] if said else f"`{shown(setting)}` has a value that it cannot have"
            made = cls.model_construct()
            fault = ExportNotLoadedError(
                what, file=place.file, line=place.line, remedy="Settings are in docs/alerts.md"
            )
        made._origin = Origin(place, fault)  # noqa: SLF001 -- its own
        return made

    @property
    def origin(self) -> Origin | None:
        """The YAML that it was loaded from, and what is wrong with that; None where it was made in Python."""
        return self._origin

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
                begin=clock(quiet.begin),
                end=clock(quiet.end),
                severities=frozenset(quiet.severities),
            ),
            digest_at=None if self.digest is None else clock(self.digest.at),
            digest="beside" if self.digest is None else self.digest.use,
            zone=ZoneInfo(self.timezone),
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the sensor."""
        found = context.component_tree.get_all_components(BillingExport)
        sound = [one for one in found if one.origin is None or one.origin.fault is None]
        sensors = {f"{one.name}_new_reports": one.name for one in sound}
        known = {one.name for one in sound}
        origin = self.origin
        if origin is not None:
            fault = origin.fault or self._fault(origin.place, known, context)
            if fault is not None:
                return not_loaded(fault, origin.place, "alert policy")
        if not self.exports:
            for one in found:
                if one.origin is not None and one.origin.fault is not None:
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

    def _fault(
        self, place: Place, known: set[str], context: dg.ComponentLoadContext
    ) -> ExportNotLoadedError | None:
        """Say what is wrong with the policy among the project's other components."""
        others = context.component_tree.get_all_components(AlertPolicy)
        sound = [one for one in others if one.origin is None or one.origin.fault is None]
        if [one.name for one in sound].count(self.name) > 1:
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
