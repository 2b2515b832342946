"""The picture of a restatement: what the costs were, what each service added or took, and what they are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from billing_lake.assets.export import DagsterExport
from billing_lake.assets.ledger import ledger_materializations
from billing_lake.components.demo_export import demo_export
from billing_lake.domain.ledger import Amount, CostChange
from billing_lake.loads.ledger import Recorded
from billing_lake_tests.domain.test_ledger import row

EXPORT: DagsterExport = demo_export().export
SERVICES = st.text("abc|*[<`_\\é ", min_size=1, max_size=60) | st.none()
COSTS = st.decimals(-1_000_000, 1_000_000, places=6)


def picture(recorded: Recorded) -> list[list[str]]:
    """Return the cells of the picture of what was recorded."""
    _, restatement = ledger_materializations(EXPORT, [recorded])
    services = restatement.metadata["services"]
    assert isinstance(services, dg.MarkdownMetadataValue)
    text = services.md_str or ""
    assert len(text) < 1_000, "the UI hides what is longer behind a click"
    unescaped = [line.replace("\\|", "¦").strip("|").split("|") for line in text.splitlines()[2:]]
    return [[cell.strip() for cell in cells] for cells in unescaped]


def recorded(groups: dict[tuple[str | None, str | None], Decimal]) -> Recorded:
    """Return a restatement in which each service changed by so much; nothing was there before."""
    changed = [
        CostChange(("004512345678", service, "Usage", currency), None, Amount(1, cost))
        for (service, currency), cost in groups.items()
    ]
    totals: dict[str, Decimal] = {}
    for (_, currency), cost in groups.items():
        totals[currency or ""] = totals.get(currency or "", Decimal()) + cost
    before = replace(row("before"), costs=dict.fromkeys(totals, Decimal()))
    now = replace(row("now"), costs=totals)
    return Recorded(row=now, before=before, changed=changed)


@given(
    st.dictionaries(st.tuples(SERVICES, st.sampled_from(["USD", "EUR", None])), COSTS, max_size=60)
)
def test_it_adds_up_exactly_and_is_short_enough_to_be_seen_at_once(
    groups: dict[tuple[str | None, str | None], Decimal],
) -> None:
    sums: dict[str, Decimal] = {}
    ends: dict[str, list[Decimal]] = {}
    for name, currency, amount, bar in picture(recorded(groups)):
        if name.startswith("delivery "):
            ends.setdefault(currency, []).append(Decimal(amount.replace(",", "")))
            assert not bar
        else:
            sums[currency] = sums.get(currency, Decimal()) + Decimal(amount.replace(",", ""))
            assert set(bar) == {"▇"}
    assert set(ends) == {currency or "" for _, currency in groups}
    for currency, (before, now) in ends.items():
        assert before + sums.get(currency, Decimal()) == now


def test_the_largest_changes_come_first_with_the_longest_bars_and_the_rest_is_one_line() -> None:
    groups: dict[tuple[str | None, str | None], Decimal] = {
        (f"service{n}", "USD"): Decimal(n) for n in range(1, 13)
    }
    groups["gone", "USD"] = Decimal(-24)
    found = picture(recorded(groups))
    assert [name for name, *_ in found] == [
        "delivery before",
        "gone",
        *(f"service{n}" for n in range(12, 5, -1)),
        "5 others",
        "delivery now",
    ]
    assert [amount for _, _, amount, _ in found][-2:] == ["15", "54"]
    assert [len(bar) for *_, bar in found][1:3] == [12, 6]
