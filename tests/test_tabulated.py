"""Times from scipy's distributions, through a table of their quantiles."""

import types

import jax
import numpy as np
import pytest
import scipy.stats as st

import lagc_jax as lj
from lagc_jax.delays import Tabulated, tabulate

HAZARDS = np.geomspace(1e-9, 60, 400)
LAWS = {
    "log-logistic": (st.fisk(2.5), 2.5),
    "pareto": (st.pareto(1.5), 1.5),
    "gamma": (st.gamma(0.4), np.inf),
    "lognormal": (st.lognorm(1.0), np.inf),
    "shifted": (st.weibull_min(0.7, loc=1.0), np.inf),
    "uniform": (st.uniform(1.0, 2.0), np.inf),
}


def quantiles(law):
    late = law.isf(np.exp(-HAZARDS))
    return np.where(np.log(2) > HAZARDS, law.ppf(-np.expm1(-HAZARDS)), late)


@pytest.mark.parametrize("name", LAWS)
def test_quantiles_hazards_and_tails_are_those_of_scipy(name):
    law, tail = LAWS[name]
    times, expected = tabulate(law), quantiles(law)
    np.testing.assert_allclose(times.inverse_hazard(HAZARDS), expected, rtol=2e-9)
    np.testing.assert_allclose(np.exp(times.log_inverse_hazard(HAZARDS)), expected, rtol=2e-9)
    # Beyond these, one step of a float64 time is a larger step of its hazard.
    part = (HAZARDS > 1e-3) & ((15 if name == "uniform" else 60) > HAZARDS)
    np.testing.assert_allclose(times.hazard(expected)[part], HAZARDS[part], rtol=1e-8)
    assert times.tail_index == pytest.approx(tail, rel=1e-4)
    single = Tabulated(*(np.float32(leaf) for leaf in jax.tree.leaves(times)))
    np.testing.assert_allclose(single.inverse_hazard(HAZARDS[::9]), expected[::9], rtol=1e-4)


def test_moments_are_those_of_the_family():
    groups = np.ones((1, 2), bool)
    family, table = lj.delays.Lognormal(0.0, 1.0), tabulate(st.lognorm(1.0))
    for exact in (lj.expected_wall_clock, lj.theory.wall_clock_variance):
        scheme = lj.grouping(4, 2)
        np.testing.assert_allclose(
            exact(scheme, table, groups), exact(scheme, family, groups), rtol=1e-8
        )
    rates = np.array([1.0, 2.0])
    unequal = tabulate(st.expon(), 1 / rates)
    mean = lj.expected_wall_clock(lj.gd(2), unequal, groups)[1]
    np.testing.assert_allclose(mean, 1 / 1 + 1 / 2 - 1 / 3, rtol=1e-8)


@pytest.mark.parametrize(("tail", "r"), [(1.0, 1), (1 / 2, 2), (1 / 3, 3)])
def test_a_mean_at_the_limit_is_infinite(tail, r):
    with pytest.warns(RuntimeWarning, match="infinite"):
        assert lj.law.iteration_mean(tabulate(st.fisk(tail)), 3, r, 1) == np.inf


def test_every_door_takes_a_distribution_of_scipys(problem):
    scheme, law, K = lj.g_lag(6, 2, xi=0.1), st.fisk(2.5), 5
    key, sizes = jax.random.key(0), dict(num_iterations=K, num_realisations=3)
    batch = lj.simulate_batch(problem, scheme, law, key, accuracies=[50.0], **sizes)
    table = lj.run(
        lj.Experiment(problems={"p": problem}, schemes={"s": scheme}, delays={"d": law},
                      target=lj.Gap([50.0]), **sizes)
    )  # fmt: skip
    assert table["time_mean"].item() == batch.mean.item()
    run = lj.simulate(problem, scheme, law, key, num_iterations=K)
    assert np.isfinite(run.wall_clock).all()
    assert isinstance(lj.delays.Failures(law, 0.1).delays, Tabulated)
    with pytest.raises(ValueError, match=r"give lagc_jax[.]delays[.]tabulate of it"):
        lj.law.iteration_mean(law, 4, 2, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tabulate(1.0), "float without ppf and isf; give a frozen"),
        (lambda: tabulate(st.norm()), "times from -inf on; give one of positive"),
        (lambda: tabulate(st.poisson(3.0, loc=2)), "jumps or gaps; give a Discrete"),
        (lambda: tabulate(st.expon(), -1.0), "scale=-1.0"),
        (lambda: tabulate(st.fisk), "not one frozen law"),
        (lambda: tabulate(st.fisk(3.0, scale=np.ones(4))), r"give .*tabulate\(law, scale=..\)"),
        (lambda: lj.expected_wall_clock(lj.gd(2), [st.expon()], [[1, 1]]), "list of laws"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def rounded(law):
    """A law whose far quantiles are those of the nearest probability below one, as many have."""
    return types.SimpleNamespace(ppf=law.ppf, isf=lambda q: law.ppf(1 - q))


NOISY = {
    "alpha": (st.alpha(1.0), st.alpha(1.0), 1),
    "beta prime": (st.betaprime(2, 0.9), st.betaprime(2, 0.9), 0.9),
    "F": (st.f(5, 6), st.f(5, 6), 3),
    "log-uniform": (st.loguniform(1, 10), st.loguniform(1, 10), np.inf),
    "pareto": (rounded(st.pareto(1.0)), st.pareto(1.0), 1),
    "exponential": (rounded(st.expon()), st.expon(), np.inf),
    "Weibull": (rounded(st.weibull_min(0.7)), st.weibull_min(0.7), np.inf),
}


@pytest.mark.parametrize("name", NOISY)
def test_quantiles_that_are_noise_are_left_out(name):
    law, exact, tail = NOISY[name]
    times = tabulate(law)
    assert (np.diff(times.values) > 0).all()
    assert times.tail_index == pytest.approx(tail, rel=0.01)
    assert times.tail_index <= tail  # a mean that may be infinite is
    chances = np.array([0.5, 1e-2, 1e-4, 1e-6])
    np.testing.assert_allclose(times.survival(exact.isf(chances)), chances, rtol=1e-6)


def test_a_worker_scale_hardly_changes_the_mean_of_a_law_whose_far_quantiles_are_noise():
    law = rounded(st.weibull_min(0.7))
    both = (law, tabulate(law, np.array([1, 1, 1 + 1e-9])))
    means = [lj.expected_wall_clock(lj.gd(3), one, np.ones((1, 3), bool))[1] for one in both]
    np.testing.assert_allclose(means[1], means[0], rtol=1e-6)
