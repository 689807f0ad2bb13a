"""Networks on crossbars: mapping, exactness, statistics, cells that are not ideal."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bitslice import native, quantize
from bitslice.crossbar import (
    Adc,
    AdcBits,
    Crossbar,
    MappedLayer,
    NonIdealities,
    RowOrder,
    SignedInputs,
    Unfold,
    adc_setting,
    adcs,
    bitline_sums,
    deploy,
    map_network,
    pooled,
)
from bitslice.crossbar.exact import Exact
from bitslice.crossbar.network import CrossbarLayer, images_at_a_time, recalibrate
from bitslice.crossbar.nonideal import Analog
from bitslice.crossbar.reference import naive
from bitslice.crossbar.unfold import unfolded
from bitslice.errors import BitsliceError
from bitslice.fixed_point import FixedPoint
from bitslice.lab import evaluation, models, records
from bitslice.lab.data import DATA_SETS
from bitslice.lab.report import load


@pytest.fixture(params=["native", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both simulators in turn; the native one only where it is built."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the C kernels are not built")
    return str(request.param)


def quantized(*layers: nn.Module, x: Tensor) -> nn.Sequential:
    """A quantized network in evaluation mode whose scales have seen ``x``."""
    torch.manual_seed(1)
    model = nn.Sequential(*layers)
    quantize(model)
    model(x)
    return model.eval()


def one_weight(values: list[list[float]], bits: int = 8) -> nn.Sequential:
    """A linear network with the given weight ``(outputs, inputs)``; codes are the values times 2^bits below 1."""
    layer = nn.Linear(len(values[0]), len(values), bias=False)
    layer.weight.data = torch.tensor(values)
    model = nn.Sequential(layer)
    quantize(model, bits)
    return model


def by_hand(model: nn.Sequential, x: Tensor, crossbar: Crossbar, bits: AdcBits) -> Tensor:
    """Output of a network of one layer, from the naive reference."""
    (mapped,) = map_network(model, x, crossbar)
    layer = model[0]
    quantizer = layer.input_quantizer
    assert isinstance(quantizer, FixedPoint)
    codes = (quantizer(x) / quantizer.step).int()
    outputs = []
    for group, weights in enumerate(mapped.codes):
        some = codes if mapped.unfold is None else codes.chunk(mapped.groups, dim=1)[group]
        vectors = some.flatten(0, -2) if mapped.unfold is None else unfolded(some, mapped.unfold, 0)
        product = naive(weights, vectors, crossbar, adcs(bits, mapped.slices), 8, 8, mapped.signed)
        if mapped.unfold is None:
            outputs.append(product.unflatten(0, x.shape[:-1]))
        else:
            size = mapped.unfold.output_size(*x.shape[-2:])
            outputs.append(product.unflatten(0, (len(x), -1)).transpose(1, 2).unflatten(2, size))
    weight = layer.parametrizations.weight[0]
    bias = 0 if layer.bias is None else layer.bias
    if mapped.unfold is not None and layer.bias is not None:
        bias = bias.view(-1, 1, 1)
    result = torch.cat(outputs, dim=-1 if mapped.unfold is None else 1)
    return (result.float() * (quantizer.step * weight.step) + bias).detach()


LAYERS = {
    "linear": (lambda: nn.Linear(40, 6), (7, 40)),
    "linear on sequences": (lambda: nn.Linear(9, 3), (2, 5, 9)),
    "padded": (lambda: nn.Conv2d(24, 10, 3, padding=1), (3, 24, 9, 11)),
    "strided groups": (lambda: nn.Conv2d(24, 10, 3, 2, 2, groups=2), (3, 24, 9, 11)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), (2, 6, 5, 5)),
    "dilated, each side its own": (lambda: nn.Conv2d(8, 4, (3, 2), (2, 1), (0, 2), (1, 2)), (2, 8, 9, 11)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("signed", [None, *SignedInputs], ids=str)
@pytest.mark.parametrize("order", RowOrder, ids=str)
def test_a_layer_is_what_the_naive_reference_says(
    layer: str, signed: SignedInputs | None, order: RowOrder, engine: str
) -> None:
    build, shape = LAYERS[layer]
    torch.manual_seed(0)
    x = torch.rand(shape) if signed is None else torch.randn(shape)
    model = quantized(build(), x=x)
    crossbar = Crossbar(rows=32, columns=8, signed_inputs=signed or SignedInputs.TWO_PHASE, row_order=order)
    mapped = map_network(model, x, crossbar)
    for bits in (None, 2, (3, 3, 3, 1), (Adc(3, 4), None, 4, None), (Adc(2, 3), 4, Adc(3, 5), Adc(1, 16, 3))):
        expected = by_hand(model, x, crossbar, bits)
        assert torch.equal(deploy(model, mapped, bits)(x), expected)
    assert torch.equal(deploy(model, mapped)(x), model(x))


@pytest.mark.parametrize(
    ("rows", "wordlines"), [(128, 1), (128, 128), (128, 129), (128, 144), (128, 784), (3, 11), (1, 4)]
)
def test_spread_rows_fill_as_many_arrays_evenly(rows: int, wordlines: int) -> None:
    consecutive = Crossbar(rows=rows).tiles(wordlines)
    spread = Crossbar(rows=rows, row_order=RowOrder.SPREAD).tiles(wordlines)
    assert torch.equal(torch.cat(consecutive), torch.arange(wordlines))
    assert torch.equal(torch.cat(spread).sort().values, torch.arange(wordlines))
    sizes = [len(tile) for tile in spread]
    assert len(spread) == len(consecutive)
    assert set(sizes[:-1]) <= {-(-wordlines // len(spread))}
    assert 0 < sizes[-1] <= max(sizes) <= rows
    if len(spread) > 2:
        assert all(bool((tile.diff() >= len(spread) - 1).all()) for tile in spread)


@pytest.mark.parametrize(("cell_bits", "dac_bits"), [(1, 1), (2, 3), (4, 2), (8, 4)])
def test_cells_and_dacs_of_other_widths(cell_bits: int, dac_bits: int, engine: str) -> None:
    x = torch.rand(5, 70)
    model = quantized(nn.Linear(70, 9), x=x)
    crossbar = Crossbar(rows=48, cell_bits=cell_bits, dac_bits=dac_bits)
    (mapped,) = map_network(model, x, crossbar)
    assert torch.equal(deploy(model, [mapped])(x), model(x))
    for bits in (2, 6):
        assert torch.equal(deploy(model, [mapped], bits)(x), by_hand(model, x, crossbar, bits))


def deployed_layer(model: nn.Module, mapped: list[MappedLayer], bits: AdcBits) -> CrossbarLayer:
    """The one layer of a deployed network."""
    (layer,) = (m for m in deploy(model, mapped, bits).modules() if isinstance(m, CrossbarLayer))
    return layer


class TestWhatIsSimulated:
    """Beside bitlines that clip, those that cannot are counted too if they hold few cells, else multiplied exactly."""

    @staticmethod
    def sparse(share: float, signed: bool) -> tuple[nn.Sequential, Tensor]:
        """A layer whose output 0 is dense; of the weights of the others this ``share`` is set."""
        torch.manual_seed(0)
        weight = torch.rand(16, 300) - 0.5
        weight[1:][torch.rand(15, 300) >= share] = 0
        model, x = one_weight(weight.tolist()), torch.rand(5, 300) - 0.5 * signed
        model.train()(x)
        return model.eval(), x

    @pytest.mark.parametrize("inputs", [None, *SignedInputs], ids=str)
    @pytest.mark.parametrize("share", [0.01, 0.5])
    def test_it_makes_no_difference(self, share: float, inputs: SignedInputs | None, engine: str) -> None:
        model, x = self.sparse(share, inputs is not None)
        crossbar = Crossbar(signed_inputs=inputs or SignedInputs.TWO_PHASE)
        mapped = map_network(model, x, crossbar)
        for bits in (3, 6, (Adc(3, 4), None, 6, None), (None, None, None, 2)):
            assert torch.equal(deploy(model, mapped, bits)(x), by_hand(model, x, crossbar, bits))

    @pytest.mark.parametrize(("share", "multiplied"), [(0.01, False), (0.5, True)])
    def test_few_cells_are_counted_where_the_kernel_is(self, share: float, multiplied: bool, engine: str) -> None:
        model, x = self.sparse(share, signed=False)
        layer = deployed_layer(model, map_network(model, x), 6)
        assert (layer.simulation.exact is not None) == (multiplied or engine == "torch")

    def test_nothing_is_counted_where_no_bitline_clips(self) -> None:
        model, x = self.sparse(0.01, signed=False)
        assert deployed_layer(model, map_network(model, x), 9).simulation.matrices == [None]

    def test_sums_that_counters_might_not_hold_are_multiplied(self, engine: str) -> None:
        model, x = self.sparse(0.01, signed=False)
        crossbar = Crossbar(dac_bits=8)  # 300 weights of 2^7, digits of 255, 9 bits: beyond 2^31
        mapped = map_network(model, x, crossbar)
        assert deployed_layer(model, mapped, 12).simulation.exact is not None
        assert torch.equal(deploy(model, mapped, 12)(x), by_hand(model, x, crossbar, 12))


class TestByHand:
    """One column of 3 cells: weights 0.75, 0.5, -0.25 are codes 192, 128, -64 at step 1/256, slices B3 = 3, 2, 1."""

    @pytest.fixture
    def model(self) -> nn.Sequential:
        model = one_weight([[0.75, 0.5, -0.25]])
        model.train()(torch.tensor([[1.0, 1.0, 1.0]]))  # input step 2^-8, 1.0 itself is clamped to code 255
        return model.eval()

    def test_clipping_at_a_sum_of_three(self, model: nn.Sequential, engine: str) -> None:
        x = torch.tensor([[0.5, 0.5, 0.5]])  # code 128: only the last cycle drives, bitline sums 3 + 2 and 1
        mapped = map_network(model, x)
        assert deploy(model, mapped)(x).item() == 0.5 * (0.75 + 0.5 - 0.25)
        clipped = (3 - 1) * 64 * 128 / 256 / 256  # instead of 5 - 1
        assert deploy(model, mapped, (1, 1, 1, 2))(x).item() == clipped

    def test_statistics(self, model: nn.Sequential, engine: str) -> None:
        x = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.0, 0.0]])
        mapped = map_network(model, x)
        (layer,) = bitline_sums(model, mapped, x)
        assert layer.bounds.tolist() == [[[0, 0, 0, 5], [0, 0, 0, 1]]]
        positive, negative = layer.counts[0, :, 3]
        assert {s: int(n) for s, n in enumerate(positive) if n} == {0: 14, 3: 1, 5: 1}
        assert {s: int(n) for s, n in enumerate(negative) if n} == {0: 15, 1: 1}
        top = pooled([layer])[3]
        assert (top.bound_bits, top.observed, top.observed_bits) == (3, 5, 3)
        assert top.beyond(3) == 1 / 32
        assert (top.quantile(0.9), top.quantile(0.93), top.quantile(1)) == (0, 1, 5)
        assert int(layer.counts[0, 0, 0, 0]) == 16  # an empty bitline is converted too

    def test_conversions(self, model: nn.Sequential) -> None:
        (mapped,) = map_network(model, torch.ones(1, 3))
        assert mapped.conversions().tolist() == [16, 16, 16, 16]  # 8 cycles, 2 signs, 1 column
        assert mapped.conversions_of_used().tolist() == [0, 0, 0, 16]
        assert (mapped.arrays, mapped.utilization) == (8, 3 / 128**2)


def test_two_images_give_the_same_statistics_in_one_batch_or_two(engine: str) -> None:
    x = torch.randn(4, 3, 6, 6)
    model = quantized(nn.Conv2d(3, 4, 3, groups=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), x=x)
    mapped = map_network(model, x, Crossbar(rows=8))
    for whole, parts in zip(bitline_sums(model, mapped, x), bitline_sums(model, mapped, x, batch=1), strict=True):
        assert torch.equal(whole.counts, parts.counts)
        assert whole.counts.sum() == sum(m.conversions().sum() for m in mapped if m.name == whole.name) * 4


def test_geometry_of_a_mapped_network() -> None:
    model = quantize(models.build("resnet20")).eval()
    for module in model.modules():
        if isinstance(module, FixedPoint):
            module.step = torch.tensor(2.0**-8)
    layers = {layer.name: layer for layer in map_network(model, torch.randn(2, 3, 32, 32))}
    stem, deep, head = layers["0"], layers["10.conv2"], layers["14"]
    assert (stem.wordlines, stem.outputs, stem.vectors, stem.signed, stem.cycles) == (27, 16, 1024, True, 16)
    assert (deep.wordlines, deep.row_tiles, deep.arrays, deep.vectors, deep.cycles) == (576, 5, 40, 64, 8)
    assert deep.utilization == 576 * 64 / (640 * 128)
    assert deep.unused == (640 - 576, 128 - 64)
    assert (head.vectors, head.unfold, head.inputs) == (1, None, 64)
    assert deep.unfold == Unfold((3, 3), (1, 1), (1, 1), (1, 1))
    assert images_at_a_time(list(layers.values()), 2**30) == 2**30 // (16 * 2 * 16 * 1024)
    assert images_at_a_time(list(layers.values()), 1) == 1


def test_a_layer_used_twice_counts_twice() -> None:
    x = torch.rand(2, 4)
    shared = nn.Linear(4, 4)
    model = quantized(shared, nn.ReLU(), x=x)
    twice = nn.Sequential(model[0], nn.ReLU(), model[0]).eval()
    (mapped,) = map_network(twice, x)
    assert (mapped.vectors, mapped.inputs) == (2, 8)
    (sums,) = bitline_sums(twice, [mapped], x)
    assert int(sums.counts.sum()) == 2 * int(mapped.conversions().sum())
    assert torch.equal(deploy(twice, [mapped])(x), twice(x))


def test_products_beyond_float32_stay_exact(engine: str) -> None:
    x = torch.ones(2, 4096)
    model = one_weight([[0.99] * 4096])
    model.train()(x)
    model.eval()
    mapped = map_network(model, x)
    deployed = deploy(model, mapped, 8)
    layer = deployed[0]  # type: ignore[index]
    assert isinstance(layer, CrossbarLayer)
    assert layer.simulation.dtype is torch.float64
    assert torch.equal(deployed(x), by_hand(model, x, Crossbar(), 8))
    assert torch.equal(deploy(model, mapped)(x), by_hand(model, x, Crossbar(), None))


@pytest.mark.parametrize(
    ("layer", "shape", "pieces"),
    [
        (lambda: nn.Linear(600, 3), (2, 600), 3),
        (lambda: nn.Conv2d(200, 4, 3, padding=1, groups=2), (2, 200, 4, 5), 4),
        (lambda: nn.Conv2d(20, 4, 3, padding=1), (2, 20, 4, 5), 1),
    ],
    ids=("linear", "groups", "short"),
)
def test_exact_products_are_cut_as_float32_needs(
    layer: Callable[[], nn.Module], shape: tuple[int, ...], pieces: int
) -> None:
    x = torch.randint(254, 256, shape) / 256
    model = quantized(layer(), x=x)
    (mapped,) = map_network(model, x)
    largest = torch.full_like(mapped.codes, 255)
    exact = Exact(mapped, largest)
    assert [weight.dtype for weight in exact.weights] == [torch.float32] * pieces
    product = exact(x).double() / (mapped.input_step * mapped.step)
    weight = largest.transpose(1, 2).reshape(model[0].weight.shape).double()
    words = (x / mapped.input_step).double()
    if mapped.unfold is None:
        assert torch.equal(product, words @ weight.T)
    else:
        assert torch.equal(product, nn.functional.conv2d(words, weight, padding=1, groups=mapped.groups))


def test_words_too_long_for_any_piece_take_float64() -> None:
    x = torch.rand(2, 300)
    layer = nn.Sequential(nn.Linear(300, 2))
    model = quantize(layer, activation_bits=16)
    model(x)
    (mapped,) = map_network(model.eval(), x, Crossbar(input_bits=16))
    (weight,) = Exact(mapped, torch.full_like(mapped.codes, 257)).weights
    assert weight.dtype is torch.float64


@pytest.mark.parametrize("method", ["quantized", "pruned", "l1", "bl1"])
def test_released_network_is_met_bit_for_bit(method: str) -> None:
    record = records.read(Path(f"results/mnist/{method}-s0.json"))
    model = record.network()
    digits = DATA_SETS["mnist"](False).first(500)
    x = evaluation.network_input(digits.pixels, digits, record.config.input_scaling)
    mapped = map_network(model, x[:10])
    expected = model(x)
    assert torch.equal(deploy(model, mapped)(x), expected)
    sums = pooled(bitline_sums(model, mapped, x))
    lossless = [max(1, s.observed_bits) for s in sums]
    assert torch.equal(deploy(model, mapped, lossless)(x), expected)
    assert not torch.equal(deploy(model, mapped, [max(1, n - 1) for n in lossless])(x), expected)


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Crossbar(rows=0), "a crossbar's rows must be at least 1, not 0"),
            (lambda: Crossbar(dac_bits=-1), "a crossbar's dac_bits must be at least 1, not -1"),
            (lambda: Crossbar(cell_bits=9), "cells and DACs have at most 8 bits, not 9"),
            (lambda: Adc(0), "an ADC has between 1 and 16 bits, not 0"),
            (lambda: Adc(-3), "an ADC has between 1 and 16 bits, not -3"),
            (lambda: Adc(3, 2**25), "the step of an ADC lies between 1 cell level and 16777216, not 33554432"),
            (lambda: Adc(1, 1, 2**24 + 1), "the threshold of an ADC lies between 1 and 16777216, not 16777217"),
            (lambda: Adc(3, 0), "the step of an ADC lies between 1 cell level and 16777216, not 0"),
            (lambda: Adc(None, 2), "an ideal ADC has no step and no threshold: give it a resolution"),
            (lambda: Adc(None, 1, 1), "an ideal ADC has no step and no threshold: give it a resolution"),
            (lambda: Adc(1, 4, 0), "the threshold of an ADC lies between 1 and 16777216, not 0"),
            (
                lambda: Adc(3, 4, 2.5),  # type: ignore[arg-type]
                "the threshold of an ADC lies between 1 and its step of 4, not 2.5",
            ),
            *(
                (
                    lambda text=text: adc_setting(f"{text},3"),
                    "ADCs are bits, as 3x2 with a step, as 1x4@3 with a threshold, or ideal, such as 3,3,3,1, "
                    f"not '{text},3'",
                )
                for text in ("3x", "3@", "x2", "3@2x4", " 3", "+3", "1_0", "")
            ),
            (lambda: adcs((3, 3, 3)), "4 slices need 4 ADC resolutions, B0 first, not 3"),
            (lambda: NonIdealities(variation=-1), "variation must be a finite number, 0 or larger, not -1"),
            (
                lambda: NonIdealities(read_noise=float("nan")),
                "read_noise must be a finite number, 0 or larger, not nan",
            ),
            (
                lambda: NonIdealities(stuck_on=0.6, stuck_off=0.6),
                "shares of stuck cells must lie between 0 and 1 together, not 0.6 and 0.6",
            ),
            (lambda: NonIdealities(on_off_ratio=0.5), "an on/off ratio is at least 1, not 0.5"),
        ],
    )
    def test_impossible_hardware(self, make: Callable[[], object], message: str) -> None:
        with pytest.raises(BitsliceError) as error:
            make()
        assert str(error.value) == message

    def test_network_that_is_not_quantized(self) -> None:
        with pytest.raises(BitsliceError, match="a crossbar needs a quantized network"):
            map_network(nn.Linear(2, 2), torch.ones(1, 2))

    def test_weight_that_is_not_finite(self) -> None:
        model = quantized(nn.Linear(2, 2), x=torch.ones(1, 2))
        model[0].parametrizations.weight.original.data[0, 0] = float("nan")
        with pytest.raises(BitsliceError, match="layer '0' has a weight that is not finite: nan"):
            map_network(model, torch.ones(1, 2))

    def test_cells_that_do_not_divide_a_weight(self) -> None:
        model = quantized(nn.Linear(2, 2), x=torch.ones(1, 2))
        with pytest.raises(BitsliceError, match="layer '0': cells of 3 bits do not divide weights of 8 bits"):
            map_network(model, torch.ones(1, 2), Crossbar(cell_bits=3))

    def test_inputs_wider_than_the_schedule(self) -> None:
        model = quantized(nn.Linear(2, 2), x=torch.ones(1, 2))
        with pytest.raises(BitsliceError, match="layer '0': inputs of 8 bits are wider than the schedule of 4 bits"):
            map_network(model, torch.ones(1, 2), Crossbar(input_bits=4))

    def test_negative_input_where_none_was_expected(self) -> None:
        model = quantized(nn.Linear(3, 2), x=torch.ones(1, 3))
        deployed = deploy(model, map_network(model, torch.ones(1, 3)), 1)
        with pytest.raises(BitsliceError, match="layer '0' has a negative input, but had none when it was mapped"):
            deployed(-torch.ones(1, 3))


class TestNonIdealities:
    @pytest.fixture
    def network(self) -> tuple[nn.Module, list[MappedLayer], Tensor]:
        x = torch.rand(8, 64)
        model = quantized(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5), x=x)
        return model, map_network(model, x, Crossbar(rows=32)), x

    def test_none_change_nothing(self, network: tuple[nn.Module, list[MappedLayer], Tensor]) -> None:
        model, mapped, x = network
        for bits in (None, 3):
            assert torch.equal(deploy(model, mapped, bits, NonIdealities())(x), deploy(model, mapped, bits)(x))

    def test_convolution_and_offset_inputs(self) -> None:
        x = torch.randn(2, 4, 6, 6)
        model = quantized(nn.Conv2d(4, 6, 3, padding=1, groups=2), x=x)
        mapped = map_network(model, x, Crossbar(rows=8, signed_inputs=SignedInputs.OFFSET))
        assert torch.allclose(deploy(model, mapped, None, NonIdealities())(x), model(x), atol=1e-5)

    @pytest.mark.parametrize(
        ("weak", "strong"),
        [
            (NonIdealities(variation=0.02), NonIdealities(variation=0.2)),
            (NonIdealities(read_noise=0.05), NonIdealities(read_noise=0.5)),
            (NonIdealities(stuck_off=0.01), NonIdealities(stuck_off=0.2)),
            (NonIdealities(stuck_on=0.01), NonIdealities(stuck_on=0.2)),
            (NonIdealities(on_off_ratio=1000), NonIdealities(on_off_ratio=10)),
        ],
    )
    def test_each_does_more_where_it_is_stronger(
        self, network: tuple[nn.Module, list[MappedLayer], Tensor], weak: NonIdealities, strong: NonIdealities
    ) -> None:
        model, mapped, x = network
        right = model(x).detach()
        wrong = [float((deploy(model, mapped, None, cells)(x) - right).abs().mean()) for cells in (weak, strong)]
        assert 0 < wrong[0] < wrong[1]

    def test_seed_decides(self, network: tuple[nn.Module, list[MappedLayer], Tensor]) -> None:
        model, mapped, x = network
        a, b, c = (
            deploy(model, mapped, None, NonIdealities(variation=0.1, read_noise=0.1, seed=seed))(x)
            for seed in (0, 0, 1)
        )
        assert torch.equal(a, b)
        assert not torch.equal(a, c)

    def test_mean_conductance_is_the_ideal_one(self) -> None:
        cells = NonIdealities(variation=0.3, stuck_on=0.1, stuck_off=0.2)
        programmed = cells.program(torch.full((200_000,), 2), 3, cells.generator("", torch.device("cpu")))
        assert float(programmed.mean()) == pytest.approx(0.7 * 2 + 0.1 * 3, rel=0.01)
        assert float((programmed == 0).float().mean()) == pytest.approx(0.2, rel=0.02)

    def test_leak_of_a_finite_on_off_ratio(self) -> None:
        cells = NonIdealities(on_off_ratio=30)
        levels = cells.program(torch.tensor([0, 3]), 3, cells.generator("", torch.device("cpu")))
        assert levels.tolist() == pytest.approx([0.1, 3])


def test_arrays_that_are_not_square() -> None:
    x = torch.rand(2, 40)
    (mapped,) = map_network(quantized(nn.Linear(40, 20), x=x), x, Crossbar(rows=32, columns=8))
    assert (mapped.row_tiles, mapped.column_tiles, mapped.arrays) == (2, 3, 4 * 2 * 2 * 3)
    assert (mapped.unused, mapped.utilization) == ((24, 4), 40 * 20 / (64 * 24))
    assert (load(mapped).columns, load(mapped).arrays) == (8, (12,) * 4)


def test_every_step_of_a_sequence_is_a_vector() -> None:
    x = torch.rand(2, 5, 9)
    (mapped,) = map_network(quantized(nn.Linear(9, 3), x=x), x)
    assert (mapped.vectors, mapped.inputs) == (5, 45)


@pytest.mark.parametrize(
    ("row", "kind"),  # 257 * 255^2 < 2^24 < 259 * 255^2
    [
        ([0.9999] * 257, torch.float32),
        ([0.9999] * 259, torch.float64),
        ([0.9999, -0.9999] * 257, torch.float32),
        ([0.9999, -0.9999] * 259, torch.float64),
    ],
    ids=("exact", "too long", "each sign exact", "signs do not cancel"),
)
def test_float32_serves_as_far_as_it_is_exact(row: list[float], kind: torch.dtype) -> None:
    model, x = one_weight([row]), torch.ones(1, len(row))
    model.train()(x)
    model.eval()
    assert deployed_layer(model, map_network(model, x), None).simulation.dtype is kind


def test_inputs_of_both_signs_halve_what_float32_holds() -> None:
    model, x = one_weight([[0.9999, -0.9999] * 257]), torch.ones(1, 514)
    x[:, ::2] = -1
    model.train()(x)
    (mapped,) = map_network(model.eval(), x)
    assert mapped.largest_sum() == 514 * 255 * 255


def test_memory_counts_every_group() -> None:
    x = torch.rand(1, 4, 6, 6)
    model = quantized(nn.Conv2d(4, 8, 3, groups=4), x=x)
    assert images_at_a_time(map_network(model, x), 2**20) == 2**20 // (16 * (4 * 36 + 8 * 16))


class TestCalibration:
    @pytest.fixture
    def network(self) -> tuple[nn.Sequential, Tensor]:
        torch.manual_seed(0)
        x = torch.rand(40, 3, 6, 6)
        return quantized(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.0), x=x), x

    def test_statistics_are_those_of_what_the_crossbars_give(self, network: tuple[nn.Sequential, Tensor]) -> None:
        model, x = network
        deployed = deploy(model, map_network(model, x), 2)
        steps = [m.step.clone() for m in deployed.modules() if isinstance(m, FixedPoint)]
        sums = deployed.get_submodule("0")(x)
        recalibrate(deployed, x, batch=20)
        normalization = deployed.get_submodule("1")
        assert isinstance(normalization, nn.BatchNorm2d)
        torch.testing.assert_close(normalization.running_mean, sums.mean(dim=(0, 2, 3)))
        variances = torch.stack([half.transpose(0, 1).flatten(1).var(dim=1) for half in sums.split(20)])
        torch.testing.assert_close(normalization.running_var, variances.mean(dim=0))
        assert not any(module.training for module in deployed.modules())
        now = [m.step for m in deployed.modules() if isinstance(m, FixedPoint)]
        assert all(map(torch.equal, now, steps))
        assert not torch.equal(normalization.running_mean, model[1].running_mean)

    def test_what_cannot_be_calibrated_is_refused(self, network: tuple[nn.Sequential, Tensor]) -> None:
        model, x = network
        with pytest.raises(BitsliceError, match="calibration needs images"):
            recalibrate(deploy(model, map_network(model, x), 2), x[:0])
        plain = quantized(nn.Linear(3, 2), x=torch.rand(4, 3))
        with pytest.raises(BitsliceError, match="no batch normalization"):
            recalibrate(deploy(plain, map_network(plain, torch.rand(4, 3)), 2), torch.rand(4, 3))


def test_read_noise_has_its_deviation() -> None:
    analog = Analog("", torch.zeros(4, 50).int(), adcs(None), Crossbar(), 8, NonIdealities(read_noise=0.5))
    noise = analog._read(torch.zeros(2000, 4), 0)
    assert (float(noise.mean()), float(noise.std())) == pytest.approx((0, 0.5), abs=0.01)


@pytest.mark.parametrize(("cell_bits", "highest"), [(1, 1), (2, 3), (4, 15)])
def test_stuck_on_is_the_highest_level(cell_bits: int, highest: int) -> None:
    crossbar, ideal = Crossbar(cell_bits=cell_bits), adcs(None, 8 // cell_bits)
    analog = Analog("", torch.zeros(4, 3).int(), ideal, crossbar, 8, NonIdealities(stuck_on=1.0))
    assert all((tile == highest).all() for tile in analog.programmed)


def test_every_matrix_has_random_numbers_of_its_own() -> None:
    x = torch.rand(1, 4, 3, 3)
    model = quantized(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 1, groups=2), x=x)
    deployed = deploy(model, map_network(model, x), None, NonIdealities(variation=0.1))
    layers = [layer for layer in deployed.modules() if isinstance(layer, CrossbarLayer)]
    matrices = [matrix for layer in layers for matrix in layer.simulation.matrices]
    assert len({m.generator.initial_seed() for m in matrices if isinstance(m, Analog)}) == 4
