"""The study: what the paper claims, and the script that shows it."""

import dataclasses

import jax
import numpy as np
import optax
import pandas as pd
import paper
import pytest
import reference
from matplotlib.figure import Figure

import lagc_jax
from lagc_jax.experiments import paper as study

pytestmark = pytest.mark.long

FILES = [
    "table1.csv",
    "table1.md",
    "claims.csv",
    *(
        f"{name}.{suffix}"
        for name in ("fig2_pareto", "fig3_exponential", "fig4_redundancy", "fig5_tail")
        for suffix in ("csv", "pdf", "png")
    ),
]


def run_script(*arguments):
    """Exit status of the script run in this process; warnings stay errors."""
    try:
        return paper.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures")
    assert run_script("--quick", "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def table(quick):
    return pd.read_csv(quick / "table1.csv", index_col="scheme")


def test_every_file_is_written(quick):
    assert sorted(path.name for path in quick.iterdir()) == sorted(FILES)
    assert all((quick / name).stat().st_size > 100 for name in FILES)


def test_every_claim_of_the_paper_holds(quick):
    claims = pd.read_csv(quick / "claims.csv")
    assert len(claims) == 14
    assert claims["holds"].all(), claims[~claims["holds"]]
    assert (claims["margin"] > 0).all()


def test_claims_follow_from_the_table(table, quick):
    again = study.claims_frame(table)
    saved = pd.read_csv(quick / "claims.csv").astype({"holds": "boolean"})
    pd.testing.assert_frame_equal(again, saved, check_exact=False, rtol=1e-12)
    # A claim fails where its numbers say so.
    worse = table.copy()
    worse.loc["G-LAG", "communication"] = 1e9
    failed = study.claims_frame(worse)
    assert not failed.loc[failed["claim"] == "G-LAG has the best communication", "holds"].item()


def test_table_agrees_with_plain_loops(table):
    problem_key = jax.random.split(jax.random.key(0))[0]
    problem = lagc_jax.synthetic_linear_regression(problem_key, 12, 50)
    data = reference.Data("linear", np.asarray(problem.X), np.asarray(problem.y))
    for name, scheme in study.paper_schemes(12, 4, 2, 1.0, 10).items():
        trigger = scheme.trigger.name
        path = reference.run_path(
            data, scheme.num_groups, trigger, float(np.asarray(scheme.xi)), scheme.memory,
            1 / float(problem.total_smoothness), 370,
        )  # fmt: skip
        hit = int(np.argmax(path.gap <= 1e-8))
        down, up, work = reference.costs(path.selected, 12, scheme.redundancy, trigger)
        assert table.loc[name, "iterations"] == hit
        assert table.loc[name, "communication"] == down[hit] + up[hit]
        assert table.loc[name, "computation"] == work[hit]


def test_monte_carlo_agrees_with_the_exact_means(table):
    for family in ("exponential", "pareto"):
        error = table[f"{family} wall-clock deviation"] / np.sqrt(paper.QUICK_REALISATIONS)
        distance = (
            table[f"{family} wall-clock Monte Carlo mean"] - table[f"{family} wall-clock mean"]
        )
        finite = np.isfinite(error)
        assert finite.sum() >= 4
        # Five standard errors of sums of hundreds of times: a two-sided level of 1e-6 each.
        assert (distance.abs()[finite] < 5 * error[finite]).all()


def test_curves_end_at_the_table(table, quick):
    for family, file in (("pareto", "fig2_pareto"), ("exponential", "fig3_exponential")):
        last = pd.read_csv(quick / f"{file}.csv").groupby("scheme").last()
        for column in ("communication", "computation", "iterations"):
            assert (last[column] == table.loc[last.index, column]).all()
        mean = table.loc[last.index, f"{family} wall-clock mean"]
        np.testing.assert_allclose(last["wall-clock mean"], mean)


def test_redundancy_makes_an_infinite_mean_finite(quick):
    tail = pd.read_csv(quick / "fig5_tail.csv")
    infinite = np.isinf(tail["wall-clock mean"])
    assert (infinite == (tail["redundancy"] * tail["shape"] <= 1)).all()
    assert infinite.any()


def test_redundancy_one_is_gd_and_the_markdown_has_a_row_a_scheme(table, quick):
    frame = pd.read_csv(quick / "fig4_redundancy.csv").set_index(["scheme", "redundancy", "delays"])
    single = frame.loc[("GC", 1, "pareto")]
    assert single["communication"] == table.loc["GD", "communication"]
    assert single["wall-clock mean"] == pytest.approx(table.loc["GD", "pareto wall-clock mean"])
    lines = (quick / "table1.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(table.index)


def test_schemes_of_a_study_are_told_apart_by_server_and_decoding():
    plain = lagc_jax.gc(6, 3)
    adam = dataclasses.replace(plain, optimizer=optax.amsgrad)
    schemes = plain, adam, lagc_jax.schemes.first_decodable(6, 3)
    assert len({*schemes, lagc_jax.gc(6, 3)}) == 3


def test_a_path_is_compiled_once_for_groups_and_trigger_and_a_clock_once_for_a_family(compilations):
    problem = lagc_jax.synthetic_linear_regression(jax.random.key(1), 6, 9)
    plan = study.Plan(
        problem,
        study.paper_schemes(6, 2, 2, 0.5, 4),
        study.redundancy_schemes(6, 2, 0.5, 4),
        {"pareto": lagc_jax.Pareto(1.0, 1.5), "exponential": lagc_jax.Exponential(1.0)},
        1 / float(problem.total_smoothness),
        np.array([1.0, 1e-1]),
        jax.random.key(2),
        77,
        100,
    )
    other = {"pareto": lagc_jax.Pareto(2.0, 1.2), "exponential": lagc_jax.Exponential(3.0)}
    changed = plan._replace(delays=other, key=jax.random.key(5), step_size=plan.step_size / 2)
    with compilations() as first:  # of sizes that no other test has
        study.run_study(plan)
    with compilations() as again:
        study.run_study(changed)
    # 5 paths (3 without a trigger, 2 with one), 2 families times 2 inverses, and small helpers;
    # a path or clock for each of the 15 schemes would take more.
    assert first[0] <= 20
    assert again == [0]


def write_csv(path, rows=40):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    frame["b"] += frame["a"] + frame["c"]
    frame.to_csv(path, index=False)
    return path


# The two runs below share their programs.
SMALL = ("--workers", 6, "--groups", 2, "--realisations", 8, "--memory", 4, "--iterations", 600)


def test_the_study_runs_on_a_users_table_and_reports_infinite_means(tmp_path, capsys):
    csv = write_csv(tmp_path / "data.csv")
    out = tmp_path / "out"
    options = ("--csv", csv, "--target", "b", "--accuracy", 1e-6, "--pareto-shape", 0.9)
    with pytest.warns(RuntimeWarning, match=r"r \* shape = 0.9 <= 1"):
        assert run_script(*options, "--out", out, *SMALL) == 0
    text = capsys.readouterr().out
    assert "d=4 parameters" in text  # three features and the intercept
    assert "XLA compilations" in text
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    table = pd.read_csv(out / "table1.csv", index_col="scheme")
    assert np.isfinite(table["iterations"]).all()
    assert np.isinf(table.loc["GD", "pareto wall-clock mean"])
    assert np.isfinite(table.loc["G-LAG", "pareto wall-clock mean"])


def test_an_accuracy_out_of_reach_is_infinite_and_the_status_is_still_0(tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # numbers are looked at
    data = ("--csv", write_csv(tmp_path / "data.csv"), "--target", "b", "--step-size", 1e-9)
    assert run_script(*data, "--out", tmp_path, *SMALL) == 0
    table = pd.read_csv(tmp_path / "table1.csv", index_col="scheme")
    assert np.isinf(table["iterations"]).all()
    assert pd.read_csv(tmp_path / "claims.csv")["holds"].isna().all()  # undecided


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--groups", 5], ["--groups=5", "--workers=12"]),
        (["--workers", 2.5], ["--workers", "'2.5'", "whole number"]),
        (["--workers", 0], ["--workers=0"]),
        (["--redundancy", 4], ["--redundancy=4"]),
        (["--redundancy", 0], ["redundancy=0"]),
        (["--xi", -1], ["xi=-1.0"]),
        (["--xi", "nan"], ["xi=nan"]),
        (["--memory", 0], ["memory=0"]),
        (["--step-size", 0], ["--step-size=0.0"]),
        (["--step-size", "inf"], ["--step-size=inf"]),
        (["--accuracy", 0], ["accuracy=0.0"]),
        (["--accuracy", 1e9], ["accuracy=1000000000.0", "smaller"]),
        (["--iterations", 0], ["iterations=0"]),
        (["--realisations", 0], ["realisations=0"]),
        (["--seed", -1], ["--seed", "'-1'", "from 0 to 2^63 - 1"]),
        (["--seed", 2**64], ["--seed", "from 0 to 2^63 - 1"]),
        (["--realisations", 99999999999], ["realisations needs about", "GiB"]),
        (["--loss", "logistic"], ["--loss", "--csv"]),
        (["--l2", 5], ["--l2", "--csv"]),
        (["--pareto-shape", 0], ["--pareto-shape=0.0"]),
        (["--pareto-scale", -1], ["--pareto-scale=-1.0"]),
        (["--rate", 0], ["rate=0.0"]),
        (["--csv", "nowhere.csv"], ["csv=nowhere.csv", "does not exist"]),
        (["--target", "x"], ["--target", "--csv"]),
        (["--unknown"], ["--unknown"]),
    ],
)
def test_bad_options_exit_with_2_and_one_line(arguments, words, tmp_path, capsys):
    assert run_script(*arguments, "--out", tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("paper.py: error: ")
    for word in words:
        assert word in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_bad_tables_exit_with_2_and_name_the_row(tmp_path, capsys):
    csv = tmp_path / "data.csv"
    csv.write_text("a,b\n" + "1,2\n" * 13 + "1,x\n")
    assert run_script("--csv", csv, "--out", tmp_path / "out") == 2
    assert "row 14 of column 'b'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_names_every_option(capsys):
    assert run_script("--help") == 0
    shown = capsys.readouterr().out
    options = "workers groups redundancy xi memory step-size accuracy iterations realisations seed"
    more = "pareto-shape pareto-scale rate csv target out quick"
    assert all(f"--{name}" in shown for name in f"{options} {more}".split())
