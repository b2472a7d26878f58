"""Compressors and the rules that use them: against plain loops, and where they become another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import lagc_jax as lj
from lagc_jax.schemes import compressors as C
from lagc_jax.schemes.compression import Compressed
from lagc_jax.schemes.federated import LocalSteps
from lagc_jax.schemes.rulebook import as_rule

M, K = 4, 15
DATA = reference.random_data("linear", 0, M)
PROBLEM = lj.linear_regression(DATA.X, DATA.y)
D = PROBLEM.num_parameters
ALPHA = 0.3 / float(PROBLEM.total_smoothness)
TOP, RANDOM, EXPONENTIAL = C.TopK(2), C.RandomK(2, seed=3), lj.Exponential(1.0)
S = lj.schemes


def identity(point):
    return point


def run(scheme, problem=PROBLEM, **options):
    return lj.simulate(
        problem, scheme, EXPONENTIAL, jax.random.key(0), num_iterations=K, step_size=ALPHA,
        record=identity, **options,
    )  # fmt: skip


def gradient(m, theta, k=0):
    return reference.group_gradient(DATA, M, m, theta)


def largest(vector, scores, kept):
    out = np.zeros_like(vector)
    for j in sorted(range(len(vector)), key=lambda j: -scores[j])[:kept]:
        out[j] = vector[j]
    return out


def top(vector, k, m):
    return largest(vector, np.abs(vector), 2)


def drawn(seed, k):
    """The compressor's random numbers of an iteration, (M, d)."""
    return np.asarray(C._uniforms(seed, jnp.asarray(k), jnp.zeros((M, D))))


def random(vector, k, m):
    return D / 2 * largest(vector, drawn(3, k)[m], 2)


def loop(send, direction=lambda theta, total: theta - ALPHA * total):
    """The iterates (K+1, d), where `send(m, g, theta, k)` is what the server takes of worker m."""
    theta = [np.zeros(D)]
    for k in range(K):
        sent = [send(m, gradient(m, theta[k]), theta, k) for m in range(M)]
        theta.append(direction(theta[k], np.sum(sent, axis=0)))
    return np.array(theta)


def error_feedback():
    memory = np.zeros((M, D))

    def send(m, g, theta, k):
        message = top(memory[m] + g, k, m)
        memory[m] += g - message
        return message

    return send


def clag(zeta, uploads):
    held, before = np.zeros((M, D)), np.zeros((M, D))

    def send(m, g, theta, k):
        far = np.sum((g - held[m]) ** 2) > zeta * np.sum((g - before[m]) ** 2)
        uploads[k, m] = k == 0 or far
        if uploads[k, m]:
            held[m] += top(g - held[m], k, m)
        before[m] = g
        return held[m].copy()

    return send


def diana(rate):
    shift = np.zeros((M, D))

    def send(m, g, theta, k):
        change = random(g - shift[m], k, m)
        message = shift[m] + change
        shift[m] += rate * change
        return message

    return send


def marina(coins):
    held, before = np.zeros((M, D)), np.zeros((M, D))

    def send(m, g, theta, k):
        held[m] = g if coins[k] else held[m] + random(g - before[m], k, m)
        before[m] = g
        return held[m].copy()

    return send


