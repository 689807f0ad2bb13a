"""The paper's networks, in float; :func:`bitslice.quantize` gives their fixed-point form."""

from collections.abc import Callable

from torch import nn

from bitslice.names import by_name


def mnist_mlp() -> nn.Sequential:
    """Two-layer perceptron 784-100-10 with ReLU (authors' code); takes images ``(batch, 1, 28, 28)``, gives logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": mnist_mlp}


def build(network: str) -> nn.Module:
    """A freshly initialized network by name.

    Raises:
        BitsliceError: if there is no such network.
    """
    return by_name("network", NETWORKS, network)()
