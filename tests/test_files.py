"""Files are whole or absent."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitslice.errors import BitsliceError
from bitslice.files import atomic_write
from bitslice.lab.disk import check_writable, sha256
from tests.conftest import full_disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_in_a_folder_that_is_made_for_it(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "record.json"
    with atomic_write(target) as path:
        path.write_text("half")
        assert not target.exists()
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["record.json"]


def test_others_may_read_it(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "record.json") as path:
        path.write_text("x")
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, reason: type[BaseException]) -> None:
    target = tmp_path / "record.json"
    target.write_text("old")

    def write() -> None:
        with atomic_write(target) as path:
            path.write_text("half of the ne")
            raise reason

    with pytest.raises(reason):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    target.write_text("old")
    with (
        pytest.raises(BitsliceError, match=r"cannot write .*record\.json: ") as error,
        full_disk(1000),
        atomic_write(target) as path,
    ):
        path.write_bytes(bytes(10_000))
    assert "\n" not in str(error.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with (
        pytest.raises(BitsliceError, match=r"cannot write .*record\.json: "),
        atomic_write(tmp_path / "taken" / "record.json"),
    ):
        pytest.fail("there was nothing to write to")


def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(BitsliceError, match="cannot write"), atomic_write(tmp_path / "record.json") as path:
        path.write_text("x")
    assert names(tmp_path) == ["record.json"]


def test_a_folder_that_can_be_written_passes_and_keeps_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_written_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "runs"):
        with pytest.raises(BitsliceError, match=f"cannot write {folder}: "):
            check_writable(folder)


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_content_reaches_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    fsync = os.fsync
    monkeypatch.setattr("bitslice.files.os.fsync", lambda fd: (synced.append((tmp_path / "a").exists()), fsync(fd)))
    with atomic_write(tmp_path / "a") as path:
        path.write_text("content")
    assert synced
    assert not synced[0]


def test_what_a_killed_writer_left_goes_and_what_a_live_one_holds_stays(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bitslice.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); print(path.name, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.json")]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    started = [writer.stdout.readline().strip() for writer in writers if writer.stdout]
    assert names(tmp_path) == sorted(started)
    writers[0].kill()
    writers[0].communicate()
    assert names(tmp_path) == sorted(started)
    (tmp_path / ".a.json.notes").write_text("not one of these")
    with atomic_write(tmp_path / "a.json") as path:
        path.write_text("whole")
    assert names(tmp_path) == sorted([".a.json.notes", "a.json", started[1]])
    writers[1].communicate()
    assert writers[1].returncode == 0
    assert names(tmp_path) == [".a.json.notes", "a.json"]
    assert (tmp_path / "a.json").read_text() == "half"  # the last one to end