MARINA = S.marina(M, RANDOM, probability=0.3, seed=5)
COINS = np.array([bool(MARINA.trigger.whole(jnp.asarray(k))) for k in range(K)])
LOOPS = {
    "direct": (S.compressed_gd(M, RANDOM), lambda: lambda m, g, theta, k: random(g, k, m)),
    "error feedback": (S.error_feedback(M, TOP), error_feedback),
    "EF21": (S.ef21(M, TOP), lambda: clag(-1.0, np.zeros((K, M), bool))),
    "DIANA": (S.diana(M, RANDOM, rate=0.4), lambda: diana(0.4)),
    "MARINA": (MARINA, lambda: marina(COINS)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_path_is_that_of_its_papers_loop(name):
    scheme, send = LOOPS[name]
    found = run(scheme)
    np.testing.assert_allclose(found.recorded, loop(send()), rtol=1e-9, atol=1e-12)
    assert found.selected.all()
    bits = {"MARINA": np.where(COINS, 32 * D, 64), "DIANA": 64, "direct": 64}
    each = np.broadcast_to(bits.get(name, 2 * (32 + 3)), K)
    assert np.array_equal(found.bits, np.concatenate([[0], M * np.cumsum(each)]))


def test_bits_that_vary_are_those_of_every_door():
    assert 0 < COINS[1:].sum() < K - 1
    single = lj.complexity(run(MARINA), 0.5)
    batch = lj.simulate_batch(
        PROBLEM, MARINA, EXPONENTIAL, jax.random.key(0), num_iterations=K, num_realisations=2,
        accuracies=(0.5,), step_size=ALPHA,
    )  # fmt: skip
    table = lj.run(lj.Experiment(
        problems={"p": PROBLEM}, schemes={"s": MARINA}, delays={"e": EXPONENTIAL},
        num_iterations=K, num_realisations=2, target=lj.Gap([0.5]), step_sizes=[ALPHA],
        step_unit="absolute", key=jax.random.key(0),
    ))  # fmt: skip
    assert np.isfinite(single.bits)
    np.testing.assert_allclose(
        [batch.costs.bits.mean[0], table["bits"][0]], single.bits, rtol=1e-14
    )


def test_clag_is_its_papers_loop():
    uploads = np.zeros((K, M), bool)
    path = loop(clag(1.5, uploads))
    found = run(S.clag(M, TOP, xi=1.5))
    np.testing.assert_allclose(found.recorded, path, rtol=1e-9, atol=1e-12)
    assert np.array_equal(found.selected, uploads)
    assert 0 < uploads[1:].mean() < 1


def same(one, other):
    one, other = run(one), run(other)
    return np.array_equal(one.recorded, other.recorded) and np.array_equal(
        one.selected, other.selected
    )


def test_corners_are_bit_for_bit():
    lag = lj.lag(M, 0.1, trigger="worker")
    assert not run(lag).selected.all()
    for rule in ("worker", "three-point", "lasg-worker", "server"):
        scheme = lj.lag(M, 0.4, 4, trigger=rule)
        assert same(dataclasses.replace(scheme, trigger=Compressed(rule, "identity")), scheme), rule
    assert same(S.clag(M, "identity", 1.5), lj.lag(M, 1.5, 1, trigger="three-point"))
    assert same(S.clag(M, TOP, xi=0.0), S.ef21(M, TOP))
    assert same(S.diana(M, TOP, rate=1.0), S.ef21(M, TOP))
    for one in (S.compressed_gd(M, "identity"), S.ef21(M, "identity"), S.marina(M, TOP, 1.0)):
        assert same(one, lj.gd(M))


def test_local_steps_are_their_loop():
    H, noisy = 3, lj.problems.minibatch(PROBLEM, 2, jax.random.key(1))
    oracle = jax.jit(noisy.group_oracle(M))
    found = run(S.local_sgd(M, H, participants=2, seed=1), noisy)
    theta = np.zeros(D)
    for k in range(K):
        models = np.tile(theta, (M, 1))
        for h in range(H):
            models = models - M * ALPHA * np.asarray(oracle(jnp.asarray(models), k * H + h))
        theta = models[np.asarray(found.selected[k])].mean(0)
        np.testing.assert_allclose(found.recorded[k + 1], theta, rtol=1e-9, atol=1e-12)
    assert (found.selected.sum(1) == 2).all()
    assert (found.selected.sum(0) > 0).all()
    assert np.array_equal(found.computation, 2 * H * np.arange(K + 1))
    assert np.array_equal(found.uplink, 2 * np.arange(K + 1))
    step = lj.Scheme(M, M, 1, trigger=LocalSteps("always", 1))
    plain = run(lj.gd(M), noisy)
    assert np.array_equal(run(step, noisy).recorded, plain.recorded)
    longer = run(S.local_sgd(M, H), noisy).wall_clock
    np.testing.assert_allclose(longer, H * plain.wall_clock, rtol=1e-14)


def test_local_steps_meet_compressors_and_lazy_rules():
    paq = run(S.local_sgd(M, 2, compressor="dithering(4)"))
    assert paq.bits[1] == M * (32 + 4 * D)
    lazy = Compressed(LocalSteps("worker", 2), TOP)
    found = run(lj.lag(M, 0.1, trigger=lazy))
    assert 0 < found.selected[1:].mean() < 1
    assert found.computation[-1] == 2 * M * K


def test_momentum_is_its_loop():
    memory = np.zeros(D)

    def step(theta, total):
        memory[:] = 0.8 * memory + total
        return theta - ALPHA * memory

    found = run(dataclasses.replace(lj.gd(M), optimizer=S.Momentum(0.8)))
    expected = loop(lambda m, g, theta, k: g, step)
    np.testing.assert_allclose(found.recorded, expected, rtol=1e-10, atol=1e-13)


ALL = [kind(4) if issubclass(kind, C._Sized) else kind() for kind in C.COMPRESSORS.values()]
UNBIASED = [C.RandomK(4), C.Dithering(4), C.Natural()]
CONTRACTIVE = [C.TopK(4), C.Sign(), C.UniformGrid(4)]


@pytest.mark.parametrize("compressor", ALL, ids=str)
def test_texts_zeros_and_types(compressor):
    assert C.as_compressor(str(compressor)) == compressor
    for dtype in (jnp.float32, jnp.float64):
        vectors = jax.random.normal(jax.random.key(0), (3, 9), dtype).at[1].set(0)
        found = compressor.compress(vectors, jnp.asarray(7))
        assert (found.shape, found.dtype) == (vectors.shape, dtype)
        assert np.array_equal(found[1], np.zeros(9))
        assert np.isnan(compressor.compress(vectors.at[0].set(jnp.nan), jnp.asarray(7))[0]).any()


@pytest.mark.parametrize("compressor", [C.UniformGrid(8), C.Dithering(4)], ids=str)
@pytest.mark.parametrize("unit", [2.0**-110, 2.0**-60, 2.0**100, 2.0**124])
def test_what_is_sent_does_not_depend_on_the_unit(compressor, unit):
    vectors = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 9)), jnp.float32)
    found = compressor.compress(unit * vectors, jnp.asarray(2)) / unit
    np.testing.assert_array_equal(found, compressor.compress(vectors, jnp.asarray(2)))


