"""Records: what a run leaves behind, and the integer weights beside it.

``bl1-s0.json`` holds configuration, metrics and provenance; ``bl1-s0.npz`` the network as integer codes, one
power-of-two exponent a tensor. Released records live in ``results/<experiment>/``, a user's own in ``build/runs/``.
"""

import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bitslice import models
from bitslice.errors import BitsliceError
from bitslice.experiments import Config, Method
from bitslice.files import atomic_write, read_json, sha256
from bitslice.quantizer import FixedPoint, quantize, quantized_tensors

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

RELEASED = Path("results")
"""Where released records live, relative to the project's root."""
LIVE = Path("build/runs")
"""Where a user's own runs go, by experiment and profile."""
LARGEST_FLOAT = 1_000_000
"""Parameters up to which the weights of a float network are kept; unlike integer codes they hardly compress."""


@dataclass(frozen=True)
class Record:
    """One run's record.

    Attributes:
        path: the JSON file.
        config: the run's complete configuration.
        epochs: columns ``stage, epoch, loss, accuracy, mean_density``, one entry an epoch; accuracy in percent of the
            training set, in training mode.
        final: ``accuracy`` (percent of the test set), ``density`` (percent non-zero, B3 B2 B1 B0), ``mean_density``,
            ``layers`` (density by tensor) and ``adc`` (bitline sums by slice).
        after_pruning: the same as ``final``, before fine-tuning; None for a run that does not prune.
        weights: ``file`` and ``sha256`` of the integer weights, or of a float network's; None for a float network of
            more than ``LARGEST_FLOAT`` parameters.
        provenance: commit, versions, device, threads, wall time in seconds.
    """

    path: Path
    config: Config
    epochs: dict[str, list[Any]]
    final: dict[str, Any]
    after_pruning: dict[str, Any] | None
    weights: dict[str, str] | None
    provenance: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Percent of the test set."""
        return float(self.final["accuracy"])

    @property
    def density(self) -> list[float]:
        """Percent non-zero per slice: B3, B2, B1, B0.

        Raises:
            BitsliceError: for a float network, which has no slices.
        """
        if "density" not in self.final:
            raise BitsliceError(f"{self.path} is of a float network, which has no bit slices")
        return list(self.final["density"])

    @property
    def mean_density(self) -> float:
        """Mean of :attr:`density`, percent."""
        return sum(self.density) / len(self.density)

    def summary(self) -> dict[str, Any]:
        """The record in one flat object, as ``bitslice results --json`` prints it."""
        return {
            "experiment": self.config.experiment,
            "network": self.config.network,
            "method": self.config.method.value,
            "profile": self.config.profile.value,
            "seed": self.config.seed,
            "alpha": self.config.alpha,
            "input_scaling": self.config.input_scaling.value,
            "accuracy": self.accuracy,
            "density": self.final.get("density"),
            "mean_density": self.final.get("mean_density"),
            "path": self.path.as_posix(),
        }

    def weights_path(self) -> Path:
        """The weights file, verified against the record.

        Raises:
            BitsliceError: if it is missing or its SHA-256 differs.
        """
        if self.weights is None:
            raise BitsliceError(f"{self.path} is of a float network too large to keep its weights")
        path = self.path.with_name(self.weights["file"])
        if not path.exists():
            raise BitsliceError(f"the weights of {self.path} are missing: {path}")
        if sha256(path) != self.weights["sha256"]:
            raise BitsliceError(f"{path} is not the file that {self.path} was written with: its SHA-256 differs")
        return path

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode, rebuilt from its integer weights (or float, for a float network)."""
        config = self.config
        model = models.build(config.network)
        arrays = load_arrays(self.weights_path())
        if config.method is Method.FLOAT:
            model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        else:
            import_codes(quantize(model, config.bits, config.activation_bits, config.rounding), arrays)
        return model.eval()


def write(record: Record) -> None:
    """Write a record as JSON, one key a line, in one step."""
    fields = {
        "config": record.config.to_dict(),
        "final": record.final,
        "after_pruning": record.after_pruning,
        "weights": record.weights,
        "provenance": record.provenance,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
    columns = ",\n".join(f"    {json.dumps(key)}: {json.dumps(column)}" for key, column in record.epochs.items())
    lines.append(f'  "epochs": {{\n{columns}\n  }}')
    with atomic_write(record.path) as path:
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path) -> Record:
    """Read one record.

    Raises:
        BitsliceError: if there is none, or the file is not one.
    """
    return read_json(
        path, "record", lambda fields: Record(path=path, **{**fields, "config": Config.from_dict(fields["config"])})
    )


