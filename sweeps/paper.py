"""Run the study of LAGC (Zhang and Simeone, 2021): its table, its figures and its claims.

One command gives Table I, the optimality gap against time, communication and computation under
Pareto and exponential delays, what redundancy costs and gains, and a check of every claim.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from common import (
    REDRAW,
    Parser,
    Run,
    compile_quickly,
    configure_jax,
    data_options,
    folder,
    numbers,
    option,
    read_problem,
    real,
    run_script,
    seed,
    whole,
)
from jax import Array

import lagc_jax
from lagc_jax import _tables as tables
from lagc_jax.experiments import Points
from lagc_jax.experiments import paper as study
from lagc_jax.experiments.claims import verdict
from lagc_jax.experiments.memory import check_memory
from lagc_jax.experiments.tasks import start_gap
from lagc_jax.plots import paper as plotting

NUM_FEATURES = 50
FIGURES = {
    "fig2_pareto": plotting.plot_curves,
    "fig3_exponential": plotting.plot_curves,
    "fig4_redundancy": plotting.plot_redundancy,
    "fig5_tail": plotting.plot_tail,
}
REALISATIONS, QUICK_REALISATIONS = 1000, 64
# Options that are called otherwise than the argument.
OTHERWISE = {
    "num_workers": "--workers",
    "num_groups": "--groups",
    "shape": "--pareto-shape",
    "scale": "--pareto-scale",
}


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="paper.py", description=__doc__)

    group = parser.add_argument_group("system")
    option(group, "--workers", "number of workers", type=whole, default=12, metavar="M")
    option(group, "--groups", "number of groups, divides M", type=whole, default=4, metavar="G")
    text = "partitions that a worker stores under GC and LAGC, at most M/G"
    option(group, "--redundancy", text, type=whole, default=2, metavar="r")

    group = parser.add_argument_group("descent")
    option(group, "--xi", "weight of the trigger", type=real, default=1.0)
    option(
        group,
        "--memory",
        "steps the trigger remembers",
        type=whole,
        default=10,
        metavar="D",
    )
    text = "step size (default: 1/L, L the smoothness of the whole loss)"
    option(group, "--step-size", text, type=real, metavar="ALPHA")
    option(group, "--accuracy", "gap to reach", type=real, default=1e-8, metavar="EPS")
    text = "longest path (default: twice what suffices without adaptive selection)"
    option(group, "--iterations", text, type=whole, metavar="K")

    group = parser.add_argument_group("delays")
    text = f"of the delays (default: {REALISATIONS}, {QUICK_REALISATIONS} with --quick)"
    option(group, "--realisations", text, type=whole, metavar="R")
    option(group, "--seed", "of the synthetic data and the delays", type=seed, default=0)
    text = "tail index of the Pareto delays"
    option(group, "--pareto-shape", text, type=real, default=1.5, metavar="SHAPE")
    text = "smallest Pareto delay"
    option(group, "--pareto-scale", text, type=real, default=1.0, metavar="SCALE")
    option(group, "--rate", "of the exponential delays", type=real, default=1.0)

    group = parser.add_argument_group("files")
    data_options(group)
    option(group, "--out", "where results go", type=folder, default=Path("figures"), metavar="DIR")
    option(group, "--quick", "a first look with fewer realisations", action="store_true")
    option(group, "--redraw", REDRAW, action="store_true")
    return parser


def prepare(args: argparse.Namespace) -> study.Plan:
    """Check the options and build the study; raise ValueError for what does not fit."""
    shape = (args.workers, args.groups)
    schemes = study.paper_schemes(*shape, args.redundancy, args.xi, args.memory)
    redundancies = study.redundancy_schemes(*shape, args.xi, args.memory)
    delays = {
        "pareto": lagc_jax.Pareto(args.pareto_scale, args.pareto_shape),
        "exponential": lagc_jax.Exponential(args.rate),
    }
    for name in ("step_size", "accuracy"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name}={value} must be positive and finite; give {name} > 0")
    for name in ("iterations", "realisations"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} is too small; give a whole number >= 1")
    problem_key, key = jax.random.split(jax.random.key(args.seed))
    problem = load_problem(args, problem_key)
    start = start_gap(problem, args.accuracy)
    step_size = args.step_size or 1.0 / float(problem.total_smoothness)
    levels = np.geomspace(start, args.accuracy, study.NUM_LEVELS)
    iterations = args.iterations or study.default_iterations(
        problem, start, args.accuracy, step_size
    )
    realisations = args.realisations or (QUICK_REALISATIONS if args.quick else REALISATIONS)
    return study.Plan(
        problem, schemes, redundancies, delays, step_size, levels, key, iterations, realisations
    )


def load_problem(args: argparse.Namespace, key: Array) -> lagc_jax.Problem:
    """The user's data or the synthetic problem."""
    problem = read_problem(args, args.workers)
    if problem is not None:
        return problem
    features = max(NUM_FEATURES, args.workers)
    return lagc_jax.synthetic_linear_regression(key, args.workers, features)


