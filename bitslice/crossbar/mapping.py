"""From a quantized network to crossbar matrices: what each layer stores, drives and converts.

A layer becomes one matrix of weight codes a group: wordlines (inputs of the unfolded convolution) x bitlines (outputs).
Per slice and sign the matrix is cut into arrays of R x C cells. No array is shared between matrices, and biases are
added in the digital domain. A layer that is used several times has one set of arrays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitslice.calibration import call, modes_kept
from bitslice.crossbar.exact import Exact
from bitslice.crossbar.geometry import Crossbar
from bitslice.crossbar.layout import as_convolution, layout_of
from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import LAYERS, QuantizedTensor, quantized_tensors
from bitslice.slices import magnitudes

ROUNDING = 16
"""How many times the precision of its type a sum may be off, relative to the sum of its magnitudes; and a quarter more
for each of its terms, whose roundings may all go one way."""


def layer_name(tensor: QuantizedTensor) -> str:
    """Name of the layer that a quantized parameter belongs to."""
    return tensor.name.rpartition(".")[0]


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """While open, each layer's hook gets the layer, its arguments by place and by name, and its output, which the hook
    may replace."""
    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def observed_inputs(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collects the quantized inputs (float) of every quantized layer, call by call, while ``model`` runs."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, module: nn.Module, inputs: Any, others: Any, output: Any) -> None:
        seen.setdefault(name, []).append(input_of(inputs, others))

    quantized = {
        module: partial(keep, name)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "input_quantizer", None), FixedPoint)
    }
    with hooked(quantized):
        yield seen


def input_of(inputs: tuple[Tensor, ...], others: dict[str, Tensor]) -> Tensor:
    """A layer's input, by whatever name it was given."""
    return inputs[0] if inputs else others["input"]


def run_layers(model: nn.Module, images: Any, tensors: Iterable[QuantizedTensor], hook: Callable[..., Any]) -> Any:
    """What ``model`` gives in evaluation mode; ``hook`` gets every layer's tensor, input and output, and may give
    another output."""

    def called(tensor: QuantizedTensor, _: nn.Module, inputs: Any, named: Any, output: Any) -> Any:
        return hook(tensor, input_of(inputs, named).float(), output)

    exact = torch.autocast(next(model.parameters()).device.type, enabled=False)
    with modes_kept(model), exact, hooked({tensor.layer: partial(called, tensor) for tensor in tensors}):
        model.eval()
        return call(model, images)


