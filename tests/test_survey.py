"""The survey of all schemes: what it runs, its frames, its claims and its script."""

import jax
import numpy as np
import pandas as pd
import pytest
import schemes

import lagc_jax
from lagc_jax.experiments import survey

M, K, R = 6, 20, 3
LAWS = {"low": lagc_jax.Exponential(1.0), "high": lagc_jax.Pareto(1.0, 1.2)}


def first_parameter(theta):
    """A stand-in for a test accuracy that moves along the path."""
    return theta[0]


@pytest.fixture(scope="module")
def task(problem):
    step_size = 1 / float(problem.total_smoothness)
    weights = dict(lasg_xi=1.0, lasg_server_xi=1.0, cada_xi=1.0, g_cada_xi=1.0)
    return survey.Task(problem, None, first_parameter, 0.5, step_size, 0.01, **weights)


@pytest.fixture(scope="module")
def times():
    return survey.draw_times(list(LAWS.values()), jax.random.key(4), R, K, M)


def test_all_schemes_meet_the_times_of_the_realisations_own_keys(times):
    assert times.shape == (2, R, K, M)
    key = jax.random.fold_in(jax.random.key(4), 1)
    for i, law in enumerate(LAWS.values()):
        np.testing.assert_array_equal(
            times[i, 1], lagc_jax.times.sample_worker_times(law, key, K, M)
        )


@pytest.mark.parametrize("name", ["LAG-WK", "fastest-k"])
def test_a_run_is_a_simulation_of_every_realisation(task, times, name):
    contender = survey.contenders(task, 2, 3, 4)[name]
    runs = survey.run(task, contender, times)
    for law, i in ((0, 2), (1, 0)):
        one = lagc_jax.simulate(
            task.problem,
            contender.scheme,
            lagc_jax.Trace.from_array(times[law, i], resample="replay"),
            jax.random.key(9),
            num_iterations=K,
            step_size=contender.step_size,
            record=first_parameter,
        )
        costs = one.wall_clock, one.communication, one.bits, one.computation
        for found, expected in zip(runs, (one.recorded, *costs), strict=True):
            # Two programs may round differently.
            np.testing.assert_allclose(found[law, i], expected, rtol=1e-9, atol=1e-12)


def test_there_is_a_contender_for_every_claim_and_style(task):
    names = set(survey.contenders(task, 2, 3, 4))
    assert {claim.scheme for claim in survey.CLAIMS} <= names
    assert {claim.than for claim in survey.CLAIMS} <= names
    assert names - {"GD"} <= set(lagc_jax.plots.paper.STYLES)


def made_up(accuracy):
    """Runs of one law whose costs are the numbers of the iterates, times 1, 2, 3 and 4."""
    accuracy = np.asarray(accuracy, float)
    iterates = np.broadcast_to(np.arange(accuracy.shape[1]), accuracy.shape)
    return survey.Runs(*(leaf[None] for leaf in (accuracy, *(c * iterates for c in (1, 2, 3, 4)))))


def test_the_table_holds_medians_of_the_first_hits():
    runs = {"A": made_up([[0, 0.6, 0.4], [0, 0, 0.5], [0, 0, 0]]), "B": made_up([[0, 0, 0.1]] * 3)}
    table = survey.table_frame(runs, ["low"], 0.5).set_index("scheme")
    row = table.loc["A"]
    assert list(row[["iterations", *survey.COSTS]]) == [2, 2, 4, 6, 8]
    assert row["reached"] == pytest.approx(2 / 3)
    assert row["final"] == pytest.approx(0.3)
    assert np.isinf(table.loc["B", ["iterations", *survey.COSTS]].to_numpy(float)).all()
    runs |= {"GD": made_up([[0, 0.5, 0.7]] * 3)}
    table = survey.table_frame(runs, ["low"], 0.5).assign(task="made up")
    relative = survey.relative_frame(table, "made up", "low").set_index("scheme")
    assert list(relative.loc["A"]) == pytest.approx([2] * 5 + [0.3])
    half = survey.table_frame({"A": made_up([[0, 0.6], [0, 0]])}, ["low"], 0.5)
    assert half[["iterations", "reached"]].to_numpy().tolist() == [[1, 0.5]]
    curves = survey.curve_frame(runs, ["low"])
    assert curves.loc[curves["scheme"] == "A", "accuracy"].tolist() == pytest.approx([0, 0.2, 0.3])


