"""Single precision: agreement with double, dtypes, and no hold on JAX's configuration."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.theory import expected_complexity

M, K = 6, 25
SCHEMES = {
    "GD": lj.gd(M),
    "GC": lj.gc(M, 3),
    "grouping": lj.grouping(M, 3),
    "LAG": lj.lag(M, xi=0.1),
    "LAGC": lj.lagc(M, 2, 2, xi=0.1),
    "G-LAG": lj.g_lag(M, 3, xi=0.1),
    "LAG-WK": lj.lag(M, xi=0.1, trigger="worker"),
}
# A float32 iterate is resolved to 6e-8 of its size, so a gap that has fallen to 1e-6 of its start
# (the distance to 1e-3) is known to some 6e-8 / 1e-3, times the few roundings of an iteration.
SINGLE = 2e-4


@pytest.fixture(scope="module")
def problems(problem):
    """One data set, exact in float32, in both precisions."""
    X, y = np.asarray(problem.X, np.float32), np.asarray(problem.y, np.float32)
    single = lj.linear_regression(X, y)
    return single, lj.linear_regression(X.astype(np.float64), y.astype(np.float64))


def single_delays():
    return lj.Pareto(jnp.float32(1.0), jnp.float32(2.5))


def double_delays():
    return lj.Pareto(1.0, 2.5)


@jax.jit
def run_once(problem, scheme, delays, key, accuracy):
    """A trajectory, its cost to an accuracy and its expected times, as one program."""
    run = lj.simulate(problem, scheme, delays, key, num_iterations=K)
    clock = lj.expected_wall_clock(scheme, delays, run.selected)
    return run, lj.complexity(run, accuracy), clock


@pytest.mark.parametrize("name", SCHEMES)
def test_float32_trajectories_agree_with_float64(problems, name):
    accuracy = 3e-4 * problems[1].gap(jnp.zeros(8))
    (single, cost, clock), (double, reference, exact_clock) = (
        run_once(problem, SCHEMES[name], delays, jax.random.key(0), accuracy)
        for problem, delays in zip(problems, (single_delays(), double_delays()), strict=True)
    )
    assert double.gap[K] < 1e-4 * double.gap[0]
    np.testing.assert_allclose(single.gap, double.gap, rtol=SINGLE)
    for exact in ("selected", "downlink", "uplink", "computation"):
        np.testing.assert_array_equal(getattr(single, exact), getattr(double, exact))
    assert float(cost.iterations) == float(reference.iterations) < K
    assert float(cost.communication) == float(reference.communication)
    assert float(cost.computation) == float(reference.computation)
    # Logarithms of the masses reach -60: rounded to 4e-6 in float32.
    np.testing.assert_allclose(clock, exact_clock, rtol=1e-5)


def test_float32_times_have_the_exact_mean(problems):
    scheme, R = SCHEMES["LAGC"], 2000
    batch = lj.simulate_batch(
        problems[0], scheme, lj.Exponential(jnp.float32(1.0)), jax.random.key(0), num_iterations=K,
        num_realisations=R, accuracies=(3e-4 * float(problems[0].gap(jnp.zeros(8, jnp.float32))),),
    )  # fmt: skip
    clock, spread = jax.jit(
        lambda delays: (
            lj.expected_wall_clock(scheme, delays, batch.selected),
            lj.theory.wall_clock_variance(scheme, delays, batch.selected),
        )
    )(lj.Exponential(1.0))
    hit = int(batch.costs.iterations.mean[0])
    # Four standard errors of the mean; the key is fixed.
    assert abs(batch.mean[0] - clock[hit]) < 4 * np.sqrt(spread[hit] / R)


def dtypes(tree, names):
    return {getattr(tree, name).dtype for name in names}


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
@pytest.mark.parametrize(
    "scheme",
    [
        lj.lagc(M, 2, 2, xi=0.1),
        lj.g_lag(M, 3, xi=0.1, trigger="worker"),
        lj.schemes.laq(M),
        lj.schemes.clag(M, "top-k(4)", xi=1.0),
    ],
    ids=["server", "worker", "LAQ", "CLAG"],
)
def test_the_unit_of_the_data_selects_no_group(problems, scheme, unit):
    """LAG's conditions do not know it, though L or the squares of gradients have none in range."""
    X, y = np.asarray(problems[0].X), np.asarray(problems[0].y)
    scaled = lj.linear_regression(np.float32(unit) * X, np.float32(unit) * y)
    path, other = (lj.descend(p, scheme, num_iterations=K) for p in (problems[0], scaled))
    assert 0 < path.selected[1:].mean() < 1
    np.testing.assert_array_equal(other.selected, path.selected)
    np.testing.assert_array_equal(other.theta, path.theta)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("exact_recovery", [True, False])
