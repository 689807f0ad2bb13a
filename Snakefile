"""From data to book. Notebooks run through papermill, the book executes nothing, training never depends on a plot."""

from pathlib import Path
from shlex import quote

from bitslice.book.folders import FORMATS
from bitslice.book.sources import closure, notebook_sources
from bitslice.crossbar import RowOrder, adc_word
from bitslice.lab import records, sweep
from bitslice.lab.adaptation import PLAIN
from bitslice.lab.data import DATA_SETS
from bitslice.lab.disk import read_json
from bitslice.lab.experiments import EXPERIMENTS, adaptation, run_name
from bitslice.lab.plans import options, planned
from bitslice.lab.words import Method, Profile

EXPERIMENT = config.get("experiment", "mnist")
PROFILE = config.get("profile", "quick")
SWEEP = sweep.read(Path(config["sweep"])) if "sweep" in config else None
FULL = bool(config.get("full", False))
DATA = {name: [f"data/{path}" for path in data_set.paths()] for name, data_set in DATA_SETS.items()}
# What jobs ask for is measured: released runs and reports were made on one thread (long pre-training on two), which small
# networks are fastest on and jobs side by side use a machine best with; but for the long ones the longest run took 92
# minutes and 2 GB, the longest report 41 minutes and 1.5 GB, a notebook 1.7 GB. Other thread counts round differently.
METHODS = [method for method in Method if method is not Method.FLOAT and not method.columns]  # of the paper, and ours
TRAINING = closure("import bitslice.lab.training")
CROSSBAR = closure("import bitslice.lab.report, bitslice.lab.subjects, bitslice.lab.tolerance")
RELEASED = [str(path) for path in sorted(Path("results").rglob("*.*"))]
SIMULATED = [str(path) for path in sorted(Path("simulations").rglob("*.json"))]


def on_cifar10(fewer=""):
    """What a page needs that shows CIFAR-10; the images are a download of 139 MB, a book at smoke size goes without."""
    return dict(data=[], options=f"-p images 0{fewer}") if PROFILE == "smoke" else dict(data=DATA["cifar10"])


def network_page(name, experiment):
    """A page on one CIFAR-10 network: it draws nothing without records, and checks one of them on the real images."""
    drawn = ["density", "front", "training"] if list(Path("results", experiment).glob("quantized-*.json")) else []
    return {name: dict(figures=[f"{name}_{figure}" for figure in drawn], live=False) | on_cifar10()}


# What each notebook draws, whether it shows the live runs beside the released ones, and the data it needs if not MNIST.
NOTEBOOKS = {
    "index": dict(figures=["idea", "idea_upright"], live=False),
    "claims": dict(figures=[], live=False),
    "slices": dict(figures=["slices_weight", "slices_density"], live=False),
    "regularizer": dict(figures=["regularizer_pull", "regularizer_stall", "regularizer_codes"], live=False),
    "mnist": dict(figures=["mnist_density", "mnist_front", "mnist_training"], live=True),
    **network_page("vgg11", "cifar10-vgg11-bn"),
    **network_page("resnet20", "cifar10-resnet20"),
    "layers": dict(figures=["layers_density", "layers_left"], live=False),
    "adc": dict(figures=["adc_columns", "adc_sums", "adc_bits"], live=False),
    "crossbar": dict(figures=["crossbar_accuracy", "crossbar_energy", "crossbar_density"], live=False),
    "adapt": dict(figures=["adapt_accuracy", "adapt_front"], live=False),
    "nonideal": dict(figures=["nonideal_accuracy"], live=False),
    "costs": dict(figures=["costs_savings", "costs_energy"], live=False),
    "own": dict(figures=[], live=False, records=["book/zoo.json", "book/minilm.json"])
    | on_cifar10(" -p float_steps 4 -p finetune_steps 2"),
    "status": dict(figures=[], live=True, records=list(map(str, Path("book").glob("verify.json")))),
}
# What the reader sets for the whole book, by notebook; their values come last, and so count.
PARAMETERS = {}
if config.get("parameters"):
    from bitslice.book.notebooks import from_file

    PARAMETERS = from_file(Path(config["parameters"]))
LIVE = f"build/runs/mnist/{PROFILE}"
LIVE_RUNS = expand(f"{LIVE}/{{method}}-s0.json", method=[method.value for method in METHODS])

