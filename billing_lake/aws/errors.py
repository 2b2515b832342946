"""Sorts the errors of AWS by what they mean, whichever service and library they come through.

boto3, pyiceberg (with requests and pyarrow below it) and Polars raise a class, a code or a text of their own for one and the same
answer. `fault_of` reads all of them by one list, and nothing else in the lake compares codes with what they mean. Nothing heavy is
imported: errors are classified by their names, so that a lake on a laptop needs no boto3.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    CredentialsError,
    StorageWriteError,
    TableError,
    shown,
)


class Fault(Enum):
    """The kind of an error of AWS: what it means for the caller."""

    DENIED = "denied"
    """The credentials are good, and have no right to do this."""

    EXPIRED = "expired"
    """The credentials were good once: somebody has to sign in again."""

    NO_CREDENTIALS = "no credentials"
    """There are no credentials, or none that AWS knows: a wrong key or secret."""

    MISSING = "missing"
    """What was asked for does not exist."""

    GONE = "gone"
    """What a conditional request was about is not there any more as it was seen: somebody else was faster."""

    THROTTLED = "throttled"
    """Too many calls at once; the same call works later."""

    TRANSIENT = "transient"
    """A time-out, a broken connection or a fault within AWS; the same call works later, and this one may have."""

    OTHER = "other"
    """AWS refuses the call for what it asks; the same call is refused again."""


_NAMES = {
    Fault.DENIED: """
        AccessDenied AllAccessDisabled AuthorizationError Forbidden GlueEncryption LoginInsufficientPermissions NotAuthorized
        UnauthorizedOperation
    """,
    Fault.EXPIRED: """
        AuthorizationExpired ExpiredToken LoginRefreshRequired RequestExpired TokenRefreshRequired UnauthorizedSSOToken
    """,
    Fault.NO_CREDENTIALS: """
        AuthFailure CredentialRetrieval IncompleteSignature InvalidAccessKeyId InvalidClientTokenId InvalidSecurity
        InvalidSignature InvalidToken LoginTokenLoad MissingAuthenticationToken NoAuthToken NoCredentials PartialCredentials
        SignatureDoesNotMatch SSOTokenLoad TokenRetrieval Unauthorized UnrecognizedClient
    """,
    Fault.MISSING: """
        EntityNotFound NoSuchBucket NoSuchKey NoSuchUpload NoSuchVersion NotFound ResourceNotFound
    """,
    Fault.GONE: "ConcurrentModification ConditionalRequestConflict PreconditionFailed",
    Fault.THROTTLED: """
        BandwidthLimitExceeded PriorRequestNotComplete RequestLimitExceeded RequestThrottled SlowDown Throttled Throttling
        TooManyRequests
    """,
    Fault.TRANSIENT: """
        Connection FederationSourceRetryable HTTPClient IncompleteRead Internal InternalFailure InternalServer InternalService
        NetworkConnection OperationTimeout RequestTimeout ResourceNotReady Server ServiceUnavailable Timeout
    """,
}
"""Codes of AWS and classes of the libraries, each without `Exception` or `Error` at its end."""

_STATUSES = {401: Fault.NO_CREDENTIALS, 403: Fault.DENIED, 404: Fault.MISSING, 412: Fault.GONE}
_STATUSES |= {408: Fault.TRANSIENT, 429: Fault.THROTTLED}
_BAD_REQUEST, _SERVER_ERROR = 400, 500

_LIBRARIES = {"boto3", "botocore", "requests"}
# pyarrow: "AWS Error ACCESS_DENIED during PutObject"; Polars shows the XML of S3's answer.
_CODE_IN_TEXT = re.compile(r"AWS Error (\w+)|<Code>(\w+)</Code>")
_STATUS_IN_TEXT = re.compile(r"HTTP status (\d{3})")
_WRONG_REQUESTS = {
    "BadRequestError",
    "NoSuchIcebergTableError",
    "NoSuchPropertyException",
    "ParamValidationError",
}
"""Classes that say that a table is not what the caller takes it for."""

_SHOWN_CHARACTERS = 600


def _plain(name: str) -> str:
    """Return `AccessDeniedException`, `AccessDenied` and `ACCESS_DENIED` as one text."""
    return re.sub(r"(exception|error)$", "", name.replace("_", "").lower())


_FAULTS = {_plain(name): fault for fault, names in _NAMES.items() for name in names.split()}


def fault_of(error: BaseException) -> Fault | None:
    """Return what an error of a library means; None where AWS has nothing to do with it."""
    if _answer(error):
        code = error_code(error)
        # A HEAD request is answered without a body; its code is the status.
        return _known(code, int(code) if code.isdecimal() else error_status(error))
    library = type(error).__module__.partition(".")[0]
    if library in _LIBRARIES:
        return _by_class(error)
    if library == "pyiceberg":
        # Its other exceptions are about tables, and whoever expects one handles it.
        rest = any(parent.__name__ == "RESTError" for parent in type(error).__mro__)
        return _by_class(error) if rest else None
    if isinstance(error, OSError) and error.errno is None:
        # pyiceberg replaces pyarrow's text by its own and keeps the original as the cause.
        text = f"{error} {error.__cause__ or ''}"
        if (code_in_text := _CODE_IN_TEXT.search(text)) is not None:
            status = _STATUS_IN_TEXT.search(text)
            return _known(code_in_text[1] or code_in_text[2], int(status[1]) if status else 0)
    return None


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may work in a moment, without anybody doing something.

    An error of ours is asked for the one that it was raised from.
    """
    link: BaseException | None = error
    while link is not None:
        if (fault := fault_of(link)) is not None:
            return fault in {Fault.THROTTLED, Fault.TRANSIENT}
        link = link.__cause__
    return False