def test_claims_are_comparisons_of_the_table():
    names = {c.scheme for c in survey.CLAIMS} | {c.than for c in survey.CLAIMS}
    table = pd.DataFrame(
        [{"delays": "low", "scheme": n, "final": 0.9} | dict.fromkeys(survey.COSTS, 1.0)
         for n in sorted(names)]
    ).set_index("scheme", drop=False)  # fmt: skip
    claims = survey.claims_frame(table, minibatches=True)
    assert len(claims) == len(survey.CLAIMS)
    saves = claims["claim"].str.contains("60 %")
    assert claims.loc[saves, "holds"].tolist() == [False]
    assert claims.loc[~saves, "holds"].all()
    summary = survey.summarise_claims(claims).set_index("claim")
    assert summary.loc[saves[saves].index.map(claims["claim"]), "holds in"].tolist() == ["0 of 1"]
    assert (summary["from"] == (summary["compared"].str.startswith("final") ^ True)).all()
    table.loc["GC", "time"] = np.inf
    claims = survey.claims_frame(table, minibatches=False)
    assert len(claims) == len(survey.CLAIMS) - 1
    beaten = (claims["scheme"] == "GC") & (claims["compared"] == "time")
    assert claims.loc[beaten, "holds"].tolist() == [False]
    assert schemes.verdict(claims.loc[beaten, "holds"].item()) == "FAILS"


def test_a_claim_about_what_nobody_reached_is_undecided():
    names = {c.scheme for c in survey.CLAIMS} | {c.than for c in survey.CLAIMS}
    missed = dict.fromkeys(survey.COSTS, np.inf)
    rows = [{"delays": "low", "scheme": n, "final": 0.9} | missed for n in sorted(names)]
    table = pd.DataFrame(rows)
    claims = survey.claims_frame(table, minibatches=True)
    final = claims["compared"] == "final"
    assert claims.loc[~final, "holds"].isna().all()
    assert claims.loc[final, "holds"].all()
    summary = survey.summarise_claims(claims).set_index("claim")["holds in"]
    assert summary[claims["claim"].iloc[0]] == "0 of 0, 1 undecided"
    results = survey.Results(table, table, claims.assign(task="convex"))
    printed = schemes.report(results)
    assert printed.count("undecided  convex") == (~final).sum()
    assert "FAILS" not in printed


def test_the_script_writes_its_table_claims_and_figure(tmp_path, monkeypatch, capsys):
    everyone = survey.contenders
    few = "GD", "approximate GC", "CADA1"
    claim = survey.Claim("a paper", "a claim", "CADA1", "GD", "bits")
    monkeypatch.setattr(survey, "CLAIMS", (claim,))
    monkeypatch.setattr(survey, "contenders", lambda *a: {n: everyone(*a)[n] for n in few})
    assert schemes.main(["--quick", "--iterations", "12", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "schemes.csv")
    assert set(table["scheme"]) == set(few)
    assert len(table) == 3 * len(few)
    assert len(pd.read_csv(tmp_path / "schemes_claims.csv")) == 3
    for name in ("schemes.md", "schemes_accuracy.pdf", "schemes_accuracy.png"):
        assert (tmp_path / name).stat().st_size > 0
        assert str(tmp_path / name) in printed
    curves = pd.read_csv(tmp_path / "schemes_accuracy.csv")
    assert curves.groupby(["delays", "scheme"])["iterate"].max().eq(12).all()
    assert np.isfinite(curves.drop(columns=["task", "delays", "scheme"])).all().all()


def test_bad_options_are_refused_in_a_line(tmp_path, capsys):
    for wrong in (["--waited", "13"], ["--alpha", "-1"]):
        with pytest.raises(SystemExit):
            schemes.main(["--quick", "--out", str(tmp_path), *wrong])
        error = capsys.readouterr().err
        assert error.startswith("schemes.py: error: ")
        assert error.count("\n") == 1
