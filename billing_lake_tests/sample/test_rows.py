"""What the rows of a sample delivery promise."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from billing_lake.sample import SampleDelivery, SampleSpec, write_delivery
from billing_lake.sample.renderers.legacy_columns import NATURAL
from billing_lake_tests.sample import reading
from billing_lake_tests.sample.reading import MONEY

if TYPE_CHECKING:
    from pathlib import Path

    from billing_lake_tests.sample.reading import Row

HOURLY = {
    "identity/LineItemId",
    "identity/TimeInterval",
    "lineItem/UsageStartDate",
    "lineItem/UsageEndDate",
    "lineItem/UsageAmount",
    "lineItem/NormalizedUsageAmount",
}
LINE_ITEM_TYPES = {
    "Usage",
    "DiscountedUsage",
    "SavingsPlanCoveredUsage",
    "SavingsPlanNegation",
    "SavingsPlanRecurringFee",
    "SavingsPlanUpfrontFee",
    "RIFee",
    "Fee",
    "Tax",
    "Credit",
    "Refund",
    "EdpDiscount",
}


@pytest.fixture(scope="module", params=[0, 1], ids=["first", "restated"])
def delivery(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SampleDelivery:
    root = tmp_path_factory.mktemp("bucket")
    return write_delivery(root, "2025-03", SampleSpec(), restatement=request.param)


@pytest.fixture(scope="module")
def rows(delivery: SampleDelivery) -> list[Row]:
    return reading.read_rows(delivery.files)


def test_the_totals_it_reports_are_those_that_can_be_read_back(
    delivery: SampleDelivery, rows: list[Row]
) -> None:
    assert delivery.rows == len(rows) == 2_000
    assert delivery.totals == reading.totals(rows)
    assert set(delivery.totals["USD"]) == set(MONEY.values())


def test_every_line_item_type_occurs(rows: list[Row]) -> None:
    assert {row["lineItem/LineItemType"] for row in rows} == LINE_ITEM_TYPES


def test_unblended_cost_is_amortised_cost_and_trueup_and_upfront_fees(rows: list[Row]) -> None:
    assert reading.is_balanced(rows)
    assert reading.total(rows, "lineItem/UnblendedCost") != sum(map(reading.amortised, rows))


def test_each_negation_takes_back_what_its_savings_plan_covered(rows: list[Row]) -> None:
    left: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in reading.of_kind(rows, "SavingsPlanCoveredUsage", "SavingsPlanNegation"):
        group = (
            row["savingsPlan/SavingsPlanARN"],
            row["identity/TimeInterval"],
            row["lineItem/Operation"],
            row["lineItem/UsageType"],
            row["lineItem/AvailabilityZone"],
        )
        left[group] += reading.money(row, "lineItem/UnblendedCost")
    assert len({arn for arn, *_ in left}) == 3
    assert set(left.values()) == {Decimal(0)}


def test_used_commitment_is_the_effective_cost_of_what_each_plan_covered(rows: list[Row]) -> None:
    fees = reading.of_kind(rows, "SavingsPlanRecurringFee")
    assert len(fees) == 3
    for fee in fees:
        arn = fee["savingsPlan/SavingsPlanARN"]
        covered = [
            row
            for row in reading.of_kind(rows, "SavingsPlanCoveredUsage")
            if row["savingsPlan/SavingsPlanARN"] == arn
        ]
        used = reading.money(fee, "savingsPlan/UsedCommitment")
        assert used == reading.total(covered, "savingsPlan/SavingsPlanEffectiveCost") > 0
        assert used <= reading.money(fee, "savingsPlan/TotalCommitmentToDate")


def test_a_reservation_splits_its_month_into_used_and_unused(rows: list[Row]) -> None:
    for fee in reading.of_kind(rows, "RIFee"):
        arn = fee["reservation/ReservationARN"]
        used = [
            row
            for row in reading.of_kind(rows, "DiscountedUsage")
            if row["reservation/ReservationARN"] == arn
        ]
        assert reading.money(
            fee, "reservation/AmortizedUpfrontFeeForBillingPeriod"
        ) == reading.total(used, "reservation/AmortizedUpfrontCostForUsage") + reading.money(
            fee, "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod"
        )
        assert reading.money(fee, "lineItem/UnblendedCost") == reading.total(
            used, "reservation/RecurringFeeForUsage"
        ) + reading.money(fee, "reservation/UnusedRecurringFee")
        assert reading.total(used, "lineItem/UnblendedCost") == 0


def test_line_item_id_and_interval_are_unique_together_but_an_id_alone_is_not(
    rows: list[Row],
) -> None:
    pairs = Counter((row["identity/LineItemId"], row["identity/TimeInterval"]) for row in rows)
    ids = {row["identity/LineItemId"] for row in rows}
    assert set(pairs.values()) == {1}
    assert len(ids) < len(rows)
    assert all(re.fullmatch(r"[a-z2-7]{52}", name) for name in ids)


def test_the_same_meter_is_behind_every_hour_of_one_id(rows: list[Row]) -> None:
    own = [name for name in NATURAL if name not in HOURLY and name not in MONEY]
    meters: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for row in rows:
        meters[row["identity/LineItemId"]].add(tuple(row[name] for name in own))
    assert {len(seen) for seen in meters.values()} == {1}


def test_many_numbers_are_in_e_notation_and_quantities_are_fine_grained(rows: list[Row]) -> None:
    costs = [row["lineItem/UnblendedCost"] for row in reading.of_kind(rows, "Usage")]
    spelled = [text for text in costs if re.fullmatch(r"[1-9]\.[0-9]+E-[0-9]+", text)]
    assert len(spelled) > len(costs) * 0.2
    amounts = [Decimal(row["lineItem/UsageAmount"]) for row in rows]
    assert max(-int(amount.as_tuple().exponent) for amount in amounts) >= 16


def test_negative_costs_belong_to_types_that_may_be_negative(rows: list[Row]) -> None:
    negative = {
        row["lineItem/LineItemType"]
        for row in rows
        if reading.money(row, "lineItem/UnblendedCost") < 0
    }
    assert negative == {"SavingsPlanNegation", "Credit", "Refund", "EdpDiscount"}


def test_account_ids_are_twelve_digits_and_some_begin_with_zero(rows: list[Row]) -> None:
    accounts = {row["lineItem/UsageAccountId"] for row in rows}
    assert all(re.fullmatch(r"[0-9]{12}", account) for account in accounts)
    assert sum(account.startswith("0") for account in accounts) >= 2
    assert {row["bill/PayerAccountId"] for row in rows} == {"004512345678"}


def test_text_cells_hold_what_breaks_naive_readers(rows: list[Row]) -> None:
    cells = {cell for row in rows for cell in row.values()}
    for character in ('"', ",", "\n", "ö", "山", "ã"):
        assert any(character in cell for cell in cells), character
    assert all(None not in row and None not in row.values() for row in rows)


def test_two_tag_columns_fall_together_but_never_fill_the_same_row(rows: list[Row]) -> None:
    one, other = "resourceTags/user:CostCenter", "resourceTags/user:cost-center"
    assert any(row[one] for row in rows)
    assert any(row[other] for row in rows)
    assert not any(row[one] and row[other] for row in rows)


def test_tags_are_patchy_and_some_usage_has_none(rows: list[Row]) -> None:
    tags = [name for name in NATURAL if name.startswith("resourceTags/")]
    usage = reading.of_kind(rows, "Usage")
    bare = [row for row in usage if not any(row[tag] for tag in tags)]
    assert 0.1 < len(bare) / len(usage) < 0.5


def test_usage_lies_within_the_month_and_lasts_one_hour(rows: list[Row]) -> None:
    for row in rows:
        start, end = (
            datetime.fromisoformat(row[f"lineItem/Usage{edge}Date"].removesuffix(".000Z"))
            for edge in ("Start", "End")
        )
        assert datetime(2025, 3, 1) <= start < end <= datetime(2025, 4, 1)  # noqa: DTZ001
        assert (
            row["identity/TimeInterval"] == f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
        )
        if "Usage" in row["lineItem/LineItemType"]:
            assert (end - start).total_seconds() == 3_600


def test_a_block_of_a_large_delivery_keeps_all_laws(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path, "2024-02", SampleSpec(rows=33_500, chunks=1, seed=11))
    rows = reading.read_rows(delivery.files)
    assert delivery.totals == reading.totals(rows)
    assert reading.is_balanced(rows)
    pairs = {(row["identity/LineItemId"], row["identity/TimeInterval"]) for row in rows}
    assert len(pairs) == len(rows) == 33_500
