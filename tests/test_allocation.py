"""Which resolutions ADCs are given, against brute force and a greedy search written down naively."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from bitslice import calibrate, quantize
from bitslice.crossbar import (
    Adc,
    Crossbar,
    LayerAdcs,
    MappedLayer,
    RowOrder,
    Simulation,
    allocate_adcs,
    allocation,
    calibrate_adcs,
    deploy,
    map_codes,
    map_network,
)
from bitslice.crossbar.allocation import sensitivities, slice_errors
from bitslice.crossbar.levels import candidates
from bitslice.crossbar.mapping import observed_inputs
from bitslice.errors import BitsliceError
from bitslice.quantizer import quantized_tensors

ROWS = Crossbar(rows=8, row_order=RowOrder.SPREAD)


def brute(mapped: MappedLayer, k: int, bits: int, x: Tensor, weight: Tensor) -> float:
    """Least error of one slice, every candidate simulated, the other slices ideal."""
    ideal = [Adc(None)] * mapped.slices
    exact = Simulation(mapped, tuple(ideal)).product(x).double()
    tried = candidates(bits, int(mapped.bounds[:, :, :, k].max()))
    products = (Simulation(mapped, (*ideal[:k], adc, *ideal[k + 1 :])).product(x) for adc in tried)
    return min(float((weight * (product - exact).square()).sum()) for product in products)


def test_errors_are_those_of_the_best_candidate_up_to_the_resolution_that_is_lossless() -> None:
    torch.manual_seed(0)
    mapped = map_codes(torch.randint(-15, 16, (3, 8)), 4, 4, signed=True, step=0.5, crossbar=Crossbar(rows=4))
    x, weight = torch.randint(-15, 16, (20, 8)).float(), torch.rand(20, 3)
    for k, found in enumerate(slice_errors(mapped, [(x, weight)])):
        lossless = int(mapped.bounds[:, :, :, k].max()).bit_length()
        assert found == pytest.approx([brute(mapped, k, bits, x, weight) for bits in range(1, lossless + 1)])
        assert (len(found), found[-1]) == (lossless, 0)
        assert found[0] > found[1] > 0


def test_a_slice_without_a_set_cell_and_one_that_nothing_drives_or_feels_spoil_nothing() -> None:
    mapped = map_codes(torch.tensor([[3, 2]]), signed=False)  # B0 alone
    x, felt = torch.tensor([[5.0, 7.0]]), torch.ones(1, 1)
    assert slice_errors(mapped, [(x, felt)])[1:] == [[0.0]] * 3
    assert slice_errors(mapped, [(torch.zeros(1, 2), felt)]) == [[0.0] * 3, *[[0.0]] * 3]  # sums to 5 at most
    assert slice_errors(mapped, [(x, 0 * felt)]) == [[0.0] * 3, *[[0.0]] * 3]


def test_sensitivities_are_sums_of_squared_derivatives() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    felt = sensitivities({"scores": [x @ torch.tensor([[2.0], [0.0], [-5.0]])], "loss": None}, [("x", x)])
    assert felt[0].tolist() == [[4.0, 0.0, 25.0]]  # of one output, to the digit
    torch.manual_seed(0)
    many, matrix = torch.ones(4000, 3, requires_grad=True), torch.rand(3, 8)
    felt = sensitivities((many @ matrix, many @ matrix), [("many", many)])  # every output has signs of its own
    assert torch.allclose(felt[0].mean(0), 2 * matrix.square().sum(1), rtol=0.03)


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, Tensor]:
    """Two layers, of which the first converts at 9 positions, and nothing for its third channel."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))
    with torch.no_grad():
        model[0].weight[2] = 0
    images = torch.rand(16, 3, 5, 5)
    return calibrate(quantize(model), images).eval(), images


def used(model: nn.Module, images: Tensor, crossbar: Crossbar) -> dict[str, list[int]]:
    mapped = map_network(model, images, crossbar)
    return {layer.name: layer.conversions_of_used().tolist() for layer in mapped}


