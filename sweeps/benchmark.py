"""Measure the simulator beside what one would write instead, all on the same work in one run.

Clocks: the wall-clock time of many realisations along one path, as a plain NumPy loop, NumPy over
whole arrays, numba on all cores, jax.vmap over the workers' times, and the engine. Paths: many
points of xi and step size, as a NumPy loop and as one batch. A contender runs in a process of its
own, which gives its peak memory, and its result is checked. Contenders too slow for the whole work
run a part of it; all are compared by the cost of one simulated iteration. The limits are the random
numbers and the matrix products that jax itself makes in the same time.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from common import REDRAW, Parser, option, run_script, whole
from matplotlib.figure import Figure
from tqdm import tqdm

import lagc_jax
from lagc_jax.clock import clock_of
from lagc_jax.plots import PAGE_WIDTH, save_drawing, style
from lagc_jax.plots._ticks import thin_ticks
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
    import numba  # pyright: ignore[reportMissingImports]

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


def use_doubles() -> None:
    """Allow float64; nothing is read from a compilation cache, so that first calls compile."""
    jax.config.update("jax_enable_x64", True)


def apart(contender: Callable, work: Work | Points) -> Cost:
    """Run a contender in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, initializer=use_doubles) as pool:
        return pool.submit(contender, work).result()


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="benchmark.py", description=__doc__)
    group = parser.add_argument_group("size")
    option(group, "--realisations", "of the clocks", type=whole, default=8192, metavar="R")
    option(group, "--iterations", "of the clocks", type=whole, default=2000, metavar="K")
    option(group, "--workers", "of both", type=whole, default=12, metavar="M")
    option(group, "--groups", "of the clocks", type=whole, default=4, metavar="G")
    option(group, "--features", "of the paths", type=whole, default=50, metavar="d")
    option(group, "--points", "of xi and step size", type=whole, default=1024, metavar="P")
    option(group, "--repeats", "of every measurement", type=whole, default=5)
    group = parser.add_argument_group("machine")
    text = "of the clocks; paths are float64"
    option(group, "--precision", text, choices=("float32", "float64"), default="float32")
    option(group, "--device", "cpu, gpu or tpu (default: what jax finds)", metavar="NAME")
    option(group, "--out", "where results go", type=Path, default=Path("figures"), metavar="DIR")
    option(group, "--name", "of the files", default="benchmark")
    option(group, "--quick", "small sizes, for a first look", action="store_true")
    option(group, "--redraw", REDRAW, action="store_true")
    return parser


def selections(args: argparse.Namespace) -> np.ndarray:
    """The selections of G-LAG on the synthetic problem, (K, G)."""
    features = max(args.features, args.workers)
    key = jax.random.key(KEY_SEED)
    problem = lagc_jax.synthetic_linear_regression(key, args.workers, features)
    scheme = lagc_jax.g_lag(args.workers, args.groups)
    return np.asarray(lagc_jax.descend(problem, scheme, num_iterations=args.iterations).selected)


def clock_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every contender on the clocks of G-LAG and of LAGC with a redundancy between 1 and n."""
    selected, n = selections(args), args.workers // args.groups
    rows = []
    for name, r in (("G-LAG", n), ("LAGC", max(2, n // 2))):
        scheme = (args.workers, args.groups, r)
        work = Work(scheme, selected, args.realisations, args.precision, args.repeats)
        costs = {who: apart(run, work) for who, run in tqdm(CLOCKS.items(), name, disable=None)}
        check_clocks(work, {who: c.answer for who, c in costs.items() if "limit" not in who})
        rows += table_rows(f"clocks of {name} (r={r})", costs)
    return rows


def check_clocks(work: Work, answers: dict[str, float]) -> None:
    """Raise RuntimeError unless every mean time lies within 6 standard errors of the exact one."""
    scheme, delays = lagc_jax.lagc(*work.scheme), lagc_jax.Exponential(1.0)
    mean = float(lagc_jax.expected_wall_clock(scheme, delays, work.selected)[-1])
    deviation = float(lagc_jax.theory.wall_clock_variance(scheme, delays, work.selected)[-1]) ** 0.5
    for who, answer in answers.items():
        few = 4 if who == "NumPy loop" else 64
        if abs(answer - mean) > 6 * deviation / few**0.5:
            raise RuntimeError(f"{who} has mean {answer:.6g}, the exact mean is {mean:.6g}")


def path_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both contenders on a grid of xi and step size, LAG, 400 iterations."""
    costs = {who: apart(run, grid(args)) for who, run in tqdm(PATHS.items(), "paths", disable=None)}
    loop, engine_answer = costs["NumPy loop"].answer, costs["engine"].answer
    if not np.isclose(loop, engine_answer, rtol=1e-6):
        raise RuntimeError(f"distances to the optimum differ: {loop} and {engine_answer}")
    return table_rows("paths of LAG", costs)


def grid(args: argparse.Namespace) -> Points:
    """Points of xi and step size, as near to a square as their number allows."""
    side = max(1, round(args.points**0.5))
    xi, step = np.meshgrid(np.linspace(0.1, 1.0, side), np.linspace(0.2, 1.0, side))
    features = max(args.features, args.workers)
    return Points(xi.ravel(), step.ravel(), args.workers, features, 400, args.repeats)


