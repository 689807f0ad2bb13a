"""Codes to bit slices and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitslice.errors import BitsliceError
from bitslice.slices import density, from_slices, nonzero_counts, slice_count, to_slices

WORDS = [(bits, cell) for bits in range(1, 17) for cell in range(1, bits + 1) if bits % cell == 0]


@pytest.mark.parametrize(("bits", "cell_bits"), WORDS)
def test_every_code_comes_back_from_its_slices(bits: int, cell_bits: int) -> None:
    codes = torch.arange(2**bits, dtype=torch.int32)
    slices = to_slices(codes, bits, cell_bits)
    assert slices.shape == (bits // cell_bits, 2**bits)
    assert int(slices.max()) == 2**cell_bits - 1
    assert torch.equal(from_slices(slices, cell_bits), codes)


@given(st.lists(st.integers(-255, 255), min_size=1, max_size=20), st.sampled_from([1, 2, 4, 8]))
def test_slices_are_the_digits_of_the_magnitude(codes: list[int], cell_bits: int) -> None:
    slices = to_slices(torch.tensor(codes), 8, cell_bits)
    base = 2**cell_bits
    for column, code in zip(slices.T.tolist(), codes, strict=True):
        digits, rest = [], abs(code)
        for _ in column:
            rest, digit = divmod(rest, base)
            digits.append(digit)
        assert column == digits


def test_slices_keep_the_shape_and_need_no_sign() -> None:
    codes = torch.tensor([[[228, -228], [0, -1]]], dtype=torch.int16)
    slices = to_slices(codes)
    assert slices.shape == (4, 1, 2, 2)
    assert slices.dtype == torch.uint8
    assert slices[:, 0, 0, 0].tolist() == slices[:, 0, 0, 1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("bits", "cell_bits"), [(8, 3), (8, 16), (7, 2), (8, 0), (8, -2)])
def test_cells_that_do_not_divide_the_word_are_refused(bits: int, cell_bits: int) -> None:
    with pytest.raises(BitsliceError, match=f"{cell_bits} bits do not divide a word of {bits} bits"):
        slice_count(bits, cell_bits)
    with pytest.raises(BitsliceError):
        to_slices(torch.tensor([1]), bits, cell_bits)


@pytest.mark.parametrize("code", [256, -256, 4000])
def test_a_code_too_large_for_its_word_is_refused(code: int) -> None:
    with pytest.raises(BitsliceError, match=f"code {abs(code)} does not fit 8 bits"):
        to_slices(torch.tensor([0, code]))


def test_density_is_in_percent_and_lists_the_most_significant_slice_first() -> None:
    # Of 8 codes: 64 uses B3 only, 16 B2, 20 B2 and B1, 1 B0, -3 B0, 255 all, two are zero.
    codes = torch.tensor([64, 16, 20, 1, -3, 255, 0, 0])
    assert density([codes]) == [100 * 2 / 8, 100 * 3 / 8, 100 * 2 / 8, 100 * 3 / 8]
    assert nonzero_counts(codes).tolist() == [3, 2, 3, 2]  # B0 first


def test_density_pools_all_tensors_so_that_a_big_one_dominates() -> None:
    empty, full = torch.zeros(30, 10, dtype=torch.int32), torch.full((100,), 255)
    assert density([empty, full]) == [25.0] * 4
    assert density(iter([full, empty]), cell_bits=4) == [25.0] * 2


def test_density_of_nothing_is_zero() -> None:
    assert density([]) == [0.0] * 4
    assert density([torch.zeros(0, dtype=torch.int32)]) == [0.0] * 4
