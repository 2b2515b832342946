"""S3's refusals as the errors of a disk, so that missing, forbidden and changed mean the same everywhere.

What the service says goes into the message; it names requests, buckets and roles and never a secret.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

_MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion"}
_REFUSED = {"AccessDenied", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_NUMBERS = {
    HTTPStatus.NOT_FOUND: errno.ENOENT,
    HTTPStatus.FORBIDDEN: errno.EACCES,
    HTTPStatus.UNAUTHORIZED: errno.EACCES,
    HTTPStatus.PRECONDITION_FAILED: errno.ESTALE,
}


@contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises within the block into the `OSError` that a disk would give for ``uri``.

    Missing is `FileNotFoundError`, forbidden (or without credentials) `PermissionError`, changed since it was opened
    `ESTALE`, anything else `EIO`.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    no_credentials = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
    try:
        yield
    except ClientError as error:
        raise OSError(_number(error.response), _said(error), uri) from error
    except no_credentials as error:
        raise OSError(errno.EACCES, f"No AWS credentials: {error}", uri) from error
    except ParamValidationError as error:
        raise OSError(errno.EINVAL, str(error), uri) from error
    except (BotoCoreError, Boto3Error) as error:
        raise OSError(errno.EIO, str(error), uri) from error


def changed(uri: str) -> OSError:
    """Return the error for an object that is no longer the one that was opened."""
    return OSError(errno.ESTALE, "The object changed while it was being read", uri)


def _number(response: dict[str, dict[str, object]]) -> int:
    code = str(response.get("Error", {}).get("Code", ""))
    if code in _MISSING:
        return errno.ENOENT
    if code in _REFUSED:
        return errno.EACCES
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return next((number for known, number in _NUMBERS.items() if known == status), errno.EIO)


def _said(error: object) -> str:
    response = getattr(error, "response", {})
    told = response.get("Error", {})
    operation = getattr(error, "operation_name", "S3")
    return f"{operation}: {told.get('Code', '')}: {told.get('Message', '')}".rstrip(": ")
