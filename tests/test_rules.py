"""The lazy rules of later papers: against their own plain loops, and where they become another."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import own_scheme
import pytest
import reference
import reference_rules

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.problems._arrays import sample_partitions
from lagc_jax.schemes import contract
from lagc_jax.schemes.compressors import UniformGrid, quantize
from lagc_jax.schemes.rulebook import CadaSnapshot, Laq
from lagc_jax.schemes.rules import Always, LagWorker, Proposal, Rule

M, K, D = 6, 40, 4
DATA = reference.random_data("logistic", 0)
PROBLEM = lj.logistic_regression(DATA.X, DATA.y, l2=DATA.l2)
STOCHASTIC = lj.problems.minibatch(PROBLEM, 2, jax.random.key(3))
LINEAR = reference.random_data("linear", 0)
SQUARES = lj.problems.minibatch(lj.linear_regression(LINEAR.X, LINEAR.y), 2, jax.random.key(3))
ALPHA = 1 / float(PROBLEM.total_smoothness)
EXPONENTIAL = lj.Exponential(1.0)
START = np.zeros(DATA.X.shape[2])


def full_gradient(sizes):
    """Gradients of groups in plain NumPy."""
    return lambda g, theta, k: reference.group_gradient(DATA, sizes, g, theta)


@functools.cache
def drawn_rows():
    """Rows that the problem draws, (K, M, 2)."""
    numbers = jnp.broadcast_to(jnp.arange(DATA.X.shape[1]), DATA.y.shape)

    def draw(k):
        own = jax.random.fold_in(STOCHASTIC.key, k)
        return sample_partitions(own, numbers, jnp.ones(DATA.y.shape), 2)[0]

    return np.asarray(jax.jit(jax.vmap(draw))(jnp.arange(K)))


def sampled_gradient(sizes):
    """The same on the samples that the problem draws in iteration k."""
    n, count = M // sizes, DATA.X.shape[1]

    def gradient(g, theta, k):
        rows = drawn_rows()[k]
        total = np.zeros(theta.size)
        for m in range(g * n, (g + 1) * n):
            X, y = DATA.X[m][rows[m]], DATA.y[m][rows[m]]
            slope = -y / (1 + np.exp(y * (X @ theta)))
            total += count / len(y) * X.T @ slope + DATA.l2 * theta
        return total

    return gradient


def constants(sizes):
    return reference.smoothness(DATA, sizes)


AMSGRAD = reference_rules.amsgrad
SILENCE, LIFE = 6, 9  # of their own, beside the window D


def loop(rule, groups, xi, server, *rest):
    """The loop of a rule, given the gradient and the losses, with a server of its own."""

    def run(gradient, **lost):
        made = server() if callable(server) else server
        return rule(gradient, groups, START, K, xi, D, made, *rest, **lost)

    return run


def sgd():
    return reference_rules.sgd(ALPHA)


def adam():
    return AMSGRAD(0.05)


# Scheme, loop and step size.
LOOPS = {
    "lasg, worker": (
        lj.schemes.lasg(M, 3.0, D), loop(reference_rules.lasg_wk2, M, 3.0, sgd, D), ALPHA,
    ),
    "lasg, server": (
        lj.schemes.lasg(M, 30.0, D, trigger="lasg-server", silence=SILENCE),
        loop(reference_rules.lasg_ps, M, 30.0, sgd, SILENCE, constants(M)), ALPHA,
    ),
    "cada1": (
        lj.schemes.cada(M, 3.0, D, trigger="cada1", silence=SILENCE, snapshot_life=LIFE),
        loop(reference_rules.cada1, M, 3.0, adam, SILENCE, LIFE), 0.05,
    ),
    "cada2": (
        lj.schemes.cada(M, 3.0, D, silence=SILENCE),
        loop(reference_rules.lasg_wk2, M, 3.0, adam, SILENCE), 0.05,
    ),
    "g-cada": (
        lj.schemes.g_cada(M, 3, 50.0, D),
        loop(reference_rules.lasg_ps, 3, 50.0, adam, D, constants(3)), 0.05,
    ),
    "laq": (
        lj.schemes.laq(M, 3, 0.2, D, silence=SILENCE),
        loop(reference_rules.laq, M, 0.2, ALPHA, 3, SILENCE), ALPHA,
    ),
}  # fmt: skip


def assert_decided(left, right):
    """No decision of a loop is within rounding of the other."""
    larger = np.maximum(left, right)
    assert np.min(np.abs(left - right)[larger > 0] / larger[larger > 0]) > 1e-7


def descend(scheme, problem=STOCHASTIC, step_size=0.05, **arguments):
    return lj.descend(problem, scheme, num_iterations=K, step_size=step_size, **arguments)


def identity(point):
    return point


@functools.cache
def whole_run(name):
    """A trajectory on all samples that records its iterates."""
    scheme, _, step_size = LOOPS[name]
    return lj.simulate(
        PROBLEM, scheme, EXPONENTIAL, jax.random.key(0), num_iterations=K, step_size=step_size,
        record=identity,
    )  # fmt: skip


@pytest.mark.parametrize("samples", ["all", "minibatches"])
@pytest.mark.parametrize("name", LOOPS)
def test_a_path_is_that_of_its_papers_loop(name, samples):
    scheme, loop, step_size = LOOPS[name]
    if samples == "all":
        gradient, path = full_gradient, whole_run(name)
    else:
        gradient, path = sampled_gradient, descend(scheme, step_size=step_size, record=identity)
    theta, uploads, left, right = loop(gradient(scheme.num_groups))
    assert_decided(left, right)
    assert 0 < uploads[1:].mean() < 1
    assert np.array_equal(path.selected, uploads)
    # Some tens of steps of some tens of roundings; AMSGrad divides by small numbers.
    np.testing.assert_allclose(path.recorded, theta, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LOOPS)
def test_a_path_with_lost_uploads_is_that_of_its_papers_loop(name):
    scheme, loop, step_size = LOOPS[name]
    n, load = scheme.group_size, scheme.load
    timeout, times = 3.0 * load, np.random.default_rng(0).exponential(2.5 * n, (K, M))
    times[:7, 0] = np.inf  # never heard of at first
    fastest = (load * times).reshape(K, -1, n).min(-1)
    late = fastest > timeout
    theta, uploads, left, right = loop(
        sampled_gradient(scheme.num_groups), lost=lambda k, g: late[k, g]
    )
    run = lj.simulate(
        STOCHASTIC, scheme, lj.Trace.from_array(times, resample="replay"), jax.random.key(0),
        num_iterations=K, step_size=step_size, record=identity, cluster=lj.Cluster(timeout=timeout),
    )  # fmt: skip
    assert_decided(left, right)
    assert np.array_equal(run.selected, uploads)
    assert np.array_equal(run.received, uploads * ~late)
    working = np.ones_like(late) if scheme.trigger.everyone_works else uploads.astype(bool)
    arrived = np.cumsum(np.sum(uploads * ~late, axis=1))
    assert np.array_equal(run.uplink[1:], arrived)
    assert np.array_equal(run.bits[1:], arrived * scheme.trigger.message_bits(START.size))
    assert np.array_equal(run.timeouts[1:], np.cumsum(np.sum(working & late, axis=1)))
    assert 0 < (uploads * late).sum() < uploads.sum() < uploads.size
    spent = np.where(working, np.minimum(fastest, timeout), 0).max(1)
    np.testing.assert_allclose(run.wall_clock[1:], np.cumsum(spent), rtol=1e-12)
    np.testing.assert_allclose(run.recorded, theta, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", LOOPS)
def test_costs_are_exact(name):
    scheme, run = LOOPS[name][0], whole_run(name)
    d, n = START.size, scheme.group_size
    uploads = np.concatenate([[0], np.cumsum(np.asarray(run.selected).sum(1))])
    all_groups = scheme.num_groups * np.arange(K + 1)
    by_server = name in ("lasg, server", "g-cada")
    working = uploads if by_server else all_groups
    load = 1 if by_server or name == "laq" else 2  # a minibatch of G-CADA is that of one worker
    assert np.array_equal(run.downlink, n * working)
    assert np.array_equal(run.uplink, uploads)
    assert np.array_equal(run.computation, load * n * working)
    assert np.array_equal(run.bits, uploads * (32 + 3 * d if name == "laq" else 32 * d))
    cost = lj.complexity(run, 10.0)
    assert cost.bits == run.bits[int(cost.iterations)]


def test_two_gradients_take_twice_the_time():
    selected = jnp.ones((K, M), bool)

    @jax.jit
    def times(scheme):
        clocks = [clock_of(scheme, EXPONENTIAL, sampler=way) for way in ("direct", "workers")]
        return jnp.stack([clock.along(selected).whole(jax.random.key(0)) for clock in clocks])

    once = times(lj.lag(M, 1.0, trigger="worker"))
    np.testing.assert_allclose(times(lj.schemes.lasg(M, 1.0)), 2 * once, rtol=1e-14)


# Least squares, whose gradient is a product that no compiler fuses with what a rule does with it:
# the arithmetic is then the same.
@pytest.mark.parametrize("trigger", ["cada1", "cada2"])
def test_cada_without_a_threshold_is_distributed_amsgrad_bit_for_bit(trigger):
    path = descend(lj.schemes.cada(M, xi=0.0, trigger=trigger), SQUARES)
    plain = dataclasses.replace(lj.gd(M), optimizer=lj.schemes.amsgrad)
    assert path.selected.all()
    assert np.array_equal(path.gap, descend(plain, SQUARES).gap)


def test_lasg_without_a_threshold_is_stochastic_gradient_descent_bit_for_bit():
    step_size = 1 / float(SQUARES.total_smoothness)
    path = descend(lj.schemes.lasg(M, xi=0.0), SQUARES, step_size)
    assert np.array_equal(path.gap, descend(lj.gd(M), SQUARES, step_size).gap)


def test_g_cada_with_one_worker_a_group_is_cada_bit_for_bit():
    schemes = lj.schemes.g_cada(M, M, 3.0, trigger="cada2"), lj.schemes.cada(M, 3.0)
    grouped, alone = map(descend, schemes)
    assert np.array_equal(grouped.gap, alone.gap)
    assert np.array_equal(grouped.selected, alone.selected)


def test_laq_with_many_bits_is_lag():
    # LAG never keeps silent for as long as the memory here, so nothing is forced.
    laq = descend(lj.schemes.laq(M, bits=32, xi=0.1, memory=K), PROBLEM, ALPHA)
    lag = descend(lj.lag(M, 0.1, K, trigger="worker"), PROBLEM, ALPHA)
    assert 0 < np.mean(lag.selected[1:]) < 1
    assert np.array_equal(laq.selected, lag.selected)
    # A grid of 2^32 points over a change is off by 2^-33 of it at most.
    np.testing.assert_allclose(laq.gap, lag.gap, rtol=1e-7)


@pytest.mark.parametrize(
    # D iterations without an upload, then one; everybody when the snapshot is renewed.
    ("trigger", "period"), [("lasg-server", D + 1), ("lasg-worker", D + 1), ("cada1", D)]
)  # fmt: skip
def test_an_infinite_threshold_uploads_only_when_it_is_forced(trigger, period):
    path = descend(lj.schemes.lasg(M, 1e30, D, trigger=trigger), step_size=1e-3)
    expected = np.broadcast_to(np.arange(K)[:, None] % period == 0, (K, M))
    assert np.array_equal(path.selected, expected)


def test_quantised_vectors_lie_on_their_grid_to_half_a_step():
    vectors = jax.random.normal(jax.random.key(0), (5, 40))
    for bits in (1, 2, 7):
        rounded = np.asarray(jax.jit(quantize, static_argnums=1)(vectors, bits))
        radius = np.abs(np.asarray(vectors)).max(1, keepdims=True)
        levels = (rounded + radius) / (2 * radius) * (2**bits - 1)
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)
        assert (np.abs(rounded - vectors) <= radius / (2**bits - 1) * (1 + 1e-12)).all()
    assert np.array_equal(quantize(jnp.zeros((2, 3)), 4), np.zeros((2, 3)))
    assert np.isnan(quantize(jnp.array([[jnp.nan, 1.0]]), 4)).all()


def test_a_step_at_a_time_makes_the_same_path():
    scheme = lj.schemes.cada(M, 3.0, D, trigger="cada1")
    whole = descend(scheme)
    state = lj.init(STOCHASTIC, scheme, 0.05)
    step, gap = jax.jit(lj.step), jax.jit(STOCHASTIC.gap)
    for k in range(10):
        state = step(STOCHASTIC, scheme, state)
        assert np.array_equal(state.uploaded, whole.selected[k])
        np.testing.assert_allclose(gap(state.theta), whole.gap[k + 1], rtol=1e-10)


def test_a_batch_over_xi_and_samples_is_a_loop():
    xis, keys = jnp.array([0.5, 3.0]), jax.random.split(jax.random.key(5), 2)

    def gap(xi, key):
        problem = lj.problems.minibatch(PROBLEM, 2, key)
        scheme = dataclasses.replace(lj.schemes.cada(M, 1.0, D), xi=xi)
        return descend(scheme, problem).gap

    together = jax.vmap(gap)(xis, keys)
    for i in range(2):
        np.testing.assert_allclose(together[i], gap(xis[i], keys[i]), rtol=1e-10)


def test_what_is_no_part_of_a_scheme_is_refused():
    for trigger in (5, None, LagWorker):
        with pytest.raises(ValueError, match=r"trigger=.* is no Rule \(.*\); give a Rule"):
            lj.lag(M, trigger=trigger)
    for decoding in ("fastest", lj.schemes.Rescaled):
        with pytest.raises(ValueError, match=r"decoding=.* is no Decoding \(.*\); give a"):
            lj.Scheme(M, 1, 1, decoding=decoding)
    with pytest.raises(ValueError, match=r"optimizer=.* is no function of the step size; give"):
        dataclasses.replace(lj.gd(M), optimizer=optax.amsgrad(0.1))
    with pytest.raises(ValueError, match=r"code is of type ndarray; give a GradientCode"):
        lj.schemes.FirstDecodable(np.eye(M))
    assert not lj.Scheme(M, M, 1, trigger=Always()).adaptive


@dataclasses.dataclass(frozen=True)
class Own(Rule):
    """Gradient descent, with parts that give what they are told to."""

    proposes: object = Always().propose
    starts: object = lambda theta, groups: jnp.zeros(groups)
    remembers: object = lambda notes, draft, uploaded: notes

    def propose(self, gradients, round, notes):
        return self.proposes(gradients, round, notes)

    def start(self, theta, num_groups):
        return self.starts(theta, num_groups)

    def remember(self, notes, draft, uploaded):
        return self.remembers(notes, draft, uploaded)


def skipping(skip):
    return lambda gradients, round, notes: Proposal(skip, gradients(round.theta))


WRONG = [
    (dict(proposes=lambda *_: None), "`propose` of trigger='Own' gives NoneType; give Proposal"),
    (dict(proposes=skipping(jnp.zeros(M - 1, bool))), r"skip of .* is an array \(5,\) of bool"),
    (dict(proposes=skipping(jnp.zeros(M))), r"skip of .*; give an array \(6,\) of bool"),
    (dict(proposes=skipping(False)), r"skip of .* is bool; give an array \(6,\) of bool"),
    (dict(proposes=lambda gradients, round, _: Proposal(jnp.zeros(M, bool), round.theta)),
     r"message of `propose` of .* is an array \(5,\) of float64; give an array \(6, 5\)"),
    (dict(starts=lambda *_: "nothing"), "`start` of trigger='Own' gives 'nothing'; give an array"),
    (dict(remembers=lambda *_: None), "`remember` of trigger='Own' gives PyTreeDef.*where `start`"),
    (dict(remembers=lambda notes, *_: notes[0]), r"`remember` of .*; give an array \(6,\) of"),
]  # fmt: skip


def test_methods_of_ones_own_that_take_other_arguments_are_refused():
    class Short(Own):
        def propose(self, gradients, round):
            return None

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Early(lj.Decoding):
        def wait(self):
            return None

    words = r"`propose` of trigger='Short' takes .*; let it take \(gradients, round, notes\)"
    with pytest.raises(ValueError, match=words):
        descend(lj.lag(M, trigger=Short()), PROBLEM, ALPHA)
    scheme = lj.Scheme(M, 1, 1, decoding=Early())
    words = r"`wait` of decoding=Early takes \(\); let it take \(arrival\)"
    with pytest.raises(ValueError, match=words):
        lj.simulate(PROBLEM, scheme, EXPONENTIAL, jax.random.key(0), num_iterations=K)


@pytest.mark.parametrize(("parts", "message"), WRONG)
def test_a_rule_that_gives_the_wrong_thing_is_told_what_to_give(parts, message):
    with pytest.raises(ValueError, match=message):
        descend(lj.lag(M, trigger=Own(**parts)), PROBLEM, ALPHA)


def test_a_rule_of_ones_own_that_gives_the_right_things_runs():
    path = descend(lj.lag(M, trigger=Own(starts=lambda *_: 0)), PROBLEM, ALPHA)
    assert np.array_equal(path.gap, descend(lj.gd(M), PROBLEM, ALPHA).gap)


def test_bits_that_are_no_number_are_refused():
    class Bits(Own):
        def message_bits(self, num_parameters):
            return None

    with pytest.raises(ValueError, match="`message_bits` of trigger='Bits'=None is not a real num"):
        lj.simulate(PROBLEM, lj.lag(M, trigger=Bits()), EXPONENTIAL,
                          jax.random.key(0), num_iterations=K)  # fmt: skip


def test_bits_beyond_the_integers_of_jax_are_a_float():
    scheme = lj.lag(M)
    with jax.enable_x64(False):
        found = [contract.message_bits(scheme, size) for size in (2**26 - 1, 2**26)]
    assert found == [2**31 - 32, 2.0**31]
    assert [type(bits) for bits in found] == [int, float]
    assert type(contract.message_bits(scheme, 2**26)) is int


def test_a_rule_without_a_hash_and_an_optimiser_that_is_none_are_refused():
    class Loose(Own):
        __hash__ = None

    with pytest.raises(ValueError, match=r"trigger=.* cannot be hashed; make its class a frozen"):
        lj.lag(M, trigger=Loose())
    scheme = dataclasses.replace(lj.gd(M), optimizer=lambda step_size: step_size)
    with pytest.raises(ValueError, match=r"optimizer=.* is no optax transformation; give"):
        descend(scheme)


def test_amsgrad_does_not_correct_the_bias():
    gradient = np.array([3.0, -0.5])
    server = lj.schemes.amsgrad(0.1)
    state, plain = server.init(gradient), AMSGRAD(0.1)
    for scale in (1.0, 4.0, 0.1):
        step, state = server.update(scale * gradient, state)
        np.testing.assert_allclose(step, -plain(scale * gradient), rtol=1e-14)
    first = optax.amsgrad(0.1)
    corrected, _ = first.update(gradient, first.init(gradient))
    # (1 - b1) / sqrt(1 - b2) of the corrected one, whose first step is the step size.
    np.testing.assert_allclose(server.update(gradient, server.init(gradient))[0],
                               0.1 / np.sqrt(0.001) * corrected, rtol=1e-6)  # fmt: skip


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"snapshot_life=5 is given but trigger='cada2' has none"):
        lj.schemes.cada(M, 1.0, snapshot_life=5)
    with pytest.raises(ValueError, match=r"silence=5 is given but trigger='server' has none"):
        lj.schemes.lasg(M, 1.0, trigger="server", silence=5)
    with pytest.raises(ValueError, match=r"silence=0 is too small; give"):
        lj.schemes.laq(M, silence=0)
    with pytest.raises(ValueError, match=r"bits=33 exceeds 32; give"):
        lj.schemes.laq(M, bits=33)
    with pytest.raises(ValueError, match=r"trigger='cada2' needs workers that know"):
        lj.Scheme(M, 2, 1, 1.0, 4, "cada2")
    with pytest.raises(ValueError, match=r"trigger='cada3' is unknown; give one of"):
        lj.schemes.cada(M, 1.0, trigger="cada3")
    assert Laq(UniformGrid(3)) == Laq(UniformGrid(3))
    assert CadaSnapshot() == CadaSnapshot()


@pytest.mark.long
def test_the_page_on_a_scheme_of_ones_own_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_scheme.main()
    assert capsys.readouterr().out.count("bits to a gap") == 2
    assert sorted(path.suffix for path in (tmp_path / "results").iterdir()) == [".pdf", ".png"]


def test_the_page_on_a_scheme_of_ones_own_is_ef21():
    kept, gradient = 2, full_gradient(M)
    theta, estimates = [START], np.zeros((M, START.size))
    for k in range(K):
        for m in range(M):
            change = gradient(m, theta[k], k) - estimates[m]
            for j in sorted(range(START.size), key=lambda j: -abs(change[j]))[:kept]:
                estimates[m, j] += change[j]
        theta.append(theta[k] - ALPHA / 2 * estimates.sum(0))
    scheme = own_scheme.ef21(M, kept)
    path = descend(scheme, PROBLEM, ALPHA / 2, record=identity)
    np.testing.assert_allclose(path.recorded, theta, rtol=1e-9, atol=1e-12)
    assert scheme.trigger.message_bits(START.size) == kept * (32 + 3)
