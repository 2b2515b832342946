"""Says why nothing is found: an export's folder is not there, or what lies in it is laid out in another way."""

from __future__ import annotations

from collections.abc import Sequence

from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import NoFolderError, WrongLayoutError, in_words, shown
from billing_lake.formats.keys import is_manifest
from billing_lake.formats.layouts import ManifestLayout
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.recognition import kind_of_tree
from billing_lake.landing.base import Storage

_LANDING = "BILLING_LAKE_LANDING"
_MAX_NAMES = 10
_A_PERIOD = "2025-03"


def missing_folder(storage: Storage, export: ExportLocation) -> NoFolderError | None:
    """Return the error that says which folder is not there and what is there instead; None where it is there."""
    here = ""
    names = storage.names(here)
    for part in export.rules.folder.split("/")[:-1]:
        if names is None or f"{part}/" not in names:
            return _no_folder(storage, export, here, part, names)
        here = f"{here}{part}/"
        names = storage.names(here)
    return None if names is not None else _no_folder(storage, export, here, "", None)


def _no_folder(
    storage: Storage, export: ExportLocation, here: str, part: str, names: Sequence[str] | None
) -> NoFolderError:
    what = f"There is no folder {shown(storage.address(export.rules.folder), 400)}"
    above = shown(storage.address(here), 400)
    if names is None and not here:
        what = f"{what}: the folder that exports are delivered to, {above}, is not there"
        remedy = f"Set {_LANDING} to the folder or bucket that they are delivered to: `billing-lake load` shows it at its end"
        return NoFolderError(what, remedy=remedy)
    if names is None:
        what = f"{what}: {above} is not there"
    elif part in names:
        what = f"{what}: {shown(storage.address(f'{here}{part}'), 400)} is a file"
    elif "/" in names:
        what = f"{what}; in {above} is a folder without a name: let `prefix` end with a slash"
    elif names:
        what = f"{what}; in {above} there are: {in_words(map(shown, names), _MAX_NAMES)}"
    else:
        what = f"{what}; {above} is empty"
    return NoFolderError(what)


def misplaced_files(
    export: ExportLocation, rules: ManifestLayout, files: Sequence[StoredObject]
) -> tuple[WrongLayoutError, ...]:
    """Return an error for each kind of tree whose manifests lie in no billing period's folder."""
    trees: dict[tuple[str, str], list[str]] = {}
    for file in files:
        if is_manifest(file.key) and rules.period_of_key(file.key) is None:
            kind = kind_of_tree(file.key)
            trees.setdefault((kind.name, kind.remedy), []).append(file.key)
    return tuple(
        WrongLayoutError(
            f"{len(keys)} manifest{'s lie' if len(keys) > 1 else ' lies'} in no billing period's folder, where "
            f"{export.layout} puts it: this is a tree of {name}",
            file=keys[0],
            remedy=remedy,
        )
        for (name, remedy), keys in trees.items()
    )


def foreign_files(
    storage: Storage,
    export: ExportLocation,
    rules: ManifestLayout,
    files: Sequence[StoredObject],
) -> WrongLayoutError | None:
    """Return the error for a folder whose files lie in no billing period's folder; None where nothing of a bill is there."""
    format_ = export.format
    bills = [
        file.key
        for file in files
        if format_.is_report_file(file.key) or format_.unread_kind(file.key) is not None
    ]
    if not bills:
        return None
    where = shown(storage.address(rules.folder), 400)
    what = (
        f"{where} holds {format_.named(bills)}, and no folder of a billing period, such as {rules.period_folders(_A_PERIOD)[0]}, where "
        f"{export.layout} puts report files"
    )
    kind = next((kind for key in bills if (kind := format_.unread_kind(key)) is not None), None)
    remedy = (
        "Files without a manifest are read with `layout: loose`"
        if kind is None
        else f"{kind.remedy}. Files without a manifest are read with `layout: loose`"
    )
    return WrongLayoutError(what, file=bills[0], remedy=remedy)
