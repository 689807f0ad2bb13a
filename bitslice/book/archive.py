"""One file that holds what was published: book, figures, records, simulations, lock, a description, and checksums.

The same files and the same time give the same bytes, wherever and whenever: entries are sorted, without owners, with
one time and one mode, and nothing is compressed, since compressors differ between machines.
"""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitslice import __version__
from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.provenance import commit

CONTENTS = {
    "book": ("build/book/_build/html", "The book: open index.html"),
    "figures": ("figures", "Every figure, as SVG, PDF and PNG, and what it shows as CSV"),
    "results": ("results", "Records of trained networks, and their integer weights"),
    "simulations": ("simulations", "What simulated crossbars make of them"),
    "requirements.lock": ("requirements.lock", "Every package of the environment, with its checksums"),
    "CITATION.cff": ("CITATION.cff", "How to cite"),
    "LICENSE": ("LICENSE", "The MIT licence"),
    "README.md": ("README.md", "What this is, and the commands that make it again"),
}
"""What the archive holds, by the name it has there: where it lies in the project, and what it is."""

MANIFEST, CRATE = "manifest-sha256.txt", "ro-crate-metadata.json"
TIME_VARIABLE = "SOURCE_DATE_EPOCH"
"""Environment variable with the time of every entry, in seconds since 1970; without it, it is that of the commit."""


def time_of(folder: Path) -> int:
    """The time that everything in an archive of ``folder`` has, in seconds since 1970.

    Raises:
        BitsliceError: if the environment gives no whole number and there is no commit either.
    """
    told = os.environ.get(TIME_VARIABLE)
    if told is None:
        done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=folder, capture_output=True, text=True)
        told = done.stdout.strip()
    if not told.isdecimal():
        raise BitsliceError(f"the archive needs a time: set {TIME_VARIABLE} to seconds since 1970, or work in a commit")
    return int(told)


def files(folder: Path) -> dict[str, Path]:
    """Every file that belongs into an archive of the project in ``folder``, by its name there, sorted.

    Raises:
        BitsliceError: if one of :data:`CONTENTS` is missing.
    """
    found = {}
    for name, (place, _) in CONTENTS.items():
        path = folder / place
        if not path.exists():
            raise BitsliceError(f"{path} is missing: make book")
        for each in [path] if path.is_file() else path.rglob("*"):
            if each.is_file():
                found[name if path.is_file() else f"{name}/{each.relative_to(path).as_posix()}"] = each
    return dict(sorted(found.items()))


def crate(sizes: Mapping[str, int], when: int) -> dict[str, Any]:
    """The description by RO-Crate 1.1 of an archive of files with these sizes in bytes.

    Folders are described as a whole; the manifest lists every file.
    """
    parts: list[dict[str, Any]] = []
    for name, (_, what) in CONTENTS.items():
        if name in sizes:
            entity = {"@id": name, "@type": "File", "contentSize": str(sizes[name])}
        else:
            inside = [size for path, size in sizes.items() if path.startswith(f"{name}/")]
            entity = {"@id": f"{name}/", "@type": "Dataset", "size": f"{sum(inside)} bytes in {len(inside)} files"}
        parts.append(entity | {"name": name, "description": what})
    parts.append({"@id": MANIFEST, "@type": "File", "name": MANIFEST, "description": "SHA-256 of every other file"})
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"bitslice {__version__}",
        "description": "Bit-slice sparsity for ReRAM accelerators: a reproduction of arXiv 1909.08496, as published.",
        "datePublished": datetime.fromtimestamp(when, UTC).isoformat(),
        "license": {"@id": "https://spdx.org/licenses/MIT"},
        "isBasedOn": {"@id": "#source"},
        "hasPart": [{"@id": part["@id"]} for part in parts],
    }
    about = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    source = {
        "@id": "#source",
        "@type": "SoftwareSourceCode",
        "name": "bitslice",
        "version": commit() or __version__,
        "programmingLanguage": "Python",
    }
    licence = {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT licence"}
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [about, root, *parts, source, licence]}


def entries(folder: Path, when: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything in the archive: the project's files, their description, their checksums."""
    digests, sizes = {}, {}
    for name, path in files(folder).items():
        content = path.read_bytes()
        digests[name], sizes[name] = hashlib.sha256(content).hexdigest(), len(content)
        yield name, content
    described = (json.dumps(crate(sizes, when), indent=1) + "\n").encode()
    yield CRATE, described
    digests[CRATE] = hashlib.sha256(described).hexdigest()
    yield MANIFEST, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def archive(folder: Path, out: Path) -> str:
    """Write the archive of the project in ``folder``, below one folder of its version; gives its SHA-256.

    Raises:
        BitsliceError: as :func:`files` and :func:`time_of`, or if it cannot be written.
    """
    when = time_of(folder)
    with atomic_write(out) as path:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in entries(folder, when):
                entry = tarfile.TarInfo(f"bitslice-{__version__}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), when, 0o644
                tar.addfile(entry, io.BytesIO(content))
        with path.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()
