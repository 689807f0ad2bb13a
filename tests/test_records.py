"""Records and the integer weights beside them."""

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bitslice import storage
from bitslice.errors import BitsliceError
from bitslice.fixed_point import Rounding
from bitslice.lab import provenance, records
from bitslice.lab.disk import sha256
from bitslice.lab.experiments import mnist, run_name
from bitslice.lab.models import build
from bitslice.lab.records import Record
from bitslice.lab.words import Method, Profile
from bitslice.quantizer import prune, quantize, quantized_tensors
from bitslice.storage import export_codes, import_codes, load_arrays, save_arrays
from tests.conftest import SOURCE, Trained


def convolutional_network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    model = nn.Sequential(block, nn.Conv2d(4, 3, 2, bias=False), nn.Flatten(), nn.Linear(3 * 25, 4))
    quantize(model)
    return model


def images() -> Tensor:
    return torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def perceptron(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = quantize(build("mlp"))
    model(torch.rand(5, 1, 28, 28))
    return model


def saved_record(folder: Path, **changes: Any) -> Record:
    """A record written into ``folder``, with the weights of an untrained perceptron beside it."""
    config = replace(mnist(Method.BL1, Profile.SMOKE), **changes)
    weights = folder / f"{run_name(config)}.npz"
    save_arrays(weights, export_codes(perceptron()))
    record = Record(
        path=folder / f"{run_name(config)}.json",
        config=config,
        epochs={"stage": ["pretrain"], "epoch": [1], "loss": [0.1 + 0.2], "accuracy": [50.0], "mean_density": [1e-9]},
        final={"accuracy": 97.65, "density": [0.5, 1.25, 2.0, 8.0], "mean_density": 2.9375},
        after_pruning=None,
        weights={"file": weights.name, "sha256": sha256(weights)},
        provenance={**SOURCE, "commit": None},
    )
    records.write(record)
    return record


class TestRecord:
    def test_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        record = saved_record(tmp_path)
        assert records.read(record.path) == record

    def test_of_a_real_run_comes_back_as_it_was_written(self, trained: Trained) -> None:
        for record in trained.records.values():
            assert records.read(record.path) == record

    def test_is_plain_json_without_rounding(self, tmp_path: Path) -> None:
        fields = json.loads(saved_record(tmp_path).path.read_text())
        assert fields["epochs"]["loss"] == [0.1 + 0.2]
        assert fields["config"]["method"] == "bl1"

    def test_summary_has_what_the_command_line_lists(self, tmp_path: Path) -> None:
        record = saved_record(tmp_path)
        assert record.summary() == {
            "experiment": "mnist",
            "network": "mlp",
            "method": "bl1",
            "profile": "smoke",
            "seed": 0,
            "alpha": 0.5,
            "input_scaling": "unit",
            "pretrain_alpha": 10.0,
            "accuracy": 97.65,
            "density": [0.5, 1.25, 2.0, 8.0],
            "mean_density": 2.9375,
            "path": record.path.as_posix(),
        }

    def test_that_is_missing_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(BitsliceError, match=r"no record at .*bl1-s0\.json"):
            records.read(tmp_path / "bl1-s0.json")

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "null", "7", '"text"', "{}", '{"config": {}}', '{"config": []}', '{"config": null}', "\xff"],
    )
    def test_that_is_damaged_is_reported(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "bl1-s0.json"
        path.write_bytes(text.encode("latin1"))
        with pytest.raises(BitsliceError, match=r"bl1-s0\.json is not a record"):
            records.read(path)

    def test_that_was_cut_short_anywhere_is_reported(self, tmp_path: Path) -> None:
        path = saved_record(tmp_path).path
        whole = path.read_text()
        for length in range(0, len(whole) - 2, 37):
            path.write_text(whole[:length])
            with pytest.raises(BitsliceError, match="is not a record"):
                records.read(path)

    @pytest.mark.parametrize("name", ["method", "rounding", "pretrain", "finetune"])
    def test_with_an_impossible_setting_is_reported(self, tmp_path: Path, name: str) -> None:
        path = saved_record(tmp_path).path
        fields = json.loads(path.read_text())
        fields["config"][name] = "nonsense"
        path.write_text(json.dumps(fields))
        with pytest.raises(BitsliceError, match="is not a record"):
            records.read(path)

    def test_that_is_a_folder_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").mkdir()
        with pytest.raises(BitsliceError, match="is not a record"):
            records.read(tmp_path / "a.json")

    def test_all_below_a_folder_come_in_the_order_of_their_paths(self, trained: Trained, tmp_path: Path) -> None:
        shutil.copytree(trained.folder, tmp_path / "b")
        shutil.copytree(trained.folder, tmp_path / "a" / "deeper")
        found = [record.path for record in records.read_all(tmp_path)]
        names = [f"{method}-s0.json" for method in ("bl0", "bl1", "column", "l1", "pruned", "quantized")]
        assert found == [tmp_path / "a" / "deeper" / n for n in names] + [tmp_path / "b" / n for n in names]

    def test_one_that_is_damaged_is_reported_and_not_passed_over(self, trained: Trained, tmp_path: Path) -> None:
        shutil.copytree(trained.folder, tmp_path / "b")
        (tmp_path / "b" / "other.json").write_text("{}")
        with pytest.raises(BitsliceError, match=r"other.json is not a record"):
            records.read_all(tmp_path)

    def test_folder_without_any_is_reported(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(BitsliceError, match="no records below"):
                records.read_all(folder)


class TestWeightsOfARecord:
    def test_give_the_network_back(self, tmp_path: Path) -> None:
        pixels = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        expected = perceptron().eval()(pixels)
        assert torch.equal(saved_record(tmp_path).network()(pixels), expected)

    def test_give_the_network_back_with_its_rounding_and_word_lengths(self, tmp_path: Path) -> None:
        pixels = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        model = quantize(build("mlp"), bits=6, activation_bits=4, rounding=Rounding.FLOOR)
        model(pixels)
        record = saved_record(tmp_path, bits=6, activation_bits=4, rounding=Rounding.FLOOR)
        weights = tmp_path / record.weights["file"]
        save_arrays(weights, export_codes(model))
        record.weights["sha256"] = sha256(weights)
        assert torch.equal(record.network()(pixels), model.eval()(pixels))

    def test_that_are_missing_are_reported(self, tmp_path: Path) -> None:
        record = saved_record(tmp_path)
        (tmp_path / "bl1-s0.npz").unlink()
        with pytest.raises(BitsliceError, match=r"weights of .*bl1-s0\.json are missing"):
            record.network()

    def test_that_were_tampered_with_are_refused(self, tmp_path: Path) -> None:
        record = saved_record(tmp_path)
        save_arrays(tmp_path / "bl1-s0.npz", export_codes(perceptron(seed=1)))
        with pytest.raises(BitsliceError, match=r"SHA-256 differs"):
            record.network()

    def test_of_another_network_are_refused(self, tmp_path: Path) -> None:
        record = saved_record(tmp_path)
        model = convolutional_network(0)
        model(images())
        save_arrays(tmp_path / "bl1-s0.npz", export_codes(model))
        record.weights["sha256"] = sha256(tmp_path / "bl1-s0.npz")
        with pytest.raises(BitsliceError, match="belong to another network"):
            record.network()


class TestCodes:
    @pytest.mark.parametrize("pruned", [False, True])
    def test_export_and_import_give_identical_logits(self, pruned: bool) -> None:
        model = convolutional_network(0)
        for _ in range(3):  # moves the batch norm's statistics
            model(images())
        if pruned:
            prune(model, 0.05)
        twin = convolutional_network(1)
        import_codes(twin, export_codes(model))
        assert torch.equal(twin.eval()(images()), model.eval()(images()))
        assert all(map(np.array_equal, export_codes(twin).values(), export_codes(model).values()))

    def test_of_a_bare_layer_give_identical_outputs(self) -> None:
        layers = [quantize(nn.Linear(5, 3)) for _ in range(2)]
        x = torch.randn(4, 5)
        layers[0](x)
        import_codes(layers[1], export_codes(layers[0]))
        assert torch.equal(layers[1].eval()(x), layers[0].eval()(x))

    def test_are_small_integers_with_one_exponent_a_tensor(self) -> None:
        model = perceptron()
        arrays = export_codes(model)
        assert set(arrays) == {
            f"{layer}.{tensor}{part}"
            for layer in (1, 3)
            for tensor, part in [("weight", ""), ("bias", ""), *((t, ".exponent") for t in ("weight", "bias", "input"))]
        } | {"words"}
        for tensor in quantized_tensors(model):
            codes = arrays[tensor.name]
            assert codes.dtype == np.int16
            assert np.abs(codes).max() <= 255
            assert arrays[f"{tensor.name}.exponent"].dtype == np.int8
            assert tensor.quantizer.step.item() == 2.0 ** int(arrays[f"{tensor.name}.exponent"])

    @pytest.mark.parametrize(
        "change",
        [
            lambda arrays: arrays.pop("3.bias"),
            lambda arrays: arrays.pop("3.input.exponent"),
            lambda arrays: arrays.update({"3.bias": np.zeros(11, np.int16)}),
            lambda arrays: arrays.update({"3.bias": np.zeros(1, np.int16)}),
            lambda arrays: arrays.update({"1.weight": np.zeros((1, 784), np.int16)}),
            lambda arrays: arrays.update({"5.weight": np.zeros((2, 10), np.int16)}),
        ],
        ids=["no bias", "no exponent", "another size", "one for all", "one row for all", "one layer more"],
    )
    def test_of_another_network_are_refused(self, change: Callable[[storage.Arrays], Any]) -> None:
        arrays = export_codes(perceptron())
        change(arrays)
        with pytest.raises(BitsliceError, match="belong to another network"):
            import_codes(quantize(build("mlp")), arrays)

    def test_of_another_batch_norm_are_refused_in_one_line(self) -> None:
        model = convolutional_network(0)
        model(images())
        arrays = export_codes(model)
        arrays["0.1.running_mean"] = np.zeros(5, np.float32)
        with pytest.raises(BitsliceError, match="belong to another network") as error:
            import_codes(convolutional_network(1), arrays)
        assert "\n" not in str(error.value)


class TestArrays:
    def test_come_back_as_they_were(self, tmp_path: Path) -> None:
        arrays = {"a.b": np.arange(6, dtype=np.int16).reshape(2, 3), "c": np.array(-3, np.int8)}
        save_arrays(tmp_path / "x.npz", arrays)
        loaded = load_arrays(tmp_path / "x.npz")
        assert list(loaded) == ["a.b", "c"]
        for name, array in arrays.items():
            assert loaded[name].dtype == array.dtype
            assert np.array_equal(loaded[name], array)

    def test_equal_ones_give_equal_bytes(self, tmp_path: Path) -> None:
        for name in ("x.npz", "y.npz"):
            save_arrays(tmp_path / name, export_codes(perceptron()))
        assert sha256(tmp_path / "x.npz") == sha256(tmp_path / "y.npz")
        save_arrays(tmp_path / "y.npz", export_codes(perceptron(seed=1)))
        assert sha256(tmp_path / "x.npz") != sha256(tmp_path / "y.npz")

    def test_that_would_need_pickle_are_neither_written_nor_read(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"pickle|Object arrays"):
            save_arrays(tmp_path / "x.npz", {"a": np.array([{}], dtype=object)})
        assert list(tmp_path.iterdir()) == []
        np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
        with pytest.raises(BitsliceError, match="is damaged"):
            load_arrays(tmp_path / "x.npz")

    def test_that_are_missing_are_reported(self, tmp_path: Path) -> None:
        with pytest.raises(BitsliceError, match="no weights at"):
            load_arrays(tmp_path / "x.npz")

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04nonsense"])
    def test_that_are_no_archive_are_reported(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(BitsliceError, match=r"x\.npz is damaged"):
            load_arrays(tmp_path / "x.npz")

    def test_that_are_one_array_without_an_archive_are_reported(self, tmp_path: Path) -> None:
        with (tmp_path / "x.npz").open("wb") as file:
            np.save(file, np.arange(3))
        with pytest.raises(BitsliceError, match=r"x\.npz is damaged"):
            load_arrays(tmp_path / "x.npz")

    def test_with_any_damaged_byte_are_reported_or_unchanged(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        array = np.random.default_rng(0).integers(-255, 256, 40).astype(np.int16)
        save_arrays(path, {"a": array})
        good = path.read_bytes()
        refused = 0
        for place in range(len(good)):
            path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
            try:
                loaded = load_arrays(path)
            except BitsliceError:
                refused += 1
            else:
                assert all(np.array_equal(value, array) for value in loaded.values())
        assert refused > len(good) / 2

    def test_cut_short_anywhere_are_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        save_arrays(path, {"a": np.arange(100)})
        good = path.read_bytes()
        for length in range(len(good)):
            path.write_bytes(good[:length])
            with pytest.raises(BitsliceError):
                load_arrays(path)


class TestProvenance:
    def test_tells_commit_versions_device_and_time(self) -> None:
        found = provenance.provenance(torch.device("cpu"), threads=3, seconds=1.26)
        assert set(found) == {"commit", "lock", "python", "torch", "numpy", "device", "threads", "wall_seconds"}
        assert found["torch"] == torch.__version__
        assert (found["threads"], found["wall_seconds"]) == (3, 1.3)
        assert found["device"]
        json.dumps(found)

    def test_names_the_processor_where_linux_tells_it_and_where_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert provenance.cpu_name()

        def unreadable(_: Path) -> str:
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", unreadable)
        assert provenance.cpu_name() in (platform.processor(), platform.machine())

    def test_has_no_commit_outside_a_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
        assert provenance.commit() is None

    def test_has_no_commit_without_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert provenance.commit() is None


@pytest.mark.parametrize(("changed", "commit"), [("", "abc"), (" M bitslice/cli.py\n", "abc+")])
def test_uncommitted_changes_are_marked(monkeypatch: pytest.MonkeyPatch, changed: str, commit: str) -> None:
    def run(command: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(stdout="abc\n" if command[1] == "rev-parse" else changed)

    monkeypatch.setattr("bitslice.lab.provenance.subprocess.run", run)
    assert provenance.commit() == commit


def test_the_processor_is_named_as_the_system_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n")
    assert provenance.cpu_name() == "Some CPU @ 3 GHz"
