"""What a report is about: a network with its images, by the path of a record or the name of a function."""

import importlib
from pathlib import Path

from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.lab import records
from bitslice.lab.data import DATA_SETS
from bitslice.lab.evaluation import network_input


def network_and_images(name: str, limit: int | None = None) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with its test inputs and labels, by name.

    Args:
        name: path of a run's record, or ``package.module:function`` that gives model, images and labels.
        limit: the first so many images; None: all.

    Raises:
        BitsliceError: if there is no such record or function, or it gives something else.
    """
    module, colon, function = name.partition(":")
    if not colon:
        record = records.read(Path(name))
        return record.network(), *_inputs(record, limit, train=False)
    try:
        model, images, labels = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise BitsliceError(f"{name} does not give a model, its images and their labels: {error}") from error
    return model.eval(), images[:limit], labels[:limit]


def training_images(name: str, limit: int) -> Tensor:
    """The first so many training inputs of a network, by the path of its record.

    Raises:
        BitsliceError: if there is no such record, or ``name`` is that of a function.
    """
    if ":" in name:
        raise BitsliceError(f"{name} gives no training images: only a run's record tells which they are")
    return _inputs(records.read(Path(name)), limit, train=True)[0]


def _inputs(record: records.Record, limit: int | None, train: bool) -> tuple[Tensor, Tensor]:
    images = DATA_SETS[record.config.data](train).first(limit)
    return network_input(images.pixels, images, record.config.input_scaling), images.labels
