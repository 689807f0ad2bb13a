"""Training through ADCs whose resolutions are allocated, and batch normalization estimated again at its end."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bitslice.crossbar import (
    Crossbar,
    LayerAdcs,
    RowOrder,
    allocate_adcs,
    calibrate_adcs,
    deploy,
    map_network,
    recalibrate,
)
from bitslice.errors import BitsliceError
from bitslice.lab import evaluation, pipeline, records, training
from bitslice.lab.adaptation import CLAIMED, Adaptation
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.experiments import adapted, run_name
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile
from bitslice.storage import load_arrays
from tests import test_resume
from tests.conftest import Trained, silent, small

SPREAD = Crossbar(rows=16, row_order=RowOrder.SPREAD)
START = replace(test_resume.EXPERIMENT(Method.L1, Profile.SMOKE), rows=16)
HOW = Adaptation(None, 1.5, adc_levels=8, epochs=2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What resolutions are allocated for while training, those given, and those that levels are found for."""
    told: list[Any] = []

    def allocate(model: Any, images: Tensor, means: list[float], crossbar: Crossbar) -> list[LayerAdcs]:
        found = allocate_adcs(model, images, means, crossbar)
        told.extend([len(images), crossbar, means, *found])
        return found

    def calibrate(model: Any, images: Any, bits: LayerAdcs, crossbar: Crossbar) -> LayerAdcs:
        told.append(bits)
        return calibrate_adcs(model, images, bits, crossbar)

    monkeypatch.setattr(training, "allocate_adcs", allocate)
    monkeypatch.setattr(training, "calibrate_adcs", calibrate)
    return told


def assert_accuracy_is_that_on_crossbars(record: Record, images: Images) -> None:
    """With the ADCs that the record holds."""
    x = evaluation.network_input(images.pixels, images, record.config.input_scaling)
    network = record.network()
    deployed = deploy(network, map_network(network, x, SPREAD), record.adcs)
    assert record.final["adc_accuracy"] == evaluation.percent_correct(deployed, [(x, images.labels)])


