"""The project's files agree with each other, and the README's commands and snippets work."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from bitslice.book import environment
from bitslice.book.sources import PACKAGE, closure, notebook_sources
from bitslice.cli import main

ROOT = PACKAGE.parent
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def locked(python: str = "3.11") -> dict[str, str]:
    """Pinned version of every package in the lock file, as it applies to this Python."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.match(r"([a-z0-9-]+)==([^ ;]+)(?: ; (.*?))? \\", line)
        if match and (not match[3] or "python_full_version" not in match[3] or f"< '{python[:2]}12'" in match[3]):
            pins[match[1]] = match[2]
    return pins


def test_conda_users_get_every_version_of_the_lock_file() -> None:
    """Conda writes the pip entries, a line each, into a requirements file beside environment.yml and installs that."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert pip == ["--require-hashes", "--requirement requirements.lock"]
    assert "python=3.11" in conda["dependencies"]  # for which `make lock` resolves


def test_what_is_installed_is_what_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if sys.version_info >= (3, 12):
        pytest.skip("the lock names other versions for newer Pythons")
    pins, names = locked(), environment.direct_requirements()
    assert {name: found.partition("+")[0] for name, found in environment.versions().items()} == {
        name: pins[name] for name in names
    }


def test_every_pin_has_a_hash_and_no_registry_is_named() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.split(r"\n(?=[a-z0-9])", lock)[1:]
    assert len(pins) > 100
    assert all("--hash=sha256:" in pin for pin in pins)
    assert "://" not in lock


def test_the_readme_names_only_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", README + (ROOT / "book/use.md").read_text(), re.MULTILINE))
    named = {first or second for first, second in named}
    assert {"book", "test", "figures", "reproduce", "serve", "bench"} <= named <= targets


def test_ci_calls_the_readmes_test_command() -> None:
    assert "make test" in blocks(README, "bash")[0]
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "book/use.md"])
def test_bitslice_commands_in_the_pages_parse(page: str) -> None:
    from bitslice.cli import parser

    commands = re.findall(r"^bitslice (.*)$", "\n".join(blocks((ROOT / page).read_text(), "bash")), flags=re.MULTILINE)
    assert commands
    for command in commands:
        parser().parse_args(command.split("#")[0].split())


def test_the_readmes_snippets_train_a_network_and_put_it_on_crossbars() -> None:
    snippet, simulation = blocks(README, "python")
    assert len([line for line in snippet.splitlines() if "bitslice." in line]) <= 5
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(64, 20)
    y = (x[:, 0] > 0).long()
    before = criterion_of(model, x, y)
    names = {
        "model": model,
        "batches": [(x, y)] * 300,
        "criterion": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    }
    exec(snippet, names)
    assert criterion_of(model, x, y) < 0.5 * before
    exec(simulation, names | {"images": x})
    assert criterion_of(model, x, y) < 0.5 * before  # the network itself stays as it is


def criterion_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return float(nn.functional.cross_entropy(model(x), y).detach())


def test_the_snippet_that_reads_a_released_network_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    snippet = next(b for b in blocks((ROOT / "book/use.md").read_text(), "python") if "records.read" in b)
    exec(snippet, {})
    assert re.match(r"9\d\.\d", capsys.readouterr().out)


def test_training_depends_on_the_quantizer_and_on_no_plot() -> None:
    training = closure("import bitslice.lab.training")
    assert "bitslice/quantizer.py" in training
    assert "bitslice/lab/data/mnist.py" in training
    assert not [path for path in training if re.search("plots|tables|figures|cli", path)]


def test_a_notebook_depends_on_its_own_plots_only() -> None:
    found = notebook_sources(ROOT / "notebooks/regularizer.ipynb")
    assert "bitslice/book/plots/regularizer.py" in found
    assert "bitslice/book/plots/methods.py" not in found


def test_released_records_are_complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bitslice.lab.experiments import EXPERIMENTS
    from bitslice.lab.words import Method

    monkeypatch.chdir(ROOT)
    assert main(["results", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    paper = [row for row in rows if (row["experiment"], row["profile"]) == ("mnist", "paper")]
    for method in ("pruned", "l1", "bl1"):
        assert len({row["seed"] for row in paper if row["method"] == method}) >= 5
    for method in (Method.L1, Method.BL1):
        alphas = {row["alpha"] for row in paper if row["method"] == method.value}
        assert alphas == set(EXPERIMENTS["mnist"].sweep[method])
    for row in rows:
        if row["method"] != "float":
            assert row["mean_density"] == pytest.approx(sum(row["density"]) / 4)
        assert 0 <= row["accuracy"] <= 100


@pytest.mark.parametrize("path", sorted((ROOT / "simulations").rglob("*.json")), ids=lambda path: path.stem)
def test_released_simulations_are_of_the_network_and_kind_that_their_path_names(path: Path) -> None:
    kind, experiment, name = path.relative_to(ROOT / "simulations").parts
    found = json.loads(path.read_text())
    assert found["network"] == f"results/{experiment}/{name}"
    if kind != "tolerance":
        order = "spread" if kind in ("spread", "headroom", "levels", "seven_bits") else "consecutive"
        assert found["crossbar"].get("row_order", "consecutive") == order
        assert found.get("headroom", 0) == {"headroom": 2, "seven_bits": 1}.get(kind, 0)
        levels = kind in ("levels", "seven_bits")
        assert bool(found.get("levels_images")) == levels == all(s.get("levels") for s in found["settings"])
        assert bool(found.get("calibration_images")) == (levels and experiment not in ("mnist", "cifar10-vgg11"))
        assert bool(found.get("judging_images")) == levels == all(s.get("judged") for s in found["settings"])
        means = [setting["mean"] for setting in found["settings"] if setting.get("mean")]
        assert (2.5 in means) == (kind == "levels")  # of which the claimed ADCs have as many bits
        if levels:
            assert found["images"] == 10000
            assert means == sorted(means, reverse=True)


def test_released_records_stay_small() -> None:
    assert 10**6 < sum(path.stat().st_size for path in (ROOT / "results").rglob("*.*")) < 60 * 10**6


def test_nothing_generated_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tops = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert not tops & {"build", "figures", "data", ".venv", ".snakemake"}
