"""Architectures of other people: torchvision's, with weights as initialized, and two on sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchvision import models


class Gpt(nn.Module):
    """A decoder: tokens, int64 ``(batch, up to context)``, to logits ``(batch, tokens, vocabulary)``."""

    def __init__(self, vocabulary: int = 256, context: int = 128, width: int = 128, heads: int = 4, depth: int = 4):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        block = partial(nn.TransformerEncoderLayer, width, heads, 4 * width, 0.0, "gelu", batch_first=True)
        self.blocks = nn.ModuleList(block(norm_first=True) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        x = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class LstmClassifier(nn.Module):
    """A sequence, float ``(batch, steps, features)``, to logits ``(batch, 10)``."""

    def __init__(self, features: int = 28, width: int = 128) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(features, width, batch_first=True), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        title: as pages print it.
        build: makes it, with weights drawn from torch's global generator.
        shape: of one input.
        vocabulary: where inputs are tokens below it; None: they are noise, uniform from 0 to 1.
        exclude: what is meant to stay in float, by name (:func:`bitslice.quantize`).
    """

    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 224, 224)
    vocabulary: int | None = None
    exclude: tuple[str, ...] = ()

    def inputs(self, count: int) -> Tensor:
        """As many inputs, drawn from torch's global generator."""
        shape = (count, *self.shape)
        return torch.rand(shape) if self.vocabulary is None else torch.randint(self.vocabulary, shape)


BIASES = "*.relative_position_bias_table"
NETWORKS: dict[str, Network] = {
    "resnet18": Network("ResNet-18", models.resnet18),
    "mobilenet_v2": Network("MobileNetV2", models.mobilenet_v2),
    "mobilenet_v3_small": Network("MobileNetV3-small", models.mobilenet_v3_small),
    "efficientnet_b0": Network("EfficientNet-B0", models.efficientnet_b0),
    "regnet_y_400mf": Network("RegNet-Y-400MF", models.regnet_y_400mf),
    "shufflenet_v2": Network("ShuffleNet-V2", models.shufflenet_v2_x1_0),
    "squeezenet1_1": Network("SqueezeNet-1.1", models.squeezenet1_1),
    "densenet121": Network("DenseNet-121", models.densenet121),
    "googlenet": Network("GoogLeNet", partial(models.googlenet, init_weights=True)),
    "inception_v3": Network("Inception-v3", partial(models.inception_v3, init_weights=True), (3, 299, 299)),
    "convnext_tiny": Network("ConvNeXt-tiny", models.convnext_tiny, exclude=("*.layer_scale",)),
    "vit_b_16": Network("ViT-B/16", models.vit_b_16, exclude=("class_token", "encoder.pos_embedding")),
    "swin_t": Network("Swin-T", models.swin_t, exclude=(BIASES,)),
    "swin_v2_t": Network("Swin-V2-T", models.swin_v2_t, (3, 256, 256), exclude=("*.logit_scale",)),
    "gpt": Network("GPT, 4 blocks", Gpt, (128,), 256, exclude=("tokens", "positions")),
    "lstm": Network("LSTM classifier", LstmClassifier, (28, 28), exclude=("lstm",)),
}
"""By name, as ``bitslice zoo`` measures them."""
