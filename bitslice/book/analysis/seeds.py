"""A quantity over the seeds of equal runs, and whether it meets a claim."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bitslice.errors import BitsliceError
from bitslice.lab.records import Record


@dataclass(frozen=True)
class Spread:
    """A quantity measured once a seed.

    Attributes:
        values: one a seed.
    """

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 for a single seed."""
        return statistics.stdev(self.values) if self.n > 1 else 0.0

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Mean and standard deviation; of a single seed, the value alone.

        >>> Spread((1.0, 2.0, 3.0)).text(1, "%").replace("\N{NO-BREAK SPACE}", " "), Spread((1.0,)).text(1, "%")
        ('2.0 ± 1.0%', '1.0%')
        """
        around = f" ±\N{NO-BREAK SPACE}{self.deviation:.{digits}f}" if self.n > 1 else ""
        return f"{self.mean:.{digits}f}{around}{unit}"


def spread(records: Iterable[Record], quantity: Callable[[Record], float]) -> Spread:
    """A quantity over the seeds of equal runs.

    Raises:
        BitsliceError: if there is no record.
    """
    values = tuple(quantity(record) for record in records)
    if not values:
        raise BitsliceError("no records to average")
    return Spread(values)


def verdict(value: Spread, claimed: float) -> str:
    """Whether a claimed least value is met, by mean and spread.

    >>> verdict(Spread((2.4, 2.6)), 2), verdict(Spread((1.9, 2.2)), 2), verdict(Spread((1.0, 1.1)), 2)
    ('holds', 'within the spread', 'does not hold')
    """
    if value.mean - value.deviation >= claimed:
        return "holds"
    return "within the spread" if value.mean + value.deviation >= claimed else "does not hold"
