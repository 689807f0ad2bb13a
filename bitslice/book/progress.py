"""What ``make book`` says: a line a job in plain words, with the time that is left, and of a failed one the reason.

A logger plugin of Snakemake (``--logger bitslice``; :mod:`bitslice.book.engine` registers it). Snakemake's own words go
to its log in ``.snakemake/log``, what a job prints to the log that its rule names.
"""

import logging
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

GOALS = ("book", "figures", "reproduce", "crossbar", "verify", "sweep")
"""Rules that name what is wanted and do nothing themselves."""

LONG = 60.0
"""Seconds after which a job says that it has ended, too."""

STOPPING = ("Will exit after finishing", "Terminating processes")
"""How Snakemake begins to say that it was told to stop."""

FEW = 10
"""Lines of a failed job's log that are shown where none of them is an error of bitslice's own."""


class Clock:
    """How long jobs take, from those that ended, and so what the others will.

    Jobs of one family (``notebook_adc``, ``notebook_costs``) are taken to last alike, those of a family of which none
    has ended yet as long as all others. As many are taken to run at a time as did so far.
    """

    def __init__(self, jobs: dict[str, int]) -> None:
        """``jobs`` tells how many there are of each rule."""
        self.waiting = jobs
        self.total, self.begun = sum(jobs.values()), 0
        self.running: dict[int, tuple[str, float]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)
        self.first: float | None = None

    def start(self, job: int, rule: str, now: float) -> None:
        """A job of a rule starts."""
        self.first = now if self.first is None else self.first
        self.begun += job not in self.running
        self.waiting[rule] = max(0, self.waiting.get(rule, 0) - 1)
        self.running[job] = _family(rule), now

    def end(self, job: int, now: float) -> float:
        """It ends; gives the seconds that it took."""
        family, started = self.running.pop(job)
        self.took[family].append(now - started)
        return now - started

    def left(self, now: float) -> float | None:
        """Seconds until all have ended; None before the first one has.

        >>> clock = Clock({"notebook_adc": 1, "notebook_costs": 3})
        >>> clock.start(1, "notebook_adc", 0.0)
        >>> clock.left(5.0) is None, clock.end(1, 10.0), clock.left(10.0)
        (True, 10.0, 30.0)
        """
        ended = [seconds for each in self.took.values() for seconds in each]
        if not ended or self.first is None:
            return None
        mean = {family: sum(each) / len(each) for family, each in self.took.items()}
        usual = sum(ended) / len(ended)
        ahead = sum(count * mean.get(_family(rule), usual) for rule, count in self.waiting.items())
        ahead += sum(max(0.0, mean.get(family, usual) - (now - at)) for family, at in self.running.values())
        busy = sum(ended) + sum(now - at for _, at in self.running.values())
        return ahead * max(1e-3, now - self.first) / max(1e-3, busy)


def _family(rule: str) -> str:
    return rule.partition("_")[0]


def in_words(seconds: float) -> str:
    """A length of time as one says it.

    >>> in_words(3.2), in_words(47), in_words(500), in_words(9000)
    ('3 s', '50 s', '8 min', '2.5 h')
    """
    if seconds < 95:
        return f"{seconds:.0f} s" if seconds < 10 else f"{seconds / 10:.0f}0 s"
    return f"{seconds / 60:.0f} min" if seconds < 5700 else f"{seconds / 3600:.1f} h"


def reason(log: Path) -> list[str]:
    """Why a job failed, from its log: the last error of bitslice's own, else the last lines."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    lines = [line.rpartition("\r")[2].rstrip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("bitslice: ")]
    return own[-1:] or lines[-FEW:]


class LogHandler(LogHandlerBase):
    """Turns Snakemake's events into lines on standard output, and failures into lines on standard error."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.clock = Clock({})
        self.names: dict[int, str] = {}
        self.over = False

    def emit(self, record: logging.LogRecord) -> None:
        """Say what is new in a record."""
        event, now, told = getattr(record, "event", None), record.created, record.__dict__
        if event == LogEvent.RUN_INFO:
            self.clock = Clock({rule: n for rule, n in told["stats"].items() if rule not in (*GOALS, "total")})
        elif event == LogEvent.JOB_INFO and told["rule_name"] not in GOALS:
            self._start(told["jobid"], told["rule_name"], told["rule_msg"], now)
        elif event == LogEvent.JOB_FINISHED and told["job_id"] in self.clock.running:
            took = self.clock.end(told["job_id"], now)
            if took >= LONG:
                self._say(f"{self._place()} done after {in_words(took)}: {self.names[told['job_id']]}", now)
        elif event == LogEvent.JOB_ERROR:
            self._fail(told["jobid"], told["log"], now)
        elif record.getMessage().startswith(STOPPING) and not self.over:
            self.over = True
            _print("Stopping once what is running has ended; the same command goes on from there", sys.stderr)
        elif record.levelno >= logging.ERROR and not self._known(told.get("exception")):
            _print(record.getMessage(), sys.stderr)

    def _known(self, exception: str | None) -> bool:
        """Whether an exception says nothing new: that a command failed, or in the end that some job did."""
        return exception == "RuleException" or (exception == "WorkflowError" and self.over)

    def _start(self, job: int, rule: str, message: str | None, now: float) -> None:
        self.names[job] = message or rule
        self.clock.start(job, rule, now)
        self._say(f"{self._place()} {self.names[job]}", now)

    def _fail(self, job: int, logs: list[str], now: float) -> None:
        self.over = True
        if job in self.clock.running:
            self.clock.end(job, now)
        _print(f"FAILED: {self.names.get(job, f'job {job}')}", sys.stderr)
        for log in logs:
            for line in reason(Path(log)):
                _print(f"  {line}", sys.stderr)
        if logs:
            _print(f"  All that it said is in {' and '.join(logs)}", sys.stderr)

    def _place(self) -> str:
        total = self.clock.total
        return f"[{self.clock.begun:{len(str(total))}} of {total}]"

    def _say(self, line: str, now: float) -> None:
        left = self.clock.left(now)
        _print(line if left is None else f"{line} (about {in_words(left)} left)", sys.stdout)


def _print(line: str, stream: TextIO) -> None:
    with suppress(OSError):  # that nobody listens any more is no reason to stop the work
        print(line, file=stream, flush=True)
