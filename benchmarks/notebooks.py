"""How long the notebooks of the book took when it was last made here.

``python -m benchmarks.notebooks``, after ``make book``, writes ``book/notebooks.json``.
"""

import json
import sys

from bitslice.book.notebooks import TIMES, listed
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.provenance import commit, cpu_name


def main() -> None:
    seconds = {each.name: each.seconds for each in listed()}
    if missing := [name for name, took in seconds.items() if took is None]:
        raise BitsliceError(f"{', '.join(missing)} did not run here: make book first")
    provenance = {"commit": commit(), "device": cpu_name(), "python": sys.version.split()[0]}
    with atomic_write(TIMES) as path:
        path.write_text(json.dumps({"seconds": seconds, "provenance": provenance}, indent=1) + "\n")


if __name__ == "__main__":
    main()
