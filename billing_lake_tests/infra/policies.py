"""Decides by policies, as IAM does, whether a request is allowed: for the part of their language that the templates use.

Whatever is not known here raises, so that no policy is ever judged by half of what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Document = Mapping[str, Any]

_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
_NEW = "2012-10-17"


class UnknownPolicyError(NotImplementedError):
    """A policy says something that is not understood here."""


@dataclass(frozen=True)
class Asked:
    """What somebody wants to do.

    Attributes:
        who: ARN of the role.
        action: Such as `s3:GetObject`.
        resource: ARN.
        context: What conditions look at, by the name of the key in lower case.
    """

    who: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.who.rpartition('/')[2]}: {self.action} on {self.resource}"


def allows(asked: Asked, identity: Iterable[Document], resource: Iterable[Document] = ()) -> bool:
    """Say whether a request is allowed.

    Args:
        asked: The request, within one account.
        identity: The policies of the role that asks.
        resource: The policies of what it is about, such as that of a bucket.

    Raises:
        UnknownPolicyError: A policy says what is not known here, whether the request depends on it or not.
    """
    effects = set()
    for documents, of_resource in ((identity, False), (resource, True)):
        for document in documents:
            for statement in _statements(document):
                effect = _effect(statement, of_resource=of_resource)
                if _applies(statement, asked, of_resource=of_resource):
                    effects.add(effect)
    return "Allow" in effects and "Deny" not in effects


def _statements(document: Document) -> list[Any]:
    if set(document) - {"Version", "Statement", "Id"} or document.get("Version") != _NEW:
        raise UnknownPolicyError(f"A policy of another kind: {document}")
    return _list(document["Statement"])


def _effect(statement: Mapping[str, Any], *, of_resource: bool) -> str:
    wanted = {"Effect", "Action", "Resource"} | ({"Principal"} if of_resource else set())
    unknown = set(statement) - (_ELEMENTS if of_resource else _ELEMENTS - {"Principal"})
    effect = statement.get("Effect")
    if unknown or wanted - set(statement) or effect not in {"Allow", "Deny"}:
        raise UnknownPolicyError(f"A statement of another kind: {statement}")
    return str(effect)


def _applies(statement: Mapping[str, Any], asked: Asked, *, of_resource: bool) -> bool:
    # All of them are looked at, so that what is not known raises in each request.
    met = [
        _any_like([one.lower() for one in _list(statement["Action"])], asked.action.lower()),
        _any_like(_list(statement["Resource"]), asked.resource),
        _holds(statement.get("Condition", {}), asked.context),
        not of_resource or _names(statement["Principal"], asked.who),
    ]
    return all(met)


def _names(principal: Any, who: str) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, Mapping) or set(principal) - {"AWS", "Service"}:
        raise UnknownPolicyError(f"A principal of another kind: {principal}")
    # An account's root stands for all of the account, which then decides by policies of roles: not a grant by itself.
    people = _list(principal.get("AWS", []))
    if any(re.fullmatch(r"\d{12}|arn:[^:]*:iam::\d{12}:root", one) for one in people):
        raise UnknownPolicyError(f"An account as principal: {principal}")
    return "*" in people or who in people


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Say whether a condition holds; one about a key that the request has not does not."""
    held = True
    for operator, keys in condition.items():
        if operator not in _COMPARISONS:
            raise UnknownPolicyError(f"The operator {operator}")
        for key, wanted in keys.items():
            given = context.get(key.lower())
            texts = [str(one).lower() if isinstance(one, bool) else one for one in _list(wanted)]
            compare = _COMPARISONS[operator]
            held &= given is not None and True in {compare(_plain(one), given) for one in texts}
    return held


def _any_like(patterns: list[str], text: str) -> bool:
    return True in {like(one, text) for one in patterns}


def like(pattern: str, text: str) -> bool:
    """Say whether a text is like a pattern, in which `*` stands for any characters and `?` for one."""
    return _regex(_plain(pattern)).fullmatch(text) is not None


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(one, re.escape(one)) for one in pattern), re.DOTALL)


def _plain(text: Any) -> str:
    if not isinstance(text, str) or "${" in text:
        raise UnknownPolicyError(f"A value with a variable, or no text: {text!r}")
    return text


def _list(value: Any) -> list[Any]:
    return [*value] if isinstance(value, (list, tuple)) else [value]


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringLike": like,
    "ArnEquals": like,
    "ArnLike": like,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
}
