"""Things of an experiment by name: what the table says of them, and what tells them apart."""

import dataclasses
import inspect
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np

from lagc_jax._checks import concrete
from lagc_jax._display import brief
from lagc_jax._tables import CATEGORIES, DESIGN, RESULTS
from lagc_jax.cluster import Cluster
from lagc_jax.delays.contract import as_source
from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.identity import identity, is_own
from lagc_jax.problems.base import Problem

SIZES = ("num_workers", "num_groups", "redundancy", "xi", "memory", "trigger")
# Columns that no argument of a source may take the place of.
TAKEN = {"point", *CATEGORIES, "cluster", "num_workers", *DESIGN, *RESULTS}


class Entry(NamedTuple):
    """A thing with its name.

    Attributes:
        name: in the experiment.
        value: the thing; of a problem, a function of the number of workers that makes it.
        parameters: what the table says of it, by column.
        identity: of its name and content.
    """

    name: str
    value: Any
    parameters: Mapping[str, Any]
    identity: str


@dataclasses.dataclass(frozen=True)
class Given:
    """A problem that is there already, as a function of the number of workers."""

    problem: Problem

    def __call__(self, num_workers: int) -> Problem:
        return self.problem

    def read(self, num_workers: int) -> list[str]:
        """Nothing: its identity is that of its content."""
        return []

    def misfit(self, num_workers: int) -> str | None:
        """Why it does not fit so many workers, None where it does."""
        if self.problem.num_partitions != num_workers:
            return "the problem has another number of partitions than num_workers"
        return None


@dataclasses.dataclass(frozen=True)
class Made:
    """A problem that a function of `num_workers` and fixed arguments makes."""

    make: Callable[..., Problem]
    arguments: Mapping[str, Any]

    def __call__(self, num_workers: int) -> Problem:
        return self.make(num_workers=num_workers, **self.arguments)

    def read(self, num_workers: int) -> list[str]:
        """Identity of what a function of a user's own makes, which may read a file that changes."""
        own = is_own(getattr(self.make, "func", self.make))
        return [identity(self(num_workers))] if own else []

    def misfit(self, num_workers: int) -> str | None:
        """Why it cannot be made, where the function has a `misfit` that knows; None otherwise."""
        known = getattr(self.make, "misfit", None)
        return None if known is None else known(num_workers=num_workers, **self.arguments)


@contextmanager
def noted(words: str) -> Generator[None, None, None]:
    """Add to a ValueError which things it is about; its message stays that of every door."""
    try:
        yield
    except ValueError as error:
        error.add_note(words)
        raise


