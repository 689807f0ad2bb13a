"""A whole network on crossbars: each quantized layer computes as its arrays and ADCs would, the rest stays digital."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from bitslice.crossbar.adc import Adc, AdcBits, adcs_of
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.mapping import check_current
from bitslice.crossbar.nonideal import NonIdealities
from bitslice.crossbar.simulation import Simulation
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint


class CrossbarLayer(nn.Module):
    """A quantized layer whose products come from crossbars; bias and the input's quantizer stay digital.

    Args:
        layer: the quantized ``Linear`` or ``Conv2d``.
        mapped: the same layer on crossbars.
        converters: ADCs of every slice, B0 first.
        cells: how cells depart from the ideal; None: not at all.
    """

    def __init__(
        self, layer: nn.Module, mapped: MappedLayer, converters: tuple[Adc, ...], cells: NonIdealities | None = None
    ) -> None:
        super().__init__()
        self.simulation = Simulation(mapped, converters, cells)
        self.input_quantizer = cast(FixedPoint, layer.input_quantizer)
        self.weight = cast(Tensor, layer.weight).detach()  # of those that ask; arrays hold their own
        self.bias = None if layer.bias is None else cast(Tensor, layer.bias).detach()

    def train(self, mode: bool = True) -> "CrossbarLayer":
        """Stays in evaluation mode: arrays are programmed, and their inputs' scale with them."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the layer itself calls it
        """Output of the layer, of its weight's type, for the input that the quantized layer takes.

        Raises:
            BitsliceError: if an input is not finite, or negative though none was when the layer was mapped.
        """
        if not input.sum().isfinite() and not input.isfinite().all():  # the sum is quick, and may overflow
            raise BitsliceError(f"{self.input_quantizer.source} is not finite (nan or inf)")
        with torch.autocast(input.device.type, enabled=False):
            return self.product(self.input_quantizer(input))

    def product(self, x: Tensor) -> Tensor:
        """As :meth:`forward`, for an input that is quantized."""
        result = self.simulation.product(x).to(self.weight.dtype)
        if self.bias is None:
            return result
        layout = self.simulation.mapped.layout
        return result.add_(self.bias if layout.unfold is None else self.bias.view(-1, *(1,) * layout.dimensions))


def deploy(
    model: nn.Module,
    layers: list[MappedLayer],
    adc_bits: AdcBits | Mapping[str, AdcBits] = None,
    cells: NonIdealities | None = None,
) -> nn.Module:
    """A copy of a quantized network whose layers run on crossbars; call it as the network itself.

    Args:
        model: a quantized network in evaluation mode.
        layers: what :func:`bitslice.crossbar.map_network` made of it.
        adc_bits: ADC resolution of every slice, B0 first; one number for all; None for ideal ADCs; or these by patterns
            of layers' names, as ``{"fc": 8, "*": (3, 3, 3, 1)}``, of which the first that fits counts.
        cells: how cells depart from the ideal; None: not at all.

    Raises:
        BitsliceError: if the ADCs are not as many as the slices, a resolution is not between 1 and 16, or the network
            has other weights or scales than when it was mapped.
    """
    check_current(model, layers)
    deployed = copy.deepcopy(model)
    names: dict[int, list[str]] = {}
    for name, module in deployed.named_modules(remove_duplicate=False):  # a layer may be used under several
        names.setdefault(id(module), []).append(name)
    for mapped in layers:
        replaced = deployed.get_submodule(mapped.name)
        layer = CrossbarLayer(replaced, mapped, adcs_of(mapped.name, adc_bits, mapped.slices), cells)
        if not mapped.name:
            return layer
        for name in names[id(replaced)]:
            deployed.set_submodule(name, layer)
    return deployed.eval()


def recalibrate(deployed: nn.Module, images: Tensor, batch: int = 128) -> None:
    """Estimate the statistics of batch normalization again, on what the crossbars give.

    Sums that ADCs clip have other means and deviations than those the network was trained with. Normalization is
    digital, so the arrays stay as they are; labels and gradients are not needed.

    Args:
        deployed: what :func:`deploy` gives; changed in place.
        images: training inputs, float ``(images, ...)``.
        batch: images at a time; the statistics are means over batches (``torch.optim.swa_utils.update_bn``).

    Raises:
        BitsliceError: if there are no images, or the network has no batch normalization.
    """
    if not len(images):
        raise BitsliceError("calibration needs images")
    if not any(isinstance(module, _BatchNorm) for module in deployed.modules()):
        raise BitsliceError("the network has no batch normalization that could be calibrated")
    update_bn(images.split(batch), deployed)


def images_at_a_time(layers: list[MappedLayer], budget: int = 2**30) -> int:
    """Images per batch for which a deployed network's largest layer stays within ``budget`` bytes; at least 1.

    An input lives as float, rescaled, as int32 code and as what enters; an output as int32, rescaled, converted, added.
    """
    largest = max(16 * (layer.inputs + layer.vectors * layer.groups * layer.outputs) for layer in layers)
    return max(1, budget // largest)
