"""The card of the released networks, ``results/README.md``: what they are, how trained, how accurate, which licence."""

from collections.abc import Iterable, Sequence

from bitslice.book.analysis import Spread, spread
from bitslice.crossbar.adc import setting_name
from bitslice.lab.config import Config
from bitslice.lab.data import DATA_SETS
from bitslice.lab.experiments import EXPERIMENTS, adaptation, run_name
from bitslice.lab.records import Record

COMMAND = "bitslice results --card > results/README.md"
"""What writes the card again."""

_HEAD = """# Released networks

{runs} runs of {networks} networks, under the MIT licence (`LICENSE`) like the code. Made from the records by
`{command}`.

Each run is a record, `NAME.json` (configuration, metrics by epoch, provenance, the SHA-256 of its weights), and its
weights, `NAME.npz` (integer codes and one power-of-two exponent a tensor; of a float network, floats), but for some
that were not kept. Nothing in them runs. `bitslice provenance RECORD` says where one comes from and which command makes
it again; `bitslice.lab.records.read(path).network()` gives the network.

They were trained to reproduce a paper, on the data sets named, whose terms are their owners' (`README.md` of the
project). They are small and short-trained: for anything else, others serve better. Weights and inputs have 8 bits.
"""


def card(records: Iterable[Record]) -> str:
    """The card, as Markdown; runs that differ in nothing but their seed share a line."""
    groups: dict[str, dict[str, list[Record]]] = {name: {} for name in EXPERIMENTS}
    for record in records:
        line = run_name(record.config).rpartition("-s")[0]
        groups[record.config.experiment].setdefault(f"{record.config.profile.value} {line}", []).append(record)
    groups = {experiment: found for experiment, found in groups.items() if found}
    runs = sum(len(listed) for found in groups.values() for listed in found.values())
    parts = [_HEAD.format(command=COMMAND, runs=runs, networks=len(groups))]
    return "\n".join([*parts, *(_section(experiment, list(found.values())) for experiment, found in groups.items())])


def _section(experiment: str, groups: Sequence[Sequence[Record]]) -> str:
    config = groups[0][0].config
    data = DATA_SETS[config.data].title
    lines = [
        f"## {EXPERIMENTS[experiment].title}",
        "",
        f"In `results/{experiment}/`, trained on {data}; *n* counts seeds. Accuracy is of the test set, mean ±",
        "standard deviation; density is the share of cells that are not zero, the mean over four 2-bit slices.",
        "",
        "| Name | Method | Trained | n | Accuracy (%) | Density (%) | Through its ADCs (%) |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_row, groups), ""])


def _row(runs: Sequence[Record]) -> str:
    config = runs[0].config
    sliced = [run for run in runs if "density" in run.final]
    through = [float(run.final["adc_accuracy"]) for run in runs if config.adapt is not None]
    cells = [
        f"`{run_name(config).rpartition('-s')[0]}`",
        config.method.title + (f", alpha {config.alpha:g}" if config.alpha is not None else ""),
        _training(config),
        str(len(runs)),
        spread(runs, lambda run: run.accuracy).text(),
        spread(sliced, lambda run: run.mean_density).text() if sliced else "–",
        Spread(tuple(through)).text() if through else "–",
    ]
    return "| " + " | ".join(cells).replace("\N{NO-BREAK SPACE}", " ") + " |"


def _training(config: Config) -> str:
    epochs = "+".join(str(stage.epochs) for stage in (config.pretrain, config.finetune, config.adapt) if stage)
    text = f"{epochs} epochs (`{config.profile.value}`)"
    how = adaptation(config)
    if how is None:
        return text
    headroom = f", {how.headroom} bits of headroom" * bool(how.headroom)
    levels = ", levels found by layer" * (how.adc_levels is not None)
    rows = how.row_order.value
    bits = setting_name(how.adc_bits) if how.adc_mean is None else f"{how.adc_mean:g}"
    mean = " on average" * (how.adc_mean is not None)
    first = f", after {setting_name(how.adc_first)}" if how.adc_first else ""
    return f"{text}, the last through ADCs of {bits} bits{mean}{first}, {rows} rows{headroom}{levels}"
