"""Measure the simulator beside what one would write instead, all on the same work in one run.

Clocks: the wall-clock time of many realisations along one path, as a plain NumPy loop, NumPy over
whole arrays, numba on all cores, jax.vmap over the workers' times, and the engine. Paths: many
points of xi and step size, as a NumPy loop and as one batch. Updates: asynchronous SGD of 64
workers, as a plain Python event queue and by the engine. A contender runs in a process of its
own, which gives its peak memory, and its result is checked. Contenders too slow for the whole work
run a part of it; all are compared by the cost of one simulated iteration. The limits are the random
numbers and the matrix products that jax itself makes in the same time.

On a GPU or TPU it does something else: it checks the device's results against the CPU's, then times
the engine alone, in shares of what the device can do, on as many realisations and points as there
are uses for.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import on_device
import pandas as pd
from common import REDRAW, Parser, count, folder, numbers, option, run_script
from contenders import (
    CLOCKS,
    KEY_SEED,
    PATHS,
    Cost,
    Points,
    Work,
    engine,
    engine_paths,
    numpy_gram_paths,
)
from matplotlib.figure import Figure
from queues import QUEUES, Updates, check_updates
from tqdm import tqdm

import lagc_jax
from lagc_jax.plots import PAGE_WIDTH, save_drawing, style
from lagc_jax.plots._ticks import thin_ticks

SIZES = dict(
    realisations=8192, iterations=2000, workers=12, groups=4, features=50, points=1024, repeats=5
)
QUICK = dict(realisations=256, iterations=200, points=16, repeats=2)


def use_doubles() -> None:
    """Allow float64; nothing is read from a compilation cache, so that first calls compile."""
    jax.config.update("jax_enable_x64", True)


def apart(contender: Callable, work: Work | Points | Updates) -> Cost:
    """Run a contender in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, initializer=use_doubles) as pool:
        return pool.submit(contender, work).result()


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="benchmark.py", description=__doc__)
    group = parser.add_argument_group("size")
    for name, what, letter in (
        ("realisations", "of the clocks", "R"),
        ("iterations", "of the clocks", "K"),
        ("workers", "of both", "M"),
        ("groups", "of the clocks", "G"),
        ("features", "of the paths", "d"),
        ("points", "of xi and step size", "P"),
        ("repeats", "of every measurement", None),
    ):
        few = f", {QUICK[name]} with --quick" if name in QUICK else ""
        text = f"{what} (default: {SIZES[name]}{few})"
        option(group, f"--{name}", text, type=count, metavar=letter)
    group = parser.add_argument_group("machine")
    text = "of the clocks; paths are float64"
    option(group, "--precision", text, choices=("float32", "float64"), default="float32")
    option(group, "--device", "cpu, gpu or tpu (default: what jax finds)", metavar="NAME")
    option(group, "--out", "where results go", type=folder, default=Path("figures"), metavar="DIR")
    option(group, "--name", "of the files (default: benchmark, on a GPU benchmark_gpu)")
    option(group, "--quick", "small sizes, for a first look", action="store_true")
    text = "check and time the engine alone, as on a GPU or TPU, with sizes of its own"
    option(group, "--engine-alone", text, action="store_true")
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


