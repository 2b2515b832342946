"""The settings of an alert policy, as its YAML states them."""

import re
from datetime import time
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import AfterValidator, Field, field_validator, model_validator

from billing_lake.alerts.changes import Severity
from billing_lake.alerts.notifiers import AppriseNotifier, LogNotifier, Notifier, SnsNotifier
from billing_lake.alerts.policies import DigestUse
from billing_lake.components.setting import Positive

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def _setting(description: str, *examples: object) -> dg.Resolver:
    resolver: dg.Resolver = dg.Resolver.default(
        description=description, examples=list(examples) or None
    )
    return resolver


def parse_clock(value: str) -> time:
    """Return a time of day.

    Raises:
        ValueError: It is none.
    """
    if _CLOCK.fullmatch(value) is None:
        msg = f"{value!r} is no time of day; write it HH:MM, in quotes"
        raise ValueError(msg)
    return time.fromisoformat(value)


def _require_clock(value: str) -> str:
    parse_clock(value)
    return value


Clock = Annotated[str, AfterValidator(_require_clock)]
"""A time of day, `HH:MM`."""


class NotifierSettings(dg.Model, dg.Resolvable):
    """Says where messages go: to the log, to a service that Apprise knows, or to a topic of Amazon SNS."""

    kind: Annotated[
        Literal["log", "apprise", "sns"], _setting("What sends: `log`, `apprise` or `sns`.", "log")
    ]
    name: Annotated[
        str, _setting("Names it in ticks and messages; its kind unless given.", "slack")
    ] = ""
    url_from: Annotated[
        str,
        _setting(
            "For `apprise`: name of the environment variable with the service's URL, which is a secret.",
            "ALERTS_SLACK_URL",
        ),
    ] = ""
    style: Annotated[
        Literal["markdown", "text"],
        _setting("For `apprise`: what the service is given, `markdown` or `text`.", "text"),
    ] = "markdown"
    topic: Annotated[
        str,
        _setting("For `sns`: ARN of the topic.", "arn:aws:sns:eu-central-1:123456789012:billing"),
    ] = ""

    @model_validator(mode="after")
    def _is_addressed(self) -> "NotifierSettings":
        if self.kind == "apprise" and _VARIABLE.fullmatch(self.url_from) is None:
            msg = "a notifier of kind apprise needs `url_from`, the name of an environment variable; the URL itself is a secret"
            raise ValueError(msg)
        if self.kind == "sns" and _TOPIC.fullmatch(self.topic) is None:
            msg = "a notifier of kind sns needs `topic`, the ARN of a topic: arn:aws:sns:<region>:<account>:<name>"
            raise ValueError(msg)
        return self

    @property
    def notifier(self) -> Notifier:
        """The notifier."""
        name = self.name or self.kind
        if self.kind == "apprise":
            return AppriseNotifier(name, self.url_from, self.style)
        return SnsNotifier(name, self.topic) if self.kind == "sns" else LogNotifier(name)


class QuietHoursSettings(dg.Model, dg.Resolvable):
    """Says when messages wait."""

    begin: Annotated[Clock, _setting("When messages begin to wait, `HH:MM`.", "22:00")]
    end: Annotated[Clock, _setting("When they are sent, `HH:MM`.", "07:00")]
    severities: Annotated[
        list[Severity], _setting("What waits: `WARN`, `ERROR`, or both unless given.", ["WARN"])
    ] = Field(default=["WARN", "ERROR"])


class DigestSettings(dg.Model, dg.Resolvable):
    """Says when one message of all that happened in a day is sent."""

    at: Annotated[Clock, _setting("When, `HH:MM`.", "08:00")]
    use: Annotated[
        DigestUse,
        _setting("Whether it comes `beside` single messages or `instead` of them.", "instead"),
    ] = "beside"


class AlertSettings(dg.Model, dg.Resolvable):
    """Says what is reported, where to, and when."""

    name: Annotated[
        str,
        _setting(
            "Name of the policy: lower-case letters, digits and underscores. What waits to be delivered is kept under it.",
            "finance",
        ),
    ]
    notifiers: Annotated[
        list[NotifierSettings],
        _setting("Where messages go; each goes to all of them.", [{"kind": "log"}]),
    ]
    exports: Annotated[
        list[str],
        _setting(
            "Exports that it watches, and `all_costs` for the view of all of them; everything unless given.",
            ["cost_and_usage", "all_costs"],
        ),
    ] = Field(default=[])
    checks: Annotated[
        list[str],
        _setting(
            "Checks that it watches, by name; all unless given. Failed runs and sensors are reported either way.",
            ["schema_diff", "equals_delivery"],
        ),
    ] = Field(default=[])
    severities: Annotated[
        list[Severity],
        _setting("What it reports: `WARN`, `ERROR`, or both unless given.", ["ERROR"]),
    ] = Field(default=["WARN", "ERROR"])
    quiet_hours: Annotated[
        QuietHoursSettings | None,
        _setting("Hours in which messages wait.", {"begin": "22:00", "end": "07:00"}),
    ] = None
    digest: Annotated[
        DigestSettings | None,
        _setting("A message a day with all that happened.", {"at": "08:00"}),
    ] = None
    timezone: Annotated[
        str, _setting("Zone of the times of day, by its name in the tz database.", "Europe/Berlin")
    ] = "UTC"
    interval_seconds: Annotated[Positive, _setting("Least seconds between two looks.", 30)] = 30
    running: Annotated[
        bool, _setting("Whether the sensor runs without being switched on in the UI.")
    ] = True

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if _NAME.fullmatch(value) is None:
            msg = f"{value!r} is no name: a letter first, then lower-case letters, digits and underscores"
            raise ValueError(msg)
        return value

    @field_validator("notifiers")
    @classmethod
    def _are_distinct(cls, value: list[NotifierSettings]) -> list[NotifierSettings]:
        names = [one.notifier.name for one in value]
        if not names:
            msg = "name at least one notifier, such as {kind: log}"
            raise ValueError(msg)
        if len(set(names)) < len(names):
            msg = "two notifiers have one name; give each a `name` of its own"
            raise ValueError(msg)
        return value

    @field_validator("severities")
    @classmethod
    def _are_some(cls, value: list[Any]) -> list[Any]:
        if not value:
            msg = f"choose at least one of {', '.join(get_args(Severity))}"
            raise ValueError(msg)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            msg = f"{value!r} is no zone of the tz database, such as Europe/Berlin"
            raise ValueError(msg) from error
        return value
