"""The meters of the sample organisation: who runs what where, and what a report says of it in every hour.

Most of a report row belongs to the meter (account, resource, price, tags), not to the hour. A renderer writes it once
per meter, and a row then picks it up by position. That is why ten million rows of a hundred columns take minutes and
not hours.

Meters depend on the seed alone, so an organisation keeps its resources from month to month.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from billing_lake.sample import catalogue
from billing_lake.sample.canonical import MONEY_SCALE, Attributes
from billing_lake.sample.commitments import RESERVATIONS, SAVINGS_PLANS
from billing_lake.sample.random_values import Draws, Floats, Ints
from billing_lake.sample.text import number_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from billing_lake.sample.catalogue import Offer, Region
    from billing_lake.sample.commitments import SavingsPlan

USAGE_METERS = 960
POOL_METERS = 16
RESERVED_METERS = 12

_KEPT_FLEETS = 4
"""How many organisations are remembered, of 3 MB each."""

_TAGGED = 0.72
"""Share of meters with tags at all; the shares below are among those."""
_WITH_COST_CENTER, _USUAL_SPELLING = 0.9, 0.6
_NAMED = _OWNED = 0.5
_COST_CENTER = ("tag/user:CostCenter", "tag/user:cost-center")
"""Two spellings of one tag: AWS's naming rule makes one column of them. No row fills both."""


