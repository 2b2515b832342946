"""The setting `checks` of an export: from where on the checks of its bill fail."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from billing_lake.components.setting import setting
from billing_lake.domain.bill import Limits


class BillLimits(dg.Model, dg.Resolvable):
    """From where on the checks of a bill fail; docs/checks.md says what each check is for."""

    restatement_percent: Annotated[
        float,
        setting("Per cent by which the costs of past days may move between deliveries.", minimum=0),
    ] = Limits.restatement_percent
    restatement_amount: Annotated[
        float, setting("Units of a currency by which they may.", minimum=0)
    ] = Limits.restatement_amount
    fall_percent: Annotated[
        float, setting("Per cent by which the total of a month may not fall.", minimum=0)
    ] = Limits.fall_percent
    fresh_warn_hours: Annotated[
        float, setting("Age of the open month's delivery that is warned of.", minimum=0)
    ] = Limits.fresh_warn_hours
    fresh_error_hours: Annotated[float, setting("Age of it that is an error.", minimum=0)] = (
        Limits.fresh_error_hours
    )
    missing_after_days: Annotated[
        int, setting("Days after which a day has to have usage.", minimum=0)
    ] = Limits.missing_after_days
    payers: Annotated[
        list[str], setting("Accounts that may pay; any where it is empty.", ["000123456789"])
    ] = Field(default=[])
    plan_tolerance: Annotated[
        float, setting("Amount by which an hour of a Savings Plan may be off.", minimum=0)
    ] = Limits.plan_tolerance
    untagged_percent: Annotated[
        float, setting("Per cent of the cost of usage that may carry no tag.", minimum=0)
    ] = Limits.untagged_percent

    @property
    def limits(self) -> Limits:
        """The limits as the checks take them."""
        return Limits(**{**self.model_dump(), "payers": tuple(self.payers)})