@torch.no_grad()
def map_network(
    model: nn.Module, images: Any, crossbar: Crossbar | None = None, signed: bool = False
) -> list[MappedLayer]:
    """Map every quantized layer of ``model`` to crossbars, in the order of its modules, and check each.

    What the arrays give with ideal ADCs is compared with what the layer gave, on these images.

    Args:
        model: a quantized network in evaluation mode.
        images: some of its inputs, float ``(images, ...)``; a tuple or dictionary of arguments where it takes several.
            They show how often a layer is used and whether its inputs can be negative. Counts are per entry of the
            first dimension, so give one image or vector as a batch of one.
        crossbar: geometry; None: the defaults.
        signed: whether every layer is driven for negative inputs, whatever the images show: ADCs that clip can make an
            input negative that never was. It doubles the cycles of layers that need it not.

    Raises:
        BitsliceError: naming the layer and the value, if the model is not quantized, a weight is not finite, cells do
            not divide a weight, an input is wider than the schedule, there is no image, or the layer computes something
            else than its weight says, as a subclass with a forward pass of its own.
    """
    crossbar = crossbar or Crossbar()
    arguments = images.values() if isinstance(images, Mapping) else [images] if isinstance(images, Tensor) else images
    count = len(next(iter(arguments)))
    if not count:
        raise BitsliceError("mapping needs at least one image")
    mapped = {tensor.layer: map_layer(tensor, crossbar) for tensor in stored_weights(model, crossbar)}

    def observe(layer: nn.Module, inputs: Any, others: Any, output: Tensor) -> None:
        x = input_of(inputs, others)
        check_product(layer, mapped[layer], x, output)
        mapped[layer] = observed(mapped[layer], [x])

    with hooked(dict.fromkeys(mapped, observe)), torch.autocast(next(model.parameters()).device.type, enabled=False):
        call(model, images)
    return [
        replace(m, inputs=m.inputs // count, vectors=m.vectors // count, signed=m.signed or signed)
        for m in mapped.values()
    ]


def check_product(layer: nn.Module, mapped: MappedLayer, x: Tensor, output: Tensor) -> None:
    """Raise :class:`BitsliceError` unless a layer's output for quantized ``x`` is what its stored codes give."""
    if not x.numel():
        return
    product = Exact(replace(mapped, signed=True), mapped.codes)(x)
    bias = cast(Tensor | None, layer.bias)
    if bias is not None:
        product = product + (bias if mapped.unfold is None else bias.view(-1, *(1,) * mapped.layout.dimensions))
    largest = float(x.abs().max()) * float(mapped.codes.abs().sum(dim=1).max() * mapped.step)
    largest += 0.0 if bias is None else float(bias.abs().max())
    unit = torch.finfo(output.dtype).eps * largest
    measures = [(product, (ROUNDING + mapped.wordlines / 4) * unit)]
    kind = next(kind for kind in LAYERS if isinstance(layer, kind))
    if type(layer).forward is not kind.forward:  # then what the plain layer computes is the sharper measure
        measures.append((kind.forward(cast(Any, layer), x), unit))
    if not all(own.shape == output.shape and bool(((own - output).abs() <= off).all()) for own, off in measures):
        raise BitsliceError(
            f"layer {mapped.name!r} ({type(layer).__name__.removeprefix('Parametrized')}) does not compute the product "
            "that its weight says, so arrays cannot stand for it: leave it out (quantize(..., exclude=...))"
        )


def map_layer(tensor: QuantizedTensor, crossbar: Crossbar) -> MappedLayer:
    """Map the layer that holds one quantized weight; no input has been seen yet."""
    quantizer, of_input = tensor.quantizer, cast(FixedPoint, tensor.layer.input_quantizer)
    mapped = map_codes(
        tensor.codes(),
        quantizer.bits,
        of_input.bits,
        signed=False,
        like=tensor.layer,
        crossbar=crossbar,
        name=layer_name(tensor),
    )
    return replace(mapped, step=quantizer.step, input_step=of_input.step)


def map_codes(
    codes: Tensor,
    bits: int = 8,
    input_bits: int = 8,
    *,
    signed: bool = True,
    step: float = 1.0,
    input_step: float = 1.0,
    like: nn.Module | None = None,
    crossbar: Crossbar | None = None,
    name: str = "",
) -> MappedLayer:
    """Map integer weights of any origin, as another quantizer's, for :class:`bitslice.crossbar.Simulation`.

    Args:
        codes: signed, integer, in the shape of a weight: ``(outputs, inputs)``, or that of ``like``.
        bits: magnitude bits of a weight.
        input_bits: magnitude bits of an input.
        signed: whether inputs can be negative.
        step: value of a weight code of 1.
        input_step: value of an input code of 1.
        like: a convolution with its stride, padding and so on; None: the layer is linear.
        crossbar: geometry; None: the defaults.
        name: for messages.

    >>> layer = map_codes(torch.tensor([[200, -7]]), signed=False)
    >>> layer.levels()[0, :, :, :, 0].tolist()  # of each sign and slice
    [[[0, 0], [2, 0], [0, 0], [3, 0]], [[0, 3], [0, 1], [0, 0], [0, 0]]]

    Raises:
        BitsliceError: if codes are no integers, do not fit their word, or have another shape than ``like``.
    """
    layer, crossbar = like or nn.Linear(codes.shape[-1], codes.shape[0], device="meta"), crossbar or Crossbar()
    if codes.is_floating_point() or codes.shape != cast(Tensor, layer.weight).shape:
        raise BitsliceError(f"codes are integers in the shape of a weight, not {codes.dtype} {tuple(codes.shape)}")
    magnitudes(codes, bits)  # raises what does not fit
    check_word(name, bits, input_bits, crossbar)
    groups = cast(int, getattr(layer, "groups", 1))
    return MappedLayer(
        name=name,
        crossbar=crossbar,
        codes=as_convolution(codes.int(), layer).unflatten(0, (groups, -1)).transpose(1, 2).contiguous(),
        bits=bits,
        input_bits=input_bits,
        signed=signed,
        step=torch.tensor(step),
        input_step=torch.tensor(input_step),
        inputs=0,
        vectors=0,
        layout=layout_of(layer),
    )


def observed(mapped: MappedLayer, inputs: Sequence[Tensor]) -> MappedLayer:
    """``mapped`` with the signs of these quantized inputs, and with their elements and vectors added."""
    return replace(
        mapped,
        signed=mapped.signed or any(x.numel() and bool(x.amin() < 0) for x in inputs),
        inputs=mapped.inputs + sum(x.numel() for x in inputs),
        vectors=mapped.vectors + sum(mapped.layout.vectors(x) for x in inputs),
    )


def check_current(model: nn.Module, layers: Sequence[MappedLayer]) -> None:
    """Raise :class:`BitsliceError` unless ``model`` still holds what was mapped: another network's layers are named."""
    stored = {layer_name(tensor): tensor for tensor in quantized_tensors(model) if tensor.name.endswith("weight")}
    for mapped in layers:
        if mapped.name not in stored:
            raise BitsliceError(f"the network has no quantized layer {mapped.name!r}: map this one first")
        now = map_layer(stored[mapped.name], mapped.crossbar)
        if now.codes.shape != mapped.codes.shape or not all(
            torch.equal(getattr(now, name), getattr(mapped, name)) for name in ("codes", "step", "input_step")
        ):
            raise BitsliceError(
                f"layer {mapped.name!r} has other weights or scales than when it was mapped: map it again"
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
    name = layer_name(tensor)
    if not tensor.original.isfinite().all():
        value = tensor.original[~tensor.original.isfinite()][0].item()
        raise BitsliceError(f"layer {name!r} has a weight that is not finite: {value}")
    check_word(name, tensor.quantizer.bits, cast(FixedPoint, tensor.layer.input_quantizer).bits, crossbar)


def check_word(name: str, bits: int, input_bits: int, crossbar: Crossbar) -> None:
    """Raise :class:`BitsliceError` unless cells divide a layer's weights and its inputs fit the schedule."""
    if bits % crossbar.cell_bits:
        raise BitsliceError(f"layer {name!r}: cells of {crossbar.cell_bits} bits do not divide weights of {bits} bits")
    if input_bits > crossbar.input_bits:
        raise BitsliceError(
            f"layer {name!r}: inputs of {input_bits} bits are wider than the schedule of {crossbar.input_bits} bits"
        )
