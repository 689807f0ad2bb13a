"""What the crossbar simulation costs, next to plain float32 inference of the same network, single-threaded.

Networks: ResNet-20 and VGG-11 with no column that can clip (9-bit ADCs), with dense weights and with the sparse weights
of a bit-slice-L1 network under ADCs that clip. Layers: the naive form, and CrossSim (Sandia) where it can be imported,
on the same layer, with the same results. Arms take turns; medians are compared and go into ``build/bench.json``.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import medians, merge
from bitslice import native
from bitslice.crossbar import Adc, Crossbar, Unfold, adcs, deploy, map_network
from bitslice.crossbar.drive import digits
from bitslice.crossbar.kernel import Counters
from bitslice.crossbar.unfold import unfolded
from bitslice.lab import models, records
from bitslice.quantizer import quantize
from bitslice.slices import to_slices

NETWORKS = {
    "crossbar": ("resnet20", Path("results/cifar10-resnet20/bl1-s0.json")),
    "crossbar_vgg11": ("vgg11_bn", Path("results/cifar10-vgg11-bn/bl1-s0.json")),
}
"""Networks by the beginning of their results' names, each with a released one that bit-slice L1 made sparse."""

LAYER = Unfold(kernel=(3, 3), padding=(1, 1))


def dense_network(network: str) -> nn.Module:
    """A network as initialized, quantized: every slice of every weight is about as likely set as not."""
    torch.manual_seed(0)
    model = quantize(models.build(network))
    model(torch.randn(16, 3, 32, 32))
    return model.eval()


def inference(network: str, released: Path, images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Inference of ``images`` by one network: plain float32, and on crossbars."""
    plain = models.build(network).eval()
    dense = dense_network(network)
    mapped = map_network(dense, images)
    arms: dict[str, nn.Module] = {
        "plain": plain,
        "lossless": deploy(dense, mapped, 9),
        "dense": deploy(dense, mapped, 3),
    }
    if released.exists():
        sparse = records.read(released).network()
        arms["sparse"] = deploy(sparse, map_network(sparse, images), (3, 3, 3, 1))

    def run(model: nn.Module) -> Callable[[], Tensor]:
        def infer() -> Tensor:
            with torch.no_grad():
                return model(images)  # type: ignore[no-any-return]

        return infer

    return {name: run(model) for name, model in arms.items()}


def naive(codes: Tensor, inputs: Tensor, crossbar: Crossbar, converters: tuple[Adc, ...]) -> Tensor:
    """One layer as a loop of float products, one a cycle, sign, slice and tile, clipped: ``(vectors, outputs)``."""
    vectors = unfolded(inputs, LAYER, 0)
    result = torch.zeros(len(vectors), codes.shape[1], dtype=torch.float64)
    for sign, side in ((1, codes.clamp_min(0)), (-1, (-codes).clamp_min(0))):
        for k, (cells, adc) in enumerate(zip(to_slices(side).float(), converters, strict=True)):
            for cycle, digit in enumerate(digits(vectors, crossbar, 8).float()):
                for driven, tile in zip(digit.split(crossbar.rows, 1), cells.split(crossbar.rows), strict=True):
                    result += sign * 2.0 ** (2 * k + cycle) * adc.convert(driven @ tile)
    return result


def crosssim(codes: Tensor, inputs: Tensor, crossbar: Crossbar, bits: int) -> Callable[[], Tensor] | None:
    """The same layer in CrossSim 3.2, which must be importable as ``simulator``; None where it is not."""
    try:
        from simulator import AnalogCore, CrossSimParameters
        from simulator.parameters import core_parameters, xbar_parameters
    except ImportError:
        return None
    p: Any = CrossSimParameters()
    p.core.style = core_parameters.CoreStyle.BITSLICED
    p.core.bit_sliced.style = core_parameters.BitSlicedCoreStyle.BALANCED
    p.core.bit_sliced.num_slices = 4
    p.core.weight_bits = 9
    p.core.balanced.subtract_current_in_xbar = False
    p.core.rows_max, p.core.cols_max = crossbar.rows, 0
    weights, driven = p.core.mapping.weights, p.core.mapping.inputs.mvm
    weights.col_partition_strategy = core_parameters.PartitionStrategy.MAX  # 128 + 128 + ... rows, as here
    weights.percentile, weights.min, weights.max = None, -255, 255
    driven.min, driven.max, driven.clipping = 0, 255, True
    p.xbar.device.cell_bits, p.xbar.device.infinite_on_off_ratio = 2, True
    p.xbar.dac.mvm.model, p.xbar.adc.mvm.model = "QuantizerDAC", "QuantizerADC"
    dac, adc = p.xbar.dac.mvm, p.xbar.adc.mvm  # new objects, of the models just named
    dac.bits, dac.input_bitslicing, dac.slice_size, dac.signed = 8, True, 1, False
    adc.bits, adc.signed, adc.adc_per_ibit = bits, False, True
    adc.adc_range_option = xbar_parameters.ADCRangeLimits.CALIBRATED
    adc.calibrated_range = [[0, (2**bits - 1) / 3]] * 4
    core = AnalogCore(codes.T.double().numpy(), p)

    def multiply() -> Tensor:
        return torch.from_numpy(core.matmat(unfolded(inputs, LAYER, 0).T.double().numpy()).T)

    return multiply


def layer(bits: int) -> dict[str, Callable[[], Tensor]]:
    """A convolution 64 -> 64, 3x3, of 32 images 8x8 with dense weights; all arms but ``plain`` give equal results."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-255, 256, (576, 64), generator=generator).int()
    inputs = torch.randint(0, 256, (32, 64, 8, 8), generator=generator).to(torch.uint8)
    crossbar, converters = Crossbar(), adcs(bits)
    counters = Counters(codes, torch.ones(5, 2, 4, 64, dtype=torch.bool), converters, crossbar, 8)
    weight, images = torch.randn(64, 64, 3, 3), inputs.float()

    def vertical() -> Tensor:
        result = torch.zeros(32, 64, 8, 8, dtype=torch.int32)
        counters.add(result, inputs, LAYER, 8)
        return result.permute(0, 2, 3, 1).flatten(0, 2)

    arms: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: nn.functional.conv2d(images, weight, padding=1),
        "counters": vertical,
        "naive": lambda: naive(codes, inputs, crossbar, converters),
    }
    other = crosssim(codes, inputs, crossbar, bits)
    if other is not None:
        arms["crosssim"] = other
    results = {name: arm().double().round() for name, arm in arms.items() if name != "plain"}
    assert all(torch.equal(result, results["counters"]) for result in results.values()), "the arms differ"
    return arms