def test_a_grid_finer_than_the_vectors_leaves_them():
    vectors = jnp.array([[1.2e-30, 3.5e-31, 0.0]], jnp.float32)
    np.testing.assert_array_equal(C.UniformGrid(32).compress(vectors, jnp.asarray(0)), vectors)


@pytest.mark.parametrize("compressor", UNBIASED, ids=str)
def test_random_compressors_are_unbiased(compressor):
    vector = jnp.array([[0.3, -2.0, 1.0, 0.0, 5.0, -0.01]])
    draws = jax.jit(jax.vmap(lambda k: compressor.compress(vector, k)[0]))(jnp.arange(4000))
    deviation = np.std(draws, axis=0) / np.sqrt(4000)
    assert (np.abs(np.mean(draws, axis=0) - vector[0]) <= 5 * deviation + 1e-12).all()
    assert np.std(draws, axis=0).max() > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=9, max_size=9), st.sampled_from(ALL))
def test_what_compressors_send_is_what_they_say(entries, compressor):
    vector = np.array([entries])
    found = np.asarray(compressor.compress(jnp.asarray(vector), jnp.asarray(1)))
    if compressor in CONTRACTIVE:
        assert np.sum((found - vector) ** 2) <= np.sum(vector**2) * (1 + 1e-12)
    if isinstance(compressor, C.TopK | C.RandomK):
        assert np.count_nonzero(found) <= 4
    if isinstance(compressor, C.Natural):
        assert np.isin(np.abs(np.frexp(found[found != 0])[0]), 0.5).all()
    if isinstance(compressor, C.Dithering):
        levels = 4 * np.abs(found) / max(np.linalg.norm(vector), 1e-300)
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)


def test_a_link_takes_the_bits_of_a_message():
    bits = 2 * (32 + 3)
    for link in (lj.Link(0.1, 2.0), lj.Link(0.1, 2.0, shared=True)):
        given = dataclasses.replace(link, upload_size=bits / (32 * D))
        for one, other in ((link, given), (given, given)):
            times = [
                run(S.ef21(M, TOP), cluster=lj.Cluster(link=x)).wall_clock for x in (one, other)
            ]
            assert np.array_equal(*times)
        full = run(lj.gd(M), cluster=lj.Cluster(link=link)).wall_clock
        same = dataclasses.replace(link, upload_size=1.0)
        assert np.array_equal(full, run(lj.gd(M), cluster=lj.Cluster(link=same)).wall_clock)
        assert times[0][-1] < full[-1]


