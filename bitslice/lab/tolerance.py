"""Accuracy against how far cells and bitlines depart from the ideal, one kind of departure at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from bitslice.crossbar import AdcChoice, Crossbar, NonIdealities, deploy, map_network
from bitslice.crossbar.adc import from_json, to_json
from bitslice.lab.checks import checked
from bitslice.lab.described import describe_geometry, geometry
from bitslice.lab.disk import read_json
from bitslice.lab.evaluation import percent_correct
from bitslice.lab.provenance import Provenance, provenance

STRENGTHS: Mapping[str, tuple[float, ...]] = {
    "variation": (0.05, 0.1, 0.2, 0.4),
    "read_noise": (0.25, 0.5, 1.0, 2.0),
    "stuck_off": (0.005, 0.01, 0.05, 0.1),
    "stuck_on": (0.0005, 0.001, 0.005, 0.01),
    "on_off_ratio": (1000.0, 300.0, 100.0, 30.0),
}
"""Fields of :class:`bitslice.crossbar.NonIdealities` and the strengths that are tried, from weak to strong."""


@dataclass(frozen=True)
class Tolerance:
    """Accuracy of one network under one departure.

    Attributes:
        kind: field of :class:`bitslice.crossbar.NonIdealities`; None: the ideal crossbar.
        strength: its value; None likewise.
        accuracies: percent of the images, one a seed.
    """

    kind: str | None
    strength: float | None
    accuracies: Annotated[tuple[float, ...], Field(min_length=1)]


@dataclass(frozen=True)
class ToleranceReport:
    """What one network tolerates.

    Attributes:
        network: what was mapped, in words.
        crossbar: its geometry, as plain values.
        adc_bits: ADC per slice, B0 first.
        images: how many were classified.
        measured: one a kind and strength, the ideal crossbar first.
        provenance: commit, versions, device, threads, wall time in seconds.
    """

    network: str
    crossbar: dict[str, Any]
    adc_bits: Annotated[AdcChoice, PlainValidator(from_json)]
    images: int
    measured: Annotated[tuple[Tolerance, ...], Field(min_length=1)]
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "adc_bits": to_json(self.adc_bits)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ToleranceReport":
        """Inverse of :meth:`to_dict`; reports older than the geometry are of a default crossbar.

        Raises:
            ValueError: if something is missing, unknown or of another kind, or what was measured does not begin with
                the ideal crossbar, and that alone.
        """
        made = checked(cls, {**values, "crossbar": describe_geometry(geometry(values.get("crossbar", {})))})
        for at, each in enumerate(made.measured):
            if {each.kind is None, each.strength is None} != {at == 0}:
                raise ValueError(
                    f"measured.{at}: kind and strength are left out of the first, the ideal crossbar, alone"
                )
        return made

    def lines(self) -> list[str]:
        """The report as text, a line a kind and strength."""
        return [
            "ideal cells: " + _percent(m) if m.kind is None else f"{m.kind} {m.strength:g}: {_percent(m)}"
            for m in self.measured
        ]


def read(path: Path) -> ToleranceReport:
    """A report from the JSON that ``bitslice crossbar tolerance --json`` prints.

    Raises:
        BitsliceError: if there is none, or the file is not one.
    """
    return read_json(path, "tolerance report", ToleranceReport.from_dict)


def _percent(measured: Tolerance) -> str:
    return ", ".join(f"{accuracy:.2f}%" for accuracy in measured.accuracies)


def tolerance(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    adc_bits: AdcChoice = (8, 8, 8, 8),
    seeds: int = 3,
    strengths: Mapping[str, Sequence[float]] = STRENGTHS,
    crossbar: Crossbar | None = None,
    batch: int = 500,
    network: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> ToleranceReport:
    """Run a quantized network with every departure at every strength, each with several seeds.

    Args:
        model: a quantized network in evaluation mode.
        images: its inputs, float ``(images, ...)``.
        labels: int64 ``(images,)``.
        adc_bits: ADC per slice, B0 first.
        seeds: how many chips are drawn.
        strengths: values to try by field of :class:`bitslice.crossbar.NonIdealities`.
        crossbar: geometry; None: the defaults.
        batch: images at a time; read noise depends on it.
        network: what is mapped, in words.
        say: called with a line of progress now and then.
    """
    started = time.monotonic()
    crossbar = crossbar or Crossbar()
    mapped = map_network(model, images[:batch], crossbar)
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))

    def accuracy(cells: NonIdealities | None) -> float:
        return percent_correct(deploy(model, mapped, adc_bits, cells), batches)

    found = [Tolerance(None, None, (accuracy(None),))]
    for kind, values in strengths.items():
        for value in values:
            departure: dict[str, Any] = {kind: value}
            chips = tuple(accuracy(NonIdealities(seed=seed, **departure)) for seed in range(seeds))
            found.append(Tolerance(kind, value, chips))
            say(f"{kind} {value:g}: {_percent(found[-1])}")
    source = provenance(images.device, torch.get_num_threads(), time.monotonic() - started)
    return ToleranceReport(network, describe_geometry(crossbar), adc_bits, len(images), tuple(found), source)
