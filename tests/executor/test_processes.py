"""Work over processes: results, failures and deaths of workers; no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numbered_work as work
import pytest

from vpp_edge.errors import BadInputError, VppEdgeError
from vpp_edge.executor.interface import Needs
from vpp_edge.executor.processes import Processes
from vpp_edge.machine_limits import memory_sizes_bytes

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("processes", [1, 3])
def test_every_piece_is_done_once(processes: int) -> None:
    found = list(Processes(processes).results(work.open_squares, (10,), range(7)))
    assert sorted(found) == [(n, n * n + 10) for n in range(7)]


def test_workers_have_one_thread_for_numbers() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    assert dict(Processes(1).results(work.open_environment, ("OMP_NUM_THREADS",), [0])) == {0: "1"}
    assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.mark.parametrize(
    ("open_work", "kind", "message"),
    [
        (work.open_refused, BadInputError, "no such thing"),
        (work.open_failing, VppEdgeError, r"(?s)Traceback.*ZeroDivisionError"),
        (work.open_killed, VppEdgeError, "was killed"),
        (work.open_leaving, VppEdgeError, "failed with status 7"),
    ],
)
def test_a_worker_that_ends_ends_the_work_with_its_reason(
    open_work: Callable, kind: type[VppEdgeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        list(Processes(2).results(open_work, (), range(5)))


def test_more_processes_than_memory_are_refused() -> None:
    much = memory_sizes_bytes()["MemTotal"] // 2
    with pytest.raises(BadInputError, match=r"3 processes would take .* of memory each, .* are free; use"):
        list(Processes(3).results(work.open_squares, (1,), range(3), Needs(memory_bytes=much)))


def test_a_caller_that_stops_reading_leaves_no_worker() -> None:
    results = iter(Processes(2).results(work.open_sleeping, (60.0,), range(5)))
    next(results)
    results.close()


def test_an_interrupt_ends_all_at_once_and_says_nothing(tmp_path: Path) -> None:
    """Ctrl-C reaches the workers too, as from a terminal; only the parent answers."""
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(work.INTERRUPTED)
    support = str(Path(work.__file__).parent)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": support},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