def test_an_experiment_sizes_its_links_by_the_scheme():
    cluster = lj.Cluster(link=lj.Link(0.1, 2.0))
    schemes = {"LAQ": S.laq(M, 3), "LAG": lj.lag(M, 0.1, trigger="worker")}
    parts = dict(num_iterations=K, num_realisations=3, key=jax.random.key(0), step_unit="absolute")
    table = lj.run(lj.Experiment(
        problems={"p": PROBLEM}, schemes=schemes, delays={"e": EXPONENTIAL},
        clusters={"c": cluster}, target=lj.Gap([1.0]), step_sizes=[ALPHA], quantiles=[0.5], **parts,
    ))  # fmt: skip
    for row in table.to_dict("records"):
        batch = lj.simulate_batch(
            PROBLEM, schemes[row["scheme"]], EXPONENTIAL, jax.random.key(0), num_iterations=K,
            num_realisations=3, accuracies=(1.0,), step_size=ALPHA, cluster=cluster,
        )  # fmt: skip
        np.testing.assert_allclose(row["time_mean"], batch.mean[0], rtol=1e-12)
        np.testing.assert_allclose(row["bits"], batch.costs.bits.mean[0], rtol=1e-12)


@dataclasses.dataclass(frozen=True)
class Short(C.Compressor):
    """Of another shape than what is sent."""

    def compress(self, vectors, k):
        return vectors[:, :1]

    def bits(self, num_parameters):
        return 32


def test_bad_input_is_refused():
    link = lj.Cluster(link=lj.Link())
    for message, call in {
        r"compressor='top-k' is unknown; give one such as": lambda: S.ef21(M, "top-k"),
        r"compressor='zip\(4\)' is unknown": lambda: S.ef21(M, "zip(4)"),
        r"compressor='sign\(4\)' is unknown": lambda: S.ef21(M, "sign(4)"),
        r"compressor=5 is no Compressor": lambda: S.ef21(M, 5),
        r"kept=0 is too small": lambda: C.TopK(0),
        r"kept=9 exceeds the 5 parameters": lambda: run(S.ef21(M, "top-k(9)")),
        r"seed=-1 is too small": lambda: C.Natural(-1),
        r"levels=4294967296 exceeds 2\^32 - 1": lambda: C.Dithering(2**32),
        r"gives shape \(4, 1\) of vectors of shape \(4, 5\)": lambda: run(S.ef21(M, Short())),
        r"rate=0 must be positive": lambda: S.diana(M, TOP, 0),
        r"probability=2 must lie in": lambda: S.marina(M, TOP, 2),
        r"num_steps=0 is too small": lambda: S.local_sgd(M, 0),
        r"local_step_size|step_size=-1 must be positive": lambda: LocalSteps("always", 2, -1),
        r"participants=9 exceeds the 4 groups": lambda: run(S.local_sgd(M, 2, 9)),
        r"rule='worker' may remember": lambda: S.Participation("worker", 2),
        r"forgets the groups": lambda: run(
            lj.Scheme(M, M, 1, trigger=Compressed(S.Participation("always", 2), TOP))
        ),
        r"decay=1 must lie in": lambda: S.Momentum(1),
        r"needs workers that know": lambda: lj.Scheme(M, 1, 2, trigger=Compressed("server", TOP)),
        r"depends on the number of par": lambda: lj.theory.expected_wall_clock(
            lj.lag(M, trigger=Compressed("server", TOP)), EXPONENTIAL, np.ones((1, M), bool), link
        ),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    assert as_rule("lasg-snapshot").gradients == 2


@pytest.mark.parametrize("compressor", ["random-k(1)", "dithering(1)"])
def test_the_coin_of_marina_is_apart_from_what_its_compressor_draws(compressor):
    """In float32 both draw as many bits: coordinates kept where no whole gradients are sent."""
    rule = S.marina(2, compressor, 0.6).trigger
    vectors, k = jnp.ones((2, 3), jnp.float32), jnp.arange(1, 8001)
    whole = np.asarray(jax.vmap(rule.whole)(k))
    sent = np.asarray(jax.vmap(lambda k: rule.compressor.compress(vectors, k))(k))[~whole]
    error = sent.std(0) / np.sqrt(len(sent))  # of 6 means: 4.5 deviations, a chance of 4e-5
    assert (np.abs(sent.mean(0) - 1) < 4.5 * error).all()
