"""What errors of AWS mean, whichever library raises them: each library's own errors, as it makes them."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import requests
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from pyiceberg import exceptions as pyiceberg

from billing_lake.aws.errors import (
    Fault,
    aws_errors,
    credentials_error,
    did_nothing,
    fault_of,
    is_transient,
    s3_errors,
)
from billing_lake.domain.errors import (
    ConfigurationError,
    CredentialsError,
    StorageWriteError,
    TableError,
)

EXPIRED = "ExpiredTokenException"


def answer(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "by the test"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "GetTable")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (answer("AccessDenied", 403), Fault.DENIED),
        (answer("AccessDeniedException"), Fault.DENIED),
        (answer("403", 403), Fault.DENIED),
        (pyiceberg.ForbiddenError(), Fault.DENIED),
        (OSError("When reading a file: AWS Error ACCESS_DENIED during HeadObject"), Fault.DENIED),
        (answer("ExpiredToken"), Fault.EXPIRED),
        (answer(EXPIRED), Fault.EXPIRED),
        (botocore.UnauthorizedSSOTokenError(), Fault.EXPIRED),
        (pyiceberg.AuthorizationExpiredError(), Fault.EXPIRED),
        (OSError("object-store error: <Code>ExpiredToken</Code><Message>x"), Fault.EXPIRED),
        (answer("UnrecognizedClientException"), Fault.NO_CREDENTIALS),
        (answer("SignatureDoesNotMatch", 403), Fault.NO_CREDENTIALS),
        (botocore.NoCredentialsError(), Fault.NO_CREDENTIALS),
        (
            botocore.PartialCredentialsError(provider="env", cred_var="key"),
            Fault.NO_CREDENTIALS,
        ),
        (pyiceberg.UnauthorizedError(), Fault.NO_CREDENTIALS),
        (answer("NoSuchBucket", 404), Fault.MISSING),
        (answer("EntityNotFoundException"), Fault.MISSING),
        (answer("404", 404), Fault.MISSING),
        (answer("PreconditionFailed", 412), Fault.GONE),
        (answer("ConcurrentModificationException"), Fault.GONE),
        (answer("ThrottlingException"), Fault.THROTTLED),
        (answer("SlowDown", 503), Fault.THROTTLED),
        (pyiceberg.TooManyRequestsError(), Fault.THROTTLED),
        (OSError("AWS Error SLOW_DOWN during PutObject operation"), Fault.THROTTLED),
        (answer("InternalServiceException", 500), Fault.TRANSIENT),
        (answer("OperationTimeoutException"), Fault.TRANSIENT),
        (answer("NeverHeardOf", 502), Fault.TRANSIENT),
        (botocore.ReadTimeoutError(endpoint_url="https://glue"), Fault.TRANSIENT),
        (botocore.EndpointConnectionError(endpoint_url="https://glue"), Fault.TRANSIENT),
        (
            botocore.ConnectionClosedError(request=None, endpoint_url="https://glue"),
            Fault.TRANSIENT,
        ),
        (botocore.IncompleteReadError(actual_bytes=1, expected_bytes=2), Fault.TRANSIENT),
        (requests.ConnectionError(), Fault.TRANSIENT),
        (requests.ReadTimeout(), Fault.TRANSIENT),
        (pyiceberg.ServiceUnavailableError(), Fault.TRANSIENT),
        (pyiceberg.ServerError(), Fault.TRANSIENT),
        (OSError("AWS Error UNKNOWN (HTTP status 500) during PutObject"), Fault.TRANSIENT),
        (answer("InvalidInputException"), Fault.OTHER),
        (botocore.ParamValidationError(report="x"), Fault.OTHER),
        (pyiceberg.NoSuchTableError(), None),
        (pyiceberg.CommitFailedException(), None),
        (FileNotFoundError(2, "No such file", "/lake/a"), None),
        (ConnectionResetError(104, "Connection reset by peer"), None),
        (ValueError("AWS Error ACCESS_DENIED"), None),
    ],
    ids=repr,
)
def test_an_error_of_any_library_has_one_meaning(error: Exception, fault: Fault | None) -> None:
    assert fault_of(error) is fault
    assert is_transient(error) is (fault in {Fault.THROTTLED, Fault.TRANSIENT})


def test_pyicebergs_own_text_does_not_hide_what_pyarrow_said() -> None:
    error = PermissionError("Cannot open file, access denied: s3://b/k")
    error.__cause__ = OSError("AWS Error ACCESS_DENIED during HeadObject operation")
    assert fault_of(error) is Fault.DENIED


def test_an_error_of_ours_passes_where_the_one_below_it_does() -> None:
    error = StorageWriteError("AWS does not do this")
    error.__cause__ = OSError(5, "SlowDown", "s3://b/k")
    assert not is_transient(error)
    error.__cause__.__cause__ = answer("SlowDown", 503)
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [answer("ExpiredToken"), answer(EXPIRED), pyiceberg.AuthorizationExpiredError("old")],
    ids=repr,
)
def test_expired_credentials_are_said_to_be_expired_by_every_service(error: Exception) -> None:
    named = credentials_error(error)
    assert named is not None
    assert "have expired" in str(named)
    assert "Sign in again" in str(named)
    with pytest.raises(CredentialsError, match="have expired"), aws_errors("s3://lake"):
        raise error


def test_s3_raises_what_a_disk_would_raise_but_for_credentials() -> None:
    for error, number in (
        (answer("NoSuchKey", 404), errno.ENOENT),
        (answer("AccessDenied", 403), errno.EACCES),
        (answer("PreconditionFailed", 412), errno.ESTALE),
        (answer("SlowDown", 503), errno.EIO),
        (botocore.ReadTimeoutError(endpoint_url="https://s3"), errno.EIO),
        (botocore.ParamValidationError(report="x"), errno.EINVAL),
    ):
        with pytest.raises(OSError, match=r".+") as caught, s3_errors("s3://b/k"):
            raise error
        assert (caught.value.errno, caught.value.filename) == (number, "s3://b/k")
    with pytest.raises(CredentialsError, match="have expired"), s3_errors("s3://b/k"):
        raise answer("ExpiredToken")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (answer("AccessDeniedException"), ConfigurationError),
        (pyiceberg.BadRequestError("no"), TableError),
        (pyiceberg.NoSuchIcebergTableError("a view"), TableError),
        (answer("SlowDown", 503), StorageWriteError),
        (requests.ConnectionError("reset"), StorageWriteError),
        (pyiceberg.CommitFailedException("lost"), pyiceberg.CommitFailedException),
    ],
)
def test_what_a_catalog_refuses_gets_the_name_of_its_meaning(
    error: Exception, named: type[Exception]
) -> None:
    with pytest.raises(named) as caught, aws_errors("s3://lake"):
        raise error
    assert type(caught.value) is named


def test_only_an_answer_says_that_nothing_was_done() -> None:
    assert did_nothing(answer("InvalidInputException"))
    assert did_nothing(pyiceberg.ServiceUnavailableError())
    assert not did_nothing(answer("InternalServiceException", 500))
    assert not did_nothing(botocore.ReadTimeoutError(endpoint_url="https://glue"))
    assert not did_nothing(OSError(5, "lost"))
