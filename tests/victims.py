"""Runs a sweep in forked processes and sends them signals; `test_sweep_processes.py` starts it.

Forks of a process that has imported everything but computed nothing start fast, and what stands for
the engine here makes up its results. The first argument
is the configuration, the second a directory: `whole` is left alone, `stopped` gets SIGINT and
SIGTERM, `killed` gets SIGKILL at 20 random moments and is then finished.
"""

import importlib
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from lagc_jax.experiments import Points, read_grid, runner
from lagc_jax.experiments.store import Store

KILLS = 20
CONFIG, OUT = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.append(str(Path(__file__).parents[1] / "sweeps"))
grid = importlib.import_module("grid")


class Engine:
    """Takes a while for a point and says something of its own of each."""

    def __init__(self, experiment):
        """Need nothing of it."""

    def measure(self, points):
        time.sleep(0.004 * len(points))
        return points


def rows(experiment, point):
    """Two levels of a point."""
    draws = np.random.default_rng(point.number).normal(size=(2, 2))
    return {"accuracy": np.array([1.0, 0.1]), "time_mean": draws[0], "diverged": draws[1]}


runner.Engine, runner.result_rows = Engine, rows
keys = Points(read_grid(CONFIG).experiment).keys()


def start(name):
    """Fork a run into a directory; return its process and the folder of its blocks."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with open(OUT / f"{name}.log", "a", 1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os._exit(grid.main([str(CONFIG), "--out", str(OUT / name)]))
    return child, OUT / name / "blocks"


def present(folder):
    """Blocks that are there."""
    return sorted(folder.glob("[!.]*"))


def wait_for_blocks(child, folder, more, seconds=60.0):
    """Wait until there are so many more blocks than now, the child ends, or time is up."""
    before, limit = len(present(folder)), time.perf_counter() + seconds
    while len(present(folder)) < before + more and time.perf_counter() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def end(child):
    """Exit status of a child, the negative signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def strike(name, number, expected):
    """Start a run and send it a signal at a random moment; try again where it was faster."""
    for _ in range(5):
        child, folder = start(name)
        more = rng.integers(0 if number == signal.SIGKILL else 1, 4)
        if more:
            wait_for_blocks(child, folder, more)
            time.sleep(rng.uniform(0, 0.02))
        else:
            wait_for_blocks(child, folder, 2, rng.uniform(0, lasted))
        os.kill(child, number)
        status = end(child)
        store = Store(OUT / name)
        store.ask(keys)
        finished = store.finished()
        assert not store.damaged, store.damaged
        for path in present(folder)[:30] if finished == len(keys) else ():
            path.unlink()  # something must be left to do
        if status != 0:
            assert status == expected, status
            return
    raise AssertionError("every run was over before its signal")


# The child computes nothing before the fork, and the parent nothing at all.
warnings.filterwarnings("ignore", "os.fork")
rng = np.random.default_rng(0)
assert end(start("whole")[0]) == 0
begin = time.perf_counter()
child, folder = start("killed")
wait_for_blocks(child, folder, 1)
lasted = time.perf_counter() - begin
os.kill(child, signal.SIGKILL)
end(child)

for number in (signal.SIGINT, signal.SIGTERM):
    strike("stopped", number, 128 + number)
assert end(start("stopped")[0]) == 0
for _ in range(KILLS):
    strike("killed", signal.SIGKILL, -signal.SIGKILL)
assert end(start("killed")[0]) == 0
