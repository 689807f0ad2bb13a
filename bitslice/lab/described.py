"""A crossbar, and a layer on it, as plain values, the form in which reports keep them."""

import enum
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NotRequired

import torch
from typing_extensions import TypedDict

from bitslice.crossbar import BitlineSums, Crossbar, LayerSums, MappedLayer, RowOrder, SignedInputs

QUANTILES = (0.5, 0.9, 0.99, 0.999)
"""Shares of all conversions for which a report names the sum that they do not exceed."""


class DescribedSums(TypedDict):
    """Bitline sums of one slice of a layer; ``counts`` ends at the largest sum observed."""

    bound: int
    bound_bits: int
    observed: int
    observed_bits: int
    quantiles: dict[str, int]
    counts: list[int]


class DescribedLayer(TypedDict):
    """A mapped layer, see :class:`bitslice.crossbar.MappedLayer`. Lists of slices, and the innermost ones by tile, are
    in order B0 first."""

    name: str
    groups: int
    wordlines: int
    outputs: int
    row_tiles: int
    arrays: int
    unused_rows: NotRequired[int]
    unused_columns: NotRequired[int]
    utilization: float
    signed: bool
    vectors: int
    cycles: int
    conversions: list[int]
    conversions_of_used: list[int]
    slices: list[DescribedSums]
    tile_bounds: list[list[list[int]]]
    tile_observed: list[list[list[int]]]


def describe_geometry(crossbar: Crossbar) -> dict[str, Any]:
    """A crossbar's geometry as plain values."""
    return {name: v.value if isinstance(v, enum.Enum) else v for name, v in asdict(crossbar).items()}


def geometry(values: Mapping[str, Any]) -> Crossbar:
    """Inverse of :func:`describe_geometry`; what is missing is as a default crossbar has it."""
    whole = {**describe_geometry(Crossbar()), **values}
    order, signed = RowOrder(whole["row_order"]), SignedInputs(whole["signed_inputs"])
    return Crossbar(**{**whole, "row_order": order, "signed_inputs": signed})


def describe_sums(sums: BitlineSums) -> DescribedSums:
    """Bitline sums of one slice of a layer as plain values; ``counts`` ends at the largest sum observed."""
    return {
        "bound": sums.bound,
        "bound_bits": sums.bound_bits,
        "observed": sums.observed,
        "observed_bits": sums.observed_bits,
        "quantiles": {str(share): sums.quantile(share) for share in QUANTILES},
        "counts": sums.counts[: sums.observed + 1].tolist(),
    }


def describe(mapped: MappedLayer, sums: LayerSums) -> DescribedLayer:
    """One layer as plain values."""
    reached = sums.counts.ne(0) * torch.arange(sums.counts.shape[-1])
    return {
        "name": mapped.name,
        "groups": mapped.groups,
        "wordlines": mapped.wordlines,
        "outputs": mapped.outputs,
        "row_tiles": mapped.row_tiles,
        "arrays": mapped.arrays,
        "unused_rows": mapped.unused[0],
        "unused_columns": mapped.unused[1],
        "utilization": mapped.utilization,
        "signed": mapped.signed,
        "vectors": mapped.vectors,
        "cycles": mapped.cycles,
        "conversions": mapped.conversions().tolist(),
        "conversions_of_used": mapped.conversions_of_used().tolist(),
        "slices": [describe_sums(sums.of_slice(k)) for k in range(mapped.slices)],
        "tile_bounds": sums.bounds.tolist(),
        "tile_observed": reached.amax(dim=3).tolist(),
    }
