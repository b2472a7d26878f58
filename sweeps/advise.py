"""Say which scheme to use for given workers, delays, storage and prices.

It searches all schemes that fit the storage, ranks them by what reaching the accuracy costs, and
says why the first is first. Measured times come from a trace file: a header with the workers'
names, then one row an iteration.
"""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import jax
from common import (
    Parser,
    Run,
    compile_quickly,
    configure_jax,
    count,
    data_options,
    folder,
    option,
    read_problem,
    real,
    run_script,
    seed,
    trace_options,
    trace_reading,
    whole,
)
from tqdm import tqdm

import lagc_jax
from lagc_jax import _tables as tables
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.traces import RESAMPLINGS
from lagc_jax.experiments.advice import Design
from lagc_jax.experiments.backtest import Backtest, backtest
from lagc_jax.experiments.entries import cluster_entries, delay_entries, problem_entries
from lagc_jax.experiments.grid import read_things
from lagc_jax.plots import paper as plotting
from lagc_jax.plots.backtest import plot_backtest
from lagc_jax.plots.frontier import plot_design

NUM_SHOWN = 10
RANKED = "Cost of each scheme relative to the cheapest, of workers in the order given:"


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="advise.py", description=__doc__)

    group = parser.add_argument_group("cluster")
    text = "number of workers (default: 12, or the columns of the trace)"
    option(group, "--workers", text, type=count, metavar="M")
    source = group.add_mutually_exclusive_group()
    text = "family of computing times and its parameters, in place of a trace"
    source.add_argument("--delays", help=text, metavar="FAMILY:NAME=VALUE,..")
    text = "measured computing times: text, .parquet, .npy or .npz, iterations x workers"
    source.add_argument("--trace", help=text, type=Path, metavar="FILE")
    text = f"how times are drawn from the trace: {', '.join(RESAMPLINGS)} (default: blocks)"
    option(group, "--resample", text, metavar="HOW")
    option(group, "--block", "iterations in a block (default: from the data)", type=whole)
    text = "partitions that a worker can store (default: M)"
    option(group, "--storage", text, type=whole, metavar="r")

    trace_options(parser)
    add_cluster(parser)
    group = parser.add_argument_group("problem")
    data_options(group)
    option(group, "--accuracy", "gap to reach", type=real, default=1e-8, metavar="EPS")

    group = parser.add_argument_group("prices")
    option(group, "--price-time", "of a unit of time", type=real, default=1.0, metavar="P")
    option(group, "--price-message", "of a message", type=real, default=0.0, metavar="P")
    text = "of a partition gradient"
    option(group, "--price-gradient", text, type=real, default=0.0, metavar="P")
    option(group, "--price-upload", "of a message to the server", type=real, default=0.0)
    option(group, "--price-bit", "of a bit of them", type=real, default=0.0, metavar="P")

    group = parser.add_argument_group("realisations and files")
    text = "longest path (default: thrice the iterations of gradient descent)"
    option(group, "--iterations", text, type=whole, metavar="K")
    text = "of the times, where no exact mean is known"
    option(group, "--realisations", text, type=whole, default=200, metavar="R")
    option(group, "--seed", "of the times and the synthetic data", type=seed, default=0)
    option(group, "--out", "where results go", type=folder, default=Path("advice"), metavar="DIR")
    text = "choose by the first half of the trace, and say what the second half brings"
    group.add_argument("--backtest", help=text, action="store_true")
    return parser


# Arguments of the library whose options have other names.
OTHERWISE = {
    "num_workers": "--workers",
    "num_iterations": "--iterations",
    "num_realisations": "--realisations",
    "problem": "--csv",
    "config": "--grid",
}
CLUSTER = ("startup", "timeout", "latency", "bandwidth", "download_size", "upload_size", "shared")


