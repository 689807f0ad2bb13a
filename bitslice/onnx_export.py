"""Quantized networks as ONNX files whose words are ``QuantizeLinear`` and ``DequantizeLinear`` nodes."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.quantizer import quantized_tensors

OPSET = 21
"""Version of ONNX's operators: the first whose quantizers know 16-bit words."""


def export_onnx(model: nn.Module, arguments: Tensor | Sequence[Tensor], path: str | Path) -> None:
    """Write a quantized network as an ONNX file, for any batch size.

    A layer's input passes a quantizer, a dequantizer, and a ``Clip`` that ends codes at ``+-(2^n - 1)``; a weight is
    kept as codes before a dequantizer (a small one may be folded to its value). Codes are int8 where they fit, up to 7
    magnitude bits, else int16: with the sign apart, the default words of 8 bits do not fit. (A ``Clip`` in front would
    be lost: onnxruntime's optimizer takes it away from 16-bit words.) Words that round down stay plain operations.

    Args:
        model: a quantized network in evaluation mode.
        arguments: inputs to trace it with, of at least two images.
        path: the file.

    Raises:
        BitsliceError: if the model is not quantized, the packages ``onnx`` and ``onnxscript`` are not there, or the
            file cannot be written.
    """
    if next(quantized_tensors(model), None) is None:
        raise BitsliceError("export_onnx needs a quantized model: call bitslice.quantize(model) first")
    try:
        import onnx
        import onnxscript  # noqa: F401  # by which torch writes ONNX
    except ImportError as error:
        raise BitsliceError(f"ONNX files need the packages onnx and onnxscript: {error}") from error
    given = (arguments,) if isinstance(arguments, Tensor) else tuple(arguments)
    batch = tuple({0: torch.export.Dim("batch")} for _ in given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(model, given, dynamo=True, dynamic_shapes=batch, opset_version=OPSET, verbose=False)
        assert program is not None
    written = program.model_proto
    _words(written.graph, onnx)
    with atomic_write(Path(path)) as temporary:
        onnx.save(written, str(temporary))


def _words(graph: Any, onnx: Any) -> None:
    """Put a quantizer and a dequantizer in the place of every scaling, rounding and clipping."""
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    made: dict[int, list[Any]] = {}
    dropped = set()
    for node in graph.node:
        if node.op_type != "Round":
            continue
        scaled, clip = makers[node.input[0]], users[node.output[0]][0]
        product = users[clip.output[0]][0]
        step = next(name for name in product.input if name != clip.output[0])
        largest = int(_constant(clip.input[2], values, makers, onnx))
        size = float(_constant(step, values, makers, onnx))
        kind = np.int8 if largest < 128 else np.int16
        name, source = product.output[0], scaled.input[0]

        def constant(part: str, value: Any, name: str = name) -> str:
            graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), f"{name}_{part}"))
            return f"{name}_{part}"

        scale, zero = constant("scale", np.float32(size)), constant("zero", kind(0))
        if source in values:  # a weight
            codes = constant("codes", np.clip(np.rint(values[source] / size), -largest, largest).astype(kind))
            made[id(product)] = [onnx.helper.make_node("DequantizeLinear", [codes, scale, zero], [name])]
        else:
            ends = [constant("low", np.float32(-largest * size)), constant("high", np.float32(largest * size))]
            codes, value = f"{name}_codes", f"{name}_value"
            made[id(product)] = [
                onnx.helper.make_node("QuantizeLinear", [source, scale, zero], [codes]),
                onnx.helper.make_node("DequantizeLinear", [codes, scale, zero], [value]),
                onnx.helper.make_node("Clip", [value, *ends], [name]),
            ]
        dropped |= {id(scaled), id(node), id(clip), id(product)}
    nodes = [new for node in graph.node for new in made.get(id(node), [] if id(node) in dropped else [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _constant(name: str, values: dict[str, Any], makers: dict[str, Any], onnx: Any) -> Any:
    """A scalar of the graph, which may come through casts."""
    while name not in values:
        node = makers[name]
        if node.op_type == "Constant":
            return onnx.numpy_helper.to_array(node.attribute[0].t)
        name = node.input[0]
    return values[name]
