"""From a quantized network to crossbar matrices: what each layer stores, drives and converts.

A ``Linear`` or ``Conv2d`` layer becomes one matrix of weight codes a group: wordlines (inputs of the unfolded
convolution) x bitlines (outputs). Per slice and sign the matrix is cut into arrays of R x C cells. No array is shared
between matrices, and biases are added in the digital domain.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.crossbar.unfold import Pair, Unfold
from bitslice.errors import BitsliceError
from bitslice.quantizer import FixedPoint, QuantizedTensor, quantized_tensors


def layer_name(tensor: QuantizedTensor) -> str:
    """Name of the layer that a quantized parameter belongs to."""
    return tensor.name.rpartition(".")[0]


def unfold_of(layer: nn.Module, name: str) -> Unfold | None:
    """How a convolution's input unfolds; None for a linear layer.

    Raises:
        BitsliceError: for padding that is not a number of zeros.
    """
    if not isinstance(layer, nn.Conv2d):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise BitsliceError(
            f"layer {name!r} pads with {layer.padding!r} ({layer.padding_mode}); give the number of zero pixels"
        )
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return Unfold(*(cast(Pair, tuple(pair)) for pair in shape))


@contextmanager
def observed_inputs(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collects the quantized inputs (float) of every quantized layer, call by call, while ``model`` runs."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(getattr(module, "input_quantizer", None), FixedPoint):

            def keep(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                seen.setdefault(name, []).append(inputs[0])

            handles.append(module.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def map_network(model: nn.Module, images: Tensor, crossbar: Crossbar | None = None) -> list[MappedLayer]:
    """Map every quantized layer of ``model`` to crossbars, in the order of its modules.

    Args:
        model: a quantized network in evaluation mode.
        images: some of its inputs, float ``(images, ...)``: they show how often a layer is used and whether its inputs
            can be negative.
        crossbar: geometry; None: the defaults.

    Raises:
        BitsliceError: naming the layer and the value, if the model is not quantized, a weight is not finite, cells do
            not divide a weight, an input is wider than the schedule, or a layer pads with anything but zeros.
    """
    crossbar = crossbar or Crossbar()
    weights = stored_weights(model, crossbar)
    with observed_inputs(model) as inputs:
        model(images)
    return [map_layer(tensor, inputs.get(layer_name(tensor), []), len(images), crossbar) for tensor in weights]


def map_layer(tensor: QuantizedTensor, inputs: Sequence[Tensor], images: int, crossbar: Crossbar) -> MappedLayer:
    """Map the layer that holds one quantized weight.

    Args:
        tensor: the weight.
        inputs: what the layer was seen to take, quantized, call by call.
        images: of how many images.
        crossbar: geometry.

    Raises:
        BitsliceError: for padding that is not a number of zeros.
    """
    name = layer_name(tensor)
    layer, unfold = tensor.layer, unfold_of(tensor.layer, name)
    input_quantizer = cast(FixedPoint, layer.input_quantizer)
    groups = cast(int, getattr(layer, "groups", 1))
    codes = tensor.codes().flatten(1)  # (outputs of all groups, wordlines)
    return MappedLayer(
        name=name,
        crossbar=crossbar,
        codes=codes.unflatten(0, (groups, -1)).transpose(1, 2).contiguous(),
        bits=tensor.quantizer.bits,
        input_bits=input_quantizer.bits,
        signed=any(bool((x < 0).any()) for x in inputs),
        step=tensor.quantizer.step,
        input_step=input_quantizer.step,
        inputs=sum(x.numel() for x in inputs) // images,
        vectors=sum(vectors_of(unfold, x) for x in inputs) // images,
        unfold=unfold,
    )


def stored_weights(model: nn.Module, crossbar: Crossbar) -> list[QuantizedTensor]:
    """The weight of every quantized layer, in the order of the modules; raises as :func:`map_network`."""
    weights = [t for t in quantized_tensors(model) if t.name.rpartition(".")[2] == "weight"]
    if not weights:
        raise BitsliceError("a crossbar needs a quantized network: call bitslice.quantize(model) first")
    for tensor in weights:
        check_fits(tensor, crossbar)
    return weights


def check_fits(tensor: QuantizedTensor, crossbar: Crossbar) -> None:
    """Raise :class:`BitsliceError`, naming layer and value, unless ``crossbar`` can hold and drive a layer's weight."""
    name, bits = layer_name(tensor), tensor.quantizer.bits
    input_bits = cast(FixedPoint, tensor.layer.input_quantizer).bits
    if not tensor.original.isfinite().all():
        value = tensor.original[~tensor.original.isfinite()][0].item()
        raise BitsliceError(f"layer {name!r} has a weight that is not finite: {value}")
    if bits % crossbar.cell_bits:
        raise BitsliceError(f"layer {name!r}: cells of {crossbar.cell_bits} bits do not divide weights of {bits} bits")
    if input_bits > crossbar.input_bits:
        raise BitsliceError(
            f"layer {name!r}: inputs of {input_bits} bits are wider than the schedule of {crossbar.input_bits} bits"
        )


def vectors_of(unfold: Unfold | None, x: Tensor) -> int:
    """Input vectors of one call of a layer with ``x``."""
    if unfold is None:
        return x[..., 0].numel()
    height, width = unfold.output_size(x.shape[-2], x.shape[-1])
    return x.shape[0] * height * width
