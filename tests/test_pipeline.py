"""What a training step sees and computes: batches, augmentation, schedules, exactness in bfloat16 and in blocks."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bitslice
from bitslice import BitsliceError
from bitslice.fixed_point import BLOCK, fake_quantize, power_of_two_step
from bitslice.lab import evaluation, models, pipeline, states, training
from bitslice.lab.config import Config
from bitslice.lab.data import Images
from bitslice.lab.experiments import EXPERIMENTS, mnist
from bitslice.lab.words import Augmentation, InputScaling, Method, Precision, Profile, Schedule
from tests.conftest import silent

LABELS = torch.arange(30) % 10
IMAGES = Images(
    torch.randint(256, (30, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    LABELS,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


def epoch(seed: int, augmentation: Augmentation = Augmentation.CROP_FLIP) -> list[tuple[Tensor, Tensor]]:
    return list(pipeline.batches(IMAGES, 8, augmentation, torch.Generator().manual_seed(seed)))


class TestBatches:
    def test_show_every_image_once(self) -> None:
        shown = epoch(0, Augmentation.NONE)
        assert [len(labels) for _, labels in shown] == [8, 8, 8, 6]
        order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
        assert torch.equal(torch.cat([pixels for pixels, _ in shown]), IMAGES.pixels[order])
        assert torch.equal(torch.cat([labels for _, labels in shown]), LABELS[order])

    def test_follow_from_the_generator_alone(self) -> None:
        first, again, other = (torch.cat([pixels for pixels, _ in epoch(seed)]) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_leave_the_data_set_as_it_is_and_keep_its_layout(self) -> None:
        before = IMAGES.pixels.clone()
        epoch(0)
        assert torch.equal(IMAGES.pixels, before)
        innermost = IMAGES.to(torch.device("cpu"), torch.channels_last)
        pixels, _ = next(pipeline.batches(innermost, 8, Augmentation.CROP_FLIP, torch.Generator()))
        assert pixels.is_contiguous(memory_format=torch.channels_last)

    def test_crop_and_flip_are_those_of_one_image_at_a_time(self) -> None:
        rows, columns, sides = torch.meshgrid(torch.arange(9), torch.arange(9), torch.arange(2), indexing="ij")
        corners, mirrored = torch.stack([rows.flatten(), columns.flatten()]), sides.flatten().bool()
        pixels = IMAGES.pixels[torch.arange(162) % 30]
        shown = pipeline.crop_flip(pixels, corners, mirrored)
        for image, result, (row, column), mirror in zip(pixels, shown, corners.T.tolist(), mirrored, strict=True):
            padded = torch.zeros(3, 40, 40, dtype=torch.uint8)
            padded[:, 4:36, 4:36] = image
            crop = padded[:, row : row + 32, column : column + 32]
            assert torch.equal(result, crop.flip(2) if mirror else crop)


class TestSchedule:
    def test_halves_after_every_30_epochs(self) -> None:
        assert [Schedule.HALVING.factor(epoch, 150) for epoch in (0, 29.99, 30, 149.9)] == [1, 1, 0.5, 1 / 16]

    def test_one_cycle_rises_for_a_fifth_and_ends_at_zero(self) -> None:
        factors = [Schedule.ONE_CYCLE.factor(epoch / 10, 10) for epoch in range(101)]
        assert factors[0] == factors[100] == 0
        assert max(factors) == factors[20] == 1
        assert factors == [*sorted(factors[:20]), *sorted(factors[20:], reverse=True)]

    def test_moves_the_optimizer(self, tmp_path: Path) -> None:
        config = replace(mnist(Method.QUANTIZED, Profile.SMOKE), precision=Precision.BFLOAT16)
        stage = replace(config.pretrain, schedule=Schedule.ONE_CYCLE, epochs=5, batch_size=10)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=1)
        training.Run(config, tmp_path, torch.device("cpu"), silent, 0).epoch(model, IMAGES, optimizer, stage, None, 4)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(stage.learning_rate * 1.25 * (1 - (4 + 2.5 / 3) / 5))


class TestConfig:
    def test_record_from_before_a_field_existed_has_its_default(self) -> None:
        config = mnist(Method.BL1)
        old = config.to_dict()
        for field in ("data", "augmentation", "precision", "channels_last"):
            del old[field]
        for field in ("schedule", "nesterov", "weight_decay", "label_smoothing"):
            del old["pretrain"][field], old["finetune"][field]
        assert Config.from_dict(old) == config
        states.refuse_other_config(Path("old.checkpoint"), config, old)

    def test_checkpoint_of_another_version_names_what_differs(self) -> None:
        config = mnist(Method.BL1)
        with pytest.raises(BitsliceError, match=r"seed is 1, not 0; shape is 'round', not None"):
            states.refuse_other_config(Path("x"), config, {**config.to_dict(), "seed": 1, "shape": "round"})

    @pytest.mark.parametrize(
        ("experiment", "profile", "message"),
        [
            ("mnist", Profile.CPU, "mnist has no profile 'cpu'; choose from smoke, quick, paper"),
            (
                "cifar10-vgg11-bn",
                Profile.QUICK,
                "cifar10-vgg11-bn has no profile 'quick'; choose from smoke, cpu, long, paper",
            ),
        ],
    )
    def test_missing_profile_names_those_there_are(self, experiment: str, profile: Profile, message: str) -> None:
        with pytest.raises(BitsliceError, match=message):
            EXPERIMENTS[experiment](Method.BL1, profile)

    @pytest.mark.parametrize("experiment", ["cifar10-resnet20", "cifar10-vgg11", "cifar10-vgg11-bn"])
    def test_paper_profile_has_the_settings_of_the_authors_code(self, experiment: str) -> None:
        config = EXPERIMENTS[experiment](Method.BL1, Profile.PAPER)
        assert config.alpha == 0.5
        assert EXPERIMENTS[experiment](Method.L1, Profile.PAPER).alpha == config.pretrain.alpha == 20
        for stage in (config.pretrain, config.finetune):
            assert stage is not None
            assert (stage.epochs, stage.learning_rate, stage.momentum, stage.batch_size) == (150, 0.05, 0.9, 128)
            assert (stage.schedule, stage.nesterov, stage.weight_decay) == (Schedule.HALVING, False, 0)

    def test_float_baseline_has_no_regularizer(self) -> None:
        config = EXPERIMENTS["cifar10-resnet20"](Method.FLOAT)
        assert (config.pretrain.regularizer, config.finetune, config.alpha) == (None, None, None)
        with pytest.raises(BitsliceError, match="method float has no regularizer"):
            EXPERIMENTS["cifar10-resnet20"](Method.FLOAT, alpha=1.0)


class TestExactness:
    @pytest.mark.parametrize("rounding", bitslice.Rounding)
    def test_every_bfloat16_is_quantized_as_its_float32_is(self, rounding: bitslice.Rounding) -> None:
        every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
        x = every[every.isfinite()]
        step = torch.tensor(2.0**-6)
        narrow = fake_quantize(x, step, 8, rounding)
        assert narrow.dtype is torch.bfloat16
        assert torch.equal(narrow.float(), fake_quantize(x.float(), step, 8, rounding))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_blocks_and_layout_change_nothing(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        plain = torch.randn(5, 6, 80, 80).to(dtype)
        assert plain.numel() > BLOCK
        plain[4, 5, 79, 79] = -7.5  # the largest stands at the very end
        step = power_of_two_step(plain)
        assert step == 2.0**-5
        expected = (plain.double() / step).round().clamp(-255, 255) * step
        for x in (
            plain,
            plain.contiguous(memory_format=torch.channels_last),
            plain.transpose(0, 3).contiguous().transpose(0, 3),
        ):
            assert power_of_two_step(x) == step
            assert torch.equal(fake_quantize(x, step).double(), expected)

    def test_bit_slice_l1_over_many_blocks_is_the_authors_composition(self) -> None:
        torch.manual_seed(0)
        layer = nn.Conv2d(128, 130, 3)
        assert layer.weight.numel() > BLOCK
        model = bitslice.quantize(nn.Sequential(layer))
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model(torch.randn(1, 128, 3, 3))
        value = 0.5 * bitslice.BitSliceL1(model)()
        value.backward()  # type: ignore[no-untyped-call]
        total, count = torch.zeros(()), 0
        tensors = list(bitslice.quantized_tensors(model))
        copies = [tensor.original.detach().clone().requires_grad_() for tensor in tensors]
        for tensor, w in zip(tensors, copies, strict=True):
            total = total + slices_by_straight_through(w, tensor.quantizer.step)
            count += 4 * w.numel()
        expected = 0.5 * total / count
        expected.backward()  # type: ignore[no-untyped-call]
        assert value.item() == pytest.approx(expected.item())
        for tensor, w in zip(tensors, copies, strict=True):
            assert torch.allclose(tensor.original.grad, w.grad, rtol=1e-6, atol=0)

    def test_bit_slice_l1_keeps_nothing_but_the_weights(self) -> None:
        model = bitslice.quantize(models.resnet20())
        model(torch.randn(2, 3, 32, 32))
        own = {tensor.original.data_ptr() for tensor in bitslice.quantized_tensors(model)}
        kept: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            kept.append(0 if tensor.data_ptr() in own else tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            bitslice.BitSliceL1(model)()
        assert sum(kept) <= 23 * 520  # tables and scales

    def test_master_weights_stay_float32_in_bfloat16(self) -> None:
        model = bitslice.quantize(models.resnet20())
        with torch.autocast("cpu", torch.bfloat16):
            model(torch.randn(2, 3, 32, 32)).float().sum().backward()
        for tensor in bitslice.quantized_tensors(model):
            assert tensor.original.dtype is tensor.quantizer.step.dtype is torch.float32
            assert tensor.original.grad is not None
            assert tensor.original.grad.dtype is torch.float32
            assert torch.equal(tensor.quantizer.step, power_of_two_step(tensor.original))


class _Whole(torch.autograd.Function):
    """Floor or round, the gradient straight through."""

    @staticmethod
    def forward(ctx: object, x: Tensor, floor: bool) -> Tensor:
        return x.floor() if floor else x.round()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def slices_by_straight_through(w: Tensor, step: Tensor) -> Tensor:
    """Sum of the four slices of ``w``, composed as in the authors' code, code 256 left out as everywhere here."""

    def whole(x: Tensor, floor: bool) -> Tensor:
        result: Tensor = _Whole.apply(x, floor)  # type: ignore[no-untyped-call]
        return result

    x = whole(w.abs() / step, floor=False)
    x = x + (x.clamp(max=255) - x).detach()
    b3 = whole(x / 64, floor=True)
    b2 = whole((x - 64 * b3.detach()) / 16, floor=True)
    b1 = whole((x - 64 * b3.detach() - 16 * b2.detach()) / 4, floor=True)
    b0 = x - 64 * b3.detach() - 16 * b2.detach() - 4 * b1.detach()
    return sum((b.abs().sum() for b in (b0, b1, b2, b3)), torch.zeros(()))


