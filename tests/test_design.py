"""The search for a scheme against loops over all candidates, one by one."""

import functools
import itertools
import runpy
import tempfile
from dataclasses import replace
from pathlib import Path

import advise
import jax
import numpy as np
import pandas as pd
import pytest

import lagc_jax
from lagc_jax import Exponential, Pareto, Scheme, Trace, design, gd
from lagc_jax.delays import Bursty, Failures
from lagc_jax.experiments import (
    Experiment,
    Gap,
    Points,
    Vary,
    advice,
    meters,
    reasons,
    search,
    tasks,
)
from lagc_jax.experiments.common import follow, sample
from lagc_jax.experiments.heldout import HeldOut
from lagc_jax.experiments.rows import reordered
from lagc_jax.plots.frontier import plot_design
from lagc_jax.schemes.decoding import Fastest
from lagc_jax.theory import expected_complexity

pytestmark = pytest.mark.long

SWEEPS = Path(__file__).parents[1] / "sweeps"
PRICES = dict(price_time=2.0, price_message=0.3, price_gradient=0.1)
K, R = 256, 16  # everywhere alike, and as many iterations as advice gives itself: few programs
SMALL = dict(accuracy=1e-3, xi=[0.5], num_iterations=K)
TIMES = np.random.default_rng(0).pareto(1.5, (40, 4)) + 1
KNOWN = ["--delays", "exponential:rate=1"]
QUICK = dict(accuracy=1e-2, xi=[1.0], step_sizes=[1.0])


@pytest.fixture(scope="module")
def four():
    # Of the shape of a problem from constants, but with noise: programs are the same.
    smooth = lagc_jax.problems.smooth_regression(jax.random.key(3), [4.0, 5.0, 7.0, 10.0])
    return lagc_jax.linear_regression(smooth.X, np.random.default_rng(3).normal(size=(4, 4)))


