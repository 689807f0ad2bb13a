"""A whole network's quantized form: which layers, with which words, pruned, and calibrated.

Weight and bias of a layer become parametrized: reading ``layer.weight`` gives the quantized weight, the optimizer still
sees the full-precision one. The layer's input passes a quantizer of its own, as a crossbar's DAC would see it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from bitslice.attention import PROJECTIONS, projections_as_layers, use_functionally
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint, Rounding, power_of_two_step

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
"""Kinds of layer that are quantized, and their subclasses."""

NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
"""Kinds of module whose parameters are meant to stay in float: normalization is digital."""

Choice = str | Iterable[str] | Callable[[str, nn.Module], bool]
"""Modules by name: a pattern as of a shell, several, or a predicate of name and module."""


def chosen(choice: Choice, name: str, module: nn.Module) -> bool:
    """Whether ``choice`` takes in a module, by its own name or that of a module around it."""
    if callable(choice):
        return choice(name, module)
    parts = name.split(".")
    names = [".".join(parts[:k]) for k in range(1, len(parts) + 1)]
    patterns = [choice] if isinstance(choice, str) else choice
    return any(fnmatchcase(each, pattern) for pattern in patterns for each in names)


def quantize(
    model: nn.Module,
    bits: int | Mapping[str, int] = 8,
    activation_bits: int | Mapping[str, int] = 8,
    rounding: Rounding = Rounding.NEAREST,
    *,
    select: Choice | None = None,
    exclude: Choice = (),
    strict: bool = False,
) -> nn.Module:
    """Turn the layers of ``model`` into their dynamic fixed-point form, in place.

    Linear layers, convolutions (1, 2 and 3 dimensions, transposed in 1 and 2) and the projections of
    ``MultiheadAttention``, which becomes a module of linear layers. Normalization stays in float, and so does
    everything else, of which a warning tells; :func:`bitslice.summary` tells all.

    Args:
        model: any network; unchanged if this raises.
        bits: magnitude bits of weights and biases; of each layer, by patterns of names of which the first that fits
            counts, as ``{"fc": 4, "*": 8}``.
        activation_bits: magnitude bits of layers' inputs, likewise.
        rounding: see :class:`Rounding`.
        select: layers to quantize; None: all. Patterns as of a shell, or a predicate of name and module.
        exclude: modules and parameters that are meant to stay in float.
        strict: raise in place of the warning.

    Returns:
        The same model, for chaining (if it is itself a ``MultiheadAttention``, the module in its place).

    Raises:
        BitsliceError: if there is no such layer, one is quantized already or computes its weight from something else,
            no pattern gives a layer its bits, or, if ``strict``, parameters would stay in float.
    """

    def wanted(name: str, module: nn.Module) -> bool:
        return (select is None or chosen(select, name, module)) and not chosen(exclude, name, module)

    attentions = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    held = {id(m.out_proj) for m in attentions.values()}  # whose weights alone are used
    attentions = {n: m for n, m in attentions.items() if wanted(n, m) or wanted(f"{n}.out_proj", m.out_proj)}
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LAYERS) and id(m) not in held and wanted(n, m)]
    if not layers and not attentions:
        raise BitsliceError("nothing to quantize: the model has no Linear or convolution layer that is selected")
    for name, each in layers:
        _check(name, each)
    names = [n for n, _ in layers] + [f"{n}.{p}".lstrip(".") for n in attentions for p in PROJECTIONS]
    words = {name: (_bits_of(name, bits), _bits_of(name, activation_bits)) for name in names}
    taken = [m for _, m in layers] + [each for m in attentions.values() for each in (m, m.out_proj)]
    left = left_in_float(model, {id(m) for m in taken}, exclude)
    if left:
        told = ", ".join(f"{name} ({kind}, {100 * share:.1f}%)" for name, kind, share in left)
        if strict:
            raise BitsliceError(f"these would stay in float, name them in exclude if they should: {told}")
        warnings.warn(f"bitslice: left in float (name, type, share of parameters): {told}", stacklevel=2)
    model = projections_as_layers(model, attentions.values())
    for name, (own, of_input) in words.items():
        layer = model.get_submodule(name)
        input_quantizer = FixedPoint(of_input, rounding, f"the input of layer {name!r}").train(layer.training)
        for parameter in ("weight", "bias"):
            if getattr(layer, parameter) is not None:
                quantizer = FixedPoint(own, rounding)
                quantizer.step = power_of_two_step(getattr(layer, parameter).detach(), own)  # in either mode
                parametrize.register_parametrization(layer, parameter, quantizer)
        layer.input_quantizer = input_quantizer
        layer.register_forward_pre_hook(_quantize_input, with_kwargs=True)
        layer.register_load_state_dict_pre_hook(_from_float)
    use_functionally(model)
    return model


def _check(name: str, layer: nn.Module) -> None:
    """Raise unless a layer holds a weight of its own."""
    if hasattr(layer, "input_quantizer"):
        raise BitsliceError(f"layer {name!r} is quantized already")
    if parametrize.is_parametrized(layer):
        raise BitsliceError(f"layer {name!r} has a parametrization of its own, which would hide its weights")
    if "weight" not in layer._parameters:
        raise BitsliceError(f"layer {name!r} computes its weight (weight_norm, spectral_norm, prune): undo that first")
    if is_lazy(cast(nn.Parameter, layer.weight)):
        raise BitsliceError(f"layer {name!r} is lazy: run the model once, so that it has a shape, first")


def _bits_of(name: str, bits: int | Mapping[str, int]) -> int:
    if isinstance(bits, int):
        return bits
    for pattern, found in bits.items():
        if fnmatchcase(name, pattern):
            return found
    raise BitsliceError(f"no pattern of {', '.join(bits)} gives layer {name!r} its bits")


def left_in_float(model: nn.Module, layers: set[int], exclude: Choice = ()) -> list[tuple[str, str, float]]:
    """Parameters that stay in float though they are no normalization's: name, type, share (0 to 1) of all parameters.

    Args:
        model: any network.
        layers: identities of those that are quantized.
        exclude: modules and parameters that are meant to stay in float.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    found: list[tuple[str, str, int]] = []
    inside: tuple[str, ...] = ()  # of modules that are accounted for
    for name, module in model.named_modules():
        if id(module) in layers or isinstance(module, NORMALIZATIONS) or chosen(exclude, name, module):
            inside += (f"{name}.",) if name else ("",)
        if f"{name}.".startswith(inside):
            continue
        held = [(f"{name}.{p}".lstrip("."), w.numel()) for p, w in module.named_parameters(recurse=False)]
        own = [(n, size) for n, size in held if not chosen(exclude, n, module)]
        if name and own and not any(True for _ in module.children()):
            found.append((name, type(module).__name__, sum(size for _, size in own)))
        else:  # so that a parameter beside layers can be named, and they are not
            found += [(n, "Parameter", size) for n, size in own]
    return [(name, kind, size / total) for name, kind, size in found]


