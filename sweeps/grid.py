"""Run a grid of problems, schemes and delays that a TOML file describes.

Results are written block by block. Stopped or killed, the same command continues, also with other
devices or more processes; lagc_jax.load_results reads the table, whole or not.
"""

import argparse
import errno
import os
import shlex
import signal
import socket
import sys
import threading
import time
import warnings

import jax
from common import Compilations, Parser, configure_jax, folder, option, run_script, whole
from tqdm import tqdm

from lagc_jax.experiments import Grid, Points, Progress, read_grid, run_into
from lagc_jax.experiments.devices import widen_pool
from lagc_jax.experiments.estimate import Range, estimate
from lagc_jax.experiments.memory import check_memory, count_bytes, describe_bytes
from lagc_jax.experiments.processes import Process, this_process

# What launchers tell a process: its index, how many there are, its index on its host.
LAUNCHERS = (
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
)


def make_parser() -> Parser:
    """Describe the options of the script."""
    parser = Parser(prog="grid.py", description=__doc__)
    parser.add_argument("config", help="TOML file that describes the sweep", metavar="CONFIG.toml")
    group = parser.add_argument_group("what to do")
    text = "where results go; needed unless --dry-run"
    option(group, "--out", text, type=folder, metavar="DIR")
    text = "say what would be computed and about how long it takes"
    option(group, "--dry-run", text, action="store_true")
    option(group, "--verbose", "a line for every block", action="store_true")

    group = parser.add_argument_group("several processes", "started with the same command")
    text = "find out which this one is from SLURM, Open MPI, the TPU pod or Kubernetes"
    option(group, "--distributed", text, action="store_true")
    option(group, "--num-processes", "how many there are", type=whole, metavar="N")
    option(group, "--process-id", "which this one is, from 0", type=whole, metavar="I")
    text = "taken and not used: processes meet in --out and need no address"
    option(group, "--coordinator", text, metavar="HOST:PORT")
    text = "how long a TPU pod or Kubernetes may take to start them all"
    option(group, "--timeout", text, type=whole, default=300, metavar="SECONDS")
    return parser


def find_process(args: argparse.Namespace) -> Process:
    """Which of how many processes this one is; to be called before JAX starts."""
    given = (args.process_id, args.num_processes)
    if any(value is not None for value in (*given, args.coordinator)):
        if None in given:
            raise ValueError("give --num-processes and --process-id together")
        if not 0 <= args.process_id < args.num_processes:
            raise ValueError(
                f"process_id={args.process_id} must lie between 0 and "
                f"num_processes={args.num_processes}"
            )
        return Process(*given)
    if not args.distributed:
        return Process()
    for names in LAUNCHERS:
        index, count, local = (os.environ.get(name) for name in names)
        if index is not None and count is not None:
            if local is not None and "," in os.environ.get("CUDA_VISIBLE_DEVICES", ""):
                jax.config.update("jax_cuda_visible_devices", local)
            return Process(int(index), int(count))
    return ask_jax(args.timeout)


def ask_jax(timeout: int) -> Process:
    """Let JAX connect the processes, without which a TPU pod does not start, and part them again.

    What JAX does when a process does not come, or goes, is to abort the others; so its own limits
    lie beyond ours.
    """

    def give_up() -> None:
        words = f"not all processes came within {timeout} s (--timeout); start them all, and again"
        print(f"grid.py: error: {words}", file=sys.stderr, flush=True)
        os._exit(1)

    limit = threading.Timer(timeout, give_up)
    limit.daemon = True
    limit.start()
    try:
        print(f"Waiting for the other processes, {timeout} s at most", flush=True)
        jax.distributed.initialize(initialization_timeout=2 * timeout)
        process = this_process()
        jax.distributed.shutdown()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"--distributed finds no SLURM, Open MPI, TPU pod or Kubernetes ({error}); give "
            f"--num-processes and --process-id"
        ) from None
    finally:
        limit.cancel()
    return process


