"""Bitline sums against a literal loop over rows, bits, signs and slices."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from bitslice import crossbar
from bitslice.crossbar import BitlineSums, Crossbar, map_network, pooled, resolution
from bitslice.crossbar.mapping import observed_inputs
from bitslice.crossbar.statistics import LayerSums
from bitslice.quantizer import prune, quantize, quantized_tensors
from bitslice.slices import to_slices


def bitline_sums(
    model: nn.Module, x: Tensor, rows: int = 128, cell_bits: int = 2, batch: int = 100
) -> list[BitlineSums]:
    """Bitline sums of a whole network, per slice."""
    layers = map_network(model, x, Crossbar(rows=rows, cell_bits=cell_bits))
    return pooled(crossbar.bitline_sums(model, layers, x, batch))


def layer_inputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Signed input codes of every layer."""
    with observed_inputs(model) as seen:
        model(x)
    return {name: (calls[0] / model.get_submodule(name).input_quantizer.step).int() for name, calls in seen.items()}


class TestResolution:
    def test_is_the_smallest_that_counts_up_to_the_sum(self) -> None:
        for largest in range(600):
            bits = resolution(largest)
            assert largest <= 2**bits - 1
            assert bits == 0 or largest > 2 ** (bits - 1) - 1

    def test_of_128_rows_of_2_bit_cells_is_9_bits(self) -> None:
        assert resolution(128 * 3) == 9