def test_outputs_have_the_dtype_of_problem_and_delays(problems, precision, exact_recovery):
    """Also with a start, weights and a step size of the other precision."""
    problem = problems[precision == "float64"]
    delays = single_delays() if precision == "float32" else double_delays()
    other = np.float64 if precision == "float32" else np.float32
    scheme = lj.lagc(M, 2, 2, xi=np.full(10, 0.1, other))
    start = dict(theta0=np.ones(8, other), step_size=other(1e-2))
    run = lj.simulate(
        problem, scheme, delays, jax.random.key(0), num_iterations=3, exact_recovery=exact_recovery,
        **start,
    )  # fmt: skip
    assert dtypes(run, ("gap", "theta", "wall_clock")) == {jnp.dtype(precision)}
    assert dtypes(run, ("downlink", "uplink", "computation")) == {jnp.result_type(int)}
    assert dtypes(run, ("selected", "diverged")) == {jnp.dtype(bool)}
    constants = ("smoothness", "total_smoothness", "strong_convexity", "minimizer", "optimum")
    assert dtypes(problem, constants) == {jnp.dtype(precision)}
    state = lj.step(problem, scheme, lj.init(problem, scheme, **start))
    arrays = ("theta", "held", "stale_iterates", "differences", "group_smoothness")
    assert dtypes(state, (*arrays, "step_size")) == {jnp.dtype(precision)}


def test_logistic_and_general_problems_keep_float32():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 5, 2)).astype(np.float32)
    y = np.where(rng.normal(size=(4, 5)) > 0, 1, -1)
    logistic = lj.logistic_regression(X, y, l2=0.1)
    reference = lj.logistic_regression(X.astype(np.float64), y, l2=0.1)
    theta = np.array([1.0, -1.0])

    def loss(theta, part):
        features, labels = part
        penalty = jnp.float32(0.05) * jnp.sum(theta**2)
        return jnp.sum(jnp.logaddexp(0, -labels * (features @ theta))) + penalty

    data = (X, y.astype(np.float32))
    general = lj.problems.general_problem(
        loss, data, jnp.zeros(2, jnp.float32), smoothness=reference.smoothness,
        optimum=float(reference.optimum),
    )  # fmt: skip
    for problem in (logistic, general):
        assert problem.smoothness.dtype == jnp.float32
        gap = jax.jit(problem.gap)(jnp.asarray(theta, jnp.float32))
        gradients = jax.jit(problem.group_gradients(2))(jnp.asarray(theta, jnp.float32))
        assert gap.dtype == gradients.dtype == jnp.float32
        # Sums of 20 terms of size 1; the general gap is a difference of losses.
        np.testing.assert_allclose(gap, reference.gap(theta), rtol=1e-5)
        np.testing.assert_allclose(
            gradients, reference.group_gradients(2)(theta), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_becomes_float32(dtype):
    rate, data = jnp.asarray([1.0, 2.0], dtype), np.ones((2, 1, 1), dtype)
    for delays in (lj.Exponential(rate), lj.delays.Discrete(rate[:1])):
        assert delays.dtype == jnp.float32
        assert np.isfinite(delays.sample(jax.random.key(0), (50, 2))).all()
    assert lj.linear_regression(data, data[..., 0]).X.dtype == jnp.float32


def run_python(script):
    """Run a script in a fresh interpreter, without x64 and with warnings as errors."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


WITHOUT_X64 = """
import json, jax, lagc_jax
from lagc_jax.theory import expected_complexity
assert not jax.config.jax_enable_x64
problem = lagc_jax.synthetic_linear_regression(jax.random.key(0), num_workers=6, num_features=8)
scheme, delays, key = lagc_jax.lag(6, xi=0.1), lagc_jax.Exponential(1.0), jax.random.key(0)
run = lagc_jax.simulate(problem, scheme, delays, key, num_iterations=25)
lagc_jax.delays.Discrete([1.0, 2.0]).sample(key, (2,))
batch = lagc_jax.simulate_batch(
    problem, scheme, delays, key, num_iterations=25, num_realisations=3, accuracies=(1e-1,)
)
path = lagc_jax.descend(problem, scheme, num_iterations=25)
expected = expected_complexity(scheme, delays, path, 1e-1)
print(json.dumps({
    "dtype": str(run.gap.dtype),
    "clock dtype": str(run.wall_clock.dtype),
    "gap": run.gap.tolist(),
    "selected": run.selected.tolist(),
    "communication": run.communication.tolist(),
    "batch iterations": batch.costs.iterations.mean.tolist(),
    "batch mean": batch.mean.tolist(),
    "expected": [float(value) for value in expected],
}))
"""


def test_without_x64_everything_runs_in_float32_without_a_warning(problem):
    answer = run_python(WITHOUT_X64)
    assert answer["dtype"] == answer["clock dtype"] == "float32"
    scheme, delays, key = SCHEMES["LAG"], double_delays(), jax.random.key(0)
    run = lj.simulate(problem, scheme, delays, key, num_iterations=K)
    np.testing.assert_allclose(answer["gap"], run.gap, rtol=SINGLE)
    np.testing.assert_array_equal(answer["selected"], run.selected)
    np.testing.assert_array_equal(answer["communication"], run.communication)
    iterations = lj.complexity(run, 1e-1).iterations
    assert answer["batch iterations"] == [float(iterations)]
    assert np.isfinite(answer["batch mean"]).all()
    path = lj.descend(problem, scheme, num_iterations=K)
    expected = expected_complexity(scheme, lj.Exponential(1.0), path, 1e-1)
    # Moments of float32 times, as above.
    np.testing.assert_allclose(answer["expected"], expected, rtol=1e-5)


def test_importing_the_library_changes_no_configuration():
    script = """
import json, jax
before = dict(jax.config.values)
import lagc_jax, lagc_jax.theory, lagc_jax.experiments.paper, lagc_jax.problems.data
print(json.dumps([k for k, v in jax.config.values.items() if before.get(k, "absent") != v]))
"""
    assert run_python(script) == []
