"""``bitslice train``: train one configuration."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitslice.errors import BitsliceError

if TYPE_CHECKING:  # importing torch takes longer than --help
    from bitslice.lab.config import Config


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    train = commands.add_parser("train", help="train one configuration; writes a record and integer weights")
    train.add_argument("experiment", help="mnist, cifar10-resnet20, cifar10-vgg11 or cifar10-vgg11-bn")
    train.add_argument("--method", required=True, help="float, quantized, pruned, l1, bl1, bl0 or column")
    train.add_argument("--profile", default="quick", help="smoke, quick (default), cpu, long or paper")
    train.add_argument("--seed", type=int, default=0, help="of the initialization and the data order (default 0)")
    train.add_argument(
        "--alpha",
        type=float,
        help="weight of the regularizer, price of a slice or weights kept in a column (default: the method's)",
    )
    train.add_argument(
        "--pretrain-alpha", type=float, help="weight of L1 in pre-training, 0: without it (default: the experiment's)"
    )
    train.add_argument("--input-scaling", help="unit or normalized (default: the experiment's)")
    train.add_argument("--adc-bits", metavar="B0,B1,B2,B3", help="go on training through such ADCs, as 3,3,3,1")
    train.add_argument(
        "--adc-mean",
        type=float,
        metavar="BITS",
        help="in place of --adc-bits: so many bits on average, allocated to layers and slices",
    )
    train.add_argument("--row-order", default="spread", help="with --adc-bits: spread (default) or consecutive")
    train.add_argument("--headroom", type=int, default=0, help="with --adc-bits: highest bits of a weight left 0")
    train.add_argument(
        "--adc-levels",
        type=int,
        metavar="IMAGES",
        help="with --adc-bits: find every layer's ADC levels again on so many training images before each epoch",
    )
    train.add_argument(
        "--adc-first", metavar="B0,B1,B2,B3", help="with --adc-bits: through such ADCs first, in a run of its own"
    )
    train.add_argument("--adc-levels-kept", action="store_true", help="those found before the first epoch stay")
    train.add_argument(
        "--adc-distilled",
        action="store_true",
        help="with --adc-bits: learn what the network gave before, without ADCs, in place of labels",
    )
    train.add_argument(
        "--adc-gradient", help="with --adc-bits: straight_through, share or gaussian (default: the experiment's)"
    )
    train.add_argument("--adc-epochs", type=int, help="with --adc-bits: for so many epochs (default: the profile's)")
    train.add_argument("--adc-rate", type=float, help="with --adc-bits: peak of the learning rate")
    train.add_argument(
        "--adc-refine",
        type=int,
        metavar="IMAGES",
        help="with --adc-levels: choose the levels by the loss at the end, on so many training images",
    )
    train.add_argument(
        "--adc-recalibrate",
        type=int,
        metavar="IMAGES",
        help="with --adc-bits: estimate batch normalization again at the end, on so many training images",
    )
    train.add_argument("--out", type=Path, help="folder (default build/runs/EXPERIMENT/PROFILE)")
    train.add_argument("--device", default="cpu", help="as torch names it (default cpu)")
    train.add_argument("--threads", type=int, default=1, help="CPU threads (default 1, fastest for small networks)")
    train.add_argument("--compile", action="store_true", help="train through torch.compile")
    train.set_defaults(run=run)


def configuration(options: argparse.Namespace) -> "Config":
    """What the options ask for."""
    from bitslice.crossbar import AdcGradient, RowOrder, adc_setting
    from bitslice.lab.adaptation import Adaptation
    from bitslice.lab.experiments import EXPERIMENTS, adapted
    from bitslice.lab.names import by_name, by_value
    from bitslice.lab.words import InputScaling, Method, Profile

    experiment = by_name("experiment", EXPERIMENTS, options.experiment)
    scaling = None if options.input_scaling is None else by_value(InputScaling, options.input_scaling)
    method, profile = by_value(Method, options.method), by_value(Profile, options.profile)
    config = experiment(method, profile, options.seed, options.alpha, scaling, options.pretrain_alpha)
    through = options.adc_bits is not None or options.adc_mean is not None
    unset = {
        "headroom": 0,
        "adc_levels_kept": False,
        "adc_distilled": False,
        **dict.fromkeys(
            ("adc_first", "adc_levels", "adc_gradient", "adc_epochs", "adc_rate", "adc_refine", "adc_recalibrate")
        ),
    }
    for name, value in unset.items():
        if getattr(options, name) != value and not through:
            option = name.replace("_", "-")
            raise BitsliceError(f"--{option} takes part in training through ADCs: give --adc-bits or --adc-mean too")
    if through:
        how = Adaptation(
            None if options.adc_bits is None else adc_setting(options.adc_bits),
            options.adc_mean,
            by_value(RowOrder, options.row_order),
            options.headroom,
            options.adc_levels,
            None if options.adc_gradient is None else by_value(AdcGradient, options.adc_gradient),
            options.adc_epochs,
            options.adc_rate,
            options.adc_recalibrate,
            options.adc_levels_kept,
            options.adc_distilled,
            options.adc_refine,
            None if options.adc_first is None else adc_setting(options.adc_first),
        )
        config = adapted(config, how)
    return config


def run(options: argparse.Namespace) -> None:
    """Carry it out."""
    from bitslice.lab import records, training
    from bitslice.lab.experiments import run_name

    config = configuration(options)
    folder = options.out or records.LIVE / options.experiment / options.profile
    released = folder / f"{run_name(config)}.json"
    if records.is_released(released):
        raise BitsliceError(f"{released} is a released record and stays as it is: choose another --out")
    record = training.run(config, folder, options.device, options.threads, compiled=options.compile)
    density = f", mean slice density {record.mean_density:.2f}%" if "density" in record.final else ""
    adcs = f", {record.final['adc_accuracy']:.2f}% through ADCs" if config.adapt else ""
    print(f"{record.path}: accuracy {record.accuracy:.2f}%{adcs}{density}")
