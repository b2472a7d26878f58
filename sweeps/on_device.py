"""The engine on one device: checked against the CPU, then timed beside what the device can do.

Limits are numbers of `jax.random.bits`, copies of a large array and large matrix products, of the
precision in question, at the device's own speed. A clock's share of the first says how many times
its iterations would fit in so many numbers; a path's share of the last counts the products of the
groups' Gram matrices alone.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

import lagc_jax as lj
from lagc_jax._keys import bits
from lagc_jax.clock import clock_of
from lagc_jax.summary import realise

M, G, FEATURES, PATH_K = 12, 4, 50, 400
# Of means and gaps, against the CPU: functions like the logarithm differ in their last digit, and
# sums of thousands of terms in their order.
TOLERANCES = {"float32": 3e-5, "float64": 1e-11}
MINUTES = 7  # after which nothing long is begun


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        iterations: of a clock.
        realisations: of clocks, and of those drawn worker by worker.
        many: realisations of one clock at a time.
        paths: computed together.
        points: of a grid of xi and step sizes, as an experiment; a square.
        numbers: random words, or elements of an array that is copied.
        side: of the matrices of a product.
        repeats: of every measurement.
        sources: of times, that clocks draw from.
        precisions: of everything.
    """

    iterations: int
    realisations: tuple[int, int]
    many: tuple[int, ...]
    paths: int
    points: int
    numbers: int
    side: int
    repeats: int
    sources: tuple[str, ...]
    precisions: tuple[str, ...] = tuple(TOLERANCES)


SOURCES = ("exponential", "Pareto", "gamma", "unequal", "trace", "bursts")
LARGE = Sizes(2000, (2**20, 2**17), (10**6, 10**8), 1024, 10**4, 2**30, 8192, 5, SOURCES)
SIZES = {
    "quick": Sizes(200, (64, 64), (100,), 4, 4, 2**16, 64, 1, ("exponential",), ("float64",)),
    "cpu": Sizes(2000, (2**13, 2**10), (10**6,), 256, 100, 2**26, 2048, 3, SOURCES),
    "gpu": LARGE,
    # There a float64 is a pair of float32, with fewer digits and a smaller range.
    "tpu": LARGE._replace(numbers=2**28, precisions=("float32",)),
}


class Timing(NamedTuple):
    """Seconds of a first call, with compilation, and the median of later ones."""

    first: float
    later: float