def add_cluster(parser: Parser) -> None:
    """Add what the cluster adds to the computing times."""
    group = parser.add_argument_group("what the cluster adds")
    text = "a sweep's file: its cluster, and its delays, problem and own schemes unless given here"
    option(group, "--grid", text, type=Path, metavar="FILE.toml")
    option(group, "--startup", "time before a worker's first gradient", type=real)
    option(group, "--timeout", "longest wait for a group", type=real, metavar="TIME")
    option(group, "--latency", "of a message", type=real, metavar="TIME")
    text = "sizes a unit of time that pass a link; without sizes, vectors of the parameters"
    option(group, "--bandwidth", text, type=real, metavar="B")
    text = "of a message to a worker, such as its bits if the bandwidth is in bits (default: 1)"
    option(group, "--download-size", text, type=real, metavar="SIZE")
    text = "of a message of all parameters to the server (default: 1)"
    option(group, "--upload-size", text, type=real, metavar="SIZE")
    text = "all messages pass one link of the server"
    group.add_argument("--shared", help=text, action="store_true", default=None)


def read_family(text: str) -> lagc_jax.delays.Delays:
    """The family that `FAMILY:NAME=VALUE,..` describes; raise ValueError for what is none."""
    name, _, listed = text.partition(":")
    if name not in lagc_jax.delays.FAMILIES:
        raise ValueError(
            f"delays={name!r} is unknown; give one of {', '.join(lagc_jax.delays.FAMILIES)}"
        )
    family = lagc_jax.delays.FAMILIES[name]
    names = [field.name for field in fields(family)]  # type: ignore[arg-type]
    pairs = [pair.partition("=") for pair in listed.split(",") if pair]
    if sorted(key.strip() for key, _, _ in pairs) != sorted(names):
        raise ValueError(
            f"delays={text!r} must give {', '.join(names)}, each once: {name}:{names[0]}=.."
        )
    numbers = {key.strip(): _number(text, value) for key, _, value in pairs}
    try:
        return family(**numbers)
    except ValueError as error:
        raise ValueError(f"delays={text!r}: {error}") from None


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"delays={text!r} has {value!r} for a number; give one") from None


def read_trace(args: argparse.Namespace) -> lagc_jax.Trace:
    """The trace file, read as the options say."""
    reading = trace_reading(args)
    if args.block is not None and args.resample not in (None, "blocks"):
        raise ValueError(
            f"--block={args.block} is of --resample blocks, not {args.resample}; leave one out"
        )
    resample = "iid" if args.block is None else "blocks"
    block = args.block or 1
    try:
        return lagc_jax.Trace.from_csv(args.trace, resample=resample, block=block, **reading)
    except ValueError as error:  # the option --csv is another file
        raise ValueError(str(error).replace("csv=", "trace=")) from None


def advise(args: argparse.Namespace) -> tuple[Design, Backtest | None, str]:
    """The advice, its backtest if asked for, and the fits of a trace as text.

    Raises ValueError for options that do not fit.
    """
    given = {} if args.grid is None else read_things(args.grid)
    delays, fits = find_delays(args, given)
    trace = delays if isinstance(delays, lagc_jax.Trace) else None
    workers = args.workers or (12 if trace is None else trace.num_columns)
    problem = read_problem(args, args.workers, workers)
    if problem is not None:
        workers = problem.num_partitions
    elif (made := _only("problem", problem_entries(given.get("problem", {})))) is not None:
        problem = made(workers)
    own = {name: some for name, some in given.get("scheme", {}).items() if ":" in name}
    options = dict(
        storage=args.storage,
        problem=problem,
        accuracy=args.accuracy,
        price_time=args.price_time,
        price_message=args.price_message,
        price_gradient=args.price_gradient,
        price_upload=args.price_upload,
        price_bit=args.price_bit,
        cluster=find_cluster(args, given),
        schemes=own,
        resample=args.resample,
        num_iterations=args.iterations,
        num_realisations=args.realisations,
        key=jax.random.key(args.seed),
        progress=partial(tqdm, disable=None),
    )
    if args.backtest:
        found = backtest(workers, delays, **options)  # type: ignore[arg-type]
        return found.advice, found, fits
    return lagc_jax.design(workers, delays, **options), None, fits


