"""The command line: ``bitslice fetch``, ``train``, ``results``, ``crossbar``, ``notebook``.

Errors are one line and status 2.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bitslice.errors import BitsliceError

if TYPE_CHECKING:  # importing torch takes longer than --help
    from bitslice.crossbar import Crossbar


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line too."""

    def error(self, message: str) -> NoReturn:
        raise BitsliceError(f"{message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="bitslice", description="Bit-slice sparsity for ReRAM accelerators, reproduced.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="fetch and verify a data set")
    fetch.add_argument("data_set", metavar="DATA_SET", help="mnist or cifar10")
    fetch.set_defaults(run=_fetch)

    train = commands.add_parser("train", help="train one configuration; writes a record and integer weights")
    train.add_argument("experiment", help="mnist, cifar10-resnet20, cifar10-vgg11 or cifar10-vgg11-bn")
    train.add_argument("--method", required=True, help="float, quantized, pruned, l1, bl1 or bl0")
    train.add_argument("--profile", default="quick", help="smoke, quick (default), cpu or paper")
    train.add_argument("--seed", type=int, default=0, help="of the initialization and the data order (default 0)")
    train.add_argument("--alpha", type=float, help="weight of the regularizer (default: the authors')")
    train.add_argument("--input-scaling", help="unit or normalized (default: the experiment's)")
    train.add_argument("--adc-bits", metavar="B0,B1,B2,B3", help="go on training through such ADCs, as 3,3,3,1")
    train.add_argument("--row-order", default="spread", help="with --adc-bits: spread (default) or consecutive")
    train.add_argument("--headroom", type=int, default=0, help="with --adc-bits: highest bits of a weight left 0")
    train.add_argument("--out", type=Path, help="folder (default build/runs/EXPERIMENT/PROFILE)")
    train.add_argument("--device", default="cpu", help="as torch names it (default cpu)")
    train.add_argument("--threads", type=int, default=1, help="CPU threads (default 1, fastest for small networks)")
    train.add_argument("--compile", action="store_true", help="train through torch.compile")
    train.set_defaults(run=_train)

    results = commands.add_parser("results", help="list the records below a folder")
    results.add_argument("folder", type=Path, nargs="?", default=Path("results"), help="default: results")
    results.add_argument("--json", action="store_true", help="one JSON object a line")
    results.set_defaults(run=_results)

    crossbar = commands.add_parser("crossbar", help="simulate a network on ReRAM crossbars")
    verbs = crossbar.add_subparsers(dest="verb", required=True, metavar="VERB")
    report = verbs.add_parser("report", help="bitline sums, and accuracy and cost of ADC resolutions")
    tolerance = verbs.add_parser("tolerance", help="accuracy with cells that are not ideal")
    for verb in (report, tolerance):
        verb.add_argument(
            "network", metavar="RUN", help="a run's record, or package.module:function giving (model, images, labels)"
        )
        verb.add_argument("--rows", type=int, default=128, help="wordlines of an array (default 128)")
        verb.add_argument("--columns", type=int, default=128, help="bitlines of an array (default 128)")
        verb.add_argument("--cell-bits", type=int, default=2, help="bits of a cell (default 2)")
        verb.add_argument("--dac-bits", type=int, default=1, help="input bits a cycle (default 1)")
        verb.add_argument("--signed-inputs", default="two_phase", help="two_phase (default) or offset")
        verb.add_argument("--row-order", default="consecutive", help="consecutive (default) or spread")
        verb.add_argument("--images", type=int, help="test images (default: all)")
        verb.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
        verb.add_argument("--json", action="store_true", help="print JSON")
    report.add_argument(
        "--adc-bits",
        action="append",
        metavar="B0,B1,B2,B3",
        help="resolutions, least significant slice first, or ideal; 3x2: 3 bits with a step of 2; repeatable "
        "(default: a list from 8 to 2)",
    )
    report.add_argument("--headroom", type=int, default=0, help="highest bits of a weight left 0 (default 0)")
    report.add_argument("--observed-images", type=int, default=200, help="images for bitline sums (default 200)")
    report.add_argument(
        "--calibrate",
        type=int,
        metavar="IMAGES",
        help="estimate batch normalization again through the ADCs, on so many training images (default: not)",
    )
    report.add_argument("--cost-model", default="components", help="of the ADC (default components: ISAAC's)")
    report.set_defaults(run=_crossbar_report)
    tolerance.add_argument("--adc-bits", default="8,8,8,8", metavar="B0,B1,B2,B3", help="as for report (default 8)")
    tolerance.add_argument("--seeds", type=int, default=3, help="chips drawn for each strength (default 3)")
    tolerance.set_defaults(run=_crossbar_tolerance)

    notebook = commands.add_parser("notebook", help="run a notebook with other parameters")
    notebook.add_argument("name", help="as in notebooks/NAME.ipynb")
    notebook.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="repeatable"
    )
    notebook.add_argument("--out", type=Path, help="executed notebook (default build/notebooks/NAME.ipynb)")
    notebook.set_defaults(run=_notebook)
    return top


