"""``bitslice crossbar``: simulate a network on ReRAM crossbars."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitslice.errors import BitsliceError

if TYPE_CHECKING:  # importing torch takes longer than --help
    from bitslice.crossbar import AdcChoice, Crossbar


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    crossbar = commands.add_parser("crossbar", help="simulate a network on ReRAM crossbars")
    verbs = crossbar.add_subparsers(dest="verb", required=True, metavar="VERB")
    report = verbs.add_parser("report", help="bitline sums, and accuracy and cost of ADC resolutions")
    tolerance = verbs.add_parser("tolerance", help="accuracy with cells that are not ideal")
    export = verbs.add_parser("export", help="write cell levels and where they lie, for other simulators")
    for verb in (report, tolerance, export):
        verb.add_argument(
            "network", metavar="RUN", help="a run's record, or package.module:function giving (model, images, labels)"
        )
        verb.add_argument("--rows", type=int, default=128, help="wordlines of an array (default 128)")
        verb.add_argument("--columns", type=int, default=128, help="bitlines of an array (default 128)")
        verb.add_argument("--cell-bits", type=int, default=2, help="bits of a cell (default 2)")
        verb.add_argument("--dac-bits", type=int, default=1, help="input bits a cycle (default 1)")
        verb.add_argument("--signed-inputs", default="two_phase", help="two_phase (default) or offset")
        verb.add_argument("--row-order", default="consecutive", help="consecutive (default) or spread")
        if verb is not export:
            verb.add_argument("--images", type=int, help="test images (default: all)")
            verb.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
            verb.add_argument("--json", action="store_true", help="print JSON")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the file, as the API page says")
    export.set_defaults(run=run_export)
    report.add_argument(
        "--adc-bits",
        action="append",
        metavar="B0,B1,B2,B3",
        help="resolutions, least significant slice first, or ideal; 3x2: 3 bits with a step of 2; or a JSON file of "
        "settings by layers' names and patterns; repeatable (default: a list from 8 to 2)",
    )
    report.add_argument(
        "--adc-mean",
        metavar="BITS,...",
        help="ADCs of so many bits on average, allocated to layers and slices on the images of --adc-levels",
    )
    report.add_argument("--headroom", type=int, default=0, help="highest bits of a weight left 0 (default 0)")
    report.add_argument("--observed-images", type=int, default=200, help="images for bitline sums (default 200)")
    report.add_argument(
        "--calibrate",
        type=int,
        metavar="IMAGES",
        help="estimate batch normalization again through the ADCs, on so many training images (default: not)",
    )
    report.add_argument(
        "--adc-levels",
        type=int,
        metavar="IMAGES",
        help="find every layer's ADC levels on so many training images (default: as --adc-bits says)",
    )
    report.add_argument(
        "--judge",
        type=int,
        metavar="IMAGES",
        help="classify so many of the last training images too, to choose ADCs by (default: none)",
    )
    report.add_argument("--cost-model", default="components", help="of the ADC (default components: ISAAC's)")
    report.set_defaults(run=run_report)
    tolerance.add_argument("--adc-bits", default="8,8,8,8", metavar="B0,B1,B2,B3", help="as for report (default 8)")
    tolerance.add_argument("--seeds", type=int, default=3, help="chips drawn for each strength (default 3)")
    tolerance.set_defaults(run=run_tolerance)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise BitsliceError(f"--{name} must be at least 1, not {value}")
    return value


def _numbers(name: str, text: str | None) -> list[float]:
    try:
        return [float(word) for word in text.split(",")] if text else []
    except ValueError as error:
        raise BitsliceError(f"--{name} takes numbers, as 2.5,2, not {text!r}") from error


def _crossbar(options: argparse.Namespace) -> "Crossbar":
    from bitslice.crossbar import Crossbar, RowOrder, SignedInputs
    from bitslice.lab.names import by_value

    signed = by_value(SignedInputs, options.signed_inputs)
    order = by_value(RowOrder, options.row_order)
    geometry = (options.rows, options.columns, options.cell_bits, options.dac_bits)
    return Crossbar(*geometry, signed_inputs=signed, row_order=order)


def _adcs(text: str) -> "AdcChoice":
    """ADCs from the command line: words, or a JSON file of settings by layer."""
    from bitslice.crossbar.adc import adc_setting, from_json
    from bitslice.lab.disk import read_json

    return read_json(Path(text), "choice of ADCs", from_json) if text.endswith(".json") else adc_setting(text)


def run_report(options: argparse.Namespace) -> None:
    """Carry out ``report``."""
    import torch

    from bitslice.costs.designs import anchored
    from bitslice.costs.models import ADC_MODELS
    from bitslice.lab.names import by_name
    from bitslice.lab.report import STANDARD, report
    from bitslice.lab.subjects import network_and_images, training_images

    means = _numbers("adc-mean", options.adc_mean)
    settings = [_adcs(text) for text in options.adc_bits] if options.adc_bits else () if means else STANDARD
    crossbar = _crossbar(options)
    adc = anchored(by_name("cost model", ADC_MODELS, options.cost_model))
    torch.set_num_threads(_at_least_one("threads", options.threads))
    model, images, labels = network_and_images(options.network, options.images)
    calibration, shown = (
        None if count is None else training_images(options.network, _at_least_one(name, count))[0]
        for name, count in (("calibrate", options.calibrate), ("adc-levels", options.adc_levels))
    )
    judge = None if options.judge is None else _at_least_one("judge", options.judge)
    found = report(
        model,
        images,
        labels,
        settings,
        adc,
        crossbar,
        min(options.observed_images, len(images)),
        options.headroom,
        calibration,
        shown,
        means,
        None if judge is None else training_images(options.network, judge, last=True),
        network=options.network,
        say=_progress,
    )
    print(json.dumps(found.to_dict()) if options.json else "\n".join(found.lines()))


def run_tolerance(options: argparse.Namespace) -> None:
    """Carry out ``tolerance``."""
    import torch

    from bitslice.crossbar import adc_setting
    from bitslice.lab.subjects import network_and_images
    from bitslice.lab.tolerance import tolerance

    bits, crossbar = adc_setting(options.adc_bits), _crossbar(options)
    torch.set_num_threads(_at_least_one("threads", options.threads))
    model, images, labels = network_and_images(options.network, options.images)
    found = tolerance(
        model, images, labels, bits, options.seeds, crossbar=crossbar, network=options.network, say=_progress
    )
    print(json.dumps(found.to_dict()) if options.json else "\n".join(found.lines()))


def run_export(options: argparse.Namespace) -> None:
    """Carry out ``export``."""
    from bitslice.crossbar import export_slices, map_network
    from bitslice.lab.subjects import network_and_images

    model, images, _ = network_and_images(options.network, 100)  # which tell the inputs' signs
    layers = map_network(model, images, _crossbar(options))
    export_slices(layers, options.out)
    print(f"{options.out}: {len(layers)} layers, {sum(layer.arrays for layer in layers)} arrays")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
