"""Defines what travels to a Spark job and back, as JSON: one verb with its files, one answer or one named error.

Both ends import this module, so neither guesses. An error comes back as the exception that it was, with its file, line and
value; a class that is not one of ours is never looked up by the name that a message brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from billing_lake.domain.errors import BillingLakeError
from billing_lake.domain.json_values import JsonValues
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source

Verb = Literal["profile", "encode", "convert"]

EXTRA = "request"
"""Key of Dagster Pipes' extras under which a job finds its request."""

REPLY = "billing_lake_reply"
"""Key of the custom message in which a job sends its reply."""


@dataclass(frozen=True, kw_only=True)
class Request(JsonValues):
    """One call of an engine.

    Attributes:
        verb: What to do.
        source: The files to read.
        target: What to write; None for `profile` alone.
    """

    verb: Verb
    source: Source
    target: EncodeTarget | None = None

    def __post_init__(self) -> None:
        """Refuse what no job could answer.

        Raises:
            ValueError: The verb is unknown, or its target is missing or too much.
        """
        if self.verb not in get_args(Verb):
            msg = f"There is no verb {self.verb!r}"
            raise ValueError(msg)
        if (self.verb == "profile") != (self.target is None):
            msg = f"A target belongs to `encode` and `convert`, and to nothing else, not to `{self.verb}`"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answer to a `Request`: what its verb returns, or an error.

    Attributes:
        profile: Answer to `profile` and `convert`.
        files: Answer to `encode` and `convert`; may be empty.
        error: What went wrong.
    """

    profile: Profile | None = None
    files: tuple[EncodedFile, ...] | None = None
    error: BillingLakeError | None = None

    def __post_init__(self) -> None:
        """Refuse what is no answer, or an error with one.

        Raises:
            ValueError: It says nothing, or goes on after an error.
        """
        if (self.error is None) == (self.profile is None and self.files is None):
            msg = "A reply is a profile, files, both, or an error"
            raise ValueError(msg)

    def to_json(self) -> dict[str, Any]:
        """Return the reply as JSON values."""
        if self.error is not None:
            return {"error": _error_to_json(self.error)}
        profile = {} if self.profile is None else {"profile": self.profile.to_json()}
        files = {} if self.files is None else {"files": [asdict(file) for file in self.files]}
        return {**profile, **files}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reply:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is no reply.
        """
        files = value.get("files")
        return cls(
            profile=Profile.from_json(value["profile"]) if "profile" in value else None,
            files=None if files is None else tuple(EncodedFile(**file) for file in files),
            error=_error_from_json(value["error"]) if "error" in value else None,
        )


def _error_to_json(error: BillingLakeError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "what": error.what,
        "remedy": error.how,
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "value": error.value,
    }


def _error_from_json(value: Mapping[str, Any]) -> BillingLakeError:
    kinds = {kind.__name__: kind for kind in _kinds(BillingLakeError)}
    return kinds.get(value["class"], BillingLakeError)(
        value["what"],
        **{name: value[name] for name in ("remedy", "file", "line", "column", "value")},
    )


def _kinds(kind: type[BillingLakeError]) -> Iterator[type[BillingLakeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _kinds(child)