def test_input_costs_little() -> None:
    images = Images(IMAGES.pixels.repeat(40, 1, 1, 1), LABELS.repeat(40), IMAGES.mean, IMAGES.std)
    started = time.thread_time()
    shown = 0
    for pixels, labels in pipeline.batches(images, 120, Augmentation.CROP_FLIP, torch.Generator()):
        evaluation.network_input(pixels, images, InputScaling.NORMALIZED)
        shown += len(labels)
    assert (time.thread_time() - started) / shown < 300e-6  # a training step takes 1500 us an image; 3% are 45


def test_every_image_has_a_crop_and_a_side_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Tensor, Tensor, Tensor]] = []
    crop_flip = pipeline.crop_flip

    def spied(pixels: Tensor, corners: Tensor, mirrored: Tensor) -> Tensor:
        drawn.append((pixels, corners, mirrored))
        return crop_flip(pixels, corners, mirrored)

    monkeypatch.setattr(pipeline, "crop_flip", spied)
    many = replace(IMAGES, pixels=IMAGES.pixels.repeat(40, 1, 1, 1), labels=LABELS.repeat(40))
    shown = list(pipeline.batches(many, 200, Augmentation.CROP_FLIP, torch.Generator().manual_seed(0)))
    assert all(torch.equal(pixels, crop_flip(*each)) for (pixels, _), each in zip(shown, drawn, strict=True))
    corners, mirrored = torch.cat([c for _, c, _ in drawn], 1), torch.cat([m for *_, m in drawn])
    assert [corner.unique().tolist() for corner in corners] == [list(range(9))] * 2
    assert 0.45 < mirrored.float().mean() < 0.55
    assert not torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][2], drawn[1][2])
