"""A quantized network as named arrays: integer codes, one power-of-two exponent a tensor, and what stays in float."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.fixed_point import FixedPoint
from bitslice.quantizer import quantized_tensors

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays, compressed; equal arrays give equal bytes."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **cast(Any, arrays))


def load_arrays(path: Path) -> Arrays:
    """Read named arrays.

    Raises:
        BitsliceError: if the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise BitsliceError(f"no weights at {path}") from error
    except Exception as error:  # NumPy and zipfile raise many kinds for a damaged file
        raise BitsliceError(f"{path} is damaged: {error}") from error


def _exponents(model: nn.Module) -> Iterator[tuple[str, FixedPoint]]:
    """Every quantizer of ``model`` under the name of the tensor it quantizes (``fc.weight``, ``fc.input``)."""
    for tensor in quantized_tensors(model):
        yield tensor.name, tensor.quantizer
    for name, module in model.named_modules():
        owner, _, attribute = name.rpartition(".")
        if attribute == "input_quantizer":
            yield f"{owner}.input" if owner else "input", cast(FixedPoint, module)


def _float_state(model: nn.Module) -> dict[str, Tensor]:
    """What of a model's state is not quantized, batch norm above all."""
    quantized = ("parametrizations.", "input_quantizer.")
    return {name: value for name, value in model.state_dict().items() if not any(part in name for part in quantized)}


def export_codes(model: nn.Module) -> Arrays:
    """A quantized network as arrays: int16 codes, int8 exponents (log2 of each step), other state in float."""
    arrays: Arrays = {tensor.name: tensor.codes().cpu().numpy().astype(np.int16) for tensor in quantized_tensors(model)}
    for name, quantizer in _exponents(model):
        arrays[f"{name}.exponent"] = quantizer.step.log2().round().cpu().numpy().astype(np.int8)
    return arrays | {name: value.cpu().numpy() for name, value in _float_state(model).items()}


def import_codes(model: nn.Module, arrays: Arrays) -> None:
    """Load what :func:`export_codes` gave into a freshly quantized network; its scales stay frozen in evaluation mode.

    Raises:
        BitsliceError: if the arrays are not this network's.
    """
    state = _float_state(model)
    shapes = {f"{name}.exponent": torch.Size() for name, _ in _exponents(model)}
    shapes |= {tensor.name: tensor.original.shape for tensor in quantized_tensors(model)}
    shapes |= {name: value.shape for name, value in state.items()}
    for name in sorted(shapes.keys() | arrays.keys()):
        if name not in arrays or shapes.get(name) != arrays[name].shape:
            raise BitsliceError(
                f"these weights belong to another network: {name} is missing, unknown or of another size"
            )
    for name, quantizer in _exponents(model):
        quantizer.step = torch.tensor(2.0 ** int(arrays[f"{name}.exponent"]))
    with torch.no_grad():
        for tensor in quantized_tensors(model):
            tensor.original.copy_(torch.from_numpy(arrays[tensor.name].astype(np.float32)) * tensor.quantizer.step)
    model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in state}, strict=False)
