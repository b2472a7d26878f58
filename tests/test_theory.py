"""Bounds hold on every path, and expectations are those of loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

import lagc_jax as lj
from lagc_jax import theory

M = 6
EXPONENTIAL, PARETO = lj.Exponential(2.0), lj.Pareto(0.5, 2.5)
ALL = {
    "GD": lj.gd(M),
    "GC": lj.gc(M, 2),
    "grouping": lj.grouping(M, 2),
    "LAG": lj.lag(M, xi=0.05),
    "LAGC": lj.lagc(M, 2, 2, xi=0.05),
    "G-LAG": lj.g_lag(M, 2, xi=0.05),
    "LAG, worker": lj.lag(M, xi=0.05, trigger="worker"),
}


@pytest.mark.parametrize("name", ["GD", "GC", "LAG", "LAGC", "LAG, worker"])
def test_iterations_stay_within_the_bound(name):
    scheme, accuracy = ALL[name], 1e-6
    for seed in (0, 1, 2):
        data = reference.random_data("linear", seed)
        problem = lj.linear_regression(data.X, data.y)
        spectrum = np.linalg.svd(data.X.reshape(-1, 5), compute_uv=False) ** 2
        factor = 1 - np.sqrt(scheme.memory * scheme.xi) if scheme.adaptive else 1.0
        start = reference.gaps(data, [np.zeros(5)])[0]
        expected = spectrum[0] / spectrum[-1] / factor * np.log(start / accuracy)
        bound = theory.iteration_bound(problem, scheme, accuracy)
        np.testing.assert_allclose(bound, expected, rtol=1e-10)
        step_size = theory.safe_step_size(problem, scheme)
        np.testing.assert_allclose(step_size, factor / spectrum[0], rtol=1e-10)
        assert bound < 500
        path = lj.descend(problem, scheme, num_iterations=500, step_size=step_size)
        assert reference.complexity(np.arange(501), path.gap, accuracy) <= bound


def test_the_bound_is_of_a_path_from_the_start_of_the_problem():
    def loss(theta, part):
        return jnp.sum((theta - part) ** 2)

    data = np.arange(1.0, 5.0)[:, None]
    known = dict(smoothness=np.full(4, 2.0), strong_convexity=8.0)
    zeros = lj.problems.general_problem(loss, data, np.zeros(1), **known)
    problem = dataclasses.replace(zeros, initial=np.full(1, 9.0))
    start = 4 * (9.0 - 2.5) ** 2
    # Condition 1: the logarithm alone.
    bound = theory.iteration_bound(problem, lj.gd(4), 1e-3)
    np.testing.assert_allclose(bound, np.log(start / 1e-3), rtol=1e-10)


def test_a_xi_without_guarantee_has_no_bound(problem):
    for xi in (0.1, np.linspace(0.05, 0.01, 10)):
        with pytest.raises(ValueError, match="guarantee"):
            theory.safe_step_size(problem, lj.lag(M, xi=xi))


SHARES = {
    "lag": lj.lag(M, xi=0.5, memory=4),
    "lag, falling xi": lj.lag(M, xi=np.array([2.0, 1.0, 0.5, 0.2]), memory=4),
    "lagc": lj.lagc(M, 3, 1, xi=0.3, memory=5),
    "lag, worker": lj.lag(M, xi=0.3, memory=4, trigger="worker"),
}


@pytest.mark.parametrize("kind", ["linear", "logistic"])
@pytest.mark.parametrize("name", SHARES)
def test_smooth_groups_upload_as_rarely_as_lemma_4_says(name, kind):
    scheme, K = SHARES[name], 40
    G, D = scheme.num_groups, scheme.memory
    for seed in range(4):
        data = reference.random_data(kind, seed)
        if kind == "linear":
            problem = lj.linear_regression(data.X, data.y)
        else:
            problem = lj.logistic_regression(data.X, data.y, l2=data.l2)
        constants, L = reference.smoothness(data, G), reference.smoothness(data, 1)[0]
        for alpha in (1 / L, 0.5 / L):
            path = lj.descend(problem, scheme, num_iterations=K, step_size=alpha)
            selected = np.asarray(path.selected)
            assert reference.lemma4_holds(selected, constants, L, alpha, scheme.xi, D)
            share = theory.communication_bound(problem, scheme, alpha)
            expected = reference.communication_share_bound(constants, L, alpha, scheme.xi, D)
            np.testing.assert_allclose(share, expected, rtol=1e-12)
            assert share < 1
            # Rounding K/(d+1) up costs every group at most one upload, 1/K of its share.
            longest = uploads_allowed(constants, L, alpha, scheme, K)
            assert np.all(selected.sum(0) <= longest)
            assert selected.mean() <= share + 1 / K


def uploads_allowed(constants, L, alpha, scheme, K):
    """`ceil(K/(d+1))` for every group, d the largest with (L_g/L)^2 <= gamma_d (section 6)."""
    gammas = reference.gammas(L, alpha, scheme.xi, scheme.memory, scheme.num_groups)
    depth = [sum((c / L) ** 2 <= gamma for gamma in gammas) for c in constants]
    return np.array([-(-K // (d + 1)) for d in depth])


def test_schemes_that_use_all_groups_may_use_all_communication(problem):
    assert theory.communication_bound(problem, lj.gc(M, 2)) == 1


# None of them makes LAG's comparison or takes LAG's step.
FOREIGN = {
    "LASG": (lj.schemes.lasg(M, 0.01, trigger="lasg-server"), "trigger='lasg-server'"),
    "CADA": (lj.schemes.cada(M, 0.01), "trigger='cada2'"),
    "LAQ": (lj.schemes.laq(M, xi=0.01), "trigger='laq'"),
    "AMSGrad": (dataclasses.replace(lj.gd(M), optimizer=optax.amsgrad), "optimizer="),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_bounds_of_lag_are_refused_to_rules_and_servers_of_later_papers(problem, name):
    scheme, message = FOREIGN[name]
    with pytest.raises(ValueError, match=message):
        theory.safe_step_size(problem, scheme)
    with pytest.raises(ValueError, match=message):
        theory.iteration_bound(problem, scheme, 1e-3)
    if scheme.adaptive:
        with pytest.raises(ValueError, match=message):
            theory.communication_bound(problem, scheme)


def test_bounds_of_full_gradients_are_refused_to_minibatches(problem):
    noisy = lj.problems.minibatch(problem, 2, jax.random.key(0))
    with pytest.raises(ValueError, match="minibatches"):
        theory.iteration_bound(noisy, lj.gd(M), 1e-3)
    with pytest.raises(ValueError, match="minibatches"):
        theory.communication_bound(noisy, SHARES["lag, worker"])
    # The server trigger compares iterates, so Lemma 4 holds whatever the gradients are.
    scheme = lj.lag(M, xi=20.0, memory=4)
    path = lj.descend(noisy, scheme, num_iterations=40)
    constants, L = np.asarray(problem.smoothness), float(problem.total_smoothness)
    assert reference.lemma4_holds(np.asarray(path.selected), constants, L, 1 / L, 20.0, 4)
    assert theory.communication_bound(noisy, scheme) < 1


def test_a_path_that_depends_on_the_times_has_no_expected_complexity(problem):
    scheme = lj.schemes.fastest_k(M, 4)
    run = lj.simulate(problem, scheme, EXPONENTIAL, jax.random.key(0), num_iterations=3)
    with pytest.raises(ValueError, match="decoding=Rescaled is not exact"):
        theory.expected_complexity(scheme, EXPONENTIAL, run, 1e-3)


# With s uploading groups of M = 6: downlink, uplink, gradients of an iteration.
PER_ITERATION = {
    "GD": (6, lambda s: (6, 6, 6)),
    "GC": (1, lambda s: (6, 5, 12)),
    "grouping": (2, lambda s: (6, 2, 18)),
    "LAG": (3, lambda s: (s, s, s)),
    "LAGC": (1, lambda s: (3 * s, 2 * s, 6 * s)),
    "G-LAG": (1, lambda s: (3 * s, s, 9 * s)),
    "LAG, worker": (4, lambda s: (6, s, 6)),
}


@pytest.mark.parametrize("name", PER_ITERATION)
def test_iteration_costs_are_those_of_the_definitions(name):
    scheme, (s, counts) = ALL[name], PER_ITERATION[name]
    costs = theory.iteration_costs(scheme, EXPONENTIAL, s)
    downlink, uplink, computation = counts(s)
    assert (costs.downlink, costs.uplink, costs.computation) == (downlink, uplink, computation)
    assert costs.communication == downlink + uplink
    working = scheme.num_groups if scheme.trigger.name == "worker" else s
    mean = reference.iteration_moment(
        1, "exponential", (2.0,), working, scheme.group_size, scheme.redundancy
    )
    np.testing.assert_allclose(costs.time, mean, rtol=1e-10)


def test_times_of_gd_gc_and_grouping_have_closed_forms():
    # GD waits for the slowest of 6; GC(2) for the 5th of 6, at twice the load; grouping for the
    # slowest of two groups' fastest of 3, at three times the load.
    for delays, mean in (
        (EXPONENTIAL, lambda k, n, of=1: reference.exponential_order_mean(k, n, of * 2.0)),
        (PARETO, lambda k, n, of=1: reference.pareto_order_mean(k, n, 0.5, of * 2.5)),
    ):
        times = [theory.iteration_costs(ALL[name], delays).time for name in list(ALL)[:3]]
        expected = [mean(6, 6), 2 * mean(5, 6), 3 * mean(2, 2, of=3)]
        np.testing.assert_allclose(times, expected, rtol=1e-12)


def test_iteration_costs_take_many_numbers_of_groups():
    costs = theory.iteration_costs(ALL["LAGC"], PARETO, np.arange(3))
    assert np.array_equal(costs.communication, [0, 5, 10])
    assert costs.time[0] == 0
    for s in (1, 2):
        mean = reference.iteration_moment(1, "pareto", (0.5, 2.5), s, 3, 2)
        np.testing.assert_allclose(costs.time[s], mean, rtol=1e-10)


@pytest.mark.parametrize("accuracy", [1e-4, 1e-200])
def test_table_1_is_made_of_loops_over_the_paths(problem, accuracy):
    iterations = 40
    data = reference.data_of(problem)
    alpha = 1 / reference.smoothness(data, 1)[0]
    for name, scheme in ALL.items():
        r, G, row = scheme.redundancy, scheme.num_groups, {}
        ours = lj.descend(problem, scheme, num_iterations=iterations)
        for column, delays in (("low", EXPONENTIAL), ("high", PARETO)):
            known = theory.expected_complexity(scheme, delays, ours, accuracy)
            row |= theory.scheme_row(scheme, known) | theory.delay_row(column, known)
        path = reference.run_path(
            data, G, scheme.trigger.name, scheme.xi, scheme.memory, alpha, iterations
        )
        hit = reference.complexity(np.arange(iterations + 1), path.gap, accuracy)
        assert row["iterations"] == hit
        last = int(min(hit, iterations))
        downlink, uplink, computation = reference.costs(path.selected, M, r, scheme.trigger.name)
        communication = downlink + uplink
        uploads = path.selected[:last].sum() / last
        working = G if scheme.trigger.name == "worker" else uploads
        expected = {
            "storage": r,
            "workers waited for": scheme.num_waited * working,
            "stragglers tolerated": r - 1,
            "communication per iteration": communication[last] / last,
            "computation per iteration": computation[last] / last,
            "communication": reference.complexity(communication, path.gap, accuracy),
            "computation": reference.complexity(computation, path.gap, accuracy),
        }
        families = ("low", "exponential", (2.0,)), ("high", "pareto", (0.5, 2.5))
        for column, family, parameters in families:
            mean, variance = reference.expected_clock(
                family, parameters, path.selected, M, r, scheme.trigger.name
            )
            expected[f"{column} time per iteration"] = mean[last] / last
            expected[f"{column} wall-clock mean"] = reference.complexity(mean, path.gap, accuracy)
            expected[f"{column} wall-clock deviation"] = np.sqrt(
                reference.complexity(variance, path.gap, accuracy)
            )
        assert set(row) == {*expected, "iterations"}
        for column, value in expected.items():
            np.testing.assert_allclose(row[column], value, rtol=1e-10, err_msg=f"{name} {column}")


def test_no_iteration_costs_nothing():
    empty, parts = np.ones((0, 4)), (lj.gd(4), lj.Exponential(1.0))
    assert lj.expected_wall_clock(*parts, empty).tolist() == [0.0]
