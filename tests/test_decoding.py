"""Decodings against plain NumPy loops over the same times, their limits, and loads."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import lagc_jax as lj
from lagc_jax import schemes
from lagc_jax._pytree import pytree
from lagc_jax._sorting import first
from lagc_jax.clock import clock_of, order_law
from lagc_jax.cluster import collect, sample_work
from lagc_jax.delays.scaled import Scaled
from lagc_jax.schemes.decoding import Decoding, FirstBlocks, LeastSquares, Rescaled
from lagc_jax.theory import iteration_bound, iteration_costs

M, K, KEY, STEP = 6, 40, jax.random.key(3), 0.03
# Compiled whole, which takes less than compiling every operation of it.
draw_work = jax.jit(sample_work, static_argnums=4)
DELAYS = lj.Exponential(1.0)
BALANCED = np.asarray(lj.schemes.balanced_assignment(jax.random.key(1), M, 4))
CYCLIC = lj.schemes.cyclic_repetition(M, 3)
# Redundancy, the matrix, what the loop does, and the scheme.
SCHEMES = {
    "first decodable, blocks": lj.schemes.first_decodable(M, 3),
    "first decodable, cyclic": lj.schemes.first_decodable(M, 4),
    "fastest k": lj.schemes.fastest_k(M, 4),
    "stochastic": lj.schemes.stochastic_gc(M, 4, 3, BALANCED),
    "least squares": lj.schemes.approximate_gc(M, 4, num_waited=3),
    "deadline": lj.schemes.approximate_gc(M, 3, deadline=2.0),
    "first blocks": lj.schemes.erasure_head(M, 2, num_waited=4),
    "deadline, lazy groups": lj.Scheme(
        M, 2, 2, 0.5, 4, "server",
        decoding=LeastSquares([[1, 1, 0], [0, 1, 1], [1, 0, 1]], deadline=2.5),
    ),
}  # fmt: skip


def run_of(problem, scheme, **changes):
    arguments = dict(num_iterations=K, step_size=STEP) | changes
    return lj.simulate(problem, scheme, DELAYS, KEY, **arguments)


def decodes(rows):
    """Whether the ones vector is a combination of the rows, by least squares."""
    if not len(rows):
        return False
    vector = np.linalg.lstsq(rows.T, np.ones(rows.shape[1]))[0]
    return np.abs(vector @ rows - 1).max() < 1e-8


def loop_iteration(decoding, arrival):
    """Time, number of messages and partition weights of one group, by the definitions."""
    n = len(arrival)
    order = sorted(range(n), key=lambda w: (arrival[w], w))
    if isinstance(decoding, lj.schemes.FirstDecodable):
        B, taken = np.asarray(decoding.code.encoding), []
        for w in order:
            if np.linalg.matrix_rank(B[[*taken, w]]) > len(taken):
                taken.append(w)
            if decodes(B[taken]):
                return arrival[w], len(taken), np.ones(n)
        raise AssertionError("all rows decode")
    if isinstance(decoding, Rescaled):
        k, A = decoding.num_waited, decoding.assignment
        A = np.eye(n) if A is None else np.asarray(A)
        weights = np.zeros(n)
        for w in order[:k]:
            for j in range(n):
                if A[w, j]:
                    weights[j] += n / (k * A[:, j].sum())
        return arrival[order[k - 1]], k, weights
    if isinstance(decoding, FirstBlocks):  # as long as the loop of ErasureHead's code runs
        r, weights, taken = decoding.redundancy, np.zeros(n), 0
        while taken < decoding.num_waited and not weights.all():
            block = order[taken] // r
            weights[block * r : (block + 1) * r] = 1
            taken += 1
        return arrival[order[taken - 1]], taken, weights
    B, k, deadline = np.asarray(decoding.encoding), decoding.num_waited, decoding.deadline
    taken = order[:k] if deadline is None else [w for w in order if arrival[w] <= deadline]
    time = arrival[order[k - 1]] if deadline is None else min(deadline, arrival[order[-1]])
    if not taken:
        return time, 0, np.zeros(n)
    vector = np.linalg.lstsq(B[taken].T, np.ones(n))[0]
    return time, len(taken), vector @ B[taken]


def loop(data, scheme, work):
    """A whole trajectory: gap, selected, cumulative time and costs."""
    G, n, r = scheme.num_groups, scheme.group_size, scheme.redundancy
    constants = reference.smoothness(data, G)
    theta, used = [np.zeros(data.X.shape[2])], [None] * G
    stale, selected = np.zeros((G, data.X.shape[2])), np.zeros((len(work), G), bool)
    costs = [(0.0, 0, 0, 0)]
    for k in range(len(work)):
        steps = [theta[i + 1] - theta[i] for i in range(max(0, k - scheme.memory), k)]
        bound = float(scheme.xi) * sum(s @ s for s in steps) / (STEP * G) ** 2
        time, messages = 0.0, 0
        for g in range(G):
            if scheme.adaptive and used[g] is not None:
                moved = np.sum((used[g] - theta[k]) ** 2)
                if constants[g] ** 2 * moved <= bound:
                    continue
            selected[k, g] = True
            known, taken, weights = loop_iteration(scheme.decoding, work[k, g * n : (g + 1) * n])
            time, messages = max(time, known), messages + taken
            used[g] = theta[k]
            stale[g] = sum(
                weights[j] * reference.partition_gradient(data, g * n + j, theta[k])
                for j in range(n)
            )
        theta.append(theta[k] - STEP * stale.sum(0))
        groups = selected[k].sum()
        spent = (time, n * groups, messages, r * n * groups)
        costs.append(tuple(a + b for a, b in zip(costs[-1], spent, strict=True)))
    return reference.gaps(data, theta), selected, [np.array(c) for c in zip(*costs, strict=True)]


@pytest.mark.parametrize("name", SCHEMES)
def test_trajectories_are_those_of_loops(problem, name):
    scheme = SCHEMES[name]
    run = run_of(problem, scheme)
    work = np.asarray(draw_work(scheme, DELAYS, None, KEY, K))
    gap, selected, (time, downlink, uplink, computation) = loop(
        reference.data_of(problem), scheme, work
    )
    assert np.array_equal(run.selected, selected)
    assert np.array_equal(run.uplink, uplink)
    assert np.array_equal(run.downlink, downlink)
    assert np.array_equal(run.computation, computation)
    np.testing.assert_allclose(run.wall_clock, time, rtol=1e-12)
    # A gap is quadratic in the iterate's error, which is rounding of the distance at the start.
    rounding = 100 * np.finfo(float).eps * np.sqrt(gap * gap[0])
    assert (abs(run.gap - gap) <= rounding + 1e-10 * gap).all()
    if "lazy" in name:
        assert 0 < selected.sum() < selected.size


BLOCKS, CYCLIC_FIRST, FASTEST, DEADLINE = (
    SCHEMES[name]
    for name in ("first decodable, blocks", "first decodable, cyclic", "fastest k", "deadline")
)
LIMITS = {
    "fastest of all is gd": (lj.schemes.fastest_k(M, M), lj.gd(M)),
    "first decodable with blocks is grouping": (BLOCKS, lj.grouping(M, 2)),
    "erasure head without a limit is grouping": (
        lj.schemes.erasure_head(M, 3, M),
        lj.grouping(M, 2),
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_other_schemes_bit_for_bit(problem, name):
    scheme, other = LIMITS[name]
    run, plain = run_of(problem, scheme), run_of(problem, other, sampler="workers")
    for field in ("wall_clock", "downlink", "computation"):
        assert np.array_equal(getattr(run, field), getattr(plain, field)), field
    if "erasure" in name:
        assert run.uplink[-1] > plain.uplink[-1]  # what a block sends again arrives
    else:
        assert np.array_equal(run.uplink, plain.uplink)
    if "gd" in name:
        assert np.array_equal(run.gap, plain.gap)
        assert np.array_equal(run.theta, plain.theta)
    # The same path: sums of two groups' gradients and of the whole differ by rounding.
    np.testing.assert_allclose(run.gap, plain.gap, rtol=1e-9)


@pytest.mark.parametrize("code", [lj.schemes.fractional_repetition(8, 2), CYCLIC,
                                  lj.schemes.cyclic_repetition(8, 4)])  # fmt: skip
def test_first_decodable_is_never_later_than_any_f_workers(code):
    n, waited = code.group_size, code.num_waited
    times = jax.random.exponential(KEY, (500, n))
    known, taken = jax.jit(lj.schemes.FirstDecodable(code).wait)(times)
    latest, _ = first(times, waited)
    assert (known <= latest).all()
    assert (known < latest).any()
    assert (taken.sum(-1) <= waited).all()
    # What it takes decodes, in the code's own hands too, and not before the last one of it.
    decode = jax.jit(code.decoding_vector)
    sums = decode(taken) @ code.encoding
    np.testing.assert_allclose(sums, 1, atol=1e-10)
    before = taken & (times < known[:, None])
    assert np.isnan(np.asarray(decode(before))).all()


def test_a_code_that_never_decodes_takes_for_ever():
    identity = lj.schemes.GradientCode(jnp.asarray(BALANCED).at[:, 0].set(0), 4)
    known, _ = jax.jit(lj.schemes.FirstDecodable(identity).wait)(jnp.arange(1.0, 7.0))
    assert np.isinf(known)


def test_coded_messages_of_the_first_decodable_set_give_the_gradient(problem):
    sent = run_of(problem, CYCLIC_FIRST, exact_recovery=False)
    told = run_of(problem, CYCLIC_FIRST)
    assert np.array_equal(sent.uplink, told.uplink)
    # Condition of the code times rounding, over K steps.
    np.testing.assert_allclose(sent.gap, told.gap, rtol=1e-9)


def taken_of(num_waited):
    """All sets of that many workers, bool (S, M)."""
    sets = np.array(list(itertools.combinations(range(M), num_waited)))
    return (sets[..., None] == np.arange(M)).any(1)


def test_stochastic_weights_are_unbiased_over_all_sets():
    decoding = SCHEMES["stochastic"].decoding
    weights = decoding.weights(taken_of(decoding.num_waited))
    np.testing.assert_allclose(weights.mean(0), 1, rtol=1e-12)


def test_least_squares_of_enough_workers_of_a_gradient_code_is_exact():
    weights = jax.jit(lambda decoding, taken: decoding.weights(taken))
    decoding = LeastSquares(CYCLIC.encoding, num_waited=CYCLIC.num_waited)
    everyone = np.ones((1, M), bool)
    np.testing.assert_allclose(weights(decoding, taken_of(CYCLIC.num_waited)), 1, atol=1e-10)
    np.testing.assert_allclose(weights(LeastSquares(BALANCED, M), everyone), 1, atol=1e-12)
    assert (weights(decoding, ~everyone) == 0).all()


def test_decodings_that_are_looked_up_are_those_of_the_set():
    decoding = LeastSquares(CYCLIC.encoding, deadline=1.0)
    sets = jnp.asarray(np.array(list(itertools.product((False, True), repeat=M))))
    assert decoding.weigher(2**M // 8 - 1) == decoding.weights
    found = jax.jit(decoding.weigher(2**M))(sets)
    one_by_one = jax.jit(lambda sets: jax.lax.map(decoding.weights, sets))(sets)
    np.testing.assert_allclose(found, one_by_one, atol=1e-14)
    rows = np.asarray(CYCLIC.encoding)[np.flatnonzero(sets[13])]
    best = np.linalg.lstsq(rows.T, np.ones(M))[0] @ rows
    np.testing.assert_allclose(found[13], best, atol=1e-12)


def test_no_answer_by_the_deadline_leaves_the_iterate(problem):
    run = run_of(problem, lj.schemes.approximate_gc(M, 3, deadline=1e-9), num_iterations=3)
    assert (run.gap == run.gap[0]).all()
    assert run.uplink[-1] == 0
    np.testing.assert_allclose(run.wall_clock, 1e-9 * np.arange(4), rtol=1e-12)


def test_deadlines_are_batched(problem):
    def last(deadline):
        return run_of(problem, lj.schemes.approximate_gc(M, 3, deadline=deadline)).wall_clock[-1]

    together = jax.vmap(last)(np.array([1.0, 4.0]))
    np.testing.assert_allclose(together, [last(1.0), last(4.0)], rtol=1e-12)


def test_assignments_are_regular_and_pairwise_balanced_on_average():
    keys, n, r = jax.random.split(KEY, 2000), 7, 3
    drawn = np.asarray(
        jax.jit(jax.vmap(lambda key: lj.schemes.balanced_assignment(key, n, r)))(keys), np.int64
    )
    assert (drawn.sum(1) == r).all()
    assert (drawn.sum(2) == r).all()
    shared = np.einsum("swi,swj->sij", drawn, drawn)[:, *np.triu_indices(n, 1)]
    error = shared.std(0) / np.sqrt(len(keys))
    # Five standard errors, 21 pairs: level 1e-5.
    assert (abs(shared.mean(0) - r * (r - 1) / (n - 1)) < 5 * error).all()


@pytest.mark.parametrize("scheme", [CYCLIC_FIRST, DEADLINE])
def test_batches_are_their_trajectories(problem, scheme):
    sizes = dict(num_iterations=K, step_size=STEP)
    batch = lj.simulate_batch(
        problem, scheme, DELAYS, KEY, num_realisations=5, accuracies=(1e-2,), keep_samples=True,
        **sizes,
    )  # fmt: skip
    keys = [jax.random.fold_in(KEY, i) for i in range(5)]
    runs = [lj.simulate(problem, scheme, DELAYS, key, **sizes) for key in keys]
    costs = [lj.complexity(run, 1e-2) for run in runs]
    times, messages = zip(*((cost.wall_clock, cost.communication) for cost in costs), strict=True)
    assert np.isfinite(times).all()
    np.testing.assert_allclose(batch.costs.time.samples[0], times, rtol=1e-12)
    assert np.array_equal(batch.costs.communication.samples[0], messages)
    assert len(set(map(float, messages))) > 1
    np.testing.assert_allclose(batch.gap, np.mean([run.gap for run in runs], axis=0), rtol=1e-9)


def test_timeouts_and_links_of_a_decoding():
    work = jnp.array([[1.0, 2.0, 3.0, 9.0, 8.0, 7.0], [1.0, 2.0, 3.0, 4.0, 8.0, 7.0]])
    selected = np.ones((2, 1), bool)
    run = jax.jit(collect)(BLOCKS, lj.Cluster(timeout=5.0), work, selected, 0)
    assert run.time.tolist() == [5.0, 4.0]
    assert run.received[:, 0].tolist() == [False, True]
    assert run.uplink.tolist() == [1, 2]
    assert run.timeouts.tolist() == [1, 0]
    # Only the two messages that are taken share the link: downloads are free, uploads take 2.
    link = lj.Link(0.0, 1.0, 0.0, 2.0, shared=True)
    run = jax.jit(collect)(BLOCKS, lj.Cluster(link=link), work, selected, 0)
    assert run.time.tolist() == [9.0, 6.0]


# A rule that takes two gradients of every partition, in groups where r = 1 and r = n.
LOADED = {
    "lasg": lj.schemes.lasg(M, 0.1),
    "g-cada": lj.schemes.g_cada(M, 2, 0.1, trigger="cada2", load=6),
}
PLAIN = {"lasg": lj.gd(M), "g-cada": lj.grouping(M, 2)}


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("rates", [1.0, np.linspace(0.5, 2.0, M)], ids=["alike", "unequal"])
def test_twice_the_gradients_take_twice_the_time(name, rates):
    selected = np.ones((70, PLAIN[name].num_groups), bool)
    samplers = ["direct", "workers"] if np.ndim(rates) == 0 else ["workers"]

    @jax.jit
    def answers(scheme, delays):
        clock, costs = clock_of(scheme, delays), iteration_costs(scheme, DELAYS)
        sampled = [clock_of(scheme, delays, sampler=sampler) for sampler in samplers]
        return [
            clock.variance(scheme.working(selected)),
            clock.mean(scheme.working(selected)),
            sample_work(scheme, delays, None, KEY, 3),
            costs.time,
            costs.computation,
            *(one.along(jnp.asarray(selected)).whole(KEY) for one in sampled),
        ]

    twice, once = (answers(schemes[name], lj.Exponential(rates)) for schemes in (LOADED, PLAIN))
    np.testing.assert_allclose(twice[0], 4 * once[0], rtol=1e-12)
    for loaded, plain in zip(twice[1:], once[1:], strict=True):
        np.testing.assert_allclose(loaded, 2 * plain, rtol=1e-12)


def test_independent_gradients_are_as_many_draws():
    assert lj.Cluster(independent=True).draws(LOADED["g-cada"]) == 6


@pytest.mark.parametrize(
    "family",
    [
        lj.Pareto(1.0, 1.5),
        lj.delays.Discrete([1.0, 3.0], [0.9, 0.1]),
        lj.Exponential(np.arange(1.0, 7.0)),
    ],
)
def test_expected_times_of_the_fastest_k_are_order_statistics(family):
    scheme, k = lj.schemes.fastest_k(M, 4), 4
    clock = lj.expected_wall_clock(scheme, family, np.ones((1, 1), bool))
    if family.identical:
        np.testing.assert_allclose(clock[1], lj.law.order_statistic_mean(family, k, M), rtol=1e-10)
    drawn = np.sort(draw_work(scheme, family, None, KEY, 20_000), axis=1)[:, k - 1]
    assert abs(drawn.mean() - clock[1]) < 5 * drawn.std() / np.sqrt(len(drawn))


def test_scaled_delays_are_the_scaled_family():
    law, n, r = order_law(lj.schemes.fastest_k(M, 3), lj.Pareto(1.0, 1.5))
    assert isinstance(law, Scaled)
    assert (n, r) == (M, 4)
    same, _, _ = order_law(lj.gc(M, 4), DELAYS)
    assert same is DELAYS
    scaled, plain = Scaled(lj.Pareto(1.0, 1.5), 2.0), lj.Pareto(2.0, 1.5)
    x = np.array([0.0, 0.5, 30.0])
    for name in ("inverse_hazard", "log_inverse_hazard"):
        np.testing.assert_allclose(getattr(scaled, name)(x), getattr(plain, name)(x), rtol=1e-14)
    np.testing.assert_allclose(scaled.hazard(x), plain.hazard(x), rtol=1e-14)
    assert np.array_equal(scaled.kinks, plain.kinks)


def test_an_infinite_mean_of_the_fastest_names_what_counts():
    pareto = lj.Pareto(1.0, 0.4)
    with pytest.warns(RuntimeWarning, match=r"r \* shape = 0.8 <= 1, where r = n - F \+ 1 = 2"):
        iteration_costs(lj.schemes.fastest_k(M, 5), pareto)


@dataclasses.dataclass(frozen=True)
class NoTree(Decoding):
    """A decoding that JAX does not see through."""


@pytree("waited", "weighed")
class Own(Decoding):
    """A decoding that gives what it is told to."""

    waited: object
    weighed: object

    def wait(self, arrival):
        return self.waited(arrival)

    def weights(self, taken):
        return self.weighed(taken)


RIGHT = (lambda arrival: first(arrival, 3), lambda taken: jnp.ones(taken.shape))
WRONG = [
    ((lambda arrival: arrival.max(-1), RIGHT[1]), r"`wait` of decoding=Own gives .*; give \(tim"),
    ((lambda arrival: (arrival, arrival > 0), RIGHT[1]),
     r"times of `wait` of decoding=Own is an array \(1, 6\).*; give an array \(1,\) of float64"),
    ((lambda arrival: (arrival.max(-1), arrival), RIGHT[1]), r"taken of .*; give .* of bool"),
    ((RIGHT[0], lambda taken: jnp.ones(3)),
     r"`weights` of decoding=Own is an array \(3,\) .*; give an array \(1, 6\) of real numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "message"), WRONG)
def test_a_decoding_that_gives_the_wrong_thing_is_told_what_to_give(problem, parts, message):
    with pytest.raises(ValueError, match=message):
        run_of(problem, lj.Scheme(M, 1, 1, decoding=Own(*parts)))
    assert run_of(problem, lj.Scheme(M, 1, 1, decoding=Own(*RIGHT))).uplink[-1] == 3 * K


BAD = [
    (lambda: schemes.erasure_head(M, 4, 2), r"decoding has blocks of 4 workers; give the scheme"),
    (lambda: schemes.erasure_head(M, 2, 7), r"num_waited=7 exceeds the 6 workers of a group"),
    (lambda: dataclasses.replace(lj.gc(M, 2), decoding=NoTree()), r"is no pytree; decorate"),
    (lambda: lj.schemes.fastest_k(M, 7), r"num_waited=7 exceeds the 6 workers of a group; give"),
    (lambda: lj.schemes.fastest_k(M, 0), r"num_waited=0 is too small; give"),
    (lambda: lj.schemes.fastest_k(2.5, 1), r"num_workers=2.5 is not a whole number; give"),
    (lambda: schemes.stochastic_gc(M, 7, 3), r"redundancy=7 exceeds group_size=6; give"),
    (lambda: schemes.stochastic_gc(M, 3, 3, BALANCED), r"assignment has up to 4 .*; give red"),
    (lambda: schemes.stochastic_gc(M, 2, 3, 2 * np.eye(M)), r"assignment holds 2.0; give 0 and 1"),
    (lambda: Rescaled(np.array([[1, 0], [1, 0]]), 1), r"column 1 of assignment is zero; give a w"),
    (lambda: schemes.approximate_gc(M, 3), r"num_waited=None and deadline=None; give exactly one"),
    (lambda: schemes.approximate_gc(M, 3, 2, 1.0), r"num_waited=2 and deadline=1.0; give exactly"),
    (lambda: schemes.approximate_gc(M, 0, 2), r"redundancy=0 is too small; give"),
    (lambda: schemes.approximate_gc(M, 3, deadline=0.0), r"deadline=0.0 must be positive"),
    (lambda: schemes.approximate_gc(M, 3, deadline=np.ones(2)), r"deadline has shape \(2,\)"),
    (lambda: schemes.approximate_gc(M, 1, 2, encoding=np.eye(5)), r"encoding has shape \(5, 5\)"),
    (lambda: LeastSquares(np.ones(3), 1), r"encoding has shape \(3,\); give \(n, n\)"),
    (lambda: lj.schemes.first_decodable(M, 2, CYCLIC), r"decoding.code has group_size=6 and red"),
    (lambda: lj.Scheme(M, 1, M, 1.0, 4, "worker", decoding=Rescaled(np.ones((M, M)), 3)),
     r"trigger='worker' needs .* decoding=Rescaled does not recover; give trigger='server'"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), BAD)
def test_bad_parts_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def shared_link(problem, simulate, **sizes):
    cluster = lj.Cluster(link=lj.Link(shared=True))
    return simulate(problem, FASTEST, DELAYS, KEY, num_iterations=2, cluster=cluster, **sizes)


RUNS = [
    (lambda p: lj.descend(p, DEADLINE, num_iterations=2),
     r"decoding=LeastSquares is not exact, .* give the scheme and delays to simulate"),
    (lambda p: lj.step(p, FASTEST, lj.init(p, FASTEST)), r"decoding=Rescaled is not exact"),
    (lambda p: run_of(p, FASTEST, sampler="direct"),
     r"sampler='direct' does not say who arrives, as decoding=Rescaled needs; give sampler="),
    (lambda p: run_of(p, FASTEST, exact_recovery=False),
     r"decoding=Rescaled has weights or messages of its own; give exact_recovery=True"),
    (lambda p: run_of(p, BLOCKS, exact_recovery=False, code=CYCLIC),
     r"code is given but the scheme's decoding has one; give code=None"),
    (lambda p: shared_link(p, lj.simulate), r"decoding=Rescaled needs messages that arrive"),
    (lambda p: shared_link(p, lj.simulate_batch, num_realisations=2),
     r"decoding=Rescaled needs messages that arrive"),
    (lambda _: iteration_costs(DEADLINE, DELAYS),
     r"decoding=LeastSquares takes no fixed number of messages.*; sample with simulate"),
    (lambda _: lj.expected_wall_clock(BLOCKS, DELAYS, np.ones((2, 1), bool)),
     r"decoding=FirstDecodable takes no fixed .* use grouping"),
    (lambda p: iteration_bound(p, FASTEST, 1e-3),
     r"decoding=Rescaled is not exact, so the bounds of full gradients do not hold"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), RUNS)
def test_what_a_decoding_cannot_do_is_refused(problem, call, message):
    with pytest.raises(ValueError, match=message):
        call(problem)


def test_the_sampler_follows_the_decoding():
    kinds = {name: clock_of(scheme, DELAYS).sees for name, scheme in SCHEMES.items()}
    assert set(kinds.values()) == {"groups"}
