"""Pre-trained networks in full precision, kept for the runs that start from them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bitslice.errors import BitsliceError
from bitslice.lab.checks import differing_fields
from bitslice.lab.config import Config
from bitslice.lab.experiments import run_name
from bitslice.storage import load_arrays, save_arrays


def refuse_other_config(path: Path, ours: Config, theirs: dict[str, Any]) -> None:
    """Raise :class:`BitsliceError`, naming the fields, if ``path`` was written with another configuration."""
    with suppress(TypeError, KeyError, ValueError):  # raised for another version's, which the difference below names
        theirs = Config.from_dict(theirs).to_dict()  # a field that did not exist when it was written has its default
    differences = differing_fields(ours.to_dict(), dict(theirs))
    if differences:
        raise BitsliceError(f"{path} belongs to another configuration: {'; '.join(differences)}")


@contextmanager
def refused_if_damaged(path: Path) -> Iterator[None]:
    """Within it whatever a damaged file makes its reader raise becomes one :class:`BitsliceError` that names it."""
    try:
        yield
    except BitsliceError:
        raise
    except Exception as error:
        raise BitsliceError(f"{path} is damaged: delete it and run again") from error


def state_path(config: Config, folder: Path) -> Path:
    """Where the full-precision state of the pre-trained network behind ``config`` is kept."""
    return folder / f"{run_name(config.pretrained())}.state.npz"


def save_state(model: nn.Module, config: Config, folder: Path) -> None:
    """Keep a pre-trained network in full precision, with its configuration, for the runs that start from it."""
    state = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    save_arrays(state_path(config, folder), {**state, "config": np.array(json.dumps(config.to_dict()))})


def load_state(model: nn.Module, config: Config, folder: Path) -> None:
    """Load what :func:`save_state` kept; refuses the state of another configuration."""
    path = state_path(config, folder)
    arrays = load_arrays(path)
    with refused_if_damaged(path):
        refuse_other_config(path, config, json.loads(str(arrays.pop("config"))))
        model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
