"""Says what is wrong with a `defs.yaml`, with file, line, setting and remedy, and makes what stands for its export.

Dagster loads all of a project or nothing: an exception here would take the sensors of every other export with it. So an
export that cannot be loaded leaves an asset that says why, and a sensor that fails at each tick, for whoever watches
those. Only where definitions are validated (`dg check defs`, `dagster definitions validate`) it is an exception.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.resolved.errors import ResolutionException
from pydantic import BaseModel, PrivateAttr, ValidationError, create_model, model_validator
from typing_extensions import Self

from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown

_VALIDATING = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Set by Dagster in the commands that validate definitions."""

_SENSOR_SECONDS = 300

_SETTINGS = "Settings are in docs/operation.md, those of alerts in docs/alerts.md"

_log = logging.getLogger(__name__)


class ExportNotLoadedError(ConfigurationError, ComponentTreeException):
    """An export's settings cannot be loaded.

    An exception of Dagster's own kind too: any other is wrapped in one whose text is the tree of all components.
    """


@dataclass(frozen=True, kw_only=True)
class YamlPlace:
    """The place in a YAML file that describes an export.

    Attributes:
        label: Names it among the project's components.
        file: The YAML file.
        line: Line of its settings.
        lines: Line of each setting that the file has.
    """

    label: str
    file: str | None
    line: int | None
    lines: Mapping[str, int]

    @staticmethod
    def of(context: dg.ComponentLoadContext) -> YamlPlace:
        """Return the place that ``context`` loads."""
        key = context.component_loc.get_display_key(context.defs_module_path).removesuffix("[0]")
        label = re.sub(r"\W+", "_", key).strip("_") or "export"
        tree = context.resolution_context.source_position_tree
        if tree is None:
            return YamlPlace(label=label, file=None, line=None, lines={})
        tree = tree.children.get("attributes", tree)
        return YamlPlace(
            label=label,
            file=tree.position.filename,
            line=tree.position.start.line,
            lines={str(key): child.position.start.line for key, child in tree.children.items()},
        )

    @staticmethod
    def of_node(file: Path, attributes: yaml.Node) -> YamlPlace:
        """Return the place of settings in a file that Dagster does not load."""
        pairs = attributes.value if isinstance(attributes, yaml.MappingNode) else []
        return YamlPlace(
            label=file.parent.name,
            file=str(file),
            line=attributes.start_mark.line + 1,
            lines={str(key.value): key.start_mark.line + 1 for key, _ in pairs},
        )

    def fault(
        self,
        error: ValidationError | BillingLakeError | ResolutionException,
        model: type[BaseModel],
    ) -> ExportNotLoadedError:
        """Say what is wrong."""
        if isinstance(error, ResolutionException):
            # Dagster's text about a setting within a setting is a traceback; pydantic's sentence is in it.
            said = re.search(r"Value error, (.*?) \[type=", str(error), re.DOTALL)
            key = str(error).partition("\n")[0].rpartition("attributes.")[2]
            what = said[1] if said else f"`{shown(key)}` has a value that it cannot have"
            remedy = _SETTINGS
        elif isinstance(error, ValidationError):
            key, what, remedy = _explain(error, model)
        else:
            key = next((key for key in self.lines if re.search(rf"\b{key}\b", error.what)), "")
            what, remedy = error.what, error.how
        line = self.lines.get(key, self.line)
        return ExportNotLoadedError(what, file=self.file, line=line, remedy=remedy)

    def at(self, setting: str) -> str:
        """Return file and line of a setting, in words."""
        line = self.lines.get(setting, self.line)
        return self.label if self.file is None else f"{self.file}, line {line}"


@dataclass(frozen=True)
class YamlOrigin:
    """The YAML that an export was loaded from."""

    place: YamlPlace
    fault: ExportNotLoadedError | None