def timed(run: Callable[[], Any], repeats: int) -> Timing:
    """Time a function of arrays until its results are there."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return Timing(seconds[0], statistics.median(seconds[1:]))


def problem_of(dtype: DTypeLike) -> lj.Problem:
    """The synthetic regression in a precision."""
    problem = lj.synthetic_linear_regression(jax.random.key(0), M, FEATURES)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), problem)


def clock_summary(
    scheme: lj.Scheme, delays: Any, sampler: str, selected: Any, realisations: int, levels: Any = ()
) -> Any:
    """Realisations of the time along a path."""
    times = clock_of(scheme, delays, sampler=sampler).along(jnp.asarray(selected))
    ends = jnp.array([len(selected)])
    return realise(times, jax.random.key(0), ends, True, jnp.array(levels), realisations)


def delays_of(name: str, dtype: DTypeLike) -> tuple[Any, str]:
    """A source of times, and how they are drawn."""
    one, each = jnp.ones((), dtype), jnp.linspace(1, 2, M, dtype=dtype)
    table = np.random.default_rng(0).exponential(size=(300, M)).astype(dtype)
    sources: dict[str, tuple[Any, str]] = {
        "exponential": (lj.Exponential(one), "direct"),
        "Pareto": (lj.Pareto(one, 3 * one), "direct"),
        "gamma": (lj.delays.Gamma(one, 2 * one), "direct"),
        "unequal": (lj.Exponential(each), "workers"),
        "trace": (lj.Trace(table), "workers"),
        "bursts": (lj.delays.Bursty(lj.Exponential(one), 5 * one, 0.1 * one, 0.2 * one), "workers"),
    }
    return sources[name]


def answers(sizes: Sizes, dtype: DTypeLike) -> dict[str, Any]:
    """Results to compare, on JAX's default device: arrays of numbers, of choices and of words."""
    found: dict[str, Any] = {"random words": bits(jax.random.key(2), (10_000,))}
    selected = np.random.default_rng(1).random((100, G)) < 0.4
    for name in sizes.sources:
        delays, sampler = delays_of(name, dtype)
        for r in (1, 2, M // G) if name == "exponential" else (2,):
            summary = clock_summary(lj.lagc(M, G, r), delays, sampler, selected, 200, (0.5,))
            found[f"clock, {name}, r = {r}"] = (summary.mean, summary.variance, summary.quantiles)
    problem = problem_of(dtype)
    step = 1 / float(problem.total_smoothness)
    for name, scheme in {"LAG": lj.lag(M, 0.1), "G-LAG": lj.g_lag(M, G, 0.1)}.items():
        path = lj.descend(problem, scheme, num_iterations=60, step_size=step)
        found[f"path, {name}"] = path.gap, path.selected
    delays, patience = lj.Exponential(jnp.ones((), dtype)), lj.Cluster(timeout=3.0)
    own = {"fastest-k": (lj.schemes.fastest_k(M, 9), None), "timeouts": (lj.lag(M, 0.1), patience)}
    half = (float(found["path, LAG"][0][0]) / 2,)
    for name, (scheme, cluster) in own.items():
        settings = {"num_iterations": 40, "num_realisations": 16, "accuracies": half}
        key, more = jax.random.key(0), {"cluster": cluster, "step_size": step}
        batch = lj.simulate_batch(problem, scheme, delays, key, **settings, **more)
        found[f"trajectories, {name}"] = batch.costs.time.mean, batch.gap, batch.received
    return jax.tree.map(np.asarray, found)


def differences(found: dict[str, Any], right: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """By name, the largest relative difference of numbers, and whether all else is the same."""
    table = {}
    for name, values in found.items():
        pairs = list(zip(jax.tree.leaves(values), jax.tree.leaves(right[name]), strict=True))
        off = [_relative(a, b) for a, b in pairs if a.dtype.kind == "f"]
        exact = [(a == b).all() for a, b in pairs if a.dtype.kind != "f"]
        table[name] = max(off, default=0.0), all(exact)
    return table


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, of the largest entry: a gap near zero has no digits of its own."""
    same = a == b  # infinite ones among them
    apart = np.abs(np.where(same, 0, a) - np.where(same, 0, b))
    return float(apart.max() / np.abs(b[np.isfinite(b)]).max(initial=1e-300))


def check(device: Any, sizes: Sizes, precision: str) -> Iterator[dict[str, Any]]:
    """Compare a device with the CPU.

    Raises:
        RuntimeError: if a number is off by more than the tolerance, or a choice is another.
    """
    tolerance = TOLERANCES[precision]
    with jax.default_device(jax.devices("cpu")[0]):
        right = answers(sizes, precision)
    with jax.default_device(device):
        found = answers(sizes, precision)
    for name, (off, same) in differences(found, right).items():
        if not off <= tolerance or not same:
            what = f"differs by {off:.2g}, more than {tolerance:g}" if same else "chooses otherwise"
            raise RuntimeError(f"{name} in {precision} {what} from the CPU on {device.device_kind}")
        yield {"work": f"check: {name}", "precision": precision, "difference": off}


def limits(sizes: Sizes, precision: str) -> dict[str, tuple[float, Timing]]:
    """What the device does a second: random words, bytes copied, operations of products."""
    key = jax.random.key(0)
    half = sizes.numbers // 2
    words = jax.jit(lambda key: jax.random.bits(key, (sizes.numbers,), jnp.uint32))
    values = jnp.ones((half,), precision)
    copy = jax.jit(lambda x: x + 1)
    matrix = jax.random.normal(key, (sizes.side, sizes.side), precision)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    runs = {
        "random words": (lambda: words(key), sizes.numbers),
        "bytes copied": (lambda: copy(values), 2 * values.nbytes),
        "operations of products": (lambda: product(matrix), 2 * sizes.side**3),
    }
    taken = {name: (size, timed(run, sizes.repeats)) for name, (run, size) in runs.items()}
    return {name: (size / timing.later, timing) for name, (size, timing) in taken.items()}


class Report:
    """Rows of the table, with the device's limits to compare with."""

    def __init__(self, sizes: Sizes, precision: str) -> None:
        """Measure the limits."""
        self.precision, self.rows = precision, []
        self._limits = limits(sizes, precision)
        for name, (rate, timing) in self._limits.items():
            self.add(f"limit: {name}", timing, rate * timing.later)

    def add(
        self, work: str, timing: Timing, amount: float, limit: str = "", need: float = 0
    ) -> None:
        """Add a row: what was done so often, and what one of it needs of a limit."""
        rate = amount / timing.later
        row = {"work": work, "precision": self.precision, "first call (s)": timing.first}
        row |= {"seconds": timing.later, "a second": rate}
        if limit:
            row |= {"share": rate * need / self._limits[limit][0], "of": limit}
        self.rows.append(row)
        print(f"{self.precision} {work}: {timing.later:.3g} s, {rate:.3g} a second", flush=True)


def clock_times(report: Report, sizes: Sizes, dtype: DTypeLike, left: Callable[[], float]) -> None:
    """Iterations of clocks, drawn directly and worker by worker, and many realisations."""
    selected = np.random.default_rng(1).random((sizes.iterations, G)) < 0.4
    direct, workers = sizes.realisations
    for name in sizes.sources:
        delays, sampler = delays_of(name, dtype)
        R = direct if sampler == "direct" else workers
        scheme, need = lj.lagc(M, G, 2), 1 if sampler == "direct" else M
        run = lambda s=scheme, d=delays, how=sampler, n=R: clock_summary(s, d, how, selected, n)  # noqa: E731
        timing = timed(run, sizes.repeats)
        amount = R * sizes.iterations
        report.add(f"iterations of LAGC, {name}", timing, amount, "random words", need)
    delays, scheme = lj.Exponential(jnp.ones((), dtype)), lj.g_lag(M, G)
    seconds = 0.0
    for R in sizes.many:
        if seconds * R > left() / 3:
            print(f"{R:g} realisations would take {seconds * R:.0f} s and are left out")
            continue
        levels = (0.05, 0.95) if R <= 10**6 else ()
        run = lambda n=R, q=levels: clock_summary(scheme, delays, "direct", selected, n, q)  # noqa: E731
        timing = timed(run, 1)
        seconds = timing.later / R
        what = f"iterations of G-LAG, {R:g} realisations" + (" with quantiles" if levels else "")
        report.add(what, timing, R * sizes.iterations, "random words", 1)


def path_times(report: Report, sizes: Sizes, dtype: DTypeLike) -> None:
    """Iterations of many paths at once, and of one; of whole trajectories."""
    problem = problem_of(dtype)
    step, delays = 1 / float(problem.total_smoothness), lj.Exponential(jnp.ones((), dtype))
    for groups in (M, G):
        for paths in (1, sizes.paths):
            xi = jnp.linspace(0.1, 1, paths, dtype=dtype)

            def one(xi: Array, groups: int = groups) -> Array:
                scheme = lj.lagc(M, groups, 1, xi)
                path = lj.descend(problem, scheme, num_iterations=PATH_K, step_size=step)
                return path.gap

            run = jax.jit(jax.vmap(one))
            timing = timed(lambda run=run, xi=xi: run(xi), sizes.repeats)
            need, limit = 2 * groups * FEATURES**2, "operations of products"
            amount = paths * PATH_K
            report.add(f"iterations of {paths} paths, G = {groups}", timing, amount, limit, need)
    R = sizes.realisations[1] // 64

    def trajectories() -> Array:
        scheme, key = lj.schemes.fastest_k(M, 9), jax.random.key(0)
        settings = {"num_iterations": PATH_K, "num_realisations": R, "step_size": step}
        return lj.simulate_batch(problem, scheme, delays, key, **settings).mean

    timing = timed(trajectories, sizes.repeats)
    report.add(f"iterations of {R} trajectories of fastest-k", timing, R * PATH_K)


def grid_times(report: Report, sizes: Sizes) -> None:
    """Points of an experiment."""
    side = round(sizes.points**0.5)
    experiment = lj.Experiment(
        problems={"LAG": lj.synthetic_linear_regression(jax.random.key(0), M, FEATURES)},
        schemes={"G-LAG": lj.Vary(lambda xi: lj.g_lag(M, G, xi), xi=np.linspace(0.1, 1, side))},
        delays={"low tail": lj.Exponential(1.0)},
        step_sizes=np.linspace(0.2, 1, side).tolist(),
        target=lj.Gap([1e-2]),
        num_iterations=PATH_K,
        num_realisations=1000,
    )
    start = time.perf_counter()
    table = lj.run(experiment)
    seconds = time.perf_counter() - start
    report.add(f"points of a grid of {len(table)}", Timing(seconds, seconds), len(table))


def rows(quick: bool) -> list[dict[str, Any]]:
    """Check and measure on JAX's default device; what is long comes last, while there is time."""
    start = time.perf_counter()
    left = lambda: 60 * MINUTES - (time.perf_counter() - start)  # noqa: E731
    device = jax.devices()[0]
    sizes = SIZES["quick" if quick else device.platform]
    table = [row for precision in sizes.precisions for row in check(device, sizes, precision)]
    print(f"{len(table)} results agree with the CPU's; {60 * MINUTES - left():.0f} s", flush=True)
    for precision in sizes.precisions:
        report = Report(sizes, precision)
        path_times(report, sizes, precision)
        clock_times(report, sizes, precision, left)
        if precision == sizes.precisions[-1] and left() > 60:
            grid_times(report, sizes)
        table += report.rows
    statistics = device.memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        table.append(
            {"work": "memory at the peak (bytes)", "a second": statistics["peak_bytes_in_use"]}
        )
    return table
