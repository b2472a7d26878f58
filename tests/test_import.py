"""Importing the library costs what JAX, optax and NumPy cost; the rest loads when asked for."""

import subprocess
import sys

import pytest

import lagc_jax as lj
from lagc_jax.__main__ import NAMES, main

PROGRAM = """
import sys
import jax, numpy, optax
before = set(sys.modules)
import lagc_jax as lj
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - set(sys.stdlib_module_names) - {name.partition(".")[0] for name in before}))
print(*sorted(name for name in sys.modules if name.startswith(("lagc_jax.exp", "lagc_jax.plots"))))
"""


def test_import_loads_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["lagc_jax", ""]


def test_names_that_load_late_are_there_and_listed():
    from lagc_jax.experiments import advice, store

    assert lj.design is advice.design
    assert lj.load_results is store.load_results
    assert lj.plots.style is not None
    assert lj.experiments.run is lj.run
    assert set(lj.__all__) <= set(dir(lj))
    assert all(hasattr(lj, name) for name in lj.__all__)
    assert not hasattr(lj, "desing")


@pytest.mark.long
def test_the_scripts_are_one_command(monkeypatch, capsys):
    command = [sys.executable, "-m", "lagc_jax", "plot", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    assert shown.startswith("usage: lagc plot")
    monkeypatch.setattr(sys, "argv", ["lagc"])
    main()
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in NAMES)
    monkeypatch.setattr(sys, "argv", ["lagc", "papers"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert (stopped.value.code, said.count("\n")) == (2, 1)
    assert "'papers' is unknown; give one of" in said