def test_the_resolutions_of_the_first_epoch_are_kept_also_by_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    test_resume.patch(monkeypatch)
    config = adapted(START, replace(HOW, recalibrated=64))
    straight = training.run(config, tmp_path / "straight", report=silent)
    assert asked[:3] == [8, SPREAD, [1.5]]
    first = asked[3]
    assert asked[4:] == [first, first]

    def interrupt(line: str) -> None:
        if "adapt 2/2" in line:
            raise KeyboardInterrupt

    (tmp_path / "cut").mkdir()
    for path in (tmp_path / "straight").glob("l1-s0.*"):  # what it starts from
        shutil.copy(path, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        training.run(config, tmp_path / "cut", report=interrupt, checkpoint_seconds=0)
    asked.clear()
    record = training.run(config, tmp_path / "cut", report=silent)
    assert asked == [first]
    assert (record.weights, record.epochs, record.final) == (straight.weights, straight.epochs, straight.final)
    read = records.read(record.path)
    assert isinstance(read.adcs, LayerAdcs)
    assert (read.adcs, read.adcs.resolutions) == (straight.adcs, first)
    assert read.adcs != first  # with levels
    assert_accuracy_is_that_on_crossbars(read, DATA_SETS["cifar10"](False))


def test_levels_that_are_kept_are_found_once_also_by_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    test_resume.patch(monkeypatch)
    config = adapted(START, Adaptation(adc_levels=8, epochs=3, levels_kept=True))
    straight = training.run(config, tmp_path / "straight", report=silent)
    assert asked == [CLAIMED]
    start = records.read(tmp_path / "straight" / "l1-s0.json").network()
    images = DATA_SETS["cifar10"](True)
    x = evaluation.network_input(images.pixels[:8], images, config.input_scaling)
    assert straight.adcs == calibrate_adcs(start, x, CLAIMED, SPREAD)

    def interrupt(line: str) -> None:
        if "adapt 2/3" in line:
            raise KeyboardInterrupt

    (tmp_path / "cut").mkdir()
    for path in (tmp_path / "straight").glob("l1-s0.*"):
        shutil.copy(path, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        training.run(config, tmp_path / "cut", report=interrupt, checkpoint_seconds=0)
    asked.clear()
    record = training.run(config, tmp_path / "cut", report=silent)
    assert asked == []
    assert (record.weights, record.final) == (straight.weights, straight.final)
    assert records.read(record.path).adcs == straight.adcs


@pytest.mark.usefixtures("digits")
def test_a_distilled_network_learns_what_it_gave_before_and_sees_no_labels(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in trained.folder.glob("bl1-s0.*"):
        shutil.copy(path, tmp_path)
    config = adapted(small(Method.BL1), Adaptation((None,) * 4, epochs=1, rate=1e-12, distilled=True))
    record = training.run(config, tmp_path, report=silent)
    images, network = DATA_SETS["mnist"](True).first(config.train_images), trained.records[Method.BL1].network()
    with torch.no_grad():
        given = network.eval()(evaluation.network_input(images.pixels, images, config.input_scaling)).softmax(1)
    entropy = float(-(given * given.log()).sum(1).mean())
    assert record.epochs["loss"] == [pytest.approx(entropy, rel=1e-5)]

    taught = adapted(small(Method.BL1), Adaptation(epochs=1, distilled=True))
    plain = adapted(small(Method.BL1), Adaptation(epochs=1))
    seen, labelled = (training.run(each, tmp_path, report=silent).weights for each in (taught, plain))
    known = DATA_SETS["mnist"]
    monkeypatch.setitem(DATA_SETS, "mnist", lambda train: replace(known(train), labels=0 * known(train).labels))
    again = training.run(taught, tmp_path, report=silent)
    assert again.weights == seen != labelled


@pytest.mark.usefixtures("digits")
def test_without_batch_normalization_it_is_refused_before_training(trained: Trained, tmp_path: Path) -> None:
    for path in trained.folder.glob("bl1-s0.*"):
        shutil.copy(path, tmp_path)
    told: list[str] = []
    with pytest.raises(BitsliceError, match="bn9-s0: the network has no batch normalization"):
        training.run(adapted(small(Method.BL1), replace(HOW, recalibrated=9)), tmp_path, report=told.append)
    assert not told


def test_batch_normalization_is_estimated_again_as_on_the_deployed_network_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_resume.patch(monkeypatch)
    how = Adaptation(adc_levels=8)
    plain, record = (
        training.run(adapted(START, replace(how, recalibrated=images)), tmp_path, report=silent)
        for images in (None, 64)
    )
    assert run_name(record.config).endswith("-bn64-s0")
    assert (record.epochs, record.adcs) == (plain.epochs, plain.adcs)
    before, after = (load_arrays(each.weights_path()) for each in (plain, record))
    assert before.keys() == after.keys()
    changed = {name for name in before if not (before[name] == after[name]).all()}
    assert changed - {"1.num_batches_tracked"} == {"1.running_mean", "1.running_var"}

    images, config = DATA_SETS["cifar10"](True).first(64), record.config
    pixels, _ = next(pipeline.batches(images, 64, config.augmentation, torch.Generator().manual_seed(0)))
    x = evaluation.network_input(pixels, images, config.input_scaling)
    network = plain.network()
    deployed = deploy(network, map_network(network, x, SPREAD), plain.adcs)
    recalibrate(deployed, x)
    expected, found = (model.get_submodule("1").state_dict() for model in (deployed, record.network()))
    for statistic in ("running_mean", "running_var"):
        torch.testing.assert_close(found[statistic], expected[statistic])
    assert_accuracy_is_that_on_crossbars(record, DATA_SETS["cifar10"](False))