class YamlComponent(dg.Component, dg.Model, dg.Resolvable):
    """A component of ours, loaded from YAML: settings that are wrong are kept for its `build_defs` to say."""

    _origin: YamlOrigin | None = PrivateAttr(default=None)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model that YAML is read by: one that takes what is wrong, for `load` to say it."""
        return keeping_faults(cls.model())

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Load what YAML describes."""
        place = YamlPlace.of(context)
        fault = None
        try:
            if (kept := kept_fault(attributes)) is not None:
                raise kept
            made = super().load(attributes, context)
            made.require_sound()
        except (ValidationError, BillingLakeError, ResolutionException) as error:
            made = cls.model_construct()
            fault = place.fault(error, cls.model())
        made._origin = YamlOrigin(place, fault)  # noqa: SLF001 -- its own
        return made

    @property
    def origin(self) -> YamlOrigin | None:
        """The YAML that it was loaded from, and what is wrong with that; None where it was made in Python."""
        return self._origin

    @property
    def fault(self) -> ExportNotLoadedError | None:
        """Return what is wrong with the YAML that it was loaded from."""
        return None if self._origin is None else self._origin.fault

    def require_sound(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ConfigurationError: They do.
        """


def require_readable(folder: Path) -> None:
    """Refuse a folder with a `defs.yaml` that is no YAML, or that is of a type that there is not.

    Dagster reads the files before it asks a component, and its own error begins with other things.

    Raises:
        ExportNotLoadedError: With file, line and remedy.
    """
    for file in sorted(folder.rglob("defs.yaml")):
        for node in yaml_documents(file):
            require_type(node, file)


def yaml_documents(file: Path) -> list[yaml.Node]:
    """Return the documents of a YAML file, with the lines that everything stands in.

    Raises:
        ExportNotLoadedError: It is no YAML.
    """
    try:
        return list(yaml.compose_all(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        what = f"This is no YAML: {shown(error.problem)}"
        remedy = "Mind the indentation, and a space behind each colon"
        raise ExportNotLoadedError(what, file=str(file), line=line, remedy=remedy) from error
    except (yaml.YAMLError, UnicodeError, OSError) as error:
        what = f"The file cannot be read: {shown(error)}"
        raise ExportNotLoadedError(what, file=str(file), remedy="Write it as UTF-8") from error


def yaml_value(document: yaml.Node | None, key: str) -> yaml.Node | None:
    """Return what a document has under ``key``."""
    pairs = document.value if isinstance(document, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def require_type(document: yaml.Node | None, file: Path) -> None:
    """Refuse a document of a type that there is not.

    Raises:
        ExportNotLoadedError: It is of one.
    """
    found = yaml_value(document, "type")
    if not isinstance(found, yaml.ScalarNode):
        return  # Dagster has other kinds of documents, and says itself what it misses
    module, _, name = str(found.value).rpartition(".")
    try:
        known = bool(module) and hasattr(import_module(module), name)
    except ImportError:
        known = False
    if not known:
        raise ExportNotLoadedError(
            f"`type` is {shown(found.value)!r}, which there is not",
            file=str(file),
            line=found.start_mark.line + 1,
            remedy="Write `type: billing_lake.components.BillingExport`, or `AlertPolicy` in its place",
        )


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, str]:
    """Return the setting of the first fault, what is wrong with it, and what to do."""
    faults = error.errors(include_url=False)
    first = faults[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    others = sorted({str(one["loc"][0]) for one in faults if one["loc"]} - {key})
    more = f"; further faults in {', '.join(f'`{shown(one)}`' for one in others)}" if others else ""
    settings = model.model_fields
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, settings, n=1)
        remedy = f"Write `{close[0]}`" if close else f"Settings are: {', '.join(settings)}"
        return key, f"There is no setting `{shown(key)}`{more}", remedy
    if first["type"] == "missing":
        what = f"`{key}` is missing"
    elif first["type"] == "value_error":
        what = f"`{key}`: {first['ctx']['error']}"
    else:
        what = f"`{shown(key)}` is {shown(first['input'])!r}. {first['msg']}"
    remedy = f"`{key}`: {settings[key].description}" if key in settings else _SETTINGS
    return key, what + more, remedy


@cache
def keeping_faults(model: type[BaseModel]) -> type[BaseModel]:
    """Return ``model`` so that it takes settings that are wrong, and keeps what is wrong with them for `kept_fault`."""

    def keep(cls: type[BaseModel], data: Any, handler: Any) -> BaseModel:
        try:
            checked: BaseModel = handler(data)
        except ValidationError as error:
            checked = cls.model_construct()
            checked._fault = error  # type: ignore[attr-defined]  # noqa: SLF001 -- made below
        return checked

    fields: dict[str, Any] = {"_fault": (ValidationError | None, PrivateAttr(default=None))}
    return create_model(
        model.__name__,
        __base__=model,
        __validators__={"keep": model_validator(mode="wrap")(classmethod(keep))},  # type: ignore[dict-item,arg-type]
        **fields,
    )


def kept_fault(model: BaseModel | None) -> ValidationError | None:
    """Return what is wrong with the settings that ``model`` was made of."""
    fault: ValidationError | None = getattr(model, "_fault", None)
    return fault


def not_loaded(
    fault: ExportNotLoadedError, place: YamlPlace, what: str = "export"
) -> dg.Definitions:
    """Return what stands for an export, or another component of ours, that cannot be loaded.

    Raises:
        ExportNotLoadedError: Definitions are being validated.
    """
    if os.environ.get(_VALIDATING):
        raise fault
    _log.error("The %s %s is not loaded: %s", what, place.label, fault)

    @dg.sensor(
        name=not_loaded_sensor(place),
        minimum_interval_seconds=_SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=str(fault),
    )
    def says_why() -> None:
        raise fault

    asset = dg.AssetSpec(
        ["not_loaded", place.label],
        group_name="not_loaded",
        description=f"This {what} is not loaded. {fault}",
        kinds={"yaml"},
    )
    return dg.Definitions(assets=[asset], sensors=[says_why])


def not_loaded_sensor(place: YamlPlace) -> str:
    """Return the name of the sensor that stands for what cannot be loaded."""
    return f"{place.label}_not_loaded"
