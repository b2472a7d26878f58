"""The comparison of event-driven servers: its frames, and that every claim has its schemes."""

import jax
import numpy as np
import pandas as pd
import pytest
import waiting as script

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
    laws = waiting.laws() | waiting.bursty_laws()
    names = waiting.schemes(laws["equal"]) | waiting.coded_schemes()
    for claim in waiting.CLAIMS:
        assert {claim.scheme, claim.than} <= names.keys()
        assert claim.law in laws
    rows = [(law, name) for law in laws for name in names]
    table = pd.DataFrame(rows, columns=["delays", "scheme"])
    table["time"] = table["final"] = 2.0
    table["standard_error"] = 0.1
    table.loc[table["scheme"] == "all", "time"] = np.inf
    claims = waiting.claims_frame(table)
    ties = np.array([claim.ties for claim in waiting.CLAIMS])
    assert claims["holds"][ties].all()
    assert claims.loc[0, "ratio"] == 0.0
    assert claims.loc[0, "holds"]
    assert not claims.loc[2, "holds"]  # final: as far, and no tie is enough


@pytest.mark.parametrize(("time", "holds"), [(1.6, True), (1.8, None), (2.2, None), (2.4, False)])
def test_times_within_two_standard_errors_decide_nothing(time, holds):
    claim = next(c for c in waiting.CLAIMS if (c.scheme, c.than) == ("Ringmaster", "ASGD"))
    names = {each for c in waiting.CLAIMS for each in (c.scheme, c.than)}
    rows = [(c.law, name) for c in waiting.CLAIMS for name in names]
    table = pd.DataFrame(rows, columns=["delays", "scheme"]).drop_duplicates()
    table["time"], table["final"], table["standard_error"] = 2.0, 1.0, 0.1
    table.loc[table["scheme"] == "Ringmaster", "time"] = time
    found = waiting.claims_frame(table)["holds"][waiting.CLAIMS.index(claim)]
    assert pd.isna(found) if holds is None else found == holds


def test_mindflayer_knows_the_share_of_its_trials_that_succeed():
    for law in waiting.laws().values():
        success = waiting.schemes(law)["MindFlayer"].decoding.success
        drawn = law.sample(jax.random.key(0), (20_000, waiting.M)) <= 2.0
        # Of 20,000 draws a worker: 5 standard errors, wrong in one worker of a million.
        np.testing.assert_allclose(drawn.mean(0), np.broadcast_to(success, waiting.M), atol=0.018)


def test_its_experiment_gives_the_times_of_single_runs():
    key = jax.random.key(0)
    laws = waiting.laws()
    names = waiting.schemes(laws["unequal"])
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


def test_a_run_that_does_not_fit_is_refused_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--realisations", "99999999999", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert error.startswith("waiting.py: error: ")
    assert error.count("\n") == 1