def describe(plan: study.Plan) -> str:
    """Say in a few lines what is run."""
    problem, scheme = plan.problem, plan.schemes["LAGC"]
    curvature = float(problem.strong_convexity)
    kappa = float(problem.total_smoothness) / curvature if curvature > 0 else np.inf
    return (
        f"M={scheme.num_workers} workers, G={scheme.num_groups} groups, "
        f"r={scheme.redundancy} partitions a worker; xi={scheme.xi:g}, D={scheme.memory}\n"
        f"d={problem.num_parameters} parameters, condition number {kappa:.4g}, "
        f"step size {plan.step_size:.4g}, "
        f"accuracy {plan.accuracies[-1]:g}\n"
        f"up to {plan.num_iterations} iterations, {plan.num_realisations} realisations of each "
        f"delay family, on {jax.devices()[0].device_kind}"
    )


def write(results: study.Results, directory: Path) -> list[Path]:
    """Write the tables and figures of a study into a directory; return the paths."""
    table, claims = directory / "table1.csv", directory / "claims.csv"
    results.table.to_csv(table)
    (directory / "table1.md").write_text(tables.markdown(results.table.reset_index()))
    results.claims.to_csv(claims, index=False)
    frames = (*results.curves.values(), results.redundancy, results.tail)
    paths = [table, table.with_suffix(".md"), claims]
    for (name, plot), frame in zip(FIGURES.items(), frames, strict=True):
        paths += plotting.save_figure(plot(frame), frame, directory / name)
    return paths


def redraw(directory: Path) -> list[Path]:
    """Draw the figures of a study again from their numbers; return the paths."""
    return [
        path
        for name, plot in FIGURES.items()
        for path in plotting.save_drawing(
            plot(numbers(directory / f"{name}.csv")), directory / name
        )
    ]


def report(results: study.Results) -> str:
    """The table, turned on its side, and the claims, as text for a terminal."""
    table = results.table.T.map(lambda value: f"{value:.5g}").rename_axis(columns=None)
    claims = [
        f"  {verdict(row['holds']):9} {row['margin']:>+8.1%}  {row['claim']} "
        f"({row['compared']}: {row['scheme']} {row['value']:.5g}, "
        f"{row['best other']} {row['best other value']:.5g})"
        for row in results.claims.to_dict("records")
    ]
    return "\n".join([table.to_string(), "", "Claims (margin over the best other):", *claims])


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    run = Run(parser.prog)
    try:
        if args.redraw:
            run.report(redraw(args.out))
            return 0
        plan = prepare(args)
        for experiment in study.experiments(plan):
            check_memory(Points(experiment))
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(parser.as_options(str(error), **OTHERWISE))
    print(describe(plan), flush=True)
    results = study.run_study(plan)
    paths = write(results, args.out)
    print(report(results))
    run.report(paths)
    return 0


if __name__ == "__main__":
    compile_quickly()
    configure_jax()
    run_script(main)
