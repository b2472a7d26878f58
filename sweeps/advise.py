"""Say which scheme to use for given workers, delays, storage and prices.

It searches all schemes that fit the storage, ranks them by what reaching the accuracy costs, and
says why the first is first. Measured times come from a trace file: a header with the workers'
names, then one row an iteration.
"""

import argparse
from dataclasses import fields
from functools import partial
from pathlib import Path

import jax
from common import (
    Parser,
    Run,
    configure_jax,
    count,
    data_options,
    option,
    read_problem,
    real,
    run_script,
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
from lagc_jax.plots import paper as plotting
from lagc_jax.plots.frontier import plot_design

DELAYS = "exponential:rate=1"
NUM_SHOWN = 10


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="advise.py", description=__doc__)

    group = parser.add_argument_group("cluster")
    text = "number of workers (default: 12, or the columns of the trace)"
    option(group, "--workers", text, type=count, metavar="M")
    source = group.add_mutually_exclusive_group()
    text = f"family of computing times and its parameters (default: {DELAYS})"
    source.add_argument("--delays", help=text, metavar="FAMILY:NAME=VALUE,..")
    text = "measured computing times: text, .parquet, .npy or .npz, iterations x workers"
    source.add_argument("--trace", help=text, type=Path, metavar="FILE")
    text = f"how times are drawn from the trace: {', '.join(RESAMPLINGS)}"
    option(group, "--resample", text, default="iid", metavar="HOW")
    option(group, "--block", "iterations in a block", type=whole, default=1)
    text = "partitions that a worker can store (default: M)"
    option(group, "--storage", text, type=whole, metavar="r")

    trace_options(parser)
    group = parser.add_argument_group("problem")
    data_options(group)
    option(group, "--accuracy", "gap to reach", type=real, default=1e-8, metavar="EPS")

    group = parser.add_argument_group("prices")
    option(group, "--price-time", "of a unit of time", type=real, default=1.0, metavar="P")
    option(group, "--price-message", "of a message", type=real, default=0.0, metavar="P")
    text = "of a partition gradient"
    option(group, "--price-gradient", text, type=real, default=0.0, metavar="P")

    group = parser.add_argument_group("realisations and files")
    text = "of the times, where no exact mean is known"
    option(group, "--realisations", text, type=whole, default=200, metavar="R")
    option(group, "--seed", "of the times and the synthetic data", type=whole, default=0)
    option(group, "--out", "where results go", type=Path, default=Path("advice"), metavar="DIR")
    return parser


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
    return family(**{key.strip(): _number(text, value) for key, _, value in pairs})


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"delays={text!r} has {value!r} for a number; give one") from None


def read_trace(args: argparse.Namespace) -> lagc_jax.Trace:
    """The trace file, read as the options say."""
    reading = trace_reading(args)
    return lagc_jax.Trace.from_csv(args.trace, resample=args.resample, block=args.block, **reading)


def advise(args: argparse.Namespace) -> tuple[Design, str]:
    """The advice, and the fits of a trace as text; raise ValueError for options that do not fit."""
    fits = ""
    workers = args.workers or 12
    delays: TimeSource
    if args.trace is None:
        if (args.resample, args.block) != ("iid", 1):
            raise ValueError("--resample and --block draw from a trace; give --trace as well")
        trace_reading(args)
        delays = read_family(args.delays or DELAYS)
    else:
        delays = trace = read_trace(args)
        workers = args.workers or trace.num_columns
        fits = describe_fits(trace)
    if not 0 <= args.seed < 2**63:
        raise ValueError(f"seed={args.seed} is out of range; give one from 0 to 2^63 - 1")
    problem = read_problem(args, args.workers, workers)
    if problem is not None:
        workers = problem.num_partitions
    advice = lagc_jax.design(
        workers,
        delays,
        storage=args.storage,
        problem=problem,
        accuracy=args.accuracy,
        price_time=args.price_time,
        price_message=args.price_message,
        price_gradient=args.price_gradient,
        num_realisations=args.realisations,
        key=jax.random.key(args.seed),
        progress=partial(tqdm, disable=None),
    )
    return advice, fits


def describe_fits(trace: lagc_jax.Trace) -> str:
    """How well families fit the times of a trace, and whether these are independent and alike."""
    try:
        table, found = lagc_jax.fit(trace), lagc_jax.delays.diagnose(trace)
    except ValueError as error:
        return f"No family is fitted to the trace: {error}\n"
    text = f"Families fitted to the trace, best first:\n{table.drop(columns='delays').to_string()}"
    if len(found.groups) > 1:
        apart = lagc_jax.fit(trace, groups=found.labels).iloc[0]
        text += (
            f"\nOne law a group of workers: {apart.name}, AIC {apart['AIC']:.6g}, p-value "
            f"{apart['p-value']:.2g}"
        )
    return f"{text}\nThe trace: {found}\n"


def write(advice: Design, directory: Path) -> list[Path]:
    """Write the table, the reason and the frontier into a directory; return the paths."""
    table, text = directory / "advice.csv", directory / "advice.md"
    advice.table.to_csv(table, index=False)
    text.write_text(
        f"{advice.reason}\n\n{tables.markdown(advice.table.head(NUM_SHOWN))}\n"
        f"Pareto frontier:\n\n{tables.markdown(advice.frontier)}"
    )
    figure = plot_design(advice)
    return [table, text, *plotting.save_figure(figure, advice.frontier, directory / "frontier")]


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    run = Run(parser.prog)
    try:
        advice, fits = advise(args)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    paths = write(advice, args.out)
    shown = advice.table.head(NUM_SHOWN).to_string(float_format="{:.5g}".format, na_rep="-")
    print(fits, shown, "", advice.reason, sep="\n")
    run.report(paths)
    return 0


if __name__ == "__main__":
    configure_jax()
    run_script(main)
