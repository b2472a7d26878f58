# %% [markdown]
"""From measured computing times to a chosen scheme.

The cells of this script are marked with `# %%`, so that an editor can run them one by one and
`jupytext --to notebook sweeps/tutorial.py` makes a notebook of them. The measured times are not
real: the first cell draws them with the package, from workers of which some are slow for a while.
"""

# %%
import tempfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from common import configure_jax
from tqdm import tqdm

import lagc_jax
from lagc_jax.experiments.rows import reordered
from lagc_jax.times import sample_worker_times

configure_jax()
key = jax.random.key(0)
directory = Path(tempfile.mkdtemp())

# %% Make a trace of 6 workers in 192 iterations, and save it as a cluster's log would be.
cluster = lagc_jax.delays.Bursty(lagc_jax.Pareto(1.0, 1.8), slowdown=5.0, enter=0.02, leave=0.2)
times = np.asarray(sample_worker_times(cluster, key, 192, 6))
log = pd.DataFrame(times, columns=[f"worker {m + 1}" for m in range(6)])
log.to_csv(directory / "trace.csv", index=False)
print(
    f"A trace made by lagc_jax, not measured: {log.shape[0]} iterations of {log.shape[1]} workers"
)

# %% Read it. Bursts last 5 iterations on average, so blocks of 16 keep most of them whole.
trace = lagc_jax.Trace.from_csv(directory / "trace.csv", resample="blocks", block=16)

# %% Which family comes close? (None has bursts, so the trace itself is used further on.)
fits = lagc_jax.fit(trace.times)
print(fits.drop(columns="delays").to_string(), end="\n\n")

# %% How sure are we of the mean of the slowest worker? Resample the trace itself.
keys = jax.random.split(key, 200)
resampled = jax.vmap(lambda one: sample_worker_times(trace, one, 192, 6))(keys)
slowest = np.asarray(resampled.max(-1).mean(-1))
low, high = np.quantile(slowest, [0.025, 0.975])
print(f"An iteration of GD takes {slowest.mean():.3g} on average (95 %: {low:.3g} to {high:.3g})\n")

# %% Choose a scheme: workers can store three partitions, ten messages cost a unit of time.
problem = lagc_jax.synthetic_linear_regression(key, num_workers=6, num_features=20)
advice = lagc_jax.design(
    6,
    trace,
    storage=3,
    problem=problem,
    accuracy=1e-6,
    price_message=0.1,
    key=key,
    progress=partial(tqdm, disable=None),
)
print(advice.table.head(5).to_string(), advice.reason, sep="\n\n", end="\n\n")

# %% Run it, with every worker in the place that the advice gives it.
placed = reordered(trace, advice.assignment)
trajectory = lagc_jax.simulate(
    problem,
    advice.scheme,
    placed,
    key,
    num_iterations=advice.num_iterations,
    step_size=advice.step_size,
)
print(
    f"One run: gap {float(trajectory.gap[-1]):.2g} after {advice.num_iterations} iterations, time "
    f"{float(trajectory.wall_clock[-1]):.4g}, {int(trajectory.communication[-1])} messages"
)
