"""The recipe on synthetic digits: exact records, exact repetition, exact resumption."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.fixed_point import Rounding
from bitslice.lab import evaluation, training
from bitslice.lab.config import Config
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.disk import sha256
from bitslice.lab.experiments import mnist
from bitslice.lab.records import Record, read
from bitslice.lab.words import InputScaling, Method, Profile
from bitslice.quantizer import quantized_tensors
from bitslice.storage import load_arrays
from tests.conftest import QUANTIZED_METHODS, TEST, TRAIN, Trained, full_disk, silent, small


def run(config: Config, folder: Path, **options: Any) -> Record:
    return training.run(config, folder, **{"report": silent, **options})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt_after(lines: int) -> training.Report:
    """A progress report that is interrupted by Ctrl-C while it tells its last line."""
    told = 0

    def report(_: str) -> None:
        nonlocal told
        told += 1
        if told == lines:
            raise KeyboardInterrupt

    return report


def assert_one_line(error: pytest.ExceptionInfo[BitsliceError]) -> None:
    assert "\n" not in str(error.value)


class TestRecords:
    @pytest.mark.parametrize("method", QUANTIZED_METHODS)
    def test_released_weights_reproduce_the_record_exactly(self, trained: Trained, method: Method) -> None:
        record = read(trained.folder / f"{method.value}-s0.json")
        assert record.config == small(method)
        network = record.network()
        assert evaluation.accuracy(network, TEST, InputScaling.UNIT) == record.accuracy
        assert evaluation.measure(network, TEST, record.config) == record.final

    @pytest.mark.parametrize("method", QUANTIZED_METHODS)
    def test_have_one_row_an_epoch_of_their_own_stage(self, trained: Trained, method: Method) -> None:
        epochs = trained.records[method].epochs
        stage, count = ("pretrain", 2) if method is Method.QUANTIZED else ("finetune", 1)
        assert epochs["stage"] == [stage] * count
        assert epochs["epoch"] == list(range(1, count + 1))
        assert {len(column) for column in epochs.values()} == {count}
        assert all(np.isfinite(epochs["loss"]))
        assert all(0 <= share <= 100 for share in epochs["accuracy"] + epochs["mean_density"])

    @pytest.mark.parametrize("method", QUANTIZED_METHODS)
    def test_tell_density_of_slices_and_layers(self, trained: Trained, method: Method) -> None:
        final = trained.records[method].final
        assert final["mean_density"] == sum(final["density"]) / 4
        layers = final["layers"]
        assert {name: layer["size"] for name, layer in layers.items()} == {
            "1.weight": 78400,
            "1.bias": 100,
            "3.weight": 1000,
            "3.bias": 10,
        }
        for k in range(4):
            pooled = sum(layer["size"] * layer["density"][k] for layer in layers.values()) / 79510
            assert pooled == pytest.approx(final["density"][k])
        assert set(final["adc"]) == {"B0", "B1", "B2", "B3"}
        for sums in final["adc"].values():
            assert 0 <= sums["observed"] <= sums["bound"] <= 3 * 128

    def test_keep_the_state_after_pruning(self, trained: Trained) -> None:
        assert trained.records[Method.QUANTIZED].after_pruning is None
        pruned = [trained.records[method].after_pruning for method in (Method.PRUNED, Method.L1, Method.BL1)]
        assert pruned[0] == pruned[1] == pruned[2]
        assert pruned[0] is not None
        assert pruned[0]["mean_density"] <= trained.records[Method.QUANTIZED].mean_density

    def test_carry_the_hash_of_their_weights(self, trained: Trained) -> None:
        for record in trained.records.values():
            assert record.weights["sha256"] == sha256(trained.folder / record.weights["file"])

    def test_tell_where_they_come_from(self, trained: Trained) -> None:
        provenance = trained.records[Method.BL1].provenance
        assert provenance["torch"] == torch.__version__
        assert provenance["threads"] == 1
        assert provenance["wall_seconds"] >= 0

    def test_one_folder_holds_records_weights_and_one_pretrained_state(self, trained: Trained) -> None:
        runs = [f"{method.value}-s0{suffix}" for method in QUANTIZED_METHODS for suffix in (".json", ".npz")]
        assert names(trained.folder) == sorted([*runs, "quantized-s0.state.npz"])


class TestLearning:
    def test_network_learns(self, trained: Trained) -> None:
        epochs = trained.records[Method.QUANTIZED].epochs
        assert epochs["loss"][-1] < epochs["loss"][0]
        assert trained.records[Method.PRUNED].accuracy > 50  # guessing gives 10

    def test_what_was_pruned_stays_zero(self, trained: Trained) -> None:
        state = load_arrays(trained.folder / "quantized-s0.state.npz")
        for method in (Method.PRUNED, Method.L1, Method.BL1):
            for tensor in quantized_tensors(trained.records[method].network()):
                layer, _, parameter = tensor.name.rpartition(".")
                small_before = np.abs(state[f"{layer}.parametrizations.{parameter}.original"]) < 0.01
                assert tensor.name != "1.weight" or small_before.any()
                assert not tensor.codes().numpy()[small_before].any()

    @pytest.mark.usefixtures("digits")
    @pytest.mark.parametrize(("method", "alpha"), [(Method.L1, 5000.0), (Method.BL1, 20.0)])
    def test_a_strong_regularizer_thins_the_slices(
        self, trained: Trained, tmp_path: Path, method: Method, alpha: float
    ) -> None:
        record = run(small(method, alpha=alpha), tmp_path)
        assert record.path.name == f"{method.value}-a{alpha:g}-s0.json"
        assert record.mean_density < 0.8 * trained.records[Method.PRUNED].mean_density

    @pytest.mark.usefixtures("digits")
    def test_alpha_zero_equals_no_regularizer(self, trained: Trained, tmp_path: Path) -> None:
        record = run(small(Method.BL1, alpha=0.0), tmp_path)
        assert record.final == trained.records[Method.PRUNED].final

    @pytest.mark.usefixtures("digits")
    def test_other_word_lengths_rounding_and_scaling_reproduce_too(self, tmp_path: Path) -> None:
        config = replace(
            small(Method.BL1),
            bits=6,
            activation_bits=5,
            rounding=Rounding.FLOOR,
            input_scaling=InputScaling.NORMALIZED,
        )
        record = run(config, tmp_path)
        assert names(tmp_path)[0] == "bl1-normalized-s0.json"
        assert len(record.density) == 3
        assert evaluation.measure(read(record.path).network(), TEST, config) == record.final

    @pytest.mark.usefixtures("digits")
    def test_without_l1_in_pretraining_runs_start_from_a_network_of_their_own(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        shutil.copy(trained.folder / "quantized-s0.state.npz", tmp_path)
        run(replace(mnist(Method.PRUNED, Profile.SMOKE, pretrain_alpha=0), adc_images=10), tmp_path)
        written = {"pruned-p0-s0.json", "quantized-p0-s0.json", "quantized-p0-s0.state.npz"}
        assert written <= set(names(tmp_path))
        usual = trained.records[Method.QUANTIZED]
        assert read(tmp_path / "quantized-p0-s0.json").mean_density > usual.mean_density


class TestRepetition:
    @pytest.mark.usefixtures("digits")
    def test_same_seed_gives_the_same_weights(self, trained: Trained, tmp_path: Path) -> None:
        record = run(small(Method.BL1), tmp_path)  # trains its start anew
        assert record.weights == trained.records[Method.BL1].weights
        assert record.final == trained.records[Method.BL1].final
        assert record.epochs == trained.records[Method.BL1].epochs

    @pytest.mark.usefixtures("digits")
    def test_other_seed_gives_other_weights(self, trained: Trained, tmp_path: Path) -> None:
        record = run(small(Method.QUANTIZED, seed=1), tmp_path)
        assert record.weights["sha256"] != trained.records[Method.QUANTIZED].weights["sha256"]

    @pytest.mark.usefixtures("digits")
    def test_seed_chooses_the_initial_weights(self, tmp_path: Path) -> None:
        hashes = set()
        for seed in range(3):
            config = small(Method.QUANTIZED, seed)
            untrained = replace(config, pretrain=replace(config.pretrain, epochs=1, learning_rate=0.0))
            hashes.add(run(untrained, tmp_path).weights["sha256"])
        assert len(hashes) == 3

    def test_order_of_the_images_follows_from_seed_stage_and_epoch_alone(self, tmp_path: Path) -> None:
        images = Images(torch.arange(100, dtype=torch.uint8).view(100, 1), torch.zeros(100).long(), (0.0,), (1.0,))

        def order(method: Method, seed: int, epoch: int) -> tuple[int, ...]:
            seen: list[Tensor] = []
            model = nn.Linear(1, 2)
            model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            config = small(method, seed)
            this = training.Run(config, tmp_path, torch.device("cpu"), silent, 0)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            this.epoch(model, images, optimizer, config.pretrain, None, epoch)
            return tuple((torch.cat(seen).flatten() * 255).round().int().tolist())

        orders = [order(*each) for each in product((Method.QUANTIZED, Method.BL1), (0, 1), (0, 1))]
        assert all(sorted(each) == list(range(100)) for each in orders)
        assert len(set(orders)) == len(orders)
        assert order(Method.BL1, 1, 0) == order(Method.BL1, 1, 0) == order(Method.L1, 1, 0)

    def test_start_is_trained_once_for_all_methods(
        self, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "quantized-s0.state.npz").write_bytes((trained.folder / "quantized-s0.state.npz").read_bytes())
        monkeypatch.setitem(DATA_SETS, "mnist", lambda train: TRAIN if train else TEST)
        told: list[str] = []
        record = run(small(Method.BL1), tmp_path, report=told.append)
        assert len(told) == 1
        assert record.weights == trained.records[Method.BL1].weights
        assert names(tmp_path) == ["bl1-s0.json", "bl1-s0.npz", "quantized-s0.state.npz"]

    @pytest.mark.usefixtures("digits")
    def test_progress_tells_epoch_loss_accuracy_density_and_time_left(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        training.run(small(Method.QUANTIZED), tmp_path)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        for number, line in enumerate(lines, 1):
            assert line.startswith(f"mnist quantized-s0 pretrain {number}/2: loss ")
            for word in ("training accuracy", "density", " s left"):
                assert word in line
        assert lines[-1].endswith(", 0 s left")


def longer(method: Method) -> Config:
    config = small(method)
    assert config.finetune is not None
    return replace(config, pretrain=replace(config.pretrain, epochs=3), finetune=replace(config.finetune, epochs=3))


@pytest.mark.usefixtures("digits")
class TestInterruption:
    @pytest.mark.parametrize("lines", [1, 2, 3, 4, 6])
    def test_run_goes_on_as_if_nothing_had_happened(self, tmp_path: Path, lines: int) -> None:
        config = longer(Method.BL1)
        straight = run(config, tmp_path / "straight")
        folder = tmp_path / "interrupted"
        with pytest.raises(KeyboardInterrupt):
            run(config, folder, report=interrupt_after(lines), checkpoint_seconds=0)
        told: list[str] = []
        record = run(config, folder, report=told.append, checkpoint_seconds=0)
        went_on = [line for line in told if "going on after epoch" in line]
        done = (lines - 1) % 3  # an epoch whose report was interrupted has not been kept
        name = "quantized-s0" if lines <= 3 else "bl1-s0"
        assert went_on == ([f"mnist {name}: going on after epoch {done}"] if done else [])
        assert record.weights == straight.weights
        assert record.epochs == straight.epochs
        assert record.final == straight.final
        assert record.after_pruning == straight.after_pruning
        assert names(folder) == names(tmp_path / "straight")

    def test_run_that_only_lacked_its_record_goes_on_too(
        self, tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(training.records, "write", interrupt_after(1))
            with pytest.raises(KeyboardInterrupt):
                run(small(Method.QUANTIZED), tmp_path, checkpoint_seconds=0)
        assert names(tmp_path) == ["quantized-s0.checkpoint", "quantized-s0.npz"]
        record = run(small(Method.QUANTIZED), tmp_path)
        assert record.weights == trained.records[Method.QUANTIZED].weights
        assert record.epochs == trained.records[Method.QUANTIZED].epochs

    def test_time_of_all_attempts_is_counted(self, tmp_path: Path) -> None:
        config = small(Method.QUANTIZED)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, report=interrupt_after(2), checkpoint_seconds=0)
        path = tmp_path / "quantized-s0.checkpoint"
        state = torch.load(path, weights_only=True)
        torch.save({**state, "seconds": state["seconds"] + 1000}, path)
        assert 1000 < run(config, tmp_path).provenance["wall_seconds"] < 1060

    def test_checkpoints_are_no_more_frequent_than_asked(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(small(Method.QUANTIZED), tmp_path, report=interrupt_after(2), checkpoint_seconds=1000)
        assert not list(tmp_path.glob("*.checkpoint"))

    def test_checkpoint_of_another_configuration_is_refused_and_kept(self, tmp_path: Path) -> None:
        config = small(Method.QUANTIZED)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, report=interrupt_after(2), checkpoint_seconds=0)
        before = sha256(tmp_path / "quantized-s0.checkpoint")
        other = replace(config, pretrain=replace(config.pretrain, momentum=0.9), bits=6)
        with pytest.raises(BitsliceError, match="belongs to another configuration") as error:
            run(other, tmp_path)
        assert "bits is 8, not 6; pretrain.momentum is 0.5, not 0.9" in str(error.value)
        assert_one_line(error)
        assert sha256(tmp_path / "quantized-s0.checkpoint") == before

    @pytest.mark.parametrize("damage", ["truncated", "nonsense", "empty", "no checkpoint", "other pickle"])
    def test_damaged_checkpoint_is_reported(self, tmp_path: Path, damage: str) -> None:
        config = small(Method.QUANTIZED)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, report=interrupt_after(2), checkpoint_seconds=0)
        path = tmp_path / "quantized-s0.checkpoint"
        good = path.read_bytes()
        if damage == "no checkpoint":
            torch.save({"weights": torch.ones(3)}, path)
        elif damage == "other pickle":
            torch.save(Path("a class that weights_only refuses"), path)
        else:
            path.write_bytes({"truncated": good[: len(good) // 2], "nonsense": b"nonsense", "empty": b""}[damage])
        with pytest.raises(BitsliceError, match=r"quantized-s0\.checkpoint is damaged: delete it") as error:
            run(config, tmp_path)
        assert_one_line(error)

    def test_no_damaged_byte_of_a_checkpoint_reaches_the_network(self, tmp_path: Path) -> None:
        config = small(Method.QUANTIZED)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, report=interrupt_after(2), checkpoint_seconds=0)
        path = tmp_path / "quantized-s0.checkpoint"
        good, straight, refused = path.read_bytes(), run(config, tmp_path), 0
        for place in range(0, len(good), len(good) // 12):
            path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
            try:
                found = run(config, tmp_path)
            except BitsliceError as error:
                assert f"{path} is damaged: delete it" in str(error)  # noqa: PT017
                refused += 1
            else:  # a byte between the files of the archive
                assert (found.weights, found.epochs) == (straight.weights, straight.epochs)
        assert refused >= 8

    @pytest.mark.parametrize("part", ["model", "optimizer", "history", "epochs_done", "config"])
    def test_checkpoint_of_another_shape_is_reported(self, tmp_path: Path, part: str) -> None:
        config = small(Method.QUANTIZED)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, report=interrupt_after(2), checkpoint_seconds=0)
        path = tmp_path / "quantized-s0.checkpoint"
        torch.save({**torch.load(path, weights_only=True), part: {"a": torch.ones(3)}}, path)
        with pytest.raises(BitsliceError, match=r"quantized-s0\.checkpoint (is damaged|belongs to another)") as error:
            run(config, tmp_path)
        assert_one_line(error)


@pytest.mark.usefixtures("digits")
class TestStateOfTheStart:
    def test_of_another_configuration_is_refused(self, trained: Trained, tmp_path: Path) -> None:
        config = small(Method.BL1)
        run(config.pretrained(), tmp_path)
        other = replace(config, pretrain=replace(config.pretrain, learning_rate=0.3))
        with pytest.raises(BitsliceError, match=r"quantized-s0\.state\.npz belongs to another configuration") as error:
            run(other, tmp_path)
        assert "pretrain.learning_rate is 0.05, not 0.3" in str(error.value)
        assert "bl1-s0.json" not in names(tmp_path)

    @pytest.mark.parametrize("damage", ["truncated", "nonsense", "other arrays"])
    def test_that_is_damaged_is_reported(self, tmp_path: Path, damage: str) -> None:
        config = small(Method.BL1)
        run(config.pretrained(), tmp_path)
        path = tmp_path / "quantized-s0.state.npz"
        if damage == "other arrays":
            np.savez(path, a=np.arange(3))
        else:
            path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"nonsense")
        with pytest.raises(BitsliceError, match=r"quantized-s0\.state\.npz is damaged") as error:
            run(config, tmp_path)
        assert_one_line(error)


@pytest.mark.usefixtures("digits")
class TestFailure:
    @pytest.mark.parametrize("method", QUANTIZED_METHODS)
    def test_diverging_loss_is_reported_and_leaves_no_record(self, tmp_path: Path, method: Method) -> None:
        config = small(method)
        if config.finetune is None:
            config = replace(config, pretrain=replace(config.pretrain, learning_rate=1e30))
        else:
            config = replace(config, finetune=replace(config.finetune, learning_rate=1e30))
        with pytest.raises(BitsliceError, match=rf"{method.value}-s0, epoch 1 of \w+: .* not finite") as error:
            run(config, tmp_path, checkpoint_seconds=0)
        assert_one_line(error)
        assert f"{method.value}-s0.json" not in names(tmp_path)
        assert f"{method.value}-s0.npz" not in names(tmp_path)

    def test_folder_that_cannot_be_written_is_reported_before_any_training(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(BitsliceError, match="cannot write") as error:
            run(small(Method.BL1), tmp_path / "taken" / "runs", report=lambda _: pytest.fail("time was lost"))
        assert_one_line(error)

    @pytest.mark.parametrize("checkpoint_seconds", [0, 1000], ids=["checkpoint", "result"])
    def test_full_disk_is_reported_and_leaves_nothing_half_written(
        self, tmp_path: Path, checkpoint_seconds: float
    ) -> None:
        with pytest.raises(BitsliceError, match="cannot write") as error, full_disk(20_000):
            run(small(Method.QUANTIZED), tmp_path, checkpoint_seconds=checkpoint_seconds)
        assert_one_line(error)
        assert names(tmp_path) == []

    def test_existing_record_survives_a_failed_run(self, tmp_path: Path) -> None:
        run(small(Method.QUANTIZED), tmp_path)
        before = {name: sha256(tmp_path / name) for name in names(tmp_path)}
        with pytest.raises(BitsliceError, match="cannot write"), full_disk(20_000):
            run(small(Method.QUANTIZED), tmp_path)
        assert {name: sha256(tmp_path / name) for name in names(tmp_path)} == before

    @pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta2"])
    def test_device_that_is_not_there_is_reported(self, tmp_path: Path, device: str) -> None:
        with pytest.raises(BitsliceError, match=f"device '{device}'") as error:
            run(small(Method.QUANTIZED), tmp_path, device=device)
        assert_one_line(error)

    @pytest.mark.parametrize("threads", [0, -1])
    def test_threads_must_be_positive(self, tmp_path: Path, threads: int) -> None:
        with pytest.raises(BitsliceError, match=f"at least 1 thread, not {threads}"):
            run(small(Method.QUANTIZED), tmp_path, threads=threads)


class TestNetworkInput:
    PIXELS = torch.tensor([[[[0, 51]], [[255, 102]]]], dtype=torch.uint8)
    IMAGES = Images(PIXELS, torch.tensor([0]), mean=(0.2, 0.5), std=(0.1, 0.25))

    def test_unit_scaling_maps_bytes_to_zero_to_one(self) -> None:
        x = evaluation.network_input(self.PIXELS, self.IMAGES, InputScaling.UNIT)
        assert torch.allclose(x, torch.tensor([[[[0.0, 0.2]], [[1.0, 0.4]]]]))

    def test_normalized_scaling_uses_every_channels_own_mean_and_deviation(self) -> None:
        x = evaluation.network_input(self.PIXELS, self.IMAGES, InputScaling.NORMALIZED)
        assert torch.allclose(x, torch.tensor([[[[-2.0, 0.0]], [[2.0, -0.4]]]]), atol=1e-6)

    def test_pixels_are_left_alone(self) -> None:
        before = self.PIXELS.clone()
        evaluation.network_input(self.PIXELS, self.IMAGES, InputScaling.NORMALIZED)
        assert torch.equal(self.PIXELS, before)


class TestAccuracy:
    def test_is_in_percent_and_the_same_in_batches(self) -> None:
        pixels = torch.zeros(8, 1, 1, 4, dtype=torch.uint8)
        pixels[torch.arange(8), 0, 0, torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])] = 255
        images = Images(pixels, torch.tensor([0, 1, 2, 3, 0, 0, 0, 0]), (0.0,), (1.0,))
        model = nn.Flatten()  # the brightest pixel's place is the class
        assert evaluation.accuracy(model, images, InputScaling.UNIT) == 62.5
        assert evaluation.accuracy(model, images, InputScaling.UNIT, batch=3) == 62.5
        assert not model.training


def test_state_is_kept_in_full_precision(trained: Trained) -> None:
    arrays = load_arrays(trained.folder / "quantized-s0.state.npz")
    assert Config.from_dict(json.loads(str(arrays["config"]))) == small(Method.QUANTIZED)
    weight = arrays["1.parametrizations.weight.original"]
    assert weight.dtype == np.float32
    step = arrays["1.parametrizations.weight.0.step"]
    assert not np.array_equal(np.rint(weight / step), weight / step)
