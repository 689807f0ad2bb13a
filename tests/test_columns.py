"""Column pruning: the largest weights of every column stay, whatever the layer, and so bitline sums are bounded."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitslice.crossbar import Crossbar, RowOrder, map_network, resolution
from bitslice.crossbar.mapping import map_layer
from bitslice.errors import BitsliceError
from bitslice.lab import training
from bitslice.lab.columns import prune_columns
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.evaluation import network_input
from bitslice.lab.experiments import EXPERIMENTS
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile
from bitslice.quantizer import quantize, quantized_tensors
from tests.conftest import TEST, Trained, silent, small

LAYERS = (
    nn.Linear(20, 5),
    nn.Conv1d(3, 4, 5),
    nn.Conv2d(4, 6, 3, groups=2),
    nn.Conv3d(2, 3, 2),
    nn.ConvTranspose2d(4, 6, 3, groups=2),
)


def largest_by_hand(matrix: Tensor, weights: int, crossbar: Crossbar) -> Tensor:
    """What ``(wordlines, outputs)`` keeps."""
    left = torch.zeros_like(matrix)
    for output in range(matrix.shape[1]):
        for tile in crossbar.tiles(len(matrix)):
            for row in sorted(tile.tolist(), key=lambda row: -abs(int(matrix[row, output])))[:weights]:
                left[row, output] = matrix[row, output]
    return left


@pytest.mark.parametrize("order", RowOrder)
@pytest.mark.parametrize("weights", [1, 3, 8, 2**70])
@pytest.mark.parametrize("like", LAYERS, ids=lambda layer: type(layer).__name__)
def test_the_largest_weights_of_every_column_and_array_stay(like: nn.Module, weights: int, order: RowOrder) -> None:
    layer, crossbar = copy.deepcopy(like), Crossbar(rows=8, row_order=order)
    generator = torch.Generator().manual_seed(0)
    size = layer.weight.shape
    signs = torch.randint(2, size, generator=generator) * 2 - 1
    layer.weight.data = signs * (1.0 + torch.randperm(size.numel(), generator=generator).view(size))  # codes, exactly
    model = quantize(nn.Sequential(layer)).eval()
    weight, bias = quantized_tensors(model)
    before, of_bias = map_layer(weight, crossbar).codes, bias.codes()
    prune_columns(model, weights, crossbar)
    weight, bias = quantized_tensors(model)
    wanted = torch.stack([largest_by_hand(matrix, weights, crossbar) for matrix in before])
    assert torch.equal(map_layer(weight, crossbar).codes, wanted)
    assert torch.equal(bias.codes(), of_bias)
    weight.original.data.fill_(1.0)  # as training might
    assert torch.equal(map_layer(weight, crossbar).codes != 0, wanted != 0)


def test_of_equal_weights_the_first_stay() -> None:
    layer = nn.Linear(10, 2)
    layer.weight.data.fill_(-1.0)
    model = quantize(nn.Sequential(layer))
    prune_columns(model, 2, Crossbar(rows=4))
    assert layer.weight.ne(0).int().tolist() == [[1, 1, 0, 0] * 2 + [1, 1]] * 2


def test_a_model_that_is_not_quantized_is_refused() -> None:
    with pytest.raises(BitsliceError, match="quantized network"):
        prune_columns(nn.Sequential(nn.Linear(2, 2)), 1, Crossbar())


def assert_bounded(record: Record, weights: int, images: Images) -> None:
    """No column of a trained network holds more weights, so no input can make a bitline sum larger."""
    config = record.config
    seen = network_input(images.pixels[:2], images, config.input_scaling)
    fullest = 0
    for layer in map_network(record.network(), seen, Crossbar(rows=config.rows)):
        for tile in layer.crossbar.tiles(layer.wordlines):
            fullest = max(fullest, int(layer.codes[:, tile].ne(0).sum(dim=1).max()))
        assert int(layer.bounds.max()) <= 3 * weights
    assert fullest == weights
    for found in record.final["adc"].values():
        assert found["observed"] <= found["bound"] <= 3 * weights
        assert resolution(found["bound"]) <= math.ceil(math.log2(3 * weights + 1))


def test_a_trained_perceptron_is_bounded(trained: Trained) -> None:
    record = trained.records[Method.COLUMN]
    assert_bounded(record, 5, TEST)
    assert record.after_pruning is not None
    assert record.after_pruning["accuracy"] < record.accuracy
    assert resolution(3 * 5) == 4


def test_a_trained_resnet20_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.arange(64) % 10
    images = Images(torch.randint(0, 256, (64, 3, 32, 32)).to(torch.uint8), labels, (0.5,) * 3, (0.25,) * 3)
    monkeypatch.setitem(DATA_SETS, "cifar10", lambda train: images)
    config = EXPERIMENTS["cifar10-resnet20"](Method.COLUMN, Profile.SMOKE, alpha=2)
    assert_bounded(training.run(replace(config, train_images=None), tmp_path, report=silent), 2, images)


@pytest.mark.parametrize("alpha", [0, 0.5, 2.5, -3, math.nan, math.inf])
def test_a_column_keeps_a_whole_number_of_weights(alpha: float) -> None:
    with pytest.raises(BitsliceError, match=f"weights kept, must be a whole number from 1, not {alpha}$"):
        small(Method.COLUMN, alpha=alpha)
