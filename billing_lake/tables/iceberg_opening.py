"""Opening an Iceberg catalog and its tables, with the time-outs and checks that pyiceberg does not make by itself."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing_lake.aws.retry import retry_http, retrying
from billing_lake.domain.errors import ConfigurationError, TableError
from billing_lake.files.local import local_path
from billing_lake.tables.base import check_table
from billing_lake.tables.data_files import naming_write_errors

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

_SQLITE_PATIENCE_SECONDS = "60"
_TIME_OUTS_SECONDS = (10, 120)
"""How long to wait for a connection, and for an answer."""


def open_catalog(name: str, properties: Mapping[str, str]) -> Catalog:
    """Return the catalog that ``properties`` describe.

    Raises:
        ConfigurationError: pyiceberg could not work with it.
    """
    from pyiceberg.catalog import load_catalog

    warehouse = properties.get("warehouse", "")
    if local_path(warehouse) is not None and any(sign in warehouse for sign in "#?;"):
        what = "pyiceberg cannot write below a folder with '#', '?' or ';' in its path"
        raise ConfigurationError(what, remedy="Put the lake elsewhere", file=warehouse)
    if properties.get("type") == "glue" or properties.get("rest.sigv4-enabled") == "true":
        from billing_lake.aws.clients import require_credentials

        # pyiceberg signs with what boto3 finds, and fails on an attribute of None where that is nothing.
        require_credentials()
    from billing_lake.tables.iceberg_metadata import read_metadata_once

    if properties.get("uri", "").startswith("sqlite:"):
        with naming_write_errors(properties["uri"]):
            catalog = _open_sqlite(name, {**properties, "uri": _patient(properties["uri"])})
    else:
        catalog = _with_time_outs(load_catalog(name, **properties))
    read_metadata_once(catalog)
    return catalog


def open_table(catalog: Catalog, table: str) -> Table:
    """Return a table as it is now.

    Raises:
        TableError: There is no such table.
    """
    from pyiceberg.exceptions import NoSuchIcebergTableError, NoSuchTableError

    try:
        return catalog.load_table(check_table(table))
    except NoSuchIcebergTableError:
        raise  # something else has the name
    except NoSuchTableError as error:
        what = f"There is no table {table}"
        raise TableError(what, remedy="Load its billing periods; that makes it") from error


def make_namespace(catalog: Catalog, namespace: str) -> None:
    """Make a namespace unless it is there."""
    try:
        catalog.create_namespace_if_not_exists(namespace)
    except Exception:
        # Another process may have made it since pyiceberg looked for it.
        if not catalog.namespace_exists(namespace):
            raise


def _patient(uri: str) -> str:
    """Return the URI of a SQLite file with a time to wait for locks, and make the file's folder."""
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    return url.update_query_dict({"timeout": _SQLITE_PATIENCE_SECONDS}).render_as_string(
        hide_password=False
    )


def _open_sqlite(name: str, properties: Mapping[str, str]) -> Catalog:
    """Open a SQLite catalog; where several processes make it at once, all but one fail the first time."""
    from pyiceberg.catalog import load_catalog
    from sqlalchemy.exc import OperationalError

    again = retrying(
        f"open catalog {name}", log.debug, when=lambda error: isinstance(error, OperationalError)
    )
    return again(load_catalog, name, **properties)


def _with_time_outs(catalog: Catalog) -> Catalog:
    # pyiceberg's HTTP session waits for ever, and a run with it; and it repeats nothing that a busy server refuses.
    session = getattr(catalog, "_session", None)
    if session is not None:
        retry_http(session)
        session.request = functools.partial(_request, session.request, timeout=_TIME_OUTS_SECONDS)
    return catalog


def _request(
    request: Callable[..., Any], *where: str, params: dict[str, Any] | None = None, **given: Any
) -> Any:
    """Send a request whose parameters are truths of JSON, `true`: pyiceberg writes `True`, which a strict server refuses."""
    if params is not None:
        params = {
            name: str(one).lower() if isinstance(one, bool) else one for name, one in params.items()
        }
    return request(*where, params=params, **given)
