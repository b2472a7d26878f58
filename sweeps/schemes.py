"""Compare all schemes on a convex and a neural problem, beside what their papers claim.

Scikit-learn's digits, or images of one's own, are dealt over the workers, skewed by label. Every
scheme meets the same computing times, under a low tail (exponential), a high tail (Pareto) and in
bursts. Step sizes and weights are chosen on another seed by one rule: the least bits to the
accuracy. A run takes two to three hours on two cores, most of it compilation; --quick takes
minutes.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from common import (
    REDRAW,
    Parser,
    Run,
    configure_jax,
    count,
    folder,
    numbers,
    option,
    real,
    run_script,
    seed,
    whole,
)
from jax import Array

import lagc_jax
from lagc_jax import _checks
from lagc_jax import _tables as tables
from lagc_jax import plots as plotting
from lagc_jax.experiments import Experiment, bits, contenders, literature, run, survey
from lagc_jax.experiments.claims import verdict
from lagc_jax.experiments.contenders import Contender, Task, candidates
from lagc_jax.plots.bits import plot_bits
from lagc_jax.problems.data import Split, load_digits_split

Many = Mapping[str, Mapping[str, list[Contender]]]
LAWS = {
    "low tail": lagc_jax.Exponential(1.0),
    "high tail": lagc_jax.Pareto(1.0, 1.2),
    "bursty": lagc_jax.delays.Bursty(
        lagc_jax.Exponential(1.0), slowdown=10.0, enter=0.01, leave=0.09
    ),
}
FIGURE, SUMMARY = "schemes_accuracy", "schemes_costs"
SHOWN = "high tail"  # in the figure and relative to GD
ACCURACIES, NETWORK_STEP = (0.93, 0.95), 2e-4  # chosen by hand, for the digits
HIDDEN, BATCH_SIZE = 16, 8
GROUPED_BATCH_SIZE = 3  # of every partition of a group: together that of a worker on its own
FREE_BATCH_SIZE = 1  # of every partition, where workers hold all
ITERATIONS, QUICK_ITERATIONS = 400, 40
REALISATIONS, QUICK_REALISATIONS = 8, 2
# Options that are called otherwise than the argument.
OTHERWISE = {"num_workers": "--workers", "num_groups": "--groups", "num_waited": "--waited"}


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

    group = parser.add_argument_group("data")
    text = "images in place of the digits: .npz with x_train, y_train, x_test and y_test"
    option(group, "--data", text, type=Path, metavar="FILE")
    text = "test accuracies to reach, of the regression and the network"
    names = ("CONVEX", "NEURAL")
    option(group, "--accuracies", text, type=real, default=ACCURACIES, nargs=2, metavar=names)
    text = f"step size of the network under gradient descent (default: {NETWORK_STEP})"
    option(group, "--network-step", text, type=real, metavar="ALPHA")

    group = parser.add_argument_group("run")
    text = f"of every scheme (default: {ITERATIONS}, {QUICK_ITERATIONS} with --quick)"
    option(group, "--iterations", text, type=count, metavar="K")
    text = f"of the times (default: {REALISATIONS}, {QUICK_REALISATIONS} with --quick)"
    option(group, "--realisations", text, type=count, metavar="R")
    option(group, "--seed", "of the data, the network and the times", type=seed, default=0)

    group = parser.add_argument_group("files")
    option(group, "--out", "where results go", type=folder, default=Path("figures"), metavar="DIR")
    text = "keep results here as they come: a run that was stopped goes on where it was"
    option(group, "--store", text, type=folder, metavar="DIR")
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


def make_tasks(args: argparse.Namespace, seeds: Sequence[int]) -> list[dict[str, Task]]:
    """The problems of every seed: full gradients where the loss is convex, else minibatches.

    A seed deals the samples, starts the network and draws the minibatches; the test data are those
    of the first. All have arrays of the same shapes, so that they share what is compiled. Step
    sizes of the convex loss are `2/L`.
    """
    _checks.probability("accuracies", args.accuracies)
    network_step = NETWORK_STEP if args.network_step is None else args.network_step
    _checks.positive("network_step", network_step)
    if args.quick and args.network_step is not None:
        raise ValueError(
            f"network_step={network_step} is of the network, which --quick leaves out; leave out "
            f"one of the two"
        )
    keys = [jax.random.split(jax.random.key(seed), 4) for seed in seeds]
    split = load_digits_split(keys[0][0]) if args.data is None else read_images(args.data)
    accuracies = partial(linear_accuracy, split), partial(network_accuracy, split)
    dealt = [
        lagc_jax.problems.shard(split.X_train, split.y_train, args.workers, each[1], args.alpha)
        for each in keys
    ]
    rows = max(shards.X.shape[1] for shards in dealt)
    classes = int(split.y_train.max()) + 1
    made = []
    for each, shards in zip(keys, dealt, strict=True):
        data = _filled(shards, rows)
        tasks = {"convex": _convex(data, classes, accuracies[0], args.accuracies[0])}
        if not args.quick:
            network = lagc_jax.problems.initial_network(
                each[2], (data[0].shape[-1], HIDDEN, classes)
            )
            ends = accuracies[1], args.accuracies[1], network_step
            tasks["neural"] = _neural(data, network, each[3], *ends)
        made.append(tasks)
    return made


def read_images(path: Path) -> Split:
    """Images of a file as rows of pixels, each with a one at its end."""
    try:
        images = lagc_jax.problems.load_images(path)
    except ValueError as error:
        raise ValueError(f"--data {error}") from None
    X, X_test = (
        np.column_stack([part.reshape(len(part), -1), np.ones(len(part), part.dtype)])
        for part in (images.X_train, images.X_test)
    )
    return Split(X, images.y_train, X_test, images.y_test)


def _filled(shards: Any, rows: int) -> tuple[Array, np.ndarray, np.ndarray]:
    """Samples, labels and weights with so many rows a worker; those that are filling weigh 0."""
    parts = (np.asarray(part) for part in (shards.X, shards.y, shards.weights))
    X, y, weights = (
        np.pad(part, [(0, 0), (0, rows - part.shape[1]), (0, 0)][: part.ndim]) for part in parts
    )
    return jnp.asarray(X, float), y, weights


def _convex(
    data: tuple[Array, np.ndarray, np.ndarray], classes: int, accuracy: partial, target: float
) -> Task:
    """Multinomial regression with full gradients."""
    X, y, weights = data
    problem = lagc_jax.problems.multinomial_regression(
        X, y, l2=0.01, weights=weights, num_classes=classes
    )
    return Task(problem, None, accuracy, target, step_size=2.0 / float(problem.total_smoothness))


def _neural(
    data: tuple[Array, np.ndarray, np.ndarray],
    network: Any,
    draws: Array,
    accuracy: partial,
    target: float,
    step_size: float,
) -> Task:
    """A network with minibatches."""
    X, y, weights = data
    whole = lagc_jax.problems.network_problem(X, y, network, weights=weights)
    sizes = BATCH_SIZE, GROUPED_BATCH_SIZE, FREE_BATCH_SIZE
    own, grouped, free = (lagc_jax.problems.minibatch(whole, size, draws) for size in sizes)
    load = len(X) * FREE_BATCH_SIZE / BATCH_SIZE
    return Task(own, network, accuracy, target, step_size, grouped, free, load)


def run_all(plan: Sequence[Experiment], store: Path | None) -> pd.DataFrame:
    """The table of many experiments, each in a directory of its own if they are stored."""
    tables = (
        run(each, None if store is None else store / f"{number:03}")
        for number, each in enumerate(plan)
    )
    return pd.concat(tables, ignore_index=True)


def search(
    other: Mapping[str, Task],
    rivals: Many,
    everyone: Many,
    key: Array,
    K: int,
    R: int,
    store: Path | None,
) -> dict[str, dict[str, Contender]]:
    """The contenders of every task, chosen by what took least on the tasks of another seed."""
    contested = {name: contenders.contested(each) for name, each in rivals.items()}
    plan = survey.experiments(other, contested, {"low tail": LAWS["low tail"]}, key, K, R)
    table = survey.table_frame(run_all(plan, store)) if plan else None
    return {
        name: contenders.choose(each, None if table is None else table[table["task"] == name])
        for name, each in everyone.items()
    }


def write(
    results: survey.Results, chosen: Mapping[str, Mapping[str, Contender]], directory: Path
) -> list[Path]:
    """Write the tables, the claims and the figure into a directory; return the paths."""
    table, claims = directory / "schemes.csv", directory / "schemes_claims.csv"
    steps = directory / "schemes_chosen.csv"
    frames = {name: contenders.chosen_frame(each) for name, each in chosen.items()}
    pd.concat(frames, names=["task"]).reset_index("task").to_csv(steps, index=False)
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
    paths += plotting.save_drawing(plotting.plot_costs(results.table, SHOWN), directory / SUMMARY)
    return [table, table.with_suffix(".md"), claims, steps, *paths]


def redraw(directory: Path) -> list[Path]:
    """Draw the figures again from their numbers and the table; return the paths."""
    curves, table = (numbers(directory / f"{name}.csv") for name in (FIGURE, "schemes"))
    ways = plotting.plot_survey(curves, table, SHOWN), plotting.plot_costs(table, SHOWN)
    return [
        path
        for figure, name in zip(ways, (FIGURE, SUMMARY), strict=True)
        for path in plotting.save_drawing(figure, directory / name)
    ]


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
    key, other_seed = jax.random.key(args.seed), (args.seed + 1) % 2**63
    try:
        if args.redraw:
            this.report(redraw(args.out))
            return 0
        sizes = (args.groups, args.redundancy, args.waited)
        contenders.fixed_schemes(args.workers, *sizes)  # bad sizes are refused before the fits
        other, tasks = make_tasks(args, (other_seed, args.seed))
        everyone = {name: candidates(task, *sizes) for name, task in tasks.items()}
        rivals = {name: candidates(task, *sizes) for name, task in other.items()}
        for folder in (args.out, args.store):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(parser.as_options(str(error), **OTHERWISE))
    print("Step sizes and weights, on another seed:")
    search_store, store = (args.store and args.store / name for name in ("search", "survey"))
    chosen = search(other, rivals, everyone, jax.random.key(other_seed), K, R, search_store)
    print("All schemes:")
    plan = survey.experiments(tasks, chosen, LAWS, key, K, R)
    results = survey.collect_frames(tasks, run_all(plan, store))
    sent = bits.bits_frame(run(bits.experiment(tasks["convex"], key, K)))
    stem = args.out / "schemes_bits"
    paths = write(results, chosen, args.out) + plotting.save_figure(plot_bits(sent), sent, stem)
    print(report(results))
    this.report(paths)
    return 0


if __name__ == "__main__":
    configure_jax()
    run_script(main)