STEPPED = ["3,3,3,3", "3x2,3x2,3x2,3", "3x4,3x4,3x4,3", "3x64,3x64,3x64,3x64"]
STEPPED += ["3,3,3,1", "3x2,3x2,3x2,1", "3x4,3x4,3x4,1"]
FOUND = "".join(f" --adc-bits {setting}" for setting in ("4,4,4,4", "3,3,3,1", "2,2,2,1")) + " --judge 2000"
ALLOCATED = " --adc-mean 3,2.5,2.25,2,1.75,1.5,1.25,1"
SIMULATIONS = {
    "report": "report",
    "spread": "report --row-order spread",
    "headroom": "report --row-order spread --headroom 2",
    "levels": "report --row-order spread" + FOUND + ALLOCATED,
    "seven_bits": "report --row-order spread --headroom 1" + FOUND,
    "stepped": "report" + "".join(f" --adc-bits {setting}" for setting in STEPPED),
    "tolerance": "tolerance --images 2000",
}
LEVELLED = [kind for kind, words in SIMULATIONS.items() if FOUND in words]
# The default alpha costs VGG-11 more, before any ADC, than the half point that small ADCs may.
GENTLER = {"cifar10-vgg11-bn/bl1-s0": "cifar10-vgg11-bn/bl1-a0.05-s0"}


def simulation(wildcards):
    """Command line of a simulation; remedies are tried on the first 1,000 test images of CIFAR-10."""
    words = [SIMULATIONS[wildcards.kind]]
    if wildcards.kind == "tolerance":
        how = adaptation(records.read(Path("results", wildcards.experiment, f"{wildcards.name}.json")).config)
        if how and how.adc_levels:
            raise ValueError(f"{wildcards.name} has ADCs of its own in every layer, which `tolerance` does not take")
        if how:
            words.append(f"--adc-bits {','.join(map(adc_word, how.adc_bits))} --row-order {how.row_order.value}")
    else:
        words.append(f"--observed-images {EXPERIMENTS[wildcards.experiment].observed_images}")
        found = wildcards.kind in LEVELLED
        if found:
            words.append(f"--adc-levels {1000 if wildcards.experiment == 'mnist' else 50}")
            if wildcards.experiment not in ("mnist", "cifar10-vgg11"):  # those have no batch normalization
                words.append("--calibrate 2000")
        elif wildcards.experiment != "mnist" and wildcards.kind != "report":
            words.append("--images 1000")
    return " ".join(words)


def simulated(kind):
    """Which released runs are simulated so, as experiment/name.

    Consecutive rows for all but what was adapted to spread ones, and these for that; every remedy for default settings,
    after the long schedule those that find levels; what cells may lack for networks on MNIST that were fine-tuned at default
    settings, of three seeds, and for these after they were trained through ADCs.
    """
    for run in records.read_all():
        config, adapt = run.config, run.config.adapt
        default = run.path.stem == f"{config.method.value}-s{config.seed}"
        long = config.profile is Profile.LONG
        order = adapt.row_order if adapt else RowOrder.CONSECUTIVE
        name = f"{config.experiment}/{run.path.stem}"
        if kind == "report":
            wanted = order is RowOrder.CONSECUTIVE and not long
        elif kind == "tolerance":
            wanted = config.experiment == "mnist" and config.method.finetunes and config.seed < 3
            wanted = wanted and (default or adaptation(config) == PLAIN)
        elif kind in LEVELLED:
            wanted = name not in GENTLER and (default or name in GENTLER.values() or (long and adapt is None))
        else:
            wanted = default or (kind == "spread" and order is RowOrder.SPREAD and adapt.adc_levels is None)
        if wanted and run.weights and config.method is not Method.FLOAT:
            yield name


def verified(full):
    """What `make verify` computes anew, by part: the networks of a method; simulations, all or the first of a folder."""
    parts = {}
    for path in map(Path, [*RELEASED, *SIMULATED]):
        if path.suffix == ".json":
            method = path.stem.partition("-")[0] if full or path.parts[0] == "results" else "first"
            parts.setdefault("-".join([*path.parent.parts, method]), []).append(str(path))
    return {part: paths[:1] if part.endswith("-first") else paths for part, paths in parts.items()}


def verified_files(paths):
    """What the numbers of released files rest on: these, and the networks that reports name."""
    networks = [Path(read_json(Path(path), "JSON object", dict).get("network", path)) for path in paths]
    weights = [network.with_suffix(".npz") for network in networks]
    return sorted({*paths, *map(str, networks), *(str(path) for path in weights if path.exists())})


def notebook_options(notebook):
    """Parameters of a notebook as options: those of this build, then the reader's."""
    needed = f"-p live {LIVE}" if NOTEBOOKS[notebook]["live"] else NOTEBOOKS[notebook].get("options", "")
    return " ".join([needed, *(f"-p {name} {quote(text)}" for name, text in PARAMETERS.get(notebook, {}).items())])


