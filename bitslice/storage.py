"""A quantized network as named arrays: integer codes, one power-of-two exponent a tensor, and what stays in float."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.fixed_point import FixedPoint, Rounding
from bitslice.quantizer import Mask, check_headroom, quantize, quantized_tensors

WORDS = "words"
"""Name of the array that tells how the codes are meant."""

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
            arrays = {name: archive[name] for name in archive.files}
            file.seek(-12, os.SEEK_END)  # a damaged entry can hide others from zipfile, but not from this count
            if int.from_bytes(file.read(2), "little") != len(arrays):
                raise ValueError("arrays are missing")
            return arrays
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


def export_codes(model: nn.Module, masks: bool = True) -> Arrays:
    """A quantized network as named arrays.

    By the name of each tensor its integer codes, int16 (int32 where words have 16 bits), and under ``NAME.mask`` which
    of them pruning left (bits, packed); under ``NAME.exponent`` log2 of each step, int8, the layers' inputs among them
    as ``LAYER.input``; everything else in float, by its name. ``words`` tells as JSON how many bits, how much headroom
    and which rounding each word has.

    Args:
        model: the network.
        masks: whether to keep which weights were pruned; without, they are just 0.

    Raises:
        BitsliceError: if it is not quantized, or a scale was never set.
    """
    arrays: Arrays = {}
    for tensor in quantized_tensors(model):
        kind = np.int16 if tensor.quantizer.bits < 16 else np.int32
        arrays[tensor.name] = tensor.codes().cpu().numpy().astype(kind)
        if masks and tensor.masks:
            kept = torch.stack([mask.mask.bool() for mask in tensor.masks]).all(dim=0)
            arrays[f"{tensor.name}.mask"] = np.packbits(kept.cpu().numpy())
    if not arrays:
        raise BitsliceError("there is nothing to save: call bitslice.quantize(model) first")
    words = {}
    for name, quantizer in _exponents(model):
        if not quantizer.step > 0:
            raise BitsliceError(f"{quantizer.source or name} has no scale yet: call bitslice.calibrate before saving")
        arrays[f"{name}.exponent"] = quantizer.step.log2().round().cpu().numpy().astype(np.int8)
        words[name] = (quantizer.bits, quantizer.headroom, quantizer.rounding.value)
    arrays |= {name: value.cpu().numpy() for name, value in _float_state(model).items()}
    return arrays | {WORDS: np.array(json.dumps(words))}


def import_codes(model: nn.Module, arrays: Arrays) -> None:
    """Load what :func:`export_codes` gave into a freshly quantized network; its scales stay frozen in evaluation mode.

    Raises:
        BitsliceError: if the arrays are not this network's, or hold a code or an exponent that no word has.
    """
    arrays = dict(arrays)
    words = _words(arrays.pop(WORDS, None))
    masks = {name: arrays.pop(name) for name in list(arrays) if name.endswith(".mask") and name[:-5] in arrays}
    state, tensors, quantizers = _float_state(model), list(quantized_tensors(model)), dict(_exponents(model))
    like = {f"{name}.exponent": torch.zeros((), dtype=torch.int16) for name in quantizers}
    like |= {tensor.name: torch.zeros(tensor.original.shape, dtype=torch.int32, device="meta") for tensor in tensors}
    like |= state
    for name in sorted(like.keys() | arrays.keys()):
        if name not in arrays or name not in like or like[name].shape != arrays[name].shape:
            raise BitsliceError(
                f"these weights belong to another network: {name} is missing, unknown or of another size"
            )
        if not np.can_cast(arrays[name].dtype, str(like[name].dtype).removeprefix("torch."), "same_kind"):
            raise BitsliceError(f"these weights are damaged: {name} holds values of type {arrays[name].dtype}")
    for name, quantizer in quantizers.items():
        bits, headroom, rounding = words.get(name, (quantizer.bits, 0, quantizer.rounding.value))
        if (bits, rounding) != (quantizer.bits, quantizer.rounding.value):
            raise BitsliceError(
                f"these weights have {bits}-bit words ({rounding}) for {name}, not {quantizer.bits}-bit"
            )
        check_headroom(headroom, bits)
        if not -126 <= (exponent := int(arrays[f"{name}.exponent"])) <= 127:
            raise BitsliceError(f"these weights are damaged: {name} has a step beyond float32")
        quantizer.headroom = headroom
        quantizer.step = torch.tensor(2.0**exponent, device=quantizer.step.device)
    with torch.no_grad():
        for tensor in tensors:
            codes = arrays[tensor.name].astype(np.int64)
            if codes.size and np.abs(codes).max() >= 2**tensor.quantizer.bits:
                raise BitsliceError(f"these weights are damaged: {tensor.name} has codes beyond its word")
            tensor.original.copy_(torch.from_numpy(codes).float() * tensor.quantizer.step.cpu())
            if (packed := masks.get(f"{tensor.name}.mask")) is not None:
                if packed.dtype != np.uint8 or packed.shape != (-(-codes.size // 8),):
                    raise BitsliceError(f"these weights are damaged: {tensor.name} has a mask of another size")
                kept = np.unpackbits(packed, count=codes.size).reshape(codes.shape)
                mask = Mask(torch.from_numpy(kept).to(tensor.original))
                parametrize.register_parametrization(tensor.layer, tensor.name.rpartition(".")[2], mask)
    model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in state}, strict=False)


def _words(stored: np.ndarray[Any, Any] | None) -> dict[str, tuple[int, int, str]]:
    """Bits, headroom and rounding by name; nothing for files older than them."""
    try:
        found = {} if stored is None else json.loads(str(stored))
        return {
            name: (int(bits), int(headroom), Rounding(kind).value) for name, (bits, headroom, kind) in found.items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BitsliceError(f"these weights are damaged: their words cannot be read ({error})") from error


def save(model: nn.Module, path: str | Path) -> None:
    """Write a quantized network as an .npz file of integer codes (:func:`export_codes`); nothing is pickled.

    Raises:
        BitsliceError: as :func:`export_codes`; if the file cannot be written.
    """
    save_arrays(Path(path), export_codes(model))


def load(model: nn.Module, path: str | Path) -> nn.Module:
    """Load what :func:`save` wrote into a network of the same architecture, in place.

    Args:
        model: in float, to be quantized as the file says, or quantized just so.
        path: the file.

    Returns:
        The same model, for chaining.

    Raises:
        BitsliceError: if the file is missing, damaged or another network's.
    """
    arrays = load_arrays(Path(path))
    words = _words(arrays.get(WORDS))
    if not any(True for _ in quantized_tensors(model)):
        layers = [name.removesuffix("input").rstrip(".") for name in words if name.rpartition(".")[2] == "input"]
        if not layers:
            raise BitsliceError(f"{path} does not tell its words: quantize the model first, as it was")
        names = {of: {n: f"{n}.{of}".lstrip(".") for n in layers} for of in ("weight", "input")}
        if lacking := names["weight"].values() - words.keys():
            raise BitsliceError(f"{path} is damaged: it does not tell the word of {min(lacking)}")
        bits, of_inputs = ({n: words[name][0] for n, name in names[of].items()} for of in ("weight", "input"))
        rounding = Rounding(next(iter(words.values()))[2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what stays in float does so as it did before
            model = quantize(model, bits, of_inputs, rounding, select=lambda name, _: name in bits)
    import_codes(model, arrays)
    return model
