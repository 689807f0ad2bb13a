"""Other people's networks: what is quantized, mapped and refused, so that nothing is silently wrong.

Every test stands for a kind of input that people have tried; ``x`` is small, the right value is exact.
"""

import copy
import io
import json
import pickle
import warnings
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune
from torch.optim.swa_utils import AveragedModel

import bitslice
from bitslice import BitsliceError, crossbar
from bitslice.attention import Attention
from bitslice.crossbar import Adc, Crossbar, SignedInputs, Simulation, adcs, map_codes
from bitslice.fixed_point import FixedPoint


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def rand(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def signed(*shape: int, seed: int = 0) -> Tensor:
    """Normal."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ready(model: nn.Module, x: Any, **options: Any) -> nn.Module:
    """``model`` quantized and calibrated, in evaluation mode."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = bitslice.quantize(model, **options)
    return bitslice.calibrate(model, [x]).eval()


def on_arrays(model: nn.Module, x: Any, bits: Any = None, hardware: Crossbar | None = None) -> nn.Module:
    """``model`` deployed, with ideal ADCs unless told."""
    return crossbar.deploy(model, crossbar.map_network(model, x, hardware), bits)


def assert_exact(model: nn.Module, x: Any) -> None:
    """With ideal ADCs the deployed network gives what the quantized one gives, bit for bit."""
    arguments = (x,) if isinstance(x, Tensor) else x
    expected, found = model(*arguments), on_arrays(model, x)(*arguments)
    if isinstance(expected, tuple):
        expected, found = expected[0], found[0]
    assert torch.equal(found, expected)


class Twice(nn.Module):
    """One layer under two names, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


class Centred(nn.Conv2d):
    """Computes with another weight than the one it stores."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class LowRank(nn.Linear):
    """Adds a second product to the one of its weight, as LoRA does."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.down, self.up = nn.Parameter(torch.ones(1, 4)), nn.Parameter(torch.ones(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.down.T @ self.up.T


class TestSharedAndForeignLayers:
    @pytest.mark.parametrize("build", [Twice, lambda: nn.Sequential(layer := nn.Linear(4, 4), nn.ReLU(), layer)])
    def test_a_layer_used_twice_runs_on_one_set_of_arrays_both_times(self, build: Callable[[], nn.Module]) -> None:
        x = rand(8, 4)
        model = ready(build(), x)
        (mapped,) = crossbar.map_network(model, x)
        assert mapped.vectors == 2
        assert_exact(model, x)
        deployed = on_arrays(model, x, 1)
        assert not [m for m in deployed.modules() if isinstance(m, nn.Linear)]
        layer = on_arrays(nn.Sequential(copy.deepcopy(next(m for m in model.modules() if hasattr(m, "bias")))), x, 1)
        assert torch.equal(deployed(x), layer(layer(x).relu()))

    def test_layers_that_share_a_weight_each_have_arrays(self) -> None:
        layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        layers[2].weight = layers[0].weight
        x = rand(8, 4)
        model = ready(layers, x)
        assert len(crossbar.map_network(model, x)) == 2
        assert_exact(model, x)

    @pytest.mark.parametrize(("layer", "shape"), [(lambda: Centred(2, 3, 3), (2, 2, 5, 5)), (LowRank, (8, 4))])
    def test_a_layer_that_computes_something_else_is_refused_by_name(
        self, layer: Callable[[], nn.Module], shape: tuple[int, ...]
    ) -> None:
        x = signed(*shape)
        model = ready(nn.Sequential(layer()), x)
        with pytest.raises(BitsliceError, match=r"layer '0' \((Centred|LowRank)\) does not compute the product"):
            crossbar.map_network(model, x)

    def test_mapping_needs_an_image(self) -> None:
        model = ready(nn.Linear(4, 3), rand(2, 4))
        with pytest.raises(BitsliceError, match="mapping needs at least one image"):
            crossbar.map_network(model, rand(0, 4))

    def test_left_out_it_is_in_nobodys_way(self) -> None:
        x = signed(8, 4)
        model = ready(nn.Sequential(LowRank(), nn.Linear(3, 2)), x, exclude="0")
        assert [layer.name for layer in crossbar.map_network(model, x)] == ["1"]
        assert_exact(model, x)


class TestAttention:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"batch_first": True},
            {"bias": False},
            {"kdim": 6, "vdim": 10},
            {"add_bias_kv": True, "add_zero_attn": True},
        ],
        ids=str,
    )
    def test_of_layers_gives_what_torchs_gives(self, options: dict[str, Any]) -> None:
        torch.manual_seed(1)
        theirs = nn.MultiheadAttention(8, 2, **options).eval()
        ours = Attention(theirs).eval()
        q, k, v = signed(3, 5, 8), signed(3, 5, options.get("kdim", 8), seed=1), signed(3, 5, options.get("vdim", 8))
        length, batch = (5, 3) if options.get("batch_first") else (3, 5)
        padded = torch.zeros(batch, length, dtype=torch.bool)
        padded[0, -1] = True
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        for others in (
            {},
            {"key_padding_mask": padded},
            {"attn_mask": causal, "average_attn_weights": False},
            {"attn_mask": signed(batch * 2, length, length), "need_weights": False},
        ):
            expected, found = theirs(q, k, v, **others), ours(q, k, v, **others)
            assert torch.allclose(found[0], expected[0], atol=1e-6)
            assert (found[1] is None) == (expected[1] is None)
            if expected[1] is not None:
                assert torch.allclose(found[1], expected[1], atol=1e-6)

    def test_takes_one_sequence_without_a_batch(self) -> None:
        theirs = nn.MultiheadAttention(8, 2).eval()
        x = signed(5, 8)
        for expected, found in zip(theirs(x, x, x), Attention(theirs).eval()(x, x, x), strict=True):
            assert torch.allclose(found, expected, atol=1e-6)

    def test_all_four_projections_are_quantized_inputs_too_and_mapped(self) -> None:
        x = signed(3, 5, 8)
        model = ready(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x)
        names = [layer.name for layer in crossbar.map_network(model, x)]
        assert names == [*(f"self_attn.{p}" for p in ("q_proj", "k_proj", "v_proj", "out_proj")), "linear1", "linear2"]
        assert_exact(model, x)
        assert not torch.equal(on_arrays(model, x, 2)(x), model(x))

    def test_a_whole_encoder_takes_no_path_around_its_layers(self) -> None:
        x = signed(3, 5, 8)
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        with torch.no_grad():
            assert_exact(ready(encoder, x), x)

    def test_an_attention_on_its_own_is_replaced(self) -> None:
        x = signed(3, 5, 8)
        model = ready(nn.MultiheadAttention(8, 2), (x, x, x))
        assert isinstance(model, Attention)
        assert_exact(model, (x, x, x))

    def test_left_out_it_stays_as_it_is(self) -> None:
        x = signed(3, 5, 8)
        model = ready(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x, exclude="self_attn")
        assert type(model.self_attn) is nn.MultiheadAttention
        assert [layer.name for layer in crossbar.map_network(model, x)] == ["linear1", "linear2"]

    @pytest.mark.parametrize("version", ["", "V2"])
    def test_weights_that_are_used_functionally_are_seen(self, version: str) -> None:
        swin = pytest.importorskip("torchvision.models.swin_transformer")
        x = signed(2, 4, 4, 8)
        torch.manual_seed(0)
        attention = getattr(swin, f"ShiftedWindowAttention{version}")(8, [2, 2], [1, 1], 2).eval()
        expected = attention(x)
        model = ready(attention, x)
        assert torch.allclose(model(x), expected, atol=0.05)
        assert {layer.name for layer in crossbar.map_network(model, x)} >= {"qkv", "proj"}
        assert_exact(model, x)
        with crossbar.through_adcs(model, 1):
            assert not torch.equal(model(x), ready(attention_again(attention), x)(x))

    def test_an_error_inside_leaves_nothing_open(self) -> None:
        swin = pytest.importorskip("torchvision.models.swin_transformer")
        model = ready(swin.ShiftedWindowAttention(8, [2, 2], [1, 1], 2), signed(2, 4, 4, 8))
        with pytest.raises(RuntimeError):
            model(signed(2, 4, 4, 7))
        assert "_opened" not in model.__dict__
        assert torch.nn.utils.parametrize._cache_enabled == 0


def attention_again(module: nn.Module) -> nn.Module:
    """A float twin of a quantized module, by its state."""
    twin = type(module)(8, [2, 2], [1, 1], 2)
    state = {
        name.replace("parametrizations.", "").replace(".original", ""): v for name, v in module.state_dict().items()
    }
    twin.load_state_dict({name: value for name, value in state.items() if name in twin.state_dict()})
    return twin.eval()


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1d": (lambda: nn.Conv1d(6, 4, 3, 2, 1, groups=2), (2, 6, 11)),
    "1d, same, even": (lambda: nn.Conv1d(6, 4, 4, padding="same"), (2, 6, 11)),
    "1d, replicate": (lambda: nn.Conv1d(3, 4, 3, 2, 2, padding_mode="replicate"), (2, 3, 9)),
    "2d, same": (lambda: nn.Conv2d(3, 4, (2, 3), padding="same", dilation=(1, 2)), (2, 3, 9, 8)),
    "2d, valid": (lambda: nn.Conv2d(3, 4, 3, padding="valid"), (2, 3, 9, 8)),
    "2d, reflect": (lambda: nn.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="reflect"), (2, 3, 9, 8)),
    "2d, circular": (lambda: nn.Conv2d(3, 4, 3, 2, (2, 1), padding_mode="circular"), (2, 3, 9, 8)),
    "2d, one image": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 9, 8)),
    "3d": (lambda: nn.Conv3d(4, 6, (3, 2, 3), (2, 1, 2), (1, 0, 2), (1, 2, 1), groups=2), (2, 4, 7, 8, 9)),
    "3d, same": (lambda: nn.Conv3d(4, 6, (2, 3, 3), padding="same"), (2, 4, 7, 8, 9)),
    "1d, transposed": (lambda: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 7)),
    "2d, transposed": (lambda: nn.ConvTranspose2d(4, 6, (3, 4), (2, 3), (1, 0), (1, 2), 2), (2, 4, 7, 5)),
    "2d, transposed, dilated": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 3, dilation=(2, 1)), (2, 4, 7, 8)),
    "2d, transposed, cropped": (lambda: nn.ConvTranspose2d(4, 6, 3, padding=3), (2, 4, 7, 8)),
    "linear, one vector": (lambda: nn.Linear(5, 3), (5,)),
    "linear, sequences": (lambda: nn.Linear(5, 3), (2, 3, 5)),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("layer", CONVOLUTIONS)
@pytest.mark.parametrize("values", [rand, signed])
class TestLayers:
    def test_is_exact_with_ideal_adcs(self, layer: str, values: Callable[..., Tensor]) -> None:
        build, shape = CONVOLUTIONS[layer]
        x = values(*shape)
        for scheme in SignedInputs:
            model = ready(build(), x)
            mapped = crossbar.map_network(model, x, Crossbar(rows=16, signed_inputs=scheme))
            assert torch.equal(crossbar.deploy(model, mapped)(x), model(x))

    def test_clips_as_the_naive_reference_does(self, layer: str, values: Callable[..., Tensor]) -> None:
        build, shape = CONVOLUTIONS[layer]
        x = values(*shape)
        model, hardware = ready(build(), x), Crossbar(rows=16)
        (mapped,) = crossbar.map_network(model, x, hardware)
        own = model.input_quantizer
        images = (mapped.layout.images(own(x)) / own.step).int()
        unfold = mapped.unfold or crossbar.Unfold()
        groups = []
        for codes, part in zip(mapped.codes, images.chunk(mapped.groups, 1), strict=True):
            vectors = crossbar.unfold.unfolded(part, unfold, 0)
            product = crossbar.naive(codes, vectors, hardware, adcs((3, 3, 3, 1)), 8, 8, mapped.signed)
            size = unfold.output_size(*images.shape[2:])
            groups.append(product.unflatten(0, (len(images), -1)).transpose(1, 2).unflatten(2, size))
        expected = mapped.layout.output(torch.cat(groups, 1).float(), x) * (own.step * mapped.step)
        bias = model.bias.view(-1, *(1,) * mapped.layout.dimensions)
        assert torch.equal(crossbar.deploy(model, [mapped], (3, 3, 3, 1))(x), expected + bias)

    def test_gives_nothing_for_an_empty_batch(self, layer: str, values: Callable[..., Tensor]) -> None:
        build, shape = CONVOLUTIONS[layer]
        if layer.endswith(("one image", "one vector")):
            pytest.skip("it has no batch")
        x = values(*shape)
        model = ready(build(), x)
        for bits in (None, 3):
            assert on_arrays(model, x, bits)(x[:0]).shape == model(x[:0]).shape

    def test_trains_through_its_adcs(self, layer: str, values: Callable[..., Tensor]) -> None:
        build, shape = CONVOLUTIONS[layer]
        x = values(*shape)
        model = ready(build(), x)
        expected = on_arrays(model, x, (3, 3, 3, 1))(x)
        with crossbar.through_adcs(model, (3, 3, 3, 1)):
            found = model(x)
        assert torch.equal(found, expected)
        found.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


class TestScalesCannotBeRuined:
    @pytest.mark.parametrize("probe", [torch.zeros(0, 4), torch.zeros(3, 4)], ids=["empty", "all zero"])
    def test_by_a_shape_probe(self, probe: Tensor) -> None:
        model = nn.Sequential(nn.Linear(4, 4))
        bitslice.quantize(model)(rand(8, 4))
        scale = model[0].input_quantizer.step.clone()
        model.train()(probe)
        assert torch.equal(model[0].input_quantizer.step, scale)
        bitslice.calibrate(model, [rand(8, 4), probe])
        assert torch.equal(model[0].input_quantizer.step, scale)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
    def test_by_a_value_that_is_not_finite(self, value: float) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        bitslice.quantize(model)(rand(8, 4))
        scale = model[0].input_quantizer.step.clone()
        bad = rand(8, 4)
        bad[3, 2] = value
        with pytest.raises(BitsliceError, match=r"the input of layer '0' is not finite \(nan or inf\)"):
            model.train()(bad)
        assert torch.equal(model[0].input_quantizer.step, scale)
        with pytest.raises(BitsliceError, match="the input of layer '0'"):
            bitslice.calibrate(model, [bad])
        assert torch.equal(model[0].input_quantizer.step, scale)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    @pytest.mark.parametrize("bits", [None, 3])
    def test_a_deployed_network_refuses_it_by_name(self, value: float, bits: int | None) -> None:
        x = rand(8, 4)
        deployed = on_arrays(ready(nn.Sequential(nn.Linear(4, 4)), x), x, bits)
        x[0, 0] = value
        with pytest.raises(BitsliceError, match="the input of layer '0' is not finite"):
            deployed(x)

    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
    def test_by_another_type(self, kind: torch.dtype) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        with torch.no_grad():
            model[0].bias.zero_()
        x = rand(8, 4)
        expected = ready(model, x)(x)
        model.to(kind)
        assert all(m.step.dtype is torch.float32 for m in model.modules() if isinstance(m, FixedPoint))
        found = model(x.to(kind))
        assert found.dtype is kind
        assert torch.allclose(found.float(), expected, atol=0.02)
        deployed = on_arrays(model, x.to(kind))(x.to(kind))
        assert deployed.dtype is kind
        assert torch.allclose(deployed.float(), expected, atol=0.02)

    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
    def test_bit_slice_l1_pulls_in_any_type(self, kind: torch.dtype) -> None:
        model = bitslice.quantize(nn.Sequential(nn.Linear(4, 4)).to(kind))
        model(rand(2, 4).to(kind))
        bitslice.BitSliceL1(model)().backward()
        assert all(p.grad is not None and p.grad.dtype is kind and p.grad.isfinite().all() for p in model.parameters())

    def test_averaging_networks_before_a_scale_exists(self) -> None:
        model = bitslice.quantize(nn.Sequential(nn.Linear(4, 4)))
        average = AveragedModel(model)
        with pytest.raises(BitsliceError, match=r"has no scale yet: call bitslice\.calibrate"):
            average.eval()(rand(8, 4))
        model(rand(8, 4))
        average.update_parameters(model)
        assert torch.equal(average(rand(8, 4)), model.eval()(rand(8, 4)))

    def test_averaged_scales_are_refused(self) -> None:
        model = bitslice.quantize(nn.Sequential(nn.Linear(4, 4)))
        model(rand(8, 4))
        average = AveragedModel(model, use_buffers=True)
        average.update_parameters(model)
        model(5 * rand(8, 4))
        average.update_parameters(model)
        with pytest.raises(BitsliceError, match="is no power of two"):
            average.eval()(rand(8, 4))


class TestCalibrate:
    def test_sets_scales_and_touches_nothing_else(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(27, 2))
        model[2].eval()
        x = signed(4, 2, 5, 5)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        bitslice.quantize(model)
        with torch.inference_mode():
            bitslice.calibrate(model, (part for part in x.split(2)))
        assert [module.training for module in model] == [True, True, False, True, True]
        assert all(p.grad is None for p in model.parameters())
        after = model.state_dict()
        for name, value in before.items():
            place = name.replace("weight", "parametrizations.weight.original").replace(
                "bias", "parametrizations.bias.original"
            )
            assert torch.equal(after[name if name in after else place], value)
        seen = max(float(part.abs().max()) for part in x.split(2))
        assert model[0].input_quantizer.step.item() == 2.0 ** (int(np.ceil(np.log2(seen))) - 8)
        model.train()(x).sum().backward()  # the scales set above are no inference tensors

    def test_takes_the_largest_over_batches_in_any_order(self) -> None:
        model = bitslice.quantize(nn.Sequential(nn.Linear(4, 4)))
        for batches in ([rand(2, 4), 10 * rand(2, 4)], [10 * rand(2, 4), rand(2, 4)]):
            bitslice.calibrate(model, batches)
            assert model[0].input_quantizer.step.item() == 2.0 ** (4 - 8)

    def test_follows_weights_that_have_changed(self) -> None:
        model = ready(nn.Sequential(nn.Linear(4, 4)), rand(8, 4))
        with torch.no_grad():
            model[0].parametrizations.weight.original.mul_(8)
        before = next(bitslice.quantized_tensors(model)).quantizer.step.item()
        bitslice.calibrate(model, [rand(8, 4)])
        assert next(bitslice.quantized_tensors(model)).quantizer.step.item() == 8 * before

    def test_takes_several_inputs_and_names(self) -> None:
        model = bitslice.quantize(TwoInputs())
        x, y = rand(3, 4), signed(3, 4)
        for batch in ((x, y), {"x": x, "y": y}):
            bitslice.calibrate(model, [batch])
            assert_exact(model.eval(), (x, y))
        (first, _) = crossbar.map_network(model, {"x": x, "y": y})
        assert first.vectors == 1

    @pytest.mark.parametrize("batches", [[], torch.zeros(0, 4)])
    def test_needs_a_quantized_model_and_a_batch(self, batches: Any) -> None:
        with pytest.raises(BitsliceError, match="needs a quantized model"):
            bitslice.calibrate(nn.Linear(4, 4), [rand(1, 4)])
        if isinstance(batches, list):
            with pytest.raises(BitsliceError, match="at least one batch"):
                bitslice.calibrate(bitslice.quantize(nn.Linear(4, 4)), batches)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of_x, self.of_y = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.of_x(input=x) + self.of_y(y)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(10, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(x))[0][:, -1])


class TestChooseAndKnow:
    def test_what_stays_in_float_is_told_by_name_type_and_share(self) -> None:
        told = r"embedding \(Embedding, 11\.9%\), lstm \(LSTM, 85\.5%\)"
        with pytest.warns(UserWarning, match=told):
            bitslice.quantize(Recurrent())
        with pytest.raises(BitsliceError, match=told):
            bitslice.quantize(Recurrent(), strict=True)
        bitslice.quantize(Recurrent(), strict=True, exclude=["embedding", "lstm"])  # meant to

    def test_normalization_may_stay_in_float(self) -> None:
        bitslice.quantize(nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2), nn.LayerNorm(3)), strict=True)

    def test_a_bare_parameter_is_told_too(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2))
        model.register_parameter("token", nn.Parameter(torch.zeros(2)))
        with pytest.raises(BitsliceError, match=r"token \(.*, 25\.0%\)"):
            bitslice.quantize(model, strict=True)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"select": "0"}, ["0"]),
            ({"select": ["*.1", "0"]}, ["0", "1.1"]),
            ({"exclude": "1"}, ["0"]),
            ({"exclude": lambda name, module: isinstance(module, nn.Conv1d)}, ["0", "1.1"]),
            ({"select": lambda name, module: isinstance(module, nn.Conv1d)}, ["1.0"]),
        ],
        ids=["name", "pattern", "exclude", "exclude by predicate", "predicate"],
    )
    def test_layers_are_chosen_by_pattern_or_predicate(self, options: dict[str, Any], expected: list[str]) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Conv1d(4, 4, 1), nn.Linear(4, 4)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            bitslice.quantize(model, **options)
        assert [layer.name for layer in bitslice.summary(model).layers] == expected

    def test_a_parameter_beside_layers_is_named_without_them(self) -> None:
        block, model = nn.Module(), nn.Module()
        block.scale, block.fc = nn.Parameter(torch.ones(4)), nn.Linear(4, 4)
        model.token, model.block = nn.Parameter(torch.ones(4)), block
        with pytest.raises(BitsliceError, match=r"token \(Parameter, 14.3%\), block.scale \(Parameter, 14.3%\)"):
            bitslice.quantize(model, strict=True)
        bitslice.quantize(model, exclude=["token", "*.scale"], strict=True)
        assert [layer.name for layer in bitslice.summary(model).layers] == ["block.fc"]

    def test_each_layer_may_have_bits_of_its_own(self) -> None:
        x = rand(8, 4)
        model = ready(
            nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), x, bits={"1": 4, "*": 8}, activation_bits={"*": 6}
        )
        assert [(layer.bits, layer.input_bits) for layer in bitslice.summary(model).layers] == [(8, 6), (4, 6)]
        assert_exact(model, x)
        with pytest.raises(BitsliceError, match=r"no pattern of 1 gives layer '0' its bits"):
            bitslice.quantize(nn.Sequential(nn.Linear(4, 4)), bits={"1": 4})

    def test_the_summary_tells_it_again(self) -> None:
        x = rand(8, 130)
        model = ready(nn.Sequential(nn.Linear(130, 4), nn.PReLU()), x)
        layer = bitslice.summary(model).layers[0]
        assert (layer.kind, layer.weights, layer.arrays) == ("Linear", 520, None)
        assert layer.density == tuple(bitslice.density([next(bitslice.quantized_tensors(model)).codes()]))
        told = bitslice.summary(model, crossbar.map_network(model, x))
        assert (told.layers[0].arrays, told.layers[0].utilization) == (16, 520 / (256 * 128))
        assert told.left == (("1", "PReLU", 1 / 525),)
        assert "in float: 1 (PReLU), 0.2%" in str(told)

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Lazy modules", "ignore:.*weight_norm")
    @pytest.mark.parametrize(
        ("hide", "message"),
        [
            (nn.utils.weight_norm, "computes its weight"),
            (nn.utils.spectral_norm, "computes its weight"),
            (lambda layer: torch_prune.l1_unstructured(layer, "weight", 0.5), "computes its weight"),
            (lambda layer: nn.LazyLinear(3), "is lazy"),
            (lambda layer: nn.utils.parametrizations.weight_norm(layer), "parametrization of its own"),
        ],
        ids=["weight_norm", "spectral_norm", "prune", "lazy", "parametrized"],
    )
    def test_what_cannot_be_quantized_is_refused_and_the_model_unchanged(
        self, hide: Callable[[nn.Module], nn.Module], message: str
    ) -> None:
        model = nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4), hide(nn.Linear(4, 4)))
        names = [name for name, _ in model.named_modules()]
        with pytest.raises(BitsliceError, match=f"layer '2' .*{message}|layer '2' {message}"):
            bitslice.quantize(model)
        assert [name for name, _ in model.named_modules()] == names


class TestSaveAndLoad:
    def network(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))

    def test_brings_back_codes_scales_masks_headroom_and_the_rest(self, tmp_path: Path) -> None:
        x = signed(4, 2, 5, 5)
        model = ready(self.network(), x, bits={"0": 8, "4": 6}, activation_bits={"0": 8, "4": 4})
        bitslice.prune(model, 0.1)
        bitslice.leave_headroom(model, 2)
        bitslice.save(model, tmp_path / "network.npz")
        for twin in (self.network(), bitslice.quantize(self.network(), {"0": 8, "4": 6}, {"0": 8, "4": 4})):
            loaded = bitslice.load(twin, tmp_path / "network.npz").eval()
            assert torch.equal(loaded(x), model(x))
            for ours, theirs in zip(bitslice.quantized_tensors(loaded), bitslice.quantized_tensors(model), strict=True):
                assert ours.quantizer.headroom == theirs.quantizer.headroom
                assert torch.equal(ours.codes(), theirs.codes())
                assert torch.equal(ours.masks[0].mask, theirs.masks[0].mask)
        bitslice.save(loaded, tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "network.npz").read_bytes()

    def test_nothing_in_the_file_is_run(self, tmp_path: Path) -> None:
        bitslice.save(ready(self.network(), rand(2, 2, 5, 5)), tmp_path / "network.npz")
        with np.load(tmp_path / "network.npz", allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)

    def test_words_of_16_bits_keep_their_codes(self, tmp_path: Path) -> None:
        x = rand(8, 4)
        model = ready(nn.Sequential(nn.Linear(4, 4)), x, bits=16, activation_bits=16)
        bitslice.save(model, tmp_path / "network.npz")
        assert torch.equal(bitslice.load(nn.Sequential(nn.Linear(4, 4)), tmp_path / "network.npz").eval()(x), model(x))

    def test_a_network_without_scales_is_not_saved(self, tmp_path: Path) -> None:
        with pytest.raises(BitsliceError, match="the input of layer '0' has no scale yet"):
            bitslice.save(bitslice.quantize(nn.Sequential(nn.Linear(4, 4))), tmp_path / "network.npz")
        with pytest.raises(BitsliceError, match="nothing to save"):
            bitslice.save(nn.Linear(4, 4), tmp_path / "network.npz")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("change", ["beyond", "words", "truncated", "other", "missing"])
    def test_a_damaged_or_foreign_file_is_refused_in_one_line(self, tmp_path: Path, change: str) -> None:
        path = tmp_path / "network.npz"
        bitslice.save(ready(self.network(), rand(2, 2, 5, 5)), path)
        with np.load(path) as archive:
            arrays = dict(archive)
        if change == "beyond":
            arrays["0.weight"] = arrays["0.weight"] + 300
        elif change == "words":
            arrays["words"] = np.array('{"0.weight": "eight"}')
        elif change == "other":
            arrays["4.weight"] = arrays["4.weight"][:1]
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        path.write_bytes(buffer.getvalue()[: -100 if change == "truncated" else None])
        if change == "missing":
            path.unlink()
        with pytest.raises(BitsliceError) as error:
            bitslice.load(self.network(), path)
        assert "\n" not in str(error.value)

    def test_a_plain_float_state_loads_into_the_quantized_network(self) -> None:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.attention, self.fc = nn.MultiheadAttention(8, 2), nn.Linear(8, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.fc(self.attention(x, x, x)[0])  # type: ignore[no-any-return]

        x = signed(3, 5, 8)
        trained, quantized = Both(), ready(Both(), x)
        quantized.load_state_dict(trained.state_dict())
        with pytest.raises(BitsliceError, match="no scale yet"):
            quantized.eval()(x)
        bitslice.calibrate(quantized, [x])
        assert torch.equal(quantized(x), ready(trained, x)(x))

    def test_headroom_and_masks_survive_a_state_dict(self) -> None:
        x = rand(8, 4)
        model = ready(nn.Sequential(nn.Linear(4, 4)), x)
        bitslice.prune(model, 0.2)
        bitslice.leave_headroom(model, 2)
        twin = bitslice.quantize(nn.Sequential(nn.Linear(4, 4)))
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin.eval()(x), model(x))
        twin.train()(x)
        assert next(bitslice.quantized_tensors(twin)).quantizer.headroom == 2
        assert torch.equal(twin.eval()(x), model(x))


class TestWrappers:
    def test_a_keyword_is_an_input(self) -> None:
        x = rand(8, 4)
        model = ready(nn.Linear(4, 4), x)
        assert torch.equal(model(input=x), model(x))
        assert torch.equal(on_arrays(nn.Sequential(model), x)(x), model(x))

    def test_a_deployed_network_is_exact_under_autocast(self) -> None:
        x = rand(8, 64)
        model = ready(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)), x)
        deployed = on_arrays(model, x)
        with torch.autocast("cpu", torch.bfloat16):
            found = deployed(x)
        assert torch.equal(found, model(x))

    def test_a_layer_that_evaluation_never_calls_has_no_conversions(self) -> None:
        class Auxiliary(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.body(x) + (self.head(x).sum() if self.training else 0)  # type: ignore[no-any-return]

        x = rand(8, 4)
        model = ready(Auxiliary(), x)
        mapped = crossbar.map_network(model, x)
        sums = crossbar.bitline_sums(model, mapped, x)
        assert [layer.name for layer in sums] == ["body", "head"]
        assert (mapped[1].vectors, int(sums[1].counts.sum())) == (0, 0)
        assert crossbar.pooled(sums)[0].counts.sum() == crossbar.pooled(sums[:1])[0].counts.sum()
        assert torch.equal(crossbar.deploy(model, mapped)(x), model(x))

    def test_copies_and_pickles_give_the_same(self) -> None:
        x = rand(8, 4)
        model = ready(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), x)
        deployed = on_arrays(model, x, (3, 3, 3, 1))
        for twin in (copy.deepcopy(deployed), pickle.loads(pickle.dumps(deployed))):
            assert torch.equal(twin(x), deployed(x))
        assert torch.equal(copy.deepcopy(model)(x), model(x))

    @pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, when strict
    @pytest.mark.parametrize("strict", [False, True])
    def test_torch_export_gives_the_same(self, strict: bool) -> None:
        x = signed(4, 2, 5, 5)
        model = ready(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(27, 2)), x)
        shapes = ({0: torch.export.Dim("batch")},)
        exported = torch.export.export(model, (x,), dynamic_shapes=shapes, strict=strict).module()
        for images in (x, torch.cat([x, -x, x])):
            assert torch.equal(exported(images), model(images))

    def test_gradients_gather_and_checkpoints_recompute(self) -> None:
        x = rand(8, 4)
        model = bitslice.quantize(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
        model(x).square().sum().backward()
        expected = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).square().sum().backward()
        assert all(torch.equal(p.grad, e) for p, e in zip(model.parameters(), expected, strict=True))


class TestSums:
    @pytest.mark.parametrize("layer", [nn.Linear(512, 16), nn.Conv2d(512, 16, 1)])
    def test_that_cancel_are_no_difference(self, layer: nn.Module) -> None:
        with torch.no_grad():
            layer.weight[:, :256], layer.weight[:, 256:] = 1, -1
            layer.bias.fill_(1e-6)
        x = torch.ones(16, 512) if isinstance(layer, nn.Linear) else torch.ones(16, 512, 1, 1)
        assert len(crossbar.map_network(ready(nn.Sequential(layer), x), x)) == 1

    def test_beyond_float32_are_rounded_once(self) -> None:
        torch.manual_seed(3)
        layer = nn.Linear(512, 4, bias=False)
        with torch.no_grad():
            layer.weight.uniform_(0.9, 1)
        x = 0.9 + 0.1 * rand(8, 512)
        model = ready(nn.Sequential(layer), x)
        codes = next(bitslice.quantized_tensors(model)).codes()
        step = model[0].input_quantizer.step
        words = (model[0].input_quantizer(x) / step).long()
        exact = (words @ codes.T.long()).double() * (step * next(bitslice.quantized_tensors(model)).quantizer.step)
        assert torch.equal(on_arrays(model, x)(x), exact.float())

    @pytest.mark.parametrize("hidden", [False, True])
    def test_that_clip_may_turn_an_input_negative_which_is_said_or_driven(self, hidden: bool) -> None:
        first, second = nn.Linear(6, 2, bias=False), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            first.weight.copy_(torch.tensor([[3, 3, 3, 3, 3, -12], [255, 0, 0, 0, 0, 0]]) / 256)
            second.weight.copy_(torch.tensor([[1 / 256 if hidden else 1.0, 255 / 256]]))
        x = torch.ones(1, 6)
        model = ready(nn.Sequential(first, second), x)
        bits = {"0": 2, "1": None if hidden else 2}
        with pytest.raises(BitsliceError, match=r"layer '1' has a negative input.*signed=True"):
            crossbar.deploy(model, crossbar.map_network(model, x), bits)(x)
        deployed = crossbar.deploy(model, crossbar.map_network(model, x, signed=True), bits)
        assert deployed[0](x)[0, 0] < 0
        assert deployed(x).isfinite().all()


class TestWhatWasMappedIsStillThere:
    @pytest.mark.parametrize("change", ["weights", "scales", "inputs", "network"])
    def test_or_it_is_said_by_name(self, change: str) -> None:
        x = rand(8, 4)
        model = ready(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), x)
        mapped = crossbar.map_network(model, x)
        if change == "weights":
            with torch.no_grad():
                model[0].parametrizations.weight.original[0, 0] += 0.1
        elif change == "scales":
            bitslice.leave_headroom(model, 1)
        elif change == "inputs":
            bitslice.calibrate(model, [4 * x])
        else:
            model = ready(nn.Sequential(nn.Sequential(nn.Linear(4, 4))), x)
        for use in (lambda: crossbar.deploy(model, mapped), lambda: crossbar.bitline_sums(model, mapped, x)):
            with pytest.raises(BitsliceError, match=r"'0' has other weights or scales than|no quantized layer '0'"):
                use()

    def test_a_weight_that_two_layers_share_is_pulled_once(self) -> None:
        layers = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        layers[1].weight = layers[0].weight
        alone = bitslice.quantize(copy.deepcopy(layers[:1]))
        bitslice.quantize(layers)
        assert torch.equal(bitslice.BitSliceL1(layers)(), bitslice.BitSliceL1(alone)())


def test_inputs_by_name_are_counted_whatever_mapping_holds_them() -> None:
    x = rand(8, 40)
    model = ready(nn.Sequential(nn.Linear(40, 30)), x)
    expected = crossbar.map_network(model, {"input": x})
    found = crossbar.map_network(model, UserDict(input=x))
    assert [(m.inputs, m.vectors) for m in found] == [(m.inputs, m.vectors) for m in expected] == [(40, 1)]


class TestAdcsByLayer:
    def test_a_pattern_gives_each_layer_its_own(self) -> None:
        x = rand(8, 40)
        model = ready(nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 4)), x)
        mapped = crossbar.map_network(model, x)
        mixed = crossbar.deploy(model, mapped, {"0": (2, 2, 2, 1), "*": None})
        first = crossbar.deploy(model, mapped, (2, 2, 2, 1))[0](x)
        assert torch.equal(mixed(x), model[2](first.relu()))
        with crossbar.through_adcs(model, {"0": (2, 2, 2, 1), "*": None}):
            assert torch.equal(model(x), mixed(x))
        with pytest.raises(BitsliceError, match=r"no pattern of 0 gives layer '2' its ADCs"):
            crossbar.deploy(model, mapped, {"0": 3})


class TestForeignCodes:
    def test_compute_the_integer_product(self) -> None:
        codes = torch.randint(-255, 256, (5, 40), generator=torch.Generator().manual_seed(0))
        x = torch.randint(-255, 256, (7, 40), generator=torch.Generator().manual_seed(1)).float()
        mapped = map_codes(codes)
        assert torch.equal(Simulation(mapped, adcs(None)).product(x).long(), x.long() @ codes.T)
        expected = crossbar.naive(codes.T, x.long(), Crossbar(), adcs(3), signed=True)
        assert torch.equal(Simulation(mapped, adcs(3)).product(x).long(), expected)

    def test_of_a_convolution_take_its_geometry(self) -> None:
        layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False)
        codes = torch.randint(-7, 8, layer.weight.shape)
        x = torch.randint(0, 16, (2, 2, 6, 6)).float()
        mapped = map_codes(codes, bits=4, input_bits=4, signed=False, step=0.5, like=layer)
        product = Simulation(mapped, adcs(None, 2)).product(x)
        assert torch.equal(product, nn.functional.conv2d(x, codes.float() * 0.5, stride=2, padding=1))

    @pytest.mark.parametrize(
        ("codes", "options", "message"),
        [
            (torch.tensor([[256]]), {}, "code 256 does not fit 8 bits"),
            (torch.tensor([[0.5]]), {}, "codes are integers in the shape of a weight"),
            (torch.tensor([[1]]), {"like": nn.Linear(2, 1)}, "codes are integers in the shape of a weight"),
            (torch.tensor([[1]]), {"bits": 7}, "cells of 2 bits do not divide weights of 7 bits"),
            (torch.tensor([[1]]), {"input_bits": 9}, "wider than the schedule"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_that_fit_no_word_are_refused(self, codes: Tensor, options: dict[str, Any], message: str) -> None:
        with pytest.raises(BitsliceError, match=message):
            map_codes(codes, **options)


class TestExport:
    def test_the_file_holds_every_weight_and_its_place(self, tmp_path: Path) -> None:
        x = signed(2, 4, 6, 6)
        model = ready(nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(216, 3)), x)
        layers = crossbar.map_network(model, x, Crossbar(rows=16, row_order=crossbar.RowOrder.SPREAD))
        crossbar.export_slices(layers, tmp_path / "slices.npz")
        with np.load(tmp_path / "slices.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        listed = json.loads(str(arrays["layers"]))
        assert [(entry["name"], entry.get("kernel")) for entry in listed] == [
            ("0", [3, 3]),
            ("2", None),
        ]
        for layer, tensor in zip(layers, bitslice.quantized_tensors(nn.Sequential(model[0], model[2])), strict=False):
            levels = torch.from_numpy(arrays[f"{layer.name}/levels"]).long()
            codes = sum((levels[:, 0, k] - levels[:, 1, k]) << 2 * k for k in range(4))
            assert torch.equal(codes, layer.codes.long())
            tiles = arrays[f"{layer.name}/tiles"]
            assert tiles.shape == (layer.row_tiles, 16)
            assert sorted(tiles[tiles >= 0].tolist()) == list(range(layer.wordlines))
            assert arrays[f"{layer.name}/step"] == layer.step.numpy()
            assert tensor.quantizer.bits == 8


class TestOnnx:
    @pytest.mark.parametrize("bits", [7, 8])
    def test_predicts_the_same_from_words_of_quantizers(self, tmp_path: Path, bits: int) -> None:
        onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
        x = signed(6, 2, 5, 5)
        model = nn.Sequential(nn.Conv2d(2, 300, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2700, 4))
        model = ready(model, x, bits=bits, activation_bits=bits)
        bitslice.export_onnx(model, x[:2], tmp_path / "network.onnx")
        graph = onnx.load(tmp_path / "network.onnx").graph
        kinds = [node.op_type for node in graph.node]
        assert (kinds.count("QuantizeLinear"), "Round" in kinds) == (2, False)
        words = {each.name: each for each in graph.initializer if each.name.endswith(("_zero", "_codes"))}
        assert {each.data_type for each in words.values()} == {
            getattr(onnx.TensorProto, "INT8" if bits == 7 else "INT16")
        }
        (weight,) = (onnx.numpy_helper.to_array(each) for each in words.values() if list(each.dims) == [4, 2700])
        assert np.array_equal(weight, list(bitslice.quantized_tensors(model))[2].codes().numpy())
        session = runtime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
        for images in (x, 3 * signed(20, 2, 5, 5, seed=3)):  # beyond the scales, where codes end
            found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
            assert torch.equal(found, model(images))

    def test_needs_a_quantized_network(self, tmp_path: Path) -> None:
        with pytest.raises(BitsliceError, match="needs a quantized model"):
            bitslice.export_onnx(nn.Linear(2, 2), rand(2, 2), tmp_path / "x.onnx")


def test_sums_beyond_two_bytes_are_counted_the_same_with_and_without_the_kernel() -> None:
    hardware = Crossbar(rows=512, cell_bits=8, dac_bits=8)
    x = rand(3, 300)
    model = ready(nn.Sequential(nn.Linear(300, 2)), x)
    (sums,) = crossbar.bitline_sums(model, crossbar.map_network(model, x, hardware), x)
    codes, words = next(bitslice.quantized_tensors(model)).codes(), (model[0].input_quantizer(x) * 256).round().long()
    for sign, side in enumerate((codes.clamp_min(0), -codes.clamp_max(0))):
        expected = (words @ side.T.long()).flatten()
        assert torch.equal(sums.counts[0, sign, 0].nonzero().flatten(), expected.unique())


def test_an_adc_with_a_step_that_is_no_power_of_two_is_the_same_for_every_layer() -> None:
    x = rand(2, 3, 6, 6)
    model = ready(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), x)
    assert not torch.equal(on_arrays(model, x, (Adc(3, 3), 4, 4, None))(x), model(x))
