"""Rows dealt over workers: none lost, none doubled, filling invisible, skew as asked for."""

import jax
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.problems.data import load_digits_split

S, D = 103, 4
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(S, D)), rng.integers(5, size=S)


@pytest.mark.parametrize("alpha", [None, 1e-3, 0.5, 1e6])
@pytest.mark.parametrize("num_workers", [1, 7, 100, S])
def test_every_row_goes_to_one_worker_and_the_rest_is_filling(rows, num_workers, alpha):
    X, y = rows
    shards = lj.problems.shard(X, y, num_workers, KEY, alpha)
    kept = shards.weights > 0
    assert (shards.weights == kept).all()
    assert (kept.sum(axis=1) >= 1).all()
    assert kept.sum(axis=1).max() == kept.shape[1]
    # Rows are distinct, so sorted rows with their labels are equal exactly if none is lost.
    dealt = np.column_stack([shards.X[kept], shards.y[kept]])
    np.testing.assert_array_equal(
        dealt[np.lexsort(dealt.T)], np.column_stack(rows)[np.lexsort(np.column_stack(rows).T)]
    )
    assert not shards.X[~kept].any()
    assert not shards.y[~kept].any()
    if alpha is None:
        assert np.ptp(kept.sum(axis=1)) <= 1


def test_draws_follow_the_key(rows):
    first, again, other = (lj.problems.shard(*rows, 7, jax.random.key(i), 0.5) for i in (0, 0, 1))
    np.testing.assert_array_equal(first.X, again.X)
    assert first.X.shape != other.X.shape or (first.X != other.X).any()


def shares(shards, num_classes):
    """Rows of every class that every worker holds, over those of the class: (M, C)."""
    kept = shards.weights > 0
    counts = [np.bincount(y[k], minlength=num_classes) for y, k in zip(shards.y, kept, strict=True)]
    return np.array(counts) / np.sum(counts, axis=0)


def test_shares_of_a_class_have_the_dirichlet_variance():
    """A share has mean 1/M and variance (1/M)(1 - 1/M)/(M alpha + 1) (section 49, Kotz 2000)."""
    C, rows_each, M, alpha = 400, 1000, 5, 0.7
    y = np.repeat(np.arange(C), rows_each)
    drawn = shares(lj.problems.shard(np.zeros((len(y), 1)), y, M, KEY, alpha), C)
    variance = (1 / M) * (1 - 1 / M) / (M * alpha + 1)
    # Squared deviations of a Dirichlet share have a standard deviation of about 1.6 variances; over
    # 400 classes four standard errors (99.99 %) are 0.32.
    assert np.var(drawn[0]) == pytest.approx(variance, rel=0.32)
    np.testing.assert_allclose(drawn.mean(axis=1), 1 / M, atol=4 * np.sqrt(variance / C))


def test_concentration_spans_even_shares_and_one_worker_a_class():
    y = np.repeat(np.arange(20), 500)
    even, single = (
        shares(lj.problems.shard(np.zeros((len(y), 1)), y, 5, KEY, alpha), 20)
        for alpha in (1e8, 1e-4)
    )
    np.testing.assert_allclose(even, 0.2, atol=0.01)
    assert (single.max(axis=0) > 0.99).all()


def test_filling_is_invisible_to_every_loss(rows):
    """Problems over shards, one worker and more, have the same loss, optimum and constant."""
    X, y = rows
    for build, labels in (
        (lj.problems.multinomial_regression, y),
        (lj.logistic_regression, np.where(y > 2, 1, -1)),
    ):
        whole, cut = (
            build(s.X, s.y, l2=1.0 / s.X.shape[0], weights=s.weights)
            for s in (lj.problems.shard(X, labels, M, KEY, alpha=0.5) for M in (1, 7))
        )
        for name in ("optimum", "total_smoothness", "strong_convexity"):
            np.testing.assert_allclose(getattr(whole, name), getattr(cut, name), rtol=1e-11)
        np.testing.assert_allclose(whole.minimizer, cut.minimizer, rtol=1e-8, atol=1e-10)
    whole, cut = (
        lj.linear_regression(*lj.problems.shard(X, 1.0 * y, M, KEY, alpha=0.5)[:2]) for M in (1, 7)
    )
    np.testing.assert_allclose(whole.optimum, cut.optimum, rtol=1e-11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_workers=0), "num_workers=0 is too small; give"),
        (dict(num_workers=104), "X has 103 rows for num_workers=104; give at least one row"),
        (dict(alpha=0.0), "alpha=0.0 must be positive and finite; give alpha > 0"),
        (dict(alpha=np.ones(2)), r"alpha has shape \(2,\); give one number"),
        (dict(alpha=0.5, y=np.linspace(0, 1, 103)), "y holds 0.0098.*, which is no class"),
        (dict(y=np.zeros(3)), r"X has shape \(103, 4\) and y has shape \(3,\); give"),
        (dict(X=np.full((103, 4), np.inf)), r"X\[0, 0\]=inf is not finite"),
    ],
)
def test_bad_input_is_refused(rows, arguments, message):
    X, y = rows
    with pytest.raises(ValueError, match=message):
        lj.problems.shard(**(dict(X=X, y=y, num_workers=3, key=KEY) | arguments))


def test_digits_are_split_without_loss():
    split = load_digits_split(KEY)
    assert split.X_train.shape == (1438, 65)
    assert split.X_test.shape == (359, 65)
    X = np.concatenate([split.X_train, split.X_test])
    assert (X[:, -1] == 1).all()
    assert X.min() == 0
    assert X.max() == 1
    # All classes are about equally frequent in both parts: 36 of 359, standard deviation 5.
    assert (np.abs(np.bincount(split.y_test) - 36) < 20).all()
    np.testing.assert_array_equal(split.X_test, load_digits_split(KEY).X_test)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match=r"test_share=.* leaves a part empty; give"):
            load_digits_split(KEY, share)


def test_digits_without_scikit_learn_name_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r"not installed; pip install 'lagc_jax\[data\]'"):
        load_digits_split(KEY)
