# %% [markdown]
"""A sweep in Python, on all devices, kept on disk and drawn.

The cells of this script are marked with `# %%`; `jupytext --to notebook` makes a notebook of them.
On a laptop `XLA_FLAGS=--xla_force_host_platform_device_count=2` makes two devices of its cores.
"""

# %%
import jax
from common import configure_jax

import lagc_jax
from lagc_jax import Experiment, Gap, Vary
from lagc_jax.plots import draw, select

configure_jax()
print(f"{jax.local_device_count()} device(s)")

# %% Everything that is combined, by name. Combinations that cannot be are dropped and counted.
experiment = Experiment(
    problems={"LAG's": lagc_jax.synthetic_linear_regression(jax.random.key(0), 12)},
    schemes={
        "GD": lagc_jax.gd(12),
        "LAGC": Vary(
            lagc_jax.lagc, num_workers=12, num_groups=[2, 4], redundancy=[1, 2, 3], xi=0.1
        ),
    },
    delays={"Weibull": Vary(lagc_jax.delays.Weibull, scale=1.0, shape=[0.5, 0.7, 1.0])},
    target=Gap([1e-4]),
    num_iterations=1000,
    num_realisations=200,
)

# %% Run it. Stopped at any time, the same call goes on; with more values only the new are run.
table = lagc_jax.run(experiment, store="results/tutorial")
print(table[["scheme", "num_groups", "redundancy", "shape", "time_mean", "communication"]].head())

# %% The fastest scheme for each tail.
best = table.loc[table.groupby("shape")["time_expected"].idxmin()]
print(best[["shape", "scheme", "num_groups", "redundancy", "time_expected", "computation"]])

# %% Draw it: lines over what varies, the frontier of time, messages and gradients.
for picture in draw(select(table)):
    picture.figure.savefig(f"results/tutorial/{picture.name}.png")
    print(f"Written: results/tutorial/{picture.name}.png")
