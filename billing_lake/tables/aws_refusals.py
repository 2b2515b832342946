"""What a catalog on AWS answers when it does not do what it was asked, by name.

pyiceberg lets the errors of boto3, requests and pyarrow through as they are. An operator needs three things told apart:
a right that is missing, a service that does not answer, and a table that is not what it should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    StorageWriteError,
    TableError,
    shown,
)

_RIGHTS = "Check the credentials and what their role may do, in IAM and in Lake Formation"
_AGAIN = "Run it again when the service answers"
_LONG = 400

_FORBIDDEN = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_FORBIDDEN_CLASSES = {
    "AuthorizationExpiredError",
    "CredentialRetrievalError",
    "ForbiddenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "UnauthorizedError",
}
_WRONG_CLASSES = {
    "BadRequestError",
    "NoSuchIcebergTableError",
    "NoSuchPropertyException",
    "ParamValidationError",
}

_REFUSING_CLASSES = {"BadRequestError", "ServiceUnavailableError", "TooManyRequestsError"}


@contextmanager
def aws_answers(place: str) -> Iterator[None]:
    """Give a refusal of AWS within the block its name.

    Args:
        place: The warehouse or catalog that was asked.
    """
    try:
        yield
    except Exception as error:
        named = named_refusal(error, place)
        if named is None:
            raise
        raise named from error


def named_refusal(error: BaseException, place: str) -> BillingLakeError | None:
    """Return what an error of boto3, requests, pyarrow or pyiceberg means, or None where it is none of AWS's."""
    if not _is_of_aws(error):
        return None
    said = shown(error, _LONG)
    if is_forbidden(error):
        return ConfigurationError(f"AWS refuses this: {said}", remedy=_RIGHTS, file=place)
    if type(error).__name__ in _WRONG_CLASSES:
        return TableError(f"The catalog cannot do this: {said}", file=place)
    what = f"AWS does not do this: {said}"
    return StorageWriteError(what, remedy=_AGAIN, file=place)


def is_forbidden(error: BaseException) -> bool:
    """Say whether AWS refused for lack of a right, and so did nothing."""
    if type(error).__name__ in _FORBIDDEN_CLASSES:
        return True
    if isinstance(error, OSError):
        return isinstance(error, PermissionError) or "ACCESS_DENIED" in str(error)
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in _FORBIDDEN


def was_refused(error: BaseException) -> bool:
    """Say whether AWS answered, and the answer was that it does nothing."""
    if is_forbidden(error) or type(error).__name__ in _REFUSING_CLASSES:
        return True
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return False
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _is_of_aws(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0]
    if library in {"botocore", "requests"}:
        return True
    if library == "pyiceberg":
        # Every other exception of pyiceberg's has its own handling where it is expected.
        names = {parent.__name__ for parent in type(error).__mro__}
        return bool(names & {"RESTError", *_WRONG_CLASSES})
    # pyarrow's S3 raises plain errors of the operating system, without a number.
    return isinstance(error, OSError) and error.errno is None and "AWS Error" in _all_said(error)


def _all_said(error: BaseException) -> str:
    # pyiceberg replaces pyarrow's text by its own and keeps the original as the cause.
    return f"{error} {error.__cause__ or ''}"
