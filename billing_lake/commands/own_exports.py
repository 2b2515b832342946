"""The exports that `billing-lake load` loads: what was found, and the `defs.yaml` of each, in a project or without one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from dagster.components.resolved.errors import ResolutionException
from pydantic import ValidationError

from billing_lake.assets.export import DagsterExport
from billing_lake.commands.load_warnings import LoadWarning
from billing_lake.commands.terminal import typed_path
from billing_lake.components import BillingExport
from billing_lake.components.broken_exports import (
    ExportNotLoadedError,
    YamlPlace,
    require_type,
    yaml_documents,
    yaml_value,
)
from billing_lake.deployments import Lake
from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown
from billing_lake.formats.layouts import Loose
from billing_lake.landing.export_yaml import COMPONENT, DEFS_SETTING, FILE, export_yaml
from billing_lake.landing.found_exports import FoundExport, Inspection, Unused
from billing_lake.landing.nothing_found import missing_folder
from billing_lake.tables.exports import TableOutput, refuse_two_formats

_OURS = "billing_lake."
_PLACE = ("prefix", "report")
"""Settings that say where an export lies."""

_ALIKE = 0.8
"""How alike two folders are, of 1, for one to be the other with a slip of the pen."""


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
    def export(self) -> DagsterExport:
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


@dataclass(frozen=True, kw_only=True)
class BrokenExport:
    """A `defs.yaml` that describes no export that can be loaded; only what it may describe is left alone.

    Attributes:
        fault: What is wrong with it.
        settings: Its settings, as far as they can be read.
        text: The whole file, where they cannot.
    """

    file: Path
    fault: ExportNotLoadedError
    settings: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def name(self) -> str:
        """Name of the export, that of its folder where the file does not tell it."""
        return str(self.settings.get("name") or self.file.parent.name)

    def may_describe(self, found: FoundExport) -> bool:
        """Say whether it may be about what was found, which is then not loaded under another name."""
        if found.location.name in {self.name, self.file.parent.name}:
            return True
        place = {key: value for key in _PLACE if (value := found.settings.get(key))}
        if self.text:
            return any(value in self.text for value in place.values())
        told = {key: str(self.settings[key]).strip("/") for key in _PLACE if self.settings.get(key)}
        return bool(told) and told == {key: value.strip("/") for key, value in place.items()}


def own_exports(folder: Path) -> tuple[list[OwnExport], list[BrokenExport]]:
    """Return the exports that files in ``folder`` describe, and the files that describe none because of a fault."""
    sound: list[OwnExport] = []
    broken: list[BrokenExport] = []
    for file in sorted(folder.rglob(FILE)):
        try:
            nodes = yaml_documents(file)
        except ExportNotLoadedError as fault:
            broken.append(BrokenExport(file=file, fault=fault, text=_text(file)))
            continue
        for node in nodes:
            type_ = yaml_value(node, "type")
            named = str(type_.value) if isinstance(type_, yaml.ScalarNode) else ""
            if not named.startswith(_OURS):
                continue
            attributes = yaml_value(node, "attributes")
            settings = yaml.safe_load(yaml.serialize(attributes)) if attributes else {}
            try:
                require_type(node, file)
                if named == COMPONENT:
                    place = YamlPlace.of_node(file, attributes or node)
                    sound.append(OwnExport(component=_component(settings, place), file=file))
            except ExportNotLoadedError as fault:
                known = settings if isinstance(settings, dict) else {}
                broken.append(BrokenExport(file=file, fault=fault, settings=known))
    return sound, broken


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _component(settings: Any, place: YamlPlace) -> BillingExport:
    model = BillingExport.model()
    try:
        model.model_validate(settings)
        made: BillingExport = BillingExport.resolve_from_dict(settings)
        made.require_sound()
    except (ValidationError, BillingLakeError, ResolutionException) as error:
        raise place.fault(error, model) from error
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
    """Return the exports of ``own`` whose folder in the lake's storage is below ``prefix``, or above it.

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
    """Return ``found`` without new exports of files that one of ``others``, loaded from a folder above or below, takes already."""
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


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is to be loaded.

    Attributes:
        pairs: Each export that was found, with the one that loads it.
        known: All exports that are described, and those that are to be.
        broken: The files that are left alone, because of a fault.
        warnings: What is to be said before anything is loaded.
    """

    pairs: list[tuple[FoundExport, OwnExport]] = field(default_factory=list)
    known: list[OwnExport] = field(default_factory=list)
    broken: list[BrokenExport] = field(default_factory=list)
    warnings: list[LoadWarning] = field(default_factory=list)


def choose_exports(
    found: Sequence[FoundExport],
    own: tuple[Sequence[OwnExport], Sequence[BrokenExport]],
    folder: Path,
    lake: Lake,
    wanted: WantedExport,
) -> Chosen:
    """Choose the export that loads what was found: one of ``own``, or one whose file is to be written.

    Raises:
        ConfigurationError: What is wanted contradicts what is there.
    """
    if wanted.name and len(found) > 1:
        names = ", ".join(one.location.name for one in found)
        what = f"{len(found)} exports were found, {names}, and one name was given"
        raise ConfigurationError(what, remedy="Leave out --name, or name the folder of one export")
    described, broken = own
    chosen = Chosen(known=list(described), broken=list(broken))
    for one in found:
        fault = next((each for each in broken if _stops(each, one, wanted.name)), None)
        if one.is_known:
            there = next(known for known in described if known.export.name == one.location.name)
            _refuse_contrary(there, wanted)
        elif fault is not None:
            text = f"{one.location.name} is left alone: {typed_path(fault.file)}, which has a fault, may describe it"
            chosen.warnings.append(LoadWarning(text=text, exports=(one.location.name,)))
            continue
        else:
            there = _new(one, folder, chosen.known, wanted)
            chosen.known.append(there)
            chosen.warnings.extend(_warnings(one, there, described, lake))
        chosen.pairs.append((one, there))
    for _, each in chosen.pairs:
        refuse_two_formats(each.export, [known.export for known in chosen.known])
    return chosen


def _stops(broken: BrokenExport, found: FoundExport, name: str) -> bool:
    return broken.name == name if name else broken.may_describe(found)


def _warnings(
    found: FoundExport, new: OwnExport, described: Sequence[OwnExport], lake: Lake
) -> Iterator[LoadWarning]:
    """Warn of a described export that may be meant to be the new one: it has its name, or a folder like its that is not there."""
    here = found.location.rules.folder
    for one in described:
        there = one.export.location
        folder = there.rules.folder
        is_gone = _last(one, lake) is None and missing_folder(lake.storage, there) is not None
        if one.export.name == found.location.name and new.export.name != one.export.name:
            why = (
                "the same folder in another format, or of another payer"
                if folder == here
                else f"another folder ({shown(folder) or '/'}{', which is not there' if is_gone else ''})"
            )
            text = f"{here}: named {new.export.name}, because {typed_path(one.file)} reads {why}"
        elif is_gone and difflib.SequenceMatcher(None, folder, here).ratio() >= _ALIKE:
            text = f"{typed_path(one.file)} reads {shown(folder)}, which is not there; {shown(here)} is, and goes into {new.export.name}"
        else:
            continue
        yield LoadWarning(text=text, exports=(new.export.name,))


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
    place = YamlPlace(label=name, file=str(file), line=None, lines={})
    component = _component(settings, place)
    return OwnExport(component=component, file=file, text=text)


def _free(name: str, folder: Path, taken: set[str]) -> str:
    """Return ``name``, with a number behind it where another export has it."""
    free, number = name, 1
    while free in taken or (folder / free / FILE).exists():
        number += 1
        free = f"{name}_{number}"
    return free