@dataclass(frozen=True)
class Meter:
    """One source of rows: an offer in a region at its price there, and what never changes."""

    offer: Offer
    price: int
    attributes: Attributes


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All meters: their attributes, and the figures that rows are computed from, by position.

    Positions run from usage meters to covered meters (`POOL_METERS` for each pool of one Savings Plan, offer and
    zone), to one negation per pool, to reserved meters (`RESERVED_METERS` for each reservation).
    """

    attributes: Sequence[Attributes]
    price: Ints
    rate: Floats
    scale: Ints
    lowest: Ints
    digits: Ints
    factor: Ints
    pool_plan: Ints

    @property
    def covered(self) -> int:
        """Position of the first covered meter."""
        return USAGE_METERS

    @property
    def negations(self) -> int:
        """Position of the first negation."""
        return self.covered + len(self.pool_plan) * POOL_METERS

    @property
    def reserved(self) -> int:
        """Position of the first reserved meter."""
        return self.negations + len(self.pool_plan)


def build_fleet(
    seed: int, delivery: Attributes, tags: Mapping[str, float], *, correction: int
) -> Fleet:
    """Make all meters as one delivery reports them.

    Args:
        seed: The organisation.
        delivery: Attributes that are the same in every row.
        tags: Further tags, as `user:Project`, and the share of meters that have them.
        correction: Percent of the list price at which the corrected service is billed.
    """
    meters = _meters(seed, correction)
    attributes = [{**delivery, **meter.attributes} for meter in meters]
    for tag, share in tags.items():
        # The key is that of the first samples, so that the same options write the same bytes for ever.
        _tag(attributes, tag, share, Draws(seed, "tag", f"resourceTags/{tag}"))
    amounts = [meter.offer.amounts for meter in meters]
    return Fleet(
        attributes=attributes,
        price=np.array([meter.price for meter in meters]),
        rate=np.array([meter.price / 10**MONEY_SCALE for meter in meters]),
        scale=np.array([amount.scale for amount in amounts]),
        lowest=np.array([amount.low for amount in amounts]),
        digits=np.array([amount.high - amount.low + 1 for amount in amounts]),
        factor=np.array([meter.offer.factor for meter in meters]),
        pool_plan=np.array([SAVINGS_PLANS.index(plan) for plan, *_ in _pools()]),
    )


@lru_cache(maxsize=_KEPT_FLEETS)
def _meters(seed: int, correction: int) -> tuple[Meter, ...]:
    """Make all meters without what a delivery adds to them: the same ones for each month and format."""
    return (
        *_usage_meters(seed, correction),
        *_covered_meters(seed),
        *_negations(),
        *_reserved_meters(seed),
    )


def _usage_meters(seed: int, correction: int) -> Iterator[Meter]:
    draws = Draws(seed, "usage")
    offers = draws.weighted(np.array([offer.weight for offer in catalogue.OFFERS]), USAGE_METERS)
    regions = draws.weighted(
        np.array([region.weight for region in catalogue.REGIONS]), USAGE_METERS
    )
    owned = _ownership(draws, USAGE_METERS)
    for position in range(USAGE_METERS):
        offer, region = catalogue.OFFERS[offers[position]], catalogue.REGIONS[regions[position]]
        percent = correction if offer.code == catalogue.CORRECTED_SERVICE else 100
        price = _price(offer, region) * percent // 100
        zone = region.zones[position % len(region.zones)] if offer.zonal else ""
        yield Meter(
            offer,
            price,
            {
                **_offered(offer, region, zone, price),
                **owned(position, offer, region),
                "charge_type": "Usage",
                "term": "OnDemand",
            },
        )


def _covered_meters(seed: int) -> Iterator[Meter]:
    pools = _pools()
    owned = _ownership(Draws(seed, "covered"), len(pools) * POOL_METERS)
    for position in range(len(pools) * POOL_METERS):
        plan, offer, region, zone = pools[position // POOL_METERS]
        price = _price(offer, region)
        yield Meter(
            offer,
            price,
            {
                **_offered(offer, region, zone, price),
                **owned(position, offer, region),
                **plan.attributes,
                "charge_type": "SavingsPlanCoveredUsage",
                "plan_rate": number_text(price * plan.percent // 100, MONEY_SCALE),
                "term": "OnDemand",
            },
        )


def _negations() -> Iterator[Meter]:
    for plan, offer, region, zone in _pools():
        price = _price(offer, region)
        yield Meter(
            offer,
            price,
            {
                **_offered(offer, region, zone, price),
                **plan.attributes,
                "charge_type": "SavingsPlanNegation",
                "account": catalogue.PAYER,
                "description": f"SavingsPlanNegation used by AccountId : {catalogue.PAYER}",
                "rate": "",
                "list_rate": "",
                "category/Charge type": "SavingsPlanNegation",
            },
        )


def _reserved_meters(seed: int) -> Iterator[Meter]:
    region = catalogue.REGIONS[0]
    owned = _ownership(Draws(seed, "reserved"), len(RESERVATIONS) * RESERVED_METERS)
    for position in range(len(RESERVATIONS) * RESERVED_METERS):
        reservation = RESERVATIONS[position // RESERVED_METERS]
        offer = _offer(reservation.covers)
        price = _price(offer, region)
        yield Meter(
            offer,
            price,
            {
                **_offered(offer, region, "", price),
                **owned(position, offer, region),
                **reservation.attributes,
                "charge_type": "DiscountedUsage",
                "description": f"{reservation.covers}, reserved instance applied",
                "rate": "0.0",
            },
        )


def _pools() -> list[tuple[SavingsPlan, Offer, Region, str]]:
    region = catalogue.REGIONS[0]
    return [
        (plan, _offer(usage_type), region, zone)
        for plan in SAVINGS_PLANS
        for usage_type in plan.covers
        for zone in region.zones[:2]
    ]


def _offer(usage_type: str) -> Offer:
    return next(offer for offer in catalogue.OFFERS if offer.usage_type == usage_type)


def _price(offer: Offer, region: Region) -> int:
    return int(Decimal(offer.rate).scaleb(MONEY_SCALE)) * region.percent // 100


def _offered(offer: Offer, region: Region, zone: str, price: int) -> Attributes:
    rate = number_text(price, MONEY_SCALE)
    place = {
        "location": region.location,
        "rate": f"{Decimal(price).scaleb(-MONEY_SCALE):f}".rstrip("0").rstrip("."),
    }
    area = region.code.upper().replace("-", "")[:8].ljust(8, "X")
    sku = f"{catalogue.OFFERS.index(offer):02d}{area}7QKD"
    return {
        "service": offer.code,
        "usage_type": region.prefix + offer.usage_type,
        "operation": offer.operation,
        "zone": region.code + zone if zone else "",
        "factor": f"{offer.factor}.0" if offer.factor else "",
        "rate": rate,
        "list_rate": rate,
        "rate_code": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        "rate_id": str(4_082_000_000 + price % 99_991),
        "unit": offer.unit,
        "description": offer.description.format_map(place),
        "product/ProductName": offer.service,
        "product/location": region.location,
        "product/locationType": "AWS Region",
        "product/operation": offer.operation,
        "product/productFamily": offer.family,
        "product/region": region.code,
        "product/servicecode": offer.code,
        "product/servicename": offer.service,
        "product/sku": sku,
        "product/usagetype": region.prefix + offer.usage_type,
        **{f"product/{name}": text.format_map(place) for name, text in offer.product.items()},
    }


def _ownership(draws: Draws, count: int) -> Callable[[int, Offer, Region], Attributes]:
    """Accounts, resources and tags of `count` meters; tags are as patchy as in real life."""
    accounts = draws.weighted(np.array(catalogue.ACCOUNT_WEIGHTS), count)
    teams, names = (
        draws.below(len(catalogue.TEAMS), count),
        draws.below(len(catalogue.NAMES), count),
    )
    centers, owners = (
        draws.below(len(catalogue.COST_CENTERS), count),
        draws.below(len(catalogue.OWNERS), count),
    )
    environments = draws.weighted(np.array((6, 2, 2, 1)), count)
    tagged, spelling, named, owner_known = (draws.unit(count) for _ in range(4))
    marks = draws.below(2**48, count)

    def owned(position: int, offer: Offer, region: Region) -> Attributes:
        account, team = catalogue.ACCOUNTS[accounts[position]], catalogue.TEAMS[teams[position]]
        place = {
            "account": account,
            "hex": f"{marks[position]:016x}",
            "number": position,
            "region": region.code,
            "team": team,
        }
        tags: Attributes = {}
        if tagged[position] < _TAGGED:
            tags = {
                "tag/aws:createdBy": f"AssumedRole:AROA{marks[position] % 10**8:08d}:{team}-deploy",
                "tag/user:Environment": catalogue.ENVIRONMENTS[environments[position]],
            }
            if spelling[position] < _WITH_COST_CENTER:
                column = _COST_CENTER[0 if spelling[position] < _USUAL_SPELLING else 1]
                tags[column] = catalogue.COST_CENTERS[centers[position]]
            if named[position] < _NAMED:
                tags["tag/user:Name"] = catalogue.NAMES[names[position]]
            if owner_known[position] < _OWNED:
                tags["tag/user:Owner"] = catalogue.OWNERS[owners[position]]
        return {
            "account": account,
            "resource": offer.resource.format_map(place),
            "category/Charge type": "Usage",
            "category/Team": team,
            **tags,
        }

    return owned


def _tag(attributes: Sequence[Attributes], tag: str, share: float, draws: Draws) -> None:
    has, values = (
        draws.unit(len(attributes)) < share,
        draws.below(len(catalogue.EXTRA_VALUES), len(attributes)),
    )
    for position in np.flatnonzero(has).tolist():
        attributes[position][f"tag/{tag}"] = catalogue.EXTRA_VALUES[values[position]]
