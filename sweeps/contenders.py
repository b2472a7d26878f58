"""What the benchmark measures: the engine, and what one would write in its place."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lagc_jax
from lagc_jax.clock import clock_of
from lagc_jax.summary import realise

KEY_SEED = 0


class Work(NamedTuple):
    """What every clock contender simulates.

    Attributes:
        scheme: `M`, `G`, `r` and trigger, as arguments of `lagc_jax.lagc`.
        selected: (K, G) bool, the path's selections.
        realisations: `R`.
        dtype: precision of the times.
        repeats: how often it is measured.
    """

    scheme: tuple[int, int, int]
    selected: np.ndarray
    realisations: int
    dtype: str
    repeats: int


class Cost(NamedTuple):
    """What a contender took.

    Attributes:
        seconds: for one simulated iteration, median of the repeats.
        first: how many times longer the first call took, with compilation.
        memory: peak resident memory of its process beyond that of its imports, MiB.
        answer: its mean time, or any number to check.
    """

    seconds: float
    first: float
    memory: float
    answer: float


def measure(run: Callable[[], Any], iterations: int, repeats: int) -> Cost:
    """Time a function that simulates so many iterations and returns a number to check."""
    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    answer = float(run())
    first = time.perf_counter() - start
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - imports) / 1024
    later = statistics.median(seconds)
    return Cost(later / iterations, first / later, memory, answer)


def numpy_loop(work: Work) -> Cost:
    """Iteration by iteration, on a small array of every worker's time."""
    (M, G, r), K = work.scheme, len(work.selected)
    n, part, rng = M // G, 4, np.random.default_rng(KEY_SEED)
    dtype = np.dtype(work.dtype).type

    def run() -> float:
        total = 0.0
        for _ in range(part):
            for selected in work.selected:
                times = np.sort(rng.standard_exponential((G, n), dtype=dtype), axis=1)
                total += r * float(times[selected, n - r].max(initial=0))
        return total / part

    return measure(run, part * K, 1)


