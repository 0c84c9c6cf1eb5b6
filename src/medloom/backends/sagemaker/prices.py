"""What an hour of a machine costs there, and an estimate before anything that bills.

Prices change and differ between regions: the table says of when and where it is, and ``--price`` overrides it.
"""

from __future__ import annotations

from dataclasses import dataclass

from medloom.errors import UserError
from medloom.wording import duration_text, size_text

__all__ = ["PRICES_OF", "Estimate", "cheaper_at_home", "estimate", "hourly_usd"]

PRICES_OF = "EU (Ireland), December 2023 and January 2024"
"""Of when and where the prices of the table are.

Source: the bill of an account of AWS for December 2023, three decimals,
https://github.com/aws-samples/sagemaker-ssh-helper/blob/main/Sample_Costs.md; the others as read from
https://aws.amazon.com/sagemaker/pricing/ on 17 January 2024 and rounded up to cents by
https://github.com/DIAGNijmegen/rse-grand-challenge (``components/backends/amazon_sagemaker_base.py``).
"""

_USD_AN_HOUR: dict[str, float] = {
    "ml.m5.xlarge": 0.257,
    "ml.m7i.large": 0.14,
    "ml.r7i.large": 0.18,
    "ml.r7i.xlarge": 0.36,
    "ml.r7i.2xlarge": 0.72,
    "ml.r7i.4xlarge": 1.43,
    "ml.r7i.8xlarge": 2.85,
    "ml.g4dn.xlarge": 0.822,
    "ml.g4dn.2xlarge": 1.05,
    "ml.g4dn.4xlarge": 1.678,
    "ml.g4dn.8xlarge": 3.04,
    "ml.g4dn.12xlarge": 5.453,
    "ml.g4dn.16xlarge": 6.07,
    "ml.g5.xlarge": 1.57,
    "ml.g5.2xlarge": 1.69,
    "ml.g5.4xlarge": 2.27,
    "ml.g5.8xlarge": 3.42,
    "ml.g5.12xlarge": 7.91,
    "ml.g5.16xlarge": 5.72,
    "ml.g5.24xlarge": 11.36,
    "ml.g5.48xlarge": 22.73,
    "ml.p3.2xlarge": 4.131,
    "ml.p3.8xlarge": 15.87,
    "ml.p3.16xlarge": 30.41,
    "ml.p4d.24xlarge": 27.28,
}

_REGION = "eu-west-1"

_SMALL_BYTES = 200_000_000
_SHORT_S = 2 * 3600.0


@dataclass(frozen=True)
class Estimate:
    """What something may cost at most, storage and transfer left out.

    Args:
        usd: In all; None where it goes on until someone ends it.
        hourly_usd: An hour of all its machines.
        text: For people: the figures, and where the price is from.
    """

    usd: float | None
    hourly_usd: float
    text: str


def hourly_usd(instance: str, price: float | None = None) -> float:
    """Return the price of an hour of one instance.

    Args:
        instance: Such as ``ml.g5.xlarge``.
        price: What the user says that it is; wins.

    Raises:
        UserError: If nobody knows it.
    """
    if price is not None:
        return price
    if instance not in _USD_AN_HOUR:
        raise UserError(
            f"the price of {instance} is not in Medloom's table; say what an hour of it costs in your region: "
            "--price USD (https://aws.amazon.com/sagemaker/pricing/)"
        )
    return _USD_AN_HOUR[instance]


def estimate(
    instance: str, count: int, seconds: float | None, region: str, price: float | None = None, jobs: int = 1
) -> Estimate:
    """Estimate what machines cost.

    Args:
        instance: What they are.
        count: How many run at a time.
        seconds: How long at most; None without end.
        region: Where.
        price: Price of an hour of one, if the table is not to be asked.
        jobs: How many such jobs there are.

    Raises:
        UserError: If the price is not known.

    Example:
        >>> estimate("ml.g5.xlarge", 1, 7200, "eu-west-1").usd
        3.14
    """
    hourly = hourly_usd(instance, price) * count
    usd = None if seconds is None else round(hourly * seconds / 3600 * jobs, 2)
    machines = f"{count} x {instance}" if count > 1 else instance
    if usd is None:
        said = f"{hourly:.2f} USD an hour, {hourly * 24:.2f} a day, until it is deleted"
    else:
        times = f"{jobs} times " if jobs > 1 else ""
        said = f"at most {usd:.2f} USD: {times}{duration_text(seconds or 0)} at {hourly:.3f} an hour"
    return Estimate(usd, hourly, f"{machines}: {said} ({_origin(region, price)})")


def _origin(region: str, price: float | None) -> str:
    if price is not None:
        return "by --price"
    elsewhere = "" if region == _REGION else f"; {region} may differ"
    return f"prices of {PRICES_OF}{elsewhere}; --price overrides; storage and transfer come on top"


def cheaper_at_home(here_s: float | None, cost: Estimate, data_bytes: int, home_usd: float = 0.0) -> str | None:
    """Return a warning where a training is small enough to be cheaper on this machine, with both figures.

    Args:
        here_s: Seconds that it takes here, as the forecast of the run says; None if nobody knows.
        cost: The estimate of the job.
        data_bytes: How large its images are.
        home_usd: What an hour of this machine costs.

    Returns:
        The warning; None of what is large, or dearer here.

    Example:
        >>> cheaper_at_home(9 * 3600.0, estimate("ml.g5.xlarge", 1, 3600, "eu-west-1"), 10**9) is None
        True
    """
    there = f"there it is at most {cost.usd:.2f} USD" if cost.usd is not None else "there it costs until it is deleted"
    if here_s is None:
        small = data_bytes < _SMALL_BYTES
        how = "medloom run says how long it takes here before it trains; small sets are mostly cheaper at home"
        return f"the images are only {size_text(data_bytes)}: {there}, here it costs power. {how}" if small else None
    if here_s > _SHORT_S:
        return None
    here, same = here_s / 3600 * home_usd, here_s / 3600 * cost.hourly_usd
    if here >= same:
        return None
    return (
        f"it takes about {duration_text(here_s)} here, for {here:.2f} USD; there the same time costs {same:.2f} USD, "
        f"{there}, and some minutes pass until it begins: it is cheaper at home"
    )