def flat(things: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and things, lists of things one by one."""
    for name, thing in things.items():
        listed = isinstance(thing, list | tuple) and not hasattr(thing, "_fields")
        yield from ((name, one) for one in (thing if listed else [thing]))


def problem_entries(things: Mapping[str, Any]) -> list[Entry]:
    """Entries whose values are functions of the number of workers."""
    entries = []
    for name, thing in flat(things):
        if isinstance(thing, Vary):
            made = (Made(thing.make, arguments) for arguments in thing)
            entries += [_problem(name, value, value.arguments) for value in made]
        elif callable(thing):
            _check_maker(name, thing)
            entries.append(_problem(name, Made(thing, {}), {}))  # type: ignore[arg-type]
        else:
            entries.append(_problem(name, Given(thing), {}))
    return _distinct("problems", entries)


def _check_maker(name: str, make: Callable[..., Any]) -> None:
    """Raise ValueError unless a function makes a problem of `num_workers`."""
    try:
        inspect.signature(make).bind(num_workers=1)
    except TypeError as error:
        raise ValueError(
            f"problems[{name!r}] cannot be called with num_workers alone ({error}); give a "
            f"function of num_workers that makes a problem"
        ) from None
    except ValueError:
        pass  # compiled code does not tell


def _problem(name: str, value: Given | Made, arguments: Mapping[str, Any]) -> Entry:
    return _entry(name, value, {f"problem_{key}": shown(each) for key, each in arguments.items()})


def _entry(name: str, value: Any, parameters: Mapping[str, Any]) -> Entry:
    return Entry(name, value, parameters, identity((name, value)))


def delay_entries(things: Mapping[str, Any]) -> list[Entry]:
    """Entries of sources of times."""
    entries = []
    for name, thing in flat(things):
        with noted(f"This is delays[{name!r}]."):
            entries += _delays(name, thing)
    return _distinct("delays", entries)


def _delays(name: str, thing: Any) -> Iterator[Entry]:
    """Entries of one source of times, or of a family of them."""
    if isinstance(thing, Vary):
        for arguments in thing:
            columns = {_column(key): _told(each) for key, each in arguments.items()}
            yield _entry(name, as_source(thing.make(**arguments)), columns)
    else:
        source = as_source(thing)
        yield _entry(name, source, {_column(key): each for key, each in scalars(source)})


def _column(argument: str) -> str:
    """The column of an argument of a source: its name, unless the table has one of that name."""
    return f"delays_{argument}" if argument in TAKEN else argument


def _told(value: Any) -> Any:
    """An argument of a source as a column holds it, a source within it in a few words."""
    return brief(value) if dataclasses.is_dataclass(value) else shown(value)


def cluster_entries(things: Mapping[str, Any] | None) -> list[Entry]:
    """Entries of clusters; the paper's alone has no column."""
    if things is None:
        return [Entry("none", None, {}, "none")]
    entries = []
    for name, thing in flat(things):
        made = [thing.make(**each) for each in thing] if isinstance(thing, Vary) else [thing]
        for value in made:
            if not isinstance(value, Cluster | None):
                raise ValueError(f"clusters[{name!r}]={value!r} is no Cluster; give one, or None")
            columns = {f"cluster_{key}": each for key, each in scalars(value)}
            entries.append(_entry(name, value, {"cluster": name} | columns))
    return _distinct("clusters", entries)


def scalars(thing: Any) -> Iterator[tuple[str, Any]]:
    """Fields of a thing, and of those inside it, that are one number or text."""
    if not dataclasses.is_dataclass(thing):
        return
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if dataclasses.is_dataclass(value):
            yield from scalars(value)
        elif value is not None and (found := shown(value)) is not None:
            yield field.name, found


def shown(value: Any) -> Any:
    """A number, truth or text as a column holds it, None for anything else."""
    if isinstance(value, bool | int | float | str):
        return value
    known = concrete(value) if isinstance(value, np.ndarray | np.generic | jax.Array) else None
    return known.item() if known is not None and known.ndim == 0 else None


def options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a constructor's arguments beside sizes, `scheme_*` but for names of the field."""
    columns = {name: shown(value) for name, value in arguments.items() if name not in SIZES}
    return {
        name if name in DESIGN and name not in CATEGORIES else f"scheme_{name}": value
        for name, value in columns.items()
        if value is not None
    }


def check_kinds(all_parameters: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValueError where a column would hold numbers and text, or truths, as no table does."""
    seen: dict[str, Any] = {}
    for name, value in (item for parameters in all_parameters for item in parameters.items()):
        other = seen.setdefault(name, value) if value is not None else None
        if other is not None and _kind(other) != _kind(value):
            raise ValueError(
                f"column {name!r} would hold {other!r} and {value!r}; give arguments of this name "
                f"one type, or another name"
            )


def _kind(value: Any) -> str:
    return "truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def _distinct(kind: str, entries: list[Entry]) -> list[Entry]:
    """Raise ValueError where two entries are the same, or could not be told apart in a table."""
    seen: dict[Hashable, Entry] = {}
    for entry in entries:
        same = (entry.name, tuple(entry.parameters.items()))
        if same in seen:
            what = "are the same" if seen[same].identity == entry.identity else "look the same"
            raise ValueError(
                f"{kind} has two of name {entry.name!r} that {what} in the table "
                f"({dict(entry.parameters)}); give each a name of its own"
            )
        seen[same] = entry
    return entries


def check_precision(experiment: Experiment) -> None:
    """Raise ValueError for values that single precision cannot tell apart, or not at all."""
    if jax.config.read("jax_enable_x64"):
        return
    lists = [
        (experiment.target.column, np.asarray(experiment.target.levels).tolist()),
        ("quantiles", experiment.quantiles),
        ("step_sizes", experiment.step_sizes),
    ]
    for things in (experiment.problems, experiment.schemes, experiment.delays):
        for name, thing in flat(things):
            lists += [
                (f"{name} {argument}", values)
                for argument, values in (thing.values.items() if isinstance(thing, Vary) else ())
            ]
    remedy = "give others, or enable jax_enable_x64 (precision = 'float64')"
    for name, values in lists:
        seen: dict[float, float] = {}
        for value in values:
            if isinstance(value, float):
                single = float(np.float32(value))
                if value and (not single or np.isinf(single) > np.isinf(value)):
                    raise ValueError(f"{name}={value} is {single} in float32; {remedy}")
                if single in seen:
                    raise ValueError(f"{name}={value} equals {seen[single]} in float32; {remedy}")
                seen[single] = value
