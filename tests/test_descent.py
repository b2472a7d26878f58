"""The path: selections and iterates against plain loops, and schemes that coincide."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

import lagc_jax as lj

M, K = 6, 30
FALLING = np.array([0.9, 0.5, 0.3, 0.1])  # a vector xi, D = 4
PROBLEMS = {
    "linear, gram": lambda seed: reference.random_data("linear", seed),
    "linear, few rows": lambda seed: reference.random_data("linear", seed, N=1, d=13),
    "logistic": lambda seed: reference.random_data("logistic", seed),
}
SCHEMES = {
    "gd": lj.gd(M),
    "gc": lj.gc(M, 3),
    "grouping": lj.grouping(M, 2),
    "lag, server": lj.lag(M, xi=0.5, memory=4),
    "lag, worker": lj.lag(M, xi=FALLING, memory=4, trigger="worker"),
    "lagc": lj.lagc(M, 2, 2, xi=FALLING / 4, memory=4),
    "g-lag, server": lj.g_lag(M, 3, xi=FALLING, memory=4),
    "g-lag, worker": lj.g_lag(M, 2, xi=0.05, trigger="worker"),
}


def make_problem(data):
    if data.kind == "linear":
        return lj.linear_regression(data.X, data.y)
    return lj.logistic_regression(data.X, data.y, l2=data.l2)


def reference_path(data, scheme, alpha=None, **kwargs):
    alpha = 1 / reference.smoothness(data, 1)[0] if alpha is None else alpha
    G, D = scheme.num_groups, scheme.memory
    return reference.run_path(data, G, scheme.trigger.name, scheme.xi, D, alpha, K, **kwargs)


def simulate(problem, scheme, **changes):
    delays, key = lj.Pareto(1.0, 1.5), jax.random.key(3)
    return lj.simulate(problem, scheme, delays, key, num_iterations=K, **changes)


def assert_same_gap(data, gap, expected):
    # Both sides round sums of some tens of terms, hence 1e-10 of the gap itself. The reference
    # subtracts two logistic losses, which costs a few units in the last place of the loss.
    eps = 0.0 if data.kind == "linear" else 1e-14
    floor = eps * reference.loss(data, np.zeros(data.X.shape[2]))
    np.testing.assert_allclose(gap, expected, rtol=1e-10, atol=floor)


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("name", SCHEMES)
def test_path_and_counts_are_those_of_plain_loops(name, kind):
    scheme = SCHEMES[name]
    for seed in (0, 1):
        data = PROBLEMS[kind](seed)
        expected = reference_path(data, scheme)
        run = simulate(make_problem(data), scheme)
        # Neither side of a trigger is within rounding of the other, so equality is meaningful.
        assert reference.tie_margin(expected) > 1e-6
        assert run.selected[0].all()
        assert run.selected.all() == (not scheme.adaptive)
        assert np.array_equal(run.selected, expected.selected)
        assert_same_gap(data, run.gap, expected.gap)
        np.testing.assert_allclose(run.theta, expected.theta[-1], rtol=1e-9, atol=1e-12)
        counts = reference.costs(expected.selected, M, scheme.redundancy, scheme.trigger.name)
        for counted, count in zip((run.downlink, run.uplink, run.computation), counts, strict=True):
            assert np.array_equal(counted, count)


STEPPING = jax.jit(lj.step)


@pytest.mark.parametrize("name", ["lag, worker", "lagc"])
def test_steps_one_at_a_time_make_the_same_path(name):
    scheme, data = SCHEMES[name], PROBLEMS["linear, gram"](1)
    problem, expected = make_problem(data), reference_path(data, scheme)
    whole, gap = lj.descend(problem, scheme, num_iterations=K), jax.jit(problem.gap)
    frame = whole.to_frame()
    assert frame["iterate"].tolist() == list(range(K + 1))
    np.testing.assert_array_equal(frame["gap"], whole.gap)
    np.testing.assert_array_equal(np.diff(frame["uploads"], prepend=0)[1:], whole.selected.sum(-1))
    state = lj.init(problem, scheme)
    for k in range(K):
        state = STEPPING(problem, scheme, state)
        assert int(state.k) == k + 1
        assert np.array_equal(state.uploaded, whole.selected[k])
        # The same operations in another order of fusion: 1e-12 of the iterates' size.
        np.testing.assert_allclose(state.theta, expected.theta[k + 1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(gap(state.theta), whole.gap[k + 1], rtol=1e-10)


def test_state_holds_what_the_trigger_needs():
    scheme, data = SCHEMES["lagc"], PROBLEMS["linear, gram"](0)
    problem, expected = make_problem(data), reference_path(data, scheme)
    state = lj.init(problem, scheme)
    assert np.array_equal(state.differences, np.zeros(4))  # none before the start
    for _ in range(7):
        state = STEPPING(problem, scheme, state)
    theta = expected.theta
    differences = [np.sum((theta[8 - d] - theta[7 - d]) ** 2) for d in range(1, 5)]
    np.testing.assert_allclose(state.differences, differences, rtol=1e-10)
    for g in range(2):
        last = max(k for k in range(7) if expected.selected[k, g])
        np.testing.assert_allclose(state.stale_iterates[g], theta[last], rtol=1e-10, atol=1e-13)
        gradient = reference.group_gradient(data, 2, g, theta[last])
        np.testing.assert_allclose(state.held[g], gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.group_smoothness, reference.smoothness(data, 2), rtol=1e-12)


@pytest.mark.parametrize("kind", ["linear, gram", "logistic"])
def test_a_path_may_start_elsewhere_and_take_another_step_size(kind):
    data, scheme = PROBLEMS[kind](0), SCHEMES["g-lag, server"]
    theta0, alpha = np.linspace(-1, 2, 5), 0.7 / reference.smoothness(data, 1)[0]
    expected = reference_path(data, scheme, alpha, theta0=theta0)
    path = lj.descend(make_problem(data), scheme, num_iterations=K, step_size=alpha, theta0=theta0)
    assert reference.tie_margin(expected) > 1e-6
    assert np.array_equal(path.selected, expected.selected)
    assert_same_gap(data, path.gap, expected.gap)


@pytest.mark.parametrize("name", ["gd", "lag, server"])
def test_an_optax_transformation_replaces_the_server_s_step(name):
    data, scheme = PROBLEMS["linear, gram"](0), SCHEMES[name]
    alpha = 0.1 / reference.smoothness(data, 1)[0]
    ball = optax.sgd(alpha, momentum=0.9)
    path = lj.descend(make_problem(data), scheme, num_iterations=K, step_size=alpha, optimizer=ball)
    # Heavy ball along the selections made: every group's gradient where it was last used.
    theta, velocity, used = [np.zeros(5)], np.zeros(5), [None] * scheme.num_groups
    for k in range(K):
        for g in range(scheme.num_groups):
            if path.selected[k, g]:
                used[g] = reference.group_gradient(data, scheme.num_groups, g, theta[k])
        velocity = 0.9 * velocity + sum(used)
        theta.append(theta[k] - alpha * velocity)
    np.testing.assert_allclose(path.gap, reference.gaps(data, theta), rtol=1e-10)
    assert path.selected.mean() == 1 if name == "gd" else path.selected.mean() < 0.9


def halving(k):
    """A step size that falls by half every ten iterations."""
    return 0.5 ** (k // 10) / reference.smoothness(reference.random_data("linear", 0), 1)[0]


STEPS = np.array([halving(k) for k in range(K)])
SCHEDULED = {
    "one an iteration": {"step_size": STEPS},
    "function": {"step_size": halving},
    "optax": {"step_size": halving, "optimizer": optax.sgd(halving)},
}


@pytest.mark.parametrize("given", SCHEDULED)
@pytest.mark.parametrize("name", ["lag, server", "lag, worker"])
def test_the_trigger_takes_the_step_size_of_the_iteration(name, given):
    data, scheme = reference.random_data("linear", 0), SCHEMES[name]
    expected, constant = reference_path(data, scheme, STEPS), reference_path(data, scheme)
    path = lj.descend(make_problem(data), scheme, num_iterations=K, **SCHEDULED[given])
    assert reference.tie_margin(expected) > 1e-6
    assert np.array_equal(path.selected, expected.selected)
    assert_same_gap(data, path.gap, expected.gap)
    # The falling step makes the server's condition easier and so saves uploads.
    assert expected.selected.sum() != constant.selected.sum()


def test_a_step_at_a_time_follows_a_schedule_as_well():
    data, scheme = reference.random_data("linear", 0), SCHEMES["lag, server"]
    problem, expected = make_problem(data), reference_path(data, scheme, STEPS)
    state = lj.init(problem, scheme, STEPS)
    for k in range(15):
        state = STEPPING(problem, scheme, state)
        assert np.array_equal(state.uploaded, expected.selected[k])


WRONG_STEPS = [
    ({"step_size": np.ones(K + 1)}, r"step_size has shape \(31,\); give a scalar, or one number"),
    ({"step_size": [-0.1] * K}, "must be positive and finite; give step_size > 0"),
    ({"step_size": lambda k: 0.1 if k < 3 else 0.01}, r"is a function that branches on k"),
    ({"optimizer": optax.sgd(0.1)}, r"optimizer is given without step_size.*; give its step size"),
    ({"optimizer": optax.sgd, "step_size": 0.1}, r"optimizer=<.*sgd.*> is no optax transformation"),
    ({"record": 3}, r"record=3 is no function; give"),
    ({"record": lambda theta: "text"}, r"record gives 'text'; give an array"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_STEPS)
def test_wrong_step_sizes_optimisers_and_records_are_refused(problem, wrong, message):
    with pytest.raises(ValueError, match=message):
        lj.descend(problem, lj.lag(M), num_iterations=K, **wrong)
    with pytest.raises(ValueError, match=message):
        simulate(problem, lj.lag(M), **wrong)


COINCIDE = {
    "lagc with one group and xi=0 is gc": (lj.lagc(M, 1, 3, xi=0.0), lj.gc(M, 3)),
    "lagc with one worker a group is lag": (lj.lagc(M, M, 1, xi=0.2), lj.lag(M, xi=0.2)),
    "lagc with whole groups is g-lag": (lj.lagc(M, 2, 3, xi=0.2), lj.g_lag(M, 2, xi=0.2)),
    "lagc with whole groups and xi=0 is grouping": (lj.lagc(M, 2, 3, xi=0.0), lj.grouping(M, 2)),
    "g-lag with one worker a group is lag": (
        lj.g_lag(M, M, xi=0.05, trigger="worker"), lj.lag(M, xi=0.05, trigger="worker"),
    ),
    "lag with xi=0 is gd": (lj.lag(M, xi=0.0), lj.gd(M)),
    "grouping with one worker a group is gd": (lj.grouping(M, M), lj.gd(M)),
    "grouping with one group is gc with r=M": (lj.grouping(M, 1), lj.gc(M, M)),
}  # fmt: skip


@pytest.mark.parametrize("name", COINCIDE)
def test_corners_of_the_family_coincide_bit_for_bit(problem, name):
    runs = [simulate(problem, scheme) for scheme in COINCIDE[name]]
    assert jax.tree.all(jax.tree.map(np.array_equal, *runs))


def test_gc_without_redundancy_is_gd(problem):
    runs = [simulate(problem, scheme) for scheme in (lj.gc(M, 1), lj.gd(M))]
    # One group or six: the sum over the partitions is rounded in another order.
    np.testing.assert_allclose(runs[0].gap, runs[1].gap, rtol=1e-10)
    for field in ("wall_clock", "downlink", "uplink", "computation"):
        assert np.array_equal(getattr(runs[0], field), getattr(runs[1], field))


@pytest.mark.parametrize("iterations", [20, 64, 150])
def test_a_path_that_stops_at_its_accuracy_is_the_beginning_of_the_whole_path(problem, iterations):
    scheme = lj.g_lag(6, 2, xi=0.1, memory=4)
    steps = jnp.array([0.003, 0.03, 0.3])  # slow, fast and divergent

    def run(step, accuracy):
        return lj.descend(
            problem, scheme, num_iterations=iterations, step_size=step, accuracy=accuracy
        )

    whole = jax.vmap(lambda step: run(step, None))(steps)
    stopped = jax.vmap(lambda step: run(step, 1e-3))(steps)
    for i, step in enumerate(steps):
        alone = run(step, 1e-3)
        known = ~np.isnan(stopped.gap[i])
        hits = np.flatnonzero(whole.gap[i] <= 1e-3)
        end = hits[0] if hits.size else iterations
        finite = np.isfinite(whole.gap[i])
        assert known[: end + 1][finite[: end + 1]].all()
        # Batched and single products are summed in different orders.
        np.testing.assert_allclose(stopped.gap[i][known], whole.gap[i][known], rtol=1e-9)
        assert np.array_equal(known, ~np.isnan(alone.gap))
        assert np.array_equal(
            stopped.selected[i][: known.sum() - 1], whole.selected[i][: known.sum() - 1]
        )
        assert stopped.diverged[i] == alone.diverged == whole.diverged[i]
    assert whole.diverged[2]
    if iterations > 100:
        assert np.isnan(stopped.gap[1, -1])
        assert not stopped.selected[1, -1].any()
