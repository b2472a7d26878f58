"""What the command-line scripts share; the library itself does not import it."""

import argparse
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import jax

if TYPE_CHECKING:
    import pandas as pd

    import lagc_jax

T = TypeVar("T", int, float, Path)
REDRAW = "draw the figures in --out again from the numbers beside them, and run nothing"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line on stderr and exit status 2.

    Run as `lagc NAME`, it is called so.
    """

    def __init__(self, prog: str, **settings: Any) -> None:
        """Take the name of the script's file."""
        super().__init__(prog=os.environ.get("LAGC_COMMAND", prog), **settings)

    def as_options(self, text: str, **others: str) -> str:
        """A message of the library with the options of the script in place of its arguments.

        Others are options that are called otherwise than the argument.
        """
        for action in self._actions:
            if isinstance(action, argparse.BooleanOptionalAction):
                for value, option in zip((True, False), action.option_strings, strict=True):
                    text = text.replace(f"{action.dest}={value}", option)
        names = {action.dest: action.option_strings[-1] for action in self._actions} | others
        for name, option in names.items():
            bare = "" if "_" in name else "(?==)"  # a plain word may be meant as one
            text = re.sub(rf"(?<![\w.\-'\[]){name}\b{bare}", option, text)
        return text

    def error(self, message: str) -> NoReturn:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def option(group: argparse._ArgumentGroup, name: str, help: str, **settings: object) -> None:
    """Add an option whose help ends with its default."""
    default = settings.get("default")
    suffix = "" if default is None else f" (default: {default})"
    group.add_argument(name, help=help + suffix, **settings)  # type: ignore[arg-type]


L2 = 1e-3  # of every partition


def _reader(kind: Callable[[str], T], name: str) -> Callable[[str], T]:
    def read(text: str) -> T:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {name}; give one") from None

    return read


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _folder(text: str) -> Path:
    from lagc_jax.experiments.store import check_directory

    check_directory("directory", text)
    return Path(text)


def _seed(text: str) -> int:
    from lagc_jax.experiments._values import read_seed

    return read_seed("seed", int(text))


whole, real = _reader(int, "a whole number"), _reader(float, "a number")
count = _reader(_count, "a whole number >= 1")
positive = _reader(_positive, "a positive number")
seed = _reader(_seed, "a seed from 0 to 2^63 - 1")
folder = _reader(_folder, "the path of a directory")


READING = ("iteration", "worker", "time", "unit", "header", "end")


def trace_options(parser: argparse.ArgumentParser) -> None:
    """Add what is what in the file of a trace."""
    from lagc_jax.delays.reading import ENDS, UNITS

    group = parser.add_argument_group("what is what in the trace")
    text = "column of iterations, of a long table or beside the workers' columns"
    option(group, "--iteration", text, metavar="COLUMN")
    option(group, "--worker", "column of a long table that names the workers", metavar="COLUMN")
    option(group, "--time", "its column of times", metavar="COLUMN")
    option(group, "--unit", f"of the times, which become seconds: {', '.join(UNITS)}")
    text = "the first line holds names, also if they are numbers; --no-header: it holds times"
    option(group, "--header", text, action=argparse.BooleanOptionalAction)
    text = "what a log means that ends before the others: they are cut (default), or it failed"
    option(group, "--end", text, choices=ENDS)


def trace_reading(args: argparse.Namespace) -> dict:
    """What the options say of the trace's file; raise ValueError if there is none."""
    given = {name: getattr(args, name) for name in READING}
    reading = {name: value for name, value in given.items() if value is not None}
    if reading and args.trace is None:
        raise ValueError(f"--{next(iter(reading))} describes a trace; give --trace as well")
    return reading


def data_options(group: argparse._ArgumentGroup) -> None:
    """Add the data of a problem."""
    from lagc_jax.problems.data import LOSSES

    text = "samples in place of synthetic data: text, parquet, libsvm's format or .mat; several \
files are one a worker"
    group.add_argument("--csv", help=text, metavar="FILE", nargs="+")
    text = "column to regress on the others, or of the labels (default: the last)"
    option(group, "--target", text, metavar="COLUMN")
    option(group, "--loss", f"of the regression (default: {LOSSES[0]})", choices=LOSSES)
    text = f"penalty of every partition, not for a linear regression (default: {L2})"
    option(group, "--l2", text, type=real)
    option(group, "--partition", "column that names the worker of every row", metavar="COLUMN")
    text = "take the numbers as they are: not standardised, no intercept added"
    option(group, "--raw", text, action="store_true", default=None)
    text = "the first line of the samples holds names; --no-names: it holds samples"
    option(group, "--names", text, action=argparse.BooleanOptionalAction)


