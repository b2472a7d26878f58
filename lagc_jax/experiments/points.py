"""The points of a sweep in the order in which they are computed, without holding them all."""

import itertools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import numpy as np

from lagc_jax.clock import clock_of
from lagc_jax.experiments.grid import (
    SCHEMES,
    SETTINGS,
    Config,
    DelayEntry,
    ProblemEntry,
    SchemeEntry,
    combinations,
)
from lagc_jax.experiments.store import DIGITS, digest
from lagc_jax.schemes.base import Scheme

SIZES = (
    "problem",
    "scheme",
    "num_workers",
    "num_groups",
    "redundancy",
    "xi",
    "memory",
    "trigger",
)
OPTIONS = ("bits", "num_waited", "deadline", "silence", "snapshot_life", "load")


class Point(NamedTuple):
    """One combination of a sweep.

    Attributes:
        number: from 0, in the order of the sweep.
        problem, delays: entries of the configuration.
        name: of the scheme.
        scheme: sizes, trigger and `xi`.
        step_size: in units of `1/L`.
        options: what few schemes take, by name, of `OPTIONS`.
    """

    number: int
    problem: ProblemEntry
    name: str
    scheme: Scheme
    step_size: float
    delays: DelayEntry
    options: Mapping[str, Any]


class _Cell(NamedTuple):
    """Points that share problem, sizes, trigger and memory: `xi` x step size x `r` x delays."""

    problem: ProblemEntry
    entry: SchemeEntry
    sizes: dict[str, Any]
    xis: tuple
    steps: tuple
    redundancies: tuple


class Points:
    """The points of a sweep, made when asked for.

    Points of one path are neighbours, so that a block needs few paths: the problem varies slowest,
    then sizes, `xi`, step size, redundancy and delays.

    Attributes:
        dropped: numbers of impossible points by reason.

    >>> from lagc_jax.experiments.grid import parse_config
    >>> scheme = {"name": "G-LAG", "num_workers": 4, "num_groups": [2, 3], "xi": [0.1, 1.0]}
    >>> points = Points(parse_config({"iterations": 10, "problem": [{}], "scheme": [scheme],
    ...                               "delays": [{"family": "exponential", "rate": 1.0}]}))
    >>> len(points), points[1].scheme.xi, points.describe_dropped()
    (2, 1.0, '2 points dropped: num_groups does not divide num_workers')
    """

    def __init__(self, config: Config) -> None:
        """Combine the lists; raise ValueError where none is possible or a sampler is refused."""
        self.config = config
        self.dropped: Counter[str] = Counter()
        self._cells = list(self._combine())
        sizes = [len(c.xis) * len(c.steps) * len(c.redundancies) for c in self._cells]
        self._ends = list(accumulate(size * len(config.delays) for size in sizes))
        if not self._cells:
            raise ValueError(f"no combination is possible: {self.describe_dropped()}")

    def _combine(self) -> Iterable[_Cell]:
        for problem in self.config.problems:
            cells = [
                cell for entry in self.config.schemes for cell in self._cells_of(problem, entry)
            ]
            # By number of workers, since every number is a problem of its own.
            yield from sorted(cells, key=lambda cell: cell.sizes["num_workers"])

    def _cells_of(self, problem: ProblemEntry, entry: SchemeEntry) -> Iterable[_Cell]:
        axes = {name: entry.values.get(name, (None,)) for name in ("xi", "step_size", "redundancy")}
        inner = len(axes["xi"]) * len(axes["step_size"]) * len(self.config.delays)
        for sizes in combinations({k: v for k, v in entry.values.items() if k not in axes}):
            reason = problem.impossible(sizes["num_workers"])
            fitting = []
            for redundancy in axes["redundancy"]:
                given = entry.name, axes["xi"][0], redundancy
                why = reason or _misfit(*given, sizes)
                if why is None:
                    asked, delays = self.config.source.get("sampler"), self.config.delays[0].delays
                    clock_of(_make(*given, sizes), delays, sampler=asked)
                    fitting.append(redundancy)
                else:
                    self.dropped[why] += inner
            if fitting:
                yield _Cell(problem, entry, sizes, axes["xi"], axes["step_size"], tuple(fitting))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Point:
        number = bisect_right(self._ends, index)
        cell = self._cells[number]
        place = index - (self._ends[number - 1] if number else 0)
        place, delays = divmod(place, len(self.config.delays))
        place, redundancy = divmod(place, len(cell.redundancies))
        xi, step = divmod(place, len(cell.steps))
        return Point(
            index,
            cell.problem,
            cell.entry.name,
            _make(cell.entry.name, cell.xis[xi], cell.redundancies[redundancy], cell.sizes),
            cell.steps[step],
            self.config.delays[delays],
            {name: cell.sizes[name] for name in OPTIONS if name in cell.sizes},
        )

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def keys(self) -> np.ndarray:
        """Hashes (N,) of all that the numbers of each point depend on, the keys of its results."""
        names = (name for name in SETTINGS if name != "points_per_block")
        settings = {name: getattr(self.config, name) for name in names}
        delays = [digest([entry.family, entry.parameters]) for entry in self.config.delays]

        def each() -> Iterator[bytes]:
            for cell in self._cells:
                problem = [cell.problem.name, cell.problem.kind, cell.problem.parameters]
                shared = digest([settings, problem, cell.entry.name, cell.sizes])
                for values in itertools.product(cell.xis, cell.steps, cell.redundancies):
                    start = f"{shared}{digest(values)}"
                    yield from (digest(f"{start}{end}".encode()).encode() for end in delays)

        return np.fromiter(each(), f"S{DIGITS}", len(self))

    @property
    def columns(self) -> list[str]:
        """Names of all parameters, in the order of the table."""
        config = self.config
        options = [name for name in OPTIONS if any(name in cell.sizes for cell in self._cells)]
        delays = [name for entry in config.delays for name in entry.parameters]
        problems = [f"problem_{name}" for entry in config.problems for name in entry.parameters]
        names = (*SIZES, *options, "step_size", "delays", *delays, *problems)
        return list(dict.fromkeys(names))

    @property
    def num_paths(self) -> int:
        """Paths to compute, one for all redundancies and delays."""
        return sum(len(cell.xis) * len(cell.steps) for cell in self._cells)

    def one_a_structure(self) -> Iterator[Point]:
        """Points with every problem, sizes, redundancy and family; other values do not matter."""
        families = {entry.family: i for i, entry in enumerate(self.config.delays)}
        start = 0
        for cell, end in zip(self._cells, self._ends, strict=True):
            for redundancy in range(len(cell.redundancies)):
                for delays in families.values():
                    yield self[start + redundancy * len(self.config.delays) + delays]
            start = end

    def describe_dropped(self) -> str:
        """Say in a line what was dropped and why."""
        reasons = (f"{count} points dropped: {why}" for why, count in self.dropped.items())
        return "; ".join(reasons)


