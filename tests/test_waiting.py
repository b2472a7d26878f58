"""The comparison of event-driven servers: its frames, and that every claim has its schemes."""

import jax
import numpy as np
import pandas as pd
import pytest

import lagc_jax as lj
from lagc_jax.experiments import run, waiting


def test_the_table_takes_the_best_step_size_and_the_final_gap_of_one():
    found = pd.DataFrame(
        {
            "delays": "equal", "scheme": "ASGD", "step_size": [0.1, 0.1, 0.3, 0.3],
            "accuracy": [1.0, np.nan] * 2, "iterate": [np.nan, 9.0] * 2,
            "time_mean": [5.0, 8.0, 7.0, 8.0], "time_standard_error": 0.5, "iterations": 4.0,
            "communication": 6.0, "computation": 3.0, "gap": [1.0, 0.5, 1.0, 0.7],
        }
    )  # fmt: skip
    row = waiting.table_frame(found).iloc[0]
    assert (row["time"], row["step_size"], row["final"]) == (5.0, 0.1, 0.7)


def test_every_claim_is_about_schemes_and_laws_that_are_run():
    names = waiting.schemes() | waiting.coded_schemes()
    laws = waiting.laws() | waiting.bursty_laws()
    for claim in waiting.CLAIMS:
        assert {claim.scheme, claim.than} <= names.keys()
        assert claim.law in laws
    rows = [(law, name) for law in laws for name in names]
    table = pd.DataFrame(rows, columns=["delays", "scheme"])
    table["time"] = table["final"] = 2.0
    table.loc[table["scheme"] == "all", "time"] = np.inf
    claims = waiting.claims_frame(table)
    assert claims["holds"].all()
    assert claims.loc[0, "ratio"] == 0.0


def test_its_experiment_gives_the_times_of_single_runs():
    key = jax.random.key(0)
    names, laws = waiting.schemes(), waiting.laws()
    chosen = {"K-sync": names["K-sync"]}, {"unequal": laws["unequal"]}
    table = waiting.table_frame(run(waiting.experiment(key, *chosen, 50.0, 30, 2), progress=False))
    problem = waiting.problem(key)
    step = float(table["step_size"].iloc[0]) / float(problem.total_smoothness)
    runs = [
        lj.simulate(problem, *map(next, map(iter, (chosen[0].values(), chosen[1].values()))),
                    jax.random.fold_in(key, i), num_iterations=30, step_size=step)
        for i in range(2)
    ]  # fmt: skip
    times = [float(lj.complexity(one, 50.0).wall_clock) for one in runs]
    assert table["time"].iloc[0] == pytest.approx(np.mean(times), rel=1e-9)
