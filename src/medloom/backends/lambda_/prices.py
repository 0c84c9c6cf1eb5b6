"""What a function costs: by the memory and the time of its calls, and nothing while nobody calls.

Prices change and differ between regions: the table says of when and where it is, and ``--price`` overrides it.
"""

from __future__ import annotations

from medloom.backends.lambda_.template import Function
from medloom.backends.sagemaker.prices import Estimate

__all__ = ["PRICES_OF", "estimate"]

PRICES_OF = "US East (N. Virginia), 2024"
"""Of when and where the prices are.

Source: https://cloudchipr.com/blog/aws-lambda-pricing, a guide of 2024 to https://aws.amazon.com/lambda/pricing/, as
read there for the first tier; not compared with a bill.
"""

_USD_A_GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
_USD_A_CALL = 0.20 / 1_000_000
_REGION = "us-east-1"


def estimate(function: Function, region: str, seconds: float = 1.0, price: float | None = None) -> Estimate:
    """Estimate what a function costs: a thousand images, and the most in an hour that its concurrency allows.

    Args:
        function: The function.
        region: Where.
        seconds: Of an image.
        price: USD of a GB for a second, if the table is not to be asked.

    Returns:
        The estimate, without an amount in all: it goes on for as long as somebody asks.

    Example:
        >>> from medloom.backends.lambda_ import Code
        >>> estimate(Function("brain", Code("image"), memory_mb=2048), "us-east-1").text.partition(" (")[0]
        '1000 images of 1 s each with 2048 MB: 0.034 USD; at most 1.20 an hour, with 10 at a time'
    """
    rate = _USD_A_GB_SECOND[function.code.architecture] if price is None else price
    second = function.memory_mb / 1024 * rate
    thousand = 1000 * (seconds * second + _USD_A_CALL)
    hourly = function.at_a_time * 3600 * second
    bound = f"at most {hourly:.2f} an hour, with {function.at_a_time} at a time"
    if not function.at_a_time:
        bound = "without an upper bound: no concurrency is reserved"
    where = "" if region == _REGION else f"; {region} may differ"
    origin = f"prices of {PRICES_OF}{where}; --price overrides" if price is None else "by --price"
    said = f"1000 images of {seconds:g} s each with {function.memory_mb} MB: {thousand:.3f} USD; {bound}"
    return Estimate(None, hourly, f"{said} ({origin}; queues, storage, logs and transfer come on top)")