def error_code(error: BaseException) -> str:
    """Return the code that AWS gave, such as `AccessDeniedException`; empty where it gave none."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def error_status(error: BaseException) -> int:
    """Return the HTTP status of AWS's answer, such as 403; 0 where there was none."""
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def credentials_error(error: BaseException, text: str = "") -> CredentialsError | None:
    """Return what to raise where credentials are expired, unknown or not there; None for every other error.

    Args:
        error: What a library raised.
        text: What it says; its own text unless given.
    """
    fault, text = fault_of(error), text or error_text(error)
    if fault is Fault.EXPIRED:
        return CredentialsError(f"The AWS credentials have expired: {text}")
    if fault is Fault.NO_CREDENTIALS:
        return CredentialsError(f"There are no AWS credentials that work: {text}")
    return None


def error_text(error: object) -> str:
    """Return what an error says, made safe to show; it names requests, roles and resources and never a secret."""
    return shown(error, _SHOWN_CHARACTERS)


def did_nothing(error: BaseException) -> bool:
    """Return whether AWS answered, and the answer was that it did nothing."""
    fault = fault_of(error)
    refused = fault not in {None, Fault.TRANSIENT, Fault.OTHER}
    named = type(error).__name__ in {"BadRequestError", "ServiceUnavailableError"}
    return refused or named or _BAD_REQUEST <= error_status(error) < _SERVER_ERROR


@contextmanager
def aws_errors(place: str) -> Iterator[None]:
    """Turn what boto3, requests, pyarrow and pyiceberg raise within the block for an answer of AWS into errors of ours.

    Args:
        place: The warehouse or catalog that is asked, for messages.

    Raises:
        ConfigurationError: A right or credentials are missing.
        TableError: The table is not what it is taken for.
        StorageWriteError: AWS did not do it for another reason, or did not answer.
    """
    try:
        yield
    except Exception as error:
        named = _named(error, place)
        if named is None:
            raise
        raise named from error


@contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises within the block into the `OSError` that a disk would raise for ``uri``.

    Missing is `FileNotFoundError`, denied `PermissionError`, changed since it was opened `ESTALE`, anything else `EIO`.

    Raises:
        CredentialsError: The fault is none of the file's.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except ParamValidationError as error:
        raise OSError(errno.EINVAL, str(error), uri) from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        if (named := credentials_error(error)) is not None:
            raise named from error
        number = {
            Fault.MISSING: errno.ENOENT,
            Fault.DENIED: errno.EACCES,
            Fault.GONE: errno.ESTALE,
        }.get(fault_of(error) or Fault.OTHER, errno.EIO)
        raise OSError(number, _s3_text(error), uri) from error


def _named(error: Exception, place: str) -> BillingLakeError | None:
    text = error_text(error)
    if type(error).__name__ in _WRONG_REQUESTS:
        return TableError(f"The catalog cannot do this: {text}", file=place)
    fault = fault_of(error)
    if fault is None:
        return None
    if fault is Fault.DENIED:
        remedy = "Check what the role of this process may do, in IAM and in Lake Formation"
        return ConfigurationError(f"AWS refuses this: {text}", remedy=remedy, file=place)
    remedy = "Run it again when the service answers"
    other = StorageWriteError(f"AWS does not do this: {text}", remedy=remedy, file=place)
    return credentials_error(error) or other


def _answer(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def _by_class(error: BaseException) -> Fault:
    names = (_plain(parent.__name__) for parent in type(error).__mro__)
    return next((_FAULTS[name] for name in names if name in _FAULTS), Fault.OTHER)


def _known(code: str, status: int) -> Fault:
    if (fault := _FAULTS.get(_plain(code))) is not None:
        return fault
    return Fault.TRANSIENT if status >= _SERVER_ERROR else _STATUSES.get(status, Fault.OTHER)


def _s3_text(error: BaseException) -> str:
    answer = _answer(error).get("Error")
    if answer is None:
        return str(error)
    operation = getattr(error, "operation_name", "S3")
    return f"{operation}: {answer.get('Code', '')}: {answer.get('Message', '')}".rstrip(": ")
