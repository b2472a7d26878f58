"""Gradient codes: every admissible set of survivors decodes the sum of the gradients."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagc_jax.schemes import GradientCode, cyclic_repetition, fractional_repetition, worst_condition

CODES = [
    (make, n, r)
    for n in range(1, 9)
    for r in range(1, n + 1)
    for make in (cyclic_repetition, fractional_repetition)
    if make is cyclic_repetition or n % r == 0
]
# Rounding, a few units of it a product, is amplified by at most this worst condition up to n = 8;
# `test_conditions_of_small_codes_are_small` checks it.
SMALL_CONDITION = 100
ROUNDING = SMALL_CONDITION * 10 * np.finfo(float).eps


def survivor_sets(n, smallest):
    """All sets of at least `smallest` of n workers, bool (S, n)."""
    sets = np.array(list(itertools.product([False, True], repeat=n)))
    return sets[sets.sum(1) >= smallest]


def draw_gradients(n, d=3):
    return np.random.default_rng(n).normal(size=(n, d))


decoding_vectors = jax.jit(GradientCode.decoding_vector)


@jax.jit
def recover(code, gradients, survivors):
    """Encode, lose the messages of the others (to NaN, so that none may be read), decode."""
    messages = jnp.where(survivors[..., None], code.encode(gradients), jnp.nan)
    return code.decode(messages, survivors)


@pytest.mark.parametrize(("make", "n", "r"), CODES)
def test_rows_have_the_support_of_the_scheme_and_every_straggler_set_decodes(make, n, r):
    code, gradients = make(n, r), draw_gradients(n)
    assert (code.group_size, code.redundancy, code.num_waited) == (n, r, n - r + 1)
    worker, partition = np.indices((n, n))
    cyclic, blocks = (partition - worker) % n < r, worker // r == partition // r
    support = blocks if make is fractional_repetition else cyclic
    np.testing.assert_array_equal(np.asarray(code.encoding) != 0, support)
    survivors = survivor_sets(n, n - r + 1)
    expected = np.tile(gradients.sum(0), (len(survivors), 1))
    decoded = recover(code, gradients, survivors)
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("n", [1, 5, 8])
@pytest.mark.parametrize("make", [cyclic_repetition, fractional_repetition])
def test_extreme_redundancies_are_identity_and_replication(make, n):
    np.testing.assert_allclose(make(n, 1).encoding, np.eye(n), atol=1e-15)
    # Replication is up to the common factor that makes an entry of largest modulus 1.
    np.testing.assert_allclose(make(n, n).encoding, np.ones((n, n)), rtol=1e-14)


@pytest.mark.parametrize(("n", "r"), [(5, 3), (6, 3), (7, 2)])
def test_decoding_vectors_are_supported_on_survivors_and_recover_ones(n, r):
    code = cyclic_repetition(n, r)
    survivors = survivor_sets(n, n - r + 1)
    vectors = np.asarray(decoding_vectors(code, survivors))
    assert (vectors[~survivors] == 0).all()
    np.testing.assert_allclose(vectors @ np.asarray(code.encoding), 1.0, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("make", [cyclic_repetition, fractional_repetition])
def test_too_few_survivors_decode_to_nan_unless_they_happen_to_decode(make):
    code, gradients = make(6, 3), draw_gradients(6)
    survivors = np.asarray(~survivor_sets(6, 3))  # at most 3 of the 4 that are needed
    matrix, ones = np.asarray(code.encoding), np.ones(6)
    least = [np.linalg.lstsq(matrix[rows].T, ones)[0] @ matrix[rows] for rows in survivors]
    happen = np.abs(np.array(least) - 1).max(1) < ROUNDING
    assert 0 < happen.sum() < len(happen)
    vectors = np.asarray(decoding_vectors(code, survivors))
    assert np.array_equal(np.isnan(vectors).all(1), ~happen)
    np.testing.assert_allclose(vectors[happen] @ matrix, 1.0, rtol=0, atol=ROUNDING)
    found = np.asarray(recover(code, gradients, survivors))
    assert np.array_equal(np.isnan(found).all(1), ~happen)


def test_codes_work_with_and_without_jit_and_vmap():
    code, gradients = cyclic_repetition(6, 3), draw_gradients(6)
    survivors = survivor_sets(6, 4)
    decoded = jax.vmap(recover, in_axes=(None, None, 0))(code, gradients, survivors)
    eager = [code.decode(code.encode(gradients), alive) for alive in survivors[:2]]
    np.testing.assert_allclose(decoded[:2], eager, rtol=0, atol=ROUNDING)
    expected = np.tile(gradients.sum(0), (len(survivors), 1))
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=ROUNDING)


@settings(deadline=None, derandomize=True, max_examples=6)
@given(st.data())
def test_larger_codes_decode_random_survivors(data):
    n = data.draw(st.integers(9, 24))
    r = data.draw(st.integers(1, n))
    code, gradients = cyclic_repetition(n, r), draw_gradients(n)
    stragglers = data.draw(st.sets(st.integers(0, n - 1), max_size=r - 1))
    alive = np.isin(np.arange(n), list(stragglers), invert=True)
    # The condition bounds the amplification of relative errors of messages of order n; the
    # pseudoinverse has one of the same order.
    tolerance = 10 * n * worst_condition(code) * np.finfo(float).eps
    decoded = recover(code, gradients, alive)
    np.testing.assert_allclose(decoded, gradients.sum(0), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("n", "r"), [(1, 1), (6, 2), (8, 4), (12, 3), (9, 9)])
def test_condition_of_fractional_repetition_is_one(n, r):
    assert worst_condition(fractional_repetition(n, r)) == pytest.approx(1, rel=1e-13)


def amplification(encoding, survivors):
    """`max_j sum_w |a_w| |B_wj|` for one set, its decoding vector from least squares."""
    rows = encoding[np.array(survivors)]
    vector = np.linalg.lstsq(rows.T, np.ones(encoding.shape[1]))[0]
    return (np.abs(vector) @ np.abs(rows)).max()


@pytest.mark.parametrize(("n", "r"), [(5, 2), (6, 3), (7, 5), (8, 3), (8, 4), (8, 5)])
def test_condition_is_the_maximum_over_all_sets_reached_at_consecutive_ones(n, r):
    code = cyclic_repetition(n, r)
    encoding, waited = np.asarray(code.encoding), n - r + 1
    sets = itertools.combinations(range(n), waited)
    worst = max(amplification(encoding, survivors) for survivors in sets)
    consecutive = max(amplification(encoding, (w + np.arange(waited)) % n) for w in range(n))
    # Rounding of the decoding vectors is amplified by the condition.
    assert worst_condition(code) == pytest.approx(worst, rel=1e-10)
    assert consecutive == pytest.approx(worst, rel=1e-10)


def test_conditions_of_small_codes_are_small():
    found = {
        (n, r): worst_condition(cyclic_repetition(n, r))
        for n in range(1, 9)
        for r in range(1, n + 1)
    }
    extremes = [value for (n, r), value in found.items() if r in (1, n)]
    np.testing.assert_allclose(extremes, 1, rtol=1e-12)
    assert 1 < max(found.values()) < SMALL_CONDITION


@pytest.mark.parametrize(
    ("n", "r", "quoted"), [(10, 5, 2e2), (16, 8, 9e2), (24, 11, 1e6), (32, 14, 5e6)]
)
def test_cyclic_condition_is_as_quoted(n, r, quoted):
    condition = worst_condition(cyclic_repetition(n, r))
    assert float(f"{condition:.0e}") == quoted


@pytest.mark.parametrize(
    ("n", "worst_r", "condition"), [(10, 5, 2e2), (16, 9, 1e4), (24, 13, 1e6), (32, 17, 2e8)]
)
def test_cyclic_condition_is_worst_near_half_redundancy(n, worst_r, condition):
    """For even n an odd redundancy is the worse one, n/2 or the next above it the worst."""
    conditions = {
        r: worst_condition(cyclic_repetition(n, r, tolerance=math.inf))
        for r in range(max(1, n // 2 - 3), n // 2 + 4)
    }
    # n = 10 has two equal ones up to rounding.
    assert conditions[worst_r] == pytest.approx(max(conditions.values()), rel=1e-6)
    assert float(f"{conditions[worst_r]:.0e}") == condition


def test_codes_that_lose_the_asked_precision_are_refused():
    message = "redundancy=17 with group_size=32 decodes with a relative error of .* above tolerance"
    with pytest.raises(ValueError, match=message):
        cyclic_repetition(32, 17)
    cyclic_repetition(32, 17, tolerance=1e-6)
    with pytest.raises(ValueError, match=r"in float32, above tolerance=3\.5e-04"):
        cyclic_repetition(16, 9, dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"above tolerance=1\.0e-15"):
        cyclic_repetition(8, 4, tolerance=1e-15)


@pytest.mark.parametrize(
    ("make", "sizes", "message"),
    [
        (fractional_repetition, (6, 4), "redundancy=4 does not divide group_size=6.*give a div"),
        (fractional_repetition, (6, 7), "redundancy=7 exceeds group_size=6; give"),
        (cyclic_repetition, (6, 7), "redundancy=7 exceeds group_size=6; give"),
        (cyclic_repetition, (6, 0), "redundancy=0 is too small; give"),
        (cyclic_repetition, (6.5, 2), "group_size=6.5 is not a whole number; give"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, sizes, message):
    with pytest.raises(ValueError, match=message):
        make(*sizes)


@pytest.mark.parametrize("make", [cyclic_repetition, fractional_repetition])
def test_float32_codes_decode_in_float32(make):
    code, gradients = make(6, 3, dtype=jnp.float32), draw_gradients(6).astype(np.float32)
    survivors = survivor_sets(6, 4)
    decoded = recover(code, gradients, survivors)
    assert decoded.dtype == jnp.float32
    tolerance = SMALL_CONDITION * 10 * np.finfo(np.float32).eps
    np.testing.assert_allclose(
        decoded, np.tile(gradients.sum(0), (len(survivors), 1)), rtol=0, atol=tolerance
    )
