"""From data to book. Notebooks run through papermill, the book executes nothing, training never depends on a plot."""

from pathlib import Path

from bitslice.experiments import SWEEPS
from bitslice.sources import closure, notebook_sources

PROFILE = config.get("profile", "quick")
LIVE = f"build/runs/mnist/{PROFILE}"
MNIST = [
    f"data/MNIST/raw/{part}-ubyte"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]
METHODS = ["quantized", "pruned", "l1", "bl1"]
TRAINING = closure("import bitslice.training")
RELEASED = sorted(map(str, Path("results").rglob("*.json"))) + sorted(map(str, Path("results").rglob("*.npz")))

# What each notebook draws, and whether it shows the live runs beside the released ones.
NOTEBOOKS = {
    "index": dict(figures=["idea"], live=False),
    "slices": dict(figures=["slices_weight", "slices_density"], live=False),
    "regularizer": dict(figures=["regularizer_pull", "regularizer_stall", "regularizer_codes"], live=False),
    "mnist": dict(figures=["mnist_density", "mnist_front", "mnist_training"], live=True),
    "adc": dict(figures=["adc_sums", "adc_bits", "adc_cost"], live=False),
    "status": dict(figures=[], live=True),
}
LIVE_RUNS = expand(f"{LIVE}/{{method}}-s0.json", method=METHODS)


def figure_files(notebook):
    return [f"figures/{name}.{suffix}" for name in NOTEBOOKS[notebook]["figures"] for suffix in ("svg", "pdf", "png")]


def options(wildcards):
    """Command-line options from a run's name, such as bl1-a0.5-s0."""
    method, *alpha, seed = wildcards.name.split("-")
    return f"--method {method} --seed {seed[1:]}" + "".join(f" --alpha {a[1:]}" for a in alpha)


localrules: book, figures, reproduce, all_live


rule book:
    input:
        "build/book/_build/html/index.html",


rule figures:
    input:
        [figure_files(notebook) for notebook in NOTEBOOKS],


rule all_live:
    input:
        LIVE_RUNS,


rule reproduce:
    # Every released MNIST run again, in build/runs; the released ones stay as they are.
    input:
        [f"{LIVE}/{method}-s{seed}.json" for seed in range(5) for method in METHODS],
        [
            f"{LIVE}/{method.value}-a{alpha:g}-s{seed}.json"
            for seed in range(5)
            for method, alphas in SWEEPS["mnist"].items()
            for alpha in alphas
            if alpha != {"l1": 10.0, "bl1": 0.5}[method.value]
        ],


rule fetch_mnist:
    output:
        MNIST,
    resources:
        runtime=10,
    shell:
        "bitslice fetch mnist"


rule pretrain:
    input:
        MNIST,
        TRAINING,
    output:
        multiext(f"{LIVE}/quantized-s{{seed}}", ".json", ".npz", ".state.npz"),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=0,
    shell:
        "bitslice train mnist --method quantized --seed {wildcards.seed} --profile {PROFILE} --out {LIVE}"


rule finetune:
    input:
        lambda w: f"{LIVE}/quantized-s{w.name.rpartition('-s')[2]}.state.npz",
        MNIST,
        TRAINING,
    output:
        multiext(f"{LIVE}/{{name}}", ".json", ".npz"),
    wildcard_constraints:
        name=r"(pruned|l1|bl1)(-a[0-9.]+)?-s\d+",
    params:
        options=options,
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=0,
    shell:
        "bitslice train mnist {params.options} --profile {PROFILE} --out {LIVE}"


for notebook in NOTEBOOKS:

    rule:
        name:
            f"notebook_{notebook}"
        input:
            f"notebooks/{notebook}.ipynb",
            notebook_sources(Path(f"notebooks/{notebook}.ipynb")),
            RELEASED,
            MNIST,
            LIVE_RUNS if NOTEBOOKS[notebook]["live"] else [],
        output:
            f"build/executed/{notebook}.ipynb",
            figure_files(notebook),
        params:
            notebook=notebook,
            live=f"-p live {LIVE}" if NOTEBOOKS[notebook]["live"] else "",
        threads: 1
        resources:
            mem_mb=4000,
            runtime=30,
            kernel=1,
        shell:
            "bitslice notebook {params.notebook} {params.live} --out {output[0]}"


rule html:
    input:
        [f"build/executed/{notebook}.ipynb" for notebook in NOTEBOOKS],
        [figure_files(notebook) for notebook in NOTEBOOKS],
        "_config.yml",
        [str(path) for path in Path("book").rglob("*") if path.is_file() and "__pycache__" not in path.parts],
        RELEASED,
        closure("import bitslice.cli, bitslice.training, bitslice.analysis, bitslice.figures, bitslice.notebooks"),
    output:
        "build/book/_build/html/index.html",
    resources:
        runtime=10,
    shell:
        "bash book/build.sh"
