"""The paper's networks: sizes, shapes, scales and dropout."""

import pytest
import torch
from torch import nn

import bitslice
from bitslice.lab import models

#: Network: all parameters in float, quantized parameters, quantized tensors.
SIZES = {
    "mlp": (79_510, 79_510, 4),
    "vgg11": (9_750_922, 9_750_922, 22),
    "vgg11_bn": (9_756_426, 9_750_922, 22),
    "resnet20": (272_474, 270_906, 23),
}


@pytest.mark.parametrize("network", models.NETWORKS)
def test_parameter_counts(network: str) -> None:
    model = models.build(network)
    parameters = sum(p.numel() for p in model.parameters())
    tensors = list(bitslice.quantized_tensors(bitslice.quantize(model)))
    assert (parameters, sum(t.original.numel() for t in tensors), len(tensors)) == SIZES[network]


@pytest.mark.parametrize("network", ["vgg11", "vgg11_bn", "resnet20"])
def test_quantized_network_learns_from_a_batch(network: str) -> None:
    torch.manual_seed(0)
    model = bitslice.quantize(models.build(network))
    logits = model(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_every_shortcut_has_a_scale_of_its_own() -> None:
    model = bitslice.quantize(models.resnet20())
    shortcuts = [t for t in bitslice.quantized_tensors(model) if "shortcut" in t.name]
    assert len(shortcuts) == 2
    with torch.no_grad():
        shortcuts[0].original.mul_(16 / shortcuts[0].original.abs().max())
        shortcuts[1].original.mul_(0.25 / shortcuts[1].original.abs().max())
    model(torch.randn(2, 3, 32, 32))
    assert [t.quantizer.step.item() for t in shortcuts] == [2.0**-4, 2.0**-10]


def test_dropout_is_off_in_evaluation() -> None:
    model = bitslice.quantize(models.vgg11())
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 2
    images = torch.randn(2, 3, 32, 32)
    model.train()
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_unknown_network_names_the_valid_ones() -> None:
    with pytest.raises(
        bitslice.BitsliceError, match="unknown network 'vgg12'; choose from mlp, vgg11, vgg11_bn, resnet20"
    ):
        models.build("vgg12")
