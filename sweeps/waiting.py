"""Compare servers that do not wait for all, beside what their papers claim.

A regression with minibatches, twelve workers, three laws of their times, and two more for codes
over rounds; every scheme with the step size that serves it best.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import pandas as pd
from common import Parser, Run, configure_jax, count, folder, option, run_script, seed

from lagc_jax import _tables as tables
from lagc_jax.delays.base import TimeSource
from lagc_jax.experiments import Points, run, waiting
from lagc_jax.experiments.claims import verdict
from lagc_jax.experiments.memory import check_memory
from lagc_jax.schemes.base import Scheme

ACCURACY, ITERATIONS, REALISATIONS = 3.0, 1000, 64


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="waiting.py", description=__doc__)
    group = parser.add_argument_group("run")
    option(group, "--iterations", "updates", type=count, default=ITERATIONS, metavar="K")
    option(group, "--realisations", "of the times", type=count, default=REALISATIONS, metavar="R")
    option(group, "--seed", "of the data and the times", type=seed, default=0)
    option(group, "--out", "where results go", type=folder, default=Path("figures"), metavar="DIR")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    this = Run(parser.prog)
    key, sizes = jax.random.key(args.seed), (args.iterations, args.realisations)
    laws, bursty = waiting.laws(), waiting.bursty_laws()
    parts: list[tuple[dict[str, Scheme], Mapping[str, TimeSource]]] = [
        *((waiting.schemes(law), {name: law}) for name, law in laws.items()),
        (waiting.coded_schemes(), bursty),
    ]
    try:
        plan = [waiting.experiment(key, *chosen, ACCURACY, *sizes) for chosen in parts]
        for each in plan:
            check_memory(Points(each))
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(parser.as_options(str(error)))
    found = [run(each) for each in plan]
    table = pd.concat([waiting.table_frame(each) for each in found], ignore_index=True)
    claims = waiting.claims_frame(table)
    paths = [args.out / name for name in ("waiting.csv", "waiting_claims.csv", "waiting.md")]
    table.to_csv(paths[0], index=False)
    claims.to_csv(paths[1], index=False)
    by_law = table.pivot(index="scheme", columns="delays", values="time")
    shown_times = [
        by_law.loc[list(part[0]), list(columns)].round(1).reset_index()
        for part, columns in ((parts[0], laws), (parts[-1], bursty))
    ]
    shown = claims.drop(columns=["value", "other value"])
    shown["ratio"] = shown["ratio"].map("{:.2g}".format)
    shown["holds"] = claims["holds"].map(verdict)
    text = "\n".join(map(tables.markdown, (*shown_times, shown)))
    paths[2].write_text(text)
    print(text)
    this.report(paths)
    return 0


if __name__ == "__main__":
    configure_jax()
    run_script(main)
