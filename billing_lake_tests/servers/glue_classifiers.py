"""Classifiers, which moto does not know: made, told and removed, and asked for by whoever makes a crawler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from moto.glue.responses import GlueResponse


class Classifiers:
    """The classifiers of an account, by name."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Teach moto the calls."""
        from moto.core.responses import ActionResult, EmptyResult
        from moto.glue.exceptions import AlreadyExistsException, EntityNotFoundException
        from moto.glue.responses import GlueResponse

        create_crawler = GlueResponse.create_crawler

        def create(response: GlueResponse) -> Any:
            kind, given = next(iter(response.parameters.items()))
            if given["Name"] in self.made:
                raise AlreadyExistsException("Classifier")
            self.made[given["Name"]] = {kind: given}
            return EmptyResult()

        def get(response: GlueResponse) -> Any:
            return ActionResult({"Classifier": known(response.parameters["Name"])})

        def delete(response: GlueResponse) -> Any:
            known(response.parameters["Name"])
            del self.made[response.parameters["Name"]]
            return EmptyResult()

        def known(name: str) -> dict[str, Any]:
            if name not in self.made:
                raise EntityNotFoundException(f"Classifier {name} not found.")
            return self.made[name]

        def create_crawler_with_known_ones(response: GlueResponse) -> Any:
            for name in response.parameters.get("Classifiers") or []:
                known(name)
            return create_crawler(response)

        patch.setattr(GlueResponse, "create_classifier", create, raising=False)
        patch.setattr(GlueResponse, "get_classifier", get, raising=False)
        patch.setattr(GlueResponse, "delete_classifier", delete, raising=False)
        patch.setattr(GlueResponse, "create_crawler", create_crawler_with_known_ones)