def _quantize_input(
    module: nn.Module, inputs: tuple[Tensor, ...], others: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Pass a layer's input through its quantizer, by whatever name it comes."""
    quantizer = cast(FixedPoint, module.input_quantizer)
    if inputs:
        return (quantizer(inputs[0]), *inputs[1:]), others
    return (), {name: quantizer(value) if name == "input" else value for name, value in others.items()}


def _from_float(layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let a quantized layer take the plain float state of the same layer, or that of a pruned one."""
    for parameter, chain in cast(nn.ModuleDict, layer.parametrizations).items():
        place = f"{prefix}parametrizations.{parameter}."
        quantizer = cast(FixedPoint, cast(nn.ModuleList, chain)[0])
        if f"{prefix}{parameter}" in state:
            value = state.pop(f"{prefix}{parameter}")
            state[f"{place}original"] = value
            state[f"{place}0.step"] = power_of_two_step(value, quantizer.bits)
            state[f"{prefix}input_quantizer.step"] = torch.zeros(())
        while (key := f"{place}{len(cast(nn.ModuleList, chain))}.mask") in state:
            parametrize.register_parametrization(layer, parameter, Mask(torch.ones_like(state[key])))


class Mask(nn.Module):
    """Parametrization that keeps pruned weights at zero; it blocks their gradient too."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


@dataclass(frozen=True)
class QuantizedTensor:
    """One quantized parameter of a model: its name, its layer, the full-precision tensor, the quantizer, the masks."""

    name: str
    layer: nn.Module
    original: nn.Parameter
    quantizer: FixedPoint
    masks: tuple[Mask, ...]

    def codes(self) -> Tensor:
        """Signed integer codes, int32, in the parameter's shape; 0 where pruned, whatever the optimizer does there."""
        codes = self.quantizer.codes(self.original)
        for mask in self.masks:
            codes = codes * mask.mask.to(torch.int32)
        return codes

    @torch.no_grad()
    def keep(self, kept: Tensor) -> None:
        """Set every element to zero for good but those ``kept``, bool in the parameter's shape."""
        self.original.mul_(kept)
        mask = Mask(kept.to(self.original.dtype))
        parametrize.register_parametrization(self.layer, self.name.rpartition(".")[2], mask)


def quantized_tensors(model: nn.Module) -> Iterator[QuantizedTensor]:
    """Every quantized weight and bias of ``model``, in the order of its modules."""
    for module_name, module in model.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        parametrizations = cast(nn.ModuleDict, module.parametrizations)
        for parameter, chain in parametrizations.items():
            quantizer = next((p for p in cast(nn.ModuleList, chain) if isinstance(p, FixedPoint)), None)
            if quantizer is not None:
                name = f"{module_name}.{parameter}" if module_name else parameter
                masks = tuple(p for p in cast(nn.ModuleList, chain) if isinstance(p, Mask))
                yield QuantizedTensor(name, module, cast(nn.Parameter, chain.original), quantizer, masks)


def check_headroom(headroom: int, bits: int) -> None:
    """Raise unless a word of ``bits`` bits can leave ``headroom`` of them 0."""
    if not 0 <= headroom < bits:
        raise BitsliceError(f"headroom in words of {bits} bits lies between 0 and {bits - 1}, not {headroom}")


def leave_headroom(model: nn.Module, bits: int) -> None:
    """Leave the highest ``bits`` bits of every quantized weight 0, in place: its step is 2^bits times as coarse.

    Dynamic fixed point makes a tensor's largest weight fill the word. Sums on bitlines follow codes, so a coarser step
    makes them smaller, at the price of precision. Biases stay as they are: they never meet an ADC.

    Args:
        model: a quantized model; in training mode its steps go on following the weights, with this headroom.
        bits: in place of whatever headroom there was.

    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[0.9, 0.1]])
    >>> model = quantize(nn.Sequential(layer))
    >>> leave_headroom(model, 2)
    >>> next(quantized_tensors(model)).codes().tolist()  # 230 and 26 without headroom
    [[58, 6]]

    Raises:
        BitsliceError: if the model has no quantized weight, or a word has no bit left.
    """
    weights = [tensor for tensor in quantized_tensors(model) if tensor.name.rpartition(".")[2] == "weight"]
    if not weights:
        raise BitsliceError("headroom needs a quantized model: call bitslice.quantize(model) first")
    for tensor in weights:
        quantizer = tensor.quantizer
        check_headroom(bits, quantizer.bits)
        quantizer.step = quantizer.step * 2.0 ** (bits - quantizer.headroom)
        quantizer.headroom = bits


def prune(model: nn.Module, threshold: float) -> float:
    """Set every quantized parameter below ``threshold`` in magnitude to zero, for good.

    One absolute threshold for all layers, biases included, as in the authors' code; theirs prunes batch norm too.

    Args:
        threshold: in units of the full-precision weights.

    Returns:
        The share of quantized parameters pruned, 0 to 1.

    Raises:
        BitsliceError: if the model has no quantized parameter.
    """
    tensors = list(quantized_tensors(model))
    if not tensors:
        raise BitsliceError("prune needs a quantized model: call bitslice.quantize(model) first")
    pruned = total = 0
    for tensor in tensors:
        kept = tensor.original.abs() >= threshold
        tensor.keep(kept)
        pruned += int((~kept).sum())
        total += kept.numel()
    return pruned / total
