"""Training through ADCs: forward as on crossbars bit for bit, backward against gradients written down naively."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitslice.cli import main
from bitslice.crossbar import Adc, AdcBits, Crossbar, LayerAdcs, RowOrder, SignedInputs, adcs, deploy, map_network
from bitslice.crossbar.aware import AdcGradient, Matrix, slope, through_adcs
from bitslice.crossbar.drive import digits
from bitslice.errors import BitsliceError
from bitslice.lab import evaluation, records, training
from bitslice.lab.adaptation import LEVELS, LONGER, PLAIN, Adaptation
from bitslice.lab.config import Config
from bitslice.lab.experiments import EXPERIMENTS, adaptation, adapted, mnist, run_name
from bitslice.lab.words import Method, Profile
from bitslice.quantizer import quantize, quantized_tensors
from tests.conftest import TEST, Trained, silent, small

CLAIMED = (3, 3, 3, 1)

LAYERS = {
    "linear": (lambda: nn.Linear(40, 6), (7, 40)),
    "linear on sequences": (lambda: nn.Linear(9, 3, bias=False), (2, 5, 9)),
    "strided groups": (lambda: nn.Conv2d(24, 10, 3, 2, 2, groups=2), (3, 24, 9, 11)),
    "dilated, each side its own": (lambda: nn.Conv2d(8, 4, (3, 2), (2, 1), (0, 2), (1, 2)), (2, 8, 9, 11)),
}


def quantized(layer: nn.Module, x: Tensor) -> nn.Sequential:
    """A quantized network of one layer, in evaluation mode, whose scales have seen ``x``."""
    model = nn.Sequential(layer)
    quantize(model)(x)
    return model.eval()


def drawn(name: str, signed: bool) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    x = torch.randn(shape) if signed else torch.rand(shape)
    return quantized(build(), x), x


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("order", RowOrder, ids=str)
@pytest.mark.parametrize("bits", [None, CLAIMED, (Adc(3, 4), None, 4, None)], ids=str)
@pytest.mark.parametrize("gradient", AdcGradient, ids=str)
def test_forward_is_that_of_the_crossbars(
    layer: str, signed: bool, order: RowOrder, bits: AdcBits, gradient: AdcGradient
) -> None:
    model, x = drawn(layer, signed)
    crossbar = Crossbar(rows=32, row_order=order)
    expected = deploy(model, map_network(model, x, crossbar), bits)(x)
    plain = model(x)
    with through_adcs(model, bits, crossbar, gradient):
        assert torch.equal(model(x), expected)
    assert torch.equal(model(x), plain)


def gradients(model: nn.Sequential, x: Tensor, upstream: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    model.zero_grad()
    model(x).backward(upstream)
    assert x.grad is not None
    return [x.grad, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("gradient", AdcGradient, ids=str)
def test_ideal_adcs_have_the_gradient_without_them(layer: str, signed: bool, gradient: AdcGradient) -> None:
    model, x = drawn(layer, signed)
    x[..., ::3] = 0  # what is zero feels everything
    next(quantized_tensors(model)).original.data[:, ::4] = 0
    upstream = torch.randn_like(model(x))
    expected = gradients(model, x, upstream)
    with through_adcs(model, None, Crossbar(rows=32, row_order=RowOrder.SPREAD), gradient):
        for found, wanted in zip(gradients(model, x, upstream), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("signed_inputs", SignedInputs, ids=str)
def test_straight_through_gradient_is_that_of_the_exact_product(layer: str, signed_inputs: SignedInputs) -> None:
    model, x = drawn(layer, signed=True)
    crossbar = Crossbar(rows=32, signed_inputs=signed_inputs)
    upstream = torch.randn_like(model(x))
    expected = gradients(model, x, upstream)
    given = deploy(model, map_network(model, x, crossbar), 2)(x)
    assert not torch.equal(given, model(x))
    with through_adcs(model, 2, crossbar):
        assert torch.equal(model(x), given)
        assert all(map(torch.equal, gradients(model, x, upstream), expected))


def by_hand(adc: Adc, total: int) -> float:
    """The slope at one sum: of every step a Gaussian around its threshold, half a step wide and a step high."""
    assert adc.bits is not None
    thresholds = [adc.first + adc.step * n for n in range(2**adc.bits - 1)]
    width = adc.step / 2
    densities = (math.exp(-(((total - at) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi)) for at in thresholds)
    return adc.step * sum(densities)


def test_slope_of_an_adc_is_about_1_within_its_range_and_0_far_beyond() -> None:
    sums = torch.tensor([[0, 1, 4], [7, 8, 20]])
    found = slope(Adc(3), sums)
    assert found.dtype == torch.float32
    peak = 2 / math.sqrt(2 * math.pi)
    at_8 = peak * (math.exp(-2) + math.exp(-8))  # thresholds 1 to 7
    inside = peak * (1 + 2 * math.exp(-2) + 2 * math.exp(-8))
    expected = torch.tensor([[at_8, peak * (1 + math.exp(-2) + math.exp(-8)), inside], [0, at_8, 0]])
    expected[1, 0] = expected[0, 1]  # as far from one end as 1 is from the other
    assert at_8 == pytest.approx(0.108, abs=5e-4)
    assert inside == pytest.approx(1.0145, abs=5e-4)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert slope(Adc(None), sums).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("adc", [Adc(1), Adc(1, 8, 3), Adc(2, 4), Adc(2, 4, 1), Adc(3, 2, 1), Adc(16)], ids=str)
def test_slope_at_a_sum_does_not_depend_on_the_others(adc: Adc) -> None:
    small = replace(adc, bits=min(adc.bits or 0, 8))  # that has the same thresholds here
    for largest in (0, 1, 2, 9, 40):
        found = slope(adc, torch.arange(largest + 1))
        expected = torch.tensor([by_hand(small, total) for total in range(largest + 1)])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("gradient", [AdcGradient.SHARE, AdcGradient.GAUSSIAN], ids=str)
def test_gradient_counts_each_array_by_what_its_adcs_let_through(signed: bool, gradient: AdcGradient) -> None:
    model, x = drawn("linear", signed)
    crossbar, bits = Crossbar(rows=16, row_order=RowOrder.SPREAD), (2, 3, 3, 1)
    upstream = torch.randn(7, 6)
    tensor, step = next(quantized_tensors(model)), model[0].input_quantizer.step
    w, codes = tensor.codes().T, (x / step).round().clamp(-255, 255).int()
    x_gradient, w_gradient = torch.zeros(7, 40), torch.zeros(40, 6)
    clipped = 0
    for tile in crossbar.tiles(40):
        for vector in range(7):
            for output in range(6):
                for phase in (1, -1):
                    for sign in (1, -1):
                        cells = (sign * w[tile, output]).clamp_min(0)
                        words = (phase * codes[vector, tile]).clamp_min(0)
                        exact = int((words * cells).sum())
                        given, let_through = 0, 0.0
                        for cycle, driven in enumerate(digits(words, crossbar, 8)):
                            for k, adc in enumerate(adcs(bits)):
                                total = (driven * (cells >> 2 * k & 3)).sum()
                                code, weight = int(adc.convert(total)), 2 ** (2 * k + cycle)
                                given += code * weight
                                gaussian = gradient is AdcGradient.GAUSSIAN
                                let_through += weight * (total * by_hand(adc, int(total)) if gaussian else code)
                        clipped += given < exact
                        share = float(let_through) / exact if exact else 1.0
                        felt = share * upstream[vector, output]
                        for row in tile.tolist():
                            level, code = int(w[row, output]), int(codes[vector, row])
                            if sign * level > 0:
                                phases = [1, -1] if signed and code == 0 else [1 if code >= 0 else -1]
                                if phase in phases:
                                    x_gradient[vector, row] += felt * level * tensor.quantizer.step / len(phases)
                            if phase * code > 0 and (sign * level > 0 or level == 0):
                                w_gradient[row, output] += felt * code * step / (2 if level == 0 else 1)
    assert clipped > 20
    with through_adcs(model, bits, crossbar, gradient):
        found = gradients(model, x, upstream)
    torch.testing.assert_close(found[0], x_gradient, rtol=1e-4, atol=1e-5)
    weight = model[0].parametrizations.weight.original.grad
    torch.testing.assert_close(weight, w_gradient.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("bits", [None, CLAIMED, (Adc(3, 4), Adc(1, 8, 3), 4, None)], ids=str)
def test_arrays_convert_alike_in_c_and_in_torch(tiles: int, bits: AdcBits) -> None:
    torch.manual_seed(0)
    codes = torch.randint(-255, 256, (16 * tiles - 3, 5), dtype=torch.int32)
    words = torch.randint(0, 256, (16 * tiles - 3, 70), dtype=torch.int32)
    matrix = Matrix(Crossbar(rows=16), adcs(bits), 8, 8, AdcGradient.SHARE)
    found = matrix.converted(words, codes)
    assert found.shape == (tiles, 5, 2, 70)
    assert torch.equal(found, matrix.added(words, codes, [adc.convert for adc in matrix.adcs]))
    if bits is None:
        assert torch.equal(found.sum((0, 2)).int(), codes.T @ words)


def test_two_weights() -> None:
    """Two weights of 3 levels, both driven: 3 + 3 meets a 2-bit ADC, whose largest code is 3: half gets through."""
    crossbar, codes = Crossbar(rows=2), torch.tensor([[3], [3]], dtype=torch.int32)
    words = torch.tensor([[1, 1], [1, 0]], dtype=torch.int32).T
    matrix = Matrix(crossbar, adcs(2), 8, 1, AdcGradient.SHARE)
    assert matrix.converted(words, codes).tolist() == [[[[3.0, 3.0], [0.0, 0.0]]]]
    assert matrix.converted(words, -codes).tolist() == [[[[0.0, 0.0], [-3.0, -3.0]]]]
    halved = matrix.added(words, codes, [lambda sums: sums / 2] * 4)
    assert halved.tolist() == [[[[3.0, 1.5], [0.0, 0.0]]]]
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.full((1, 2), 192.0)
    quantize(model)(torch.tensor([[255.0, 255.0]]))
    model.eval()
    upstream = torch.ones(1, 1)
    exact = gradients(model, torch.tensor([[255.0, 255.0]]), upstream)
    with through_adcs(model, 2, crossbar, AdcGradient.SHARE):
        for found, wanted in zip(gradients(model, torch.tensor([[255.0, 255.0]]), upstream), exact, strict=True):
            assert torch.equal(found, wanted / 2)
        for found, wanted in zip(
            gradients(model, torch.tensor([[255.0, 0.0]]), upstream),
            ([[192.0, 192.0]], [[255.0, 0.0]]),
            strict=True,
        ):
            assert found.tolist() == wanted


def test_the_network_is_left_as_it_was_even_after_an_error() -> None:
    model, x = drawn("linear", signed=False)
    plain = model(x)
    with through_adcs(model, 1):
        assert not torch.equal(model(x), plain)
    with pytest.raises(RuntimeError), through_adcs(model, 1):
        model(x[:, :3])
    assert torch.equal(model(x), plain)


@pytest.mark.parametrize("gradient", AdcGradient, ids=str)
def test_every_layer_has_its_own_adcs(gradient: AdcGradient) -> None:
    torch.manual_seed(0)
    x = torch.rand(7, 40)
    model = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 4))
    quantize(model)(x)
    bits = LayerAdcs({"0": CLAIMED, "2": 5})
    expected = deploy(model.eval(), map_network(model, x), bits)(x)
    with through_adcs(model, bits, gradient=gradient):
        assert torch.equal(model(x), expected)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gradient", AdcGradient, ids=str)
def test_a_batch_without_an_image_gives_none(layer: str, gradient: AdcGradient) -> None:
    model, x = drawn(layer, signed=False)
    none = x[:0].clone().requires_grad_()
    with through_adcs(model, 3, gradient=gradient):
        found = model(none)
    assert found.shape == model(x)[:0].shape
    found.sum().backward()
    assert none.grad is not None


@pytest.mark.parametrize("gradient", AdcGradient, ids=str)
def test_autocast_leaves_the_codes_exact(gradient: AdcGradient) -> None:
    model, x = drawn("linear", signed=False)
    x = model[0].input_quantizer(x)
    with through_adcs(model, 3, gradient=gradient):
        expected = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(x.bfloat16()), expected)


@pytest.mark.parametrize(
    ("build", "bits", "crossbar", "message"),
    [
        (lambda: nn.Linear(2, 2), 3, Crossbar(), "a crossbar needs a quantized network"),
        (lambda: drawn("linear", False)[0], (3, 3), Crossbar(), "4 slices need 4 ADC resolutions"),
        (lambda: drawn("linear", False)[0], 3, Crossbar(cell_bits=3), "layer '0': cells of 3 bits do not divide"),
        (lambda: drawn("linear", False)[0], 3, Crossbar(signed_inputs=SignedInputs.OFFSET), "not by offset"),
    ],
)
def test_what_cannot_be_simulated_is_refused(build: object, bits: AdcBits, crossbar: Crossbar, message: str) -> None:
    through = through_adcs(build(), bits, crossbar, AdcGradient.SHARE)  # type: ignore[operator]
    with pytest.raises(BitsliceError, match=message), through:
        pass


def test_arrays_that_sum_more_than_a_product_have_no_gradient_by_arrays() -> None:
    model, _ = drawn("linear", signed=True)
    through = through_adcs(model, 3, Crossbar(signed_inputs=SignedInputs.OFFSET), AdcGradient.GAUSSIAN)
    with pytest.raises(BitsliceError, match="not by offset"), through:
        pass


def example(method: Method = Method.BL1, order: RowOrder = RowOrder.SPREAD) -> Config:
    return adapted(small(method), Adaptation(row_order=order))


class TestConfiguration:
    def test_name_tells_the_adcs_and_the_row_order(self) -> None:
        assert run_name(example()) == "bl1-adc3.3.3.1-spread-s0"
        assert run_name(example(order=RowOrder.CONSECUTIVE)) == "bl1-adc3.3.3.1-s0"
        assert (
            run_name(adapted(small(Method.L1, 2, 3.0), Adaptation((None, 4, 4, 10))))
            == "l1-a3-adcideal.4.4.10-spread-s2"
        )
        assert (
            run_name(adapted(small(Method.BL1), Adaptation((Adc(3, 2), 3, 3, 1), headroom=2)))
            == "bl1-adc3x2.3.3.1-spread-h2-s0"
        )
        assert run_name(adapted(small(Method.BL1), LONGER)) == "bl1-adc3.3.3.1-spread-levels-e10-s0"
        allocated = Adaptation(None, 1.5, adc_levels=25, recalibrated=2000)
        assert run_name(adapted(small(Method.BL1), allocated)) == "bl1-mean1.5-spread-levels-bn2000-s0"
        every = replace(allocated, adc_mean=2, headroom=1, gradient=AdcGradient.GAUSSIAN, epochs=3, rate=0.025)
        assert run_name(adapted(small(Method.L1, 1, 3.0), every)) == (
            "l1-a3-mean2-spread-h1-levels-gaussian-e3-r0.025-bn2000-s1"
        )
        taught = Adaptation(adc_levels=25, levels_kept=True, distilled=True, epochs=3)
        assert run_name(adapted(small(Method.BL1), taught)) == "bl1-adc3.3.3.1-spread-levelskept-distilled-e3-s0"

    def test_epochs_are_the_profile_s_unless_they_are_named(self) -> None:
        def epochs(profile: Profile, how: Adaptation) -> int:
            stage = adapted(EXPERIMENTS["cifar10-resnet20"](Method.L1, profile), how).adapt
            assert stage is not None
            return stage.epochs

        assert [epochs(Profile.CPU, how) for how in (PLAIN, Adaptation(headroom=2), LEVELS, LONGER)] == [5, 2, 4, 10]
        assert [epochs(Profile.LONG, how) for how in (PLAIN, Adaptation(headroom=2), LEVELS)] == [10, 10, 4]
        assert epochs(Profile.SMOKE, replace(PLAIN, epochs=3)) == 3
        config = adapted(mnist(Method.BL1), replace(PLAIN, epochs=2))
        assert adaptation(config) == PLAIN  # as the profile has it
        with pytest.raises(BitsliceError, match="at least 1 epoch, not 0"):
            adapted(small(Method.BL1), replace(PLAIN, epochs=0))

    def test_last_stage_has_no_regularizer(self) -> None:
        for method in (Method.BL1, Method.BL0, Method.QUANTIZED):
            stage = adapted(mnist(method, Profile.PAPER)).adapt
            assert stage is not None
            assert (stage.regularizer, stage.alpha, stage.slice_price, stage.epochs) == (None, 0.0, None, 10)
            assert (stage.adc_bits, stage.row_order) == (CLAIMED, RowOrder.SPREAD)

    def test_survives_json(self) -> None:
        assert Config.from_dict(example().to_dict()) == example()
        values = example().to_dict()
        values["adapt"]["adc_bits"] = list(CLAIMED)  # as JSON gives it
        assert Config.from_dict(values) == example()
        stepped = adapted(small(Method.BL1), Adaptation((Adc(3, 2), 3, None, 1), headroom=1))
        assert Config.from_dict(json.loads(json.dumps(stepped.to_dict()))) == stepped

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(BitsliceError, match="a float network has no slices"):
            example(Method.FLOAT)
        with pytest.raises(BitsliceError, match="4 slices need 4 ADC resolutions"):
            adapted(small(Method.BL1), Adaptation((3, 3)))
        with pytest.raises(BitsliceError, match="headroom in words of 8 bits lies between 0 and 7, not 8"):
            adapted(small(Method.BL1), Adaptation(headroom=8))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"adc_bits": None}, "ADCs are named slice by slice, or allocated by their mean resolution: one of both"),
            ({"adc_mean": 2.0, "adc_levels": 9}, "ADCs are named slice by slice, or allocated .*: one of both"),
            ({"adc_bits": None, "adc_mean": 2.0}, "and are allocated on the images for levels"),
            *(
                ({"adc_bits": None, "adc_mean": mean, "adc_levels": 9}, "ADCs have at least 1 bit on average")
                for mean in (0.99, 0.0, -2.0, math.inf, math.nan)
            ),
            *(({"rate": rate}, f"a learning rate is above 0, not {rate}") for rate in (0.0, -0.1, math.inf, math.nan)),
            ({"adc_levels": 0}, "the levels of ADCs are found on at least 1 image, not 0"),
            ({"levels_kept": True}, "levels of ADCs that stay are to be found first: say on how many images"),
            ({"refined": 9}, "levels of ADCs that the loss chooses are to be found first: say on how many images"),
            ({"adc_levels": 9, "refined": 0}, "are chosen by the loss on at least 1 image, not 0"),
            ({"epochs": 0}, "a network is adapted for at least 1 epoch, not 0"),
            ({"recalibrated": 0}, "batch normalization is estimated again on at least 1 image, not 0"),
            ({"recalibrated": -3}, "batch normalization is estimated again on at least 1 image, not -3"),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_a_way_that_is_none_is_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(BitsliceError, match=message):
            Adaptation(**fields)


@pytest.mark.usefixtures("digits")
class TestRun:
    def test_starts_from_the_record_without_it_and_keeps_zeros(self, trained: Trained, tmp_path: Path) -> None:
        start = trained.records[Method.BL1]
        config = example()
        for path in trained.folder.glob("bl1-s0.*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        record = training.run(config, tmp_path, report=silent)
        assert record.epochs["stage"] == ["adapt"]
        assert record.after_pruning is None
        network = records.read(tmp_path / f"{run_name(config)}.json").network()
        x = evaluation.network_input(TEST.pixels, TEST, config.input_scaling)
        crossbar = Crossbar(row_order=RowOrder.SPREAD)
        deployed = deploy(network, map_network(network, x, crossbar), CLAIMED)
        assert record.final["adc_accuracy"] == evaluation.percent_correct(deployed, [(x, TEST.labels)])
        before, after = (list(quantized_tensors(r.network())) for r in (start, record))
        assert not any(bool((a.codes()[b.codes() == 0] != 0).any()) for b, a in zip(before, after, strict=True))
        assert any(bool((a.codes() != b.codes()).any()) for b, a in zip(before, after, strict=True))

    def test_headroom_is_left_by_the_last_epoch_too(self, trained: Trained, tmp_path: Path) -> None:
        for path in trained.folder.glob("bl1-s0.*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        record = training.run(adapted(small(Method.BL1), Adaptation(headroom=2)), tmp_path, report=silent)
        for tensor in quantized_tensors(record.network()):
            largest = int(tensor.codes().abs().max())
            assert largest <= 63 if tensor.name.endswith("weight") else 64 <= largest <= 255

    def test_levels_are_found_before_every_epoch_and_kept_with_the_record(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        for path in trained.folder.glob("bl1-s0.*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        how = Adaptation(adc_levels=20, gradient=AdcGradient.STRAIGHT_THROUGH, epochs=2)
        config = adapted(small(Method.BL1), how)
        assert run_name(config) == "bl1-adc3.3.3.1-spread-levels-straight_through-e2-s0"
        record = training.run(config, tmp_path, report=silent)
        read = records.read(record.path)
        assert isinstance(read.adcs, LayerAdcs)
        assert read.adcs == record.adcs
        x = evaluation.network_input(TEST.pixels, TEST, config.input_scaling)
        crossbar = Crossbar(row_order=RowOrder.SPREAD)
        network = read.network()
        deployed = deploy(network, map_network(network, x, crossbar), read.adcs)
        assert record.final["adc_accuracy"] == evaluation.percent_correct(deployed, [(x, TEST.labels)])

        def stop(line: str) -> None:
            if "adapt 2/2" in line:
                raise KeyboardInterrupt

        for path in tmp_path.glob("*levels*"):
            path.unlink()
        with pytest.raises(KeyboardInterrupt):
            training.run(config, tmp_path, report=stop, checkpoint_seconds=0)
        assert training.run(config, tmp_path, report=silent).final == record.final

    def test_trains_what_it_starts_from_where_that_is_missing(self, trained: Trained, tmp_path: Path) -> None:
        training.run(example(), tmp_path, report=silent)
        assert records.read(tmp_path / "bl1-s0.json").weights == trained.records[Method.BL1].weights

    def test_goes_on_after_an_interruption(self, tmp_path: Path) -> None:
        config = example()
        assert config.adapt is not None
        config = replace(config, adapt=replace(config.adapt, epochs=3))
        straight = training.run(config, tmp_path / "straight", report=silent)

        def interrupt(line: str) -> None:
            if "adapt 2/3" in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training.run(config, tmp_path / "cut", report=interrupt, checkpoint_seconds=0)
        told: list[str] = []
        record = training.run(config, tmp_path / "cut", report=told.append)
        assert "going on after epoch 1" in told[0]
        assert (record.weights, record.epochs, record.final) == (straight.weights, straight.epochs, straight.final)

    def test_refuses_a_start_of_another_configuration(self, trained: Trained, tmp_path: Path) -> None:
        for path in trained.folder.glob("bl1-s0.*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        with pytest.raises(BitsliceError, match="another configuration: test_images is 1000, not 7"):
            training.run(replace(example(), test_images=7), tmp_path, report=silent)

    def test_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["train", "mnist", "--method", "bl1", "--profile", "smoke", "--out", str(tmp_path)]
        assert main([*command, "--adc-bits", "3,3,3,1"]) == 0
        record = records.read(tmp_path / "bl1-adc3.3.3.1-spread-s0.json")
        assert f"{record.final['adc_accuracy']:.2f}% through ADCs" in capsys.readouterr().out
        for arguments, message in (
            (["--headroom", "2"], "give --adc-bits or --adc-mean too"),
            (["--adc-levels", "9"], "--adc-levels takes part in training through ADCs: give --adc-bits or --adc-mean"),
            (["--adc-gradient", "share"], "--adc-gradient takes part in training through ADCs"),
            (["--adc-epochs", "0"], "--adc-epochs takes part in training through ADCs"),
            (["--adc-rate", "0.1"], "--adc-rate takes part in training through ADCs"),
            (["--adc-recalibrate", "9"], "--adc-recalibrate takes part in training through ADCs"),
            (["--adc-refine", "9"], "--adc-refine takes part in training through ADCs"),
            (["--adc-first", "3,3,3,1"], "--adc-first takes part in training through ADCs"),
            (["--adc-bits", "3,3,3,1", "--adc-first", "3,3"], "4 slices need 4 ADC resolutions"),
            (["--adc-levels-kept"], "--adc-levels-kept takes part in training through ADCs"),
            (["--adc-distilled"], "--adc-distilled takes part in training through ADCs"),
            (["--adc-bits", "3,3,3,1", "--adc-levels-kept"], "levels of ADCs that stay are to be found first"),
            (["--adc-bits", "3,3,3,1", "--adc-levels", "0"], "are found on at least 1 image, not 0"),
            (
                ["--adc-bits", "3,3,3,1", "--adc-mean", "2", "--adc-levels", "9"],
                "by their mean resolution: one of both",
            ),
            (["--adc-mean", "2"], "are allocated on the images for levels"),
            (["--adc-mean", "0.5", "--adc-levels", "9"], "ADCs have at least 1 bit on average"),
            (["--adc-bits", "3,3,3,1", "--adc-rate", "0"], "a learning rate is above 0, not 0.0"),
            (["--adc-bits", "3,3,3,1", "--adc-recalibrate", "0"], "on at least 1 image, not 0"),
            (["--adc-bits", "3,3,3,1", "--adc-gradient", "no"], "unknown adc gradient 'no'"),
            (["--adc-bits", "3,3"], "4 slices need 4 ADC resolutions"),
            (["--adc-bits", "3,3,3,x"], "ADCs are bits, as 3x2 with a step, as 1x4@3 with a threshold, or ideal"),
            (["--adc-bits", "3,3,3,1", "--row-order", "no"], "unknown row order 'no'"),
        ):
            assert main([*command, *arguments]) == 2
            error = capsys.readouterr().err
            assert message in error
            assert error.count("\n") == 1
