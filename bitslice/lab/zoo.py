"""Architectures of other people on crossbars: what is mapped, whether it is bit-exact, how long it takes.

Weights are as initialized: what is measured does not ask for trained ones.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bitslice.calibration import calibrate
from bitslice.crossbar import deploy, map_network, recalibrate
from bitslice.errors import BitsliceError
from bitslice.lab.checks import checked
from bitslice.lab.disk import read_json
from bitslice.lab.provenance import Provenance, provenance
from bitslice.overview import summary
from bitslice.quantizer import quantize

if TYPE_CHECKING:  # torchvision takes as long to import as torch; who reads a record needs no network
    from bitslice.lab.architectures import Network

RECORD = Path("book/zoo.json")
"""Where the committed record lies, relative to the project's root."""

ADC_BITS = (8, 6)
"""Resolutions, of every slice, that a network is timed with beside ideal ADCs."""

INPUTS, ESTIMATED = 2, 8
"""How many inputs are compared bit for bit, and on how many batch normalization is estimated first."""


@dataclass(frozen=True)
class Entry:
    """What one network gave.

    Attributes:
        title: of the network.
        shape: of one input.
        quantized, mapped: layers.
        unused: of these, layers that evaluation never calls, as those of auxiliary heads.
        left: what stays in float, normalization apart: name, type, share (0 to 1) of all parameters.
        share: of all parameters that are on crossbars or biases of layers there, 0 to 1.
        arrays: of crossbars.
        exact: whether logits with ideal ADCs are those of the quantized network, bit for bit.
        rounded: layers that, for equal inputs, give other floats there than in the quantized network.
        apart: largest difference of logits, relative to the largest logit.
        lossless: whether logits with ADCs are those with ideal ones, by resolution.
        seconds: median for one input by ``float``, ``quantized``, ``ideal`` ADCs, and ADCs by resolution.
    """

    title: str
    shape: tuple[int, ...]
    quantized: int
    mapped: int
    unused: int
    left: tuple[tuple[str, str, float], ...]
    share: float
    arrays: int
    exact: bool
    rounded: int
    apart: float
    lossless: dict[str, bool]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Zoo:
    """Every entry by the name of its network, and where they came from."""

    networks: dict[str, Entry]
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Zoo":
        """Inverse of :meth:`to_dict`."""
        return checked(cls, values)


def read(path: Path = RECORD) -> Zoo:
    """What ``bitslice zoo`` wrote.

    Raises:
        BitsliceError: if there is no such file, or it is another.
    """
    return read_json(path, "record of the zoo", Zoo.from_dict)


@torch.no_grad()
def wake(model: nn.Module, network: "Network") -> nn.Module:
    """Give a network as initialized logits that depend on its input through every layer: in place.

    Heads that start as 0 and scales that start as almost 0 hide what is before them, and statistics of batch
    normalization that were never estimated let signals fade or grow.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(getattr(module, "layer_scale", None), nn.Parameter):
            nn.init.ones_(module.layer_scale)  # type: ignore[arg-type]
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        recalibrate(model, network.inputs(ESTIMATED), ESTIMATED)
    return model.eval()


def rounded(quantized: nn.Module, deployed: nn.Module, layers: list[str], inputs: Tensor) -> int:
    """How many of these layers give other floats when deployed, for the inputs that the quantized ones get."""
    found = set()

    def compare(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if not torch.equal(deployed.get_submodule(name)(given[0]), output):
            found.add(name)

    handles = [quantized.get_submodule(n).register_forward_hook(partial(compare, n)) for n in layers]
    quantized(inputs)
    for handle in handles:
        handle.remove()
    return len(found)


@torch.no_grad()
def measure(network: "Network", rounds: int = 5, seed: int = 0) -> Entry:
    """Quantize, calibrate, map and deploy one network, compare its logits, and time its forms in turns.

    Raises:
        BitsliceError: if a parameter would stay in float that is not named, a layer cannot be mapped, or the logits do
            not depend on the input, so that equal ones would say nothing.
    """
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision's, of its own options
        plain = wake(network.build(), network)
    inputs = network.inputs(INPUTS)
    quantized = calibrate(quantize(copy.deepcopy(plain), exclude=network.exclude, strict=True), [inputs])
    mapped = map_network(quantized, inputs)
    forms = {"float": plain, "quantized": quantized, "ideal": deploy(quantized, mapped)}
    forms |= {str(bits): deploy(quantized, mapped, bits) for bits in ADC_BITS}
    logits = {name: form(inputs) for name, form in forms.items()}
    reference, ideal = logits["quantized"], logits["ideal"]
    if torch.equal(reference[0], reference[1]):
        raise BitsliceError(f"{network.title} gives every input the same logits")
    told = summary(quantized, mapped)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            started = time.perf_counter()
            form(inputs[:1])
            times[name].append(time.perf_counter() - started)
    return Entry(
        title=network.title,
        shape=network.shape,
        quantized=len(told.layers),
        mapped=len(mapped),
        unused=sum(layer.vectors == 0 for layer in mapped),
        left=told.left,
        share=sum(layer.share for layer in told.layers),
        arrays=sum(layer.arrays for layer in mapped),
        exact=torch.equal(ideal, reference),
        rounded=rounded(quantized, forms["ideal"], [layer.name for layer in mapped], inputs),
        apart=float((ideal - reference).abs().max() / reference.abs().max()),
        lossless={str(bits): torch.equal(logits[str(bits)], ideal) for bits in ADC_BITS},
        seconds={name: statistics.median(each) for name, each in times.items()},
    )


def zoo(networks: Mapping[str, "Network"], rounds: int = 5, say: Callable[[str], None] = lambda line: None) -> Zoo:
    """What is found of every network, by name; ``say`` is called with a line on each."""
    started, entries = time.monotonic(), {}
    for name, network in networks.items():
        entry = entries[name] = measure(network, rounds)
        say(f"{entry.title}: {entry.mapped} layers, {'bit-exact' if entry.exact else 'NOT bit-exact'}")
    return Zoo(entries, provenance(torch.device("cpu"), torch.get_num_threads(), time.monotonic() - started))