class Stop:
    """Notes SIGINT and SIGTERM while it is entered; a second one ends the process at once.

    A thread listens, for Python's own handlers wait until a long call of XLA returns.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.reason: signal.Signals | None = None

    def __enter__(self) -> "Stop":
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, lambda *_: None)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._mouth.close()

    def _listen(self) -> None:
        with self._ear:
            self._hear()

    def _hear(self) -> None:
        while heard := self._ear.recv(1):
            if heard[0] not in self._before:
                continue
            if self.reason is not None:
                os._exit(128 + heard[0])
            self.reason = signal.Signals(heard[0])
            print("Stopping after this block; once more ends it at once", file=sys.stderr)

    def __call__(self) -> bool:
        """Whether one has come."""
        return self.reason is not None


class Reporter:
    """Shows progress: a bar on a terminal, and with `verbose` a line for every block."""

    def __init__(self, points: Points, verbose: bool) -> None:
        """Begin with no point done."""
        self.realisations, self.verbose = points.experiment.num_realisations, verbose
        self.bar = tqdm(total=len(points), unit="point", disable=None)
        self.start = time.perf_counter()
        self.first: int | None = None
        self.complete = False

    def __call__(self, progress: Progress) -> None:
        """Show how far the sweep is."""
        self.complete = progress.points == progress.total
        for path in progress.damaged:
            self._say(f"{path} is damaged and is computed anew")
        for note in progress.notes:
            self._say(note)
        if self.first is None:
            self.first = self.bar.initial = progress.points
            if progress.points:
                self._say(f"{progress.points} of {progress.total} points are there already")
        rate = (progress.points - self.first) * self.realisations
        rate /= time.perf_counter() - self.start
        self.bar.set_postfix_str(f"{rate:.3g} realisations/s", refresh=False)
        self.bar.n = progress.points
        self.bar.refresh()
        if self.verbose and progress.block is not None:
            self._say(
                f"block {progress.block} in {progress.seconds:.2f} s, "
                f"{progress.points} of {progress.total} points, {rate:.3g} realisations/s"
            )

    @staticmethod
    def _say(line: str) -> None:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()


def describe(grid: Grid, points: Points) -> str:
    """Say in a few lines what is run."""
    experiment = grid.experiment
    return "\n".join(
        [
            f"{len(points)} points, {points.num_paths} paths of up to {experiment.num_iterations} "
            f"iterations, {experiment.num_realisations} realisations a point, {grid.precision}; "
            f"{describe_bytes(sum(count_bytes(points).values()))} of memory for the largest",
            *([points.describe_dropped()] if points.dropped else []),
        ]
    )


def describe_estimate(points: Points) -> str:
    """Say in a few lines what it will take."""
    taken = estimate(points)
    memory = describe_bytes(taken.host_bytes)
    if taken.device_bytes is not None:
        memory += f", {describe_bytes(taken.device_bytes)} on a device"
    realisations = len(points) * points.experiment.num_realisations
    return (
        f"{taken.programs} programs to compile, {_describe_range(taken.compile_seconds)} where the "
        f"cache has none\n"
        f"{realisations:.3g} realisations, {_describe_range(taken.seconds)} "
        f"on {jax.local_device_count()} x {jax.local_devices()[0].device_kind}\n"
        f"about {memory} of memory, however many points"
    )


def _describe_range(seconds: Range) -> str:
    return f"{seconds.low:.2g} to {seconds.high:.2g} s"


def describe_failure(error: OSError) -> str:
    """What went wrong in writing and what to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "Make room" if full else "Give an --out that can be written"
    return f"results cannot be written: {error}; what was written before is valid. {remedy}."


def main(arguments: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser()
    args = parser.parse_args(arguments)
    warnings.formatwarning = lambda message, *_, **__: f"grid.py: warning: {message}\n"
    try:
        widen_pool()
        process = find_process(args)
        grid = read_grid(args.config)
        configure_jax(grid.precision == "float64")
        points = Points(grid.experiment)  # which of them can be depends on the precision
        check_memory(points)
    except ValueError as error:
        parser.error(str(error))
    compilations, start = Compilations(), time.perf_counter()
    if process.index == 0:
        print(describe(grid, points), flush=True)
    if args.dry_run:
        if process.index == 0:
            print(describe_estimate(points))
        return 0
    if args.out is None:
        parser.error("--out is missing; give a directory, or --dry-run")
    again = f"To continue: {shlex.join(['python', sys.argv[0], *arguments])}"
    try:
        report = Reporter(points, args.verbose)
        with Stop() as stop:

            def between_blocks() -> bool:
                compilations.bound()
                return stop()

            complete = run_into(
                points,
                args.out,
                points_per_block=grid.points_per_block,
                description=grid.source,
                report=report,
                stop=between_blocks,
                process=process,
            )
    except ValueError as error:
        parser.error(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        parser.exit(1, f"grid.py: error: {describe_failure(error)} {again}\n")
    if not complete and stop.reason is not None:
        print(f"Stopped by {stop.reason.name}; finished blocks are kept. {again}")
        return 128 + stop.reason
    if report.complete:
        elapsed = time.perf_counter() - start
        print(f"Complete: {args.out}. {compilations}, {elapsed:.0f} s")
    return 0


if __name__ == "__main__":
    run_script(main)
