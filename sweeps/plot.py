"""Draw the table of a sweep: lines over one parameter, a heat map over two, the Pareto frontier.

Without options it draws lines over every parameter that varies, heat maps over pairs of the three
that vary most, and the frontier. What varies beyond a figure's room is fixed, and said. Each figure
is written as .pdf and .png with its numbers as .csv.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from common import Parser, folder, option, real, run_script

import lagc_jax
from lagc_jax import _tables as tables
from lagc_jax.plots import paper as plotting
from lagc_jax.plots.sweep import Picture, draw


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="plot.py", description=__doc__)
    text = "directory of a sweep, or a table of one as a parquet file"
    parser.add_argument("table", help=text, type=Path, metavar="DIR_OR_PARQUET")
    group = parser.add_argument_group("what to draw")
    option(group, "--x", "lines over this parameter alone", metavar="KEY")
    option(group, "--y", "with --x, a heat map over the two in their place", metavar="KEY")
    text = "fix a parameter, for points that have it; may be repeated"
    option(group, "--where", text, action="append", metavar="KEY=VALUE")
    text = "gap to reach, one of the table's (default: the finest)"
    option(group, "--accuracy", text, type=real, metavar="EPS")
    text = "time in heat maps and the frontier: 'mean', or the level of a quantile such as 0.95"
    option(group, "--time", text, default="mean", metavar="STATISTIC")
    group = parser.add_argument_group("files")
    text = "where figures go (default: figures in or next to the table)"
    option(group, "--out", text, type=folder, metavar="DIR")
    return parser


def read_table(path: Path) -> pd.DataFrame:
    """The tidy table of a sweep; raise ValueError if there is none."""
    if path.is_dir():
        return lagc_jax.load_results(path)
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give the directory of a sweep") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no parquet file ({error})") from None


def fixed_parameters(choices: Iterable[str]) -> dict[str, str]:
    """The values of `--where` by parameter; ValueError unless each is KEY=VALUE once."""
    pairs = [(choice, *choice.partition("=")) for choice in choices]
    for choice, name, sign, value in pairs:
        if not (name and sign and value):
            raise ValueError(f"--where {choice!r} is not of the form KEY=VALUE; give one")
    fixed = {name.strip(): value.strip() for _, name, _, value in pairs}
    for name in fixed:
        if sum(name == other.strip() for _, other, _, _ in pairs) > 1:
            raise ValueError(f"--where fixes {name!r} twice; give one value")
    return fixed


def describe(picture: Picture, paths: Iterable[Path]) -> str:
    """What was written, and what was fixed to keep the figure legible."""
    written = ", ".join(str(path) for path in paths)
    fixed = [
        f"\n  {name} fixed at {tables.show(value)}, one of {', '.join(map(tables.show, choices))}"
        for name, (value, *choices) in picture.fixed.items()
    ]
    return "".join([written, *fixed, "; fix another with --where" if fixed else ""])


def report(table: pd.DataFrame, frontier: pd.DataFrame) -> str:
    """The frontier as text for a terminal."""
    costs = [name for name in (*tables.COSTS, "bits") if name in table.columns]
    columns = ["point", *tables.free_parameters(table), *costs, "iterations"]
    text = frontier[columns].to_string(
        index=False, max_rows=40, na_rep="-", float_format="{:.6g}".format
    )
    accuracy, statistic = table["accuracy"].iloc[0], table["time_statistic"].iloc[0]
    head = (
        f"Pareto frontier of time ({statistic}), communication and computation to accuracy "
        f"{tables.show(accuracy)}: {len(frontier)} of {len(table)} points"
    )
    return f"{head}\n{text}" if len(frontier) else f"{head}; no point has finite costs"


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    out = args.out or (args.table if args.table.is_dir() else args.table.parent) / "figures"
    try:
        where = fixed_parameters(args.where or ())
        table = tables.select(read_table(args.table), where, args.accuracy, args.time)
        out.mkdir(parents=True, exist_ok=True)
        for picture in draw(table, args.x, args.y):
            paths = plotting.save_figure(picture.figure, picture.frame, out / picture.name)
            print(describe(picture, paths), flush=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(report(table, tables.pareto_frontier(table)))
    return 0


if __name__ == "__main__":
    run_script(main)
