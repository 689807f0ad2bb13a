"""Column pruning, the constraint of TinyADC (Yuan et al., DATE 2021): few weights in every column of an array.

With cells of 2 bits and inputs of 1 bit a cycle, a bitline of k weights sums to at most 3 k, whatever they are: an ADC
that converts 3 k without loss is lossless by design. TinyADC trains towards the constraint by ADMM; here the largest
weights of every column are kept once, and their places hold in the training that follows.
"""

import torch
from torch import nn

from bitslice.crossbar import Crossbar
from bitslice.crossbar.layout import as_convolution
from bitslice.crossbar.mapping import stored_weights


def prune_columns(model: nn.Module, weights: int, crossbar: Crossbar) -> None:
    """Set all but the largest weights of every column of every array to zero, for good; biases lie in no array.

    A column holds the wordlines of one array and one output, as :func:`bitslice.crossbar.map_network` has them. Both
    signs count together, so that a weight may change its own later. Of equal magnitudes the first wordline's is kept.

    Args:
        model: a quantized network.
        weights: how many a column keeps, at least 1.
        crossbar: geometry of the arrays.

    Raises:
        BitsliceError: as :func:`bitslice.crossbar.map_network`.
    """
    for tensor in stored_weights(model, crossbar):
        size = tensor.original.abs().flatten()
        places = as_convolution(torch.arange(len(size)).view(tensor.original.shape), tensor.layer).to(size.device)
        kept = torch.zeros_like(size, dtype=torch.bool)
        for tile in crossbar.tiles(places.shape[1]):
            columns = places[:, tile]
            order = size[columns].argsort(dim=1, descending=True, stable=True)
            kept[columns.gather(1, order[:, :weights])] = True
        tensor.keep(kept.view(tensor.original.shape))