def update_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All contenders on updates of asynchronous SGD."""
    sizes = (200, 128) if args.quick else (10_000, 1000)
    work = Updates(64, 50, *sizes, args.repeats)
    costs = {who: apart(run, work) for who, run in tqdm(QUEUES.items(), "updates", disable=None)}
    check_updates(work, {who: cost.answer for who, cost in costs.items()})
    return table_rows("updates of ASGD, 64 workers", costs)


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
    """Cost of the engine against one size at a time, in units of a panel's first entry, and memory.

    Clocks against realisations (of 20 iterations), iterations (of 64 realisations) and workers at
    fixed G; paths of LAG against features. Each runs in a process of its own.
    """
    path, rows = selections(args), []

    def add(axis: str, size: int, line: str, cost: Cost, count: int = 1) -> None:
        part = {"against": axis, "size": size, "line": line}
        rows.append(part | {"cost": cost.seconds * count, "peak memory (MiB)": round(cost.memory)})

    def clocks(axis: str, size: int, workers: int, iterations: int, realisations: int) -> None:
        selected, n = np.resize(path, (iterations, args.groups)), workers // args.groups
        for line, r in (("r = n", n), ("r = 1", 1), ("1 < r < n", max(2, n // 2))):
            work = Work((workers, args.groups, r), selected, realisations, args.precision, 3)
            add(axis, size, line, apart(engine, work), realisations * iterations)

    M, few = args.workers, min(args.realisations, 4096)
    powers = [10**i for i in range(5)]
    for size in tqdm(
        [10**4, 10**5] if args.quick else [10**4, 10**6, 10**8], "realisations", disable=None
    ):
        clocks("realisations", size, M, 20, size)
    for size in tqdm(
        [10**2, 10**3] if args.quick else [10**2, 10**4, 10**6], "iterations", disable=None
    ):
        clocks("iterations", size, M, size, 64)
    for size in tqdm(
        [M * i for i in (powers[:3] if args.quick else powers)], "workers", disable=None
    ):
        clocks("workers", size, size, args.iterations, few)
    points = grid(args)
    for size in tqdm([M, 25, 50, 100, 200], "features", disable=None):
        chosen = points._replace(
            xi=points.xi[:128], step_size=points.step_size[:128], num_features=size, repeats=3
        )
        add("features", size, "paths", apart(engine_paths, chosen))
        loop = apart(numpy_gram_paths, chosen)
        add("features", size, "paths, NumPy loop on Gram matrices", loop)
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
        figure = Figure(figsize=(PAGE_WIDTH, 4.4), layout="constrained")
        panels = figure.subplots(2, frame["against"].nunique(), sharey="row", sharex="col")
        groups = frame.groupby("against", sort=False)
        for column, (against, group) in zip(panels.T, groups, strict=True):
            for line, values in group.groupby("line", sort=False):
                look = looks[names.index(str(line)) % len(looks)]
                for axis, shown in zip(column, ("cost", "peak memory (MiB)"), strict=True):
                    axis.plot(values["size"], values[shown].clip(lower=1), label=line, **look)
                    axis.set(xscale="log", yscale="log")
            column[-1].set_xlabel(str(against).capitalize())
            thin_ticks(column[-1].xaxis, room=4)
        for axis in panels[:, 0]:
            thin_ticks(axis.yaxis)
        panels[0, 0].set_ylabel("Time, relative to a\npanel's first engine point")
        panels[1, 0].set_ylabel("Peak memory beyond\nimports (MiB, from 1)")
        handles = {line.get_label(): line for axis in panels.flat for line in axis.lines}
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
        # The CPU comes after it, for what is checked against it.
        os.environ["JAX_PLATFORMS"] = ",".join(dict.fromkeys([args.device, "cpu"]))
        jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
    for name, size in (SIZES | (QUICK if args.quick else {})).items():
        setattr(args, name, getattr(args, name) or size)
    use_doubles()
    try:
        if args.redraw:
            stem = args.out / (args.name or "benchmark")
            scaling = numbers(stem.with_name(f"{stem.name}_scaling.csv"))
            print("Written:", *save_drawing(plot_scaling(scaling), stem))
            return 0
        lagc_jax.lagc(args.workers, args.groups, 1)
        if args.workers // args.groups < 3:
            raise ValueError(
                f"groups={args.groups} leaves no redundancy between 1 and n; give groups of >= 3"
            )
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(parser.as_options(str(error), num_workers="--workers", num_groups="--groups"))
    try:
        device = jax.devices()[0]
    except RuntimeError as error:
        parser.error(f"--device={args.device} is not there ({error}); give another, or none")
    described = f"{device.device_kind}, {os.cpu_count()} cores, jax {jax.__version__}"
    beside = device.platform == "cpu" and not args.engine_alone
    frame = pd.DataFrame(
        clock_rows(args) + path_rows(args) + update_rows(args)
        if beside
        else on_device.rows(args.quick)
    )
    frame.insert(0, "device", described)
    args.name = args.name or ("benchmark" if beside else f"benchmark_{device.platform}")
    frame.to_csv(args.out / f"{args.name}.csv", index=False)
    print(frame.drop(columns="device").to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    if beside:
        write_scaling(args)
    print("Written:", *sorted(args.out.glob(f"{args.name}*")))
    return 0


def write_scaling(args: argparse.Namespace) -> None:
    """Measure and write the cost against every size, a table and a figure."""
    scaling = scaling_frame(args)
    scaling.to_csv(args.out / f"{args.name}_scaling.csv", index=False)
    save_drawing(plot_scaling(scaling), args.out / args.name)
    print(scaling.to_string(index=False, float_format=lambda v: f"{v:.3g}"))


if __name__ == "__main__":
    run_script(main)
