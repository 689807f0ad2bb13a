"""Architectures of other people, in small forms: quantized strictly, mapped, bit for bit what they were."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

import bitslice
from bitslice.book import tables
from bitslice.book.sources import PACKAGE
from bitslice.cli import main
from bitslice.errors import BitsliceError
from bitslice.lab import architectures, zoo
from bitslice.lab.architectures import NETWORKS, Gpt, LstmClassifier, Network
from tests.conftest import SOURCE

swin = partial(SwinTransformer, [4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=10)
SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10), (3, 32, 32)),
    "mobilenet_v2": (lambda: models.MobileNetV2(10, width_mult=0.25), (3, 32, 32)),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=10, width_mult=0.25), (3, 32, 32)),
    "efficientnet_b0": (
        lambda: EfficientNet([MBConvConfig(1, 3, 1, 8, 8, 1), MBConvConfig(4, 5, 2, 8, 16, 2)], 0.2, num_classes=10),
        (3, 32, 32),
    ),
    "regnet_y_400mf": (
        lambda: RegNet(BlockParams.from_init_params(4, 8, 8.0, 2.0, 8, se_ratio=0.25), 10, stem_width=8),
        (3, 32, 32),
    ),
    "shufflenet_v2": (lambda: models.ShuffleNetV2([1, 1, 1], [8, 16, 32, 64, 64], 10), (3, 32, 32)),
    "squeezenet1_1": (lambda: models.SqueezeNet("1_1", 10), (3, 32, 32)),
    "densenet121": (lambda: models.DenseNet(8, (2, 2), 16, num_classes=10), (3, 32, 32)),
    "googlenet": (lambda: models.GoogLeNet(10, init_weights=True), (3, 32, 32)),
    "inception_v3": (lambda: models.Inception3(10, aux_logits=False, init_weights=True), (3, 75, 75)),
    "convnext_tiny": (
        lambda: ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 1)], num_classes=10),
        (3, 32, 32),
    ),
    "vit_b_16": (lambda: VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10), (3, 32, 32)),
    "swin_t": (swin, (3, 32, 32)),
    "swin_v2_t": (partial(swin, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2), (3, 32, 32)),
    "gpt": (lambda: Gpt(256, 8, 16, 2, 2), (8,)),
    "lstm": (lambda: LstmClassifier(8, 64), (6, 8)),
}


def small(name: str) -> Network:
    """A small form of a network of the zoo; what is meant to stay in float is the zoo's own list."""
    build, shape = SMALL[name]
    return replace(NETWORKS[name], build=build, shape=shape)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """ADCs of 8 bits and of 4, which clip in networks of any size."""
    monkeypatch.setattr(zoo, "ADC_BITS", (8, 4))


def test_every_architecture_has_a_small_form() -> None:
    assert SMALL.keys() == NETWORKS.keys()


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_mapped_and_logits_are_equal_bit_for_bit(name: str) -> None:
    entry = zoo.measure(small(name), rounds=1)
    assert 0 < entry.quantized == entry.mapped
    assert (entry.exact, entry.rounded, entry.apart) == (True, 0, 0.0)
    assert entry.lossless == {"8": True, "4": False}  # so that the logits tell one network from another
    assert all(seconds > 0 for seconds in entry.seconds.values())
    assert list(entry.seconds) == ["float", "quantized", "ideal", "8", "4"]


@pytest.mark.parametrize(("name", "unused"), [("googlenet", 6), ("squeezenet1_1", 0)])
def test_layers_of_auxiliary_heads_are_counted_as_unused(name: str, unused: int) -> None:
    assert zoo.measure(small(name), rounds=1).unused == unused


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.exclude])
def test_what_stays_in_float_must_be_named_and_no_layer_goes_with_it(name: str) -> None:
    network = small(name)
    with pytest.raises(BitsliceError, match="would stay in float"):
        bitslice.quantize(network.build(), strict=True)
    with pytest.warns(UserWarning, match="left in float"):
        everything = bitslice.summary(bitslice.quantize(network.build()))
    named = bitslice.summary(bitslice.quantize(network.build(), exclude=network.exclude, strict=True))
    assert [layer.name for layer in named.layers] == [layer.name for layer in everything.layers]
    assert named.left == everything.left
    assert sum(layer.share for layer in named.layers) + sum(share for _, _, share in named.left) <= 1 + 1e-9


