"""Batch simulation of straggler-tolerant, communication-efficient distributed gradient descent."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lagc_jax import delays, law, problems, schemes, theory
from lagc_jax.batch import Batch, simulate_batch
from lagc_jax.cluster import Cluster, Link
from lagc_jax.delays import Exponential, Pareto, Trace, fit
from lagc_jax.descent import descend, init, step
from lagc_jax.problems import (
    Problem,
    linear_regression,
    logistic_regression,
    synthetic_linear_regression,
)
from lagc_jax.records import Trajectory, complexity
from lagc_jax.schemes import (
    Decoding,
    Proposal,
    Round,
    Rule,
    Scheme,
    g_lag,
    gc,
    gd,
    grouping,
    lag,
    lagc,
)
from lagc_jax.targets import Accuracy, Gap, Iterate
from lagc_jax.theory import expected_wall_clock
from lagc_jax.trajectory import simulate

__version__ = "0.1.0"

# Experiments need pandas and pyarrow, which most programs can do without: they load when asked for.
if TYPE_CHECKING:
    from lagc_jax import experiments as experiments
    from lagc_jax import plots as plots
    from lagc_jax.experiments.advice import design
    from lagc_jax.experiments.experiment import Experiment, Vary
    from lagc_jax.experiments.runner import run
    from lagc_jax.experiments.store import load_results
else:
    _LAZY = {
        "design": "advice",
        "Experiment": "experiment",
        "Vary": "experiment",
        "run": "runner",
        "load_results": "store",
    }

    def __getattr__(name: str) -> Any:
        if name in ("experiments", "plots"):
            return import_module(f"lagc_jax.{name}")
        if name not in _LAZY:
            homes = (module for module in (problems, schemes, delays) if hasattr(module, name))
            hint = next((f"; it is in {module.__name__}" for module in homes), "")
            if (Path(__file__).parent / "experiments" / f"{name}.py").exists():
                hint = f"; it is in lagc_jax.experiments.{name}"
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
        module = import_module(f"lagc_jax.experiments.{_LAZY[name]}")
        globals()[name] = getattr(module, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Accuracy",
    "Batch",
    "Cluster",
    "Decoding",
    "Experiment",
    "Exponential",
    "Gap",
    "Iterate",
    "Link",
    "Pareto",
    "Problem",
    "Proposal",
    "Round",
    "Rule",
    "Scheme",
    "Trace",
    "Trajectory",
    "Vary",
    "complexity",
    "delays",
    "descend",
    "design",
    "expected_wall_clock",
    "fit",
    "g_lag",
    "gc",
    "gd",
    "grouping",
    "init",
    "lag",
    "lagc",
    "law",
    "linear_regression",
    "load_results",
    "logistic_regression",
    "problems",
    "run",
    "schemes",
    "simulate",
    "simulate_batch",
    "step",
    "synthetic_linear_regression",
    "theory",
]
