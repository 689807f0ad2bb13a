"""A method's stages: what it makes of an experiment's pre-training and fine-tuning."""

from collections.abc import Mapping
from dataclasses import replace

from bitslice.errors import BitsliceError
from bitslice.lab.checks import check_alpha, check_column_weights
from bitslice.lab.config import Stage
from bitslice.lab.words import Method


def pretraining(method: Method, stage: Stage, alpha: float | None = None) -> Stage:
    """A method's first stage; a float baseline trains without the regularizer of fixed-point pre-training.

    Args:
        method: what is trained.
        stage: how.
        alpha: weight of that regularizer, 0: without it; None: as ``stage`` has it.

    Raises:
        BitsliceError: if alpha is negative, not a number, or other than 0 for a float baseline.
    """
    if method is Method.FLOAT and alpha:
        raise BitsliceError("method float is pre-trained without a regularizer, so an alpha does not apply")
    chosen = 0.0 if method is Method.FLOAT else stage.alpha if alpha is None else alpha
    check_alpha(chosen)
    return replace(stage, regularizer=stage.regularizer if chosen else None, alpha=chosen)


def threshold(method: Method) -> float | None:
    """Magnitude below which a method prunes, the authors'; None: it prunes by column, or not at all."""
    return 0.01 if method.finetunes and not method.columns else None


def finetuning(
    method: Method, stage: Stage, alpha: float | None, defaults: Mapping[Method, float] | None = None
) -> Stage | None:
    """A method's second stage: ``stage`` with the method's own regularizer, or none, in place of the first stage's.

    Args:
        method: what is trained.
        stage: how.
        alpha: weight of the regularizer, price of a slice, or weights that a column keeps; None: the default.
        defaults: the experiment's, where they differ from the method's.

    Raises:
        BitsliceError: if alpha is negative, not a number, for columns not a whole number from 1, or given for a method
            without a regularizer.
    """
    default = (defaults or {}).get(method, method.alpha)
    if alpha is not None and default is None:
        raise BitsliceError(f"method {method.value} has no regularizer, so alpha does not apply")
    if not method.finetunes:
        return None
    chosen = alpha if alpha is not None else default or 0.0
    if method.columns:
        return replace(stage, regularizer=None, alpha=0.0, column_weights=check_column_weights(chosen))
    check_alpha(chosen)
    if method.charges:
        return replace(stage, regularizer=None, alpha=0.0, slice_price=chosen)
    return replace(stage, regularizer=method.regularizer, alpha=chosen)
