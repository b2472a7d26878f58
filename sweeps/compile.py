"""Compile every program of the library for accelerators that are not there, and say how it went.

The compilers of a TPU and of a GPU run on a CPU. The table has a row a program, precision and
device: whether it compiles; its launches and the turns of loops that wait for the host, in all and
an iteration; bytes that launches read and write, and floating-point operations; memory; and what is
slow there. The exit status is 1 where a program does not compile, or one for several devices makes
them wait for each other. It needs the extra `aot`, in a virtual environment of its own:
`.ci/compile` makes it.
"""

import argparse
import concurrent.futures
import math
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

HERE = Path(__file__).parent
# Only the CPU is asked for programs to run, and libtpu is not to look for a TPU's network.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# As for `topologies.get_topology_desc`: platform, name, and the file that describes one device.
TARGETS = {
    "tpu-v5e": ("tpu", "v5e:2x2", None),
    "h100": ("cuda", "1x1x4", "h100.txtpb"),
    "cpu": ("cpu", "", None),
}
BACKENDS = {
    "tpu": "tpu",
    "cuda": "gpu",
    "cpu": "cpu",
}  # names of platforms to `jax.default_backend`
PRECISIONS = ("float32", "float64")
COLUMNS = (
    *("device", "precision", "group", "program", "compiles", "error", "launches"),
    *("launches an iteration", "waits for the host", "loops", "loops of known bounds"),
    *("bytes", "flops", "memory", "slow"),
)


# Gives the cases; a function of a module, for it is called in a process of its own.
Source = Callable[[], Iterable[Any]]


class Job(NamedTuple):
    """A program to compile for a target."""

    target: str
    precision: str
    number: int


def devices_of(target: str) -> tuple[str, Any]:
    """Platform and devices to compile for."""
    import jax
    from jax.experimental import topologies

    platform, name, file = TARGETS[target]
    if platform == "cpu":
        return platform, jax.devices()
    settings = {"topology": name, "target_config": (HERE / file).read_text()} if file else {}
    described = topologies.get_topology_desc(target if file else name, platform, **settings)
    return platform, described.devices


def compile_case(case: Any, target: str) -> dict[str, Any]:
    """Compile a program for a target and read what it does."""
    import hlo
    import jax
    import numpy as np
    from cases import DEVICES
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    platform, devices = devices_of(target)
    mesh = Mesh(np.array(devices[: DEVICES if case.mesh else 1]), ("devices",))
    one, many = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("devices")))

    def abstract(tree: Any, sharding: NamedSharding) -> Any:
        def leaf(value: Any) -> jax.ShapeDtypeStruct:
            known = jax.typeof(jax.numpy.asarray(value))
            return jax.ShapeDtypeStruct(known.shape, known.dtype, sharding=sharding)

        return jax.tree.map(leaf, tree)

    places = [many if case.mesh and i else one for i in range(len(case.arguments))]
    arguments = [abstract(*pair) for pair in zip(case.arguments, places, strict=True)]
    function = (lambda *given: case.function(mesh, *given)) if case.mesh else case.function
    # What the library chooses by platform is chosen for the target, and nothing is left of another.
    jax.clear_caches()
    with mock.patch.object(jax, "default_backend", return_value=BACKENDS[platform]):
        traced = jax.jit(function).trace(*arguments)
    compiled = traced.lower(lowering_platforms=(platform,)).compile()
    reading = hlo.read(compiled.as_text() or "", case.turns)
    memory: Any = compiled.memory_analysis()
    if waiting := [part for part in hlo.COLLECTIVES if part in reading.slow]:
        raise RuntimeError(f"devices wait for each other: {', '.join(waiting)}")
    return {
        "launches": reading.launches,
        "launches an iteration": round(reading.launches / case.iterations, 2)
        if case.iterations
        else None,
        "waits for the host": 0 if platform == "tpu" else reading.waits,
        "loops": reading.loops,
        "loops of known bounds": reading.known,
        "bytes": float(f"{reading.bytes:.3g}"),
        "flops": float(f"{hlo.flops(traced.jaxpr.jaxpr, case.turns):.3g}"),
        "memory": int(memory.temp_size_in_bytes),
        "slow": "; ".join(f"{n} x {part}" for part, n in sorted(reading.slow.items())),
    }


def processor_seconds() -> float:
    """What this process has used of the processors."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def public_cases() -> Iterable[Any]:
    """All programs of the library."""
    from cases import cases

    return cases()


def work(connection: Any, source: Source, precision: str, limit: float, log: str) -> None:
    """Answer with the cases' names, then compile what is asked for; in a process of its own."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    jax.config.update("jax_enable_compilation_cache", False)

    every = list(source())
    connection.send([(case.group, case.name) for case in every])
    while True:
        asked, begun = connection.recv(), processor_seconds()
        # The system ends a process at its limit, be it in a compiler that listens to nothing.
        allowed = math.ceil(begun + limit)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        try:
            answer = {"compiles": True} | compile_case(every[asked.number], asked.target)
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            answer = {"compiles": False, "error": words[:300]}
        connection.send(answer | {"seconds": processor_seconds() - begun})


