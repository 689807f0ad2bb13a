"""The native elementwise passes give torch's own results, bit for bit, at every vector level and thread count."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from bitslice import native
from bitslice.crossbar.drive import whole_numbers
from bitslice.fixed_point import FixedPoint, Rounding, fake_quantize, power_of_two_step
from bitslice.native import VARIABLE, Level, elementwise, levels, library
from bitslice.regularizers import _SliceSum

pytestmark = pytest.mark.skipif(not levels(), reason="the kernels are not built here")

BFLOAT16 = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
"""Every number of the format, infinities and NaN among them."""


def random(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(0))


def random_bits(count: int) -> Tensor:
    drawn = torch.randint(-(2**31), 2**31, (count,), generator=torch.Generator().manual_seed(0))
    return drawn.to(torch.int32).view(torch.float32)


INPUTS = {
    "bfloat16": BFLOAT16,
    "finite bfloat16": BFLOAT16[BFLOAT16.isfinite()],
    "random bfloat16": random(200_001).bfloat16(),
    "random": random(200_001),
    "any bits": random_bits(20_003),
    "ties": torch.arange(-700, 701) / 2 * 2.0**-9,
    "zero": torch.tensor([0.0, -0.0]),
    "tiny": torch.tensor([1e-42, -1e-30, -0.0]),
    "infinity": torch.tensor([1.0, -math.inf, 0.0, -0.0]),
    "nan": torch.tensor([1.0, math.nan, -0.0]),
    "channels last": random(2 * 3 * 5 * 7).view(2, 3, 5, 7).to(memory_format=torch.channels_last),
}


@pytest.fixture(params=Level)
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A check that a function of nothing gives the same tensors at the level and by torch alone, signs of zero too."""
    if request.param not in levels():
        pytest.skip("this CPU lacks it")

    def check(function: Callable[[], list[Tensor]]) -> None:
        results = []
        for choice in (request.param.value, "off"):
            monkeypatch.setenv(VARIABLE, choice)
            library.cache_clear()
            results.append(function())
        for ours, torchs in zip(*results, strict=True):
            assert ours.dtype == torchs.dtype
            assert ours.stride() == torchs.stride()
            integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[ours.element_size()]
            bits = [x.masked_fill(x.isnan(), math.nan if x.is_floating_point() else 0) for x in (ours, torchs)]
            bits = [x.view(integer) for x in bits]
            assert torch.equal(*bits)

    yield check
    library.cache_clear()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_quantizer(compared: Callable[..., None], name: str, bits: int) -> None:
    x = INPUTS[name]

    def quantized() -> list[Tensor]:
        step = power_of_two_step(x, bits)
        return [step, *(fake_quantize(x, step * scale, bits, how) for scale in (0.125, 1, 4) for how in Rounding)]

    compared(quantized)


@pytest.mark.parametrize("name", [name for name, x in INPUTS.items() if x.dtype is torch.float32])
@pytest.mark.parametrize(("bits", "cell_bits"), [(8, 2), (1, 1), (6, 3), (16, 1), (16, 16)])
def test_bit_slice_l1(compared: Callable[..., None], name: str, bits: int, cell_bits: int) -> None:
    def regularized() -> list[Tensor]:
        w = INPUTS[name].clone().requires_grad_()
        total = _SliceSum.apply(w, power_of_two_step(w, bits), bits, cell_bits)
        (total * 0.37e-3).backward()
        assert w.grad is not None
        return [total.detach(), w.grad]

    compared(regularized)


@pytest.mark.parametrize("count", [0, 1, 1000, 100_003])
@pytest.mark.parametrize("smallest", [0, -1])
def test_words_of_a_layer_on_crossbars(compared: Callable[..., None], count: int, smallest: int) -> None:
    x = torch.randint(max(smallest, 0), 256, (count,), generator=torch.Generator().manual_seed(0)) * 2.0**-5
    x[count // 2 :] *= -1 if smallest else 1

    def words() -> list[Tensor]:
        codes, negative = whole_numbers(x, torch.tensor(2.0**-5), torch.uint8)
        assert negative is bool(smallest and count)
        return [codes] if not negative else []

    compared(words)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_threads(compared: Callable[..., None], threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        test_quantizer(compared, "random", 8)
        test_quantizer(compared, "random bfloat16", 8)
        test_bit_slice_l1(compared, "random", 8, 2)
        test_words_of_a_layer_on_crossbars(compared, 100_003, -1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_formats_stay_with_torch(dtype: torch.dtype) -> None:
    assert elementwise.applies(random(3))
    x = random(1000).to(dtype)
    assert not elementwise.applies(x)
    assert FixedPoint()(x).dtype == dtype


def test_compiled_code_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert native.library() is not None
    assert not elementwise.applies(random(3))
