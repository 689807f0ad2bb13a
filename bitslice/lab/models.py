"""The paper's networks, in float; :func:`bitslice.quantize` gives their fixed-point form.

The CIFAR-10 networks take images ``(batch, 3, 32, 32)`` and give logits ``(batch, 10)``. Their convolutions start as in
the authors' code: normal with variance 2 / (kernel area * output channels), biases at zero.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from bitslice.lab.names import by_name


def mnist_mlp() -> nn.Sequential:
    """Two-layer perceptron 784-100-10 with ReLU (authors' code); takes images ``(batch, 1, 28, 28)``, gives logits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


def _initialized(model: nn.Sequential) -> nn.Sequential:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def vgg11(batch_norm: bool = False) -> nn.Sequential:
    """VGG-11 for 32x32 images: 64 M 128 M 256 256 M 512 512 M 512 512 M, then 512-512-10 with dropout.

    Without batch norm it has 9,750,922 parameters, all of them quantized (authors' code). Batch norm adds 5,504 that
    stay in float; the biases it makes redundant are kept, so that both forms have the same quantized tensors.

    >>> sum(p.numel() for p in vgg11().parameters())
    9750922
    """
    layers: list[nn.Module] = []
    channels = 3
    for stage in [(64,), (128,), (256, 256), (512, 512), (512, 512)]:
        for width in stage:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(inplace=True)]
    layers += [nn.Dropout(), nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, 10)]
    return _initialized(nn.Sequential(*layers))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or 1x1 convolution and batch norm where the shape changes.

    Takes ``(batch, inputs, h, w)``, gives ``(batch, outputs, h / stride, w / stride)``.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(residual.add_(self.shortcut(x)))  # type: ignore[no-any-return]


def resnet20() -> nn.Sequential:
    """ResNet-20 for 32x32 images: 16, 32 and 64 channels, three blocks each; 270,906 quantized parameters.

    As in the authors' code the shortcuts are 1x1 convolutions; unlike there, each has a scale of its own.
    """
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    blocks = [
        BasicBlock(inputs if first else outputs, outputs, stride if first else 1)
        for inputs, outputs, stride in [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        for first in (True, False, False)
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return _initialized(nn.Sequential(*stem, *blocks, *head))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mnist_mlp,
    "vgg11": vgg11,
    "vgg11_bn": partial(vgg11, batch_norm=True),
    "resnet20": resnet20,
}


def build(network: str) -> nn.Module:
    """A freshly initialized network by name.

    Raises:
        BitsliceError: if there is no such network.
    """
    return by_name("network", NETWORKS, network)()