class Worker:
    """A process that compiles; a crash of the compiler, or too long a time, is an answer."""

    def __init__(self, source: Source, precision: str, limit: float) -> None:
        """Start it; the limit is of processor time for one program."""
        self._arguments = (source, precision, limit)
        self._process: Any = None
        self.names = self._begin()

    def _begin(self) -> list[tuple[str, str]]:
        """Start a process; groups and names of its cases."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._log = Path(tempfile.mkstemp(suffix=".log")[1])
        arguments = (other, *self._arguments, str(self._log))
        self._process = context.Process(target=work, args=arguments, daemon=True)
        self._process.start()
        other.close()
        try:
            return self._connection.recv()
        except EOFError:
            why = "".join(self._said()[-1:])
            self.stop()
            raise RuntimeError(f"no program can be made: {why}") from None

    def run(self, job: Job) -> dict[str, Any]:
        """Compile one program."""
        if self._process is None:
            self._begin()
        self._connection.send(job)
        try:
            return self._connection.recv()
        except EOFError:
            words = self._crash()
        self.stop()
        return {"compiles": False, "error": words, "seconds": math.nan}

    def _crash(self) -> str:
        """What became of the process."""
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGXCPU:
            return f"takes longer than {self._arguments[2]:g} s of the processor to compile"
        failed = [line for line in self._said() if "Check failed" in line][:1]
        how = signal.Signals(-code).name if code < 0 else f"exit {code}"
        return " ".join([f"the compiler crashed ({how})", *failed])[:300]

    def _said(self) -> list[str]:
        """Lines that the process has written."""
        return self._log.read_text(errors="replace").splitlines()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self._log.unlink()


def rows(args: argparse.Namespace, source: Source, precision: str) -> list[dict[str, Any]]:
    """A row of the table for every program and device, said as they come."""
    worker, found = Worker(source, precision, args.limit), []
    try:
        for number, (group, name) in enumerate(worker.names):
            for target in args.targets if args.only in f"{group}: {name}" else ():
                place = {"device": target, "precision": precision, "group": group, "program": name}
                row = place | worker.run(Job(target, precision, number))
                print(describe(row), flush=True)
                found.append(row)
    finally:
        worker.stop()
    return found


def describe(row: dict[str, Any]) -> str:
    """A row in a line."""
    where = f"{row['device']} {row['precision']} {row['group']}: {row['program']}"
    if not row["compiles"]:
        return f"FAIL {where}: {row['error']}"
    each, waits = row["launches an iteration"], row["waits for the host"]
    said = f"{row['launches']} launches ({each} an iteration), {waits} waits; {row['slow']}"
    return f"ok   {where}, {row['seconds']:.1f} s: {said}"


def listed(known: Any) -> Any:
    """A reader of names with commas between them."""

    def read(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split(",")))
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(known)}")
        return names

    return read


def make_parser() -> argparse.ArgumentParser:
    """Describe the options of the script."""
    from common import Parser, option, positive

    parser = Parser(prog="compile.py", description=__doc__)
    group = parser.add_argument_group("what")
    text = f"devices with commas between them: {', '.join(TARGETS)}"
    option(group, "--for", text, dest="targets", type=listed(TARGETS), default="tpu-v5e,h100")
    option(group, "--precision", "likewise", type=listed(PRECISIONS), default=",".join(PRECISIONS))
    option(group, "--only", "programs with this in 'group: name'", default="", metavar="TEXT")
    option(group, "--limit", "processor seconds for one program", type=positive, default=120.0)
    option(group, "--out", "table to write", type=Path, metavar="FILE.csv")
    return parser


def main(arguments: list[str] | None = None, source: Source = public_cases) -> int:
    """Run the script, on these cases; return its exit status."""
    os.environ |= ENVIRONMENT
    import pandas as pd

    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.out is not None and (args.out.is_dir() or not args.out.parent.is_dir()):
        parser.error(f"--out {args.out} is no file in a folder that is there; give one")
    start = time.perf_counter()
    # A process a precision, for that is a setting of the whole of JAX.
    with concurrent.futures.ThreadPoolExecutor(len(args.precision)) as pool:
        found = pool.map(partial(rows, args, source), args.precision)
        table = pd.DataFrame([row for part in found for row in part], columns=list(COLUMNS))
    if table.empty:
        parser.error(f"--only {args.only!r} is in no 'group: name'; give a part of one, or none")
    failed = int((~table["compiles"].astype(bool)).sum())
    if args.out is not None:
        for name in ("launches", "waits for the host", "loops", "loops of known bounds", "memory"):
            table[name] = table[name].astype("Int64")
        table.to_csv(args.out, index=False)
    print(f"{len(table) - failed} of {len(table)} compile; {time.perf_counter() - start:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    from common import run_script

    run_script(main)