def find_delays(args: argparse.Namespace, given: dict[str, Any]) -> tuple[TimeSource, str]:
    """The source of times, and the fits of a trace."""
    if args.trace is not None:
        trace = read_trace(args)
        return trace, describe_fits(trace)
    trace_reading(args)
    if args.delays is not None:
        delays: TimeSource | None = read_family(args.delays)
    else:
        delays = _only("delays", delay_entries(given.get("delays", {})))
    if (args.resample, args.block) != (None, None) and not isinstance(delays, lagc_jax.Trace):
        raise ValueError("--resample and --block draw from a trace; give --trace as well")
    if delays is None:
        raise ValueError(
            "the computing times are unknown; give --trace with a log of them, or a family such as "
            "--delays exponential:rate=1"
        )
    return delays, ""


def find_cluster(args: argparse.Namespace, given: dict[str, Any]) -> lagc_jax.Cluster | None:
    """The cluster of the options, or of the file."""
    said = {name: getattr(args, name) for name in CLUSTER if getattr(args, name) is not None}
    if not said:
        return _only("cluster", cluster_entries(given.get("cluster") or None))
    link = {name: value for name, value in said.items() if name not in ("startup", "timeout")}
    made = lagc_jax.Link(**link) if link else None
    return lagc_jax.Cluster(said.get("startup"), made, said.get("timeout"))


def _only(kind: str, entries: Sequence[Any]) -> Any:
    """The only thing of its kind in a file, None without one."""
    if len(entries) > 1:
        raise ValueError(
            f"the grid has {len(entries)} combinations of [[{kind}]]; advice is for one, give it"
        )
    return entries[0].value if entries else None


def describe_fits(trace: lagc_jax.Trace) -> str:
    """How well families fit the times of a trace, and whether these are independent and alike."""
    try:
        table, found = lagc_jax.fit(trace), lagc_jax.delays.diagnose(trace)
    except ValueError as error:
        return f"No family is fitted to the trace: {error}\n"
    text = f"Families fitted to the trace, best first:\n{table.drop(columns='delays').to_string()}"
    apart = None
    with suppress(ValueError):  # where the times of a group are constant
        apart = lagc_jax.fit(trace, groups=found.labels).iloc[0] if len(found.groups) > 1 else None
    if apart is not None:
        text += (
            f"\nOne law a group of workers: {apart.name}, AIC {apart['AIC']:.6g}, p-value "
            f"{apart['p-value']:.2g}"
        )
    return f"{text}\nThe trace: {found}\n"


def write(advice: Design, found: Backtest | None, directory: Path) -> list[Path]:
    """Write the table, the reason and the figures into a directory; return the paths."""
    table, text = directory / "advice.csv", directory / "advice.md"
    (advice.table if found is None else found.table).to_csv(table, index=False)
    parts = [advice.reason, tables.markdown(advice.table.head(NUM_SHOWN))]
    if found is not None:
        parts.insert(1, found.reason)
    if advice.problems is not None:
        ranking = advice.problems.rename_axis("scheme").reset_index()
        parts += [RANKED, tables.markdown(ranking)]
    parts += ["Pareto frontier:", tables.markdown(advice.frontier)]
    text.write_text("\n\n".join(parts))
    drawn = plotting.save_figure(plot_design(advice), advice.frontier, directory / "frontier")
    if found is not None:
        figure = plot_backtest(found)
        drawn += plotting.save_figure(figure, found.table, directory / "backtest")
    return [table, text, *drawn]


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    run = Run(parser.prog)
    try:
        advice, found, fits = advise(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(parser.as_options(str(error), **OTHERWISE))
    paths = write(advice, found, args.out)
    shown = advice.table.head(NUM_SHOWN).to_string(float_format="{:.5g}".format, na_rep="-")
    print(fits, shown, "", advice.reason, sep="\n")
    if found is not None:
        print("", found.reason, sep="\n")
    if advice.problems is not None:
        ranking = advice.problems.to_string(float_format="{:.3g}".format)
        print(f"\n{RANKED}", ranking, sep="\n")
    run.report(paths)
    return 0


if __name__ == "__main__":
    compile_quickly()
    configure_jax()
    run_script(main)