def figure_files(notebook):
    return [f"figures/{name}.{suffix}" for name in NOTEBOOKS[notebook]["figures"] for suffix in FORMATS]


def configuration(wildcards):
    """Of a run by its name: a planned one, or one of the sweep's."""
    profile = Profile(wildcards.profile)
    swept = SWEEP.of(wildcards.experiment, profile) if SWEEP else {}
    return (swept | planned(wildcards.experiment, profile))[wildcards.name]


def start(wildcards):
    """What a run starts from: a pre-trained state, or the record of the same run before it was adapted to ADCs."""
    config = configuration(wildcards)
    before, pretrained = run_name(config.starts_from()), run_name(config.pretrained())
    first = f"{before}.json" if config.adapt else f"{pretrained}.state.npz"
    return f"build/runs/{wildcards.experiment}/{wildcards.profile}/{first}"


def data_files(wildcards):
    return DATA[EXPERIMENTS[wildcards.experiment](Method.QUANTIZED).data]


localrules: book, figures, reproduce, crossbar, verify, sweep


rule book:
    input:
        "build/book/_build/html/index.html",


rule figures:
    input:
        [figure_files(notebook) for notebook in NOTEBOOKS],


rule reproduce:
    # Every run of one experiment again, in build/runs; the released ones stay as they are.
    input:
        [f"build/runs/{EXPERIMENT}/{PROFILE}/{name}.json" for name in planned(EXPERIMENT, Profile(PROFILE))],


rule crossbar:
    # What crossbars make of every released network again, in build/simulations; the released reports stay as they are.
    input:
        [f"build/simulations/{kind}/{run}.json" for kind in SIMULATIONS for run in simulated(kind)],


rule sweep:
    # The table of a grid of runs, as `bitslice sweep` describes it.
    input:
        [f"build/sweep/{Path(config['sweep']).stem}.csv"] if SWEEP else [],


rule verify:
    # What `bitslice verify` then makes a table of.
    input:
        [f"build/verify/{'full' if FULL else 'sample'}/{part}.json" for part in verified(FULL)],


for data_set in DATA:

    rule:
        name:
            f"fetch_{data_set}"
        output:
            DATA[data_set],
        log:
            f"build/log/fetch-{data_set}.txt",
        params:
            data_set=data_set,
        resources:
            runtime=20,
        message:
            f"fetch and verify {DATA_SETS[data_set].title}"
        shell:
            "bitslice fetch {params.data_set} > {log} 2>&1"


rule pretrain:
    input:
        data_files,
        TRAINING,
    output:
        multiext("build/runs/{experiment}/{profile}/quantized{length}-s{seed}", ".json", ".npz", ".state.npz"),
    wildcard_constraints:
        length="|-long",
    log:
        "build/log/train-{experiment}-{profile}-quantized{length}-s{seed}.txt",
    threads: 1
    resources:
        mem_mb=3000,
        runtime=lambda w: 600 if w.profile in ("long", "paper") else 240,
        gpu=lambda w: int(w.experiment != "mnist" and w.profile == "paper"),
    message:
        "train {wildcards.experiment}, {wildcards.profile}: quantized{wildcards.length}-s{wildcards.seed}"
    shell:
        "bitslice train {wildcards.experiment} --method quantized --seed {wildcards.seed} --profile {wildcards.profile}"
        " --threads {threads} --device $([ {resources.gpu} = 0 ] && echo cpu || echo cuda) > {log} 2>&1"


rule finetune:
    input:
        start,
        data_files,
        TRAINING,
    output:
        multiext("build/runs/{experiment}/{profile}/{name}", ".json", ".npz"),
    wildcard_constraints:
        name=r"(?!quantized(-long)?-s\d)[a-z0-9._-]+",
    log:
        "build/log/train-{experiment}-{profile}-{name}.txt",
    params:
        options=lambda w: options(configuration(w)),
    threads: 1
    resources:
        mem_mb=3000,
        runtime=lambda w: 600 if w.profile in ("long", "paper") else 240,
        gpu=lambda w: int(w.experiment != "mnist" and w.profile == "paper"),
    message:
        "train {wildcards.experiment}, {wildcards.profile}: {wildcards.name}"
    shell:
        "bitslice train {wildcards.experiment} {params.options} --profile {wildcards.profile}"
        " --threads {threads} --device $([ {resources.gpu} = 0 ] && echo cpu || echo cuda) > {log} 2>&1"


