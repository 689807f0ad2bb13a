"""Vertical counters against the naive form, bit for bit, at every vector level of this CPU."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bitslice import native
from bitslice.crossbar import Adc, Crossbar, RowOrder, Unfold
from bitslice.crossbar.adc import LARGEST
from bitslice.crossbar.drive import digits
from bitslice.crossbar.kernel import Counters, counter_planes, row_lists
from bitslice.crossbar.reference import naive
from bitslice.errors import BitsliceError
from bitslice.native import Level
from bitslice.slices import cell_levels, to_slices

RANDOM = torch.Generator().manual_seed(0)
PIXEL, DEFAULT, THREE_BITS = Unfold(), Crossbar(), Adc(3)


@pytest.fixture(params=native.levels(), ids=lambda level: level.value, autouse=True)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Level:
    library = ctypes.CDLL(native.library_file(request.param))
    monkeypatch.setattr(native, "library", lambda: library)
    return request.param


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Case:
    """A matrix, what drives it, and the hardware it is on."""

    weights: Tensor  # (wordlines, outputs)
    inputs: Tensor  # (images, channels, height, width)
    unfold: Unfold = PIXEL
    crossbar: Crossbar = DEFAULT
    adc: Adc = THREE_BITS
    bits: int = 8
    input_bits: int = 8

    @property
    def adcs(self) -> tuple[Adc, ...]:
        return (self.adc,) * (self.bits // self.crossbar.cell_bits)

    @property
    def everything(self) -> Tensor:
        tiles = -(-len(self.weights) // self.crossbar.rows)
        return torch.ones(tiles, 2, len(self.adcs), self.weights.shape[1], dtype=torch.bool)

    @property
    def words(self) -> Tensor:
        return self.inputs.to(torch.uint8 if self.input_bits <= 8 else torch.uint16)

    def counters(self) -> Counters:
        return Counters(self.weights, self.everything, self.adcs, self.crossbar, self.bits)

    def empty(self) -> Tensor:
        size = self.unfold.output_size(*self.inputs.shape[2:])
        return torch.zeros(len(self.inputs), self.weights.shape[1], *size, dtype=torch.int32)

    def simulated(self, padding: int = 0) -> Tensor:
        result = self.empty()
        self.counters().add(result, self.words, self.unfold, self.input_bits, padding=padding)
        return result

    def vectors(self, padding: int = 0) -> Tensor:
        (top, left), unfold = self.unfold.padding, self.unfold
        padded = torch.nn.functional.pad(self.inputs.double(), (left, left, top, top), value=padding)
        columns = torch.nn.functional.unfold(padded, unfold.kernel, unfold.dilation, 0, unfold.stride)
        return columns.transpose(1, 2).flatten(0, 1).long()

    def expected(self, padding: int = 0) -> Tensor:
        """By the naive form."""
        result = self.empty()
        product = naive(self.weights, self.vectors(padding), self.crossbar, self.adcs, self.bits, self.input_bits)
        return product.unflatten(0, (len(result), -1)).transpose(1, 2).reshape(result.shape).int()


def weights(wordlines: int, outputs: int = 4, bits: int = 8) -> Tensor:
    return torch.randint(1 - 2**bits, 2**bits, (wordlines, outputs), generator=RANDOM, dtype=torch.int32)


def inputs(*shape: int, bits: int = 8) -> Tensor:
    return torch.randint(0, 2**bits, shape, generator=RANDOM)


def linear(wordlines: int, vectors: int = 37, **options: object) -> Case:
    return Case(weights(wordlines), inputs(1, wordlines, 1, vectors), **options)


@pytest.mark.parametrize("bits", range(1, 13))
@pytest.mark.parametrize("step", [1, 2, 4])
def test_adcs(bits: int, step: int) -> None:
    case = linear(144, adc=Adc(bits, step))
    assert torch.equal(case.simulated(), case.expected())


@pytest.mark.parametrize("threshold", [1, 2, 3, 5, 8, 21, 64, 200, 385, 1000])
@pytest.mark.parametrize("step", [1, 2, 16])
@pytest.mark.parametrize("bits", [1, 3])
def test_thresholds(bits: int, step: int, threshold: int) -> None:
    if bits > 1 and threshold > step:
        with pytest.raises(BitsliceError, match=f"its step of {step}, not {threshold}"):
            Adc(bits, step, threshold)
        return
    case = linear(144, adc=Adc(bits, step, threshold))
    assert torch.equal(case.simulated(), case.expected())
    few = Case(weights(5).clamp(-5, 5), inputs(1, 5, 1, 37), adc=case.adc)  # sums that may never reach the threshold
    assert torch.equal(few.simulated(), few.expected())


@pytest.mark.parametrize("cell_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("dac_bits", [1, 2, 3, 4])
@pytest.mark.parametrize("adc", [Adc(None), Adc(2), Adc(5, step=2)])
def test_cells_and_digits(cell_bits: int, dac_bits: int, adc: Adc) -> None:
    case = linear(130, crossbar=Crossbar(cell_bits=cell_bits, dac_bits=dac_bits), adc=adc)
    assert torch.equal(case.simulated(), case.expected())


@pytest.mark.parametrize(
    "unfold",
    [
        Unfold((3, 3), (1, 1), (1, 1)),
        Unfold((3, 3), (2, 2), (1, 1)),
        Unfold((1, 1), (2, 2)),
        Unfold((2, 3), (1, 3), (0, 2), (2, 1)),
        Unfold((3, 3), (3, 1), (2, 2), (1, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("padding", [0, 128])
def test_convolutions(unfold: Unfold, padding: int) -> None:
    case = Case(
        weights(3 * unfold.kernel[0] * unfold.kernel[1]), inputs(5, 3, 7, 19), unfold, Crossbar(rows=16), Adc(2)
    )
    assert torch.equal(case.simulated(padding), case.expected(padding))


@pytest.mark.parametrize(("rows", "wordlines"), [(1, 3), (2, 5), (128, 1), (128, 128), (128, 129), (5, 23), (300, 250)])
def test_tiles(rows: int, wordlines: int) -> None:
    case = linear(wordlines, crossbar=Crossbar(rows=rows), adc=Adc(2))
    assert torch.equal(case.simulated(), case.expected())


@pytest.mark.parametrize("vectors", [1, 15, 16, 17, 127, 128, 129, 511, 512, 513, 1100])
def test_every_number_of_positions(vectors: int) -> None:
    case = linear(9, vectors, adc=Adc(1))
    assert torch.equal(case.simulated(), case.expected())


@pytest.mark.parametrize("weight", [0, 85, 255, -255])
@pytest.mark.parametrize("code", [0, 1, 255])
@pytest.mark.parametrize("adc", [Adc(1), Adc(9), Adc(3, step=8)])
def test_extremes(weight: int, code: int, adc: Adc) -> None:
    case = Case(torch.full((144, 2), weight, dtype=torch.int32), torch.full((1, 144, 1, 20), code), adc=adc)
    assert torch.equal(case.simulated(), case.expected())


def test_one_hot() -> None:
    rows = [0, 1, 127, 128, 129]
    case = Case(
        torch.eye(130, dtype=torch.int32)[:, rows] * 255, torch.eye(130)[None, :, None].long() * 255, adc=Adc(1)
    )
    assert torch.equal(case.simulated(), case.expected())


@pytest.mark.parametrize("input_bits", [1, 5, 9, 16])
@pytest.mark.parametrize("dac_bits", [1, 4])
def test_input_words(input_bits: int, dac_bits: int) -> None:
    crossbar = Crossbar(dac_bits=dac_bits, cell_bits=1)
    case = Case(
        weights(20, bits=4), inputs(1, 20, 1, 30, bits=input_bits), crossbar=crossbar, bits=4, input_bits=input_bits
    )
    assert torch.equal(case.simulated(), case.expected())


def test_an_adc_of_its_own_for_every_slice_and_only_the_chosen_bitlines() -> None:
    case = linear(144)
    adcs = (Adc(1), Adc(3, step=2), Adc(None), Adc(2))
    chosen = torch.rand(case.everything.shape, generator=RANDOM) < 0.5
    result = case.empty()
    Counters(case.weights, chosen, adcs, case.crossbar, 8).add(result, case.words, case.unfold, 8)
    expected = torch.zeros(37, 4, dtype=torch.int64)
    for tile, rows in enumerate((slice(0, 128), slice(128, 144))):
        for sign in range(2):
            side = (case.weights[rows] * (1 - 2 * sign)).clamp_min(0)
            for k in range(4):
                part = (to_slices(side)[k].int() << 2 * k) * chosen[tile, sign, k] * (1 - 2 * sign)
                expected += naive(part, case.vectors()[:, rows], case.crossbar, adcs)
    assert torch.equal(result[0, :, 0].T.long(), expected)


def test_a_phase_is_added_or_subtracted_in_place_and_images_may_lie_apart() -> None:
    case = Case(weights(9), inputs(3, 1, 6, 6), Unfold((3, 3)), adc=Adc(2))
    both = torch.full((3, 8, 4, 4), 7, dtype=torch.int32)
    for half, sign in zip(both.chunk(2, dim=1), (1, -1), strict=True):
        case.counters().add(half, case.words, case.unfold, 8, sign)
    assert torch.equal(both[:, :4] - 7, case.expected())
    assert torch.equal(both[:, 4:] - 7, -case.expected())


def test_threads_do_not_change_results() -> None:
    case = linear(60, 1500)
    one, statistics = case.simulated(), case.counters().statistics(case.words, case.unfold, 8)
    torch.set_num_threads(2)
    assert torch.equal(case.simulated(), one)
    assert torch.equal(case.counters().statistics(case.words, case.unfold, 8), statistics)


@pytest.mark.parametrize(
    "case",
    [
        linear(144, 513),
        linear(144, crossbar=Crossbar(rows=50, cell_bits=4, dac_bits=2)),
        linear(144, crossbar=Crossbar(rows=50, row_order=RowOrder.SPREAD)),
        Case(weights(300), torch.full((1, 300, 1, 9), 255), crossbar=Crossbar(rows=300, dac_bits=2)),
        Case(torch.zeros(9, 3, dtype=torch.int32), inputs(4, 1, 5, 5), Unfold((3, 3), padding=(1, 1))),
    ],
    ids=["ragged", "digits", "spread", "sums beyond a byte", "empty"],
)
def test_statistics_count_every_conversion(case: Case) -> None:
    histogram = case.counters().statistics(case.words, case.unfold, case.input_bits)
    expected = torch.zeros_like(histogram)
    tiles = case.crossbar.tiles(len(case.weights))
    for sign, side in enumerate((case.weights.clamp_min(0), (-case.weights).clamp_min(0))):
        for k, cells in enumerate(to_slices(side, 8, case.crossbar.cell_bits)):
            driven = digits(case.vectors(), case.crossbar, 8).double()
            for tile, rows in enumerate(tiles):
                sums = (driven[:, :, rows] @ cells[rows].double()).long()
                expected[tile, sign, k] = sums.flatten().bincount(minlength=histogram.shape[3])
    assert torch.equal(histogram, expected)


def test_where_nothing_is_simulated_nothing_is_added() -> None:
    case = linear(10)
    result = case.empty()
    Counters(case.weights, ~case.everything, case.adcs, case.crossbar, 8).add(result, case.words, case.unfold, 8)
    assert not result.any()


@pytest.mark.parametrize(
    ("words", "bits", "message"),
    [
        (inputs(1, 10, 1, 5).int(), 8, r"inputs up to 8 bits are uint8, .* 8 bits came as torch.int32"),
        (inputs(1, 10, 1, 5).to(torch.uint16), 17, "17 bits came as torch.uint16"),
        (inputs(1, 9, 1, 5).byte(), 8, r"9 channels under a kernel of \(1, 1\) are not 10 wordlines"),
        (torch.full((1, 10, 1, 5), 128).byte(), 7, "input code 128 does not fit 7 bits"),
        (inputs(1, 10, 1, 0).byte(), 8, r"images of \(1, 0\) are smaller than a kernel of \(1, 1\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(words: Tensor, bits: int, message: str) -> None:
    with pytest.raises(BitsliceError, match=message):
        linear(10).counters().statistics(words, PIXEL, bits)


def test_results_that_do_not_fit_are_refused() -> None:
    case = linear(10)
    result = case.empty()
    for wrong in (result.long(), result[:, :3], torch.cat([result, result], dim=3)[..., ::2]):
        with pytest.raises(BitsliceError, match=r"must be contiguous int32 \(1, 4, 1, 37\)"):
            case.counters().add(wrong, case.words, case.unfold, 8)


def test_matrices_that_do_not_fit_are_refused() -> None:
    case = linear(10)
    with pytest.raises(BitsliceError, match=r"\(0, 2, 4, 4\) bitlines and 4 ADCs do not fit \(1, 2, 4, 4\)"):
        Counters(case.weights, case.everything[1:], case.adcs, case.crossbar, 8)
    with pytest.raises(BitsliceError, match="at most 65535 rows, not 65536"):
        Counters(torch.ones(65536, 1, dtype=torch.int32), case.everything, case.adcs, Crossbar(rows=10**6), 8)
    with pytest.raises(BitsliceError, match="steps that are powers of two, not 3"):
        linear(10, adc=Adc(1, step=3)).counters()
    with pytest.raises(BitsliceError, match="code 256 does not fit 8 bits"):
        Counters(torch.full((10, 4), -256, dtype=torch.int32), case.everything, case.adcs, case.crossbar, 8)


def test_a_counter_has_at_most_the_planes_of_the_kernel() -> None:
    edges = (1, 2, LARGEST // 2, LARGEST)
    found = [Adc(bits, step, threshold) for bits in range(2, 17) for step in edges for threshold in {1, step}]
    found += [Adc(1, step, threshold) for step in edges for threshold in (*edges, LARGEST // 2 + 1)]
    sums = 65535 * (2**8 - 1) * Crossbar(dac_bits=8).largest_digit
    planes = [counter_planes(sums, adc)[0] for adc in (Adc(None), *found)]
    assert max(planes) == 32  # SUM_BITS of crossbar.h


@pytest.mark.parametrize("cell_bits", [1, 2, 4, 8])
def test_row_lists_name_every_set_bit_once(cell_bits: int) -> None:
    columns = weights(7 * 5, 6).reshape(6, 5, 7)
    columns[torch.rand(columns.shape, generator=RANDOM) < 0.6] = 0
    slices = 8 // cell_bits
    simulated = torch.rand(6, 5, 2, slices, generator=RANDOM) < 0.7
    jobs, sums, starts, indices = row_lists(columns, simulated, 8, cell_bits)
    lists = [indices[a:b].tolist() for a, b in pairwise(starts)]
    levels = cell_levels(columns, 8, cell_bits)  # sign, slice, output, tile, row
    expected = [
        (output, tile, sign, k)
        for output, tile, sign, k in torch.cartesian_prod(*map(torch.arange, (6, 5, 2, slices))).tolist()
        if simulated[output, tile, sign, k] and levels[sign, k, output, tile].any()
    ]
    assert [tuple(job) for job in jobs.tolist()] == expected
    for place, (output, tile, sign, k) in enumerate(expected):
        cells = levels[sign, k, output, tile]
        assert sums[place] == cells.sum()
        for bit in range(cell_bits):
            rows = (cells >> bit & 1).nonzero().flatten().tolist()
            assert lists[place * cell_bits + bit] == rows + [7] * (len(rows) % 2)


def test_a_result_beyond_int32_is_refused() -> None:
    case = Case(torch.full((200, 1), 255, dtype=torch.int32), inputs(1, 200, 1, 3), adc=Adc(None), input_bits=16)
    with pytest.raises(BitsliceError, match="may sum to 3342285000 on the crossbar, beyond the largest int32"):
        case.simulated()


def test_sums_too_large_for_statistics_are_refused() -> None:
    case = linear(300, crossbar=Crossbar(rows=300, cell_bits=8))
    with pytest.raises(BitsliceError, match="sums up to 65535, not 76500"):
        case.counters().statistics(case.words, case.unfold, 8)


def test_without_kernels_a_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(BitsliceError, match="install bitslice with a C compiler"):
        linear(3).simulated()
