"""Compare all schemes on a convex and a neural problem, beside what their papers claim.

Scikit-learn's digits are dealt over the workers, skewed by label. Every scheme meets the same
computing times, under a low tail (exponential), a high tail (Pareto) and in bursts.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from common import REDRAW, Parser, Run, configure_jax, count, option, real, run_script, whole
from jax import Array

import lagc_jax
from lagc_jax import _tables as tables
from lagc_jax import plots as plotting
from lagc_jax.experiments import bits, literature, run, survey
from lagc_jax.experiments.claims import verdict
from lagc_jax.plots.bits import plot_bits
from lagc_jax.problems.data import Split, load_digits_split

LAWS = {
    "low tail": lagc_jax.Exponential(1.0),
    "high tail": lagc_jax.Pareto(1.0, 1.2),
    "bursty": lagc_jax.delays.Bursty(
        lagc_jax.Exponential(1.0), slowdown=10.0, enter=0.01, leave=0.09
    ),
}
FIGURE = "schemes_accuracy"
SHOWN = "high tail"  # in the figure and relative to GD
HIDDEN, BATCH_SIZE = 16, 8
GROUPED_BATCH_SIZE = 3  # of every partition of a group: together that of a worker on its own
ITERATIONS, QUICK_ITERATIONS = 400, 40
REALISATIONS, QUICK_REALISATIONS = 32, 2


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="schemes.py", description=__doc__)
    group = parser.add_argument_group("system")
    option(group, "--workers", "number of workers", type=whole, default=12, metavar="M")
    option(group, "--groups", "groups of the grouped schemes", type=whole, default=4, metavar="G")
    text = "partitions that a worker stores under the coded schemes"
    option(group, "--redundancy", text, type=whole, default=2, metavar="r")
    text = "workers that the schemes which lose gradients wait for"
    option(group, "--waited", text, type=whole, default=9, metavar="k")
    text = "concentration of the labels' shares over the workers; small is skewed"
    option(group, "--alpha", text, type=real, default=0.3)

    group = parser.add_argument_group("run")
    text = f"of every scheme (default: {ITERATIONS}, {QUICK_ITERATIONS} with --quick)"
    option(group, "--iterations", text, type=count, metavar="K")
    text = f"of the times (default: {REALISATIONS}, {QUICK_REALISATIONS} with --quick)"
    option(group, "--realisations", text, type=count, metavar="R")
    option(group, "--seed", "of the data, the network and the times", type=whole, default=0)

    group = parser.add_argument_group("files")
    option(group, "--out", "where results go", type=Path, default=Path("figures"), metavar="DIR")
    option(group, "--quick", "a first look, the convex problem alone", action="store_true")
    option(group, "--redraw", REDRAW, action="store_true")
    return parser


def linear_accuracy(split: Split, weights: Array) -> Array:
    """Test accuracy of multinomial regression."""
    return lagc_jax.problems.classification_accuracy(
        jnp.matmul(split.X_test, weights), split.y_test
    )


def network_accuracy(split: Split, network: Any) -> Array:
    """Test accuracy of a network."""
    logits = lagc_jax.problems.network_logits(network, split.X_test)
    return lagc_jax.problems.classification_accuracy(logits, split.y_test)


def make_tasks(args: argparse.Namespace) -> dict[str, survey.Task]:
    """The problems: full gradients where the loss is convex, minibatches for the network.

    Step sizes and the weights of LASG and CADA, which depend on the scale of the loss, were chosen
    by hand among powers of ten and a few between.
    """
    keys = jax.random.split(jax.random.key(args.seed), 4)
    split = load_digits_split(keys[0])
    shards = lagc_jax.problems.shard(
        split.X_train, split.y_train, args.workers, keys[1], args.alpha
    )
    X, y, weights = jnp.asarray(shards.X, float), shards.y, shards.weights
    convex = lagc_jax.problems.multinomial_regression(
        X, y, l2=0.01, weights=weights, num_classes=10
    )
    tasks = {
        "convex": survey.Task(
            problem=convex,
            theta0=None,
            test_accuracy=partial(linear_accuracy, split),
            target=0.93,
            step_size=2.0 / float(convex.total_smoothness),
            adam_step_size=0.01,
            lasg_xi=1e3,
            lasg_server_xi=1e5,
            cada_xi=1e3,
            g_cada_xi=1e6,
        )
    }
    if args.quick:
        return tasks
    network = lagc_jax.problems.initial_network(keys[2], (X.shape[-1], HIDDEN, 10))
    neural = lagc_jax.problems.network_problem(X, y, network, weights=weights)
    tasks["neural"] = survey.Task(
        problem=lagc_jax.problems.minibatch(neural, BATCH_SIZE, keys[3]),
        grouped_problem=lagc_jax.problems.minibatch(neural, GROUPED_BATCH_SIZE, keys[3]),
        theta0=network,
        test_accuracy=partial(network_accuracy, split),
        target=0.95,
        step_size=2e-4,
        adam_step_size=0.005,
        lasg_xi=3e4,
        lasg_server_xi=3e4,
        cada_xi=3e4,
        g_cada_xi=1e6,
    )
    return tasks


def write(results: survey.Results, directory: Path) -> list[Path]:
    """Write the tables, the claims and the figure into a directory; return the paths."""
    table, claims = directory / "schemes.csv", directory / "schemes_claims.csv"
    results.table.to_csv(table, index=False)
    results.claims.to_csv(claims, index=False)
    task = str(results.table["task"].iloc[-1])
    relative = survey.relative_frame(results.table, task, SHOWN).round(3)
    claims_made = literature.summarise_claims(results.claims)
    for end in ("from", "to"):
        claims_made[end] = claims_made[end].map("{:.2g}".format)
    table.with_suffix(".md").write_text(
        f"Costs as multiples of those of GD ({task}, {SHOWN}):\n\n{tables.markdown(relative)}\n"
        f"Claims, in all tasks and laws:\n\n{tables.markdown(claims_made)}"
    )
    figure = plotting.plot_survey(results.curves, results.table, SHOWN)
    paths = plotting.save_figure(figure, results.curves, directory / FIGURE)
    return [table, table.with_suffix(".md"), claims, *paths]


def redraw(directory: Path) -> list[Path]:
    """Draw the figure again from its numbers and the table; return the paths."""
    curves, table = (pd.read_csv(directory / f"{name}.csv") for name in (FIGURE, "schemes"))
    return plotting.save_drawing(plotting.plot_survey(curves, table, SHOWN), directory / FIGURE)


def report(results: survey.Results) -> str:
    """The table and the claims as text for a terminal."""
    shown = results.table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
    claims = [
        f"  {verdict(row['holds']):9}  {row['task']}, {row['delays']}: {row['claim']} "
        f"({row['paper']}; {row['compared']}: {row['scheme']} {row['value']:.4g}, {row['than']} "
        f"{row['other value']:.4g})"
        for row in results.claims.to_dict("records")
    ]
    return "\n".join([shown, "", "Claims:", *claims])


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    this = Run(parser.prog)
    K = args.iterations or (QUICK_ITERATIONS if args.quick else ITERATIONS)
    R = args.realisations or (QUICK_REALISATIONS if args.quick else REALISATIONS)
    key = jax.random.key(args.seed)
    try:
        if args.redraw:
            this.report(redraw(args.out))
            return 0
        tasks = make_tasks(args)
        sizes = (args.groups, args.redundancy, args.waited)
        schemes = {name: survey.contenders(task, *sizes) for name, task in tasks.items()}
        plan = survey.experiments(tasks, schemes, LAWS, key, K, R)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    found = pd.concat(map(run, plan), ignore_index=True)
    results = survey.collect_frames(tasks, found)
    sent = bits.bits_frame(run(bits.experiment(tasks["convex"], key, K)))
    stem = args.out / "schemes_bits"
    paths = write(results, args.out) + plotting.save_figure(plot_bits(sent), sent, stem)
    print(report(results))
    this.report(paths)
    return 0


if __name__ == "__main__":
    configure_jax()
    run_script(main)