def numpy_vectorised(work: Work) -> Cost:
    """Arrays over realisations and iterations, in blocks of realisations."""
    (M, G, r), K = work.scheme, len(work.selected)
    n, rng, block = M // G, np.random.default_rng(KEY_SEED), max(1, 2_000_000 // (K * M))
    part = min(work.realisations, 16 * block)

    def run() -> float:
        totals = []
        for _ in range(0, part, block):
            times = rng.standard_exponential((block, K, G, n), dtype=np.dtype(work.dtype).type)
            times.partition(n - r, axis=-1)
            slowest = np.where(work.selected, times[..., n - r], 0).max(-1)
            totals.append(r * slowest.sum(-1, dtype=np.float64))
        return float(np.mean(totals))

    return measure(run, -(-part // block) * block * K, work.repeats)


def numba_parallel(work: Work, lazy: bool = False) -> Cost:
    """One realisation at a time, realisations over all cores; every worker's time is drawn."""
    import numba  # type: ignore

    (M, G, r), selected = work.scheme, work.selected
    n, F = M // G, M // G - r + 1
    part = min(work.realisations, max(16, 40_000_000 // (M * len(selected))))

    @numba.njit(parallel=True)
    def run() -> np.ndarray:
        totals = np.zeros(part)
        for i in numba.prange(part):
            fastest = np.empty(F)
            total = 0.0
            for k in range(selected.shape[0]):
                slowest = 0.0
                for g in range(G):
                    if lazy and not selected[k, g]:
                        continue
                    fastest[:] = np.inf
                    for _ in range(n):
                        # Insertion keeps the F fastest workers of the group in order.
                        tau = -np.log(1.0 - np.random.random())  # noqa: NPY002
                        j = F
                        while j > 0 and tau < fastest[j - 1]:
                            if j < F:
                                fastest[j] = fastest[j - 1]
                            j -= 1
                        if j < F:
                            fastest[j] = tau
                    if selected[k, g]:
                        slowest = max(slowest, r * fastest[F - 1])
                total += slowest
            totals[i] = total
        return totals

    return measure(lambda: run().mean(), part * selected.shape[0], work.repeats)


def numba_lazy(work: Work) -> Cost:
    """The same, drawing only the workers of selected groups."""
    return numba_parallel(work, lazy=True)


def through_jax(work: Work, sampler: str, part: int, quantiles: tuple[float, ...] = ()) -> Cost:
    """The library, with the sampler of its name."""
    scheme, K = lagc_jax.lagc(*work.scheme), len(work.selected)
    delays = lagc_jax.Exponential(jnp.ones((), work.dtype))
    times = clock_of(scheme, delays, sampler=sampler).along(jnp.asarray(work.selected))
    key, end, levels = jax.random.key(KEY_SEED), jnp.array([K]), jnp.asarray(quantiles, float)

    def run() -> jax.Array:
        mean = realise(times, key, end, True, levels, num_realisations=part).mean[0]
        return mean.block_until_ready()

    return measure(run, part * K, work.repeats)


def jax_workers(work: Work) -> Cost:
    """jax.vmap of the worker-by-worker clock."""
    return through_jax(work, "workers", min(work.realisations, 512))


def engine(work: Work) -> Cost:
    """One uniform an iteration, fused with the sum."""
    return through_jax(work, "direct", work.realisations)


def engine_million(work: Work) -> Cost:
    """The engine on a million realisations, with quantiles: what matters here is its memory."""
    return through_jax(work, "direct", 1_000_000 if work.realisations > 256 else 1000, (0.05, 0.95))


def jax_uniforms(work: Work) -> Cost:
    """Limit: as many uniform numbers as iterations, from jax.random.uniform."""
    shape = (min(work.realisations, 8192), len(work.selected))
    draw = jax.jit(lambda key: jax.random.uniform(key, shape, work.dtype))
    key = jax.random.key(KEY_SEED)
    return measure(lambda: draw(key).block_until_ready()[0, 0], shape[0] * shape[1], work.repeats)


CLOCKS: dict[str, Callable[[Work], Cost]] = {
    "NumPy loop": numpy_loop,
    "NumPy vectorised": numpy_vectorised,
    "numba, all cores": numba_parallel,
    "numba, selected groups alone": numba_lazy,
    "jax.vmap over workers": jax_workers,
    "engine": engine,
    "engine, a million with quantiles": engine_million,
    "limit: jax.random.uniform": jax_uniforms,
}


class Points(NamedTuple):
    """What every path contender runs: LAG on the synthetic problem at points of (xi, step size).

    Attributes:
        xi, step_size: (P,) hyperparameters; step sizes in units of 1/L.
        num_workers, num_features, iterations: `M`, `d` and `K`.
        repeats: how often it is measured.
    """

    xi: np.ndarray
    step_size: np.ndarray
    num_workers: int
    num_features: int
    iterations: int
    repeats: int


def paths_problem(points: Points) -> lagc_jax.Problem:
    """The problem that all path contenders share."""
    key = jax.random.key(KEY_SEED)
    return lagc_jax.synthetic_linear_regression(key, points.num_workers, points.num_features)


def numpy_loop_paths(
    points: Points, gradients: Callable[[np.ndarray, np.ndarray], np.ndarray], problem: Any
) -> Cost:
    """A loop over points and iterations, given the groups' gradients (M, d) at one iterate."""
    best, smoothness = np.asarray(problem.minimizer), np.asarray(problem.smoothness)
    L, part = float(problem.total_smoothness), min(4, len(points.xi))

    def path(xi: float, alpha: float) -> float:
        M, d = points.num_workers, points.num_features
        theta, hat, stale = np.zeros(d), np.zeros((M, d)), np.zeros((M, d))
        steps: list[float] = []
        for k in range(points.iterations):
            moved = smoothness**2 * ((hat - theta) ** 2).sum(1)
            chosen = (moved > xi * sum(steps[-10:]) / (alpha * M) ** 2) | (k == 0)
            stale[chosen] = gradients(theta, chosen)
            hat[chosen] = theta
            step = -alpha * stale.sum(0)
            theta = theta + step
            steps.append(float(step @ step))
        return float(np.linalg.norm(theta - best))

    def run() -> float:
        settings = zip(points.xi[:part], points.step_size[:part] / L, strict=True)
        return max(path(xi, alpha) for xi, alpha in settings)

    return measure(run, part * points.iterations, 1)


def numpy_paths(points: Points) -> Cost:
    """Every worker's gradient from its own data, as the definition says."""
    problem: Any = paths_problem(points)
    X, y = np.asarray(problem.X), np.asarray(problem.y)

    def gradients(theta: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        every = [X[m].T @ (X[m] @ theta - y[m]) for m in range(points.num_workers)]
        return np.array(every)[chosen]

    return numpy_loop_paths(points, gradients, problem)


def numpy_gram_paths(points: Points) -> Cost:
    """Gradients of the selected workers alone, from Gram matrices made once."""
    problem: Any = paths_problem(points)
    gram, tilt, best = (np.asarray(a) for a in (problem.gram, problem.tilt, problem.minimizer))
    return numpy_loop_paths(
        points, lambda theta, chosen: gram[chosen] @ (theta - best) + tilt[chosen], problem
    )


def engine_paths(points: Points) -> Cost:
    """All points as batches of 1024, which bounds the memory."""
    problem = paths_problem(points)
    alphas = points.step_size / float(problem.total_smoothness)

    def one(point: tuple[jax.Array, jax.Array]) -> jax.Array:
        scheme = lagc_jax.lag(points.num_workers, point[0])
        path = lagc_jax.descend(
            problem, scheme, num_iterations=points.iterations, step_size=point[1]
        )
        return jnp.linalg.norm(path.theta - problem.minimizer)

    batch = jax.jit(lambda *values: jax.lax.map(one, values, batch_size=min(1024, len(values[0]))))
    values = jnp.asarray(points.xi), jnp.asarray(alphas)

    def run() -> jax.Array:
        return batch(*values)[:4].max().block_until_ready()

    return measure(run, len(points.xi) * points.iterations, points.repeats)


def jax_products(points: Points) -> Cost:
    """Limit: the path's products alone, (d, M d) with (M d, 128), at jax's speed."""
    d, width, count = points.num_features, 128, 400
    A = jnp.asarray(np.random.default_rng(0).normal(size=(d, points.num_workers * d)))

    def body(_: int, x: jax.Array) -> jax.Array:
        return x.at[:d].add(1e-9 * (A @ x))

    multiply = jax.jit(lambda x: jax.lax.fori_loop(0, count, body, x))
    x = jnp.ones((points.num_workers * d, width))
    run = lambda: multiply(x).block_until_ready()[0, 0]  # noqa: E731
    return measure(run, width * count, points.repeats)


def jax_large_product(points: Points) -> Cost:
    """Limit: one large square product, for the arithmetic of one iteration of one path."""
    size = 1500
    A = jnp.asarray(np.random.default_rng(0).normal(size=(size, size)))
    multiply = jax.jit(jnp.matmul)
    share = size**3 / (points.num_workers * points.num_features**2)
    run = lambda: multiply(A, A).block_until_ready()[0, 0]  # noqa: E731
    return measure(run, int(share), points.repeats)


PATHS: dict[str, Callable[[Points], Cost]] = {
    "NumPy loop": numpy_paths,
    "NumPy loop on Gram matrices": numpy_gram_paths,
    "engine": engine_paths,
    "limit: products of these sizes": jax_products,
    "limit: large products": jax_large_product,
}
