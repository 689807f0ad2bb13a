"""Records: what a run leaves behind, and the integer weights beside it.

``bl1-s0.json`` holds configuration, metrics and provenance; ``bl1-s0.npz`` the network as integer codes, one
power-of-two exponent a tensor. Released records live in ``results/<experiment>/``, a user's own in ``build/runs/``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from typing_extensions import TypedDict

from bitslice.crossbar.adc import AdcChoice, from_json
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab import models
from bitslice.lab.checks import checked
from bitslice.lab.config import Config
from bitslice.lab.disk import read_json, sha256
from bitslice.lab.evaluation import Measured
from bitslice.lab.project import CHECKOUT, found
from bitslice.lab.provenance import Provenance
from bitslice.lab.words import Method
from bitslice.quantizer import quantize
from bitslice.storage import export_codes, import_codes, load_arrays, save_arrays

RELEASED = Path("results")
"""Where released records live, relative to the project's root."""
LIVE = Path("build/runs")
"""Where a user's own runs go, by experiment and profile."""
LARGEST_FLOAT = 1_000_000
"""Parameters up to which the weights of a float network are kept; unlike integer codes they hardly compress."""


class Weights(TypedDict):
    """The file beside the record, by its bare name, and its SHA-256."""

    file: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    sha256: str


@dataclass(frozen=True)
class Record:
    """One run's record.

    Attributes:
        path: the JSON file.
        config: the run's complete configuration.
        epochs: columns ``stage, epoch, loss, accuracy, mean_density``, one entry an epoch; accuracy in percent of the
            training set, in training mode.
        final: of the trained network.
        after_pruning: the same as ``final``, before fine-tuning; None for a run that does not prune.
        weights: ``file`` and ``sha256`` of the integer weights, or of a float network's; None where they were not
            kept: of a float network of more than ``LARGEST_FLOAT`` parameters, or to keep a release small.
        provenance: commit, versions, device, threads, wall time in seconds.
    """

    path: Path
    config: Config
    epochs: dict[str, list[Any]]
    final: Measured
    after_pruning: Measured | None
    weights: Weights | None
    provenance: Provenance

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

    @property
    def adcs(self) -> AdcChoice | None:
        """The ADCs that the network was adapted to, those found by layer where they were; None: it was not adapted."""
        stage = self.config.adapt
        return from_json(self.final["adcs"]) if "adcs" in self.final else stage.adc_bits if stage else None

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
            "pretrain_alpha": self.config.pretrain.alpha,
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
            raise BitsliceError(f"the weights of {self.path} were not kept; train it again")
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
    return read_json(path, "record", lambda fields: checked(Record, {**fields, "path": path}))


def is_released(path: Path) -> bool:
    """Whether there is a released record at ``path``, of the project here or of the checkout."""
    folders = [(base / RELEASED).resolve() for base in (Path(), CHECKOUT)]
    return path.exists() and any(path.resolve().is_relative_to(folder) for folder in folders)


def read_all(folder: Path | None = None) -> list[Record]:
    """Every record below ``folder``, in the order of their paths; None: every released one.

    Raises:
        BitsliceError: if the folder holds none.
    """
    folder = found(RELEASED) if folder is None else folder
    # A name with a dot in front is that of a file whose writer was killed.
    listed = [read(path) for path in sorted(folder.rglob("*.json")) if not path.name.startswith(".")]
    if not listed:
        raise BitsliceError(f"no records below {folder} (seen from {Path.cwd()})")
    return listed


def save_weights(model: nn.Module, config: Config, path: Path) -> Weights | None:
    """Write the weights of a trained network beside its record; gives :attr:`Record.weights`."""
    if config.method is not Method.FLOAT:
        arrays = export_codes(model, masks=False)  # what is pruned is 0
    elif sum(parameter.numel() for parameter in model.parameters()) <= LARGEST_FLOAT:
        arrays = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    else:
        return None
    save_arrays(path, arrays)
    return {"file": path.name, "sha256": sha256(path)}
