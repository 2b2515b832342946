"""Views of local Hive-style tables, for readers of a table's folder that do not use the catalog.

The folder of a table is a symbolic link to its *view*: a tree that holds a hard link to each current file, and nothing else.

    warehouse/hive/<table> -> ../hive_generations/<table>/_views/<id>
    warehouse/hive/<table>/billing_period=2025-03/export_name=costs/<generation>-….parquet

Views are never changed: another one is built, and the link is replaced, which is one step for the file system. So a reader
finds every period once, and whole. The view before is kept until the next switch, for readers that have followed the link.
"""

from __future__ import annotations

import errno
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from billing_lake.files.local import NO_LINK, files_below, remove_tree

log = logging.getLogger(__name__)

_VIEWS = "_views"


class Views:
    """The views of tables.

    The caller of `show` and `drop` holds the catalog's write lock.

    Args:
        root: Folder of the tables, as readers know it.
        generations: Folder of all files, one folder for each table.
    """

    def __init__(self, root: Path, generations: Path) -> None:
        self._root = root
        self._generations = generations

    def shows(self, table: str, files: Mapping[str, Path]) -> bool:
        """Say whether readers of the table's folder see exactly ``files``, by their paths in it."""
        folder = self._root / table
        if not folder.is_symlink():
            return not folder.exists() and not files
        return {str(path.relative_to(folder)) for path in files_below(folder)} == files.keys()

    def show(self, table: str, files: Mapping[str, Path]) -> None:
        """Make readers of the table's folder see exactly ``files``, in one step.

        A folder that is no link, as in a copy that was made of what links lead to, is replaced in two steps, once.
        """
        folder, views = self._root / table, self._generations / table / _VIEWS
        is_copied = folder.exists() and not folder.is_symlink()
        if is_copied and not all(file.exists() for file in files.values()):
            raise FileExistsError(errno.EEXIST, "It is no link to files of the table", str(folder))
        built = views / uuid.uuid4().hex
        for name, file in files.items():
            _link(file, built / name)
        built.mkdir(parents=True, exist_ok=True)
        link = self._root / f".{table}.next"
        link.unlink(missing_ok=True)
        self._root.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(built, self._root), target_is_directory=True)
        before = folder.resolve()
        if is_copied:
            before = views / uuid.uuid4().hex
            folder.rename(before)
        link.replace(folder)
        for view in views.iterdir():
            if view.name not in (built.name, before.name):
                remove_tree(view)

    def drop(self, table: str) -> None:
        """Remove a table's folder and all of its files."""
        folder = self._root / table
        if folder.is_symlink():
            folder.unlink()
        else:
            remove_tree(folder)
        remove_tree(self._generations / table)


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except FileNotFoundError:
        log.warning("%s is gone; readers of the table's folder do not see it", file)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        target.symlink_to(os.path.relpath(file, target.parent))
