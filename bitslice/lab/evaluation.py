"""What a network does on images: accuracy, without crossbars and on them, densities, and bitline sums."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NotRequired

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import TypedDict

from bitslice.crossbar import AdcChoice, Crossbar, bitline_sums, deploy, map_network, pooled
from bitslice.crossbar.adc import to_json
from bitslice.lab.config import Config, Stage
from bitslice.lab.data import Images
from bitslice.lab.words import InputScaling, Method
from bitslice.quantizer import quantized_tensors
from bitslice.slices import density


class Measured(TypedDict):
    """A network's test ``accuracy`` (percent) and, unless it is a float one, what its weights are like: ``density``
    (percent non-zero, B3 B2 B1 B0), ``mean_density``, ``layers`` (density by tensor), ``adc`` (bitline sums by slice)
    and, where it was trained through ADCs, its accuracy through them, and ``adcs`` by layer if found."""

    accuracy: float
    density: NotRequired[Annotated[list[float], Field(min_length=1)]]
    mean_density: NotRequired[float]
    layers: NotRequired[dict[str, dict[str, Any]]]
    adc: NotRequired[dict[str, dict[str, int]]]
    adc_accuracy: NotRequired[float]
    adcs: NotRequired[dict[str, list[Any]]]


def network_input(pixels: Tensor, images: Images, scaling: InputScaling) -> Tensor:
    """Pixels (uint8) as the network's float input, same shape."""
    x = pixels.float().div_(255)
    if scaling is InputScaling.NORMALIZED:
        shape = (1, -1, *[1] * (x.ndim - 2))
        x.sub_(x.new_tensor(images.mean).view(shape)).div_(x.new_tensor(images.std).view(shape))
    return x


@torch.no_grad()
def percent_correct(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], progress: Callable[[int], None] = lambda images: None
) -> float:
    """Percent of inputs that ``model``, put into evaluation mode, classifies as their labels say.

    Args:
        model: gives ``(inputs, classes)``.
        batches: network inputs, float, with their labels, int64 ``(inputs,)``.
        progress: told after each batch how many inputs it had.
    """
    model.eval()
    correct = total = 0
    for x, labels in batches:
        correct += int((model(x).argmax(dim=1) == labels).sum())
        total += len(labels)
        progress(len(labels))
    return 100.0 * correct / total


def accuracy(model: nn.Module, images: Images, scaling: InputScaling, batch: int = 1000) -> float:
    """Percent of ``images`` that ``model``, put into evaluation mode, classifies correctly."""
    parts = zip(images.pixels.split(batch), images.labels.split(batch), strict=True)
    return percent_correct(model, ((network_input(pixels, images, scaling), labels) for pixels, labels in parts))


def adc_accuracy(model: nn.Module, images: Images, config: Config, stage: Stage, adcs: AdcChoice | None) -> float:
    """Percent of ``images`` that ``model`` classifies correctly on crossbars, through the ADCs it trained with."""
    seen = network_input(images.pixels[: config.adc_images], images, config.input_scaling)
    mapped = map_network(model, seen, Crossbar(rows=config.rows, row_order=stage.row_order))
    return accuracy(deploy(model, mapped, adcs), images, config.input_scaling)


def measure(model: nn.Module, images: Images, config: Config, adcs: AdcChoice | None = None) -> Measured:
    """Test accuracy, densities and ADC statistics of a network: a record's ``final``. Of a float one, the accuracy.

    Args:
        model: the network.
        images: test images.
        config: how it was trained.
        adcs: those that it was adapted to.
    """
    result: Measured = {"accuracy": accuracy(model, images, config.input_scaling)}
    if config.method is Method.FLOAT:
        return result
    tensors = list(quantized_tensors(model))
    shares = density((t.codes() for t in tensors), config.bits)
    result["density"] = shares
    result["mean_density"] = sum(shares) / len(shares)
    result["layers"] = {
        t.name: {"size": t.original.numel(), "density": density([t.codes()], config.bits)} for t in tensors
    }
    seen = network_input(images.pixels[: config.adc_images], images, config.input_scaling)
    sums = pooled(bitline_sums(model, map_network(model, seen, Crossbar(rows=config.rows)), seen))
    result["adc"] = {f"B{k}": {"bound": s.bound, "observed": s.observed} for k, s in enumerate(sums)}
    if config.adapt is not None:
        result["adc_accuracy"] = adc_accuracy(model, images, config, config.adapt, adcs)
        if config.adapt.adc_levels is not None:
            result["adcs"] = to_json(adcs)
    return result
