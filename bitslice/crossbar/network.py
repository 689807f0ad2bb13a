"""A whole network on crossbars: each quantized layer computes as its arrays and ADCs would, the rest stays digital."""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from bitslice.crossbar.adc import Adc, AdcBits, adcs
from bitslice.crossbar.exact import EXACT_IN_FLOAT32, Exact
from bitslice.crossbar.geometry import SignedInputs
from bitslice.crossbar.mapping import MappedLayer, Unfold
from bitslice.crossbar.nonideal import NonIdealities
from bitslice.crossbar.simulator import simulated, simulator
from bitslice.errors import BitsliceError
from bitslice.native import elementwise
from bitslice.quantizer import FixedPoint


class CrossbarLayer(nn.Module):
    """A quantized layer whose products come from crossbars.

    One exact product covers bitlines that no ADC can change; the others are simulated. Both are sums of integers that
    floating point holds exactly, so with ideal ADCs the layer gives what the quantized layer gives.

    Args:
        layer: the quantized ``Linear`` or ``Conv2d``.
        mapped: the same layer on crossbars.
        converters: ADCs of every slice, B0 first.
        cells: how cells depart from the ideal; None: not at all. Then every bitline is simulated, in real numbers.
    """

    def __init__(
        self, layer: nn.Module, mapped: MappedLayer, converters: tuple[Adc, ...], cells: NonIdealities | None = None
    ) -> None:
        super().__init__()
        self.mapped = mapped
        self.convolution = layer if isinstance(layer, nn.Conv2d) else None
        self.input_quantizer = cast(FixedPoint, layer.input_quantizer)
        self.bias = None if layer.bias is None else cast(Tensor, layer.bias).detach()
        chosen = simulated(mapped, converters, cells)
        self.sums = torch.int32 if cells is None else torch.float32
        self.simulators = [
            simulator(mapped, group, bitlines, converters, cells) if bitlines.any() else None
            for group, bitlines in enumerate(chosen)
        ]
        exact = mapped.part(~chosen) if chosen.any() else mapped.codes
        self.simulated_sums = (mapped.codes - exact).sum(dim=1)
        self.exact = Exact(layer, mapped, exact) if exact.any() or not any(self.simulators) else None
        # An ADC with a step rounds a sum to at most twice itself.
        widest = mapped.largest_sum() * (2 if any(adc.step > 1 for adc in converters) else 1)
        self.dtype = torch.float32 if widest < EXACT_IN_FLOAT32 else torch.float64

    def train(self, mode: bool = True) -> "CrossbarLayer":
        """Stays in evaluation mode: arrays are programmed, and their inputs' scale with them."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Output of the layer, float32, for the input ``x`` that the quantized layer takes.

        Raises:
            BitsliceError: if an input is negative though none was when the layer was mapped.
        """
        return self.product(self.input_quantizer(x))

    def product(self, x: Tensor) -> Tensor:
        """As :meth:`forward`, for an input that is quantized."""
        result = None if self.exact is None else self.exact(x)
        if any(self.simulators):
            sums, scale = self._simulated(x), self.input_quantizer.step * self.mapped.step
            start = torch.zeros_like(sums, dtype=self.dtype) if result is None else result.to(self.dtype)
            result = add_multiple(start, sums, scale)
        result = cast(Tensor, result).float()
        return result if self.bias is None else result.add_(self.bias.view(-1, 1, 1) if self.convolution else self.bias)

    def _simulated(self, x: Tensor) -> Tensor:
        """What the simulated bitlines give, int32 (or float32), in the layer's output shape."""
        mapped, unfold = self.mapped, self.mapped.unfold or Unfold()
        phases = mapped.drive(x)
        images, _, height, width = phases[0].codes.shape
        shape = (images, mapped.groups, mapped.outputs, *unfold.output_size(height, width))
        result = torch.zeros(shape, dtype=self.sums, device=x.device)
        for phase in phases:
            for group, inputs in enumerate(phase.codes.chunk(mapped.groups, dim=1)):
                simulator = self.simulators[group]
                if simulator is not None:
                    simulator.add(result[:, group], inputs, unfold, phase.bits, phase.sign, phase.padding)
        if mapped.signed and mapped.crossbar.signed_inputs is SignedInputs.OFFSET:
            result -= 2**mapped.input_bits * self.simulated_sums[..., None, None]
        return result[0, 0, :, 0].T.unflatten(0, x.shape[:-1]) if mapped.unfold is None else result.flatten(1, 2)


def add_multiple(result: Tensor, sums: Tensor, scale: Tensor) -> Tensor:
    """``result`` (float) with ``scale`` times ``sums`` (int32 or float32, same shape) added in place."""
    if elementwise.adds(result, sums):
        return elementwise.add_multiple(result, sums, scale)
    return result.add_(sums.to(result.dtype).mul_(scale))


def deploy(
    model: nn.Module, layers: list[MappedLayer], adc_bits: AdcBits = None, cells: NonIdealities | None = None
) -> nn.Module:
    """A copy of a quantized network whose layers run on crossbars; call it as the network itself.

    Args:
        model: a quantized network in evaluation mode.
        layers: what :func:`bitslice.crossbar.map_network` made of it.
        adc_bits: ADC resolution of every slice, B0 first; one number for all; None for ideal ADCs.
        cells: how cells depart from the ideal; None: not at all.

    Raises:
        BitsliceError: if the ADCs are not as many as the slices, or a resolution is not between 1 and 16.
    """
    deployed = copy.deepcopy(model)
    for mapped in layers:
        layer = CrossbarLayer(deployed.get_submodule(mapped.name), mapped, adcs(adc_bits, mapped.slices), cells)
        if not mapped.name:
            return layer
        deployed.set_submodule(mapped.name, layer)
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
