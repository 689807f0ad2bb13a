"""Where records come from: what is told of it, and commands that make them again."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from bitslice.book.sources import PACKAGE
from bitslice.cli import main, parser
from bitslice.cli.train import configuration
from bitslice.crossbar import Adc, AdcGradient, RowOrder
from bitslice.errors import BitsliceError
from bitslice.lab import plans, records
from bitslice.lab.adaptation import Adaptation
from bitslice.lab.data import CIFAR10, MNIST
from bitslice.lab.disk import sha256
from bitslice.lab.experiments import EXPERIMENTS, adaptation, adapted, cifar10, mnist, run_name
from bitslice.lab.provenance import lock, provenance
from bitslice.lab.words import InputScaling, Method, Profile

ROOT = PACKAGE.parent
RECORD = ROOT / "results/mnist/bl1-s0.json"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A released record with its weights, that a test may change."""
    for path in (RECORD, RECORD.with_suffix(".npz")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / RECORD.name


def told(record: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the command prints, by the names of the facts."""
    assert main(["provenance", str(record)]) == 0
    first, *facts = capsys.readouterr().out.splitlines()
    assert first == record.as_posix()
    pairs = [fact.strip().split("  ", 1) for fact in facts]
    return {name: value.strip() for name, value in pairs}


def test_every_released_record_has_a_command_that_asks_for_its_configuration() -> None:
    for record in records.read_all(ROOT / "results"):
        words = plans.command(record.config, record.provenance["threads"]).split()
        assert words[0] == "bitslice"
        assert configuration(parser().parse_args(words[1:])) == record.config


ADAPTATIONS = (
    Adaptation(None, 1.5, adc_levels=25, recalibrated=2000),
    Adaptation(None, 2.25, RowOrder.CONSECUTIVE, 1, 9, AdcGradient.GAUSSIAN, 3, 0.0125),
    Adaptation((Adc(3, 2), None, 3, 1), gradient=AdcGradient.SHARE, rate=1e-7, recalibrated=1),
    Adaptation(adc_levels=9, levels_kept=True),
    Adaptation(distilled=True),
    Adaptation((1, 1, Adc(1, 8, 3), 1), adc_levels=9, refined=99, adc_first=(2, Adc(3, 4), None, 1)),
)


@pytest.mark.parametrize("how", ADAPTATIONS, ids=str)
@pytest.mark.parametrize("experiment", [mnist, partial(cifar10, "resnet20")], ids=["mnist", "cifar10"])
def test_a_way_of_adapting_is_found_in_the_configuration_that_it_makes(
    experiment: Callable[..., plans.Config], how: Adaptation
) -> None:
    config = adapted(experiment(Method.PRUNED), how)
    found = adaptation(config)
    assert found is not None
    default = EXPERIMENTS[config.experiment].adapt_gradient
    assert replace(found, gradient=found.gradient or default) == replace(how, gradient=how.gradient or default)
    assert plans.again(config) == plans.Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "config",
    [
        mnist(Method.FLOAT, Profile.SMOKE, seed=3),
        mnist(Method.BL1, Profile.PAPER, 1, 1e-7, InputScaling.NORMALIZED),
        cifar10("resnet20", Method.PRUNED, Profile.LONG, input_scaling=InputScaling.UNIT),
        cifar10("resnet20", Method.COLUMN, seed=1, alpha=21, pretrain_alpha=0.5),
        mnist(Method.QUANTIZED, pretrain_alpha=0),
        adapted(mnist(Method.BL1, Profile.PAPER, alpha=0.2, pretrain_alpha=0)),
        *(adapted(cifar10("resnet20", Method.L1), how) for how in ADAPTATIONS),
    ],
    ids=run_name,
)
def test_options_stand_for_runs_that_no_plan_has(config: plans.Config) -> None:
    assert configuration(parser().parse_args(plans.command(config).split()[1:])) == config


def test_without_a_command_the_difference_is_named() -> None:
    with pytest.raises(BitsliceError, match=r"no command .* rows is 64, not 128"):
        plans.command(replace(mnist(Method.BL1), rows=64))
    with pytest.raises(BitsliceError, match="unknown experiment 'svhn'"):
        plans.command(replace(mnist(Method.BL1), experiment="svhn"))


def test_a_compiled_run_is_made_again_compiled() -> None:
    words = plans.command(mnist(Method.BL1), threads=2, compiled=True)
    assert words.endswith("--threads 2 --compile")


def test_a_record_tells_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    facts = told(RECORD, capsys)
    assert facts["commit"] == "cc30b6e025828f17c0a652caad7d179f9e16b4e2"
    assert (facts["python"], facts["torch"], facts["numpy"]) == ("3.11.7", "2.11.0+cu130", "2.4.6")
    assert (facts["device"], facts["wall seconds"]) == ("Intel(R) Xeon(R) Processor", "113.0")
    assert facts["md5 of t10k-labels-idx1-ubyte"] == MNIST.files["t10k-labels-idx1-ubyte"]
    digest = "14286ccd5b0469e44063c2d139cdb77f86f0e92a4e1f7ac944e51edae45c5bbc"
    assert facts["weights' SHA-256"] == f"{digest}; bl1-s0.npz has it"
    assert facts["command"] == "bitslice train mnist --method bl1 --seed 0 --alpha 0.5 --profile paper --threads 1"


def test_the_lock_is_the_one_named_else_that_of_the_commit(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = json.loads(copied.read_text())
    of_commit = lock(fields["provenance"]["commit"])
    for source, expected in (
        (fields["provenance"], of_commit or "unknown"),  # a shallow clone lacks the commit
        (fields["provenance"] | {"lock": "1" * 64}, "1" * 64),
        (fields["provenance"] | {"commit": None}, "unknown"),
        (fields["provenance"] | {"commit": "0" * 40}, "unknown"),
    ):
        copied.write_text(json.dumps(fields | {"provenance": source}))
        assert told(copied, capsys)["lock"] == expected


def test_todays_lock_is_named_in_todays_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance(torch.device("cpu"), 1, 0.0)["lock"] == sha256(ROOT / "requirements.lock")
    monkeypatch.setattr("bitslice.lab.provenance.LOCK", "nowhere.lock")
    assert lock() is None


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    record = ROOT / "results/cifar10-resnet20/bl1-s0.json"
    assert main(["provenance", str(record), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["provenance"] == records.read(record).provenance
    assert found["data"] == {"name": "cifar10", "md5": CIFAR10.files}
    assert found["weights"]["file_has_it"] is True
    assert found["command"].startswith("bitslice train cifar10-resnet20 --method bl1")
    assert found["without_command"] is None


def test_weights_that_changed_or_went_are_told(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied.with_suffix(".npz").write_bytes(b"other")
    assert told(copied, capsys)["weights' SHA-256"].endswith("; bl1-s0.npz HAS ANOTHER ONE")
    copied.with_suffix(".npz").unlink()
    assert told(copied, capsys)["weights' SHA-256"].endswith("; bl1-s0.npz is missing")


def test_what_is_not_as_usual_is_told(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = records.read(copied)
    source = record.provenance | {"commit": "abc+", "lock": "0123"}
    records.write(replace(record, weights=None, provenance=source, config=replace(record.config, rows=64)))
    facts = told(copied, capsys)
    assert (facts["commit"], facts["lock"]) == ("abc with uncommitted changes", "0123")
    assert facts["weights' SHA-256"] == "none kept"
    assert facts["command"] == "no command makes this configuration today: rows is 64, not 128"
    records.write(replace(record, provenance=source | {"commit": None}))
    assert told(copied, capsys)["commit"] == "unknown"


def test_no_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provenance", "nowhere.json"]) == 2
    assert capsys.readouterr().err == "bitslice: no record at nowhere.json\n"