def read_all(folder: Path = RELEASED) -> list[Record]:
    """Every record below ``folder``, in the order of their paths.

    Raises:
        BitsliceError: if the folder holds none.
    """
    found = [read(path) for path in sorted(folder.rglob("*.json"))]
    if not found:
        raise BitsliceError(f"no records below {folder}")
    return found


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays, compressed; equal arrays give equal bytes."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **cast(Any, arrays))


def load_arrays(path: Path) -> Arrays:
    """Read named arrays.

    Raises:
        BitsliceError: if the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise BitsliceError(f"no weights at {path}") from error
    except Exception as error:  # NumPy and zipfile raise many kinds for a damaged file
        raise BitsliceError(f"{path} is damaged: {error}") from error


def save_weights(model: nn.Module, config: Config, folder: Path) -> dict[str, str] | None:
    """Write the weights of a trained network beside its record; gives :attr:`Record.weights`."""
    if config.method is not Method.FLOAT:
        arrays = export_codes(model)
    elif sum(parameter.numel() for parameter in model.parameters()) <= LARGEST_FLOAT:
        arrays = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    else:
        return None
    path = folder / f"{config.name}.npz"
    save_arrays(path, arrays)
    return {"file": path.name, "sha256": sha256(path)}


def _exponents(model: nn.Module) -> Iterator[tuple[str, FixedPoint]]:
    """Every quantizer of ``model`` under the name of the tensor it quantizes (``fc.weight``, ``fc.input``)."""
    for tensor in quantized_tensors(model):
        yield tensor.name, tensor.quantizer
    for name, module in model.named_modules():
        owner, _, attribute = name.rpartition(".")
        if attribute == "input_quantizer":
            yield f"{owner}.input" if owner else "input", cast(FixedPoint, module)


def _float_state(model: nn.Module) -> dict[str, Tensor]:
    """What of a model's state is not quantized, batch norm above all."""
    quantized = ("parametrizations.", "input_quantizer.")
    return {name: value for name, value in model.state_dict().items() if not any(part in name for part in quantized)}


def export_codes(model: nn.Module) -> Arrays:
    """A quantized network as arrays: int16 codes, int8 exponents (log2 of each step), other state in float."""
    arrays: Arrays = {tensor.name: tensor.codes().cpu().numpy().astype(np.int16) for tensor in quantized_tensors(model)}
    for name, quantizer in _exponents(model):
        arrays[f"{name}.exponent"] = quantizer.step.log2().round().cpu().numpy().astype(np.int8)
    return arrays | {name: value.cpu().numpy() for name, value in _float_state(model).items()}


def import_codes(model: nn.Module, arrays: Arrays) -> None:
    """Load what :func:`export_codes` gave into a freshly quantized network; its scales stay frozen in evaluation mode.

    Raises:
        BitsliceError: if the arrays are not this network's.
    """
    state = _float_state(model)
    shapes = {f"{name}.exponent": torch.Size() for name, _ in _exponents(model)}
    shapes |= {tensor.name: tensor.original.shape for tensor in quantized_tensors(model)}
    shapes |= {name: value.shape for name, value in state.items()}
    for name in sorted(shapes.keys() | arrays.keys()):
        if name not in arrays or shapes.get(name) != arrays[name].shape:
            raise BitsliceError(
                f"these weights belong to another network: {name} is missing, unknown or of another size"
            )
    for name, quantizer in _exponents(model):
        quantizer.step = torch.tensor(2.0 ** int(arrays[f"{name}.exponent"]))
    with torch.no_grad():
        for tensor in quantized_tensors(model):
            tensor.original.copy_(torch.from_numpy(arrays[tensor.name].astype(np.float32)) * tensor.quantizer.step)
    model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in state}, strict=False)


def provenance(device: torch.device, threads: int, seconds: float) -> dict[str, Any]:
    """Where a run came from: commit (``+`` marks uncommitted changes), versions, device, threads, wall time."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "threads": threads,
        "wall_seconds": round(seconds, 1),
    }


def commit() -> str | None:
    """The library's git commit, with ``+`` if its files have uncommitted changes; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "."], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
