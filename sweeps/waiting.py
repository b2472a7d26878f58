"""Compare servers that do not wait for all, beside what their papers claim.

A regression with minibatches, twelve workers, three laws of their times, and two more for codes
over rounds; every scheme with the step size that serves it best.
"""

from pathlib import Path

import jax
import pandas as pd
from common import Parser, Run, configure_jax, count, option, run_script, seed

from lagc_jax import _tables as tables
from lagc_jax.experiments import run, waiting
from lagc_jax.experiments.claims import verdict

ACCURACY, ITERATIONS, REALISATIONS = 3.0, 1000, 64


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="waiting.py", description=__doc__)
    group = parser.add_argument_group("run")
    option(group, "--iterations", "updates", type=count, default=ITERATIONS, metavar="K")
    option(group, "--realisations", "of the times", type=count, default=REALISATIONS, metavar="R")
    option(group, "--seed", "of the data and the times", type=seed, default=0)
    option(group, "--out", "where results go", type=Path, default=Path("figures"), metavar="DIR")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    this = Run(parser.prog)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(str(error))
    key, sizes = jax.random.key(args.seed), (args.iterations, args.realisations)
    parts = [
        *((waiting.schemes(law), {name: law}) for name, law in waiting.laws().items()),
        (waiting.coded_schemes(), waiting.bursty_laws()),
    ]
    found = [run(waiting.experiment(key, *chosen, ACCURACY, *sizes)) for chosen in parts]
    table = pd.concat([waiting.table_frame(each) for each in found], ignore_index=True)
    claims = waiting.claims_frame(table)
    paths = [args.out / name for name in ("waiting.csv", "waiting_claims.csv", "waiting.md")]
    table.to_csv(paths[0], index=False)
    claims.to_csv(paths[1], index=False)
    by_law = table.pivot(index="scheme", columns="delays", values="time")
    columns = ((parts[0][0], waiting.laws()), parts[-1])
    shown_times = [by_law.loc[list(one), list(ls)].round(1).reset_index() for one, ls in columns]
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
