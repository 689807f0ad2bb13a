"""What quantization and bit-slice L1 cost in a training step, next to the same network in plain float; and what a
step through small ADCs costs, next to the quantized one.

Both steps run side by side, in turn, and the medians are compared, so that whatever else the machine does hits both.
Results are merged into ``build/bench.json``: name, then ratio, medians in seconds, runs and versions.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.timing import medians, merge
from bitslice.crossbar import Crossbar, RowOrder, calibrate_adcs, through_adcs
from bitslice.lab import models, records
from bitslice.lab.adaptation import CLAIMED, LEVELS
from bitslice.lab.data import DATA_SETS
from bitslice.lab.evaluation import network_input
from bitslice.lab.experiments import adapted
from bitslice.lab.words import Precision
from bitslice.quantizer import quantize
from bitslice.regularizers import BitSliceL1

BATCH = 128


def training_step(network: str, quantized: bool, precision: torch.dtype) -> Callable[[], None]:
    """One training step, as a function: forward, loss, backward, optimizer; bit-slice L1 where ``quantized``."""
    torch.manual_seed(0)
    model = models.build(network)
    regularizer = None
    if quantized:
        regularizer = BitSliceL1(quantize(model))
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
            logits = model(images).float()
        loss = nn.functional.cross_entropy(logits, labels)
        if regularizer is not None:
            loss = loss + 0.5 * regularizer()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def overhead(network: str, precision: torch.dtype, runs: int) -> dict[str, float]:
    """Medians of both steps over ``runs`` interleaved pairs, and their ratio."""
    arms = {"plain": training_step(network, False, precision), "quantized": training_step(network, True, precision)}
    times = medians(arms, runs)
    return {
        "ratio": times["quantized"] / times["plain"],
        "plain_seconds": times["plain"],
        "quantized_seconds": times["quantized"],
    }


def adc_training(network: str, released: str, runs: int) -> dict[str, float]:
    """Medians over interleaved pairs of a quantized step and of one through ADCs whose levels were found.

    Args:
        network: for messages.
        released: path of the record whose network is trained, with its own precision and batch size.
        runs: pairs.
    """
    record = records.read(Path(released))
    config, crossbar = adapted(record.config, LEVELS), Crossbar(row_order=RowOrder.SPREAD)
    stage = config.adapt
    assert stage is not None
    images = DATA_SETS[config.data](True).first(stage.batch_size)
    x = network_input(images.pixels, images, config.input_scaling)
    if config.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)

    def arm() -> tuple[nn.Module, Callable[[], None]]:
        model = record.network()
        if config.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, fused=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision is Precision.BFLOAT16):
                logits = model(x).float()
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, images.labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return model.train(), step

    (_, quantized), (model, converted) = arm(), arm()
    with through_adcs(model, calibrate_adcs(model, x, CLAIMED, crossbar), crossbar, stage.adc_gradient):
        times = medians({"quantized": quantized, "adcs": converted}, runs)
    print(
        f"{network}: quantized {1e3 * times['quantized']:.1f} ms, through ADCs {1e3 * times['adcs']:.1f} ms, "
        f"ratio {times['adcs'] / times['quantized']:.2f}"
    )
    return {
        "ratio": times["adcs"] / times["quantized"],
        "quantized_seconds": times["quantized"],
        "adc_seconds": times["adcs"],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=15, help="interleaved pairs (default 15)")
    options.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    results: dict[str, object] = {}
    for network in ("resnet20", "vgg11"):
        measured = {
            name: overhead(network, precision, chosen.runs)
            for name, precision in (("bfloat16", torch.bfloat16), ("float32", torch.float32))
        }
        results[f"train_step_overhead_{network}"] = {
            "ratio": max(values["ratio"] for values in measured.values()),
            "precisions": measured,
            "runs": chosen.runs,
            "threads": chosen.threads,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        for name, values in measured.items():
            print(
                f"{network} {name}: plain {1e3 * values['plain_seconds']:.1f} ms, "
                f"quantized {1e3 * values['quantized_seconds']:.1f} ms, ratio {values['ratio']:.3f}"
            )
    for network, released in {"mnist": "results/mnist", "resnet20": "results/cifar10-resnet20"}.items():
        measured_adcs = adc_training(network, f"{released}/quantized-s0.json", chosen.runs)
        results[f"adc_training_over_quantized_{network}"] = {
            **measured_adcs,
            "runs": chosen.runs,
            "threads": chosen.threads,
        }
    merge(chosen.out, results)


if __name__ == "__main__":
    main()
