"""Judges the numbers of a run config: the launchpad takes any, and pydantic's error in a step would not say what to do."""

from billing_lake.domain.errors import ConfigurationError

LEAST, MOST = 1, 365_000
"""Nothing that is counted in days or loads is less than one; a thousand years is where arithmetic with dates ends."""

BOUNDS = f"{LEAST} to {MOST:,}"


def require_bounds(**numbers: int) -> None:
    """Refuse numbers of a run config, each by its name, that are out of bounds.

    Raises:
        ConfigurationError: One is.
    """
    for name, value in numbers.items():
        if not LEAST <= value <= MOST:
            what = f"`{name}` in the run config is {value}; it may be {BOUNDS}"
            raise ConfigurationError(
                what, remedy="Nothing was done: start the job again with another number"
            )
