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
POINTS = Points(read_grid(CONFIG).experiment)
KEYS, MANY = POINTS.keys(), len(POINTS)


class Engine:
    """Takes a while for a point, and after some waits until its signal has been sent."""

    free = MANY  # points before it waits
    sent = -1  # what it waits to read from
    num_devices = 1

    def __init__(self, experiment):
        """Need nothing of it."""

    def measure(self, points):
        if Engine.free <= 0:
            os.read(Engine.sent, 1)
        Engine.free -= len(points)
        time.sleep(0.004 * len(points))
        return points


def rows(experiment, point):
    """Two levels of a point."""
    draws = np.random.default_rng(point.number).normal(size=(2, 2))
    return {"accuracy": np.array([1.0, 0.1]), "time_mean": draws[0], "diverged": draws[1]}


runner.Engine, runner.result_rows = Engine, rows


def start(name, free=MANY, sent=-1):
    """Fork a run into a directory; return its process and the folder of its blocks."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        Engine.free, Engine.sent = free, sent
        with open(OUT / f"{name}.log", "a", 1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os._exit(grid.main([str(CONFIG), "--out", str(OUT / name)]))
    return child, OUT / name / "blocks"


def present(folder):
    """Blocks that are there."""
    return sorted(folder.glob("[!.]*"))


def wait_for_blocks(child, folder, number, seconds=60.0):
    """Wait until there are so many blocks, the child ends, or time is up."""
    limit = time.perf_counter() + seconds
    while len(present(folder)) < number and time.perf_counter() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def end(child):
    """Exit status of a child, the negative signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def strike(name, number):
    """Start a run and end it by a signal at a random moment, which cannot come too late."""
    store = Store(OUT / name)
    store.ask(KEYS)
    assert not store.damaged, store.damaged
    if len(KEYS) - store.finished() < 10:
        for path in present(OUT / name / "blocks")[:30]:
            path.unlink()  # something must be left to do
    before = len(present(OUT / name / "blocks"))
    sent, send = os.pipe()
    more = int(rng.integers(0 if number == signal.SIGKILL else 1, 4))
    child, folder = start(name, more + 3, sent)
    if more:
        wait_for_blocks(child, folder, before + more)
        time.sleep(rng.uniform(0, 0.02))
    else:
        wait_for_blocks(child, folder, before + 2, rng.uniform(0, lasted))
    os.kill(child, number)
    os.write(send, b"x")
    status = end(child)
    assert status == (-number if number == signal.SIGKILL else 128 + number), status
    for each in (sent, send):
        os.close(each)


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
    strike("stopped", number)
assert end(start("stopped")[0]) == 0
for _ in range(KILLS):
    strike("killed", signal.SIGKILL)
assert end(start("killed")[0]) == 0
