"""Any kind of random key is good for any draw, and what is no key is refused in words."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import _keys
from lagc_jax.experiments import Experiment
from lagc_jax.problems.data import load_digits_split
from lagc_jax.problems.linear import smooth_regression

IMPLEMENTATIONS = ["threefry2x32", "rbg", "unsafe_rbg"]
WORKERS = 3
DELAYS, FIT = lj.Exponential(1.0), dict(num_iterations=2)
BORDER = (0, -1), (1, 0)  # chunk and iteration on either side


@pytest.fixture(params=IMPLEMENTATIONS)
def key(request):
    return jax.random.key(1, impl=request.param)


@pytest.fixture(scope="module")
def small():
    return lj.linear_regression(np.eye(WORKERS)[:, None], np.ones((WORKERS, 1)))


def times(delays, key, chunk):
    return np.asarray(delays.sample_chunk(key, chunk, (64, 1, WORKERS)))[:, 0]


def test_a_threefry_key_stays_what_it_is():
    key = jax.random.key(7)
    assert _keys.as_key(key) is key
    assert (jax.random.key_data(_keys.make_key(2**33 + 5)) == np.array([2, 5])).all()
    assert (_keys.bits(jax.random.PRNGKey(7), (2,)) == jax.random.bits(key, (2,), jnp.uint32)).all()


def test_blocks_of_a_trace_are_whole_with_any_key(key):
    rows = np.arange(100.0)
    trace = lj.Trace.from_array(rows[:, None] + np.zeros(WORKERS), resample="blocks", block=8)
    drawn = np.concatenate([times(trace, key, chunk) for chunk in range(2)])
    assert (np.diff(drawn[:, 0].reshape(-1, 8)) % 100 == 1).all()


def test_bursts_last_across_chunks_with_any_key():
    bursty = lj.delays.Bursty(lj.delays.Discrete([1.0]), slowdown=2.0, enter=0.002, leave=0.002)

    @jax.jit
    @jax.vmap
    def border(key):
        last, first = (bursty.sample_chunk(key, c, (64, 1, WORKERS))[at] for c, at in BORDER)
        return last != first

    changed = border(jax.random.split(jax.random.key(1, impl="rbg"), 400))
    assert changed.mean() < 0.01  # 0.002 on average, over 1200 chains


def test_keys_of_any_kind_fold_as_they_do_one_by_one(key):
    together = _keys.fold_each(key, np.arange(3))
    alone = [_keys.as_key(jax.random.fold_in(key, i)) for i in range(3)]
    assert (together == jnp.stack(alone)).all()
    assert len({jax.random.bits(one).item() for one in together}) == 3


def test_realisations_are_runs_of_folded_keys_of_any_kind(small):
    key = jax.random.key(1, impl="unsafe_rbg")
    run = (small, lj.gd(WORKERS), DELAYS)
    batch = lj.simulate_batch(*run, key, num_realisations=3, iterates=[2], keep_samples=True, **FIT)
    alone = [lj.simulate(*run, jax.random.fold_in(key, i), **FIT).wall_clock[-1] for i in range(3)]
    np.testing.assert_allclose(batch.curve.samples[0], alone, rtol=1e-12)  # another order of sums


def test_draws_do_not_depend_on_flags():
    @jax.jit
    def draw(words):
        key = _keys.split(_keys.fold_in(jax.random.wrap_key_data(words, impl="rbg"), 1))[1]
        whole = _keys.bits(key, (3,)), _keys.below(key, (3,), 99), _keys.permutation(key, 9)
        return *whole, _keys.normal(key, (3,)), jax.random.key_data(_keys.make_key(3))

    words = np.arange(4, dtype=np.uint32)
    expected = draw(words)
    with jax.threefry_partitionable(False), jax.default_prng_impl("rbg"):
        found = draw(words)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), expected, found))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int64])
def test_draws_are_those_of_jax(dtype):
    key = jax.random.key(5)
    assert (_keys.fold_in(key, 7) == jax.random.fold_in(key, 7)).all()
    assert (_keys.split(key, 5) == jax.random.split(key, 5)).all()
    for limit in (0, 1, 3, 500, 65_537, 10**6, 2**31 - 1):
        wanted = jax.random.randint(key, (40,), 0, limit, dtype)
        for known in (limit, jnp.asarray(limit)):
            found = _keys.below(key, (40,), known, dtype)
            assert found.dtype == wanted.dtype, (limit, known)
            assert (found == wanted).all(), (limit, known)


def test_all_draws_go_through_one_door():
    """Elsewhere in the package `jax.random` stands in examples alone, but for the words of keys."""
    for path in Path(lj.__path__[0]).rglob("*.py"):
        for line in path.read_text().splitlines():
            used = re.search(r"jax\.random\.(?!key_data|key_impl)", line) and ">>>" not in line
            assert not used or path.name == "_keys.py", f"{path.name}: {line}"


REPLAY = lj.Trace.from_array(np.ones((4, WORKERS)))
DOORS = {
    "simulate": lambda p, key: lj.simulate(p, lj.gd(WORKERS), DELAYS, key, **FIT),
    "simulate_batch": lambda p, key: lj.simulate_batch(
        p, lj.gd(WORKERS), DELAYS, key, num_realisations=2, **FIT
    ),
    "minibatch": lambda p, key: lj.problems.minibatch(p, 1, key),
    "problem.sample": lambda p, key: p.sample(key, 1),
    "design": lambda p, key: lj.design(WORKERS, DELAYS, storage=1, key=key),
    "iteration times": lambda p, key: lj.times.sample_iteration_times(
        DELAYS, key, 3, 2, np.ones((2, 1), bool)
    ),
    "shard": lambda p, key: lj.problems.shard(np.ones((5, 1)), np.ones(5), 2, key),
    "digits": lambda p, key: load_digits_split(key),
    "synthetic": lambda p, key: lj.synthetic_linear_regression(key, 2, 3),
    "gaussian": lambda p, key: lj.problems.gaussian_linear_regression(key, 2, 1, 3),
    "smooth": lambda p, key: smooth_regression(key, [4.0, 9.0]),
    "network": lambda p, key: lj.problems.initial_network(key, (1, 2)),
    "assignment": lambda p, key: lj.schemes.balanced_assignment(key, 3, 2),
    "sample": lambda p, key: DELAYS.sample(key),
    "sample_chunk": lambda p, key: times(DELAYS, key, 0),
    "trace": lambda p, key: times(REPLAY, key, 0),
    "bursty": lambda p, key: times(lj.delays.Bursty(REPLAY, 2.0, 0.1, 0.1), key, 0),
    "failures": lambda p, key: times(lj.delays.Failures(REPLAY, 0.1), key, 0),
    "Experiment": lambda p, key: Experiment(
        problems={"p": p},
        schemes={"GD": lj.gd(WORKERS)},
        delays={"low": DELAYS},
        num_iterations=1,
        key=key,
    ),
}
NO_KEYS = [0, "0", [0, 1], np.zeros(2), np.zeros(3, np.uint32)]


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_key_is_refused_at_every_door(small, door):
    for bad in (*NO_KEYS, jax.random.split(jax.random.key(0), 3)):
        with pytest.raises(ValueError, match=r"(?s)key=.* is not one JAX random key; give .*vmap"):
            DOORS[door](small, bad)


@pytest.mark.parametrize("door", ["shard", "digits", "synthetic", "gaussian", "smooth"])
def test_traced_keys_are_refused_where_data_are_made_on_the_host(small, door):
    with pytest.raises(ValueError, match=r"key=.* is traced; draw the data outside jit and vmap"):
        jax.eval_shape(lambda key: DOORS[door](small, key), jax.random.key(0))
