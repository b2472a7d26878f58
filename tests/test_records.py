"""Results as lines, tables and files."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.experiments import Experiment, Vary

K, KEY = 12, jax.random.key(2)
SCHEME, DELAYS = lj.g_lag(6, 2, xi=0.1), lj.Exponential(1.0)


@pytest.fixture(scope="module")
def runs(problem):
    """Three realisations with a start of their own each."""

    def run(key):
        theta = jax.random.normal(key, (problem.num_parameters,))
        return lj.simulate(problem, SCHEME, DELAYS, key, num_iterations=K, theta0=theta)

    return jax.jit(jax.vmap(run))(jax.random.split(KEY, 3))


def one_of(runs, i):
    return jax.tree.map(lambda leaf: leaf[i], runs)


@pytest.mark.parametrize("accuracy", [30.0, (100.0, 3.0)])
def test_complexity_of_vmapped_runs_is_that_of_each(runs, accuracy):
    together = lj.complexity(runs, accuracy)
    for i in range(3):
        for one, all_ in zip(lj.complexity(one_of(runs, i), accuracy), together, strict=True):
            assert np.array_equal(one, all_[i])


def test_the_gap_at_a_time_is_that_of_the_newest_iterate(runs):
    times = np.array([0.0, 0.5, 3.0, 1e9])
    gaps = runs.gap_at(times)
    for i in range(3):
        clock, gap = np.asarray(runs.wall_clock[i]), np.asarray(runs.gap[i])
        expected = [gap[[k for k in range(K + 1) if clock[k] <= t][-1]] for t in times]
        assert np.array_equal(gaps[i], expected)
    assert np.array_equal(one_of(runs, 1).gap_at(times), gaps[1])
    with pytest.raises(ValueError, match=r"times=.*-1"):
        runs.gap_at([-1.0])


def test_frames_hold_every_iterate_of_every_run(runs):
    table = runs.to_frame()
    assert table.shape[0] == 3 * (K + 1)
    for i in range(3):
        alone = one_of(runs, i).to_frame()
        assert table[table["run"] == i].drop(columns="run").reset_index(drop=True).equals(alone)
        assert np.array_equal(alone["time"], runs.wall_clock[i])
        assert np.array_equal(alone["iterate"], np.arange(K + 1))
    found = lj.complexity(runs, (100.0, 3.0)).to_frame()
    assert found[["run", "level"]].to_numpy().tolist() == [[i, a] for i in range(3) for a in (0, 1)]
    assert len(lj.complexity(one_of(runs, 0), 3.0).to_frame()) == 1


def test_the_frame_of_a_batch_is_that_of_an_experiment(problem):
    levels, steps = (100.0, 3.0), dict(num_iterations=K, num_realisations=5)
    batch = lj.simulate_batch(
        problem, SCHEME, DELAYS, jax.random.key(0), accuracies=levels, **steps
    )
    things = dict(problems={"p": problem}, schemes={"s": SCHEME}, delays={"d": DELAYS})
    table = lj.run(lj.Experiment(**things, target=lj.Gap(levels), **steps))
    found = batch.to_frame()
    shared = [name for name in found if name in table]
    assert {"accuracy", "reached", "time_mean", "time_q0.05", "bits"} <= set(shared)
    assert np.array_equal(found[shared], table[shared])
    keys = jax.random.split(jax.random.key(0), 2)
    for quantiles, names in (((0.25,), ["time_q0.25"]), ((), [])):
        options = dict(accuracies=levels, quantiles=quantiles, **steps)
        many = jax.vmap(partial(lj.simulate_batch, problem, SCHEME, DELAYS, **options))(keys)
        assert [name for name in many.to_frame() if name.startswith("time_q")] == names


def test_a_trajectory_comes_back_from_a_file(runs, tmp_path):
    path = tmp_path / "run.npz"
    nested = runs._replace(theta={"w": runs.theta, "b": [runs.gap, (runs.gap,)]})
    for run in (one_of(runs, 0), nested):
        run.save(path)
        again = lj.Trajectory.load(path)
        assert jax.tree.structure(again) == jax.tree.structure(run)
        for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(run), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    alike = one_of(runs, 0)._replace(
        recorded={"a": {"b": np.ones(2)}, "a.b": np.zeros(3), "c": jnp.ones(2, jnp.bfloat16)}
    )
    alike.save(path)
    recorded = lj.Trajectory.load(path).recorded
    assert recorded["a"]["b"].tolist() == [1, 1]
    assert recorded["a.b"].tolist() == [0, 0, 0]
    assert recorded["c"].dtype == jnp.bfloat16
    assert recorded["c"].tolist() == [1, 1]
    np.savez(path, x=np.ones(2))
    with pytest.raises(ValueError, match=r"path=.*holds no Trajectory .*give"):
        lj.Trajectory.load(path)


def test_results_and_objects_are_a_line_and_traced_ones_too(problem, runs):
    batch = lj.simulate_batch(problem, SCHEME, DELAYS, KEY, num_iterations=K, num_realisations=2)
    many = Vary(lj.lag, num_workers=6, xi=np.linspace(0.1, 1, 300))
    assert len(repr(many)) < 300
    asked = Experiment(
        problems={"p": problem}, schemes={"LAG": many}, delays={"low": DELAYS}, num_iterations=K
    )
    told = lj.delays.diagnose(np.random.default_rng(0).exponential(size=(40, 3)))
    parts = runs, problem, SCHEME, batch, lj.complexity(runs, 1.0), lj.init(problem, SCHEME)
    for thing in (*parts, asked, told):
        text = repr(thing)
        assert text.startswith(type(thing).__name__ + "(")
        assert len(text) < 1000
        assert "\n" not in text
        assert thing._repr_html_().startswith("<table>")
    assert repr(lj.Exponential(2.0)) == "Exponential(rate=2.0)"
    seen = []
    jax.jit(lambda rate: seen.append(repr(lj.Exponential(rate))))(jnp.ones(3))
    assert seen == ["Exponential(rate=float64[3])"]


# JAX says that times will be float32, and the numbers of iterations int32.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_costs_of_a_file_keep_their_precision_in_a_process_without_x64():
    counts, times = np.array([0, 3_000_000_000]), np.array([0.0, 1.0])
    gap, chosen = np.array([1.0, 1e-20]), np.ones((1, 1), bool)
    run = lj.Trajectory(
        gap, chosen, times, counts, counts, counts, times, np.array(False), chosen,
        np.zeros(2, int), np.array(32),
    )  # fmt: skip
    with jax.enable_x64(False):
        found = lj.complexity(run, 1e-10)
        many = lj.complexity(lj.Trajectory(*(np.stack([leaf, leaf]) for leaf in run[:-1])), 1e-10)
    assert float(found.communication) == np.float32(6e9)
    assert float(found.computation) == np.float32(3e9)
    for one, both in zip(found, many, strict=True):
        np.testing.assert_array_equal(both, [one, one])
