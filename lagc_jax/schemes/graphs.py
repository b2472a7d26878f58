"""Assignments drawn from random graphs, for decodings that are approximate (`LeastSquares`)."""

import numpy as np

from lagc_jax._checks import code_sizes, whole_number

SWAPS = 20  # of an edge's ends, on average: far more than mixing takes


def regular_graph_assignment(group_size: int, redundancy: int, seed: int = 0) -> np.ndarray:
    """Workers are the edges of a random `r`-regular graph, its vertices blocks of partitions.

    The graph has `2 n / r` vertices, each a block of `r / 2` partitions, and a worker holds the
    blocks at both ends of its edge; so it holds `r` partitions, and `r` workers hold each. The
    least-squares weights are then the paper's optimal decoding. (Glasgow and Wootters, "Approximate
    Gradient Coding with Optimal Decoding", 2021, arXiv 2006.09638.) The graph is simple: a
    circulant one whose edges have swapped their ends at random. Gives (n, n), 1 where a worker
    (row) holds a partition (column), 0 elsewhere.

    Raises:
        ValueError: unless `r` is even, `r / 2` divides `n` and `2 n / r` vertices are more than
            `r`.

    >>> regular_graph_assignment(12, 4).sum(0).max()
    np.float64(4.0)
    """
    n, r = code_sizes(group_size, redundancy)
    whole_number("seed", seed, minimum=0)
    half, vertices = r // 2, 2 * n // r
    if r % 2 or n % half or vertices <= r:
        raise ValueError(
            f"redundancy={r} with group_size={n} makes no {r}-regular graph of n edges; give an "
            f"even redundancy whose half divides group_size, with redundancy**2 < 2 * group_size"
        )
    draws = np.random.default_rng(seed)
    first = np.tile(np.arange(vertices), half)
    edges = np.stack([first, (first + np.repeat(np.arange(half) + 1, vertices)) % vertices], axis=1)
    known = {frozenset(edge) for edge in edges.tolist()}
    for one, other in draws.integers(n, size=(SWAPS * n, 2)):
        (a, b), (c, d) = edges[one].tolist(), draws.permutation(edges[other]).tolist()
        swapped = frozenset((a, d)), frozenset((c, b))
        if len({a, b, c, d}) == 4 and not known & set(swapped):
            known -= {frozenset((a, b)), frozenset((c, d))}
            known |= set(swapped)
            edges[one], edges[other] = (a, d), (c, b)
    ends = (edges[:, :, None] == np.arange(vertices)).any(1)
    return np.repeat(ends, half, axis=1).astype(float)


def bernoulli_assignment(group_size: int, redundancy: int, seed: int = 0) -> np.ndarray:
    """A worker holds each partition with probability `r / n`: loads differ, `r` is their mean.

    (Charles, Papailiopoulos and Ellenberg, "Approximate Gradient Coding via Sparse Random Graphs",
    2017, arXiv 1711.06771, the Bernoulli gradient code.) A worker that holds none is given one at
    random, so that everybody has work, of which the paper says nothing. Gives (n, n) as
    `regular_graph_assignment`.

    >>> bernoulli_assignment(12, 12).min()
    np.float64(1.0)
    """
    n, r = code_sizes(group_size, redundancy)
    whole_number("seed", seed, minimum=0)
    draws = np.random.default_rng(seed)
    held = draws.random((n, n)) < r / n
    spare = draws.integers(n, size=n)
    held |= ~held.any(1, keepdims=True) & (np.arange(n) == spare[:, None])
    return held.astype(float)