def scaling(runs: int) -> dict[str, float]:
    """How much longer a dense layer takes where it has four times the images, wordlines or outputs; linear is 4."""
    generator = torch.Generator().manual_seed(0)

    def arm(images: int, channels: int, outputs: int) -> Callable[[], object]:
        codes = torch.randint(-255, 256, (9 * channels, outputs), generator=generator).int()
        inputs = torch.randint(0, 256, (images, channels, 8, 8), generator=generator).to(torch.uint8)
        tiles = -(-9 * channels // 128)
        counters = Counters(codes, torch.ones(tiles, 2, 4, outputs, dtype=torch.bool), adcs(3), Crossbar(), 8)
        result = torch.zeros(images, outputs, 8, 8, dtype=torch.int32)
        return lambda: counters.add(result, inputs, LAYER, 8)

    shapes = {"base": (16, 64, 32), "images": (64, 64, 32), "wordlines": (16, 256, 32), "outputs": (16, 64, 128)}
    times = medians({name: arm(*shape) for name, shape in shapes.items()}, runs)
    return {name: times[name] / times["base"] for name in shapes if name != "base"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=9, help="interleaved rounds (default 9)")
    options.add_argument("--images", type=int, default=64, help="images of a batch (default 64)")
    options.add_argument("--out", type=Path, default=Path("build/bench.json"))
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, object] = {}
    common = {
        "runs": chosen.runs,
        "threads": 1,
        "level": level.value if (level := native.chosen()) else "torch",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }

    def compare(times: dict[str, float], name: str, arm: str, base: str) -> None:
        ratio = times[arm] / times[base]
        results[name] = {"ratio": ratio, f"{base}_seconds": times[base], f"{arm}_seconds": times[arm], **common}
        print(f"{name}: {1e3 * times[base]:.1f} ms, {1e3 * times[arm]:.1f} ms, ratio {ratio:.2f}")

    for name, (network, released) in NETWORKS.items():
        times = medians(inference(network, released, torch.rand(chosen.images, 3, 32, 32)), chosen.runs)
        for arm in times:
            if arm != "plain":
                compare(times, f"{name}_{arm}_over_plain", arm, "plain")
    times = medians(layer(bits=3), 3)
    compare(times, "crossbar_layer_over_plain", "counters", "plain")
    compare(times, "naive_over_crossbar", "naive", "counters")
    if "crosssim" in times:
        compare(times, "crosssim_over_crossbar", "crosssim", "counters")
    growth = scaling(chosen.runs)
    results["crossbar_scaling"] = {"four_times_the": growth, **common}
    print("four times the " + ", ".join(f"{name}: {ratio:.2f}x the time" for name, ratio in growth.items()))
    merge(chosen.out, results)


if __name__ == "__main__":
    main()