def _make(name: str, xi: float | None, redundancy: int | None, sizes: dict) -> Scheme:
    return _scheme(bool(jax.config.read("jax_enable_x64")), name, xi, redundancy, **sizes)


@lru_cache(maxsize=4096)
def _scheme(
    double: bool, name: str, xi: float | None, redundancy: int | None, **sizes: Any
) -> Scheme:
    """Made once for each precision, on which the matrices of codes depend."""
    given = {"xi": xi, "redundancy": redundancy} | sizes
    return SCHEMES[name](**{k: v for k, v in given.items() if v is not None})


def _misfit(name: str, xi: float | None, redundancy: int | None, sizes: dict) -> str | None:
    """Why sound values do not fit each other, without the values; None where they do."""
    try:
        _make(name, xi, redundancy, sizes)
    except ValueError as error:
        reason = str(error).partition(";")[0]
        return re.sub(r"=\S+| \d+(?= )", "", reason)
    return None


def count_programs(points: Iterable[Point], sampler: str) -> int:
    """Number of large programs that points need: of paths, of clocks and of exact means."""
    programs = set()
    for point in points:
        scheme, family = point.scheme, point.delays.family
        sizes = (scheme.num_workers, scheme.num_groups)
        if not scheme.decoder.anonymous:
            kind = (scheme.redundancy, type(scheme.decoding).__name__, family)
            programs.add(("batch", point.problem.shape, *sizes, *kind))
            continue
        tabled = 1 < scheme.redundancy < scheme.group_size
        clock = tabled if sampler == "direct" else (*sizes, scheme.redundancy)
        programs |= {
            ("path", point.problem.shape, *sizes, scheme.trigger, scheme.memory, scheme.optimizer),
            ("clock", family, clock),
            ("means", family, scheme.num_groups),
        }
    return len(programs)


def structure(point: Point) -> tuple:
    """What decides which programs a point needs, and about how long they run."""
    scheme = point.scheme
    sizes = (scheme.num_workers, scheme.num_groups, scheme.redundancy, scheme.memory)
    return (point.problem.shape, point.name, *sizes, scheme.trigger, point.delays.family)


def parameters(point: Point) -> dict[str, Any]:
    """What the table says of a point beside its number."""
    scheme = point.scheme
    return {
        "problem": point.problem.name,
        "scheme": point.name,
        "num_workers": scheme.num_workers,
        "num_groups": scheme.num_groups,
        "redundancy": scheme.redundancy,
        "xi": scheme.xi,
        "memory": scheme.memory,
        "trigger": str(scheme.trigger),
        **point.options,
        "step_size": point.step_size,
        "delays": point.delays.family,
        **point.delays.parameters,
        **{f"problem_{name}": value for name, value in point.problem.parameters.items()},
    }