def _fetch(options: argparse.Namespace) -> None:
    from bitslice import training
    from bitslice.names import by_name

    images = by_name("data set", training.DATA_SETS, options.data_set)(True)
    print(f"{options.data_set}: {len(images)} training images, verified")


def _train(options: argparse.Namespace) -> None:
    from bitslice import experiments, records, training
    from bitslice.crossbar import RowOrder, adc_setting
    from bitslice.names import by_name, by_value

    experiment = by_name("experiment", experiments.EXPERIMENTS, options.experiment)
    scaling = {}
    if options.input_scaling is not None:
        scaling["input_scaling"] = by_value(experiments.InputScaling, options.input_scaling)
    config = experiment(
        by_value(experiments.Method, options.method),
        by_value(experiments.Profile, options.profile),
        seed=options.seed,
        alpha=options.alpha,
        **scaling,
    )
    if options.headroom and options.adc_bits is None:
        raise BitsliceError("--headroom takes part in training through ADCs: give --adc-bits too")
    if options.adc_bits is not None:
        order = by_value(RowOrder, options.row_order)
        config = experiments.adapted(config, adc_setting(options.adc_bits), order, options.headroom)
    folder = options.out or records.LIVE / options.experiment / options.profile
    released = folder / f"{config.name}.json"
    if released.exists() and folder.resolve().is_relative_to(records.RELEASED.resolve()):
        raise BitsliceError(f"{released} is a released record and stays as it is: choose another --out")
    record = training.run(config, folder, options.device, options.threads, compiled=options.compile)
    density = f", mean slice density {record.mean_density:.2f}%" if "density" in record.final else ""
    adcs = f", {record.final['adc_accuracy']:.2f}% through ADCs" if config.adapt else ""
    print(f"{record.path}: accuracy {record.accuracy:.2f}%{adcs}{density}")


def _results(options: argparse.Namespace) -> None:
    from bitslice import records

    for record in records.read_all(options.folder):
        summary = record.summary()
        if options.json:
            print(json.dumps(summary))
        else:
            line = f"{record.path.as_posix():48} {record.accuracy:6.2f}%"
            if "density" in record.final:
                shares = " ".join(f"{share:6.2f}" for share in record.density)
                line += f"  B3..B0 {shares}  mean {record.mean_density:6.2f}%"
            print(line)


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise BitsliceError(f"--{name} must be at least 1, not {value}")
    return value


def _crossbar(options: argparse.Namespace) -> "Crossbar":
    from bitslice.crossbar import Crossbar, RowOrder, SignedInputs
    from bitslice.names import by_value

    signed = by_value(SignedInputs, options.signed_inputs)
    order = by_value(RowOrder, options.row_order)
    geometry = (options.rows, options.columns, options.cell_bits, options.dac_bits)
    return Crossbar(*geometry, signed_inputs=signed, row_order=order)


def _crossbar_report(options: argparse.Namespace) -> None:
    import torch

    from bitslice.costs.designs import anchored
    from bitslice.costs.models import ADC_MODELS
    from bitslice.crossbar import adc_setting
    from bitslice.crossbar.report import STANDARD, network_and_images, report, training_images
    from bitslice.names import by_name

    settings = [adc_setting(text) for text in options.adc_bits] if options.adc_bits else STANDARD
    crossbar = _crossbar(options)
    adc = anchored(by_name("cost model", ADC_MODELS, options.cost_model))
    torch.set_num_threads(_at_least_one("threads", options.threads))
    model, images, labels = network_and_images(options.network, options.images)
    calibration = None
    if options.calibrate is not None:
        calibration = training_images(options.network, _at_least_one("calibrate", options.calibrate))
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
        network=options.network,
        say=_progress,
    )
    print(json.dumps(found.to_dict()) if options.json else "\n".join(found.lines()))


def _crossbar_tolerance(options: argparse.Namespace) -> None:
    import torch

    from bitslice.crossbar import adc_setting
    from bitslice.crossbar.report import network_and_images
    from bitslice.crossbar.tolerance import tolerance

    bits, crossbar = adc_setting(options.adc_bits), _crossbar(options)
    torch.set_num_threads(_at_least_one("threads", options.threads))
    model, images, labels = network_and_images(options.network, options.images)
    found = tolerance(
        model, images, labels, bits, options.seeds, crossbar=crossbar, network=options.network, say=_progress
    )
    print(json.dumps(found.to_dict()) if options.json else "\n".join(found.lines()))


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _notebook(options: argparse.Namespace) -> None:
    from bitslice import notebooks

    print(notebooks.run(options.name, dict(options.parameters), options.out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    try:
        options = parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()  # here, where a reader that has gone is no error
    except BitsliceError as error:
        print(f"bitslice: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has gone (`| head`): what is left in the buffer goes nowhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("bitslice: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
