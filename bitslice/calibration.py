"""Scales without training: what a quantized network's weights and a few of its inputs ask for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import quantized_tensors


def input_quantizers(model: nn.Module) -> list[FixedPoint]:
    """The quantizer of every quantized layer's input, in the order of the modules."""
    found = [getattr(module, "input_quantizer", None) for module in model.modules()]
    return [quantizer for quantizer in found if isinstance(quantizer, FixedPoint)]


def call(model: nn.Module, batch: Tensor | Sequence[Any] | Mapping[str, Any]) -> Any:
    """What ``model`` gives for a tensor, a sequence of arguments, or a dictionary of named ones."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*((batch,) if isinstance(batch, Tensor) else batch))


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """While open, modules may change their mode; then each has its own again."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Tensor | Sequence[Any] | Mapping[str, Any]]) -> nn.Module:
    """Set every scale: those of the weights by the weights, those of inputs by the largest that the batches show.

    Nothing else changes: no weight, no statistics of batch normalization, no mode. Dropout is off meanwhile.

    Args:
        model: a quantized network, in either mode.
        batches: what the network is called with: tensors, tuples of arguments, or dictionaries of named ones.

    Returns:
        The same model, for chaining.

    Raises:
        BitsliceError: if the model is not quantized, there is no batch, or an input is not finite.
    """
    tensors = list(quantized_tensors(model))
    if not tensors:
        raise BitsliceError("calibrate needs a quantized model: call bitslice.quantize(model) first")
    if isinstance(batches, Tensor):
        batches = [batches]
    inputs = input_quantizers(model)
    called = False
    with modes_kept(model):
        model.eval()
        for tensor in tensors:
            tensor.quantizer.follow(tensor.original)
        kept = [quantizer.step for quantizer in inputs]
        try:
            for quantizer in inputs:
                quantizer.observing, quantizer.step = True, torch.zeros_like(quantizer.step)
            for batch in batches:
                called = True
                call(model, batch)
        finally:
            for quantizer, step in zip(inputs, kept, strict=True):
                quantizer.observing = False
                if not quantizer.step:  # not reached, or only by zeros: what it had before
                    quantizer.step = step
    if not called:
        raise BitsliceError("calibrate needs at least one batch")
    return model