rule simulate:
    input:
        "results/{experiment}/{name}.json",
        "results/{experiment}/{name}.npz",
        data_files,
        CROSSBAR,
    output:
        "build/simulations/{kind}/{experiment}/{name}.json",
    log:
        "build/log/simulate-{kind}-{experiment}-{name}.txt",
    params:
        command=lambda w: simulation(w).split(" ", 1),
    threads: 1
    resources:
        mem_mb=2500,
        runtime=120,
    message:
        "simulate {wildcards.experiment} {wildcards.name}: {wildcards.kind}"
    shell:
        "bitslice crossbar {params.command[0]} {input[0]} {params.command[1]} --threads {threads} --json"
        " > {output} 2> {log}"


if SWEEP:

    rule simulate_run:
        input:
            "build/runs/{experiment}/{profile}/{name}.json",
            data_files,
            CROSSBAR,
        output:
            "build/sweep/{experiment}/{profile}/{name}.json",
        log:
            "build/log/sweep-{experiment}-{profile}-{name}.txt",
        params:
            adcs=[f"--adc-bits {','.join(map(adc_word, adcs))}" for adcs in SWEEP.adc_bits],
            images=f"--images {SWEEP.images}" if SWEEP.images else "",
        threads: 1
        resources:
            mem_mb=4000,
            runtime=120,
        message:
            "simulate {wildcards.experiment} {wildcards.name}"
        shell:
            "bitslice crossbar report {input[0]} {params.adcs} {params.images} --threads {threads} --json"
            " > {output} 2> {log}"

    rule sweep_table:
        input:
            config["sweep"],
            [
                f"build/{folder}/{experiment}/{SWEEP.profile.value}/{name}.json"
                for experiment, name in SWEEP.configs
                for folder in (["runs", "sweep"] if SWEEP.adc_bits else ["runs"])
            ],
        output:
            multiext(f"build/sweep/{Path(config['sweep']).stem}", ".csv", ".parquet"),
        log:
            f"build/log/sweep-table-{Path(config['sweep']).stem}.txt",
        message:
            "gather {output[0]}"
        shell:
            "bitslice sweep {input[0]:q} --table {output[0]:q} > {log:q} 2>&1"


rule verify_part:
    input:
        lambda w: verified_files(verified(w.extent == "full")[w.part]),
        [path for files in DATA.values() for path in files],
        closure("import bitslice.lab.verification"),
    output:
        "build/verify/{extent}/{part}.json",
    log:
        "build/log/verify-{extent}-{part}.txt",
    params:
        files=lambda w: verified(w.extent == "full")[w.part],
        full=lambda w: "--full" if w.extent == "full" else "",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=600,
    message:
        "compute anew what is said in {wildcards.part}"
    shell:
        "bitslice verify {params.files} {params.full} --out {output} > {log} 2>&1"


for notebook in NOTEBOOKS:

    rule:
        name:
            f"notebook_{notebook}"
        input:
            f"notebooks/{notebook}.ipynb",
            notebook_sources(Path(f"notebooks/{notebook}.ipynb")),
            RELEASED,
            SIMULATED,
            NOTEBOOKS[notebook].get("data", DATA["mnist"]),
            NOTEBOOKS[notebook].get("records", []),
            LIVE_RUNS if NOTEBOOKS[notebook]["live"] else [],
        output:
            f"build/executed/{notebook}.ipynb",
            figure_files(notebook),
        log:
            f"build/log/notebook-{notebook}.txt",
        params:
            notebook=notebook,
            options=notebook_options(notebook),
        threads: 1
        resources:
            mem_mb=2500,
            runtime=30,
            kernel=1,
        message:
            f"run the notebook {notebook}"
        shell:
            "BITSLICE_FIGURES=figures bitslice notebook {params.notebook} {params.options} --out {output[0]}"
            " > {log} 2>&1"


rule html:
    input:
        [f"build/executed/{notebook}.ipynb" for notebook in NOTEBOOKS],
        [figure_files(notebook) for notebook in NOTEBOOKS],
        "_config.yml",
        [str(path) for path in Path("book").rglob("*") if path.is_file() and "__pycache__" not in path.parts],
        RELEASED,
        SIMULATED,
        closure("import bitslice.cli, bitslice.lab.training, bitslice.book.analysis, bitslice.book.figures"),
    output:
        "build/book/_build/html/index.html",
    log:
        "build/log/html.txt",
    resources:
        runtime=10,
    message:
        "build the pages"
    shell:
        "bash book/build.sh > {log} 2>&1"
