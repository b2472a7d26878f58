"""Sweeps in processes of their own: killed, on several devices, several at once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import lagc_jax

pytestmark = pytest.mark.long

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
    quick = os.environ.get("XLA_FLAGS", "")  # those of conftest.py
    flags = f"{quick} --xla_force_host_platform_device_count={devices}"
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / f"cache{devices}")}
    return os.environ | cache | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


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
def table(folder):
    finish(start(folder, "on1"))
    return lagc_jax.load_results(folder / "on1")


def assert_same(frame, other):
    pd.testing.assert_frame_equal(frame, other, check_exact=True)


def test_a_sweep_killed_twenty_times_is_the_undisturbed_one_bit_for_bit(victims):
    whole = lagc_jax.load_results(victims / "whole")
    assert whole["point"].nunique() == 60
    assert_same(lagc_jax.load_results(victims / "killed"), whole)


def test_signals_stop_it_after_a_block_and_say_how_to_continue(victims):
    whole = lagc_jax.load_results(victims / "whole")
    assert_same(lagc_jax.load_results(victims / "stopped"), whole)
    log = (victims / "stopped.log").read_text()
    assert "Stopped by SIGINT" in log
    assert "Stopped by SIGTERM" in log
    assert log.count("To continue: python") == 2


@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices_gives_the_same_bits(devices, folder, table):
    finish(start(folder, f"on{devices}", devices=devices))
    assert_same(lagc_jax.load_results(folder / f"on{devices}"), table)


def test_two_processes_give_the_same_bits(folder, table):
    both = ("--num-processes", 2, "--process-id")
    processes = [start(folder, "both", *both, i, "--verbose") for i in range(2)]
    outputs = [finish(process) for process in processes]
    assert "Complete" in outputs[0]
    assert_same(lagc_jax.load_results(folder / "both"), table)


@pytest.fixture(scope="module")
def peers(folder):
    """What `peers.py` saw: status and output of the processes of every scene."""
    command = [sys.executable, TESTS / "peers.py", folder]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True)
    return json.loads(ran.stdout)


@pytest.mark.parametrize(("victim", "scene"), [(0, "first killed"), (1, "second killed")])
def test_what_a_killed_process_leaves_falls_to_the_other(victim, scene, peers):
    killed, (status, output) = peers[scene][victim], peers[scene][1 - victim]
    assert killed[0] == -signal.SIGKILL
    assert status == 0
    assert f"process {victim} (process " in output
    assert "was lost; its points fall to the others" in output
    assert "6 of 6 points" in output
    assert "Complete" in output


def test_what_a_stopped_process_leaves_falls_to_the_other(peers):
    (status, output), (stopped, last_words) = peers["second stopped"]
    assert status == 0
    assert "has left; its points fall to the others" in output
    assert "Complete" in output
    assert stopped == 128 + signal.SIGINT
    assert "Stopped by SIGINT" in last_words
    assert "To continue: python" in last_words


def test_a_second_signal_ends_a_process_within_its_block(peers):
    ((status, _),) = peers["stopped twice"]
    assert status == 128 + signal.SIGTERM


@pytest.mark.parametrize("scene", ["first absent", "second absent"])
def test_nobody_waits_for_a_process_that_never_came(scene, peers):
    ((status, output),) = peers[scene]
    assert status == 0
    assert "Complete" in output


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("other grid", "in use with another configuration (process "),
        ("same index", "in use by another run (process "),
        ("alone", "in use by another run (process "),
    ],
)
def test_who_does_not_belong_to_the_others_is_turned_away(scene, words, peers):
    (status, output), *pair = peers[scene]
    assert status == 2
    assert words in output
    assert [status for status, _ in pair] == [0, 0]


def test_schemes_that_draw_when_they_are_made_run_in_two_processes(peers):
    assert [status for status, _ in peers["later"]] == [0, 0]
    assert any("Complete" in output for _, output in peers["later"])


def test_processes_that_do_not_come_are_waited_for_no_longer_than_said(peers):
    ((status, output),) = peers["waiting"]
    assert status == 1
    assert output.splitlines() == [
        "Waiting for the other processes, 1 s at most",
        "grid.py: error: not all processes came within 1 s (--timeout); start them all, and again",
    ]
