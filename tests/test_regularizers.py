"""Bit-slice L1 against the authors' floor/round straight-through composition, value and gradient, exactly."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.fixed_point import power_of_two_step
from bitslice.lab.words import RegularizerKind
from bitslice.quantizer import prune, quantize, quantized_tensors
from bitslice.regularizers import L1, BitSliceL1, Regularizer, slice_tables


class _Floor(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def authors_slice_sum(w: Tensor, step: Tensor, largest_code: int | None = None) -> Tensor:
    """Sum of B0..B3 over ``w`` the way the authors' code composes it, with their clamp only where asked for."""
    x = _Round.apply(w.abs() / step)
    if largest_code is not None:
        x = x + (x.clamp(max=largest_code) - x).detach()
    b3 = _Floor.apply(x / 64)
    b2 = _Floor.apply((x - b3.detach() * 64) / 16)
    b1 = _Floor.apply((x - b3.detach() * 64 - b2.detach() * 16) / 4)
    b0 = x - b3.detach() * 64 - b2.detach() * 16 - b1.detach() * 4
    return b3.abs().sum() + b2.abs().sum() + b1.abs().sum() + b0.abs().sum()


def layer_with(weights: Tensor) -> nn.Linear:
    """A quantized layer without bias, whose one weight row is ``weights``."""
    layer = nn.Linear(len(weights), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weights[None])
    quantize(layer)
    return layer


def value_and_gradient(regularizer: Regularizer) -> tuple[Tensor, Tensor]:
    (tensor,) = regularizer.tensors
    tensor.original.grad = None
    value = regularizer()
    value.backward()
    assert tensor.original.grad is not None
    return value.detach(), tensor.original.grad.flatten()


def authors_value_and_gradient(weights: Tensor, largest_code: int | None = None) -> tuple[Tensor, Tensor]:
    w = weights.clone().requires_grad_()
    value = authors_slice_sum(w, power_of_two_step(weights), largest_code) / (4 * len(weights))
    value.backward()
    assert w.grad is not None
    return value.detach(), w.grad


@pytest.mark.parametrize("exponent", [-20, -9, 0, 5])
def test_value_and_gradient_equal_the_authors_composition_for_every_code(exponent: int) -> None:
    codes = torch.cat([torch.arange(-255, 256), torch.tensor([255])])  # 512 of them, so that 1/N is exact
    weights = codes * 2.0**exponent
    layer = layer_with(weights)
    assert next(quantized_tensors(layer)).codes().flatten().tolist() == codes.tolist()
    value, gradient = value_and_gradient(BitSliceL1(layer))
    expected_value, expected_gradient = authors_value_and_gradient(weights)
    assert torch.equal(value, expected_value)
    assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_equal_the_authors_composition_on_random_weights(seed: int) -> None:
    weights = torch.randn(4096, generator=torch.Generator().manual_seed(seed)) * 0.1**seed
    value, gradient = value_and_gradient(BitSliceL1(layer_with(weights)))
    expected_value, expected_gradient = authors_value_and_gradient(weights, largest_code=255)
    assert torch.equal(value, expected_value)
    assert torch.equal(gradient, expected_gradient)


@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=8, max_size=8))
def test_value_and_gradient_equal_the_authors_composition_on_any_weights(values: list[float]) -> None:
    weights = torch.tensor(values)
    value, gradient = value_and_gradient(BitSliceL1(layer_with(weights)))
    expected_value, expected_gradient = authors_value_and_gradient(weights, largest_code=255)
    assert torch.equal(value, expected_value)
    assert torch.equal(gradient, expected_gradient)


def test_a_weight_that_would_round_to_code_256_counts_as_255() -> None:
    weights = torch.tensor([0.9999, -1.0])
    value, gradient = value_and_gradient(BitSliceL1(layer_with(weights)))
    assert value.item() == 3.0  # every slice of both weights is 3
    pull = (1 + 1 / 4 + 1 / 16 + 1 / 64) * 2.0**8 / 8
    assert gradient.tolist() == [pull, -pull]
    # The authors' code keeps 256 = 4 * 64, which a 2-bit cell cannot hold.
    theirs, _ = authors_value_and_gradient(weights)
    assert theirs.item() == 1.0


def test_a_weight_that_outgrew_its_frozen_step_counts_as_255() -> None:
    layer = layer_with(torch.tensor([1.0, 0.5]))
    (tensor,) = quantized_tensors(layer)
    with torch.no_grad():
        tensor.original.mul_(100)
    assert BitSliceL1(layer)().item() == 3.0


@pytest.mark.parametrize(("slices", "code"), [([0], 0), ([1], 4), ([2], 16), ([3], 64), ([1, 3], 68), ([0, 3], 65)])
def test_only_slices_that_are_not_zero_pull(slices: list[int], code: int) -> None:
    weights = torch.tensor([255.0, code]) * 2.0**-8
    _, gradient = value_and_gradient(BitSliceL1(layer_with(weights)))
    wanted = 0.0 if code == 0 else sum(4.0**-k for k in slices)
    assert gradient[1].item() == wanted * 2.0**8 / 8


