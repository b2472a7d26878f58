"""Codes of unequal loads, of short messages and of random graphs: every admissible set decodes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.schemes.graphs import bernoulli_assignment, regular_graph_assignment
from lagc_jax.schemes.short_codes import short_code
from lagc_jax.schemes.unequal_codes import heterogeneous_code, proportional_loads

S, EXPONENTIAL = lj.schemes, lj.Exponential(1.0)
SPEEDS = (1.0, 2.0, 2.0, 3.0, 4.0)


def sets_of(n, size):
    """All sets of at least `size` of n workers, bool (S, n)."""
    sets = np.array(list(itertools.product([False, True], repeat=n)))
    return sets[sets.sum(1) >= size]


def recover(code, gradients, survivors):
    """Encode, lose the others' messages (to NaN), decode."""
    messages = jnp.where(survivors[..., None], code.encode(gradients), jnp.nan)
    return code.decode(messages, survivors)[..., : gradients.shape[-1]]


CODES = {
    **{f"unequal {s}": heterogeneous_code(SPEEDS, s) for s in range(5)},
    **{f"short {n} {r} {m}": short_code(n, r, m) for n, r, m in
       [(5, 3, 2), (5, 4, 2), (6, 3, 3), (4, 4, 4), (5, 2, 1), (6, 1, 1)]},
}  # fmt: skip


@pytest.mark.parametrize("name", CODES)
def test_every_set_of_survivors_decodes(name):
    code = CODES[name]
    gradients = np.random.default_rng(0).normal(size=(code.group_size, 7))
    survivors = sets_of(code.group_size, code.num_waited)
    found = jax.jit(recover)(code, gradients, survivors)
    # Rounding, amplified by a condition of some thousands at most.
    np.testing.assert_allclose(found, np.tile(gradients.sum(0), (len(found), 1)), atol=1e-10)
    few = np.arange(code.group_size) < code.num_waited - 1
    assert np.isnan(recover(code, gradients, few)).all() or code.num_waited == 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_large_codes_decode(seed):
    rng = np.random.default_rng(seed)
    for code in LARGE:
        survivors = rng.permutation(code.group_size) < code.num_waited
        gradients = rng.normal(size=(code.group_size, 3))
        found = recover(code, gradients, survivors)
        np.testing.assert_allclose(found, gradients.sum(0), atol=1e-7)


LARGE = [heterogeneous_code(np.linspace(1, 4, 14), 3), short_code(14, 5, 2)]


def test_rows_hold_what_a_worker_is_charged():
    for s in range(5):
        code, loads = CODES[f"unequal {s}"], proportional_loads(SPEEDS, s)
        assert (np.asarray(code.encoding) != 0).sum(1).tolist() == list(loads)
        assert ((np.asarray(code.encoding) != 0).sum(0) == s + 1).all()
        wanted = np.clip(np.array(SPEEDS) / 12 * 5 * (s + 1), 1, 5)
        if wanted.sum() == 5 * (s + 1):  # nothing is cut
            assert (np.abs(loads - wanted) < 1).all()
    code = short_code(6, 3, 2)
    worker, partition = np.indices((6, 6))
    held = (np.asarray(code.encoding) != 0).any(1)
    assert np.array_equal(held, (partition - worker) % 6 < 3)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9), st.integers(0, 8))
def test_loads_hold_every_partition_often_enough(speeds, stragglers):
    n = len(speeds)
    s = min(stragglers, n - 1)
    loads = np.array(proportional_loads(speeds, s))
    assert loads.sum() == n * (s + 1)
    assert ((loads >= 1) & (loads <= n)).all()
    faster = np.subtract.outer(speeds, speeds) > 0
    assert (np.subtract.outer(loads, loads)[faster] >= -1).all()


