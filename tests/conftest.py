"""Double precision for all tests, and fixtures that more than one file uses."""

import gc
import os
import threading
from contextlib import contextmanager
from pathlib import Path

import jax
import pytest
from jax._src.interpreters import mlir
from jaxlib.mlir import ir

import lagc_jax

# Nearly all time is compilation, and code that XLA does not make fast takes it a fifth of the time
# (one file: 19 seconds for 110); a fifth of that goes into moving things out of loops and into
# XLA's checks of itself. The programs are the same; `XLA_FLAGS= python -m pytest` tests them with
# the code that users get.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
    " --xla_disable_hlo_passes=while-loop-invariant-code-motion,hlo-verifier",
)
# JAX makes objects by the million, which the collector walks again and again.
gc.set_threshold(200_000, 50, 100)
jax.config.update("jax_enable_x64", True)
# What one worker has compiled no other compiles again, nor the next run.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# Where an operation was written goes into no assertion, and takes a twentieth of the time.
jax.config.update("jax_traceback_in_locations_limit", 0)

_make_context, _kept = mlir.make_ir_context, threading.local()


def _share_context():
    """JAX's MLIR context, one a thread: one a program takes as long as lowering a small one."""
    if ir.Context.current is not None:  # within the lowering of another program
        return _make_context()
    if not hasattr(_kept, "context"):
        _kept.context = _make_context()
    return _kept.context


mlir.make_ir_context = _share_context


def pytest_sessionfinish():
    """Keep pytest from looking through all that is left five times at its end."""
    gc.freeze()


collect_ignore = [
    "victims.py",
    "peers.py",
    "compiled.py",
]  # scripts that test_sweep_processes.py runs

_COMPILED = []


def _record(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED.append(duration)


jax.monitoring.register_event_duration_secs_listener(_record)


@pytest.fixture(scope="session")
def problem():
    """The synthetic regression with increasing smoothness, small: M = 6, d = 8."""
    return lagc_jax.synthetic_linear_regression(jax.random.key(0), num_workers=6, num_features=8)


@pytest.fixture(scope="session")
def compilations():
    """A context manager whose target, once left, holds the number of programs compiled in it."""

    @contextmanager
    def count():
        result = []
        before = len(_COMPILED)
        yield result
        result.append(len(_COMPILED) - before)

    return count