def mean(choice: LayerAdcs, conversions: dict[str, list[int]]) -> float:
    pairs = [(b, n) for name, own in conversions.items() for b, n in zip(choice[name], own, strict=True)]
    return sum(b * n for b, n in pairs) / sum(n for _, n in pairs)


def lossless(model: nn.Module, images: Tensor, crossbar: Crossbar) -> LayerAdcs:
    return LayerAdcs(
        {
            layer.name: [max(1, int(bound).bit_length()) for bound in layer.bounds.amax(dim=(0, 1, 2, 4))]
            for layer in map_network(model, images, crossbar)
        }
    )


def test_every_step_takes_the_bit_that_costs_least_for_what_it_saves(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    mapped = {layer.name: layer for layer in map_network(model, images, ROWS)}
    conversions = used(model, images, ROWS)
    with observed_inputs(model) as seen:
        hidden = model[0](images)
        scores = model[1:](hidden)
    felt = dict(zip(mapped, sensitivities(scores, list(zip(mapped, (hidden, scores), strict=True))), strict=True))
    spoiled = {
        (name, k): errors
        for name, layer in mapped.items()
        for k, errors in enumerate(slice_errors(layer, [(seen[name][0].detach(), felt[name])]))
    }
    asked = [3.5, 2.25, 1.5]
    bits = {name: list(own) for name, own in lossless(model, images, ROWS).items()}
    for most, found in zip(asked, allocate_adcs(model, images, asked, ROWS), strict=True):
        while mean(LayerAdcs(bits), conversions) > most:
            steps = {
                (name, k): (spoiled[name, k][b - 2] - spoiled[name, k][b - 1]) / conversions[name][k]
                for name, own in bits.items()
                for k, b in enumerate(own)
                if b > 1
            }
            name, k = min(steps, key=lambda step: steps[step])
            bits[name][k] -= 1
        assert found == LayerAdcs(bits)


def test_means_are_kept_and_smaller_ones_take_more_from_the_same_choice(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    asked = [2.0, 4.0, 1.0, 2.7, 1.4]
    found = dict(zip(asked, allocate_adcs(model, images, asked, ROWS), strict=True))
    assert allocate_adcs(model, images, [1.4], ROWS) == [found[1.4]]
    conversions = used(model, images, ROWS)
    largest = max(n for own in conversions.values() for n in own) / sum(map(sum, conversions.values()))
    for most, choice in found.items():
        assert most - largest < mean(choice, conversions) <= most  # one step short at most
    for less, more in zip(sorted(asked), sorted(asked)[1:], strict=False):
        pairs = [pair for name in ("0", "3") for pair in zip(found[less][name], found[more][name], strict=True)]
        assert all(a <= b for a, b in pairs)
        assert found[less] != found[more]
    assert found[1.0] == LayerAdcs({"0": (1,) * 4, "3": (1,) * 4})


def test_a_mean_beyond_lossless_gives_lossless_adcs(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    (found,) = allocate_adcs(model, images, [16.0], ROWS)
    assert found == lossless(model, images, ROWS)
    assert torch.equal(deploy(model, map_network(model, images, ROWS), found)(images), model(images))
    assert allocate_adcs(model, images, [], ROWS) == []


def test_a_slice_without_a_set_cell_has_1_bit_and_is_not_counted() -> None:
    model = nn.Sequential(nn.Linear(40, 3, bias=False))
    model[0].weight.data = torch.full((3, 40), 63.0)
    model[0].weight.data[0, 0] = 255.0
    x = torch.rand(9, 40)
    calibrate(quantize(model), x).eval()
    with torch.no_grad():
        next(quantized_tensors(model)).original[0, 0] = 63.0  # the scale stays, and B3 empties
    (found,) = allocate_adcs(model, x, [9.0])
    assert found.of("0") == (7, 7, 7, 1)  # 40 cells of 3 sum to 120
    assert used(model, x, Crossbar())["0"][3] == 0
    assert allocate_adcs(model, x, [6.99])[0].of("0")[3] == 1


class Twice(nn.Module):
    """One layer that is called twice, one that is called once, and a head for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last, self.head = nn.Linear(6, 6), nn.Linear(6, 15), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        result = self.last(self.shared(self.shared(x).relu()).relu())
        return result + self.head(x).sum() if self.training else result


@pytest.fixture
def twice() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    x = torch.rand(20, 6)
    return calibrate(quantize(Twice()), x).eval(), x


def test_a_layer_that_is_called_twice_counts_twice(twice: tuple[nn.Module, Tensor]) -> None:
    model, x = twice
    conversions = used(model, x, Crossbar())
    assert conversions["shared"][0] == 2 * 6 * 2 * 8
    asked = [3.0, 2.5, 2.0, 1.5, 1.2]
    for most, found in zip(asked, allocate_adcs(model, x, asked), strict=True):
        assert mean(found, conversions) <= most


def test_every_call_of_a_layer_is_felt(monkeypatch: pytest.MonkeyPatch, twice: tuple[nn.Module, Tensor]) -> None:
    model, x = twice
    seen: list[list[tuple[Tensor, Tensor]]] = []
    monkeypatch.setattr(
        allocation, "slice_errors", lambda mapped, calls: seen.append(calls) or slice_errors(mapped, calls)
    )
    allocate_adcs(model, x, [2.0])
    (shared, last) = seen
    assert (len(shared), len(last)) == (2, 1)
    with observed_inputs(model) as inputs:
        model(x)
    assert [call[0].tolist() for call in shared] == [each.tolist() for each in inputs["shared"]]
    mapped = map_codes(codes(model, "shared"))
    both = slice_errors(mapped, shared)
    apart = [slice_errors(mapped, [call]) for call in shared]
    assert both[0][0] >= apart[0][0][0] + apart[1][0][0] > apart[1][0][0] > 0  # levels serve both calls at once


def test_a_call_whose_result_is_dropped_is_not_felt() -> None:
    x = torch.ones(1, 2, requires_grad=True)
    used, dropped = 2 * x, 3 * x
    felt = sensitivities(used, [("shared", used), ("shared", dropped)])
    assert [each.tolist() for each in felt] == [[[1.0, 1.0]], [[0.0, 0.0]]]
    with pytest.raises(BitsliceError, match="layer 'other' has no gradient"):
        sensitivities(used, [("shared", used), ("other", dropped)])


def test_a_layer_that_is_never_called_stays_lossless_and_can_be_deployed(twice: tuple[nn.Module, Tensor]) -> None:
    model, x = twice
    (found,) = allocate_adcs(model, x, [1.0])
    bounds = map_codes(codes(model, "head")).bounds.amax(dim=(0, 1, 2, 4))
    assert found["head"] == tuple(max(1, int(bound).bit_length()) for bound in bounds)
    assert max(found["head"]) > 2
    assert (found["shared"], found["last"]) == ((1,) * 4, (1,) * 4)
    assert deploy(model, map_network(model, x), found)(x).shape == (20, 15)


def codes(model: nn.Module, layer: str) -> Tensor:
    return next(tensor.codes() for tensor in quantized_tensors(model) if tensor.name == f"{layer}.weight")


class Branches(nn.Module):
    """Two equal layers, of which the outputs feel the first most; and one that nobody hears."""

    def __init__(self) -> None:
        super().__init__()
        self.loud, self.quiet, self.mute = (nn.Linear(64, 8) for _ in range(3))
        self.quiet.load_state_dict(self.loud.state_dict())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.mute(x)
        return {"scores": self.loud(x) + self.quiet(x) / 16}


def test_layers_have_the_bits_that_the_outputs_feel() -> None:
    torch.manual_seed(0)
    model, x = quantize(Branches(), exclude=("mute",)), torch.rand(16, 64)
    calibrate(model, x)
    (found,) = allocate_adcs(model, x, [3.0])
    assert sum(found.of("loud")) >= sum(found.of("quiet")) + 4  # bits of error, which halves with each
    with torch.inference_mode():
        assert allocate_adcs(model, x, [3.0]) == [found]


def test_a_layer_that_the_outputs_do_not_feel_is_named() -> None:
    model, x = quantize(Branches()), torch.rand(16, 64)
    calibrate(model, x)
    with pytest.raises(BitsliceError, match=r"^layer 'mute' has no gradient, or one that is not finite: leave it out$"):
        allocate_adcs(model, x, [3.0])


class Rooted(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sqrt()


def test_a_gradient_that_is_not_finite_is_no_measure() -> None:
    model = quantize(Rooted(nn.Linear(4, 3, bias=False)))
    calibrate(model, torch.rand(2, 4))
    with pytest.raises(BitsliceError, match=r"^layer '0' has no gradient, or one that is not finite: leave it out$"):
        allocate_adcs(model, torch.zeros(1, 4), [2.0])


class Decides(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return scores.argmax(1) if self.training else scores.sign()


@pytest.mark.parametrize("training", [False, True])
def test_outputs_without_a_gradient_are_one_line(monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    model, x = quantize(Decides(nn.Linear(4, 3))), torch.rand(2, 4)
    calibrate(model, x)
    monkeypatch.setattr(Decides, "eval", lambda self: self.train(training))
    with pytest.raises(BitsliceError, match=r"^ADCs are allocated by gradients, and the network's outputs have none$"):
        allocate_adcs(model, x, [2.0])


@pytest.mark.parametrize("few", [0.999, 0.0, -1.0, float("nan")])
def test_fewer_than_1_bit_is_one_line(network: tuple[nn.Module, Tensor], few: float) -> None:
    model, images = network
    with pytest.raises(BitsliceError, match=f"^an ADC has at least 1 bit, so on average they have no {few:g}$"):
        allocate_adcs(model, images, [2.0, few])


def test_without_images_or_without_a_quantized_network_nothing_is_made_up(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    with pytest.raises(BitsliceError, match=r"^the resolutions of ADCs are found on at least one image$"):
        allocate_adcs(model, images[:0], [2.0])
    with pytest.raises(BitsliceError, match=r"^a crossbar needs a quantized network"):
        allocate_adcs(nn.Linear(3, 2), torch.ones(1, 3), [2.0])


def test_the_network_is_as_before_in_either_mode(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = allocate_adcs(model, images, [2.0], ROWS)
    model.train()
    assert allocate_adcs(model, (images,), [2.0], ROWS) == expected
    assert all(module.training for module in model.modules())
    model.eval()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_image_without_a_batch_has_the_resolutions_of_a_batch_of_one() -> None:
    torch.manual_seed(0)
    model, x = quantize(nn.Sequential(nn.Conv2d(3, 4, 3))), torch.rand(1, 3, 6, 6)
    calibrate(model, x)
    assert allocate_adcs(model, x[0], [2.0]) == allocate_adcs(model, x, [2.0])


def test_allocated_adcs_depart_less_than_uniform_ones_of_the_same_mean(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    mapped = map_network(model, images, ROWS, signed=True)

    def off(bits: LayerAdcs | Sequence[int]) -> float:
        levels = calibrate_adcs(model, images[:8], bits, ROWS)
        return float((deploy(model, mapped, levels)(images[8:]) - model(images[8:])).detach().square().mean())

    (allocated,) = allocate_adcs(model, images[:8], [2.0], ROWS)
    assert off(allocated) < 0.8 * off((2,) * 4)


def test_resolutions_are_adcs_by_layer_without_their_levels() -> None:
    found = LayerAdcs({"a": 3, "b*": None, "c": (Adc(3, 2), 2, None, Adc(1, 8, 3)), "d": (Adc(None),)})
    assert found.resolutions == LayerAdcs({"a": 3, "b*": None, "c": (3, 2, None, 1), "d": (None,)})
    assert list(found.resolutions) == ["a", "b*", "c", "d"]  # the first that fits counts
    assert found.resolutions.resolutions == found.resolutions
