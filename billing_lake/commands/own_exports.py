"""The exports that `billing-lake load` loads: what was found, and the `defs.yaml` of each, in a project or without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from billing_lake.assets.export import Export
from billing_lake.components import BillingExport
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown
from billing_lake.landing.export_yaml import COMPONENT, DEFS_SETTING, FILE, export_yaml
from billing_lake.landing.found_exports import FoundExport
from billing_lake.tables.exports import TableOutput, refuse_two_formats


@dataclass(frozen=True, kw_only=True)
class OwnExport:
    """An export with a `defs.yaml`.

    Attributes:
        component: What the file describes.
        text: Its text where it is still to be written; empty where it is there.
    """

    component: BillingExport
    file: Path
    text: str = ""

    @property
    def export(self) -> Export:
        """The export."""
        return self.component.export

    def write(self) -> None:
        """Write the file, which is not there yet.

        Raises:
            ConfigurationError: It cannot be written, or somebody has just written one.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("x", encoding="utf-8") as file:
                file.write(self.text)
        except OSError as error:
            what = f"The export's settings cannot be written: {error.strerror or error}"
            remedy = f"Make the folder writable, or set {DEFS_SETTING} to another one"
            raise ConfigurationError(what, file=str(self.file), remedy=remedy) from error


def own_exports(folder: Path) -> list[OwnExport]:
    """Return the exports that files in ``folder`` describe.

    Raises:
        ConfigurationError: A file cannot be read, or its settings are wrong.
    """
    return [
        OwnExport(component=_component(document.get("attributes"), file), file=file)
        for file in sorted(folder.rglob(FILE))
        for document in _documents(file)
        if isinstance(document, dict) and document.get("type") == COMPONENT
    ]


def _documents(file: Path) -> list[Any]:
    try:
        return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeError, OSError) as error:
        what = f"This is no YAML that can be read: {shown(error)}"
        raise ConfigurationError(what, file=str(file), remedy="Mend it, or move it away") from error


def _component(attributes: Any, file: Path) -> BillingExport:
    try:
        made: BillingExport = BillingExport.resolve_from_dict(attributes or {})
        _ = made.export
    except (ValidationError, BillingLakeError) as error:
        what = f"The settings of an export are wrong: {shown(error, 400)}"
        remedy = "Mend the file; `dg check yaml` tells line and column"
        raise ConfigurationError(what, file=str(file), remedy=remedy) from error
    return made


@dataclass(frozen=True, kw_only=True)
class WantedExport:
    """The name and the tables that the command line gives an export.

    Attributes:
        name: Name of the export; as found where it is empty.
        outputs: Tables; all where there are none.
    """

    name: str = ""
    outputs: tuple[TableOutput, ...] = ()


def choose(
    found: Sequence[FoundExport], folder: Path, lake: Lake, wanted: WantedExport
) -> list[tuple[FoundExport, OwnExport]]:
    """Return each export that was found, with the one that loads it: described already, or by a file that is to be written.

    Raises:
        ConfigurationError: What is wanted contradicts what is there.
    """
    if wanted.name and len(found) > 1:
        names = ", ".join(one.location.name for one in found)
        what = f"{len(found)} exports were found, {names}, and one name was given"
        raise ConfigurationError(what, remedy="Leave out --name, or name the folder of one export")
    own = own_exports(folder)
    chosen = []
    for one in found:
        there = next((known for known in own if _is_of(known, one, lake, wanted.name)), None)
        if there is None:
            there = _new(one, folder, own, wanted)
            own.append(there)
        elif wanted.outputs and wanted.outputs != there.export.outputs:
            what = f"The export {there.export.name} goes into {', '.join(there.export.outputs)}, and --outputs says otherwise"
            remedy = "Change `outputs` in the file, or leave out --outputs"
            raise ConfigurationError(what, file=str(there.file), remedy=remedy)
        chosen.append((one, there))
    for _, each in chosen:
        refuse_two_formats(each.export, [known.export for known in own])
    return chosen


def _is_of(known: OwnExport, found: FoundExport, lake: Lake, name: str) -> bool:
    """Say whether ``known`` loads what was found: its format and place are the same, and so is the root that it was loaded from.

    Two roots may hold two payers' exports of one name. Whoever gives the name says that they are the same, moved.
    """
    here, there = found.location, known.export.location
    if (here.format.name, here.rules) != (there.format.name, there.rules):
        return False
    if name:
        return known.export.name == name
    last, one = _last(known, lake), next(iter(found.findings.deliveries.values()), None)
    return last is None or one is None or _root(last.files) == _root(one.files)


def _last(known: OwnExport, lake: Lake) -> Delivery | None:
    path = known.export.path("raw_reports")
    periods = lake.values.periods(path)
    return lake.values.get(path, periods[-1], Delivery) if periods else None


def _root(files: Sequence[StoredObject]) -> str:
    """Return what the URIs of files have before their keys."""
    return next((one.uri.removesuffix(one.key) for one in files if one.uri.endswith(one.key)), "")


def _new(
    found: FoundExport, folder: Path, own: Sequence[OwnExport], wanted: WantedExport
) -> OwnExport:
    taken = {one.export.name for one in own}
    name = wanted.name or _free(found.location.name, folder, taken)
    file = folder / name / FILE
    if name in taken or file.exists():
        what = f"There is another export with the name {name}"
        raise ConfigurationError(what, file=str(file), remedy="Give another --name")
    settings: dict[str, Any] = {**found.settings, "name": name}
    if wanted.outputs:
        settings["outputs"] = list(wanted.outputs)
    text = export_yaml(settings)
    component = _component(settings, file)
    return OwnExport(component=component, file=file, text=text)


def _free(name: str, folder: Path, taken: set[str]) -> str:
    """Return ``name``, with a number behind it where another export has it."""
    free, number = name, 1
    while free in taken or (folder / free / FILE).exists():
        number += 1
        free = f"{name}_{number}"
    return free
