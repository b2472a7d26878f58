"""Whole trajectories: transforms, complexity, divergence, batches, coded recovery, compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import lagc_jax as lj
from lagc_jax.times import elapsed, sample_worker_times

M, K = 6, 20
LAGC = lj.lagc(M, 2, 2, xi=0.2, memory=4)
PARETO = lj.Pareto(1.0, 1.5)
KEY = jax.random.key(7)


def assert_close(run, expected, rtol=1e-10):
    """Equal decisions and counts; floats to rounding, which batching may reorder."""
    for field in ("selected", "downlink", "uplink", "computation", "diverged"):
        assert np.array_equal(getattr(run, field), getattr(expected, field))
    for field in ("gap", "wall_clock", "theta"):
        np.testing.assert_allclose(
            getattr(run, field), getattr(expected, field), rtol=rtol, atol=1e-14
        )


def member(batch, i):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], batch)


def simulate(problem, scheme=LAGC, delays=PARETO, key=KEY, **changes):
    arguments = dict(num_iterations=K, step_size=0.03) | changes
    return lj.simulate(problem, scheme, delays, key, **arguments)


def run(problem, key=KEY, xi=0.2, step_size=0.03, shape=1.5):
    scheme, delays = lj.lagc(M, 2, 2, xi=xi, memory=4), lj.Pareto(1.0, shape)
    return simulate(problem, scheme, delays, key, step_size=step_size)


AXES = {
    "key": jax.random.split(KEY, 3),
    "xi": np.array([0.0, 0.1, 0.4]),
    "step_size": np.array([0.01, 0.02, 0.036]),
    "shape": np.array([1.2, 1.5, 3.0]),
}


@pytest.mark.parametrize("axis", AXES)
def test_a_batch_is_a_loop(problem, axis):
    batch = jax.vmap(lambda value: run(problem, **{axis: value}))(AXES[axis])
    for i, value in enumerate(AXES[axis]):
        assert_close(member(batch, i), run(problem, **{axis: value}))


def test_a_batch_over_vector_xi_and_worker_parameters_is_a_loop(problem):
    xis = np.array([[0.4, 0.2], [0.1, 0.05]])
    rates = np.random.default_rng(0).uniform(0.5, 2, (2, M))

    def one(xi, rate):
        scheme, delays = lj.lag(M, xi=xi, memory=2), lj.Exponential(rate)
        return lj.simulate(problem, scheme, delays, KEY, num_iterations=K)

    batch = jax.vmap(one)(xis, rates)
    for i in range(2):
        assert_close(member(batch, i), one(xis[i], rates[i]))


def test_a_scheme_may_be_batched_as_a_pytree(problem):
    schemes = jax.tree.map(lambda _: AXES["xi"], LAGC)
    batch = jax.vmap(lambda scheme: simulate(problem, scheme))(schemes)
    for i, xi in enumerate(AXES["xi"]):
        assert_close(member(batch, i), run(problem, xi=xi))


def test_simulate_inside_jit_is_simulate(problem):
    jitted = jax.jit(lj.simulate, static_argnames=("num_iterations", "sampler"))
    assert_close(jitted(problem, LAGC, PARETO, KEY, num_iterations=K, step_size=0.03), run(problem))


def test_the_path_does_not_depend_on_the_delays(problem):
    runs = [run(problem, key=key, shape=s) for key, s in zip(AXES["key"], (1.1, 2, 5), strict=True)]
    for other in runs[1:]:
        assert np.array_equal(other.selected, runs[0].selected)
        assert np.array_equal(other.gap, runs[0].gap)
        assert not np.array_equal(other.wall_clock, runs[0].wall_clock)


def test_the_same_key_gives_the_same_trajectory(problem):
    equal = jax.tree.map(np.array_equal, run(problem), run(problem))
    assert all(jax.tree.leaves(equal))


@pytest.mark.parametrize(
    "scheme",
    [LAGC, lj.gc(M, 3), lj.g_lag(M, 3, xi=0.05, trigger="worker")],
    ids=["lagc", "gc", "g-lag, worker"],
)
def test_sampling_workers_gives_the_clock_of_their_drawn_times(problem, scheme):
    delays = lj.Exponential(np.array([1, 2, 3, 0.5, 1, 0.05]))
    result = lj.simulate(problem, scheme, delays, KEY, num_iterations=K)
    times = np.asarray(sample_worker_times(delays, KEY, K, M))
    expected = reference.wall_clock(
        times, np.asarray(result.selected), scheme.redundancy, scheme.trigger.name
    )
    np.testing.assert_allclose(result.wall_clock, expected, rtol=1e-13)  # sums of 20 times


ACCURACIES = np.array([1.0, 1e-3, 1e-300, 1e6])


def test_complexity_is_the_entry_at_the_first_gap_within_the_accuracy(problem):
    result = run(problem)
    many = lj.complexity(result, ACCURACIES)
    arrays = {
        "wall_clock": result.wall_clock,
        "communication": result.downlink + result.uplink,
        "computation": result.computation,
        "iterations": np.arange(K + 1),
    }
    for field, array in arrays.items():
        expected = [reference.complexity(array, result.gap, eps) for eps in ACCURACIES]
        assert np.array_equal(getattr(many, field), expected)
    assert np.isfinite(many.wall_clock).tolist() == [True, True, False, True]
    assert many.communication[3] == 0  # the start is within 1e6
    for i, accuracy in enumerate(ACCURACIES):  # one accuracy or many
        one = lj.complexity(result, accuracy)
        assert one.wall_clock.shape == ()
        assert one == member(many, i)
    assert lj.complexity(result, result.gap[6]).iterations == 6  # equal counts


def test_complexity_of_a_batch_is_that_of_its_members(problem):
    batch = jax.vmap(lambda key: run(problem, key=key))(AXES["key"])
    complexity = jax.vmap(lambda one: lj.complexity(one, ACCURACIES))(batch)
    for i in range(3):
        alone = lj.complexity(member(batch, i), ACCURACIES)
        assert jax.tree.all(jax.tree.map(np.array_equal, member(complexity, i), alone))


def test_a_large_xi_with_few_groups_diverges_and_says_so(problem):
    iterations, data = 200, reference.data_of(problem)
    result = simulate(problem, lj.g_lag(M, 2, xi=1.0), num_iterations=iterations, step_size=None)
    alpha = 1 / reference.smoothness(data, 1)[0]
    expected = reference.run_path(data, 2, "server", 1.0, 10, alpha, iterations)
    assert reference.tie_margin(expected) > 1e-6
    assert bool(result.diverged)
    assert np.array_equal(result.selected, expected.selected)
    # A divergent recursion amplifies rounding, by less than 1e6 over these 200 iterations.
    np.testing.assert_allclose(result.gap, expected.gap, rtol=1e-10 * 1e6)
    assert np.isinf(lj.complexity(result, 1e-8).wall_clock)


@pytest.mark.parametrize("scheme", [lj.gd(M), LAGC], ids=["gd", "lagc"])
def test_an_overflowing_path_keeps_its_finite_part(problem, scheme):
    result = simulate(problem, scheme, step_size=1e40)
    G, trigger, data = scheme.num_groups, scheme.trigger.name, reference.data_of(problem)
    expected = reference.run_path(data, G, trigger, scheme.xi, scheme.memory, 1e40, K)
    finite = np.isfinite(expected.gap)
    assert 3 <= finite.sum() < K
    assert bool(result.diverged)
    assert not np.isfinite(result.gap[-1])
    np.testing.assert_allclose(result.gap[finite], expected.gap[finite], rtol=1e-10)
    complexity = lj.complexity(result, np.array([1e-8, 2 * float(result.gap[0])]))
    assert np.isinf(complexity.wall_clock).tolist() == [True, False]
    assert np.isinf(complexity.communication).tolist() == [True, False]


def test_a_divergent_member_leaves_the_rest_of_a_batch_alone(problem):
    steps = np.array([0.03, 1e40, 0.02])
    batch = jax.vmap(lambda step_size: run(problem, step_size=step_size))(steps)
    assert batch.diverged.tolist() == [False, True, False]
    for i in (0, 2):
        assert_close(member(batch, i), run(problem, step_size=steps[i]))


@pytest.mark.parametrize(
    "delays", [PARETO, lj.Exponential(np.linspace(0.5, 2, M))], ids=["iid", "by worker"]
)
def test_a_batch_of_realisations_summarises_simulate_with_folded_keys(problem, delays):
    accuracies, levels = (1.0, 1e-2, 1e-300), (0.0, 0.3, 0.5, 1.0)
    batch = lj.simulate_batch(
        problem, LAGC, delays, KEY, num_iterations=K, num_realisations=5, accuracies=accuracies,
        quantiles=levels, step_size=0.03,
    )  # fmt: skip
    runs = [simulate(problem, LAGC, delays, key=jax.random.fold_in(KEY, i)) for i in range(5)]
    assert np.array_equal(batch.selected, runs[0].selected)
    np.testing.assert_allclose(batch.gap, runs[0].gap, rtol=1e-10)
    for a, accuracy in enumerate(accuracies):
        costs = [lj.complexity(one, accuracy) for one in runs]
        for field in ("iterations", "communication", "computation"):
            assert getattr(batch.costs, field).mean[a] == getattr(costs[0], field)
        clock = np.array([one.wall_clock for one in costs])
        if np.isinf(clock[0]):
            assert np.isinf(batch.mean[a])
            assert np.isinf(batch.quantiles[a]).all()
            continue
        np.testing.assert_allclose(batch.mean[a], clock.mean(), rtol=1e-12)
        np.testing.assert_allclose(batch.variance[a], clock.var(ddof=1), rtol=1e-10)
        np.testing.assert_allclose(batch.quantiles[a], np.quantile(clock, levels), rtol=1e-12)


def test_messages_that_int32_cannot_count_are_refused_without_x64():
    M, K = 20_000, 60_000
    with jax.enable_x64(False):
        problem = lj.linear_regression(np.ones((M, 1, 1)), np.ones((M, 1)))
        with pytest.raises(ValueError, match=r"can cost 2400000000 gradients or messages, more th"):
            lj.simulate(problem, lj.gd(M), lj.Exponential(1.0), jax.random.key(0), num_iterations=K)


def test_realisations_do_not_depend_on_how_many_there_are(problem):
    def sorted_times(count):
        batch = lj.simulate_batch(
            problem, LAGC, PARETO, KEY, num_iterations=K, num_realisations=count,
            accuracies=(1e-2,), quantiles=np.linspace(0, 1, count), step_size=0.03,
        )  # fmt: skip
        return np.asarray(batch.quantiles[0])

    # 3 and 70 realisations: the larger batch is drawn in more than one block.
    few, many = sorted_times(3), sorted_times(70)
    for clock in few:
        assert np.isclose(many, clock, rtol=1e-12).any()
    runs = jax.vmap(lambda i: run(problem, key=jax.random.fold_in(KEY, i)))(jnp.arange(70))
    hit = int(lj.complexity(member(runs, 0), 1e-2).iterations)
    np.testing.assert_allclose(many, np.sort(runs.wall_clock[:, hit]), rtol=1e-12)


CODED = {
    "gc": (lj.gc(M, 3), None),
    "gc, fractional repetition": (lj.gc(M, 3), lj.schemes.fractional_repetition(6, 3)),
    "lagc": (LAGC, None),
    "g-lag, worker": (lj.g_lag(M, 2, xi=0.05, memory=4, trigger="worker"), None),
    "gd": (lj.gd(M), None),
}


@pytest.mark.parametrize("name", CODED)
def test_coded_messages_decode_to_the_exact_path(problem, name):
    scheme, code = CODED[name]
    exact = simulate(problem, scheme, sampler="workers")
    coded = simulate(problem, scheme, sampler="workers", exact_recovery=False, code=code)
    used = code or lj.schemes.cyclic_repetition(scheme.group_size, scheme.redundancy)
    # Decoding multiplies the rounding of messages, eps of the largest gradient, by the condition.
    # A gap is quadratic in the iterate's error, hence the square root and the factor 2.
    rounding = 100 * np.finfo(float).eps * lj.schemes.worst_condition(used)
    distance = np.sqrt(exact.gap / exact.gap[0])
    assert np.array_equal(coded.selected, exact.selected)
    assert np.all(np.abs(coded.gap - exact.gap) <= 2 * rounding * distance * exact.gap[0])
    np.testing.assert_allclose(coded.theta, exact.theta, rtol=0, atol=1e3 * rounding)
    for field in ("wall_clock", "downlink", "uplink", "computation"):
        assert np.array_equal(getattr(coded, field), getattr(exact, field))


def test_coded_trajectories_really_send_their_messages(problem):
    silent = lj.schemes.GradientCode(jnp.zeros((3, 3)), 2)
    result = simulate(problem, exact_recovery=False, code=silent)
    assert np.array_equal(result.gap, np.full(K + 1, result.gap[0]))


def test_values_do_not_compile_again_but_sizes_do(problem, compilations):
    def one(redundancy, xi, step_size, seed, rate):
        scheme, delays = lj.lagc(M, 2, redundancy, xi=xi, memory=3), lj.Exponential(rate)
        result = simulate(
            problem, scheme, delays, jax.random.key(seed), num_iterations=3, step_size=step_size
        )
        return jax.block_until_ready(result)

    jax.random.key(0)  # making a key is a program of its own
    lj.descend(problem, lj.g_lag(M, 2), num_iterations=2)  # constants of groups, found once
    with compilations() as first:
        one(1, xi=0.1, step_size=0.01, seed=0, rate=1.0)
    with compilations() as values:
        one(1, xi=0.3, step_size=0.02, seed=1, rate=2.0)
        one(1, xi=0.0, step_size=0.005, seed=2, rate=0.1)
    with compilations() as sizes:
        one(2, xi=0.1, step_size=0.01, seed=0, rate=1.0)
    assert (first, values, sizes) == ([1], [0], [1])


def test_batches_of_realisations_do_not_compile_again_for_values(problem, compilations):
    def one(xi, seed, shape, accuracy):
        scheme, delays = lj.lagc(M, 2, 2, xi=xi, memory=3), lj.Pareto(1.0, shape)
        return lj.simulate_batch(
            problem, scheme, delays, jax.random.key(seed), num_iterations=3, num_realisations=2,
            accuracies=(accuracy,),
        )  # fmt: skip

    one(0.1, 0, 1.5, 1e-2)
    with compilations() as values:
        one(0.3, 1, 3.0, 1e-4)
    assert values == [0]


@pytest.mark.parametrize("single", [True, False])
def test_a_clock_never_runs_back_and_stands_where_nobody_works(single):
    dtype = np.float32 if single else float
    rng = np.random.default_rng(0)
    times = np.where(rng.random(3000) < 0.3, 0, rng.pareto(1.5, 3000)).astype(dtype)
    clock, sums = jax.jit(elapsed)(times), np.concatenate([[0], np.cumsum(times.astype(float))])
    steps = np.diff(clock)
    assert (steps >= 0).all()
    assert (steps[times == 0] == 0).all()
    np.testing.assert_allclose(clock, sums, rtol=20 * np.finfo(dtype).eps)
    slope = jax.grad(lambda scale: elapsed(scale * times)[-1])(dtype(1))
    np.testing.assert_allclose(slope, sums[-1], rtol=20 * np.finfo(dtype).eps)
    assert elapsed(jnp.array([1.0, jnp.inf, 2.0]))[2:].tolist() == [np.inf, np.inf]
