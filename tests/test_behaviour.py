"""Bursts, failures, start-ups and diagnoses, from data of known law and against brute force."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from lagc_jax import Exponential
from lagc_jax.delays import (
    Lognormal,
    Trace,
    diagnose,
    fit,
    fit_bursty,
    fit_failures,
    fit_loads,
    quantile_frame,
)
from lagc_jax.delays.behaviour import _smooth


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def chains(rng, T, W, enter, leave):
    """States (T, W) of stationary chains, True where bad."""
    bad = np.zeros((T, W), bool)
    bad[0] = rng.random(W) < enter / (enter + leave)
    for t in range(1, T):
        u = rng.random(W)
        bad[t] = np.where(bad[t - 1], u >= leave, u < enter)
    return bad


def test_the_chain_is_that_of_a_sum_over_all_paths(rng):
    T, location, scale, chain = 6, np.array([0.3]), 0.5, (1.1, 0.2, 0.3)
    logs = rng.normal(size=(T, 1))
    logs[2] = np.nan
    total, bad = 0.0, np.zeros(T)
    for path in itertools.product((0, 1), repeat=T):
        step = np.array([[0.8, 0.2], [0.3, 0.7]])
        weight = (0.6, 0.4)[path[0]] * np.prod([step[a, b] for a, b in itertools.pairwise(path)])
        density = stats.norm.pdf(logs[:, 0], 0.3 + 1.1 * np.array(path), scale)
        weight *= np.prod(np.where(np.isnan(density), 1, density))
        total, bad = total + weight, bad + weight * np.array(path)
    likelihood, found, _ = _smooth(logs, np.isfinite(logs), location, scale, chain)
    np.testing.assert_allclose(likelihood, np.log(total), rtol=1e-12)
    np.testing.assert_allclose(found[:, 0], bad / total, rtol=1e-10)


@pytest.mark.parametrize("each", [False, True])
def test_bursts_are_found(each, rng):
    T, W = 400, 6
    location = np.linspace(0, 1, W) if each else np.zeros(W)
    bad = chains(rng, T, W, 0.03, 0.2)
    times = np.exp(rng.normal(location, 0.2, (T, W)) + np.log(3) * bad)
    times[rng.random((T, W)) < 0.02] = np.nan
    found = fit_bursty(Trace.from_array(times))
    assert found.AIC_without - 100 > found.AIC
    # Four standard errors: of some 60 bursts, and of 2400 logarithms.
    for name, truth in (("enter", 0.03), ("leave", 0.2)):
        assert abs(getattr(found.delays, name) - truth) < 4 * truth / np.sqrt(60)
    assert abs(np.log(found.delays.slowdown / 3)) < 4 * 0.2 / np.sqrt(bad.sum())
    good = found.delays.delays
    assert np.shape(good.location) == ((W,) if each else ())
    assert (abs(np.asarray(good.location) - location) < 4 * 0.2 / np.sqrt(T / 2)).all()
    assert ((found.bad > 0.5) == bad)[np.isfinite(times)].mean() > 0.98


def test_without_bursts_the_criterion_says_so(rng):
    found = fit_bursty(rng.lognormal(0, 0.5, (60, 5)))
    assert found.AIC_without < found.AIC
    # The likelihood without bursts is that of `fit`.
    times = rng.lognormal(0, 0.5, (60, 1))
    table = fit(times, num_bootstrap=0)
    np.testing.assert_allclose(fit_bursty(times).AIC_without, table.loc["lognormal", "AIC"])


def test_failures_are_the_likeliest(rng):
    T, W, once, forever = 60, 20, 0.08, 0.01
    times = rng.exponential(size=(T, W))
    times[rng.random((T, W)) < once] = np.nan
    end = rng.geometric(forever, W)
    times[np.arange(T)[:, None] >= end - 1] = np.inf
    found = fit_failures(times, Exponential(1.0))

    def negative(point):
        o, f = 1 / (1 + np.exp(-point))
        total = 0.0
        for column in times.T:
            answered = np.isfinite(column)
            paths = [f * (1 - f) ** d * np.prod(np.where(answered[:d], 1 - o, o)) * 1.0
                     for d in range(T) if not answered[d:].any()]  # fmt: skip
            paths.append((1 - f) ** T * np.prod(np.where(answered, 1 - o, o)))
            total += np.log(sum(paths))
        return -total

    best = optimize.minimize(negative, [-2.0, -4.0], method="Nelder-Mead", options={"xatol": 1e-6})
    expected = 1 / (1 + np.exp(-best.x))
    np.testing.assert_allclose([found.once, found.forever], expected, rtol=1e-4)
    none = fit_failures(np.ones((4, 2)), Lognormal(0.0, 1.0))
    assert (none.once, none.forever) == (0, 0)


@pytest.mark.parametrize(
    ("law", "name"),
    [
        (stats.gamma(5, scale=0.2), "gamma"),
        (stats.expon(), "exponential"),
        (stats.pareto(2.5), "pareto"),
    ],
)
def test_start_ups_are_told_from_loads(law, name, rng):
    N = 100
    times = {r: 0.64 + 1.13 * r * law.rvs(N, random_state=rng) for r in (1, 2, 4)}
    found = fit_loads(times)
    assert name in found.table.index[:3]
    row = found.table.loc[name]
    assert abs(row["startup"] - 0.64) < 0.1
    # No start-up near it is likelier, by SciPy's density of the fitted law.
    fitted = {
        "gamma": lambda d: stats.gamma(d.shape, scale=d.scale),
        "exponential": lambda d: stats.expon(scale=1 / d.rate),
        "pareto": lambda d: stats.pareto(d.shape, scale=d.scale),
    }[name](row["delays"])
    likelihood = sum(
        (fitted.logpdf((t - row["startup"]) / r) - np.log(r)).sum() for r, t in times.items()
    )
    np.testing.assert_allclose(row["log-likelihood"], likelihood, rtol=1e-10)
    truth = sum((law.logpdf((t - 0.64) / (1.13 * r)) - np.log(1.13 * r)).sum()
                for r, t in times.items())  # fmt: skip
    assert row["log-likelihood"] > truth - (1 if name == "gamma" else 4)
    np.testing.assert_allclose(found.means["measured"], [times[r].mean() for r in (1, 2, 4)])
    assert (abs(found.means["fitted"] / found.means["measured"] - 1) < 0.2).all()


def test_one_slow_worker_is_a_group_and_no_heavy_tail(rng):
    times = 19 * rng.lognormal(0, 0.05, (50, 16))
    times[:, 7] *= 45 / 19
    found = diagnose(times)
    assert found.groups == (tuple(m for m in range(16) if m != 7), (7,))
    np.testing.assert_allclose(found.medians, [19, 45], rtol=0.05)
    assert found.between > 0.8
    assert found.between_p == 1 / 200
    assert min(found.lag_p, found.together_p) > 0.01
    together, apart = (fit(times, groups=g) for g in (None, found.labels))
    assert apart["AIC"].iloc[0] < together["AIC"].iloc[0] - 100
    assert together["p-value"].iloc[0] <= 0.01 < 0.05 < apart["p-value"].iloc[0]
    assert "in 2 groups (15 of median 1" in str(found)


def test_independent_times_pass(rng):
    """Levels of the p-values over 40 sets; four standard errors of a share of 0.1 are 0.19."""
    shapes = [(int(rng.integers(12, 40)), int(rng.integers(2, 8))) for _ in range(40)]
    found = [diagnose(rng.exponential(size=shape), seed=i) for i, shape in enumerate(shapes)]
    for name in ("lag_p", "between_p", "together_p", "drift_p"):
        assert np.mean([getattr(one, name) < 0.1 for one in found]) < 0.29
    assert np.mean([len(one.groups) == 1 for one in found]) > 0.8
    assert abs(np.mean([one.lag for one in found])) < 4 * 0.1 / np.sqrt(40)


def test_dependence_is_found(rng):
    bad = chains(rng, 200, 5, 0.05, 0.1)
    times = rng.lognormal(0, 0.3, (200, 5)) * np.where(bad, 4, 1)
    times[rng.random(times.shape) < 0.1] = np.nan
    assert diagnose(times).lag > 0.4
    rows = rng.lognormal(0, 0.3, (80, 1)) * rng.lognormal(0, 0.1, (80, 6))
    assert diagnose(rows).together > 0.7
    drifting = rng.lognormal(0, 0.2, (80, 4)) * np.linspace(1, 2, 80)[:, None]
    found = diagnose(drifting)
    assert found.drift_p < 0.01
    assert 1.2 < found.drift < 1.8
    zero = times.copy()
    zero[0, 0] = 0
    assert diagnose(zero).lag > 0.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_bursty(np.ones(5)), r"times has shape \(5,\); give \(iterations, workers\)"),
        (lambda: fit_bursty(np.ones((20, 2))), r"times do not vary"),
        (lambda: fit_bursty(np.zeros((20, 2))), r"the smallest 0.0, do not tell bursts; give at"),
        (lambda: fit_bursty(np.ones((5, 2))), r"times of shape \(5, 2\).* give at least 10"),
        (lambda: fit_failures(np.ones(5)), r"times has shape \(5,\)"),
        (lambda: diagnose(np.ones(5)), r"times has shape \(5,\)"),
        (lambda: diagnose(np.ones((5, 2))), r"fewer than two distinct values"),
        (lambda: fit_loads({1: [1.0, 2.0]}), r"times has the loads \[1\]; give two or more"),
        (lambda: fit_loads({1: [1.0, 2.0], 0: [1.0, 3.0]}), r"loads \[1, 0\]; give .* positive"),
        (lambda: fit_loads({1: [1.0, 2.0], 2: [1.0]}), r"times\[2\] has fewer than two distinct"),
        (lambda: fit_loads([1.0, 2.0]), r"times is a list; give a dict from loads"),
        (
            lambda: fit_loads({1: [1.0, 2.0], "2": [1.0, 3.0]}),
            r"loads \[1, '2'\]; give .* positive",
        ),
        (lambda: diagnose(-np.ones((5, 2))), r"times has entries below 0, -1.0 the least"),
        (lambda: diagnose(np.arange(8.0).reshape(4, 2), seed=0.5), r"seed=0.5 is not a whole"),
        (lambda: fit_failures(-np.ones((5, 2)), Lognormal(0.0, 1.0)), r"times has entries below 0"),
        (lambda: fit([1.0, 2.0], groups=3), r"groups=3 is no list; give one label a column"),
        (lambda: fit([1.0, 2.0], seed="a"), r"seed='a' is not a whole number"),
        (lambda: quantile_frame([1.0, 2.0], 3), r"table=3 has no column delays; give"),
    ],
)
def test_what_tells_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
