"""The engine: whoever is at work keeps the folder, and whoever was killed does not."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitslice.book import engine
from bitslice.errors import BitsliceError

SNAKEFILE = """
rule finished:
    output: "finished"
    shell: "touch begun; for i in $(seq 600); do [ -e go ] && break; sleep 0.1; done; touch finished"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text(SNAKEFILE)


def start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bitslice.book.engine", "--cores", "1", "--rerun-incomplete", "--", "finished"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def at_work() -> subprocess.Popen[str]:
    """An engine in the middle of its job, which waits for the file ``go``."""
    process = start()
    while not Path("begun").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    return process


def test_a_second_run_is_refused_in_one_line_and_the_first_goes_on() -> None:
    first, second = at_work(), start()
    errors = second.communicate()[1]
    assert second.returncode == 2
    assert errors == f"bitslice: make is at work in this folder already (process {first.pid}): wait until it ends\n"
    Path("go").touch()
    errors = first.communicate()[1]
    assert first.returncode == 0, errors
    assert Path("finished").exists()


def test_a_killed_run_holds_nobody_up() -> None:
    killed = at_work()
    killed.kill()
    killed.wait()
    assert list(engine.LEFT_OVER.glob("*.lock"))
    Path("go").touch()
    killed.communicate()
    after = start()
    errors = after.communicate()[1]
    assert after.returncode == 0, errors
    assert Path("finished").exists()
    assert not list(engine.LEFT_OVER.glob("*.lock"))


def test_a_lock_names_its_holder() -> None:
    code = "import sys; from bitslice.book.engine import *; print(hold(LOCK), flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with pytest.raises(BitsliceError, match=f"process {holder.pid}"):
        engine.hold(engine.LOCK)
    holder.communicate()
    assert engine.hold(engine.LOCK)


def test_where_no_lock_can_be_had_snakemakes_own_must_do() -> None:
    Path(".snakemake").write_text("a file in the way")
    assert not engine.hold(engine.LOCK)
