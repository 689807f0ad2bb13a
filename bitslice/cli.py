"""The command line: ``bitslice fetch``, ``train``, ``results``, ``notebook``. Errors are one line and status 2."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bitslice.errors import BitsliceError


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
    train.add_argument("--method", required=True, help="float, quantized, pruned, l1 or bl1")
    train.add_argument("--profile", default="quick", help="smoke, quick (default), cpu or paper")
    train.add_argument("--seed", type=int, default=0, help="of the initialization and the data order (default 0)")
    train.add_argument("--alpha", type=float, help="weight of the regularizer (default: the authors')")
    train.add_argument("--input-scaling", help="unit or normalized (default: the experiment's)")
    train.add_argument("--out", type=Path, help="folder (default build/runs/EXPERIMENT/PROFILE)")
    train.add_argument("--device", default="cpu", help="as torch names it (default cpu)")
    train.add_argument("--threads", type=int, default=1, help="CPU threads (default 1, fastest for small networks)")
    train.add_argument("--compile", action="store_true", help="train through torch.compile")
    train.set_defaults(run=_train)

    results = commands.add_parser("results", help="list the records below a folder")
    results.add_argument("folder", type=Path, nargs="?", default=Path("results"), help="default: results")
    results.add_argument("--json", action="store_true", help="one JSON object a line")
    results.set_defaults(run=_results)

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
    folder = options.out or records.LIVE / options.experiment / options.profile
    released = folder / f"{config.name}.json"
    if released.exists() and folder.resolve().is_relative_to(records.RELEASED.resolve()):
        raise BitsliceError(f"{released} is a released record and stays as it is: choose another --out")
    record = training.run(config, folder, options.device, options.threads, compiled=options.compile)
    density = f", mean slice density {record.mean_density:.2f}%" if "density" in record.final else ""
    print(f"{record.path}: accuracy {record.accuracy:.2f}%{density}")


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
