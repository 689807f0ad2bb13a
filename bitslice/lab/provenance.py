"""Where a result came from."""

import hashlib
import platform
import subprocess
from pathlib import Path
from typing import NotRequired

import numpy as np
import torch
from typing_extensions import TypedDict

LOCK = "requirements.lock"


class Provenance(TypedDict):
    """Where a result came from.

    ``commit`` ends in ``+`` where there were uncommitted changes; ``lock`` is the SHA-256 of the lock file, which older
    results do not name; ``compiled`` tells of a training whether it went through ``torch.compile``.
    """

    commit: str | None
    lock: NotRequired[str | None]
    python: str
    torch: str
    numpy: str
    device: str
    threads: int
    wall_seconds: float
    compiled: NotRequired[bool]


def provenance(device: torch.device, threads: int, seconds: float) -> Provenance:
    """Of a result that was computed just now, in so many seconds."""
    return {
        "commit": commit(),
        "lock": lock(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "threads": threads,
        "wall_seconds": round(seconds, 1),
    }


def commit() -> str | None:
    """The library's git commit, with ``+`` if its files have uncommitted changes; None outside a checkout."""
    here = Path(__file__).parents[1]  # the whole library
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "."], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def lock(at: str | None = None) -> str | None:
    """SHA-256 of the checkout's lock file: of today's, or of that of a commit; None where there is none."""
    checkout = Path(__file__).parents[2]
    try:
        if at is None:
            content = (checkout / LOCK).read_bytes()
        else:
            shown = ["git", "show", f"{at.removesuffix('+')}:{LOCK}"]
            content = subprocess.run(shown, cwd=checkout, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return hashlib.sha256(content).hexdigest()


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
