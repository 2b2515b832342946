"""Records which rights the calls of a lake need, so that the list of rights is held against what is really called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.rights import RIGHTS

# Where the name of an action is not that of the call.
_ACTIONS = {
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}


@contextmanager
def only_listed_rights() -> Iterator[set[str]]:
    """Collect the actions that the lake's clients use within the block; at its end all of them must be listed."""
    used: set[str] = set()
    make = AwsClients._new

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        name = _ACTIONS.get(model.name, model.name) if service == "s3" else model.name
        used.add(f"{service}:{name}")

    def recorded(clients: AwsClients, service: str, **settings: Any) -> Any:
        client = make(clients, service, **settings)
        client.meta.events.register("before-call", note)
        return client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsClients, "_new", recorded)
        yield used
    assert used <= {action for right in RIGHTS for action in right.actions}
