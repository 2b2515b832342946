"""Columns of FOCUS: their names in the lake, types and roles, whatever tool and provider wrote them."""

from __future__ import annotations

import pytest

from billing_lake.domain.column_names import is_column_name
from billing_lake.domain.types import DECIMAL, STRING, TIMESTAMP, Map, Type
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.focus.columns import KNOWN_COLUMNS
from billing_lake.formats.headers import column_names
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.recognition import kind_of_header


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("BilledCost", "billedcost"),
        ("billedcost", "billedcost"),
        ("billed_cost", "billedcost"),
        ("Billed Cost", "billedcost"),
        ("x_Discounts", "x_discounts"),
        ("x_ServiceCode", "x_servicecode"),
        ("x_service_code", "x_servicecode"),
        ("x_SkuRegion", "x_skuregion"),
        ("Id", "id"),
        ("Größe (GB)", "größe_gb"),
        ("🙂", ""),
    ],
)
def test_a_column_has_its_own_name_in_lower_case(raw: str, name: str) -> None:
    assert FOCUS.name_of(raw) == name
    assert not name or is_column_name(name)


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("billedcost", DECIMAL),
        ("pricingcurrencyeffectivecost", DECIMAL),
        ("chargeperiodstart", TIMESTAMP),
        ("billingaccountid", STRING),
        ("tags", Map(STRING, STRING)),
        ("x_discounts", Map(STRING, STRING)),
        ("x_costcategories", Map(STRING, STRING)),
        ("skupricedetails", Map(STRING, STRING)),
        ("x_anything_cost", STRING),
    ],
)
def test_types_are_by_name(name: str, type_: Type) -> None:
    assert FOCUS.type_of(name) == type_


def test_only_costs_in_the_billing_currency_are_totals() -> None:
    costs = {name for name in KNOWN_COLUMNS if FOCUS.is_cost(name)}
    assert costs == {"billedcost", "effectivecost", "contractedcost", "listcost"}
    assert {*FOCUS.headline_costs} == costs


def test_every_column_of_the_specification_is_described_and_roles_are_columns() -> None:
    own = [name for name in KNOWN_COLUMNS if not name.startswith("x_")]
    later = {"commitmentprogrameligibilitydetails", "invoicedetailid"}
    assert {name for name in own if FOCUS.describe(name) is None} == later
    roles = [FOCUS.roles.period_start, FOCUS.roles.usage_start, FOCUS.roles.currency]
    assert {*roles, "billedcost"} == {*FOCUS.required}
    assert {*FOCUS.preview} <= {*KNOWN_COLUMNS}


def test_a_header_of_focus_is_told_from_others() -> None:
    header = ("BilledCost", "BillingCurrency", "BillingPeriodStart", "ChargeCategory")
    assert FOCUS.is_header(header)
    kind = kind_of_header(header, LEGACY_CUR)
    assert kind is not None
    assert kind.remedy == "Set `format: focus` in the export's defs.yaml"
    other = kind_of_header(("lineItem/UnblendedCost", *LEGACY_CUR.required), FOCUS)
    assert other is not None
    assert other.name == "legacy_cur"


def test_two_spellings_of_one_column_are_one() -> None:
    names = column_names(("Tags", "BilledCost", "billed_cost"), "f", FOCUS)
    assert names == ("tags", "billedcost", "billedcost")


@pytest.mark.parametrize(
    ("columns", "version"),
    [
        (("billedcost", "billingaccounttype", "subaccounttype"), ""),
        (("billedcost", "x_usagetype"), "1.0"),
        (("billedcost", "servicesubcategory", "skumeter"), "1.1"),
        (("servicesubcategory", "invoiceid"), "1.2"),
        (("invoiceid", "pricingcurrency", "hostprovidername"), "1.3"),
    ],
)
def test_columns_tell_the_version_or_nothing_does(columns: tuple[str, ...], version: str) -> None:
    assert FOCUS.version_of is not None
    assert FOCUS.version_of(columns) == version
