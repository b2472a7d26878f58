"""Several processes at one sweep, some of them hindered; `test_sweep_processes.py` starts it.

The processes are forks that compute nothing: they say that they are at a block, by a file, and wait
for another. The first argument is a directory; a table of what every process did goes to stdout.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np

from lagc_jax.experiments import runner

OUT = Path(sys.argv[1])
sys.path.append(str(Path(__file__).parents[1] / "sweeps"))
grid = importlib.import_module("grid")
TOML = """
iterations = 4
realisations = 2
points_per_block = 1
[[problem]]
num_features = 4
[[scheme]]
name = "{name}"
num_workers = 4
{more}
[[delays]]
family = "exponential"
rate = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
"""
GRIDS = {
    "gd": TOML.format(name="GD", more=""),
    "lag": TOML.format(name="LAG", more="xi = 0.1"),
    "later": TOML.format(name="stochastic GC", more="redundancy = 2\nnum_waited = 3"),
}


class Engine:
    """Takes part in a sweep without computing: says that it is at a block and waits for `go`."""

    num_devices = 1

    def __init__(self, experiment):
        """Need nothing of it."""

    def measure(self, points):
        (Path.cwd() / f"busy{os.getpid()}").touch()
        wait_for(Path.cwd() / "go", Path.cwd() / f"go{os.getpid()}")
        return points


runner.Engine, runner.result_rows = Engine, lambda *_: {"accuracy": np.zeros(1)}


def wait_for(*paths, child=None):
    """Wait until there is one of some files, or a child, which is to make it, has ended."""
    limit = time.perf_counter() + 600
    while not any(path.exists() for path in paths):
        if child and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        assert time.perf_counter() < limit, paths
        time.sleep(0.005)


class Scene:
    """Processes at work in one directory, and what became of them."""

    def __init__(self, name):
        """Nobody is there yet."""
        self.name, self.place = name, OUT / name
        self.place.mkdir()
        self.children, self.outcome, self.started = [], [], 0

    def start(self, *options, grid_name="gd", **environment):
        """Fork a process with options of `grid.py`; return its id."""
        sys.stdout.flush()
        self.started += 1
        log = self.place / f"{self.started}.log"
        child = os.fork()
        if child == 0:
            os.chdir(self.place)
            os.environ.update(environment)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            status = 99
            try:
                status = grid.main(
                    [
                        str(OUT / f"{grid_name}.toml"),
                        "--out",
                        "out",
                        "--verbose",
                        *map(str, options),
                    ]
                )
            except SystemExit as stop:
                status = stop.code
            finally:
                sys.stdout.flush()
                os._exit(status)
        self.children.append((child, log))
        return child

    def several(self, index, **more):
        """Start a process of two, with a port that is in use."""
        return self.start(
            "--coordinator", ADDRESS, "--num-processes", 2, "--process-id", index, **more
        )

    def both(self, **more):
        """Start two processes; return their ids once each is at a block."""
        pair = [self.several(index, **more) for index in range(2)]
        for child in pair:
            wait_for(self.place / f"busy{child}", child=child)
        return pair

    def go(self):
        """Let all finish."""
        (self.place / "go").touch()

    def end(self):
        """Status and output of every process, in the order of their start."""
        for child, log in self.children:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            self.outcome.append((status, log.read_text()))
        self.children = []
        return self.outcome


def signalled(name, victim, number):
    """A pair, one of which gets a signal in a block; the other goes on when that has ended."""
    scene = Scene(name)
    child = scene.both()[victim]
    os.kill(child, number)
    (scene.place / f"go{child}").touch()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    scene.go()
    return scene.end()


def twice(name):
    """A process that gets a signal twice in a block that does not end."""
    scene = Scene(name)
    child = scene.start()
    wait_for(scene.place / f"busy{child}", child=child)
    for _ in range(2):
        os.kill(child, signal.SIGTERM)
        time.sleep(0.1)
    return scene.end()


def absent(name, index):
    """One process of two; the other never comes."""
    scene = Scene(name)
    scene.several(index)
    scene.go()
    return scene.end()


def refused(name, options, **more):
    """A pair, and then a third process, which is turned away before the pair goes on."""
    scene = Scene(name)
    scene.both()
    pair, scene.children = scene.children, []
    scene.start(*options, **more)
    scene.end()
    scene.go()
    scene.children = pair
    return scene.end()


def launched(name):
    """A pair that SLURM started, with schemes that draw when they are made."""
    scene = Scene(name)
    scene.go()
    for index in range(2):
        variables = {"SLURM_PROCID": str(index), "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
        scene.start("--distributed", grid_name="later", **variables)
    return scene.end()


def waiting(name):
    """A process that JAX is to connect with others which do not come."""
    scene = Scene(name)
    initialize, jax.distributed.initialize = jax.distributed.initialize, lambda **_: time.sleep(60)
    scene.start("--distributed", "--timeout", 1)
    jax.distributed.initialize = initialize
    return scene.end()


for grid_name, toml in GRIDS.items():
    (OUT / f"{grid_name}.toml").write_text(toml)
# The children compute nothing before the fork, and the parent nothing at all.
warnings.filterwarnings("ignore", "os.fork")
with socket.socket() as taken:
    taken.bind(("localhost", 0))
    taken.listen()
    ADDRESS = f"localhost:{taken.getsockname()[1]}"
    two = ("--num-processes", 2, "--process-id")
    outcomes = {
        "first killed": signalled("first killed", 0, signal.SIGKILL),
        "second killed": signalled("second killed", 1, signal.SIGKILL),
        "second stopped": signalled("second stopped", 1, signal.SIGINT),
        "stopped twice": twice("stopped twice"),
        "first absent": absent("first absent", 1),
        "second absent": absent("second absent", 0),
        "other grid": refused("other grid", (*two, 1), grid_name="lag"),
        "same index": refused("same index", (*two, 1)),
        "alone": refused("alone", ()),
        "later": launched("later"),
        "waiting": waiting("waiting"),
    }
print(json.dumps(outcomes))
