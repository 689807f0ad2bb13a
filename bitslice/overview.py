"""What of a network is quantized, with which words, and what is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from torch import nn

from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import left_in_float, quantized_tensors
from bitslice.slices import density

if TYPE_CHECKING:
    from bitslice.crossbar import MappedLayer


@dataclass(frozen=True)
class LayerSummary:
    """One quantized layer.

    Attributes:
        name: in its model.
        kind: its class.
        weights: how many.
        share: of all parameters of the model, bias included, 0 to 1.
        bits, input_bits: magnitude bits of weights, and of inputs.
        step, input_step: value of a code of 1; 0 while it has not been set.
        density: percent of non-zero cells per 2-bit slice, most significant first; None where words have odd bits.
        arrays: crossbar arrays; None unless the layer was mapped.
        utilization: share (0 to 1) of their cells on a used row and column; None likewise.
    """

    name: str
    kind: str
    weights: int
    share: float
    bits: int
    input_bits: int
    step: float
    input_step: float
    density: tuple[float, ...] | None
    arrays: int | None
    utilization: float | None


@dataclass(frozen=True)
class Summary:
    """Every quantized layer, and what stays in float as name, type, share (0 to 1) of parameters. Prints as a table."""

    layers: tuple[LayerSummary, ...]
    left: tuple[tuple[str, str, float], ...]

    def __str__(self) -> str:
        widest = max((len(layer.name) for layer in self.layers), default=5)
        lines = [
            f"{'layer':{widest}}  type             weights  share  bits  input  density (%), B0 last  arrays  used"
        ]
        for layer in self.layers:
            shares = "-" if layer.density is None else " ".join(f"{share:.1f}" for share in layer.density)
            arrays = "" if layer.utilization is None else f"{layer.arrays:6}  {100 * layer.utilization:3.0f}%"
            lines.append(
                f"{layer.name:{widest}}  {layer.kind:15} {layer.weights:9}  {100 * layer.share:4.1f}%  {layer.bits:4}  "
                f"{layer.input_bits:5}  {shares:20}  {arrays}".rstrip()
            )
        lines += [f"in float: {name} ({kind}), {100 * share:.1f}%" for name, kind, share in self.left]
        return "\n".join(lines)


def summary(model: nn.Module, mapped: Sequence["MappedLayer"] = ()) -> Summary:
    """Tell what of ``model`` is quantized, and what is not.

    Args:
        model: any network.
        mapped: what :func:`bitslice.crossbar.map_network` made of it, for arrays and utilization.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    arrays = {layer.name: layer for layer in mapped}
    layers = []
    weights = [tensor for tensor in quantized_tensors(model) if tensor.name.rpartition(".")[2] == "weight"]
    for tensor in weights:
        name, layer = tensor.name.rpartition(".")[0], tensor.layer
        quantizer, on_arrays = cast(FixedPoint, layer.input_quantizer), arrays.get(name)
        whole = tensor.quantizer.bits % 2 == 0
        layers.append(
            LayerSummary(
                name=name,
                kind=type(layer).__name__.removeprefix("Parametrized"),
                weights=tensor.original.numel(),
                share=sum(parameter.numel() for parameter in layer.parameters()) / total,
                bits=tensor.quantizer.bits,
                input_bits=quantizer.bits,
                step=float(tensor.quantizer.step),
                input_step=float(quantizer.step),
                density=tuple(density([tensor.codes()], tensor.quantizer.bits)) if whole else None,
                arrays=on_arrays.arrays if on_arrays else None,
                utilization=on_arrays.utilization if on_arrays else None,
            )
        )
    return Summary(tuple(layers), tuple(left_in_float(model, {id(tensor.layer) for tensor in weights})))
