"""What the project needs of a machine, checked one by one: fine, or what to do."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bitslice.errors import BitsliceError

FREE_BYTES = 2 * 10**9
"""Disk space for a book and the runs in it; the environment and the data are there already."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        name: of what was checked.
        fine: whether it is as it should be.
        text: how it is; where it is not fine, what to do.
    """

    name: str
    fine: bool
    text: str


# What is not installed is a finding too: nothing is imported before its own check.


def python() -> tuple[bool, str]:
    """Its version."""
    from packaging.specifiers import SpecifierSet

    version, wanted = platform.python_version(), metadata.metadata("bitslice")["Requires-Python"]
    fine = version in SpecifierSet(wanted)
    return fine, version if fine else f"{version}, not {wanted}: install such a Python, delete .venv, make book"


def kernels() -> tuple[bool, str]:
    """Whether the kernels in C are built, and for which instructions."""
    from bitslice import native

    found = native.levels()
    if not found and os.environ.get(native.VARIABLE) != "off":
        return False, "not built, slower: install a C compiler, then pip install --no-deps --editable . in the project"
    level = native.chosen()
    built = ", ".join(level.value for level in found)
    return True, f"{level.value} in use, of {built}" if level else f"off, as {native.VARIABLE} asks"


def threads() -> tuple[bool, str]:
    """Whether torch's threads have a core each."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = torch.get_num_threads()
    told = f"torch takes {count} by default, of {cores} cores"
    return count <= cores, told if count <= cores else f"{told}: set OMP_NUM_THREADS={cores}"


def disk() -> tuple[bool, str]:
    """Whether there is space for a book."""
    free = shutil.disk_usage(Path()).free
    told = f"{free / 1e9:.1f} GB free"
    return free >= FREE_BYTES, told if free >= FREE_BYTES else f"{told}: make it {FREE_BYTES / 1e9:.0f}"


def data_set(name: str) -> Callable[[], tuple[bool, str]]:
    """The check of a data set: every file there, with its official md5. Nothing is fetched."""

    def check() -> tuple[bool, str]:
        from bitslice.lab.data import DATA_SETS, data_folder
        from bitslice.lab.data.download import verify_md5

        files = {data_folder() / DATA_SETS[name].folder / file: md5 for file, md5 in DATA_SETS[name].files.items()}
        if not all(path.exists() for path in files):
            return False, f"not in {data_folder()}: bitslice fetch {name}"
        for path, md5 in files.items():
            verify_md5(path, md5)
        return True, f"{len(files)} files verified in {data_folder()}"

    return check


def packages() -> tuple[bool, str]:
    """Whether what is installed is what the lock file says."""
    from bitslice.book.environment import differences, locked

    found = differences()
    if not found:
        return True, f"{len(locked())} as locked"
    several = f"; {len(found) - 3} more" if len(found) > 3 else ""
    return False, f"{'; '.join(found[:3])}{several}: pip install --require-hashes -r requirements.lock"


def jupyter() -> tuple[bool, str]:
    """Whether notebooks find a kernel, and it is this Python."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = "python -m ipykernel install --sys-prefix"
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return False, f"there is no python3: {mend}"
    bare = re.fullmatch(r"python[\d.]*", command)  # Jupyter runs this Python then
    if not bare and Path(command).parent.resolve() != Path(sys.executable).parent.resolve():
        return False, f"python3 runs {command}, not this Python: {mend}"
    return True, "python3 is this Python"


def gpu() -> tuple[bool, str]:
    """Which GPU there is; none is needed but for the authors' schedule on CIFAR-10."""
    import torch

    return True, torch.cuda.get_device_name() if torch.cuda.is_available() else "none, the CPU does everything"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "Python": python,
    "C kernels": kernels,
    "threads": threads,
    "disk": disk,
    "MNIST": data_set("mnist"),
    "CIFAR-10": data_set("cifar10"),
    "packages": packages,
    "Jupyter kernel": jupyter,
    "GPU": gpu,
}
"""Every check by what it looks at."""


def findings() -> list[Finding]:
    """What every check finds, in their order."""
    found = []
    for name, check in CHECKS.items():
        try:
            found.append(Finding(name, *check()))
        except BitsliceError as error:
            found.append(Finding(name, False, str(error)))
        except ImportError as error:
            found.append(Finding(name, False, f"{error}: make book makes the whole environment"))
    return found
