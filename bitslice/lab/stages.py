"""A method's stages: what it makes of an experiment's pre-training and fine-tuning."""

from collections.abc import Mapping
from dataclasses import replace

from bitslice.errors import BitsliceError
from bitslice.lab.checks import check_alpha
from bitslice.lab.config import Stage
from bitslice.lab.words import Method


def pretraining(method: Method, stage: Stage) -> Stage:
    """A method's first stage; a float baseline trains without the regularizer of fixed-point pre-training."""
    return replace(stage, regularizer=None, alpha=0.0) if method is Method.FLOAT else stage


def finetuning(
    method: Method, stage: Stage, alpha: float | None, defaults: Mapping[Method, float] | None = None
) -> Stage | None:
    """A method's second stage: ``stage`` with the method's own regularizer, or none, in place of the first stage's.

    Args:
        method: what is trained.
        stage: how.
        alpha: weight of the regularizer, or price of a slice; None: the default.
        defaults: the experiment's, where they differ from the method's.

    Raises:
        BitsliceError: if alpha is negative, not a number, or given for a method without a regularizer.
    """
    default = (defaults or {}).get(method, method.alpha)
    if alpha is not None and default is None:
        raise BitsliceError(f"method {method.value} has no regularizer, so alpha does not apply")
    if not method.finetunes:
        return None
    chosen = check_alpha(alpha) if alpha is not None else default or 0.0
    if method.charges:
        return replace(stage, regularizer=None, alpha=0.0, slice_price=chosen)
    return replace(stage, regularizer=method.regularizer, alpha=chosen)
