"""A run that is killed, again and again, and started again by the same command ends as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bitslice import BitsliceError
from bitslice.lab import evaluation, models, records, training
from bitslice.lab.config import Config
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.experiments import EXPERIMENTS
from bitslice.lab.words import Method, Profile
from tests.conftest import silent

EXPERIMENT = EXPERIMENTS["cifar10-resnet20"]


def patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network with everything that has a state: batch norm, dropout, two quantized layers; random images."""

    def network() -> nn.Module:
        convolution = nn.Conv2d(3, 6, 3, stride=4)
        head = [nn.Flatten(), nn.Dropout(), nn.Linear(384, 10)]
        return nn.Sequential(convolution, nn.BatchNorm2d(6), nn.ReLU(), *head)

    def images(train: bool) -> Images:
        generator = torch.Generator().manual_seed(int(train))
        pixels = torch.randint(256, (96, 3, 32, 32), generator=generator).to(torch.uint8)
        return Images(pixels, torch.randint(10, (96,), generator=generator), (0.5,) * 3, (0.25,) * 3)

    monkeypatch.setitem(models.NETWORKS, "resnet20", network)
    monkeypatch.setitem(DATA_SETS, "cifar10", images)


def small(method: Method, alpha: float | None = None) -> Config:
    config = EXPERIMENT(method, Profile.SMOKE, alpha=alpha)
    finetune = None if config.finetune is None else replace(config.finetune, epochs=8)
    return replace(config, pretrain=replace(config.pretrain, epochs=8), finetune=finetune)


def train(folder: Path) -> None:
    """What the killed process does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch)
        training.run(small(Method.BL1), folder, report=lambda line: print(line, flush=True), checkpoint_seconds=0)


def fields(path: Path) -> dict[str, Any]:
    """A record without its provenance."""
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "provenance"}


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_run_ends_as_an_uninterrupted_one(tmp_path: Path, kills: int) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(straight)
    command = [sys.executable, "-c", f"from tests.test_resume import *; train(Path({str(killed)!r}))"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    chance = random.Random(0)
    told: list[str] = []
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            told += [process.stdout.readline() for _ in range(chance.randint(2, 6))]
            time.sleep(chance.choice([0, 0.02 * chance.random()]))  # in an epoch, or while a checkpoint is written
            process.send_signal(signal.SIGKILL)
        assert process.returncode in (-signal.SIGKILL, 0)  # 0: the last lines were read
    assert sum("going on after epoch" in line for line in told) >= 2
    train(killed)
    assert fields(killed / "bl1-s0.json") == fields(straight / "bl1-s0.json")
    assert fields(killed / "quantized-s0.json") == fields(straight / "quantized-s0.json")
    assert {path.name for path in killed.iterdir()} == {path.name for path in straight.iterdir()}


def test_a_run_killed_before_its_record_is_written_leaves_no_state_that_others_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(monkeypatch)

    def kill(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(training.records, "write", kill)
        with pytest.raises(KeyboardInterrupt):
            training.run(small(Method.QUANTIZED), tmp_path, report=silent, checkpoint_seconds=0)
    assert not (tmp_path / "quantized-s0.state.npz").exists()
    training.run(small(Method.BL1), tmp_path, report=silent)
    assert {path.name for path in tmp_path.glob("quantized-s0.*")} == {
        f"quantized-s0.{suffix}" for suffix in ("json", "npz", "state.npz")
    }


def test_checkpoint_of_another_configuration_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(monkeypatch)

    def interrupt(line: str) -> None:
        if " 3/8" in line:
            raise KeyboardInterrupt

    config = small(Method.QUANTIZED)
    with pytest.raises(KeyboardInterrupt):
        training.run(config, tmp_path, report=interrupt, checkpoint_seconds=0)
    checkpoint = tmp_path / "quantized-s0.checkpoint"
    before = checkpoint.read_bytes()
    other = replace(config, bits=6, pretrain=replace(config.pretrain, label_smoothing=0.1))
    with pytest.raises(BitsliceError) as error:
        training.run(other, tmp_path, report=silent)
    assert str(error.value) == (
        f"{checkpoint} belongs to another configuration: bits is 8, not 6; pretrain.label_smoothing is 0.0, not 0.1"
    )
    assert checkpoint.read_bytes() == before


class TestFloatBaseline:
    def test_record_gives_the_network_back_and_has_no_slices(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        patch(monkeypatch)
        config = small(Method.FLOAT)
        training.run(config, tmp_path, report=silent)
        record = records.read(tmp_path / "float-s0.json")
        assert evaluation.measure(record.network(), DATA_SETS["cifar10"](False), config) == record.final
        assert set(record.epochs["mean_density"]) == {None}
        assert (record.summary()["density"], record.summary()["mean_density"]) == (None, None)
        for member in ("density", "mean_density"):
            with pytest.raises(BitsliceError, match="no bit slices"):
                getattr(record, member)

    def test_large_network_is_not_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patch(monkeypatch)
        monkeypatch.setattr(records, "LARGEST_FLOAT", 100)
        training.run(small(Method.FLOAT), tmp_path, report=silent)
        assert [path.name for path in tmp_path.iterdir()] == ["float-s0.json"]
        (record,) = records.read_all(tmp_path)
        with pytest.raises(BitsliceError, match=r"weights of .* were not kept; train it again"):
            record.network()