def test_weights_stall_on_multiples_of_4_16_and_64_where_the_strong_pull_ends() -> None:
    _, pull = slice_tables()
    for code in range(1, 256):
        strength = pull[255 + code].item()
        if code % 64 == 0:
            assert strength == 1 / 64
        elif code % 16 == 0:
            assert strength <= 1 / 16 + 1 / 64
        elif code % 4 == 0:
            assert strength <= 1 / 4 + 1 / 16 + 1 / 64
        else:
            assert strength >= 1
        assert pull[255 - code].item() == -strength


def test_mean_pull_over_a_period_is_that_of_l1_per_code() -> None:
    # Codes 1..255: how often each slice is not zero, times its pull.
    _, pull = slice_tables()
    assert pull[256:].sum().item() == 192 * (1 + 1 / 4 + 1 / 16 + 1 / 64)


@pytest.mark.parametrize("cell_bits", [1, 2, 4, 8])
def test_any_cell_width_counts_digits_of_its_own_base(cell_bits: int) -> None:
    value, pull = slice_tables(8, cell_bits)
    assert len(value) == len(pull) == 511
    base = 2**cell_bits
    for code in range(256):
        digits = [code // base**k % base for k in range(8 // cell_bits)]
        assert value[255 + code].item() == value[255 - code].item() == sum(digits)
        assert pull[255 + code].item() == sum(float(base) ** -k for k, digit in enumerate(digits) if digit)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
    model = nn.Sequential(block, nn.Linear(2 * 16, 3, bias=False))
    quantize(model)
    return model


def test_bit_slice_l1_is_the_mean_over_all_parameters_and_slices_of_the_network() -> None:
    model = network()
    slice_sum = sum(authors_slice_sum(t.original, t.quantizer.step, 255).item() for t in quantized_tensors(model))
    parameters = 2 * 9 + 2 + 32 * 3
    assert BitSliceL1(model)().item() == pytest.approx(slice_sum / (4 * parameters), rel=1e-6)


def test_l1_is_the_mean_magnitude_over_all_quantized_parameters() -> None:
    model = network()
    originals = [t.original for t in quantized_tensors(model)]
    value = L1(model)()
    expected = torch.cat([w.detach().flatten() for w in originals]).abs().mean()
    assert torch.allclose(value, expected)
    value.backward()
    for w in originals:
        assert w.grad is not None
        assert torch.allclose(w.grad, w.detach().sign() / 116)
    assert all(p.grad is None for p in model[0][1].parameters())  # batch norm


@pytest.mark.parametrize("kind", RegularizerKind)
def test_regularizers_shrink_weights_and_never_wake_a_pruned_one(kind: RegularizerKind) -> None:
    model = network()
    prune(model, 0.1)
    regularizer = kind.build(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    pruned = [t.original == 0 for t in quantized_tensors(model)]
    assert any(zero.any() for zero in pruned)
    first = regularizer().item()
    for _ in range(20):
        optimizer.zero_grad()
        regularizer().backward()
        optimizer.step()
    assert regularizer().item() < first
    for tensor, zero in zip(quantized_tensors(model), pruned, strict=True):
        assert tensor.codes()[zero].count_nonzero() == 0


def test_kinds_build_the_regularizers_they_name() -> None:
    assert type(RegularizerKind("l1").build(network())) is L1
    assert type(RegularizerKind("bl1").build(network())) is BitSliceL1


@pytest.mark.parametrize("regularizer", [L1, BitSliceL1])
def test_a_model_that_is_not_quantized_is_refused(regularizer: type[Regularizer]) -> None:
    with pytest.raises(BitsliceError, match=f"{regularizer.__name__} needs a quantized model"):
        regularizer(nn.Sequential(nn.Linear(2, 2)))


def test_cells_that_do_not_divide_the_word_are_refused_at_once() -> None:
    with pytest.raises(BitsliceError, match="3 bits do not divide"):
        BitSliceL1(network(), cell_bits=3)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_weights_that_have_diverged_do_not_stop_the_program(lost: float) -> None:
    # Training notices by its loss; here it only matters that no table is indexed beyond its end.
    layer = layer_with(torch.tensor([1.0, 0.5]))
    with torch.no_grad():
        next(quantized_tensors(layer)).original[0, 0] = lost
    assert 0 <= BitSliceL1(layer)().item() <= 3
    layer(torch.ones(1, 2))
    assert 0 <= BitSliceL1(layer)().item() <= 3


@pytest.mark.parametrize(("bits", "cell_bits"), [(8, 1), (8, 4), (6, 3), (4, 2)])
def test_bit_slice_l1_of_any_word_and_cell(bits: int, cell_bits: int) -> None:
    layer = quantize(nn.Linear(16, 4, bias=False), bits)
    (tensor,) = quantized_tensors(layer)
    value, gradient = value_and_gradient(BitSliceL1(layer, cell_bits))
    sums, pull = slice_tables(bits, cell_bits)
    index = tensor.codes().flatten().long() + 2**bits - 1
    assert value.item() == pytest.approx(sums[index].mean().item() / (bits // cell_bits))
    assert torch.allclose(gradient, pull[index] / tensor.quantizer.step / (64 * bits / cell_bits))
