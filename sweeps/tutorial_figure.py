# %% [markdown]
"""A first figure: the gap against time, as a band over realisations, for three weights of LAG.

The cells of this script are marked with `# %%`; `jupytext --to notebook` makes a notebook of them.
"""

# %%
from pathlib import Path

import jax
import matplotlib
import numpy as np
from common import configure_jax

import lagc_jax

matplotlib.use("Agg")  # a notebook shows figures by itself: leave this line out there
import matplotlib.pyplot as plt

configure_jax()

# %% A problem over 12 workers, and times of which one in ten is much longer.
problem = lagc_jax.synthetic_linear_regression(jax.random.key(0), num_workers=12)
delays = lagc_jax.Pareto(scale=1.0, shape=1.5)
keys = jax.random.split(jax.random.key(1), 200)


# %% One run is a function of its key and of `xi`; `vmap` makes 200 x 3 of it.
def run(key: jax.Array, xi: jax.Array) -> lagc_jax.Trajectory:
    """LAG with the server's trigger."""
    scheme = lagc_jax.lag(12, xi=xi)
    return lagc_jax.simulate(problem, scheme, delays, key, num_iterations=1000)


weights = np.array([0.0, 0.1, 1.0])
over_keys = jax.vmap(run, in_axes=(0, None))
runs = jax.jit(jax.vmap(over_keys, in_axes=(None, 0)))(keys, weights)

# %% What they took to a gap of 1e-6: mean over the realisations, a row a weight.
cost = lagc_jax.complexity(runs, 1e-6)
for xi, time, messages in zip(weights, cost.wall_clock, cost.communication, strict=True):
    print(f"xi = {xi:g}: time {float(time.mean()):.4g}, {float(messages.mean()):.4g} messages")

# %% The gap of the newest iterate on a common grid of times, and its 5-95 % band.
times = np.linspace(0, float(np.median(runs.wall_clock[:, :, -1])), 200)
gaps = np.asarray(runs.gap_at(times))
with lagc_jax.plots.style():
    figure, axis = plt.subplots(figsize=(3.5, 2.6), layout="constrained")
    for xi, each in zip(weights, gaps, strict=True):
        (line,) = axis.plot(times, np.median(each, axis=0), label=f"$\\xi = {xi:g}$")
        low, high = np.quantile(each, [0.05, 0.95], axis=0)
        axis.fill_between(times, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set(yscale="log", xlabel="Time (unit of the delays)", ylabel="Optimality gap")
    axis.legend()
    Path("results").mkdir(exist_ok=True)
    figure.savefig("results/first_figure.png")
print("Written: results/first_figure.png")
