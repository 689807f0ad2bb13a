"""Mapped layers as a file for other simulators: cell levels, where each wordline lies, and what codes stand for."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bitslice.crossbar.mapped_layer import MappedLayer
from bitslice.storage import Arrays, save_arrays


def export_slices(layers: Sequence[MappedLayer], path: str | Path) -> None:
    """Write mapped layers as an .npz file; nothing is pickled.

    Of each layer, by its name:

    * ``NAME/levels``: cell levels, uint8 ``(groups, 2 signs, slices, wordlines, outputs)``; positive array and B0
      first. A weight is ``sum_k 2^(cell_bits k) (levels[:, 0, k] - levels[:, 1, k])`` times ``NAME/step``.
    * ``NAME/tiles``: which wordlines each array holds, row by row, int64 ``(row tiles, rows)``; -1 where none.
    * ``NAME/step``, ``NAME/input_step``: value of a code of 1, float32.

    ``layers`` holds as JSON a list of the rest: name, ``bits`` and ``input_bits`` of the words, whether inputs are
    ``signed``, ``cell_bits``, ``dac_bits``, ``rows``, ``columns``; of convolutions ``kernel``, ``stride``, ``padding``
    and ``dilation`` (height, width) of their unfolding, wordlines being channels first, then rows and columns of the
    kernel, after the input was padded by ``pad`` (``mode``), and spread by ``spread`` where it is transposed.

    Raises:
        BitsliceError: if the file cannot be written.
    """
    arrays: Arrays = {}
    listed = []
    for layer in layers:
        crossbar, layout = layer.crossbar, layer.layout
        arrays[f"{layer.name}/levels"] = layer.levels().cpu().numpy()
        tiles = crossbar.tiles(layer.wordlines)
        held = torch.stack([nn.functional.pad(tile, (0, crossbar.rows - len(tile)), value=-1) for tile in tiles])
        arrays[f"{layer.name}/tiles"] = held.numpy()
        for name, step in (("step", layer.step), ("input_step", layer.input_step)):
            arrays[f"{layer.name}/{name}"] = step.cpu().numpy().astype(np.float32)
        hardware = {name: getattr(crossbar, name) for name in ("cell_bits", "dac_bits", "rows", "columns")}
        shape = {} if layout.unfold is None else vars(layout.unfold)
        others = {"pad": layout.pad, "mode": layout.mode, "spread": layout.spread, "depth": layout.depth}
        words = {"name": layer.name, "bits": layer.bits, "input_bits": layer.input_bits, "signed": layer.signed}
        listed.append(words | hardware | shape | others)
    save_arrays(Path(path), arrays | {"layers": np.array(json.dumps(listed))})
