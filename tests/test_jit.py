"""What SPEC promises to be pure is traced under `jit` and `vmap`, its parts made inside too."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import lagc_jax as lj
from lagc_jax._loops import fori_loop, scan, while_loop

M, G, K = 4, 2, 2
KEY = jax.random.key(0)
MESH = jax.make_mesh((1, 1), ("i", "j"), axis_types=(AxisType.Auto,) * 2)  # nothing is cut by j
WORKING = np.ones((K, G), bool)


@pytest.fixture(scope="module")
def small():
    return lj.linear_regression(np.eye(M)[:, None], np.ones((M, 1)))


def plain(x):
    return lj.gd(M)


def run(scheme=plain, delays=lj.Exponential, cluster=None, sampled=False, **options):
    """Of a traced number: the trajectory of parts that are made from it."""

    def call(problem, x):
        trajectory = lj.simulate(
            lj.problems.minibatch(problem, 1, KEY) if sampled else problem, scheme(x), delays(x),
            jax.random.fold_in(KEY, 1), num_iterations=K, step_size=x, theta0=[x] * M,
            cluster=None if cluster is None else cluster(x), **options,
        )  # fmt: skip
        return trajectory, lj.complexity(trajectory, [x, 2 * x])

    return call


def batch(scheme, delays=lj.Exponential, cluster=None):
    return lambda problem, x: lj.simulate_batch(
        problem, scheme(x), delays(x), KEY, num_iterations=K, num_realisations=2,
        accuracies=[x, 2 * x], iterates=[1], step_size=x,
        cluster=None if cluster is None else cluster(x),
    )  # fmt: skip


def steps(scheme):
    def call(problem, x):
        made = scheme(x)
        return lj.step(problem, made, lj.init(problem, made, step_size=x))

    return call


def mean(delays, scheme=lambda x: lj.lagc(M, G, 1, xi=x), **options):
    return lambda _, x: lj.expected_wall_clock(scheme(x), delays(x), WORKING, **options)


def both(x):
    return jnp.stack([x, 2 * x])


CASES = {
    "gd": run(),
    "gc": run(lambda x: lj.gc(M, 3)),
    "grouping": run(lambda x: lj.grouping(M, G)),
    "lag": run(lambda x: lj.lag(M, xi=[x, x], memory=2)),
    "lag, worker trigger": run(lambda x: lj.lag(M, xi=x, trigger="worker")),
    "lagc": run(lambda x: lj.lagc(M, G, 1, xi=x)),
    "g_lag": run(lambda x: lj.g_lag(M, G, xi=x)),
    "first decodable": run(lambda x: lj.schemes.first_decodable(M, 2)),
    "first decodable, cyclic": run(lambda x: lj.schemes.first_decodable(M, 3)),
    "fastest k": run(lambda x: lj.schemes.fastest_k(M, 3)),
    "stochastic": run(lambda x: lj.schemes.stochastic_gc(M, 2, 3)),
    "approximate": run(lambda x: lj.schemes.approximate_gc(M, 2, 3)),
    "deadline": run(lambda x: lj.schemes.approximate_gc(M, 3, deadline=x)),
    "lasg": run(lambda x: lj.schemes.lasg(M, xi=x), sampled=True),
    "cada": run(lambda x: lj.schemes.cada(M, xi=x, trigger="cada1"), sampled=True),
    "g_cada": run(lambda x: lj.schemes.g_cada(M, G, xi=x)),
    "laq": run(lambda x: lj.schemes.laq(M, xi=x)),
    "asynchronous": run(lambda x: lj.schemes.asynchronous(M)),
    "batches of 2": run(lambda x: lj.schemes.k_batch_sync(M, 2)),
    "local steps": run(lambda x: lj.schemes.local_sgd(M, 2), sampled=True),
    "adaptive k": run(lambda x: lj.schemes.adaptive_k(M, 1)),
    "coded": run(lambda x: lj.gc(M, 2), exact_recovery=False),
    "coded, no redundancy": run(exact_recovery=False),
    "coded, first decodable": run(lambda x: lj.schemes.first_decodable(M, 3), exact_recovery=False),
    "optimiser": run(optimizer=optax.adam(0.1)),
    "record": run(record=lambda theta: theta),
    "link": run(cluster=lambda x: lj.Cluster(startup=x, link=lj.Link(x, x, x, x))),
    "shared link": run(cluster=lambda x: lj.Cluster([x] * M, lj.Link([x] * M, x, shared=True))),
    "timeout": run(cluster=lambda x: lj.Cluster(timeout=x)),
    "independent": run(cluster=lambda x: lj.Cluster(independent=True)),
    "unequal": run(delays=lambda x: lj.Exponential([x] * M)),
    "pareto": run(delays=lambda x: lj.Pareto(x, x)),
    "shifted": run(delays=lambda x: lj.delays.ShiftedExponential(x, x)),
    "weibull": run(delays=lambda x: lj.delays.Weibull(x, x)),
    "lognormal": run(delays=lambda x: lj.delays.Lognormal(x, x)),
    "gamma": run(delays=lambda x: lj.delays.Gamma(x, x)),
    "hyperexponential": run(delays=lambda x: lj.delays.Hyperexponential(x, x / 2, x)),
    "discrete": run(delays=lambda x: lj.delays.Discrete([x, 2 * x], [x, 1 - x])),
    "trace": run(delays=lambda x: lj.Trace(x * jnp.ones((3, M)), "blocks", 2)),
    "bursty": run(delays=lambda x: lj.delays.Bursty(lj.Exponential(x), x, [x] * M, x)),
    "failures": run(delays=lambda x: lj.delays.Failures(lj.Exponential(x), x, [x] * M)),
    "mean": mean(lj.Exponential),
    "mean, unequal": mean(lambda x: lj.Pareto([x] * M, x)),
    "mean, discrete": mean(lambda x: lj.delays.Discrete(both(x))),
    "mean, link": mean(lj.Exponential, cluster=lj.Cluster(startup=1.0)),
    "mean, traced selection": lambda _, x: lj.expected_wall_clock(
        lj.grouping(M, G), lj.Exponential(np.ones(M)), x < jnp.ones((K, G))
    ),
    "steps": steps(lambda x: lj.g_lag(M, G, xi=x)),
    "steps, first decodable": steps(lambda x: lj.schemes.first_decodable(M, 3)),
    "steps, optimiser": steps(lambda x: lj.schemes.g_cada(M, G, xi=x)),
    "path": lambda problem, x: lj.descend(problem, lj.lag(M, x), num_iterations=K, accuracy=x),
    "batch": batch(lambda x: lj.lag(M, xi=x)),
    "batch, unequal": batch(lambda x: lj.gc(M, 2), lambda x: lj.Exponential([x] * M)),
    "batch, first decodable": batch(lambda x: lj.schemes.first_decodable(M, 3)),
    "batch, timeout": batch(lambda x: lj.gc(M, 2), cluster=lambda x: lj.Cluster(timeout=x)),
    "code": lambda _, x: lj.schemes.cyclic_repetition(5, 3).decode(
        x * np.ones((5, 2)), np.arange(5) < 3
    ),
    "direct times": lambda _, x: lj.times.sample_iteration_times(
        lj.Exponential(x), KEY, 4, 2, x < jnp.ones((K, G))
    ),
}


def sharded(function):
    """`vmap` in a `shard_map` that checks what varies between devices, and along which axis."""
    return jax.shard_map(jax.vmap(function), mesh=MESH, in_specs=P("i"), out_specs=P("i"))


@pytest.mark.parametrize("case", CASES)
def test_what_is_pure_can_be_traced(small, case):
    made = jax.eval_shape(sharded(lambda x: CASES[case](small, x)), np.array([0.25]))
    assert all(leaf.shape[0] == 1 for leaf in jax.tree.leaves(made))


@pytest.mark.parametrize("case", ["lag", "fastest k", "batch, timeout"])
def test_a_shard_map_changes_nothing(small, case):
    plain, shared = (
        jax.jit(over(lambda x: CASES[case](small, x)))(np.array([0.25]))
        for over in (jax.vmap, sharded)
    )
    jax.tree.map(np.testing.assert_array_equal, plain, shared)


def test_what_all_devices_share_may_leave_a_shard_map_once(small):
    def run(keys):
        made = jax.vmap(lambda k: lj.simulate(small, lj.gd(M), lj.Exponential(1.0), k,
                                              num_iterations=K))(keys)  # fmt: skip
        return made.wall_clock, made.gap[0]

    many = jax.shard_map(run, mesh=MESH, in_specs=P("i"), out_specs=(P("i"), P()))
    assert jax.eval_shape(many, jax.random.split(KEY, 2))[1].shape == (K + 1,)


def test_a_loop_varies_between_the_devices_alone_between_which_it_must():
    def run(x, y):
        start = 0.0, 0.0

        def move(carry, _=None):
            return carry[0] + x[0], carry[1] + y

        scanned = scan(lambda carry, _: (move(carry), None), start, None, length=3)[0]
        counted = fori_loop(0, 2, lambda i, carry: move(carry), start)
        late = while_loop(lambda carry: carry[1] < y, move, start)
        return [(varies[None], shared) for varies, shared in (scanned, counted, late)]

    many = jax.shard_map(run, mesh=MESH, in_specs=(P("i"), P()), out_specs=[(P("i"), P())] * 3)
    found = jax.tree.map(float, jax.tree.map(jnp.sum, jax.jit(many)(np.ones(1), 2.0)))
    assert found == [(3.0, 6.0), (2.0, 4.0), (1.0, 2.0)]


def test_a_code_is_the_same_inside_jit():
    inside = jax.jit(lambda: lj.schemes.cyclic_repetition(5, 3))()
    assert (inside.encoding == lj.schemes.cyclic_repetition(5, 3).encoding).all()


def test_a_code_made_inside_jit_stays_known():
    def condition(x):
        code = lj.schemes.cyclic_repetition(M, 2)
        scheme = lj.schemes.first_decodable(M, 2)
        assert scheme.decoder.own_code is not None
        return x * lj.schemes.worst_condition(code)

    code = lj.schemes.cyclic_repetition(M, 2)
    assert float(jax.jit(condition)(1.0)) == pytest.approx(lj.schemes.worst_condition(code))


@pytest.mark.parametrize("name", [*cases.CATALOGUE, *cases.VARIANTS])
def test_a_scheme_is_the_same_made_inside_jit(name):
    made = []

    @jax.jit
    def run(x):
        made.append(cases.scheme_named(name))
        return x

    run(0.0)
    assert made == [cases.scheme_named(name)]


@pytest.mark.parametrize("name", [*cases.CATALOGUE, *cases.VARIANTS])
def test_a_scheme_runs_in_the_precision_that_jax_begins_with(name):
    with jax.enable_x64(False):
        problem = lj.linear_regression(np.eye(12)[:, None], np.ones((12, 1)))
        scheme = cases.scheme_named(name)
        run = jax.eval_shape(
            lambda key: lj.simulate(problem, scheme, lj.Exponential(1.0), key, num_iterations=K),
            KEY,
        )
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(run)} <= {1, 4}
