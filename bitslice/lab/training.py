"""The recipe: pre-train in fixed point, prune once, fine-tune with a regularizer; one function runs it all.

The last epoch is the result: the test set is looked at right after pruning and at the end, and chooses nothing. The
data order follows from seed, stage and epoch alone, so a run that was interrupted goes on from its checkpoint as if
nothing had happened.
"""

import io
import math
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bitslice.crossbar import (
    AdcChoice,
    Crossbar,
    LayerAdcs,
    allocate_adcs,
    calibrate_adcs,
    deploy,
    map_network,
    recalibrate,
    through_adcs,
)
from bitslice.crossbar.adc import from_json, to_json
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab import models, pipeline, records
from bitslice.lab.columns import prune_columns
from bitslice.lab.config import Config, Stage
from bitslice.lab.data import DATA_SETS, Images
from bitslice.lab.disk import check_writable
from bitslice.lab.evaluation import measure, network_input
from bitslice.lab.experiments import run_name
from bitslice.lab.provenance import provenance
from bitslice.lab.records import Record
from bitslice.lab.refinement import refine_adcs
from bitslice.lab.states import load_state, refuse_other_config, refused_if_damaged, save_state, state_path
from bitslice.lab.words import Method, Precision
from bitslice.proximal import charge_slices
from bitslice.quantizer import leave_headroom, prune, quantize, quantized_tensors
from bitslice.slices import density

