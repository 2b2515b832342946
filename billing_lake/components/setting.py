"""Describes a setting of an export: for people, and for what checks its YAML."""

from typing import Annotated

import dagster as dg
from pydantic import Field

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

_TEMPLATE = r"\{\{"
"""Begins an expression that Dagster resolves when it loads the YAML; a text with one may stand for any value."""


def setting(description: str, *examples: object, text: str = "", **schema: object) -> dg.Resolver:
    """Describe a setting, for people and in the JSON schema that `dg check yaml` and editors read.

    Args:
        description: What it is for.
        examples: Values that it may have.
        text: Pattern of the texts that are a value of it; none where only numbers, lists and the like are.
        schema: Further limits, in words of JSON schema.
    """
    resolver: dg.Resolver = dg.Resolver.default(
        description=description,
        examples=list(examples) or None,
        json_schema_extra={"pattern": f"^({text})$|{_TEMPLATE}" if text else _TEMPLATE, **schema},
    )
    return resolver
