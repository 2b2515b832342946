"""The Glue Data Catalog's calls, with errors that an operator can act on.

boto3 raises one class for everything. Here what a caller must decide about (not there, there already, changed meanwhile)
has a class of its own, and what nobody can go on from says which action was refused, on what, and to whom.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import Fault, credentials_error, error_code, error_text, fault_of
from billing_lake.aws.retry import boto3_gave_up_at_once, retrying
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    StorageWriteError,
    TableError,
)

log = logging.getLogger(__name__)

_CONCURRENT = "ConcurrentModificationException"
"""To an update that states a version: it is another one. To anything else: Glue is busy with the same thing."""


_ELSEWHERE = ("TargetDatabase", "FederatedDatabase")
"""Keys of a database that is a link to one of another account, or of another source."""


class NotThere(LookupError):  # noqa: N818  # an answer, not a failure
    """The catalog has no such thing."""


class AlreadyThere(LookupError):  # noqa: N818  # the same
    """The catalog has it already."""


class Changed(LookupError):  # noqa: N818  # the same
    """Somebody else changed it since it was looked at."""


class Busy(LookupError):  # noqa: N818  # the same
    """It works, and cannot be started or removed meanwhile."""


_ANSWERS: Mapping[str, type[LookupError]] = {
    "EntityNotFoundException": NotThere,
    "AlreadyExistsException": AlreadyThere,
    _CONCURRENT: Changed,
    "CrawlerNotRunningException": NotThere,
    "CrawlerRunningException": Busy,
    "CrawlerStoppingException": Busy,
}


class GlueApi:
    """Calls of the Glue Data Catalog."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    @property
    def region(self) -> str:
        """The AWS region of the catalog."""
        return str(self._clients.client("glue").meta.region_name)

    def call(self, verb: str, subject: str, **parameters: Any) -> dict[str, Any]:
        """Call Glue.

        Args:
            verb: Method of boto3's client.
            subject: What it is done to, for messages.
            parameters: Of the method.

        Raises:
            NotThere: There is no such thing.
            AlreadyThere: There is one already.
            Changed: Somebody else was faster.
            Busy: A crawler is at work.
            ConfigurationError: We may not look, or there are no credentials.
            StorageWriteError: We may not change it, or Glue does not take the change.
            TableError: Glue does not answer a question.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients.client("glue")

        def passes(error: BaseException) -> bool:
            busy = error_code(error) == _CONCURRENT and verb != "update_table"
            return busy or boto3_gave_up_at_once(error)

        call = retrying(f"{verb} {subject}", log.info, when=passes)
        try:
            answer: dict[str, Any] = call(getattr(client, verb), **parameters)
        except ClientError as error:
            named = None if passes(error) else _ANSWERS.get(error_code(error))
            raise (
                refusal_error(error, verb, subject) if named is None else named(str(error))
            ) from error
        except BotoCoreError as error:
            raise refusal_error(error, verb, subject) from error
        return answer

    def pages(self, verb: str, subject: str, result: str, **parameters: Any) -> Iterator[Any]:
        """Yield everything that a call finds, page by page; nothing where what it looks into does not exist.

        Args:
            verb: Method of boto3's client.
            subject: What is looked into, for messages.
            result: Where the answer holds what was found.
            parameters: Of the method.
        """
        more: dict[str, str] = {}
        while True:
            try:
                answer = self.call(verb, subject, **parameters, **more)
            except NotThere:
                return
            yield from answer[result]
            if not answer.get("NextToken"):
                return
            more = {"NextToken": answer["NextToken"]}

    def ensure_database(self, name: str) -> None:
        """Create a database unless it exists."""
        try:
            self.call("get_database", f"database {name}", Name=name)
        except NotThere:
            given = {"Name": name, "Description": "Tables of Billing Lake"}
            try:
                self.call("create_database", f"database {name}", DatabaseInput=given)
            except AlreadyThere:
                return

    def table(self, database: str, name: str) -> dict[str, Any] | None:
        """Return a table as Glue has it, or None."""
        try:
            answer = self.call(
                "get_table", _subject(database, name), DatabaseName=database, Name=name
            )
        except NotThere:
            return None
        found: dict[str, Any] = answer["Table"]
        return found

    def tables(self, database: str) -> Iterator[dict[str, Any]]:
        """Yield all tables of a database; none where there is no such database."""
        return self.pages("get_tables", f"database {database}", "TableList", DatabaseName=database)

    def readable_tables(self, suffix: str = "") -> Iterator[dict[str, Any]]:
        """Yield the tables of all databases whose names end with ``suffix``.

        An account has databases of other teams. One that we may not look into is left out: it has nothing of ours. Neither has one
        that only stands for a database elsewhere, whose owner or source would be asked, and may be gone.
        """
        databases = self.pages("get_databases", "the catalog", "DatabaseList")
        own = [one["Name"] for one in databases if not any(map(one.get, _ELSEWHERE))]
        for database in own:
            if database.endswith(suffix):
                try:
                    yield from self.tables(database)
                except ConfigurationError as error:
                    if fault_of(error.__cause__ or error) is not Fault.DENIED:
                        raise
                    log.debug("database %s is not looked into: %s", database, error)

    def create_table(self, database: str, given: Mapping[str, Any]) -> None:
        """Create a table; raises `AlreadyThere`, or `NotThere` where the database is gone."""
        subject = _subject(database, given["Name"])
        self.call("create_table", subject, DatabaseName=database, TableInput=given)

    def update_table(
        self, database: str, found: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        """Change the table that was ``found``; raises `Changed` where it is another one by now, or `NotThere`."""
        version = {"VersionId": found["VersionId"]} if "VersionId" in found else {}
        self.call(
            "update_table",
            _subject(database, given["Name"]),
            DatabaseName=database,
            TableInput=given,
            SkipArchive=True,
            **version,
        )

    def delete_table(self, database: str, name: str) -> None:
        """Delete a table, if it is there."""
        try:
            self.call("delete_table", _subject(database, name), DatabaseName=database, Name=name)
        except NotThere:
            return


def _subject(database: str, name: str) -> str:
    return f"table {database}.{name}"


def refusal_error(error: Exception, verb: str, subject: str) -> BillingLakeError:
    """Return the error for a call that was refused for good."""
    action = f"glue:{''.join(part.capitalize() for part in verb.split('_'))}"
    looking = verb.startswith(("get_", "list_"))
    text = error_text(error)
    if fault_of(error) is Fault.DENIED:
        remedy = (
            f"Allow {action} to the role (or user) that runs Billing Lake; where Lake Formation governs the catalog, grant it "
            "there as well"
        )
        what = f"AWS denies {action} on {subject}: {text}"
        return (ConfigurationError if looking else StorageWriteError)(what, remedy=remedy)
    if (named := credentials_error(error)) is not None:
        return named
    what = f"Glue refuses {action} on {subject}: {text}"
    if looking:
        return TableError(what, remedy="Try again; no table was changed")
    return StorageWriteError(what, remedy="Remove the cause, then load the period again")