Report = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Default progress report: a line on standard error."""
    print(line, file=sys.stderr, flush=True)


class Run:
    """One training run with its progress, history and checkpoint."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        device: torch.device,
        report: Report,
        checkpoint_seconds: float,
        compiled: bool = False,
    ) -> None:
        self.config = config
        self.name = run_name(config)
        self.folder = folder
        self.device = device
        self.report = report
        self.checkpoint_seconds = checkpoint_seconds
        self.compiled = compiled
        self.checkpoint = folder / f"{self.name}.checkpoint"
        self.adcs: AdcChoice | None = None  # of the last epoch
        self.teacher: nn.Module | None = None  # whose outputs are learned, in place of labels
        self.history: dict[str, list[Any]] = {key: [] for key in ("stage", "epoch", "loss", "accuracy", "mean_density")}
        self.seconds = 0.0  # spent by earlier, interrupted attempts
        self.started = time.monotonic()

    def elapsed(self) -> float:
        """Wall time of this run in seconds, earlier attempts included."""
        return self.seconds + time.monotonic() - self.started

    def train(self, model: nn.Module, images: Images, stage: Stage, name: str) -> None:
        """Train ``model`` in place through the run's one stage, from the checkpoint where there is one."""
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=stage.learning_rate,
            momentum=stage.momentum,
            weight_decay=stage.weight_decay,
            nesterov=stage.nesterov,
            fused=True,
        )
        regularizer = stage.regularizer.build(model) if stage.regularizer else None
        if stage.slice_price is not None:
            charge_slices(model, stage.slice_price)
        saved = time.monotonic()
        begun, first = saved, self.resume(model, optimizer)
        for epoch in range(first, stage.epochs):
            try:
                with self.converting(model, images, stage):
                    loss, correct = self.epoch(model, images, optimizer, stage, regularizer, epoch)
            except BitsliceError as error:
                raise BitsliceError(f"{self.name}, epoch {epoch + 1} of {name}: {error}") from error
            if not np.isfinite(loss):
                raise BitsliceError(f"{self.name}, epoch {epoch + 1} of {name}: the loss is not finite")
            slices = density((t.codes() for t in quantized_tensors(model)), self.config.bits)
            mean_density = None if self.config.method is Method.FLOAT else sum(slices) / len(slices)
            for key, value in zip(self.history, (name, epoch + 1, loss, correct, mean_density), strict=True):
                self.history[key].append(value)
            now = time.monotonic()
            left = (now - begun) / (epoch + 1 - first) * (stage.epochs - epoch - 1)
            self.report(
                f"{self.config.experiment} {self.name} {name} {epoch + 1}/{stage.epochs}: loss {loss:.4f}, "
                f"training accuracy {correct:.2f}%, "
                + ("" if mean_density is None else f"density {mean_density:.2f}%, ")
                + f"{left:.0f} s left"
            )
            if now - saved >= self.checkpoint_seconds:
                self.save(model, optimizer, epoch + 1)
                saved = now

    def converting(self, model: nn.Module, images: Images, stage: Stage) -> AbstractContextManager[None]:
        """While open, ``model`` runs through the stage's ADCs, whose levels are found first where the stage says so."""
        if stage.adc_bits is None is stage.adc_mean:
            return nullcontext()
        crossbar = Crossbar(rows=self.config.rows, row_order=stage.row_order)
        if self.adcs is not None and stage.levels_kept:
            return through_adcs(model, self.adcs, crossbar, stage.adc_gradient)
        shown = network_input(images.pixels[: stage.adc_levels or 0], images, self.config.input_scaling)
        bits: AdcChoice | None = stage.adc_bits
        if stage.adc_mean is not None and isinstance(self.adcs, LayerAdcs):
            bits = self.adcs.resolutions  # as before the first epoch
        elif stage.adc_mean is not None:
            [bits] = allocate_adcs(model, shown, [stage.adc_mean], crossbar)
        self.adcs = bits if bits is None or stage.adc_levels is None else calibrate_adcs(model, shown, bits, crossbar)
        return through_adcs(model, self.adcs, crossbar, stage.adc_gradient)

    def epoch(
        self,
        model: nn.Module,
        images: Images,
        optimizer: torch.optim.Optimizer,
        stage: Stage,
        regularizer: Callable[[], Tensor] | None,
        epoch: int,
    ) -> tuple[float, float]:
        """One pass over ``images``: mean loss and training accuracy in percent."""
        model.train()
        forward = torch.compile(model) if self.compiled else model  # compiled once: later calls find it in a cache
        config = self.config
        seed = [config.seed, epoch, 2 if config.adapt else int(config.method.finetunes)]
        epoch_seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
        torch.manual_seed(epoch_seed)  # of dropout, so that a resumed run drops the same
        generator = torch.Generator().manual_seed(epoch_seed)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision is Precision.BFLOAT16)
        steps = math.ceil(len(images) / stage.batch_size)
        total_loss = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        batches = pipeline.batches(images, stage.batch_size, config.augmentation, generator)
        for step, (pixels, labels) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * stage.schedule.factor(epoch + (step + 0.5) / steps, stage.epochs)
            x = network_input(pixels, images, config.input_scaling)
            with autocast:
                logits = forward(x).float()
                with torch.no_grad():
                    target = labels if self.teacher is None else self.teacher(x).float().softmax(1)
            loss = nn.functional.cross_entropy(logits, target, label_smoothing=stage.label_smoothing)
            if regularizer is not None:
                loss = loss + stage.alpha * regularizer()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.detach() * len(labels)
            correct += (logits.detach().argmax(dim=1) == labels).sum()
        return float(total_loss) / len(images), 100.0 * int(correct) / len(images)

    def refine(self, model: nn.Module, images: Images, stage: Stage) -> None:
        """Choose the levels of the ADCs by the loss on ``images``, as they are."""
        x = network_input(images.pixels, images, self.config.input_scaling)
        with torch.no_grad():
            target = images.labels if self.teacher is None else self.teacher(x).softmax(1)
        crossbar = Crossbar(rows=self.config.rows, row_order=stage.row_order)
        mapped = map_network(model.eval(), x[: self.config.adc_images], crossbar)
        self.adcs = refine_adcs(model, mapped, self.adcs, x, target)

    def recalibrate(self, model: nn.Module, images: Images, stage: Stage) -> None:
        """Estimate batch normalization again on what the crossbars give for ``images``, as training shows them."""
        pixels, _ = pipeline.as_trained(images, self.config.augmentation, self.config.seed)
        x = network_input(pixels, images, self.config.input_scaling)
        crossbar = Crossbar(rows=self.config.rows, row_order=stage.row_order)
        deployed = deploy(model.eval(), map_network(model, x[: self.config.adc_images], crossbar), self.adcs)
        recalibrate(deployed, x)
        for name, module in deployed.named_modules():
            if isinstance(module, _BatchNorm):
                model.get_submodule(name).load_state_dict(module.state_dict())

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, epochs_done: int) -> None:
        """Write the checkpoint in one step."""
        state = {
            "config": self.config.to_dict(),
            "epochs_done": epochs_done,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": self.history,
            "adcs": to_json(self.adcs),
            "seconds": self.elapsed(),
        }
        with atomic_write(self.checkpoint) as path:
            buffer = io.BytesIO()  # torch.save to a path raises no OSError on a full disk
            torch.save(state, buffer)
            path.write_bytes(buffer.getvalue())  # not getbuffer(): Python 3.12 can crash collecting it after an error

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the checkpoint, if there is one; gives the number of epochs done."""
        if not self.checkpoint.exists():
            return 0
        with refused_if_damaged(self.checkpoint):
            with zipfile.ZipFile(self.checkpoint) as archive:  # torch does not look at the checksums
                if wrong := archive.testzip():
                    raise ValueError(f"the checksum of {wrong} is wrong")
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            refuse_other_config(self.checkpoint, self.config, state["config"])
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            self.adcs = None if state.get("adcs") is None else from_json(state["adcs"])
            self.history = {key: list(state["history"][key]) for key in self.history}
            self.seconds, epochs_done = float(state["seconds"]), int(state["epochs_done"])
        self.report(f"{self.config.experiment} {self.name}: going on after epoch {epochs_done}")
        return epochs_done


def run(
    config: Config,
    folder: Path,
    device: str = "cpu",
    threads: int = 1,
    report: Report = to_stderr,
    checkpoint_seconds: float = 120.0,
    compiled: bool = False,
) -> Record:
    """Train one configuration and write its record and integer weights into ``folder``.

    A method that starts from a pre-trained network takes the one in ``folder`` (``quantized-s<seed>.state.npz``), and
    trains it first where it is missing; so does a run that adapts to ADCs, with the record of the run without that. An
    interrupted run goes on from its checkpoint.

    Args:
        config: what to train.
        folder: for ``<name>.json`` and ``<name>.npz``; created if need be.
        device: as torch names it.
        threads: of the CPU; small networks are fastest on one.
        report: called with a line an epoch.
        checkpoint_seconds: least time between two checkpoints.
        compiled: whether ``torch.compile`` runs the training steps; it needs a C++ compiler, and rounds differently.

    Raises:
        BitsliceError: if the loss diverges, the device is not there, the folder cannot be written, or holds files of
            another configuration.
    """
    if threads < 1:
        raise BitsliceError(f"training needs at least 1 thread, not {threads}")
    try:
        target = torch.device(device)
        torch.zeros((), device=target)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise BitsliceError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    torch.set_num_threads(threads)
    check_writable(folder)
    this = Run(config, folder, target, report, checkpoint_seconds, compiled)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    fetch = DATA_SETS[config.data]
    train_images = fetch(True).first(config.train_images).to(target, layout)
    test_images = fetch(False).first(config.test_images).to(target, layout)
    if config.adapt is not None:

        def trained(before: Config) -> nn.Module:
            path = folder / f"{run_name(before)}.json"
            if not path.exists():
                run(before, folder, device, threads, report, checkpoint_seconds, compiled)
            record = records.read(path)
            refuse_other_config(path, before, record.config.to_dict())
            return record.network().to(target, memory_format=layout)  # type: ignore[call-overload,no-any-return]

        model = trained(config.starts_from())
        this.teacher = trained(config.before_adapting()) if config.adapt.distilled else None
    else:
        torch.manual_seed(config.seed)
        model = models.build(config.network)
        if config.method is not Method.FLOAT:
            quantize(model, config.bits, config.activation_bits, config.rounding)
    model.to(target, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack this overload
    after_pruning = None
    if config.adapt is not None:
        if config.adapt.recalibrated is not None and not any(isinstance(m, _BatchNorm) for m in model.modules()):
            raise BitsliceError(f"{this.name}: the network has no batch normalization that could be estimated again")
        prune(model, torch.finfo(torch.float32).tiny)  # what is zero stays so
        leave_headroom(model, config.adapt.headroom)
        this.train(model, train_images, config.adapt, "adapt")
        if config.adapt.refined is not None:
            this.refine(model, train_images.first(config.adapt.refined), config.adapt)
        if config.adapt.recalibrated is not None:
            this.recalibrate(model, train_images.first(config.adapt.recalibrated), config.adapt)
    elif config.finetune is None:
        this.train(model, train_images, config.pretrain, "pretrain")
    else:
        if not state_path(config, folder).exists():
            run(config.pretrained(), folder, device, threads, report, checkpoint_seconds, compiled)
        load_state(model, config.pretrained(), folder)
        if config.finetune.column_weights is None:
            prune(model, config.prune_threshold or 0.0)
        else:
            prune_columns(model, config.finetune.column_weights, Crossbar(rows=config.rows))
        after_pruning = measure(model, test_images, config)
        this.train(model, train_images, config.finetune, "finetune")
    final = measure(model, test_images, config, this.adcs)
    record = Record(
        path=folder / f"{this.name}.json",
        config=config,
        epochs=this.history,
        final=final,
        after_pruning=after_pruning,
        weights=records.save_weights(model, config, folder / f"{this.name}.npz"),
        provenance={**provenance(target, threads, this.elapsed()), "compiled": compiled},
    )
    records.write(record)
    if config.method is Method.QUANTIZED and config.adapt is None:
        save_state(model, config, folder)  # last: a run that finds it takes the record for written
    this.checkpoint.unlink(missing_ok=True)
    return record
