"""Puts changes into words: a title, plain text, and Markdown in which nothing from outside is markup."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from billing_lake.alerts.changes import AlertGroup, Severity, StatusChange
from billing_lake.domain.errors import counted, shown

_TITLE_CHARACTERS = 100
"""What a subject of Amazon SNS may have."""

_FOUND_CHARACTERS = 800
_TABLE_ROWS = 12
_TABLE_CHARACTERS = 2_000
_HEAD = 2
_UNLISTED = re.compile(r"… and ([\d,]+) [\w ]+")
"""How `assets.markdown.table` ends where it leaves rows out."""
_CHANGES = 12

_SECRETS = re.compile(
    r"(?<=://)[^/\s@]+(?=@)"  # a user and a password in a URL
    r"|(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"
    r"|(?i:(?<=token=)|(?<=password=)|(?<=secret=)|(?<=signature=))[^&\s]+"
)


@dataclass(frozen=True, kw_only=True)
class Message:
    """An alert in words.

    Attributes:
        id: Names it, always alike for the same event.
        severity: The worst that it reports.
        title: One line of ASCII.
        text: Plain text.
        markdown: The same in Markdown.
    """

    id: str
    severity: Severity
    title: str
    text: str
    markdown: str


@dataclass(frozen=True)
class Renderer:
    """Renders groups of changes.

    Attributes:
        ui_url: Where the Dagster UI is; without it there are no links.
    """

    ui_url: str = ""

    def message(self, group: AlertGroup) -> Message:
        """Render one group."""
        return Message(
            id=group.id,
            severity=group.severity,
            title=title_of(group),
            text=self._body(group, _Text()),
            markdown=self._body(group, _Markdown()),
        )

    def digest(self, day: str, titles: Sequence[str]) -> Message:
        """Render what happened since the last digest."""
        alerts = counted(len(titles), "alert")
        head = f"{alerts} since the last digest" if titles else "Nothing failed or warned"

        def body(style: _Text) -> str:
            return "\n".join((f"{head}.", "", *(f"- {style.words(one)}" for one in titles))).strip()

        return Message(
            id=f"digest-{day}",
            severity="WARN",
            title=_ascii(f"Billing Lake, {day}: {head}"),
            text=body(_Text()),
            markdown=body(_Markdown()),
        )

    def _body(self, group: AlertGroup, style: _Text) -> str:
        # What the title says of a change that is alone is not said again.
        alone = len(group.changes) == 1
        blocks = [self._change(one, style, alone=alone) for one in group.changes[:_CHANGES]]
        if len(group.changes) > _CHANGES:
            blocks.append(f"… and {len(group.changes) - _CHANGES} more; the run has all of them.")
        run_id = next((one.run_id for one in group.changes if one.run_id), "")
        if run_id and self.ui_url:
            blocks.append(style.link("Run", f"{self._ui}/runs/{quote(run_id)}"))
        elif run_id:
            blocks.append(f"Run: {style.words(run_id)}")
        return "\n\n".join(blocks)

    def _change(self, change: StatusChange, style: _Text, *, alone: bool) -> str:
        is_warning = change.severity == "WARN"
        lines, facts = [], []
        if not alone:
            red = "WARNING" if is_warning else f"RED, {change.severity}"
            state = red if change.is_red else "GREEN again"
            lines.append(style.head(f"{state}: {safe_text(change.subject, 200)}"))
        elif change.kind == "check":
            facts.append(("Check", safe_text(change.subject.removeprefix("check "), 200)))
        period = f", billing period {change.period}" if change.period else ""
        facts.append(("Export", f"{change.export}{period}"))
        if change.found:
            facts.append(("Found", safe_text(change.found, _FOUND_CHARACTERS)))
        if change.is_red:
            facts.append(("Since", moment_text(change.since)))
        else:
            was = "Warned" if is_warning else "Was red"
            facts.append((was, f"from {moment_text(change.since)} to {moment_text(change.at)}"))
        facts.append(("What to do", change.remedy))
        lines += [style.fact(name, value) for name, value in facts]
        if change.table and change.is_red:
            lines += ["", cut_table(without_secrets(change.table))]
        if change.asset and self.ui_url:
            lines.append("")
            path = "/".join(quote(part, safe="") for part in change.asset.split("/"))
            detail = quote(change.name, safe="")
            lines.append(
                style.link("Asset", f"{self._ui}/assets/{path}?view=checks&checkDetail={detail}")
            )
        return "\n".join(lines).rstrip()

    @property
    def _ui(self) -> str:
        return self.ui_url.rstrip("/")


class _Text:
    """Plain text."""

    def words(self, text: str) -> str:
        return text

    def head(self, text: str) -> str:
        return text

    def fact(self, name: str, value: str) -> str:
        return f"{name}: {value}"

    def link(self, name: str, url: str) -> str:
        return f"{name}: {url}"


class _Markdown(_Text):
    """Markdown that Slack, Teams, e-mail and others show."""

    def words(self, text: str) -> str:
        return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", text)

    def head(self, text: str) -> str:
        return f"**{self.words(text)}**\n"

    def fact(self, name: str, value: str) -> str:
        return f"- **{name}:** {self.words(value)}"

    def link(self, name: str, url: str) -> str:
        return f"[{name} in Dagster]({url})"


def title_of(group: AlertGroup) -> str:
    """Return what happened in one line."""
    first = group.changes[0]
    states = Counter(_state(one) for one in group.changes)
    where = " ".join(part for part in (first.export, first.period) if part)
    if len({(one.export, one.period) for one in group.changes}) > 1:
        where = ", ".join(dict.fromkeys(one.export for one in group.changes))
    if len(group.changes) == 1:
        verbs = {"red": "is red", "warning": "warns", "green again": "is green again"}
        what = f"{first.kind} {first.name} {verbs[_state(first)]}"
    else:
        words = {"warning": counted(states["warning"], "warning")}
        order = ("red", "warning", "green again")
        what = ", ".join(words.get(one, f"{states[one]} {one}") for one in order if states[one])
    is_over = states["green again"] == len(group.changes)
    return _ascii(f"[{'RESOLVED' if is_over else group.severity}] {where}: {what}")


def _state(change: StatusChange) -> str:
    """Return what a thing is now, in words: a warning is no failure."""
    if not change.is_red:
        return "green again"
    return "warning" if change.severity == "WARN" else "red"


def cut_table(text: str) -> str:
    """Return the first rows of a table in Markdown, and how many more there are: the check itself may list no more than its first."""
    lines, unlisted = text.splitlines(), 0
    if lines and (said := _UNLISTED.fullmatch(lines[-1])):
        unlisted = int(said[1].replace(",", ""))
        lines = lines[:-2]
    kept: list[str] = []
    length = 0
    for line in lines[: _TABLE_ROWS + _HEAD]:
        length += len(line)
        if length > _TABLE_CHARACTERS and len(kept) > _HEAD:
            break
        kept.append(line[:_TABLE_CHARACTERS])
    if more := len(lines) - len(kept) + unlisted:
        has = f"the first {len(lines) - _HEAD}" if unlisted else "all of them"
        kept.append(f"\n… and {more} more rows; the check has {has}")
    return "\n".join(kept)


def safe_text(text: str, limit: int) -> str:
    """Return text from outside as printable characters, cut, and without what looks like a secret."""
    return shown(" / ".join(without_secrets(text).split("\n")), limit)


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` without ``secrets``, and without what looks like one."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return _SECRETS.sub("***", text)


def moment_text(at: datetime) -> str:
    """Return a moment as people read it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _ascii(text: str) -> str:
    line = "".join(c if " " <= c <= "~" else "?" for c in text)
    return line if len(line) < _TITLE_CHARACTERS else f"{line[: _TITLE_CHARACTERS - 4]}..."
