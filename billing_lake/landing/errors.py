"""Names the errors between a storage and whoever reads a delivery."""

from __future__ import annotations

import errno
import gzip
from collections.abc import Iterator
from contextlib import contextmanager

from billing_lake.domain.errors import DeliveryChangedError, UnreadableFileError


@contextmanager
def naming_errors(key: str) -> Iterator[None]:
    """Turn an `OSError` within the block into the error that says what it means for the file at ``key``.

    A file that vanished or changed is a delivery in motion, any other one cannot be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DeliveryChangedError("The file is not there any more", file=key) from error
    except gzip.BadGzipFile:
        raise  # it was read, and what unpacks it names the error
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise changed_error(key) from error
        raise unreadable_error(error, key) from error


def changed_error(key: str) -> DeliveryChangedError:
    """Return the error for a file that is not the one any more that was listed."""
    return DeliveryChangedError("The file changed while it was being read", file=key)


def unreadable_error(error: OSError, key: str) -> UnreadableFileError:
    """Return the error for a file, or a folder, that is there and cannot be read."""
    what = f"It cannot be read: {error.strerror or error}"
    return UnreadableFileError(what, file=key or "/")
