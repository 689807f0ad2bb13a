"""Everything a crossbar makes of a network: mapping, bitline sums, and accuracy and cost of every ADC setting."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, PlainValidator
from torch import Tensor, nn

from bitslice.costs import AbsoluteAdc, LayerLoad, network_cost
from bitslice.crossbar import (
    Adc,
    AdcChoice,
    AdcSetting,
    Crossbar,
    LayerAdcs,
    LayerSums,
    MappedLayer,
    allocate_adcs,
    bitline_sums,
    calibrate_adcs,
    deploy,
    images_at_a_time,
    map_network,
    pooled,
    recalibrate,
    setting_name,
)
from bitslice.crossbar.adc import adcs_of, from_json, to_json
from bitslice.errors import BitsliceError
from bitslice.lab.checks import checked
from bitslice.lab.described import DescribedLayer, describe, describe_geometry, geometry
from bitslice.lab.disk import read_json
from bitslice.lab.evaluation import percent_correct
from bitslice.lab.provenance import Provenance, provenance
from bitslice.quantizer import leave_headroom

STANDARD: tuple[AdcSetting, ...] = (
    (None, None, None, None),
    (8, 8, 8, 8),
    (7, 7, 7, 7),
    (6, 6, 6, 6),
    (5, 5, 5, 5),
    (4, 4, 4, 4),
    (4, 4, 4, 2),
    (3, 3, 3, 3),
    (3, 3, 3, 2),
    (3, 3, 3, 1),
    (2, 2, 2, 2),
)
"""ADC resolutions, B0 first, that every released network is run with; the paper claims 3, 3, 3, 1."""


@dataclass(frozen=True)
class Setting:
    """What the network does with one choice of ADCs. Slices in order B0 first.

    Attributes:
        adc_bits: ADC per slice, or those by layer.
        accuracy: percent of the images.
        clipped: share (0 to 1) of conversions beyond the ADC's full scale, per slice.
        energy: J an image, of the ADCs; None where the cost model does not hold at one of the resolutions.
        latency: s an image, layers one after another; None likewise.
        interval: s between images, layers as a pipeline; None likewise.
        area: mm2 of all ADCs; None likewise, or where the model has no area.
        levels: ADCs by layer whose levels were found for these resolutions; None: they are as ``adc_bits`` says.
        mean: bits of a conversion on average, for which ``adc_bits`` were allocated; None: they were given.
        judged: percent of the training images that the report judges by; None: it does not.
    """

    adc_bits: Annotated[AdcChoice, PlainValidator(from_json)]
    accuracy: float
    clipped: tuple[float, ...]
    energy: float | None
    latency: float | None
    interval: float | None
    area: float | None
    levels: Annotated[AdcChoice | None, PlainValidator(lambda found: found and from_json(found))] = None
    mean: float | None = None
    judged: float | None = None

    @property
    def asked(self) -> AdcChoice | float:
        """The ADCs as they were asked for: given, or by their mean resolution."""
        return self.adc_bits if self.mean is None else float(self.mean)


@dataclass(frozen=True)
class Report:
    """A network on crossbars.

    Attributes:
        network: what was mapped, in words.
        crossbar: its geometry, as plain values.
        cost_model: title of the ADC cost model.
        images: how many were classified.
        observed_images: how many of them the bitline sums were observed on.
        headroom: highest bits of every weight's word that were left 0 (:func:`bitslice.leave_headroom`).
        calibration_images: on how many training images batch normalization was estimated again, for every setting;
            None: it was not.
        levels_images: on how many training images the levels of ADCs were found, for every setting
            (:func:`bitslice.crossbar.calibrate_adcs`); None: they were not.
        judging_images: on how many training images settings are judged, so that none need be chosen on test images;
            None: on none.
        digital_accuracy: percent, of the quantized network without crossbars.
        digital_judged: the same on the training images that settings are judged on; None likewise.
        layers: of each layer its mapping, and per slice (B0 first) its bitline sums.
        settings: one a choice of ADCs.
        provenance: commit, versions, device, threads, wall time in seconds.
    """

    network: str
    crossbar: dict[str, Any]
    cost_model: str
    images: int
    observed_images: int
    headroom: int
    calibration_images: int | None
    levels_images: int | None
    judging_images: int | None
    digital_accuracy: float
    digital_judged: float | None
    layers: Annotated[list[DescribedLayer], Field(min_length=1)]
    settings: Annotated[list[Setting], Field(min_length=1)]
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        settings = [
            {**asdict(setting), "adc_bits": to_json(setting.adc_bits), "levels": to_json(setting.levels)}
            for setting in self.settings
        ]
        return {**asdict(self), "settings": settings}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Inverse of :meth:`to_dict`; what is absent, as in reports older than it, was not done."""
        none = ("calibration_images", "levels_images", "judging_images", "digital_judged")
        absent = {"headroom": 0, **dict.fromkeys(none)}
        return checked(cls, {**absent, **values, "crossbar": describe_geometry(geometry(values["crossbar"]))})

    def lines(self) -> list[str]:
        """The report as text: a line a layer, then one a setting."""
        names = [f"B{k}" for k in range(len(self.layers[0]["slices"]))]
        widest = max(len(layer["name"]) for layer in self.layers)
        out = [
            f"{self.network}: {self.images} images, {self.digital_accuracy:.2f}% without crossbars; "
            f"bitline sums of {self.observed_images} images"
            + (f"; headroom of {self.headroom} bits" if self.headroom else "")
            + (f"; levels found on {self.levels_images} images" if self.levels_images else "")
            + (f"; calibrated on {self.calibration_images} images" if self.calibration_images else ""),
            f"{'layer':{widest}}  arrays  used  conversions  largest sum (bound) " + " ".join(names),
        ]
        for layer in self.layers:
            sums = "  ".join(f"{s['observed']} ({s['bound']})" for s in layer["slices"])
            out.append(
                f"{layer['name']:{widest}}  {layer['arrays']:6}  {100 * layer['utilization']:3.0f}%  "
                f"{sum(layer['conversions']):11}  {sums}"
            )
        out.append(f"ADC bits {','.join(names)}  accuracy  clipped conversions  ADC energy, latency, area an image")
        for setting in self.settings:
            clipped = " ".join(f"{100 * share:.2g}%" for share in setting.clipped)
            cost = "beyond the range of the cost model"
            if setting.energy is not None and setting.latency is not None:
                area = "" if setting.area is None else f", {setting.area:.3g} mm2"
                cost = f"{1e6 * setting.energy:.3g} uJ, {1e6 * setting.latency:.3g} us{area}"
            name = setting_name(setting.adc_bits) if setting.mean is None else f"mean of {setting.mean:g}"
            out.append(f"{name:20} {setting.accuracy:7.2f}%  {clipped}  {cost}")
        return [*out, f"Cost model: {self.cost_model}"]


