"""The exports that `billing-lake load` loads: what was found, and the `defs.yaml` of each, in a project or without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from billing_lake.assets.export import Export
from billing_lake.commands.terminal import typed_path
from billing_lake.components import BillingExport
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown
from billing_lake.formats.layouts import Loose
from billing_lake.landing.export_yaml import COMPONENT, DEFS_SETTING, FILE, export_yaml
from billing_lake.landing.found_exports import FoundExport, Inspection, Unused
from billing_lake.landing.nothing_found import missing_folder
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


def exports_here(
    own: Iterable[OwnExport], lake: Lake, prefix: str, name: str = ""
) -> list[OwnExport]:
    """Return those of ``own`` whose files lie in the lake's storage below ``prefix``, or whose folder ``prefix`` is in.

    Two roots may hold two payers' exports of the same folders, so what was loaded from another one is not here. Whoever gives the
    ``name`` says that it was moved.
    """
    return [
        one
        for one in own
        for where in [one.export.location]
        if where.rules.folder.startswith(prefix) or prefix.startswith(where.rules.folder)
        if one.export.name == name or _is_here(one, lake)
    ]


def _is_here(own: OwnExport, lake: Lake) -> bool:
    last = _last(own, lake)
    if last is not None:
        return _root(last.files) == lake.storage.address("")
    return missing_folder(lake.storage, own.export.location) is None


def without_files_of(others: Iterable[OwnExport], lake: Lake, found: Inspection) -> Inspection:
    """Return ``found`` without new exports whose files those of ``others`` take that were loaded from a folder above or below."""
    roots = {
        one.export.name: (one, _root(last.files))
        for one in others
        if (last := _last(one, lake)) is not None
    }
    kept, unused = [], list(found.unused)
    for one in found.exports:
        uris = [file.uri for each in one.findings.deliveries.values() for file in each.files]
        taking = [
            (own, root)
            for own, root in roots.values()
            if any(_reads(own, root, uri) for uri in uris)
        ]
        if one.is_known or not taking:
            kept.append(one)
            continue
        own, root = taking[0]
        why = f"files of the export {own.export.name}, which was loaded from {shown(root, 400)}"
        remedy = f"Load {shown(root, 400)}, or move {shown(typed_path(own.file), 400)} away"
        keys = (one.location.rules.folder or "/",)
        unused.append(Unused(why=why, remedy=remedy, keys=keys, is_fault=True))
    return replace(found, exports=tuple(kept), unused=tuple(unused))


def _reads(own: OwnExport, root: str, uri: str) -> bool:
    rules = own.export.location.rules
    is_inside = uri.startswith(f"{root}{rules.folder}")
    return is_inside and (not isinstance(rules, Loose) or rules.takes(uri))


def choose(
    found: Sequence[FoundExport], own: Sequence[OwnExport], folder: Path, wanted: WantedExport
) -> list[tuple[FoundExport, OwnExport]]:
    """Return each export that was found, with the one that loads it: one of ``own``, or one whose file is to be written.

    Raises:
        ConfigurationError: What is wanted contradicts what is there.
    """
    if wanted.name and len(found) > 1:
        names = ", ".join(one.location.name for one in found)
        what = f"{len(found)} exports were found, {names}, and one name was given"
        raise ConfigurationError(what, remedy="Leave out --name, or name the folder of one export")
    all_, chosen = list(own), []
    for one in found:
        if one.is_known:
            there = next(known for known in own if known.export.name == one.location.name)
            _refuse_contrary(there, wanted)
        else:
            there = _new(one, folder, all_, wanted)
            all_.append(there)
        chosen.append((one, there))
    for _, each in chosen:
        refuse_two_formats(each.export, [known.export for known in all_])
    return chosen


def _refuse_contrary(there: OwnExport, wanted: WantedExport) -> None:
    """Refuse to load an export in another way than its settings say.

    Raises:
        ConfigurationError: The command line says otherwise.
    """
    export = there.export
    if wanted.name and wanted.name != export.name:
        what = f"These are the files of the export {export.name}, and --name says otherwise"
        raise ConfigurationError(what, file=str(there.file), remedy="Leave out --name")
    if wanted.outputs and wanted.outputs != export.outputs:
        what = f"The export {export.name} goes into {', '.join(export.outputs)}, and --outputs says otherwise"
        remedy = "Change `outputs` in the file, or leave out --outputs"
        raise ConfigurationError(what, file=str(there.file), remedy=remedy)


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