def read_problem(
    args: argparse.Namespace, workers: int | None, default: int = 12
) -> "lagc_jax.Problem | None":
    """The regression of the samples that the options name, None without any.

    Workers that neither the options nor the samples tell are so many as by default.
    """
    from lagc_jax.problems.data import LOSSES, load_data, problem_of

    if args.csv is None:
        for name in ("target", "loss", "l2", "partition", "raw", "names"):
            if getattr(args, name) is not None:
                raise ValueError(f"--{name} is about samples of one's own; give --csv as well")
        return None
    loss = LOSSES[0] if args.loss is None else args.loss
    if args.l2 is not None and loss == "linear":
        raise ValueError(f"--l2 {args.l2:g} is no part of a linear regression; give --loss as well")
    if workers is None and len(args.csv) == 1 and args.partition is None:
        workers = default
    data = load_data(
        args.csv[0] if len(args.csv) == 1 else args.csv, workers, args.target, loss=loss,
        worker=args.partition, standardise=not args.raw, header=args.names,
    )  # fmt: skip
    if data.classes:
        values = (-1, 1) if loss == "logistic" else range(len(data.classes))
        coded = (f"{label!r} is {y}" for label, y in zip(data.classes, values, strict=True))
        print(f"Labels: {', '.join(coded)}")
    return problem_of(data, loss, L2 if args.l2 is None else args.l2)


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a script and end with its status; quietly, with that of SIGPIPE, if its reader left.

    What cannot be read or written, a full disk for instance, is said in a line.
    """
    try:
        try:
            status = main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())  # for the flush at the end
        status = 128 + 13
    except OSError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)


def no_options(prog: str, text: str | None) -> None:
    """Answer `--help` of a script without options, and refuse any."""
    Parser(prog=prog, description=text).parse_args()


def configure_jax(double: bool = True) -> None:
    """Use 64-bit numbers or not, draw by seed alone, and keep compiled programs for the next run.

    They are kept where `JAX_COMPILATION_CACHE_DIR` says, by default in the user's cache folder.
    """
    jax.config.update("jax_enable_x64", double)
    jax.config.update("jax_default_prng_impl", "threefry2x32")
    jax.config.update("jax_threefry_partitionable", True)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lagc_jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def compile_quickly() -> None:
    """Ask XLA for what compiles sooner, before JAX starts: for scripts that mostly compile.

    Without its newer code for fused operations, its checks of itself and its expensive
    optimisations a first run takes half of the time to compile; numbers are the same to rounding,
    and long runs take as long (measured). A process that names a flag that its XLA does not know is
    ended, so only versions are asked on which this has been tried.
    """
    if jax.__version__.startswith("0.10."):
        flags = (
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
            "--xla_backend_optimization_level=1",
            "--xla_disable_hlo_passes=while-loop-invariant-code-motion,hlo-verifier",
        )
        os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()


class Compilations:
    """Counts XLA compilations from its making on, and how many of them the cache answered."""

    KEPT = 500  # small ones of single operations among them; see lagc_jax/_programs.py

    def __init__(self) -> None:
        """Start counting."""
        self.total = self.cached = self.dropped = 0
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        jax.monitoring.register_event_listener(self._on_event)

    def _on_duration(self, event: str, duration_secs: float, **_: object) -> None:
        self.total += event == "/jax/core/compile/backend_compile_duration"

    def _on_event(self, event: str, **_: object) -> None:
        self.cached += event == "/jax/compilation_cache/cache_hits"

    def bound(self) -> None:
        """Drop all programs of this process when there are many, for they take memory."""
        if self.total - self.dropped > self.KEPT:
            jax.clear_caches()
            self.dropped = self.total

    def __str__(self) -> str:
        return f"{self.total} XLA compilations, {self.cached} of them read from the cache"


def numbers(path: Path) -> "pd.DataFrame":
    """What a figure was drawn from, for `--redraw`."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise ValueError(
            f"--redraw finds no {path}; run without it first, or give --out where they are"
        ) from None


class Run:
    """One run of a script: its warnings are single lines, and at its end it says what it took."""

    def __init__(self, prog: str) -> None:
        """Start the clock and the count of compilations."""
        self._start = time.perf_counter()
        self._compilations = Compilations()
        warnings.formatwarning = lambda message, *_, **__: f"{prog}: warning: {message}\n"

    def report(self, paths: Iterable[Path]) -> None:
        """Print the files written, the compilations and the seconds."""
        print("\nWritten:", *(str(path) for path in paths), sep="\n  ")
        print(f"{self._compilations}, {time.perf_counter() - self._start:.0f} s")
