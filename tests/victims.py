"""Runs a sweep in forked processes and sends them signals; `test_sweep_processes.py` starts it.

Forks of a process that has imported everything but computed nothing start fast. The first argument
is the configuration, the second a directory: `whole` is left alone, `stopped` gets SIGINT and
SIGTERM, `killed` gets SIGKILL at 20 random moments and is then finished.
"""

import importlib.util
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from lagc_jax.sweep import Points, read_config
from lagc_jax.sweep.store import Store

KILLS = 20
CONFIG, OUT = Path(sys.argv[1]), Path(sys.argv[2])
SCRIPT = Path(__file__).parents[1] / "sweeps" / "grid.py"


def load_script():
    spec = importlib.util.spec_from_file_location("grid", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


grid = load_script()
config = read_config(CONFIG)
total = len(Points(config))


def start(name):
    """Fork a run into a directory; return its process and store."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with open(OUT / f"{name}.log", "a", 1) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            os._exit(grid.main([str(CONFIG), "--out", str(OUT / name)]))
    return child, Store(OUT / name, config, total)


def wait_for_blocks(child, store, more):
    """Wait until there are so many more blocks than now, or the child is at its end."""
    before = len(store.present())
    while len(store.present()) < before + more:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def end(child):
    """Exit status of a child, the negative signal if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# The child computes nothing before the fork, and the parent nothing at all.
warnings.filterwarnings("ignore", "os.fork")
rng = np.random.default_rng(0)
begin = time.perf_counter()
assert end(start("whole")[0]) == 0
lasted = time.perf_counter() - begin

for number in (signal.SIGINT, signal.SIGTERM):
    child, store = start("stopped")
    wait_for_blocks(child, store, 1)
    os.kill(child, number)
    assert end(child) == 128 + number, number
    assert len(store.present()) < store.num_blocks
assert end(start("stopped")[0]) == 0

for _ in range(KILLS):
    child, store = start("killed")
    more = rng.integers(0, 4)
    if more:
        wait_for_blocks(child, store, more)
        time.sleep(rng.uniform(0, 0.02))
    else:
        time.sleep(rng.uniform(0, 0.2) * lasted)
    os.kill(child, signal.SIGKILL)
    assert end(child) == -signal.SIGKILL
    missing, damaged = store.verify() if store.directory.exists() else ([0], [])
    assert missing, "nothing was left to kill"
    assert not damaged, damaged
assert end(start("killed")[0]) == 0