def test_logits_that_do_not_depend_on_the_input_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "wake", lambda model, network: model.eval())  # a head of zeros stays one
    with pytest.raises(BitsliceError, match="same logits"):
        zoo.measure(small("vit_b_16"), rounds=1)


def test_a_network_that_is_not_bit_exact_is_told_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = zoo.deploy
    monkeypatch.setattr(zoo, "deploy", lambda model, mapped, bits=1: deploy(model, mapped, bits))
    entry = zoo.measure(small("gpt"), rounds=1)
    assert not entry.exact
    assert entry.rounded == entry.mapped
    assert 0 < entry.apart < 10


def test_a_later_token_changes_no_earlier_logits() -> None:
    torch.manual_seed(0)
    model, x = Gpt(16, 8, 16, 2, 2).eval(), torch.randint(16, (1, 8))
    y = x.clone()
    y[0, 5] = (y[0, 5] + 1) % 16
    before, after = model(x), model(y)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


class TestRecord:
    def test_the_command_writes_what_is_read_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(architectures, "NETWORKS", {"convnext_tiny": small("convnext_tiny"), "lstm": small("lstm")})
        out = tmp_path / "new" / "zoo.json"
        assert main(["zoo", "--rounds", "1", "--out", str(out)]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"{out}\n"
        assert captured.err == "ConvNeXt-tiny: 12 layers, bit-exact\nLSTM classifier: 1 layers, bit-exact\n"
        found = zoo.read(out)
        assert list(found.networks) == ["convnext_tiny", "lstm"]
        assert zoo.Zoo.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert found.networks["lstm"].shape == (6, 8)
        assert found.provenance["threads"] == 1

    def test_bad_input_gets_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["zoo", "--rounds", "0"]) == 2
        assert "rounds must be at least 1" in capsys.readouterr().err
        (tmp_path / "taken").write_text("a file")
        assert main(["zoo", "--out", str(tmp_path / "taken" / "zoo.json")]) == 2
        assert "cannot write" in capsys.readouterr().err
        with pytest.raises(BitsliceError, match="is not a record of the zoo"):
            zoo.read(tmp_path / "taken")

    def test_the_committed_one_is_of_these_networks(self) -> None:
        found = zoo.read(PACKAGE.parent / zoo.RECORD)
        assert {name: entry.shape for name, entry in found.networks.items()} == {
            name: network.shape for name, network in NETWORKS.items()
        }
        for entry in found.networks.values():
            assert 0 < entry.quantized == entry.mapped
            assert entry.exact == (entry.apart == 0)
        assert found.provenance["threads"] == 1
        assert not found.provenance["commit"].endswith("+")

    def test_its_table_tells_what_is_not_exact_and_gathers_what_is_alike(self) -> None:
        entry = zoo.Entry(
            title="Net",
            shape=(3, 32, 32),
            quantized=3,
            mapped=3,
            unused=1,
            left=(("a.scale", "Parameter", 0.1), ("b.scale", "Parameter", 0.1), ("token", "Parameter", 0.01)),
            share=0.789,
            arrays=1234,
            exact=False,
            rounded=2,
            apart=3e-8,
            lossless={"8": False},
            seconds={"float": 0.0012, "quantized": 0.2, "ideal": 0.3, "8": 0.4},
        )
        exact = replace(entry, exact=True, rounded=0, apart=0.0, unused=0, left=())
        rows = tables.zoo(zoo.Zoo({"net": entry, "exact": exact}, SOURCE))
        assert rows[0] == {
            "Network": "Net",
            "Input": "3×32×32",
            "Layers mapped": "3 (1 unused)",
            "Parameters mapped": "78.9%",
            "Arrays": "1,234",
            "Bit-exact": "no (3e-08)",
            "Float (ms)": "1.2",
            "Quantized": "200",
            "Ideal ADCs": "300",
            "8 bits": "400",
        }
        assert [rows[1][column] for column in ("Layers mapped", "Bit-exact")] == ["3", "yes"]


def test_waking_touches_nothing_that_was_trained() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    nn.init.zeros_(model[1].weight)
    kept = model[0].weight.clone()
    woken: Tensor = zoo.wake(model, small("lstm"))[1].weight
    assert torch.equal(model[0].weight, kept)
    assert woken.ne(0).all()
