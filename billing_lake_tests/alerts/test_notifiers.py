"""Notifiers against services that are real: a webhook, a mail server, Amazon SNS as moto has it, a log."""

from __future__ import annotations

import email
import json
import logging
import socket

import pytest

from billing_lake.alerts import notifiers
from billing_lake.alerts.notifiers import AppriseNotifier, LogNotifier, SnsNotifier
from billing_lake.domain.errors import ConfigurationError, NotDeliveredError
from billing_lake_tests.alerts.services import Webhook, mail_server, message

URL = "ALERTS_TEST_URL"


def test_a_webhook_gets_the_alert_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with Webhook() as webhook:
        monkeypatch.setenv(URL, webhook.url)
        AppriseNotifier("hook", URL, "text").send(message())
    (taken,) = webhook.taken
    assert taken["title"] == message().title
    assert taken["message"] == message().text
    assert taken["type"] == "failure"


def test_what_a_webhook_refuses_is_an_error_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Webhook() as webhook:
        webhook.status = 500
        monkeypatch.setenv(URL, webhook.url)
        with pytest.raises(NotDeliveredError, match="hook did not take the message") as caught:
            AppriseNotifier("hook", URL).send(message())
    assert "500" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in caplog.text


def test_a_service_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Webhook() as webhook:
        url = webhook.url
    monkeypatch.setenv(URL, url)
    with pytest.raises(NotDeliveredError):
        AppriseNotifier("hook", URL).send(message())


def test_a_mail_has_subject_text_and_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (url, mails):
        monkeypatch.setenv(URL, url)
        AppriseNotifier("mail", URL).send(message())
    (mail,) = (email.message_from_bytes(one) for one in mails)
    assert message().title in str(
        email.header.make_header(email.header.decode_header(mail["Subject"]))
    )
    parts = {
        part.get_content_type(): bytes(part.get_payload(decode=True) or b"").decode()
        for part in mail.walk()
        if not part.is_multipart()
    }
    assert "48,120.51" in parts["text/html"]
    assert "What to do" in parts["text/html"]


def test_a_missing_or_unknown_url_is_a_named_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(URL, raising=False)
    with pytest.raises(ConfigurationError, match=f"{URL} is not set"):
        AppriseNotifier("hook", URL).send(message())
    monkeypatch.setenv(URL, "nothing://s3cr3t-t0ken")
    with pytest.raises(ConfigurationError, match="does not know") as caught:
        AppriseNotifier("hook", URL).send(message())
    assert "s3cr3t" not in str(caught.value) + caplog.text


def test_a_topic_of_sns_gets_the_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            monkeypatch.setenv(name, value)
        places = {"region_name": "eu-central-1"}
        sns, sqs = boto3.client("sns", **places), boto3.client("sqs", **places)
        topic = sns.create_topic(Name="billing")["TopicArn"]
        queue = sqs.create_queue(QueueName="billing")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
        SnsNotifier("topic", topic).send(message())
        (got,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        with pytest.raises(NotDeliveredError, match="gone did not take the message"):
            SnsNotifier("gone", f"{topic}-gone").send(message())
    finally:
        server.stop()
    body = json.loads(got["Body"])
    assert body["Subject"] == message().title
    assert body["Message"] == message().text


def test_a_topic_that_does_not_answer_is_left_to_the_next_tick_after_one_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick has a minute, and the other notifiers of the policy wait behind this one."""
    assert (notifiers._CONNECT_SECONDS + notifiers._READ_SECONDS) * notifiers._SNS_ATTEMPTS < 20
    monkeypatch.setattr(notifiers, "_READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(NotDeliveredError, match="topic did not take the message"):
            SnsNotifier("topic", "arn:aws:sns:eu-central-1:123456789012:billing").send(message())
        silent.settimeout(30)
        asked, _ = silent.accept()
        asked.close()
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_the_log_has_the_alert(caplog: pytest.LogCaptureFixture) -> None:
    LogNotifier("log").send(message())
    ((_, level, text),) = caplog.record_tuples
    assert level == logging.ERROR
    assert message().title in text
    assert "What to do" in text