def read(path: Path) -> Report:
    """A report from the JSON that ``bitslice crossbar report --json`` prints.

    Raises:
        BitsliceError: if there is none, or the file is not one.
    """
    return read_json(path, "report", Report.from_dict)


def load(mapped: MappedLayer) -> LayerLoad:
    """What a mapped layer asks of its ADCs."""
    per_slice = mapped.arrays // mapped.slices
    return LayerLoad(
        name=mapped.name,
        vectors=mapped.vectors,
        cycles=mapped.cycles,
        columns=min(mapped.outputs, mapped.crossbar.columns),
        arrays=(per_slice,) * mapped.slices,
        conversions=tuple(mapped.conversions().tolist()),
    )


def clipped_shares(sums: Sequence[LayerSums], converters: Mapping[str, Sequence[Adc]]) -> tuple[float, ...]:
    """Share (0 to 1) of all conversions beyond their ADC's full scale, per slice, B0 first.

    Args:
        sums: of every layer.
        converters: ADCs of every slice by layer, B0 first.
    """
    shares = []
    for k in range(sums[0].bounds.shape[2]):
        beyond = total = 0
        for layer in sums:
            counts, full_scale = layer.of_slice(k).counts, converters[layer.name][k].full_scale
            total += int(counts.sum())
            beyond += 0 if full_scale is None else int(counts[full_scale + 1 :].sum())
        shares.append(beyond / max(1, total))
    return tuple(shares)


