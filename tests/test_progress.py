"""What ``make book`` says while it works, when something fails, and when it is told to stop."""

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from bitslice.book import progress
from bitslice.book.sources import PACKAGE

SNAKEFILE = r"""
rule book:
    input: "one", "two", "wrong", "worse"

rule part:
    output: "{part,one|two}"
    log: "log/{part}.txt"
    message: "make part {wildcards.part}"
    shell: "(echo a word of its own; touch {output}) > {log} 2>&1"

rule wrong:
    output: "wrong"
    log: "log/wrong.txt"
    message: "go wrong"
    shell: "(printf '10%%\\r100%%\\n'; echo 'bitslice: notebook adc, cell 3: ValueError: why'; exit 2) > {log} 2>&1"

rule worse:
    output: "worse"
    log: "log/worse.txt"
    message: "go worse"
    shell: "(printf '10%%\\r100%%\\n'; seq 20; exit 2) > {log} 2>&1"

rule slow:
    output: "slow"
    log: "log/slow.txt"
    message: "take long"
    shell: "(sleep 3; touch slow) > {log} 2>&1"

rule alone:
    input: "nowhere"
    output: "never"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text(SNAKEFILE)


def start(goal: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bitslice.book.engine", "--cores", "1", "--keep-going", "--", goal]
    # Tests in the background of a shell inherit that it is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_line_a_job_and_of_failures_the_reason_and_where_the_rest_is() -> None:
    process = start("book")
    output, errors = process.communicate()
    assert process.returncode == 1
    lines = output.splitlines()
    assert [re.match(r"\[(\d) of 4\] ", line)[1] for line in lines] == ["1", "2", "3", "4"]  # type: ignore[index]
    jobs = {re.sub(r"^\[. of 4\] | \(about .* left\)$", "", line) for line in lines}
    assert jobs == {"make part one", "make part two", "go wrong", "go worse"}
    assert "left" not in lines[0]
    assert lines[-1].endswith("left)")
    wrong = (
        "FAILED: go wrong\n  bitslice: notebook adc, cell 3: ValueError: why\n  All that it said is in log/wrong.txt\n"
    )
    worse = "".join(
        ["FAILED: go worse\n", *(f"  {n}\n" for n in range(11, 21)), "  All that it said is in log/worse.txt\n"]
    )
    end = "Exiting because a job execution failed. Look above for error messages\n"
    assert errors in {wrong + worse + end, worse + wrong + end}


def test_an_error_that_is_no_jobs_is_told() -> None:
    process = start("never")
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert "Missing input files for rule alone" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_says_so_once_and_keeps_what_ends(number: signal.Signals) -> None:
    process = start("slow")
    while not Path("log/slow.txt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "[1 of 1] take long\n")
    assert errors == "Stopping once what is running has ended; the same command goes on from there\n"
    assert Path("slow").exists()


class TestHandler:
    @pytest.fixture
    def handler(self) -> progress.LogHandler:
        return progress.LogHandler(None, None)  # type: ignore[arg-type]  # it asks for no settings

    @staticmethod
    def tell(handler: progress.LogHandler, event: LogEvent, at: float, **told: Any) -> None:
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", None, None)
        record.__dict__ |= {"event": event, "created": at, **told}
        handler.emit(record)

    def test_a_long_job_says_that_it_has_ended_too(
        self, handler: progress.LogHandler, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.tell(handler, LogEvent.RUN_INFO, 0.0, stats={"pretrain": 2, "book": 1, "total": 3})
        for job, begun, ended in ((1, 0.0, 59.0), (2, 59.0, 179.0)):
            self.tell(handler, LogEvent.JOB_INFO, begun, jobid=job, rule_name="pretrain", rule_msg=f"train {job}")
            self.tell(handler, LogEvent.JOB_FINISHED, ended, job_id=job)
        self.tell(handler, LogEvent.JOB_INFO, 180.0, jobid=3, rule_name="book", rule_msg=None)
        self.tell(handler, LogEvent.JOB_FINISHED, 180.0, job_id=3)
        assert capsys.readouterr().out.splitlines() == [
            "[1 of 2] train 1",
            "[2 of 2] train 2 (about 60 s left)",
            "[2 of 2] done after 2 min: train 2 (about 0 s left)",
        ]

    def test_a_job_of_which_nothing_is_known_may_fail(
        self, handler: progress.LogHandler, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.tell(handler, LogEvent.JOB_ERROR, 0.0, jobid=7, log=["log/none.txt"])
        assert capsys.readouterr().err == "FAILED: job 7\n  All that it said is in log/none.txt\n"


def test_two_jobs_at_a_time_take_half_as_long() -> None:
    clock = progress.Clock({"train": 6})
    for job in (1, 2):
        clock.start(job, "train", 0.0)
    for job in (1, 2):
        assert clock.end(job, 10.0) == 10.0
    assert clock.left(10.0) == 20.0


def test_goals_are_the_rules_that_do_nothing_themselves() -> None:
    snakefile = (PACKAGE.parent / "Snakefile").read_text()
    rules = re.split(r"^rule (\w+):$", snakefile, flags=re.MULTILINE)[1:]
    bodies = dict(zip(rules[::2], rules[1::2], strict=True))
    assert set(progress.GOALS) == {name for name, body in bodies.items() if "shell:" not in body.split("\nfor ")[0]}