def test_unequal_loads_take_their_time():
    scheme = S.heterogeneous_gc(5, SPEEDS, 1)
    loads = np.array(scheme.loads)
    K, times = 2000, np.random.default_rng(0).exponential(size=(2000, 5))
    problem = lj.synthetic_linear_regression(jax.random.key(0), num_workers=5, num_features=6)
    run = lj.simulate(
        problem, scheme, lj.Trace.from_array(times, resample="replay"), jax.random.key(0),
        num_iterations=K,
    )  # fmt: skip
    spent = np.sort(loads * times, axis=1)[:, 3]
    np.testing.assert_allclose(run.wall_clock[1:], np.cumsum(spent), rtol=1e-12)
    assert run.computation[-1] == K * 10
    assert run.uplink[-1] == K * 4
    plain = lj.descend(problem, lj.gd(5), num_iterations=K)
    np.testing.assert_allclose(run.gap, plain.gap, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize(
    "delays",
    [EXPONENTIAL, lj.Exponential(np.array(SPEEDS)), lj.Pareto(1.0, 3.0),
     lj.delays.Hyperexponential(2.0, 0.5, 0.3)], ids=str,
)  # fmt: skip
def test_exact_moments_of_unequal_loads(delays):
    scheme = S.heterogeneous_gc(5, SPEEDS, 1)
    clock = clock_of(scheme, delays)
    assert not clock.direct
    K, one = 40_000, np.ones((1, 1), bool)
    drawn = np.asarray(clock.along(jnp.ones((K, 1), bool)).whole(jax.random.key(0)))
    error = drawn.std() / np.sqrt(K)
    assert abs(drawn.mean() - clock.mean(one)[0]) < 5 * error
    assert clock.variance(one)[0] > 0


def test_independent_partitions_sum_as_many_draws_as_a_worker_holds():
    scheme = S.heterogeneous_gc(5, SPEEDS, 0)
    cluster = lj.Cluster(independent=True)
    drawn = clock_of(scheme, EXPONENTIAL, cluster).along(jnp.ones((20_000, 1), bool))
    drawn = np.asarray(drawn.whole(jax.random.key(0)))
    each = np.random.default_rng(0).gamma(scheme.loads, size=(20_000, 5)).max(1)
    assert abs(drawn.mean() - each.mean()) < 5 * np.sqrt((drawn.var() + each.var()) / 20_000)


def test_short_messages_cost_what_they_say():
    problem = lj.synthetic_linear_regression(jax.random.key(0), num_workers=6, num_features=7)
    link = lj.Cluster(link=lj.Link(bandwidth=2.0))

    def run(scheme, **options):
        return lj.simulate(
            problem, scheme, EXPONENTIAL, jax.random.key(1), num_iterations=5, **options
        )

    short, plain = run(S.short_gc(6, 3, 2)), run(lj.gc(6, 2))
    assert short.message_bits == 4 * 32
    assert np.array_equal(short.uplink, 5 * np.arange(6))
    np.testing.assert_allclose(short.wall_clock, plain.wall_clock * 3 / 2, rtol=1e-12)
    assert np.array_equal(short.gap, plain.gap)
    assert np.array_equal(run(S.short_gc(6, 3, 1)).wall_clock, run(lj.gc(6, 3)).wall_clock)
    sent = run(S.short_gc(6, 3, 2), cluster=link).wall_clock - short.wall_clock
    np.testing.assert_allclose(np.diff(sent), 1 / 2 + 4 / 7 / 2, rtol=1e-12)
    coded = run(S.short_gc(6, 3, 2), exact_recovery=False)
    np.testing.assert_allclose(coded.gap, short.gap, rtol=1e-8)
    coded = run(S.heterogeneous_gc(6, (1, 1, 1, 2, 2, 2), 2), exact_recovery=False)
    np.testing.assert_allclose(coded.gap, short.gap, rtol=1e-8)


def test_codes_that_share_a_path_have_bits_of_their_own():
    problem = lj.synthetic_linear_regression(jax.random.key(0), num_workers=6, num_features=6)
    schemes = {"GC": lj.gc(6, 2), "short": S.short_gc(6, 3, 2)}
    table = lj.run(lj.Experiment(
        problems={"p": problem}, schemes=schemes, delays={"e": EXPONENTIAL}, num_iterations=9,
        num_realisations=0, target=lj.Gap([1.0]), key=jax.random.key(0),
    ))  # fmt: skip
    bits = dict(zip(table["scheme"], table["bits"] / table["iterations"], strict=True))
    assert bits == {"GC": 5 * 6 * 32, "short": 5 * 3 * 32}


def test_the_optimal_decoding_of_a_graph_is_that_of_its_components():
    n, r = 12, 4
    rows = regular_graph_assignment(n, r, seed=2)
    assert ((rows.sum(0) == r) & (rows.sum(1) == r)).all()
    ends = [np.flatnonzero(row)[[0, -1]] // 2 for row in rows]
    assert len({tuple(end) for end in ends}) == n
    taken = np.random.default_rng(0).random((40, n)) < 0.4
    weights = jax.jit(S.LeastSquares(rows, num_waited=5).weights)(jnp.asarray(taken))
    for some, found in zip(taken, weights, strict=True):
        side = np.zeros(6, int)  # of a vertex in its component, 1 or -1
        expected = np.zeros(6)
        for start in range(6):
            if side[start]:
                continue
            side[start], inside, odd, work = 1, [start], False, [start]
            while work:
                vertex = work.pop()
                for edge in (ends[w] for w in np.flatnonzero(some) if vertex in ends[w]):
                    (other,) = (x for x in edge if x != vertex)
                    if not side[other]:
                        side[other] = -side[vertex]
                        inside.append(other)
                        work.append(other)
                    odd |= side[other] == side[vertex]
            lean = side[inside].sum() / len(inside)
            expected[inside] = 1 - (0 if odd else lean * side[inside])
        np.testing.assert_allclose(found, np.repeat(expected, 2), atol=1e-9)


def test_random_assignments():
    assert not np.array_equal(*(regular_graph_assignment(20, 4, seed) for seed in (0, 1)))
    rows = bernoulli_assignment(60, 6)
    assert abs(rows.mean() * 60 - 6) < 5 * np.sqrt(6 / 60)
    assert (bernoulli_assignment(30, 1).sum(1) >= 1).all()
    scheme = S.bernoulli_gc(60, 6, num_waited=50)
    assert scheme.loads == tuple(rows.sum(1))
    problem = lj.synthetic_linear_regression(jax.random.key(0), num_workers=12, num_features=12)
    for scheme in (S.bernoulli_gc(12, 3, num_waited=12), S.regular_graph_gc(12, 4, num_waited=9)):
        run = lj.simulate(problem, scheme, EXPONENTIAL, jax.random.key(0), num_iterations=3)
        assert run.computation[1] == sum(scheme.loads)
        assert np.isfinite(run.gap).all()


def test_bad_input_is_refused():
    for message, call in {
        r"num_stragglers=3 leaves none of 3": lambda: proportional_loads([1, 1, 1], 3),
        r"speeds=\[1, 0\] must be positive": lambda: proportional_loads([1, 0], 1),
        r"speeds has 2 entries; give num_workers=3": lambda: S.heterogeneous_gc(3, (1, 1), 1),
        r"pieces=4 exceeds redundancy=3": lambda: short_code(5, 3, 4),
        r"decodes with a condition of": lambda: short_code(24, 12, 6, dtype=np.float32),
        r"redundancy=3 with group_size=12 makes no": lambda: regular_graph_assignment(12, 3),
        r"redundancy=6 with group_size=12 makes no": lambda: regular_graph_assignment(12, 6),
        r"fixed_load has 2 entries; give one a worker": lambda: lj.Scheme(
            3, 1, 1, fixed_load=(1, 2)
        ),
        r"fixed_load=0 is too small": lambda: lj.Scheme(2, 1, 1, fixed_load=(1, 0)),
        r"code is of type int": lambda: S.Coded(3),
        r"the scheme needs 5 and 2": lambda: lj.Scheme(
            5, 1, 2, decoding=S.Coded(short_code(5, 3, 2))
        ),
        r"needs equal loads": lambda: clock_of(
            S.heterogeneous_gc(5, SPEEDS, 1), EXPONENTIAL, sampler="direct"
        ),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