def report(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Sequence[AdcChoice],
    adc: AbsoluteAdc,
    crossbar: Crossbar | None = None,
    observed_images: int = 200,
    headroom: int = 0,
    calibration: Tensor | None = None,
    shown: Tensor | None = None,
    means: Sequence[float] = (),
    judged: tuple[Tensor, Tensor] | None = None,
    budget: int = 2**30,
    network: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Map a quantized network, observe its bitline sums, and run it under every ADC setting.

    Args:
        model: a quantized network in evaluation mode.
        images: its inputs, float ``(images, ...)``.
        labels: int64 ``(images,)``.
        settings: ADCs of every slice, B0 first, or those by layer; as many settings as wanted.
        adc: cost model. An ideal ADC costs what a lossless one does.
        crossbar: geometry; None: the defaults.
        observed_images: bitline sums are observed on the first so many images, which also show which inputs can be
            negative.
        headroom: highest bits of every weight's word that are left 0, for every setting and without crossbars too.
        calibration: training inputs ``(images, ...)`` on which batch normalization is estimated again, for every
            setting (:func:`bitslice.crossbar.recalibrate`); None: it stays as it was trained.
        shown: training inputs ``(images, ...)`` on which the levels of every layer's ADCs are found, for every setting
            (:func:`bitslice.crossbar.calibrate_adcs`); None: they are as the settings say.
        means: bits of a conversion on average; for each, behind ``settings``, ADCs are allocated to layers and slices
            on ``shown`` (:func:`bitslice.crossbar.allocate_adcs`).
        judged: training inputs with their labels that every setting is run on too; None: none.
        budget: bytes that a batch's tensors may take.
        network: what is mapped, in words.
        say: called with a line of progress now and then.

    Raises:
        BitsliceError: if there are no images, the network cannot be mapped, a setting does not fit its slices, or
            ADCs are to be allocated without images that show their levels.
    """
    if not len(images) or not 1 <= observed_images <= len(images):
        raise BitsliceError(f"a report needs images, and observes 1 to {len(images)} of them, not {observed_images}")
    started = time.monotonic()
    crossbar = crossbar or Crossbar()
    seen = images[:observed_images]
    if headroom:
        model = copy.deepcopy(model)
        leave_headroom(model, headroom)
    mapped = map_network(model, seen, crossbar)
    if means:
        if shown is None:
            raise BitsliceError("ADCs are allocated on the images that find their levels: give these too")
        say(f"ADCs of {', '.join(f'{mean:g}' for mean in means)} bits on average")
        settings = [*settings, *allocate_adcs(model, shown, means, crossbar)]
    converters = [  # refused before anything takes long
        {layer.name: adcs_of(layer.name, setting, layer.slices) for layer in mapped} for setting in settings
    ]
    batch = min(images_at_a_time(mapped, budget), 1000)
    say(f"bitline sums on {observed_images} images")
    sums = bitline_sums(model, mapped, seen, batch)
    by_slice = pooled(sums)
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))
    training = None if judged is None else list(zip(*(part.split(batch) for part in judged), strict=True))
    asked = [*(None,) * (len(settings) - len(means)), *means]
    done = []
    for setting, each, mean in zip(settings, converters, asked, strict=True):
        ticker = _ticker(setting_name(setting) if mean is None else f"mean of {mean:g}", len(images), say)
        levels = None if shown is None else calibrate_adcs(model, shown, setting, crossbar)
        if levels is not None:
            each = {name: adcs_of(name, levels, len(of)) for name, of in each.items()}
        deployed = deploy(model, mapped, levels or setting)
        if calibration is not None:
            recalibrate(deployed, calibration, min(batch, 128))
        accuracy = percent_correct(deployed, batches, ticker)
        costed = {
            name: [found.bound_bits if own.bits is None else own.bits for own, found in zip(of, by_slice, strict=True)]
            for name, of in each.items()
        }
        cost = None
        if all(adc.holds(b) for bits in costed.values() for b in bits if b):
            cost = network_cost([load(layer) for layer in mapped], costed, adc)
        done.append(
            Setting(
                adc_bits=setting if isinstance(setting, LayerAdcs) else tuple(setting),
                accuracy=accuracy,
                clipped=clipped_shares(sums, each),
                energy=cost.energy if cost else None,
                latency=cost.latency if cost else None,
                interval=cost.interval if cost else None,
                area=cost.area if cost else None,
                levels=levels,
                mean=mean,
                judged=None if training is None else percent_correct(deployed, training),
            )
        )
    return Report(
        network=network,
        crossbar=describe_geometry(crossbar),
        cost_model=adc.title,
        images=len(images),
        observed_images=observed_images,
        headroom=headroom,
        calibration_images=None if calibration is None else len(calibration),
        levels_images=None if shown is None else len(shown),
        judging_images=None if judged is None else len(judged[1]),
        digital_accuracy=percent_correct(model, batches),
        digital_judged=None if training is None else percent_correct(model, training),
        layers=[describe(*pair) for pair in zip(mapped, sums, strict=True)],
        settings=done,
        provenance=provenance(images.device, torch.get_num_threads(), time.monotonic() - started),
    )


def _ticker(name: str, total: int, say: Callable[[str], None]) -> Callable[[int], None]:
    """Says every ten seconds how far the images are."""
    done, last = 0, time.monotonic()

    def tick(images: int) -> None:
        nonlocal done, last
        done += images
        if done == total or time.monotonic() - last >= 10:
            last = time.monotonic()
            say(f"ADCs {name}: {done} of {total} images")

    return tick