def table_rows(work: str, costs: dict[str, Cost]) -> list[dict[str, Any]]:
    """A row a contender, with the iterations of the engine in the time of one of its own."""
    return [
        {
            "work": work,
            "contender": who,
            "engine is faster by": cost.seconds / costs["engine"].seconds,
            "first call over a later one": cost.first,
            "peak memory beyond imports (MiB)": round(cost.memory),
        }
        for who, cost in costs.items()
    ]


def scaling_frame(args: argparse.Namespace) -> pd.DataFrame:
    """Cost of the engine against one size at a time, in units of a panel's first entry.

    Clocks against realisations, iterations and workers at fixed G; paths of LAG against features.
    """
    small = argparse.Namespace(**vars(args) | {"realisations": min(args.realisations, 4096)})
    path = selections(args)
    rows: list[dict[str, Any]] = []

    def add(axis: str, size: int, line: str, seconds: float) -> None:
        rows.append({"against": axis, "size": size, "line": line, "cost": seconds})

    def clocks(axis: str, size: int, **sizes: int) -> None:
        now = argparse.Namespace(**vars(small) | sizes)
        selected = np.resize(path, (now.iterations, now.groups))
        n = now.workers // now.groups
        for line, r in (("r = n", n), ("r = 1", 1), ("1 < r < n", max(2, n // 2))):
            scheme = (now.workers, now.groups, r)
            work = Work(scheme, selected, now.realisations, args.precision, 3)
            add(axis, size, line, engine(work).seconds * now.realisations * now.iterations)

    for size in tqdm([256, 1024, 4096, 16384], "realisations", disable=None):
        clocks("realisations", size, realisations=size)
    for size in tqdm([125, 500, 2000, 8000], "iterations", disable=None):
        clocks("iterations", size, iterations=size)
    for size in tqdm([args.workers * i for i in (1, 3, 10, 30, 100)], "workers", disable=None):
        clocks("workers", size, workers=size)
    points = grid(args)
    for size in tqdm([args.workers, 25, 50, 100, 200], "features", disable=None):
        chosen = points._replace(
            xi=points.xi[:128], step_size=points.step_size[:128], num_features=size, repeats=3
        )
        add("features", size, "paths", engine_paths(chosen).seconds)
        add(
            "features", size, "paths, NumPy loop on Gram matrices", numpy_gram_paths(chosen).seconds
        )
    frame = pd.DataFrame(rows)
    return frame.assign(cost=frame["cost"] / frame.groupby("against")["cost"].transform("first"))


def plot_scaling(frame: pd.DataFrame) -> Figure:
    """Cost against every size, log-log, a panel a size; of lines that coincide one is wider."""
    names = list(frame["line"].unique())
    looks = [
        dict(color="#E69F00", marker="s", linewidth=2.6, markersize=6.5),
        dict(color="#000000", marker="o"),
        dict(color="#56B4E9", marker="^", linestyle="--"),
        dict(color="#0072B2", marker="P"),
        dict(color="#D55E00", marker="D", linestyle="-."),
    ]
    with style():
        figure = Figure(figsize=(PAGE_WIDTH, 2.9), layout="constrained")
        axes = figure.subplots(1, frame["against"].nunique(), sharey=True)
        for axis, (against, group) in zip(axes, frame.groupby("against", sort=False), strict=True):
            for line, values in group.groupby("line", sort=False):
                look = looks[names.index(str(line)) % len(looks)]
                axis.plot(values["size"], values["cost"], label=line, **look)
            axis.set(xscale="log", yscale="log", xlabel=str(against).capitalize())
            thin_ticks(axis.xaxis, room=4)
        thin_ticks(axes[0].yaxis)
        axes[0].set_ylabel("Cost, relative to a\npanel's first engine point")
        handles = {line.get_label(): line for axis in axes for line in axis.lines}
        text = (
            "Cost when one size grows and the others stay: clocks by redundancy r of a group of n "
            "workers,\nand, against features, paths of LAG by the engine and by a NumPy loop."
        )
        figure.legend(
            handles=list(handles.values()),
            loc="outside upper center",
            ncols=len(handles),
            title=text,
            title_fontsize=7.5,
        )
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.device is not None:
        os.environ["JAX_PLATFORMS"] = args.device
    if args.quick:
        args.realisations, args.iterations, args.points, args.repeats = 256, 200, 16, 2
    use_doubles()
    try:
        if args.redraw:
            scaling = pd.read_csv(args.out / f"{args.name}_scaling.csv")
            print("Written:", *save_drawing(plot_scaling(scaling), args.out / args.name))
            return 0
        lagc_jax.lagc(args.workers, args.groups, 1)
        if min(args.realisations, args.iterations, args.points, args.repeats) < 1:
            raise ValueError("a size is below 1; give whole numbers >= 1")
        if args.workers // args.groups < 3:
            raise ValueError(
                f"groups={args.groups} leaves no redundancy between 1 and n; give groups of >= 3"
            )
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    frame = pd.DataFrame(clock_rows(args) + path_rows(args))
    device = jax.devices()[0]
    frame.insert(
        0, "device", f"{device.device_kind}, {os.cpu_count()} cores, jax {jax.__version__}"
    )
    frame.to_csv(args.out / f"{args.name}.csv", index=False)
    scaling = scaling_frame(args)
    scaling.to_csv(args.out / f"{args.name}_scaling.csv", index=False)
    save_drawing(plot_scaling(scaling), args.out / args.name)
    print(frame.drop(columns="device").to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    print(scaling.to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    print("Written:", *sorted(args.out.glob(f"{args.name}*")))
    return 0


if __name__ == "__main__":
    run_script(main)
