"""The doctor: what is fine, and for everything that can be wrong what to do about it."""

import json
import sys
from pathlib import Path

import pytest
import torch

from bitslice import native
from bitslice.book import environment, health
from bitslice.cli import main
from bitslice.errors import BitsliceError
from bitslice.lab.data import MNIST


def test_every_check_gets_a_line_and_one_that_fails_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITSLICE_DATA", "images")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(health.CHECKS)
    assert "MNIST           TO DO: not in images: bitslice fetch mnist" in lines
    assert all("  ok: " in line or "  TO DO: " in line for line in lines)


def test_all_is_well_is_status_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(health, "CHECKS", {"Python": health.python, "GPU": health.gpu})
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.startswith(f"Python  ok: {sys.version_info[0]}.{sys.version_info[1]}.")


def test_a_damaged_data_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITSLICE_DATA", str(tmp_path))
    for name in MNIST.files:
        path = tmp_path / MNIST.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"other")
    monkeypatch.setattr(health, "CHECKS", {"MNIST": health.data_set("mnist")})
    (finding,) = health.findings()
    assert not finding.fine
    assert "is damaged" in finding.text
    assert finding.text.endswith("delete it and run again")


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GB free" in health.disk()[1]
    monkeypatch.setattr(health, "FREE_BYTES", 10**18)
    fine, text = health.disk()
    assert not fine
    assert text.endswith("GB free: make it 1000000000")


def test_more_threads_than_cores_are_told() -> None:
    assert health.threads()[0]
    torch.set_num_threads(4096)
    try:
        fine, text = health.threads()
    finally:
        torch.set_num_threads(1)
    assert not fine
    assert "set OMP_NUM_THREADS=" in text


def test_kernels_are_in_use_off_or_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITSLICE_NATIVE", "off")
    assert health.kernels() == (True, "off, as BITSLICE_NATIVE asks")
    monkeypatch.delenv("BITSLICE_NATIVE")
    monkeypatch.setattr(native, "levels", lambda: (native.Level.BASE, native.Level.V3))
    assert health.kernels() == (True, "v3 in use, of base, v3")
    monkeypatch.setattr(native, "levels", lambda: ())
    fine, text = health.kernels()
    assert not fine
    assert "install a C compiler" in text


def test_a_wish_for_a_level_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITSLICE_NATIVE", "v9")
    monkeypatch.setattr(health, "CHECKS", {"C kernels": health.kernels})
    (finding,) = health.findings()
    assert not finding.fine
    assert finding.text.startswith("BITSLICE_NATIVE must be one of")


def test_differences_from_a_lock_file_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# comment\n"
        "no-such-package==1.0 \\\n    --hash=sha256:00\n"
        "numpy==0.1 \\\n    --hash=sha256:00\n"
        "pywin32==1 ; sys_platform == 'win32' and sys_platform == 'linux' \\\n    --hash=sha256:00\n"
        f"torch=={torch.__version__.partition('+')[0]} ; python_full_version >= '3.11' \\\n    --hash=sha256:00\n"
    )
    assert list(environment.locked(lock)) == ["no-such-package", "numpy", "torch"]
    missing, other = environment.differences(lock)
    assert missing == "no-such-package is missing"
    assert other.startswith("numpy is ")
    assert other.endswith(", not 0.1")
    with pytest.raises(BitsliceError, match="no lock file"):
        environment.locked(tmp_path / "other.lock")


def test_packages_that_differ_are_named_with_the_command_that_mends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").write_text("".join(f"missing-{n}==1 \\\n" for n in range(5)))
    monkeypatch.chdir(tmp_path)
    fine, text = health.packages()
    assert not fine
    assert text == (
        "missing-0 is missing; missing-1 is missing; missing-2 is missing; 2 more: "
        "pip install --require-hashes -r requirements.lock"
    )


def test_a_kernel_of_another_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.jupyter() == (True, "python3 is this Python")
    kernel = tmp_path / "kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/bin/sh", "{connection_file}"], "display_name": "", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    fine, text = health.jupyter()
    assert not fine
    assert text == "python3 runs /bin/sh, not this Python: python -m ipykernel install --sys-prefix"


def test_what_is_not_installed_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", None)
    monkeypatch.setattr(health, "CHECKS", {"Jupyter kernel": health.jupyter})
    (finding,) = health.findings()
    assert not finding.fine
    assert finding.text.endswith(": make book makes the whole environment")
