"""Released files against what is computed anew: a record against its network, a report against its simulation."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bitslice.costs import ADC_MODELS, anchored
from bitslice.errors import BitsliceError
from bitslice.lab import evaluation, records, report, tolerance
from bitslice.lab.adaptation import CLAIMED
from bitslice.lab.data import DATA_SETS
from bitslice.lab.described import geometry
from bitslice.lab.disk import read_json
from bitslice.lab.subjects import network_and_images, training_images
from bitslice.lab.words import Method

T = TypeVar("T")

IMAGES_APART = 5
"""How many images may be classified otherwise: floats summed in another order, as on another processor, tip a rounding.
"""


@dataclass(frozen=True)
class Check:
    """Numbers of one kind, as released and as computed anew.

    Attributes:
        quantity: what they are, in words.
        expected: as released.
        found: computed anew, in the same order; None: it could not be.
        tolerance: by how much each may differ.
    """

    quantity: str
    expected: tuple[float, ...]
    found: tuple[float, ...] | None
    tolerance: float = 0.0

    @property
    def apart(self) -> float:
        """Largest difference."""
        if self.found is None or len(self.found) != len(self.expected):
            return float("inf")
        return max((abs(a - b) for a, b in zip(self.expected, self.found, strict=True)), default=0.0)

    @property
    def holds(self) -> bool:
        """Whether no difference is larger than the tolerance."""
        return self.apart <= self.tolerance


@dataclass(frozen=True)
class Verified:
    """What was found of one released file.

    Attributes:
        path: of the file, relative to the project's folder.
        checks: of its numbers.
        problem: why it could not be verified at all; None: it could.
        seconds: that it took.
        memory: most bytes that the process held.
    """

    path: str
    checks: tuple[Check, ...]
    problem: str | None
    seconds: float
    memory: int

    @property
    def holds(self) -> bool:
        """Whether every check does."""
        return self.problem is None and all(check.holds for check in self.checks)

    def differences(self) -> list[str]:
        """What does not hold, a line each."""
        if self.problem is not None:
            return [f"{self.path}: {self.problem}"]
        return [
            f"{self.path}: {check.quantity} differ by {check.apart:.3g}, more than {check.tolerance:g}"
            for check in self.checks
            if not check.holds
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verified":
        """Inverse of :meth:`to_dict`."""
        checks = tuple(
            Check(c["quantity"], tuple(c["expected"]), c["found"] and tuple(c["found"]), c["tolerance"])
            for c in values["checks"]
        )
        return cls(**{**values, "checks": checks})


def read(path: Path) -> list[Verified]:
    """What :func:`verify` found of several files, from the JSON of ``bitslice verify``.

    Raises:
        BitsliceError: if there is no such file, or it is another.
    """
    return read_json(
        path, "result of a verification", lambda read: [Verified.from_dict(each) for each in read["files"]]
    )


def verify(path: Path, full: bool = False) -> Verified:
    """Compute anew what a released file says.

    Args:
        path: a record, or a report of ``bitslice crossbar report`` or ``tolerance``.
        full: every setting of a report, not the claimed ADCs alone (or the last ones), and every strength.
    """
    started, checks, problem = time.monotonic(), list[Check](), None
    try:
        fields = read_json(path, "JSON object", dict)
        kind = of_tolerance if "measured" in fields else of_report if "settings" in fields else of_record
        checks += kind(path, full)
    except BitsliceError as error:
        problem = str(error)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Verified(path.as_posix(), tuple(checks), problem, round(time.monotonic() - started, 2), memory)


def of_record(path: Path, full: bool) -> Iterator[Check]:
    """Checks of a record: its network, rebuilt from its integer weights, on the test images it was tested on.

    Raises:
        BitsliceError: if it is no record, or its weights are missing or others.
    """
    record = records.read(path)
    if record.weights is None:
        return  # not kept
    config, final = record.config, record.final
    images = DATA_SETS[config.data](False).first(config.test_images)
    found = evaluation.measure(record.network(), images, config, record.adcs)
    apart = points(len(images))
    yield compare("accuracies", lambda each: (each["accuracy"],), final, found, apart)
    if config.method is Method.FLOAT:
        return
    yield compare("densities", _densities, final, found, 1e-9)
    yield compare("largest sums for any input", lambda each: _sums(each["adc"].values(), "bound"), final, found)
    yield compare("largest sums observed", lambda each: _sums(each["adc"].values(), "observed"), final, found)
    if "adc_accuracy" in final:
        yield compare("accuracies through ADCs", lambda each: (each["adc_accuracy"],), final, found, apart)


def compare(quantity: str, read: Callable[[T], tuple[float, ...]], released: T, found: T, apart: float = 0.0) -> Check:
    """A check of the numbers that ``read`` gives of what was released and of what was found."""
    return Check(quantity, read(released), read(found), apart)


def points(images: int) -> float:
    """:data:`IMAGES_APART` in percent of all images; a little more, for rounding."""
    return 100 * IMAGES_APART / images + 1e-9


def _sums(slices: Iterable[Mapping[str, Any]], kind: str) -> tuple[float, ...]:
    return tuple(float(each[kind]) for each in slices)


def _densities(final: Mapping[str, Any]) -> tuple[float, ...]:
    layers = (share for layer in final["layers"].values() for share in layer["density"])
    return (*final["density"], *layers)


def _chosen(settings: Sequence[report.Setting], full: bool) -> list[report.Setting]:
    claimed = [setting for setting in settings if setting.adc_bits == CLAIMED]
    return list(settings) if full else [*settings, *claimed][-1:]


def of_report(path: Path, full: bool) -> Iterator[Check]:
    """Checks of a report: the same network, images, crossbar and ADCs, simulated again.

    Raises:
        BitsliceError: if it is no report, or the network it names is not there.
    """
    released = report.read(path)
    before = _chosen(released.settings, full)
    model, images, labels = network_and_images(released.network, released.images)
    calibration, shown = (
        None if count is None else training_images(released.network, count)[0]
        for count in (released.calibration_images, released.levels_images)
    )
    count = released.judging_images
    judging = None if count is None else training_images(released.network, count, last=True)
    found = report.report(
        model,
        images,
        labels,
        [setting.adc_bits for setting in before],
        next(adc for adc in map(anchored, ADC_MODELS.values()) if adc.title == released.cost_model),
        geometry(released.crossbar),
        released.observed_images,
        released.headroom,
        calibration,
        shown,
        judged=judging,
    )
    apart = points(len(images))
    yield compare("accuracies without crossbars", lambda each: (each.digital_accuracy,), released, found, apart)
    yield compare("accuracies", lambda each: tuple(s.accuracy for s in each), before, found.settings, apart)
    if judging:
        yield compare("accuracies on training images", _judged, before, found.settings, points(len(judging[1])))
    yield compare(
        "shares clipped", lambda e: tuple(share for s in e for share in s.clipped), before, found.settings, 1e-4
    )
    yield compare("energies and latencies", lambda each: _costs(each, before), before, found.settings, 1e-6)
    yield compare("arrays", lambda each: tuple(float(layer["arrays"]) for layer in each.layers), released, found)
    yield compare(
        "conversions",
        lambda each: tuple(float(n) for layer in each.layers for n in layer["conversions"]),
        released,
        found,
    )
    yield compare(
        "largest sums for any input",
        lambda each: _sums((slice_ for layer in each.layers for slice_ in layer["slices"]), "bound"),
        released,
        found,
    )


def _judged(settings: Sequence[report.Setting]) -> tuple[float, ...]:
    return tuple(setting.judged or 0.0 for setting in settings)


def _costs(settings: Sequence[report.Setting], reference: Sequence[report.Setting]) -> tuple[float, ...]:
    """Costs relative to those of ``reference``; what a model does not know is left out."""
    pairs = (
        (getattr(ours, name), getattr(theirs, name))
        for ours, theirs in zip(settings, reference, strict=True)
        for name in ("energy", "latency", "interval", "area")
    )
    return tuple((ours or 0.0) / theirs for ours, theirs in pairs if theirs)


def of_tolerance(path: Path, full: bool) -> Iterator[Check]:
    """Checks of a report on cells that are not ideal: the same chips, drawn again; likewise."""
    released = tolerance.read(path)
    wanted = {
        kind: strengths if full else strengths[-1:]
        for kind in dict.fromkeys(m.kind for m in released.measured if m.kind is not None)
        if (strengths := [m.strength for m in released.measured if m.kind == kind and m.strength is not None])
    }
    model, images, labels = network_and_images(released.network, released.images)
    chips = max(len(m.accuracies) for m in released.measured)
    crossbar = geometry(released.crossbar)
    found = tolerance.tolerance(model, images, labels, released.adc_bits, chips, wanted, crossbar)
    again = {(m.kind, m.strength): m.accuracies for m in found.measured}
    before = {(m.kind, m.strength): m.accuracies for m in released.measured if (m.kind, m.strength) in again}
    apart = points(len(images))
    yield compare("accuracies", lambda each: tuple(a for key in again for a in each[key]), before, again, apart)
