"""Dynamic fixed point: the step, the rounding, the gradient, and a whole network's quantized form."""

import copy
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

import bitslice
from bitslice.errors import BitsliceError
from bitslice.fixed_point import SMALLEST_RANGE, FixedPoint, Rounding, fake_quantize, power_of_two_step
from bitslice.quantizer import leave_headroom, prune, quantize, quantized_tensors

LARGEST = 2.0**120
SMALLEST = torch.tensor(SMALLEST_RANGE).item()  # as float32


def floats(limit: float = LARGEST) -> SearchStrategy[float]:
    return st.floats(-limit, limit, width=32)


def literal_step(values: list[float], bits: int) -> float:
    """2^(ceil(log2 max) - bits) without a logarithm: frexp gives max = mantissa * 2^exponent, 1/2 <= mantissa < 1."""
    mantissa, exponent = math.frexp(max(SMALLEST, *(abs(v) for v in values)))
    return math.ldexp(1.0, (exponent - 1 if mantissa == 0.5 else exponent) - bits)


def small_network() -> nn.Sequential:
    """Nested, with a convolution, a batch norm and a layer without bias."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(block, nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))


def images() -> Tensor:
    return torch.rand(7, 1, 6, 6, generator=torch.Generator().manual_seed(3))


class TestStep:
    @given(st.lists(floats(), min_size=1, max_size=10), st.integers(1, 16))
    @example([0.0], 8)
    @example([-3.0, 2.0], 8)
    def test_is_the_power_of_two_above_the_largest_magnitude(self, values: list[float], bits: int) -> None:
        assert power_of_two_step(torch.tensor(values), bits).item() == literal_step(values, bits)

    @pytest.mark.parametrize("exponent", range(-16, 121))
    def test_is_exact_on_both_sides_of_every_power_of_two(self, exponent: int) -> None:
        power = torch.tensor(2.0**exponent)
        above = torch.nextafter(power, torch.tensor(math.inf))
        below = torch.nextafter(power, torch.tensor(0.0))
        assert power_of_two_step(power).item() == 2.0 ** (exponent - 8)
        assert power_of_two_step(-above).item() == 2.0 ** (exponent + 1 - 8)
        assert power_of_two_step(below).item() == 2.0 ** (exponent - 8)

    def test_of_an_all_zero_tensor_is_that_of_the_smallest_range(self) -> None:
        assert power_of_two_step(torch.zeros(3, 3)).item() == 2.0 ** (-16 - 8)

    def test_has_no_gradient_and_is_one_number(self) -> None:
        step = power_of_two_step(torch.ones(3, requires_grad=True))
        assert step.shape == ()
        assert not step.requires_grad


class TestFakeQuantize:
    @given(st.lists(floats(2.0**20), min_size=1, max_size=20), st.integers(-12, 12))
    def test_equals_torchs_own_fake_quantize_at_any_step(self, values: list[float], exponent: int) -> None:
        x, step = torch.tensor(values), 2.0**exponent
        expected = torch.fake_quantize_per_tensor_affine(x, step, 0, -255, 255)
        assert torch.equal(fake_quantize(x, torch.tensor(step)), expected)

    def test_equals_torchs_own_fake_quantize_on_random_weights_and_ties(self) -> None:
        ties = torch.arange(-600, 601) / 2 * 2.0**-9
        weights = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
        for x in (ties, weights):
            step = power_of_two_step(x)
            for scale in (0.25, 1.0, 4.0):
                expected = torch.fake_quantize_per_tensor_affine(x, step.item() * scale, 0, -255, 255)
                assert torch.equal(fake_quantize(x, step * scale), expected)

    @given(st.lists(floats(), min_size=1, max_size=10), st.integers(1, 16), st.sampled_from(Rounding))
    def test_stays_within_one_step_below_the_largest_code(self, values: list[float], bits: int, how: Rounding) -> None:
        x = torch.tensor(values)
        step = power_of_two_step(x, bits)
        y = fake_quantize(x, step, bits, how)
        # Half a step by rounding; a whole one where flooring, or where code 2^bits is clamped to 2^bits - 1.
        assert ((y - x).abs() <= step).all()
        assert (y.abs() <= (2**bits - 1) * step).all()
        assert (y * x >= 0).all()

    @given(st.lists(floats(), min_size=1, max_size=10), st.integers(1, 16), st.sampled_from(Rounding))
    def test_changes_nothing_the_second_time(self, values: list[float], bits: int, how: Rounding) -> None:
        x = torch.tensor(values)
        step = power_of_two_step(x, bits)
        once = fake_quantize(x, step, bits, how)
        assert torch.equal(fake_quantize(once, step, bits, how), once)

    def test_floor_drops_the_fraction_towards_zero(self) -> None:
        x = torch.tensor([1.99, -1.99, 0.99, -0.99, 2.0, -2.0, 300.0, -300.0])
        y = fake_quantize(x, torch.tensor(1.0), rounding=Rounding.FLOOR)
        assert y.tolist() == [1, -1, 0, 0, 2, -2, 255, -255]

    def test_nearest_takes_ties_to_even(self) -> None:
        x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
        assert fake_quantize(x, torch.tensor(1.0)).tolist() == [0, 2, 2, 0, -2, -2]

    @pytest.mark.parametrize("rounding", Rounding)
    def test_lets_every_gradient_pass_unchanged_even_beyond_the_largest_code(self, rounding: Rounding) -> None:
        x = torch.tensor([0.3, -0.7, 0.0, 500.0, -500.0], requires_grad=True)
        gradient = torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0])
        fake_quantize(x, torch.tensor(1.0), rounding=rounding).backward(gradient)
        assert x.grad is not None
        assert torch.equal(x.grad, gradient)

    def test_leaves_its_input_alone(self) -> None:
        x = torch.tensor([0.3, 0.7])
        fake_quantize(x, torch.tensor(0.5))
        assert torch.equal(x, torch.tensor([0.3, 0.7]))


class TestFixedPoint:
    @given(st.lists(floats(), min_size=1, max_size=10), st.integers(1, 16), st.sampled_from(Rounding))
    def test_codes_are_whole_within_the_word_and_give_the_value_back(
        self, values: list[float], bits: int, how: Rounding
    ) -> None:
        x, quantizer = torch.tensor(values), FixedPoint(bits, how)
        y = quantizer(x)
        codes = quantizer.codes(x)
        assert codes.dtype == torch.int32
        assert int(codes.abs().max()) <= 2**bits - 1
        assert torch.equal(codes * quantizer.step, y)

    def test_uses_the_whole_word(self) -> None:
        quantizer = FixedPoint()
        x = torch.tensor([1.0, -1.0, 0.5, 0.0])
        quantizer(x)
        # 1.0 would be code 256 (the authors' code keeps it); no four 2-bit cells hold that.
        assert quantizer.codes(x).tolist() == [255, -255, 128, 0]

    def test_scale_follows_the_tensor_in_training_and_is_frozen_in_evaluation(self) -> None:
        quantizer = FixedPoint()
        quantizer(torch.tensor([0.9]))
        assert quantizer.step.item() == 2.0**-8
        quantizer(torch.tensor([3.0]))
        assert quantizer.step.item() == 2.0**-6
        quantizer(torch.tensor([0.4, 0.1]))
        assert quantizer.step.item() == 2.0**-9
        quantizer(torch.tensor([-3.0]))
        quantizer.eval()
        assert quantizer(torch.tensor([100.0, 0.001])).tolist() == [255 * 2.0**-6, 0.0]
        assert quantizer.step.item() == 2.0**-6

    def test_cannot_evaluate_before_a_scale_is_known(self) -> None:
        with pytest.raises(BitsliceError, match="no scale yet"):
            FixedPoint().eval()(torch.ones(2))

    @pytest.mark.parametrize("bits", [0, -1, 17])
    def test_word_must_have_between_1_and_16_bits(self, bits: int) -> None:
        with pytest.raises(BitsliceError, match=f"between 1 and 16, not {bits}"):
            FixedPoint(bits)

    def test_says_what_it_is(self) -> None:
        assert repr(FixedPoint(4, Rounding.FLOOR)) == "FixedPoint(bits=4, rounding=FLOOR, headroom=0)"


class TestQuantize:
    def test_reaches_nested_layers_and_skips_missing_biases_and_batch_norm(self) -> None:
        model = quantize(small_network())
        assert [t.name for t in quantized_tensors(model)] == ["0.0.weight", "2.weight", "2.bias", "4.weight"]

    def test_works_on_a_bare_layer(self) -> None:
        layer = nn.Linear(3, 2)
        assert quantize(layer) is layer
        assert [t.name for t in quantized_tensors(layer)] == ["weight", "bias"]
        assert layer(torch.ones(1, 3)).shape == (1, 2)

    def test_network_computes_with_quantized_weights_biases_and_inputs(self) -> None:
        layer = nn.Linear(6, 4)
        weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
        quantize(layer, bits=4, activation_bits=3, rounding=Rounding.FLOOR)
        x = images()[:, 0, 0]

        def floored(tensor: Tensor, bits: int) -> Tensor:
            step = literal_step(tensor.flatten().tolist(), bits)
            return (tensor / step).trunc().clamp(-(2**bits) + 1, 2**bits - 1) * step

        expected = nn.functional.linear(floored(x, 3), floored(weight, 4), floored(bias, 4))
        assert torch.equal(layer(x), expected)

    def test_layer_shows_the_quantized_weight_and_the_optimizer_the_full_precision_one(self) -> None:
        model = nn.Sequential(nn.Linear(4, 3))
        original = model[0].weight.detach().clone()
        quantize(model)
        assert not torch.equal(model[0].weight, original)
        (tensor, _) = quantized_tensors(model)
        assert torch.equal(tensor.original, original)
        assert torch.equal(tensor.codes() * tensor.quantizer.step, model[0].weight)
        assert {id(p) for p in model.parameters()} == {id(t.original) for t in quantized_tensors(model)}

    def test_small_updates_accumulate_although_the_code_does_not_move_at_first(self) -> None:
        layer = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[0.9, 0.5]]))
        quantize(layer)
        (tensor,) = quantized_tensors(layer)
        optimizer = torch.optim.SGD(layer.parameters(), lr=2.0**-10)
        codes = []
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.tensor([[0.0, 1.0]])).sum().backward()
            optimizer.step()
            codes.append(int(tensor.codes()[0, 1]))
        # Each step moves the weight by a fourth of a code (the input 1.0 is code 255, hence just under).
        assert codes == [128, 128, 127, 127, 127]

    @pytest.mark.parametrize("model", [nn.Sequential(), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(3), nn.Flatten())])
    def test_refuses_a_model_without_layers_to_quantize(self, model: nn.Module) -> None:
        with pytest.raises(BitsliceError, match="nothing to quantize"):
            quantize(model)

    def test_refuses_to_quantize_twice(self) -> None:
        model = quantize(small_network())
        with pytest.raises(BitsliceError, match=r"'0\.0' is quantized already"):
            quantize(model)

    @pytest.mark.parametrize("bits", [{"bits": 0}, {"bits": 17}, {"activation_bits": 0}])
    def test_refuses_impossible_words_and_leaves_the_model_as_it_was(self, bits: dict[str, int]) -> None:
        model = small_network()
        names = list(model.state_dict())
        with pytest.raises(BitsliceError, match="between 1 and 16"):
            quantize(model, **bits)
        assert list(model.state_dict()) == names

    def test_refuses_a_half_quantized_model_and_leaves_it_as_it_was(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), quantize(nn.Linear(2, 2)))
        names = list(model.state_dict())
        with pytest.raises(BitsliceError, match="'1' is quantized already"):
            quantize(model)
        assert list(model.state_dict()) == names

    def test_refuses_a_layer_whose_weights_another_parametrization_hides(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
        with pytest.raises(BitsliceError, match="'1' has a parametrization of its own"):
            quantize(model)

    def test_leaves_parametrizations_of_other_layers_alone(self) -> None:
        norm = nn.utils.parametrize.register_parametrization(nn.BatchNorm1d(2), "weight", nn.Softplus())
        model = quantize(nn.Sequential(nn.Linear(2, 2), norm))
        assert [t.name for t in quantized_tensors(model)] == ["0.weight", "0.bias"]

    def test_evaluation_needs_one_training_pass_first(self) -> None:
        model = quantize(small_network()).eval()
        with pytest.raises(BitsliceError, match="no scale yet"):
            model(images())
        model.train()(images())
        model.eval()(images())

    def test_evaluation_of_one_image_does_not_depend_on_its_batch(self) -> None:
        model = quantize(small_network())
        model(images())
        model.eval()
        together = model(images())
        alone = torch.cat([model(image[None]) for image in images()])
        assert torch.allclose(together, alone, rtol=0, atol=1e-6)

    def test_a_deep_copy_is_equal_and_independent(self) -> None:
        model = quantize(small_network())
        model(images())
        prune(model, 0.01)
        twin = copy.deepcopy(model)
        model.eval()
        twin.eval()
        before = model(images())
        assert torch.equal(twin(images()), before)
        with torch.no_grad():
            for tensor in quantized_tensors(twin):
                tensor.original.zero_()
        assert torch.equal(model(images()), before)
        assert not torch.equal(twin(images()), before)

    def test_state_dict_carries_the_scales(self) -> None:
        model = quantize(small_network())
        model(images())
        twin = quantize(small_network())
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin.eval()(images()), model.eval()(images()))


class TestPrune:
    def test_zeroes_what_lies_below_the_threshold_and_returns_its_share(self) -> None:
        layer = nn.Linear(4, 1)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[0.5, -0.099, 0.1, -0.1]]))
            layer.bias.fill_(0.05)
        quantize(layer)
        assert prune(layer, 0.1) == 2 / 5
        weight, bias = quantized_tensors(layer)
        assert torch.equal(weight.original, torch.tensor([[0.5, 0.0, 0.1, -0.1]]))
        assert bias.original.item() == 0
        assert layer.weight[0, 1] == 0

    def test_threshold_zero_prunes_nothing(self) -> None:
        model = quantize(small_network())
        assert prune(model, 0.0) == 0

    def test_leaves_batch_norm_alone(self) -> None:
        model = quantize(small_network())
        assert prune(model, 100.0) == 1
        assert torch.equal(model[0][1].weight, torch.ones(3))

    @pytest.mark.parametrize("optimizer_before_pruning", [False, True])
    def test_what_is_pruned_stays_zero_through_training_with_momentum(self, optimizer_before_pruning: bool) -> None:
        model = quantize(small_network())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def step() -> None:
            optimizer.zero_grad()
            model(images()).square().sum().backward()
            optimizer.step()

        if optimizer_before_pruning:  # its momentum still pushes the weights that pruning stopped
            step()
        share = prune(model, 0.1)
        assert 0 < share < 1
        zero = [t.original == 0 for t in quantized_tensors(model)]
        kept = [t.original.detach().clone() for t in quantized_tensors(model)]
        for _ in range(5):
            step()
        for tensor, pruned, before in zip(quantized_tensors(model), zero, kept, strict=True):
            parameter = tensor.name.rpartition(".")[2]
            assert getattr(tensor.layer, parameter)[pruned].count_nonzero() == 0
            assert tensor.codes()[pruned].count_nonzero() == 0
            assert tensor.name.endswith("bias") or not torch.equal(tensor.original[~pruned], before[~pruned])

    def test_refuses_a_model_that_is_not_quantized(self) -> None:
        with pytest.raises(BitsliceError, match="quantize"):
            prune(small_network(), 0.1)


class TestHeadroom:
    @pytest.mark.parametrize("headroom", [1, 2, 7])
    def test_weights_become_coarser_and_biases_stay(self, headroom: int) -> None:
        model = quantize(small_network())
        before = {tensor.name: tensor.codes() for tensor in quantized_tensors(model)}
        leave_headroom(model, headroom)
        for tensor in quantized_tensors(model):
            codes = before[tensor.name]
            if tensor.name.endswith("weight"):
                assert int(tensor.codes().abs().max()) < 2 ** (8 - headroom)
                exact = tensor.original.detach() / tensor.quantizer.step
                assert float((tensor.codes() - exact).abs().max()) <= 1  # half a step, or the largest code
                assert not torch.equal(tensor.codes(), codes)
            else:
                assert torch.equal(tensor.codes(), codes)

    def test_steps_that_follow_the_weights_keep_it(self) -> None:
        model, x = small_network(), images()
        quantize(model)(x)
        plain = [tensor.quantizer.step.clone() for tensor in quantized_tensors(model)]
        leave_headroom(model, 3)
        model(x)
        for tensor, step in zip(quantized_tensors(model), plain, strict=True):
            assert tensor.quantizer.step == step * (8 if tensor.name.endswith("weight") else 1)

    def test_replaces_the_headroom_there_was(self) -> None:
        model = quantize(small_network())
        codes = [tensor.codes() for tensor in quantized_tensors(model)]
        leave_headroom(model, 3)
        leave_headroom(model, 0)
        assert all(map(torch.equal, codes, (tensor.codes() for tensor in quantized_tensors(model))))

    def test_refusals_leave_the_model_as_it_was(self) -> None:
        with pytest.raises(BitsliceError, match="headroom needs a quantized model"):
            leave_headroom(small_network(), 1)
        model = quantize(small_network())
        for bits in (-1, 8):
            with pytest.raises(BitsliceError, match=f"headroom in words of 8 bits lies between 0 and 7, not {bits}"):
                leave_headroom(model, bits)
        assert all(tensor.quantizer.headroom == 0 for tensor in quantized_tensors(model))


def test_the_package_offers_its_main_names_and_no_others() -> None:
    assert bitslice.quantize is quantize
    assert bitslice.FixedPoint is FixedPoint
    assert set(dir(bitslice)) == set(bitslice.__all__)
    for name in bitslice.__all__:
        assert getattr(bitslice, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bitslice.nonsense  # noqa: B018


def test_further_arguments_of_a_layer_pass() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor, factor: float = 1.0) -> Tensor:
            return factor * super().forward(x)

    layer, x = quantize(Scaled(3, 2)), torch.ones(1, 3)
    assert torch.equal(layer(x, 2.0), 2 * layer(x))


def test_quantizes_a_model_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    weight = model[0].weight.detach().clone()
    quantize(model.eval())
    assert model[0].weight.detach().sub(weight).abs().max() <= power_of_two_step(weight) / 2
    with pytest.raises(BitsliceError, match="no scale yet"):
        model(torch.ones(1, 2))  # nothing is known of its inputs
    model.train()(torch.ones(1, 2))
    model.eval()(torch.ones(1, 2))
