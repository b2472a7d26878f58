"""Networks of comparisons against sorts, and what is built on them against loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagc_jax._sorting import MAX_VALUES, comparisons, first, queue, smallest
from lagc_jax.law.inverse import make_inverse


@pytest.mark.parametrize("n", range(1, 11))
def test_a_network_that_sorts_zeros_and_ones_sorts_everything(n):
    """Knuth's zero-one principle, for every place."""
    words = np.array(list(itertools.product([0, 1], repeat=n)))
    for place in range(n):
        wires = words.copy()
        for i, j in comparisons(n, place):
            wires[:, [i, j]] = np.sort(wires[:, [i, j]], axis=1)
        assert (wires[:, place] == np.sort(words, axis=1)[:, place]).all()


def test_comparisons_that_do_not_bear_on_a_place_are_left_out():
    assert len(comparisons(64, 0)) == len(comparisons(64, 63)) == 63
    assert len(comparisons(64, 31)) < 543  # of the whole network


@pytest.mark.parametrize("n", [2, 7, 33, MAX_VALUES, MAX_VALUES + 1])
def test_the_smallest_are_those_of_a_stable_sort(n):
    rng = np.random.default_rng(n)
    values = np.round(rng.exponential(size=(3, 40, n)) * 4) / 4  # with ties
    values[rng.random(values.shape) < 0.2] = np.inf
    values[:, :5] = np.where(rng.random((3, 5, n)) < 0.5, np.nan, values[:, :5])
    for count in sorted({1, n // 2, n}):
        known = np.sort(values, axis=-1)[..., count - 1]
        np.testing.assert_array_equal(smallest(jnp.asarray(values), count), known)
        found, taken = first(jnp.asarray(values), count)
        np.testing.assert_array_equal(found, known)
        places = np.argsort(np.argsort(values, axis=-1, kind="stable"), axis=-1)
        sound = ~np.isnan(known)
        np.testing.assert_array_equal(np.asarray(taken)[sound], places[sound] < count)


@pytest.mark.parametrize("n", [1, 6, 20])
def test_a_link_serves_one_after_another(n):
    rng = np.random.default_rng(n)
    ready = np.round(rng.exponential(size=(50, n)) * 8) / 8
    ready[rng.random(ready.shape) < 0.3] = np.inf
    expected = np.empty_like(ready)
    for row, leave in zip(ready, expected, strict=True):
        free = 0.0
        for m in np.argsort(row, kind="stable"):
            leave[m] = free = max(free, row[m]) + 0.25
    np.testing.assert_array_equal(queue(jnp.asarray(ready), jnp.asarray(0.25)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_segment_of_a_probability_is_never_the_next_one(dtype):
    """Against exponents and digits from NumPy's frexp, also a rounding below a segment's end."""
    inverse = make_inverse(5, 2, np.dtype(dtype))
    octaves, splits = inverse.octaves, inverse.splits
    ends = (2.0 ** -np.arange(2, 60 if dtype is np.float64 else 30)).astype(dtype)
    ends = np.concatenate([ends, ends * dtype(1.25)])
    above = np.concatenate([ends, np.nextafter(ends, dtype(0)), np.nextafter(ends, dtype(1))])
    mantissa, exponent = np.frexp(above.astype(np.float64))
    place = (2 * mantissa - 1) * splits
    segment = (octaves + exponent - 1) * splits + np.floor(place).astype(int)
    segment += octaves * splits  # of the upper tail
    expected = np.zeros_like(above)
    for row in inverse.table[::-1]:
        expected = expected * (place - np.floor(place)).astype(dtype) + row[segment]
    found = jax.jit(inverse._look_up)(above, 1 - above)
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)