def literal_counts(
    weights: list[list[int]], vectors: list[list[int]], bits: int, input_bits: int, rows: int, cell_bits: int
) -> list[dict[int, int]]:
    """How often each sum occurs, per slice, B0 first; ``weights[o][i]`` and ``vectors[v][i]`` are signed codes."""
    wordlines = range(len(weights[0]))
    tiles = [wordlines[first : first + rows] for first in range(0, len(wordlines), rows)]
    phases = [1, -1] if any(code < 0 for vector in vectors for code in vector) else [1]
    counts: list[dict[int, int]] = [{} for _ in range(bits // cell_bits)]
    for k, sign, output, tile in product(range(bits // cell_bits), (1, -1), weights, tiles):
        for vector, phase, bit in product(vectors, phases, range(input_bits)):
            total = 0
            for i in tile:
                cell = max(sign * output[i], 0) // 2 ** (cell_bits * k) % 2**cell_bits
                active = max(phase * vector[i], 0) // 2**bit % 2
                total += cell * active
            counts[k][total] = counts[k].get(total, 0) + 1
    return counts


def literal_bound(weights: list[list[int]], k: int, rows: int, cell_bits: int) -> int:
    """Largest sum if every input bit were 1."""
    best = 0
    for sign, output in product((1, -1), weights):
        cells = [max(sign * code, 0) // 2 ** (cell_bits * k) % 2**cell_bits for code in output]
        best = max(best, *(sum(cells[first : first + rows]) for first in range(0, len(cells), rows)))
    return best


def patches(images: Tensor, layer: nn.Conv2d) -> list[list[int]]:
    """Input vectors of a convolution, one an output position, channel by channel and row by row."""
    (pad, _), (stride, _), (height, width) = layer.padding, layer.stride, layer.kernel_size
    found: list[list[int]] = []
    for image in nn.functional.pad(images, (pad, pad, pad, pad)):
        for top in range(0, image.shape[1] - height + 1, stride):
            found += [
                image[:, top : top + height, left : left + width].flatten().tolist()
                for left in range(0, image.shape[2] - width + 1, stride)
            ]
    return found


def ready(model: nn.Sequential, images: Tensor, bits: int, activation_bits: int) -> nn.Module:
    """``model``, quantized and with its scales set."""
    quantize(model, bits, activation_bits)
    model(images)
    return model.eval()


def assert_equal_counts(found: list[BitlineSums], expected: list[dict[int, int]]) -> None:
    assert len(found) == len(expected)
    for sums, literal in zip(found, expected, strict=True):
        assert {level: count for level, count in enumerate(sums.counts.tolist()) if count} == literal
        assert sums.observed == max(literal)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("cell_bits", [1, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_sums_of_a_linear_layer_equal_the_literal_loop(rows: int, cell_bits: int, signed: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 7) if signed else torch.rand(4, 7)
    model = ready(nn.Sequential(nn.Linear(7, 3)), x, bits=4, activation_bits=3)
    weight = next(quantized_tensors(model)).codes().tolist()
    vectors = layer_inputs(model, x)["0"].tolist()
    found = bitline_sums(model, x, rows, cell_bits)
    assert_equal_counts(found, literal_counts(weight, vectors, 4, 3, rows, cell_bits))
    assert [s.bound for s in found] == [literal_bound(weight, k, rows, cell_bits) for k in range(4 // cell_bits)]


@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("signed", [False, True])
def test_sums_of_a_convolution_equal_the_literal_loop(padding: int, stride: int, signed: bool) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 2, 4, 4) if signed else torch.rand(2, 2, 4, 4)
    convolution = nn.Conv2d(2, 3, (2, 3), stride, padding)
    model = ready(nn.Sequential(convolution), x, bits=4, activation_bits=2)
    weight = next(quantized_tensors(model)).codes().flatten(1).tolist()
    vectors = patches(layer_inputs(model, x)["0"], convolution)
    found = bitline_sums(model, x, rows=5)  # 12 wordlines: a ragged third tile
    assert_equal_counts(found, literal_counts(weight, vectors, 4, 2, 5, 2))
    assert [s.bound for s in found] == [literal_bound(weight, k, 5, 2) for k in range(2)]


def test_sums_of_a_network_add_up_over_its_layers() -> None:
    torch.manual_seed(2)
    x = torch.rand(3, 6)
    model = ready(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2, bias=False)), x, bits=4, activation_bits=3)
    codes = {t.name: t.codes().tolist() for t in quantized_tensors(model)}
    inputs = layer_inputs(model, x)
    assert set(inputs) == {"0", "2"}
    expected: list[dict[int, int]] = [{}, {}]
    for layer in ("0", "2"):
        for total, counts in zip(
            expected, literal_counts(codes[f"{layer}.weight"], inputs[layer].tolist(), 4, 3, 4, 2), strict=True
        ):
            for level, count in counts.items():
                total[level] = total.get(level, 0) + count
    assert_equal_counts(bitline_sums(model, x, rows=4), expected)


def test_no_input_causes_a_larger_sum_than_the_bound() -> None:
    torch.manual_seed(4)
    x = torch.rand(50, 1, 8, 8)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    model = ready(net, x, bits=8, activation_bits=8)
    for sums in bitline_sums(model, x, rows=32):
        assert 0 < sums.observed <= sums.bound <= 32 * 3
        assert sums.observed_bits == resolution(sums.observed) <= sums.bound_bits == resolution(sums.bound)


def test_inputs_of_all_ones_reach_the_bound() -> None:
    layer = nn.Linear(20, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(1, 256, (4, 20), generator=torch.Generator().manual_seed(5)) / 256)
    x = torch.ones(1, 20)  # code 255: every bit of every input is 1
    model = ready(nn.Sequential(layer), x, bits=8, activation_bits=8)
    for k, sums in enumerate(bitline_sums(model, x)):
        largest = int(to_slices(next(quantized_tensors(model)).codes())[k].sum(dim=1).max())
        assert sums.observed == sums.bound == largest


def test_slices_come_least_significant_first_and_see_only_their_own_digits() -> None:
    layer = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[192.0, -64.0, 4.0]]) / 256)  # B3 = 3; B3 = 1, negative; B1 = 1
    x = torch.ones(1, 3)
    model = ready(nn.Sequential(layer), x, bits=8, activation_bits=8)
    assert [sums.observed for sums in bitline_sums(model, x)] == [0, 1, 0, 3]


def test_batches_do_not_change_the_counts() -> None:
    torch.manual_seed(6)
    x = torch.rand(7, 9)
    model = ready(nn.Sequential(nn.Linear(9, 4)), x, bits=8, activation_bits=8)
    together, apart = bitline_sums(model, x), bitline_sums(model, x, batch=3)
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one.counts, other.counts)
        assert one.bound == other.bound


def test_pruned_weights_conduct_nothing() -> None:
    torch.manual_seed(7)
    x = torch.rand(3, 9)
    model = ready(nn.Sequential(nn.Linear(9, 4)), x, bits=8, activation_bits=8)
    prune(model, 100.0)
    assert [(s.bound, s.observed, s.bound_bits) for s in bitline_sums(model, x)] == [(0, 0, 0)] * 4


def test_observing_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(8)
    x = torch.rand(3, 9)
    model = ready(nn.Sequential(nn.Linear(9, 4)), x, bits=8, activation_bits=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = [len(m._forward_hooks) for m in model.modules()]
    bitline_sums(model, 10 * x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [len(m._forward_hooks) for m in model.modules()] == hooks


def test_clipped_is_the_share_of_sums_beyond_the_adc() -> None:
    sums = BitlineSums(bound=7, counts=torch.tensor([50, 20, 10, 10, 6, 4, 0, 0]))
    assert [sums.beyond(full_scale) for full_scale in (1, 3, 7)] == [0.3, 0.1, 0.0]
    assert sums.beyond(sums.observed) == 0
    assert (sums.observed_bits, sums.bound_bits) == (3, 3)


def test_the_pooled_bound_is_the_largest() -> None:
    counts = torch.ones(1, 2, 1, 10, dtype=torch.int64)
    layers = [LayerSums("", torch.full((1, 2, 1), bound), counts) for bound in (3, 9, 5)]
    assert pooled(layers)[0].bound == 9
