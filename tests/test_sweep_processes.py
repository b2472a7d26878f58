"""Sweeps in processes of their own: killed, on several devices, several at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import lagc_jax

TESTS = Path(__file__).parent
SCRIPT = TESTS.parent / "sweeps" / "grid.py"
# Sixty points, all of different cost, one or many in a block.
TOML = """
iterations = 20
realisations = 32
accuracies = [1.0, 1e-1]
points_per_block = {size}
[[problem]]
num_features = 5
[[scheme]]
name = "LAGC"
num_workers = 4
num_groups = [1, 2]
redundancy = [1, 2]
xi = [0.01, 0.05, 0.1, 0.2, 0.4]
[[delays]]
family = "exponential"
rate = [1.0, 2.0, 3.0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "single.toml").write_text(TOML.format(size=1))
    (folder / "large.toml").write_text(TOML.format(size=25))
    return folder


def environment(folder, devices=1):
    flags = f"--xla_force_host_platform_device_count={devices}"
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / f"cache{devices}")}
    always = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return os.environ | cache | always | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def start(folder, name, *arguments, devices=1):
    command = [sys.executable, SCRIPT, folder / "large.toml", "--out", folder / name, *arguments]
    return subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, devices),
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def victims(folder):
    """What `victims.py` left: the same sweep whole, stopped by signals, and killed."""
    command = [sys.executable, TESTS / "victims.py", folder / "single.toml", folder]
    subprocess.run(command, env=environment(folder), check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def table(victims):
    return lagc_jax.load_results(victims / "whole")


def assert_same(frame, other):
    pd.testing.assert_frame_equal(frame, other, check_exact=True)


def test_a_sweep_killed_twenty_times_is_the_undisturbed_one_bit_for_bit(victims, table):
    assert table["point"].nunique() == 60
    assert_same(lagc_jax.load_results(victims / "killed"), table)


def test_signals_stop_it_after_a_block_and_say_how_to_continue(victims, table):
    assert_same(lagc_jax.load_results(victims / "stopped"), table)
    log = (victims / "stopped.log").read_text()
    assert "Stopped by SIGINT" in log
    assert "Stopped by SIGTERM" in log
    assert log.count("To continue: python") == 2


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_any_number_of_devices_gives_the_same_bits(devices, folder, table):
    finish(start(folder, f"on{devices}", devices=devices))
    assert_same(lagc_jax.load_results(folder / f"on{devices}"), table)


def test_two_processes_give_the_same_bits_and_only_the_first_prints(folder, table):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = ("--coordinator", address, "--num-processes", 2, "--process-id")
    processes = [start(folder, "both", *both, i, "--verbose") for i in range(2)]
    first, second = (finish(process) for process in processes)
    assert_same(lagc_jax.load_results(folder / "both"), table)
    # The first process's half of the 60 points; all that are there may be more.
    assert 2 <= sum(line.startswith("block ") for line in first.splitlines()) <= 30
    assert "Complete" in first
    assert not second.strip("\n") or "[Gloo]" in second
    assert "block" not in second
