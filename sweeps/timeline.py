"""Draw what workers do under six schemes on the same times, one under the other.

A worker's j-th job takes the same time under all of them. One worker in three is slow.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from common import Parser, Run, configure_jax, count, folder, option, run_script, seed

import lagc_jax
from lagc_jax import schemes
from lagc_jax.plots import paper as plotting
from lagc_jax.plots.timeline import timeline
from lagc_jax.timeline import job_table

M, UNTIL = 6, 6.0
LONGEST = 10**5  # iterations, far more than are drawn


def make_schemes() -> dict[str, lagc_jax.Scheme]:
    """Six ways to wait for six workers; all but the first two have every worker hold all data."""
    return {
        "GD: wait for all": lagc_jax.gd(M),
        "Gradient coding: wait for the fastest 5, of twice the load": lagc_jax.gc(M, 2),
        "K-sync: the fastest 3 workers, the others are stopped": schemes.k_sync(M, 3),
        "K-async: the fastest 3 workers, the others go on": schemes.k_async(M, 3),
        "ASGD: every gradient is an update": schemes.asynchronous(M),
        "Rennala: 3 gradients at the present iterate": schemes.rennala(M, 3),
    }


def make_tables(seed: int, num_iterations: int) -> dict[str, pd.DataFrame]:
    """The table of jobs of every scheme."""
    key = jax.random.key(seed)
    problem = lagc_jax.synthetic_linear_regression(key, num_workers=M, num_features=M)
    delays = lagc_jax.delays.ShiftedExponential(
        shift=np.array([0.5, 0.5, 1.5, 0.5, 0.5, 1.5]), rate=np.array([2, 2, 0.7, 2, 2, 0.7])
    )
    tables = {}
    for name, scheme in make_schemes().items():
        run = lagc_jax.simulate(
            problem, scheme, delays, key, num_iterations=num_iterations, sampler="workers"
        )
        tables[name] = job_table(run, scheme, delays, key)
    return tables


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="timeline.py", description=__doc__)
    option(parser, "--iterations", "of every scheme", type=count, default=40, metavar="K")  # type: ignore[arg-type]
    option(parser, "--seed", "of the times", type=seed, default=0)  # type: ignore[arg-type]
    option(parser, "--out", "where results go", type=folder, default=Path("figures"), metavar="DIR")  # type: ignore[arg-type]
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args: argparse.Namespace = parser.parse_args(arguments)
    this = Run(parser.prog)
    if args.iterations > LONGEST:
        parser.error(
            f"--iterations={args.iterations} is more than a figure of {UNTIL:g} units of time can "
            f"show; give at most {LONGEST}"
        )
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(str(error))
    tables = make_tables(args.seed, args.iterations)
    until = min(UNTIL, *(table["finish"].max() for table in tables.values()))
    data = pd.concat({name: t[t["start"] < until] for name, t in tables.items()}, names=["scheme"])
    data = data.reset_index(level=0).reset_index(drop=True)
    this.report(plotting.save_figure(timeline(tables, until), data, args.out / "timeline"))
    return 0


if __name__ == "__main__":
    configure_jax()
    run_script(main)
