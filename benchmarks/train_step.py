"""What quantization and bit-slice L1 cost in a training step, next to the same network in plain float.

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
from bitslice.lab import models
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
    merge(chosen.out, results)


if __name__ == "__main__":
    main()
