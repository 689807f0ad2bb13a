"""Where ADC levels are found to lie, against every combination tried one by one."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from bitslice import calibrate, quantize
from bitslice.crossbar import (
    Adc,
    Crossbar,
    RowOrder,
    Simulation,
    calibrate_adcs,
    deploy,
    map_codes,
    map_network,
)
from bitslice.crossbar.levels import best, candidates
from bitslice.errors import BitsliceError


def error(mapped: object, adcs: tuple[Adc, ...], x: Tensor) -> float:
    exact = Simulation(mapped, (Adc(None),) * len(adcs)).product(x)
    return float((Simulation(mapped, adcs).product(x) - exact).double().square().sum())


@pytest.mark.parametrize("asked", [(1, 2), (3, 1), (1, 1)], ids=str)
def test_no_combination_of_candidates_is_closer(asked: tuple[int, int]) -> None:
    torch.manual_seed(0)
    codes = torch.randint(-15, 16, (3, 8))
    mapped = map_codes(codes, bits=4, input_bits=4, signed=False, crossbar=Crossbar(rows=8))
    x = torch.randint(0, 16, (20, 8)).float()
    found = best(mapped, tuple(Adc(bits) for bits in asked), x, {})
    lists = [candidates(bits, int(mapped.bounds[:, :, :, k].max())) for k, bits in enumerate(asked)]
    every = {choice: error(mapped, choice, x) for choice in product(*lists)}
    assert found in every
    assert every[found] == pytest.approx(min(every.values()))
    assert every[found] < error(mapped, tuple(Adc(bits) for bits in asked), x)


def test_what_has_levels_of_its_own_or_is_ideal_stays() -> None:
    torch.manual_seed(0)
    mapped = map_codes(torch.randint(-255, 256, (5, 20)), signed=False)
    x = torch.randint(0, 256, (40, 20)).float()
    kept = (Adc(3, 8), Adc(None), Adc(1, 1, 5))
    assert best(mapped, (*kept, Adc(1)), x, {})[:3] == kept


def test_real_inputs_of_a_small_scale_have_the_same_levels() -> None:
    torch.manual_seed(0)
    codes, x = torch.randint(-255, 256, (5, 20)), torch.randint(0, 256, (40, 20)).float()
    coarse = map_codes(codes, signed=False)
    fine = map_codes(codes, signed=False, step=2.0**-12, input_step=2.0**-9)
    asked = (Adc(3), Adc(3), Adc(3), Adc(1))
    assert best(fine, asked, x * 2.0**-9, {}) == best(coarse, asked, x, {})


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 5),
    )  # fmt: skip
    images = torch.rand(24, 3, 9, 9)
    return calibrate(quantize(model), images).eval(), images


def test_a_network(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    crossbar = Crossbar(row_order=RowOrder.SPREAD)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = calibrate_adcs(model, images[:12], (3, 3, 3, 1), crossbar)
    assert list(found) == ["0", "3", "6"]
    assert all(tuple(adc.bits for adc in adcs) == (3, 3, 3, 1) for adcs in found.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    mapped = map_network(model, images, crossbar, signed=True)

    def off(adcs: object) -> float:
        return float((deploy(model, mapped, adcs)(images[12:]) - model(images[12:])).detach().square().mean())

    assert off(found) < 0.75 * min(off(tuple(Adc(bits, step) for bits in (3, 3, 3, 1))) for step in (1, 2, 4, 8, 16))
    assert calibrate_adcs(model.train(), (images[:12],), (3, 3, 3, 1), crossbar) == found
    assert model.training
    model.eval()
    assert calibrate_adcs(model, images[:12], {"6": 8, "*": (3, 3, 3, 1)}, crossbar)["0"] == found["0"]


def test_ideal_adcs_stay_ideal(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    assert set(calibrate_adcs(model, images[:2], None).values()) == {(Adc(None),) * 4}


def test_without_images_no_levels_are_made_up(network: tuple[nn.Module, Tensor]) -> None:
    model, images = network
    with pytest.raises(BitsliceError, match="are found on at least one image"):
        calibrate_adcs(model, images[:0], 3)


def test_a_layer_that_is_never_called_keeps_what_was_asked_for() -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(8, 3), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.head(x) if self.training else self.body(x)

    torch.manual_seed(0)
    x = torch.rand(20, 8)
    model = calibrate(quantize(Headed()), x).eval()
    found = calibrate_adcs(model, x, (3, 3, 3, 1))
    assert found["head"] == tuple(Adc(bits) for bits in (3, 3, 3, 1))
    assert found["body"] != found["head"]
    assert deploy(model, map_network(model, x), found)(x).shape == (20, 3)


def test_levels_serve_every_call_of_a_layer() -> None:
    class Halves(nn.Module):
        """One layer, called with two halves of an image, of which the second has what the first lacks."""

        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Linear(60, 8)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.shared(x[:, :60]), self.shared(x[:, 60:])])

    torch.manual_seed(0)
    x = torch.cat([torch.rand(20, 60) / 64, torch.rand(20, 60)], 1)
    model = calibrate(quantize(Halves()), x).eval()
    found = calibrate_adcs(model, x, (3, 3, 3, 1))
    assert found == calibrate_adcs(model, torch.cat([x[:, 60:], x[:, :60]], 1), (3, 3, 3, 1))
    alone = calibrate_adcs(model, torch.cat([x[:, :60], x[:, :60]], 1), (3, 3, 3, 1))

    def off(adcs: object) -> float:
        return float((deploy(model, map_network(model, x), adcs)(x) - model(x)).detach().square().mean())

    assert off(found) < off(alone)


def test_a_network_that_is_not_quantized_is_refused() -> None:
    with pytest.raises(BitsliceError, match="needs a quantized network"):
        calibrate_adcs(nn.Linear(3, 2), torch.ones(1, 3), 3)


def test_an_image_without_a_batch_has_the_levels_of_a_batch_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitslice.crossbar.levels.PIECE", 8)  # less than an image's products
    torch.manual_seed(0)
    model, x = quantize(nn.Sequential(nn.Conv2d(3, 4, 3))), torch.rand(1, 3, 6, 6)
    calibrate(model, x)
    assert calibrate_adcs(model, x[0], (3, 3, 3, 1)) == calibrate_adcs(model, x, (3, 3, 3, 1))
