"""What a report is about: a network with its images, by the path of a record or the name of a function."""

import importlib
from pathlib import Path

from torch import Tensor, nn

from bitslice.errors import BitsliceError
from bitslice.lab import records
from bitslice.lab.data import DATA_SETS
from bitslice.lab.evaluation import network_input
from bitslice.lab.pipeline import as_trained


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
        images = DATA_SETS[record.config.data](False).first(limit)
        return record.network(), network_input(images.pixels, images, record.config.input_scaling), images.labels
    try:
        model, images, labels = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise BitsliceError(f"{name} does not give a model, its images and their labels: {error}") from error
    return model.eval(), images[:limit], labels[:limit]


def training_images(name: str, limit: int, last: bool = False) -> tuple[Tensor, Tensor]:
    """Training inputs of a network with their labels, by the path of its record, as training shows them: augmented.

    Plain ones a network knows too well: statistics that batch normalization has on them are others than on new images.

    Args:
        name: path of a run's record.
        limit: how many.
        last: whether they are the last ones, not the first.

    Raises:
        BitsliceError: if there is no such record, or ``name`` is that of a function.
    """
    if ":" in name:
        raise BitsliceError(f"{name} gives no training images: only a run's record tells which they are")
    config = records.read(Path(name)).config
    images = DATA_SETS[config.data](True)
    images = images.last(limit) if last else images.first(limit)
    pixels, labels = as_trained(images, config.augmentation, 0)
    return network_input(pixels, images, config.input_scaling), labels
