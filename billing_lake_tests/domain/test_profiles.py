"""Profiles add up in any order, exactly, and differ only where figures do."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing_lake.domain.profiles import FileProfile, Profile, compare, currency_name, merge

AMOUNTS = st.decimals(
    min_value=-(10**19), max_value=10**19, places=18, allow_nan=False, allow_infinity=False
)
TOTALS = st.dictionaries(
    st.sampled_from(["USD", "EUR", "(none)"]),
    st.dictionaries(st.sampled_from(["line_item_unblended_cost", "discount_x_fee"]), AMOUNTS),
)
COUNTS = st.dictionaries(st.sampled_from(["2025-02", "2025-03"]), st.integers(1, 10**9))
MOMENTS = st.none() | st.dates().map(lambda day: f"{day.isoformat()}T00:00:00Z")
PROFILES = st.builds(
    Profile,
    rows=st.integers(0, 10**10),
    totals=TOTALS,
    sums=st.dictionaries(st.sampled_from(["line_item_usage_amount", "x_rate"]), AMOUNTS),
    filled=st.dictionaries(st.sampled_from(["tag", "x_rate"]), st.integers(1, 10**9)),
    first_usage=MOMENTS,
    last_usage=MOMENTS,
    periods=COUNTS,
    rounded=COUNTS,
    files=st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.builds(FileProfile, rows=st.integers(0, 9), totals=TOTALS, periods=COUNTS),
    ),
)


@given(
    st.lists(PROFILES, max_size=4).flatmap(
        lambda profiles: st.tuples(st.just(profiles), st.permutations(profiles))
    )
)
def test_profiles_add_up_to_the_same_in_any_order(
    orders: tuple[list[Profile], list[Profile]],
) -> None:
    assert merge(orders[0]) == merge(orders[1])


@given(PROFILES, PROFILES, PROFILES)
def test_profiles_add_up_to_the_same_in_any_grouping(a: Profile, b: Profile, c: Profile) -> None:
    assert merge([merge([a, b]), c]) == merge([a, merge([b, c])]) == merge([a, b, c])


@given(PROFILES)
def test_nothing_is_the_neutral_element(profile: Profile) -> None:
    one = merge([profile])
    assert merge([one, Profile()]) == one
    assert merge([]) == Profile()


@given(PROFILES)
def test_a_profile_survives_the_way_through_json_to_the_last_digit(profile: Profile) -> None:
    again = Profile.from_json(json.loads(json.dumps(profile.to_json())))
    assert again == profile
    assert compare(profile, again) == []


@given(PROFILES, PROFILES)
def test_a_comparison_seen_from_the_other_side_has_the_opposite_differences(
    a: Profile, b: Profile
) -> None:
    there, back = compare(a, b), compare(b, a)
    # The minus sign would round to the precision of the default context.
    assert [(d.figure, d.difference) for d in there] == [
        (d.figure, d.difference.copy_negate()) for d in back
    ]
    assert all(d.difference != 0 for d in there)


@given(PROFILES, st.integers(1, 10**6), st.sampled_from(["USD", "EUR"]))
def test_one_digit_too_many_is_found_and_nothing_else(
    profile: Profile, units: int, currency: str
) -> None:
    column = "line_item_unblended_cost"
    cents = Decimal(units).scaleb(-18)
    off = merge([profile, Profile(totals={currency: {column: cents}})])
    (difference,) = compare(merge([profile]), off)
    assert difference.figure == f"{column} [{currency}]"
    assert difference.difference == cents


def test_sums_beyond_the_precision_of_pythons_default_context_are_exact() -> None:
    large = Profile(totals={"USD": {"c": Decimal("99999999999999999999.999999999999999999")}})
    small = Profile(totals={"USD": {"c": Decimal("0.000000000000000001")}})
    assert merge([large, small]).totals["USD"]["c"] == Decimal(10) ** 20


def test_currencies_are_kept_apart() -> None:
    euro = Profile(rows=1, totals={"EUR": {"c": Decimal(1)}})
    dollar = Profile(rows=1, totals={"USD": {"c": Decimal(1)}})
    assert merge([euro, dollar]).totals == {**euro.totals, **dollar.totals}
    assert [d.figure for d in compare(euro, dollar)] == ["c [EUR]", "c [USD]"]


def test_a_total_that_one_side_lacks_counts_as_zero() -> None:
    empty_column = Profile(totals={"USD": {"c": Decimal("0.00")}})
    assert compare(empty_column, Profile()) == []


def test_the_usage_range_spans_all_profiles() -> None:
    early = Profile(first_usage="2025-03-01T00:00:00Z", last_usage="2025-03-02T00:00:00Z")
    late = Profile(first_usage="2025-03-05T00:00:00Z", last_usage="2025-03-09T00:00:00Z")
    both = merge([late, Profile(), early])
    assert (both.first_usage, both.last_usage) == (early.first_usage, late.last_usage)


def test_a_column_that_holds_something_else_is_named_with_what_was_counted() -> None:
    raw = Profile(rows=2, sums={"x_rate": Decimal("0.5")}, filled={"x_rate": 1, "tag": 2})
    table = Profile(rows=2, sums={"x_rate": Decimal("0.6")}, filled={"x_rate": 1, "other": 1})
    assert [(d.figure, d.expected, d.found) for d in compare(raw, table)] == [
        ("x_rate (sum)", Decimal("0.5"), Decimal("0.6")),
        ("other (filled cells)", 0, 1),
        ("tag (filled cells)", 2, 0),
    ]


@given(st.text(st.sampled_from('"(none)x'), max_size=10), st.text(max_size=3), st.booleans())
def test_no_two_currencies_have_one_name(one: str, other: str, is_quoted: bool) -> None:  # noqa: FBT001 -- drawn
    texts = {"(none)", '"(none)"', one, other, f'"{one}"' if is_quoted else f'{one}"'} - {""}
    assert currency_name(None) == currency_name("") == "(none)"
    assert len({currency_name(text) for text in (None, *texts)}) == 1 + len(texts)
