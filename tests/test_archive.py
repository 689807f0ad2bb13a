"""One file of all that was published: the same bytes twice, described, and checked by its own manifest."""

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from bitslice.book import archive
from bitslice.cli import main
from bitslice.errors import BitsliceError

WHEN = 1_700_000_000


def selection(folder: Path) -> Path:
    """A small project with everything that belongs into an archive."""
    for name, (place, what) in archive.CONTENTS.items():
        path = folder / place
        if "." in name or name == "LICENSE":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(what)
        else:
            for inner in ("b", "a/ü", "a/empty"):
                (path / inner).parent.mkdir(parents=True, exist_ok=True)
                (path / inner).write_text(name * (inner != "a/empty"))
    return folder


@pytest.fixture(autouse=True)
def _at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(archive.TIME_VARIABLE, str(WHEN))


def test_twice_in_a_row_it_has_the_same_bytes(tmp_path: Path) -> None:
    first, second = selection(tmp_path / "here"), selection(tmp_path / "there")
    os.utime(second / "results/b", (1, 1))
    (second / "results/b").chmod(0o600)
    digests = [archive.archive(folder, tmp_path / f"{folder.name}.tar") for folder in (first, second, first)]
    assert len(set(digests)) == 1
    assert digests[0] == hashlib.sha256((tmp_path / "there.tar").read_bytes()).hexdigest()
    (second / "results/b").write_text("other")
    assert archive.archive(second, tmp_path / "there.tar") != digests[0]


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """What the command made of a small project."""
    project = selection(tmp_path / "project")
    (project / "notebooks").mkdir()
    (project / "pyproject.toml").touch()
    monkeypatch.chdir(project)
    assert main(["archive", "--out", "all.tar"]) == 0
    assert capsys.readouterr().out.startswith("all.tar: 0 MB, SHA-256 ")
    with tarfile.open("all.tar") as tar:
        assert {(entry.mtime, entry.mode, entry.uid, entry.uname) for entry in tar} == {(WHEN, 0o644, 0, "")}
        tar.extractall(tmp_path / "out", filter="data")
    (folder,) = (tmp_path / "out").iterdir()
    return folder


def test_its_manifest_checks_every_file(unpacked: Path) -> None:
    listed = dict(reversed(line.split("  ", 1)) for line in (unpacked / archive.MANIFEST).read_text().splitlines())
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert there == {*listed, archive.MANIFEST}
    for name, digest in listed.items():
        assert hashlib.sha256((unpacked / name).read_bytes()).hexdigest() == digest


def test_its_description_is_an_ro_crate(unpacked: Path) -> None:
    """What RO-Crate 1.1 says a description must have."""
    described = json.loads((unpacked / archive.CRATE).read_text())
    assert described["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in described["@graph"]}
    assert len(entities) == len(described["@graph"])
    about = entities[archive.CRATE]
    assert (about["@type"], about["about"]) == ("CreativeWork", {"@id": "./"})
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = entities["./"]
    assert root["@type"] == "Dataset"
    assert root["datePublished"] == "2023-11-14T22:13:20+00:00"
    assert {"name", "description", "license"} <= root.keys()
    parts = {part["@id"] for part in root["hasPart"]}
    assert parts == {name for name, entity in entities.items() if entity["@type"] in {"File", "Dataset"}} - {"./"}
    for name in parts:
        assert (unpacked / name).is_dir() if name.endswith("/") else (unpacked / name).is_file()
    assert entities["results/"]["size"] == "14 bytes in 3 files"
    assert int(entities["LICENSE"]["contentSize"]) == (unpacked / "LICENSE").stat().st_size
    links = [v["@id"] for e in described["@graph"] for v in e.values() if isinstance(v, dict)]
    assert all(link in entities or link.startswith("https://w3id.org/") for link in links)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    project = selection(tmp_path)
    (project / "requirements.lock").unlink()
    with pytest.raises(BitsliceError, match=r"requirements\.lock is missing: make book"):
        archive.archive(project, tmp_path / "all.tar")
    assert not (tmp_path / "all.tar").exists()


def test_without_a_time_given_it_has_that_of_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(archive.TIME_VARIABLE)
    with pytest.raises(BitsliceError, match="set SOURCE_DATE_EPOCH"):
        archive.time_of(tmp_path)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{WHEN} +0000")
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "a"], cwd=tmp_path, check=True)
    assert archive.time_of(tmp_path) == WHEN
    monkeypatch.setenv(archive.TIME_VARIABLE, "yesterday")
    with pytest.raises(BitsliceError, match="seconds since 1970"):
        archive.time_of(tmp_path)