def brute_force(problem, storage, steps, cost_of):
    """Rows (G, r, trigger, step, iterations, and the costs), the cheapest first."""
    rows, M = [], problem.num_partitions
    for groups in [g for g in range(1, M + 1) if M % g == 0]:
        for r in range(1, min(storage, M // groups) + 1):
            lazy, full = Scheme(M, groups, r, 0.5, 10, "server"), Scheme(M, groups, r)
            schemes = [lazy, full] if r > 1 or groups == M else [lazy]  # GD once
            if r == M // groups:
                schemes.append(replace(lazy, trigger="worker"))
            for scheme, step in itertools.product(schemes, steps):
                costs = cost_of(scheme, step / float(problem.total_smoothness))
                time, messages, gradients, iterations = map(float, costs)
                cost = 2.0 * time + 0.3 * messages + 0.1 * gradients
                key = (groups, r, str(scheme.trigger), step)
                rows.append((*key, iterations, time, messages, gradients, cost))
    return sorted(rows, key=lambda row: (row[-1], row[5], row[6], row[7]))


def assert_same(table, rows):
    names = ["num_groups", "redundancy", "iterations", "time", "communication", "computation"]
    found = table[table["assignment"] == "as given"]
    assert len(found) == len(rows)
    order = ["num_groups", "redundancy", "trigger", "step_size"]
    # Summation order alone differs; where costs differ by more, the rank is the same.
    costs = np.array([row[-1] for row in rows])
    np.testing.assert_allclose(found["cost"], costs, rtol=1e-10)
    expected = pd.DataFrame(rows, columns=[*order, *names[2:], "cost"])
    left, right = (frame.sort_values(order).reset_index(drop=True) for frame in (found, expected))
    assert (left["trigger"] == right["trigger"]).all()
    for name in [*order[:2], "step_size", *names, "cost"]:
        np.testing.assert_allclose(left[name].astype(float), right[name].astype(float), rtol=1e-10)
    apart = np.flatnonzero(np.diff(costs[np.isfinite(costs)]) > 1e-9 * costs[0])
    assert apart.size > 4
    firsts = [tuple(row[:4]) for row in rows]
    ranked = list(found[order].itertuples(index=False, name=None))
    for stop in apart + 1:
        assert set(ranked[:stop]) == set(firsts[:stop])


@pytest.mark.parametrize(
    ("storage", "delays"),
    [(4, Pareto(1.0, 1.3)), (1, Exponential([1.0, 2.0, 0.5, 1.0]))],
)
def test_exact_search_is_a_loop_over_all_candidates(storage, delays, four):
    steps = [0.7, 1.0]
    settings = dict(storage=storage, problem=four, step_sizes=steps)
    advice = design(4, delays, **settings, **PRICES, **SMALL)

    @functools.cache
    def path_of(scheme, alpha):
        return lagc_jax.descend(four, scheme, num_iterations=K, step_size=alpha)

    def cost_of(scheme, alpha):
        path = path_of(scheme.path_key, alpha)
        known = expected_complexity(scheme, delays, path, 1e-3)
        return known.mean, known.communication, known.computation, known.iterations

    table = advice.table[~advice.table["simulated"]]
    assert_same(table, brute_force(four, storage, steps, cost_of))
    assert table["exact"].all()
    assert (table["time_low"] == table["time_high"]).all()
    best = advice.table.iloc[0]
    assert (advice.scheme.num_groups, advice.scheme.redundancy) == (
        best["num_groups"],
        best["redundancy"],
    )


def test_sampled_search_is_a_loop_of_batches_under_one_key(four):
    trace, key = Trace.from_array(TIMES, resample="worker"), jax.random.key(5)
    options = dict(storage=2, problem=four, step_sizes=[1.0], num_realisations=R, key=key)
    advice = design(4, trace, **options, **PRICES, **SMALL)
    margins = {}

    def cost_of(scheme, alpha):
        batch = lagc_jax.simulate_batch(
            four,
            scheme,
            trace,
            key,
            num_iterations=K,
            num_realisations=R,
            accuracies=[1e-3],
            step_size=alpha,
            quantiles=(),
        )
        took = batch.costs
        margins[float(batch.mean[0])] = 1.645 * float(took.time.standard_error[0])
        costs = took.time, took.communication, took.computation, took.iterations
        return [cost.mean[0] for cost in costs]

    assert_same(advice.table[~advice.table["simulated"]], brute_force(four, 2, [1.0], cost_of))
    assert not advice.table["exact"].any()
    assert advice.table["simulated"].iloc[1] or "paired realisations" in advice.reason
    best = advice.table[advice.table["assignment"] == "as given"].iloc[0]
    mean = min(margins, key=lambda value: abs(value - best["time"]))
    # The trace's own uncertainty comes on top of that of the realisations.
    assert best["time_high"] - best["time"] > margins[mean]
    assert best["time"] - best["time_low"] > margins[mean]


@pytest.mark.parametrize(
    "delays",
    [
        Failures(Trace.from_array(TIMES, resample="blocks", block=3), once=0.05),
        Bursty(Pareto([1.0, 2.0, 1.0, 1.0], 1.5), slowdown=3.0, enter=0.1, leave=0.3),
    ],
)
def test_realisations_in_common_are_those_of_a_batch_one_by_one(delays, four):
    lazy = dict(num_workers=4, xi=[0.0, 0.5], memory=2)
    schemes = {
        "pairs": Vary(Scheme, num_groups=2, redundancy=[1, 2], trigger="server", **lazy),
        "all": Vary(Scheme, num_groups=2, redundancy=2, trigger="worker", **lazy),
    }
    experiment = Experiment(
        problems={"four": four},
        schemes={"GD": gd(4)},
        delays={"given": delays},
        num_iterations=K,
        num_realisations=0,
        target=Gap([1e-3]),
        sampler="workers",
    )
    asked = replace(experiment, schemes={"GD": gd(4), **schemes})
    table, walks = follow(asked)
    samples = sample(walks, len(table), delays, lambda scheme: None, experiment.key, R)
    assert (table["scheme"].tolist(), len(samples)) == (["GD", *4 * ["pairs"], *2 * ["all"]], 7)
    assert table["time_expected"].isna().all()
    for point, drawn in list(zip(Points(asked), samples, strict=True))[::3]:
        batch = lagc_jax.simulate_batch(
            four,
            point.scheme,
            delays,
            experiment.key,
            num_iterations=K,
            num_realisations=R,
            accuracies=[1e-3],
            keep_samples=True,
        )
        assert np.isfinite(drawn).any()
        # Iterations are added in another order.
        np.testing.assert_allclose(drawn, batch.costs.time.samples[0], rtol=1e-13)


@pytest.fixture(scope="module")
def heavy(four):
    return design(4, Pareto(1.0, 0.4), problem=four, price_message=0.1, **QUICK)


def test_frontier_is_what_no_other_candidate_beats(heavy):
    table = heavy.table
    costs = table[["time", "communication", "computation"]].to_numpy(float)
    beaten = [any((other <= row).all() and (other < row).any() for other in costs) for row in costs]
    finite = np.isfinite(costs).all(axis=1)
    assert (table["pareto"] == ~np.array(beaten) & finite).all()
    assert 1 < table["pareto"].sum() < len(table)
    assert heavy.frontier["time"].is_monotonic_increasing


def test_copies_that_make_the_mean_finite_are_named(heavy):
    finite = np.isfinite(heavy.table["time"]) == (heavy.table["redundancy"] * 0.4 > 1)
    reached = np.isfinite(heavy.table["iterations"])
    assert finite[reached].all()
    assert "Tail index 0.4: three copies make the mean finite" in heavy.reason


def test_infinite_means_everywhere_are_ranked_by_the_median(four):
    advice = design(4, Pareto(1.0, 0.4), storage=2, problem=four, num_realisations=101, **QUICK)
    table = advice.table
    assert set(table["statistic"]) == {"median"}
    assert not table["exact"].any()
    assert "ranked by the median" in advice.reason
    reached = table[np.isfinite(table["iterations"])]
    assert (reached["time_low"] < reached["time"]).all()
    assert (reached["time"] < reached["time_high"]).all()
    batch = lagc_jax.simulate_batch(
        four,
        advice.scheme,
        Pareto(1.0, 0.4),
        jax.random.key(0),
        num_iterations=advice.num_iterations,
        num_realisations=101,
        accuracies=[QUICK["accuracy"]],
        step_size=advice.step_size,
        sampler="workers",
        quantiles=[0.5],
    )
    np.testing.assert_allclose(table["time"].iloc[0], batch.quantiles[0, 0], rtol=1e-9)


def test_priced_cost_that_makes_the_difference_is_named(four):
    free = dict(price_time=0.0, price_message=1.0)
    advice = design(4, Pareto(1.0, 0.2), problem=four, **free, **QUICK)
    assert "communication makes the difference" in advice.reason or "same" in advice.reason
    best = advice.table.iloc[0]
    assert best["cost"] == best["communication"] == advice.table["communication"].min()


def test_problem_from_smoothness_constants_has_them():
    constants = [3.0, 1.0, 20.0, 7.0]
    problem = lagc_jax.problems.smooth_regression(jax.random.key(0), constants)
    np.testing.assert_allclose(problem.smoothness, constants, rtol=1e-12)
    advice = design(4, Exponential(1.0), problem=constants, **QUICK)
    assert np.isfinite(advice.table["cost"].iloc[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(price_message=-1.0), "price_message=-1.0"),
        (dict(price_message=[]), r"price_message has shape \(0,\); give a scalar"),
        (dict(accuracy=[1e-2]), r"accuracy has shape \(1,\); give a scalar"),
        (dict(num_iterations=9.5), "num_iterations=9.5 is not a whole number; give an int"),
        (dict(progress="bar"), "progress='bar' is no function; give one"),
        (dict(price_time=float("nan")), "price_time=nan"),
        (dict(price_time=0.0), "all prices are zero"),
        (dict(storage=0), "storage=0 fits no scheme"),
        (dict(storage=1.5), "storage=1.5 is not a whole number"),
        (dict(accuracy=1e9), "is not below the gap at the start"),
        (dict(accuracy=0.0), "accuracy=0.0 must be positive"),
        (dict(num_realisations=1), "num_realisations=1 is too small"),
        (dict(num_iterations=1), "reached by no candidate"),
        (dict(xi=[-1.0]), "xi=.* not negative"),
        (dict(step_sizes=[]), "step_sizes has shape"),
        (dict(problem=[1.0, 2.0]), "problem has 2 partitions"),
        (dict(problem=[1.0, 2.0, 3.0, -4.0]), "problem=.* positive"),
    ],
)
def test_bad_input_is_named(options, message, four):
    settings = dict(problem=four) | QUICK | options
    with pytest.raises(ValueError, match=message):
        design(4, Exponential(1.0), **settings)


def test_workers_that_never_answer_are_no_choice(four):
    delays = Failures(Exponential(1.0), once=1.0)
    with pytest.raises(ValueError, match="never answer"):
        design(4, delays, problem=four, num_realisations=4, **QUICK)


def test_figure_has_a_panel_for_every_pair_of_costs(heavy):
    assert len(plot_design(heavy).axes) == 3


def test_script_advises_on_a_trace(tmp_path, capsys):
    times = np.random.default_rng(1).exponential(size=(30, 4)) + 0.5
    times[3, 2] = np.nan
    path = tmp_path / "trace.csv"
    long = pd.DataFrame(times).reset_index().melt("index", var_name="rank", value_name="took")
    long.to_csv(path, index=False, sep=";", decimal=",")
    columns = ["--iteration", "index", "--worker", "rank", "--time", "took"]
    options = ["--trace", str(path), *columns, "--accuracy", "10", "--iterations", "256"]
    options += ["--realisations", "8", "--storage", "2"]
    assert advise.main([*options, "--price-message", "0.1", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "lognormal" in text
    assert "makes the difference" in text
    table = pd.read_csv(tmp_path / "advice.csv")
    assert table["cost"].is_monotonic_increasing
    assert (tmp_path / "advice.md").read_text().count("| scheme |") == 3
    assert (tmp_path / "frontier.png").stat().st_size > 0
    assert (tmp_path / "frontier.pdf").stat().st_size > 0


def test_families_are_read_in_any_order_and_a_trace_that_none_fits_is_no_error():
    family = advise.read_family("pareto:shape=1.3,scale=2")
    assert (family.scale, family.shape) == (2.0, 1.3)
    text = advise.describe_fits(Trace.from_array([[2.0, 2.0], [2.0, 2.0]]))
    assert "No family is fitted to the trace: times has fewer than two distinct values" in text
    with pytest.warns(RuntimeWarning, match=r"times\[1, 1\]=0.0 \(row 2 of column 2\), the only"):
        text = advise.describe_fits(Trace.from_array([[1.0, 2.0], [1.5, 0.0]]))
    assert "exponential" in text
    assert "weibull" not in text
    two = np.random.default_rng(0).lognormal([0, 0, 2], 0.1, (30, 3))
    constant = np.where(np.arange(4) < 2, 5.0, np.random.default_rng(0).gamma(9, size=(60, 4)) / 9)
    text = advise.describe_fits(Trace.from_array(constant))
    assert text.startswith("Families fitted to the trace")
    assert "One law a group" not in text
    text = advise.describe_fits(Trace.from_array(two))
    assert "One law a group of workers: " in text
    assert "workers in 2 groups (2 of median " in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delays", "cauchy:scale=1"], "delays='cauchy' is unknown"),
        (["--delays", "pareto:scale=1"], "must give scale, shape"),
        (["--delays", "pareto:scale=1,shape=x"], "has 'x' for a number"),
        (["--delays", "pareto:scale=1,shape=-2"], "shape=-2.0 must be positive"),
        (["--workers", "4"], "the computing times are unknown; give --trace"),
        ([*KNOWN, "--price-time", "0"], "all prices are zero"),
        ([*KNOWN, "--price-message", "-1"], "--price-message=-1.0"),
        ([*KNOWN, "--realisations", "1"], "--realisations=1 is too small"),
        ([*KNOWN, "--storage", "0"], "storage=0"),
        (["--trace", "none.csv"], "none.csv does not exist"),
        ([*KNOWN, "--target", "y"], "give --csv as well"),
        ([*KNOWN, "--seed", "-1"], "'-1' is not a seed from 0 to"),
        (["--workers", "two"], "'two' is not a whole number"),
        (["--workers", "0"], "'0' is not a whole number >= 1"),
        ([*KNOWN, "--block", "4"], "give --trace as well"),
        (["--trace", "x.csv", "--block", "4", "--resample", "iid"], "--block=4 is of --resample"),
        (["--grid", "none.toml"], "--grid=none.toml cannot be read"),
        (["--delays", "pareto:scale=1,scale=2"], "must give scale, shape, each once"),
    ],
)
def test_script_says_in_a_line_what_is_wrong(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        advise.main(options)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1


def test_tutorial_runs_from_a_trace_to_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "unused")
    runpy.run_path(str(SWEEPS / "tutorial.py"))
    text = capsys.readouterr().out
    assert "made by lagc_jax, not measured" in text
    assert "One run: gap" in text


def test_long_paths_are_tried_at_few_settings(four, monkeypatch):
    monkeypatch.setattr(search, "LONGEST", 100)
    advice = design(4, Exponential(1.0), problem=four, storage=1, accuracy=1e-2)
    assert set(advice.table["xi"].dropna()) <= set(search.ROUGH.xi)
    assert set(advice.table["step_size"]) <= set(search.ROUGH.steps)
    assert "Paths have up to 256 iterations, so" in advice.reason


@pytest.fixture(scope="module")
def few_iterations():
    """Advice for few iterations of times with a tail: one run is far from normal."""
    constants = np.geomspace(1.0, 20.0, 4)
    return design(4, Pareto(1.0, 2.3), problem=constants, storage=1, num_iterations=K, accuracy=0.1)


def test_quantiles_of_one_run_are_those_of_runs(few_iterations):
    table = few_iterations.table
    row = table[table["scheme"] == "GD"].iloc[0]
    drawn = np.random.default_rng(0).pareto(2.3, (4000, int(row["iterations"]), 4)) + 1
    times = drawn.max(-1).sum(-1)
    assert row["exact"]
    assert times.mean() == pytest.approx(row["time"], rel=0.05)
    # Of 200 realisations: four standard errors of a share of 5 %, and some beyond each.
    assert 0.003 < np.mean(times < row["run_low"]) < 0.12
    assert 0.003 < np.mean(times > row["run_high"]) < 0.12


def test_advice_is_shown_in_short(few_iterations):
    text = repr(few_iterations)
    assert text.startswith(few_iterations.reason)
    assert len(text) < 4000
    assert "<table" in few_iterations._repr_html_()


def test_rounding_is_no_reason(few_iterations):
    best = few_iterations.table.iloc[0]
    for factor, words in ((1 + 1e-9, "costs the same"), (1.001, "time makes the difference")):
        other = best.copy()
        other[["cost", "time"]] *= factor
        assert words in reasons._compare(best, other, {"time": 1.0}, None, "")


def test_a_shared_link_is_met_by_every_iteration_of_a_path_alike(four):
    """A long trace, of which a row meets one iteration alone; three standard errors of both."""
    times = (0.2 + np.random.default_rng(1).exponential(size=(6000, 4))) * [20, 1, 1, 1]
    trace, cluster = (
        Trace.from_array(times, resample="blocks", block=2),
        lagc_jax.Cluster(link=lagc_jax.Link(bandwidth=100.0, shared=True)),
    )
    found = design(4, trace, problem=four, **SMALL | QUICK, cluster=cluster, num_realisations=400)
    row = found.table[(found.table["scheme"] == "LAG")].iloc[0]
    scheme, alpha = lagc_jax.lag(4, xi=1.0), 1 / float(four.total_smoothness)
    sizes = dict(num_iterations=K, num_realisations=400, accuracies=(1e-2,), step_size=alpha)
    batch = lagc_jax.simulate_batch(
        four, scheme, trace, jax.random.key(9), cluster=cluster, quantiles=(0.05, 0.95), **sizes
    )
    error = 3 * float(batch.costs.time.standard_error[0])
    assert abs(row["time"] - float(batch.mean[0])) < 1.5 * error
    np.testing.assert_allclose(
        row[["run_low", "run_high"]].astype(float), batch.quantiles[0], rtol=0.2
    )


@pytest.mark.parametrize(("num_rows", "each", "length"), [(20000, 1, 14), (6, 5, 7), (3, 4, 4)])
def test_what_stands_for_a_path_has_all_of_it_alike(num_rows, each, length):
    place = meters._spread_out(num_rows, each, length)
    counts = np.bincount(place.ravel(), minlength=length)
    assert place.shape == (num_rows, each)
    assert np.ptp(counts) <= max(2, 0.01 * num_rows)


def test_a_timeout_ends_every_tail(four):
    delays, cluster = Pareto(1.0, 0.7), lagc_jax.Cluster(timeout=3.0)
    found = design(4, delays, problem=four, **SMALL | QUICK, cluster=cluster, num_realisations=R)
    assert np.isfinite(found.table.loc[found.table["scheme"] == "GD", "time"]).all()
    assert (found.table["statistic"] == "mean").all()
    assert reasons.tail_of(gd(4), None, delays) == pytest.approx(0.7)
    short = Scheme(6, 1, 3, decoding=Fastest(5))
    assert reasons.tail_of(short, None, delays) == pytest.approx(1.4)  # of the two slowest


def test_what_a_timeout_made_of_a_candidate_is_what_it_is_again(four):
    times = 1 + 0.2 * np.random.default_rng(1).exponential(size=(100, 4))
    times[::25, 0] = np.nan
    times[5::50, 1] = 30.0
    trace = Trace.from_array(times, resample="blocks")
    found = design(4, trace, problem=four, **SMALL | QUICK, num_realisations=R)
    assert found.table["simulated"].iloc[0]
    assert found.held_out is None
    assert found.retimed(trace)[0] == pytest.approx(found.table["time"].iloc[0], rel=0.2)
    costs = found.table.loc[found.table["server"] == "", "cost"].to_numpy()[1:]
    assert (np.diff(costs[np.isfinite(costs)]) >= 0).all()


def test_a_roster_moves_with_its_workers():
    present = np.ones((6, 4), bool)
    present[::2, 0] = False
    delays = lagc_jax.delays.Roster(Exponential(np.array([5.0, 0.3, 5.0, 0.3])), present)
    order = np.array([0, 2, 1, 3])
    moved = reordered(delays, order)
    np.testing.assert_array_equal(moved.present, present[:, order])
    np.testing.assert_array_equal(moved.delays.rate, [5.0, 5.0, 0.3, 0.3])


def test_uploads_of_anytime_minibatches_are_their_messages(four):
    scheme = lagc_jax.schemes.anytime(4, 2.0, 3)
    found = design(
        4, Exponential(1.0), problem=four, **SMALL | QUICK, price_time=0.0, price_upload=1.0,
        schemes={"own": scheme}, num_realisations=R,
    )  # fmt: skip
    row = found.table[found.table["scheme"] == "own"].iloc[0]
    messages = row["bits"] / (32 * four.num_parameters)
    assert row["uploads"] == pytest.approx(messages)
    assert row["cost"] == pytest.approx(messages)


def test_a_regret_is_what_the_choice_costs_more():
    held = HeldOut(0, 1.0, 2.0, 3.0, False, 18.852)
    assert reasons.held_out_sentence(held).endswith(
        "costs 1885.2 % more than the best choice there."
    )


def test_one_worker_has_likely_problems_that_descent_solves():
    for name, problem in tasks.likely_problems(1, jax.random.key(0)).items():
        assert tasks.enough_iterations(problem, 1e-8) < 100_000, name


def test_where_nothing_costs_every_scheme_costs_as_much_as_the_cheapest():
    costs = pd.DataFrame(dict(scheme=["GD", "LAG", "GC"], cost=[0.0, 0.0, np.inf]))
    paid = costs.assign(cost=[1.0, 2.0, 4.0])
    found = advice._by_problem({"no time": costs, "another": paid})
    assert found.loc[["GD", "LAG", "GC"]].to_numpy().tolist() == [[1, 1], [1, 2], [np.inf, 4]]
    # What nobody reaches or is not defined is not cheap.
    for unknown in ([np.inf, np.inf, np.inf], [1.0, 2.0, np.nan], [0.0, 1.0, np.nan]):
        found = advice._by_problem({"unknown": costs.assign(cost=unknown), "another": paid})
        assert "GC" not in found.index
