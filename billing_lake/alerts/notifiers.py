"""Sends messages to the log, to any service that Apprise knows, and to Amazon SNS.

What addresses a service is a secret (a webhook's URL lets anybody write), so it comes from an environment variable, is read when
a message is sent, and is taken out of every text that says what went wrong.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal, Protocol

from billing_lake.alerts.rendering import Message, safe_text, without_secrets
from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import error_text
from billing_lake.domain.errors import ConfigurationError, NotDeliveredError

_REASON_CHARACTERS = 300

_CONNECT_SECONDS, _READ_SECONDS, _SNS_ATTEMPTS = 5, 10, 1
"""How long, and how often, Amazon SNS is waited for. A tick has a minute for all notifiers, and the outbox tries again."""

LOGGER = "billing_lake.alerts"
"""Name of the logger that `LogNotifier` writes to."""

_log = logging.getLogger(LOGGER)


class Notifier(Protocol):
    """Sends messages to one place."""

    @property
    def name(self) -> str:
        """Its name in the policy."""

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            NotDeliveredError: It was not taken; the text has no secret in it.
            ConfigurationError: It cannot be sent as things are set up.
        """


@dataclass(frozen=True)
class LogNotifier:
    """Writes messages to the log of Python, where Dagster and containers collect it."""

    name: str

    def send(self, message: Message) -> None:
        """Write the message."""
        level = logging.ERROR if message.severity == "ERROR" else logging.WARNING
        _log.log(level, "%s\n%s", message.title, message.text)


@dataclass(frozen=True)
class AppriseNotifier:
    """Sends messages through Apprise.

    Attributes:
        name: Its name in the policy.
        url_from: Environment variable with the URL of a service, or several with spaces between them.
        style: Whether the service is given Markdown, which Apprise turns into what it shows, or plain text.
    """

    name: str
    url_from: str
    style: Literal["markdown", "text"] = "markdown"

    def send(self, message: Message) -> None:
        """Send the message to the service.

        Raises:
            NotDeliveredError: The service did not take it.
            ConfigurationError: There is no URL, or none that Apprise knows.
        """
        import apprise

        urls = os.environ.get(self.url_from, "").split()
        if not urls:
            what = f"The environment variable {self.url_from} is not set"
            raise ConfigurationError(
                what, remedy="Set it to the URL of the service, as Apprise writes it"
            )
        services = apprise.Apprise()
        with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
            known = [services.add(url) for url in urls]
            if not all(known):
                what = (
                    f"The environment variable {self.url_from} has a URL that Apprise does not know"
                )
                raise ConfigurationError(
                    what, remedy="Write it as the documentation of Apprise does"
                )
            markdown = self.style == "markdown"
            sent = services.notify(
                title=message.title,
                body=message.markdown if markdown else message.text,
                body_format=apprise.NotifyFormat.MARKDOWN
                if markdown
                else apprise.NotifyFormat.TEXT,
                notify_type=apprise.NotifyType.FAILURE
                if message.severity == "ERROR"
                else apprise.NotifyType.WARNING,
            )
            reason = said.getvalue()
        if not sent:
            parts = (part for url in urls for part in (url, *url.partition("://")[2].split("/")))
            secrets = [part for part in parts if len(part) > 5]  # noqa: PLR2004 -- shorter ones are words
            reason = safe_text(without_secrets(reason, secrets), _REASON_CHARACTERS)
            raise NotDeliveredError(f"{self.name} did not take the message: {reason}")


@dataclass(frozen=True)
class SnsNotifier:
    """Publishes messages to a topic of Amazon SNS, by the role of this process.

    Attributes:
        name: Its name in the policy.
        topic: ARN of the topic, which says its region.
    """

    name: str
    topic: str

    def send(self, message: Message) -> None:
        """Publish the message.

        Raises:
            NotDeliveredError: AWS did not take it.
        """
        try:
            region = self.topic.split(":")[3]
            clients = AwsClients(region, _CONNECT_SECONDS, _READ_SECONDS, _SNS_ATTEMPTS)
            client = clients.client("sns")
            client.publish(TopicArn=self.topic, Subject=message.title, Message=message.text)
        except ImportError as error:
            what = "Amazon SNS needs boto3, which is not installed"
            raise ConfigurationError(what, remedy="Install billing-lake[aws]") from error
        except Exception as error:
            text = safe_text(error_text(error), _REASON_CHARACTERS)
            raise NotDeliveredError(f"{self.name} did not take the message: {text}") from error
