"""Bit-slice L0: the proximal operator against brute force, and the quantizer that stores what it says."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint, Rounding
from bitslice.lab import training
from bitslice.lab.records import Record
from bitslice.lab.words import Method
from bitslice.proximal import ProximalFixedPoint, charge_slices, proximal_table
from bitslice.quantizer import prune, quantize, quantized_tensors
from bitslice.storage import export_codes
from tests.conftest import Trained, silent, small


def nonzero_slices(code: int, base: int = 4) -> int:
    return 0 if code == 0 else (code % base != 0) + nonzero_slices(code // base, base)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 2.0, 8.0, 32.0, 128.0, 512.0, 1e6])
@pytest.mark.parametrize("cell_bits", [1, 2, 4])
def test_table_is_the_proximal_operator_of_the_slice_count(alpha: float, cell_bits: int) -> None:
    table = proximal_table(alpha, 8, cell_bits)

    def cost(code: int, stored: int) -> float:
        return (code - stored) ** 2 / 2 + alpha * nonzero_slices(stored, 2**cell_bits)

    for code in range(256):
        best = min(range(256), key=lambda stored: cost(code, stored))  # the first of equals, the smallest
        assert table[255 + code].item() == best
        assert table[255 - code].item() == -best


def test_a_free_slice_changes_no_code_and_a_dear_one_leaves_none() -> None:
    assert proximal_table(0.0).tolist() == list(range(-255, 256))
    assert not proximal_table(1e6).any()


@pytest.mark.parametrize("threshold", [2, 4, 8, 16, 32])
def test_price_zeroes_what_lies_within_its_threshold(threshold: int) -> None:
    table = proximal_table(threshold**2 / 2)
    assert not table[255 : 255 + threshold + 1].any()
    assert table[255 + threshold + 1] != 0


@pytest.mark.parametrize(("price", "multiple"), [(4.6, 4), (108.1, 16)])
def test_low_slices_are_empty_above_the_price_of_dropping_them(price: float, multiple: int) -> None:
    assert not (proximal_table(price) % multiple).any()
    assert (proximal_table(price - 0.2) % multiple).any()


def test_no_code_stalls_on_its_way_down() -> None:
    # Where bit-slice L1 stops pulling, at multiples of 4, 16 and 64, a higher price still removes the code.
    for code in (4, 16, 64):
        assert proximal_table(code**2 / 2)[255 + code] == 0


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 16, 3))
    quantize(model)
    return model


def test_layers_compute_with_the_stored_codes_and_gradients_pass_straight_through() -> None:
    model = network()
    plain = {t.name: t.codes() for t in quantized_tensors(model)}
    charge_slices(model, 32.0)
    table = proximal_table(32.0)
    model(torch.rand(4, 1, 6, 6))
    changed = 0
    for tensor in quantized_tensors(model):
        assert isinstance(tensor.quantizer, ProximalFixedPoint)
        codes = tensor.codes()
        assert torch.equal(codes, table[plain[tensor.name].long() + 255].int())
        changed += int((codes != plain[tensor.name]).sum())
        weight = getattr(tensor.layer, tensor.name.rpartition(".")[2])
        assert torch.equal(weight, codes * tensor.quantizer.step)
        (gradient,) = torch.autograd.grad(weight.sum(), tensor.original)
        assert torch.equal(gradient, torch.ones_like(gradient))
    assert changed > 50


def test_pruned_weights_stay_zero_and_batch_norm_is_left_alone() -> None:
    model = network()
    prune(model, 0.1)
    norm = {name: value.clone() for name, value in model[1].state_dict().items()}
    charge_slices(model, 8.0)
    assert {name: value.tolist() for name, value in model[1].state_dict().items()} == {
        name: value.tolist() for name, value in norm.items()
    }
    for tensor in quantized_tensors(model):
        (mask,) = tensor.masks
        with torch.no_grad():
            tensor.original.add_(1.0)
        model.train()(torch.rand(4, 1, 6, 6))
        assert not tensor.codes()[mask.mask == 0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_layout_and_precision_gives_the_same_values(dtype: torch.dtype, layout: torch.memory_format) -> None:
    w = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    plain, charged = FixedPoint(), ProximalFixedPoint(8.0)
    expected = plain(w).float()
    result = charged(w.to(memory_format=layout))
    assert result.dtype is dtype
    assert torch.equal(result.float(), proximal_table(8.0)[(expected / plain.step).long() + 255] * plain.step)


def test_state_and_codes_are_those_of_a_plain_quantizer() -> None:
    model = network()
    before = model.state_dict()
    charge_slices(model, 0.0)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_weights_that_have_diverged_do_not_stop_the_program(lost: float) -> None:
    quantizer = ProximalFixedPoint(8.0)
    assert quantizer(torch.tensor([lost, 1.0])).shape == (2,)


def test_a_model_that_is_not_quantized_is_refused() -> None:
    with pytest.raises(BitsliceError, match="charge_slices needs a quantized model"):
        charge_slices(nn.Sequential(nn.Linear(2, 2)), 1.0)


def test_a_higher_price_leaves_fewer_slices_and_the_record_holds_them(trained: Trained) -> None:
    def slices(record: Record) -> float:
        return record.mean_density

    pruned, charged = trained.records[Method.PRUNED], trained.records[Method.BL0]
    assert slices(charged) < slices(pruned)
    stored = export_codes(charged.network())["1.weight"]
    table = set(proximal_table(charged.config.alpha or 0.0).tolist())
    assert set(stored.flatten().tolist()) <= table


@pytest.mark.usefixtures("digits")
def test_training_stores_no_code_that_costs_more_than_it_is_worth(trained: Trained, tmp_path: Path) -> None:
    shutil.copy(trained.folder / "quantized-s0.state.npz", tmp_path)
    record = training.run(small(Method.BL0, alpha=512.0), tmp_path, report=silent)
    assert record.mean_density < trained.records[Method.BL0].mean_density
    for tensor in quantized_tensors(record.network()):
        assert not ((tensor.codes() != 0) & (tensor.codes().abs() < 32)).any()


def test_word_rounding_and_mode_are_kept() -> None:
    model = quantize(nn.Sequential(nn.Linear(4, 3)), bits=6, rounding=Rounding.FLOOR).eval()
    plain = {tensor.name: tensor.codes() for tensor in quantized_tensors(model)}
    charge_slices(model, 2.0)
    for tensor in quantized_tensors(model):
        new = tensor.quantizer
        assert (new.bits, new.rounding, new.training) == (6, Rounding.FLOOR, False)
        assert torch.equal(tensor.codes(), proximal_table(2.0, 6)[plain[tensor.name].long() + 63].int())
