"""ADC levels chosen by the loss, and bits that fall in stages."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bitslice import calibrate, quantize
from bitslice.crossbar import Adc, Crossbar, LayerAdcs, RowOrder, calibrate_adcs, deploy, map_network
from bitslice.crossbar.adc import adcs_of
from bitslice.lab import evaluation, records, refinement, training
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.data import DATA_SETS
from bitslice.lab.experiments import adapted, run_name
from bitslice.lab.refinement import near, refine_adcs
from bitslice.lab.words import Method
from tests.conftest import Trained, silent, small

CROSSBAR = Crossbar(rows=16, row_order=RowOrder.SPREAD)


def loss_of(deployed: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return float(nn.functional.cross_entropy(deployed(x), y))


def test_neighbours_are_candidates_within_a_factor_of_two() -> None:
    assert near(Adc(None), 9) == []
    found = near(Adc(1, 8, 4), 14)
    assert {(adc.step, adc.first) for adc in found} == {(s, t) for s in (4, 8, 16) for t in (2, 3, 4, 5, 6, 8)} - {
        (8, 4)
    }
    assert Adc(1, 8, 4) not in found


@pytest.mark.parametrize("bits", [(1, 1, 1, 1), (2, 2, 2, 1), (None, 2, None, 1)])
def test_refined_levels_lower_the_loss_and_none_near_them_does_better(
    bits: tuple[int | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "PASSES", 99)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = quantize(nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 4)))
    x, y = torch.rand(60, 40, generator=generator), torch.randint(4, (60,), generator=generator)
    calibrate(model, [x])
    model.eval()
    layers = map_network(model, x, CROSSBAR)
    start = calibrate_adcs(model, x, bits, CROSSBAR)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = refine_adcs(model, layers, start, x, y)
    least = loss_of(deploy(model, layers, found), x, y)
    assert least < loss_of(deploy(model, layers, start), x, y)
    for layer in layers:
        own = adcs_of(layer.name, found)
        assert tuple(adc.bits for adc in own) == bits
        for k, adc in enumerate(own):
            for other in near(adc, int(layer.bounds[:, :, :, k].max())):
                tried = LayerAdcs({layer.name: (*own[:k], other, *own[k + 1 :]), **found})
                assert loss_of(deploy(model, layers, tried), x, y) >= least - 1e-6
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.usefixtures("digits")
def test_a_run_chooses_levels_at_its_end_and_trains_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    for path in trained.folder.glob("bl1-s0.*"):
        shutil.copy(path, tmp_path)
    how = Adaptation((1, 1, 1, 1), adc_levels=20, levels_kept=True, epochs=1)
    config = adapted(small(Method.BL1), how)
    plain = training.run(config, tmp_path, report=silent)
    record = training.run(adapted(small(Method.BL1), replace(how, refined=50)), tmp_path, report=silent)
    assert run_name(record.config) == "bl1-adc1.1.1.1-spread-levelskept-refined50-s0"
    assert record.epochs == plain.epochs
    images = DATA_SETS["mnist"](True).first(50)
    x = evaluation.network_input(images.pixels, images, config.input_scaling)
    network = plain.network()
    layers = map_network(network, x, replace(CROSSBAR, rows=config.rows))
    assert plain.adcs is not None
    assert records.read(record.path).adcs == refine_adcs(network, layers, plain.adcs, x, images.labels) != plain.adcs


@pytest.mark.usefixtures("digits")
def test_bits_fall_in_stages_each_a_run_of_its_own(trained: Trained, tmp_path: Path) -> None:
    for path in trained.folder.glob("bl1-s0.*"):
        shutil.copy(path, tmp_path)
    how = Adaptation((1, 1, 1, 1), epochs=1, adc_first=(2, 2, 2, 1))
    staged = training.run(adapted(small(Method.BL1), how), tmp_path, report=silent)
    first = records.read(tmp_path / "bl1-adc2.2.2.1-spread-s0.json")
    assert {path.stem for path in tmp_path.glob("*.json")} == {
        "bl1-s0",
        first.path.stem,
        "bl1-adc1.1.1.1-after2.2.2.1-spread-s0",
    }
    assert staged.config.starts_from() == first.config
    assert staged.config.before_adapting() == first.config.before_adapting()
    direct = training.run(adapted(small(Method.BL1), replace(how, adc_first=None)), tmp_path, report=silent)
    assert staged.weights != direct.weights

    # It starts from the weights of the first, and learns what the network gave before both.
    still = Adaptation((None,) * 4, epochs=1, rate=1e-12, distilled=True, adc_first=(2, 2, 2, 1))
    config = adapted(small(Method.BL1), still)
    before = config.starts_from()
    records.write(replace(first, config=before, path=tmp_path / f"{run_name(before)}.json"))
    images = DATA_SETS["mnist"](True).first(config.train_images)
    x = evaluation.network_input(images.pixels, images, config.input_scaling)
    with torch.no_grad():
        taught, given = first.network().train()(x), trained.records[Method.BL1].network().eval()(x).softmax(1)
    expected = float(nn.functional.cross_entropy(taught, given))
    assert training.run(config, tmp_path, report=silent).epochs["loss"] == [pytest.approx(expected, rel=1e-5)]
    assert expected > 1.0001 * float(nn.functional.cross_entropy(given.log(), given))
