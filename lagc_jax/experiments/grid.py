"""An experiment as written in a file: TOML tables whose lists multiply, checked before a run.

A `[[problem]]`, `[[scheme]]`, `[[delays]]` or `[[cluster]]` is a constructor and its arguments,
each a value or a list of values; a file may name constructors of its user's by import path.
"""

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lagc_jax._checks import finite, not_negative, positive, probability, whole_number
from lagc_jax._keys import make_key
from lagc_jax.clock import SAMPLERS
from lagc_jax.cluster import Cluster, Link
from lagc_jax.delays.availability import OnOff, Roster
from lagc_jax.delays.families import FAMILIES
from lagc_jax.delays.reading import Reading
from lagc_jax.delays.stragglers import Bursty, Failures
from lagc_jax.delays.traces import Trace
from lagc_jax.delays.varying import Diurnal, Drift
from lagc_jax.energy import Energy
from lagc_jax.experiments._values import (
    PARAMETERS,
    Reader,
    load_object,
    modules_beside,
    read_choice,
    read_named,
    read_number,
    read_realisations,
    read_seed,
    read_starts,
    read_text,
    read_value,
    read_values,
)
from lagc_jax.experiments.experiment import STEP_UNITS, Experiment, Vary
from lagc_jax.experiments.files import CsvProblem, Generated, ImageProblem
from lagc_jax.problems.data import LOSSES
from lagc_jax.schemes.catalogue import CATALOGUE
from lagc_jax.targets import Accuracy, Gap, Iterate, Several, Target

PRECISIONS = ("float32", "float64")
TABLES = ("problem", "scheme", "delays", "cluster")
# What a file leaves at its default.
LEFT = ("key", "num_workers", "code", "assignment", "encoding")
WRAPPERS = {
    "bursty": Bursty,
    "on_off": OnOff,
    "roster": Roster,
    "failures": Failures,
    "drift": Drift,
    "diurnal": Diurnal,
}


class Grid(NamedTuple):
    """A grid before it is run; made by `read_grid`.

    Attributes:
        experiment: what is run.
        precision: "float32" or "float64".
        points_per_block: most points computed and written together.
        source: its settings and tables in full.
    """

    experiment: Experiment
    precision: str
    points_per_block: int
    source: dict[str, Any]


def _read_energy(name: str, value: Any) -> Energy:
    """Prices of a table."""
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is no table; give {name} = {{ per_gradient = 1.0 }}")
    _check_keys(name, value, [price.name for price in fields(Energy)])
    return Energy(**{key: read_number(not_negative, key, price) for key, price in value.items()})


SETTINGS: dict[str, tuple[Reader, Any]] = {
    "seed": (read_seed, 0),
    "iterations": (whole_number, inspect.Parameter.empty),
    "realisations": (read_realisations, 1000),
    "precision": (partial(read_choice, PRECISIONS), "float64"),
    "accuracies": (partial(read_number, positive), [1e-8]),
    "levels": (partial(read_number, finite), []),
    "iterates": (partial(whole_number, minimum=0), []),
    "record": (load_object, None),
    "step_unit": (partial(read_choice, STEP_UNITS), "1/L"),
    "starts": (read_starts, {}),
    "quantiles": (partial(read_number, probability), [0.05, 0.5, 0.95]),
    "sampler": (partial(read_choice, SAMPLERS), None),
    "energy": (_read_energy, None),
    "points_per_block": (whole_number, 256),
}


def read_grid(path: str | Path) -> Grid:
    """Read a grid from a TOML file.

    Args:
        path: the file: settings (`seed`, `iterations`, `realisations`, `precision`, `step_unit`,
            `quantiles`, `sampler`, `points_per_block`; `energy`, a table of prices; what is to be
            reached: `accuracies`, that is gaps, `levels` of what a function
            `record = "module:name"` gives, `iterates`; `starts`, a table of import paths or lists
            by the names of problems) and any number of `[[problem]]`, `[[scheme]]`, `[[delays]]`
            and `[[cluster]]`, in which every parameter is a value or a list of them.

    Raises:
        ValueError: for a file that is missing or no TOML, an unknown key (the nearest right name is
            named), and any value out of its range.
    """
    return parse_grid(_load(Path(path)), Path(path).parent)


def read_things(path: str | Path) -> dict[str, dict[str, list[Any]]]:
    """Problems, schemes, delays and clusters of a file that need not be a whole grid, by name.

    Raises:
        ValueError: as for `read_grid`.
    """
    tables, folder = _load(Path(path)), Path(path).parent
    _check_keys("the file", tables, (*SETTINGS, *TABLES))
    with modules_beside(folder):
        return {
            name: _read_all(tables, name, partial(read, folder), required=False)
            for name, read in READERS.items()
        }


def _load(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"config={path} cannot be read ({error}); give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config={path} is not TOML: {error}") from None
    except RecursionError:
        raise ValueError(f"config={path} is nested too deeply; give lists of values") from None


def parse_grid(tables: Mapping[str, Any], folder: Path = Path()) -> Grid:
    """Check the tables of a grid, as TOML gives them, and make a `Grid` of them.

    Args:
        tables: as `tomllib` reads them.
        folder: where the relative paths of files start and modules of import paths may lie.

    Raises:
        ValueError: as for `read_grid`.

    >>> scheme = {"name": "LAG", "num_workers": [3, 4], "xi": [0.1, 1.0]}
    >>> delays = {"family": "exponential", "rate": 1.0}
    >>> grid = parse_grid({"iterations": 10, "problem": [{}], "scheme": [scheme],
    ...                    "delays": [delays]})
    >>> grid.experiment.schemes["LAG"][0].values["xi"], grid.precision
    ((0.1, 1.0), 'float64')
    """
    _check_keys("the file", tables, (*SETTINGS, *TABLES))
    with modules_beside(folder):
        settings = {name: _setting(tables, name, *each) for name, each in SETTINGS.items()}
        things = {
            name: _read_all(tables, name, partial(read, folder), required=name != "cluster")
            for name, read in READERS.items()
        }
    experiment = Experiment(
        problems=things["problem"],
        schemes=things["scheme"],
        delays=things["delays"],
        clusters=things["cluster"] or None,
        num_iterations=settings["iterations"],
        num_realisations=settings["realisations"],
        target=_target(tables, settings),
        step_unit=settings["step_unit"],
        starts=settings["starts"],
        quantiles=settings["quantiles"],
        sampler=settings["sampler"],
        energy=settings["energy"],
        key=make_key(settings["seed"]),
    )
    source = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.items()
        if name in tables or value not in (None, (), {})
    }
    as_written = (*TABLES, "record", "starts", "energy")
    source |= {name: tables[name] for name in as_written if name in tables}
    return Grid(experiment, settings["precision"], settings["points_per_block"], source)


def _target(tables: Mapping[str, Any], settings: Mapping[str, Any]) -> Target:
    """Gaps, levels of a record and iterates, whichever are given."""
    record = settings["record"]
    makers = {
        "accuracies": Gap,
        "levels": partial(Accuracy, record=record),
        "iterates": partial(Iterate, record=record),
    }
    given = [name for name in makers if name in tables] or ["accuracies"]
    targets = tuple(makers[name](settings[name]) for name in given)
    return targets[0] if len(targets) == 1 else Several(targets)


def _setting(tables: Mapping[str, Any], name: str, read: Reader, default: Any) -> Any:
    value = tables.get(name, default)
    if value is inspect.Parameter.empty:
        raise ValueError(f"{name} is missing; give the length of the longest path")
    if isinstance(default, list):
        none = value == [] and (name == "quantiles" or name not in tables)
        return () if none else read_values(name, value, read)
    return None if value is None else read(name, value)


def _read_all(
    tables: Mapping[str, Any],
    name: str,
    read: Callable[[str, dict[str, Any]], tuple[str, Any]],
    required: bool,
) -> dict[str, list[Any]]:
    """Things of one kind by name; raise ValueError where there is none."""
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise ValueError(f"{name} is not a list of tables; begin each with [[{name}]]")
    if required and not found:
        raise ValueError(f"[[{name}]] is missing; give at least one")
    things: dict[str, list[Any]] = {}
    for number, table in enumerate(found, 1):
        label, thing = read(f"[[{name}]] {number}", table)
        things.setdefault(label, []).append(thing)
    return things


def _check_keys(where: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for key in table:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1, cutoff=0.0)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"unknown key {key!r} in {where}; {hint}It takes {allowed}")


def _family(
    where: str, make: Callable[..., Any], table: Mapping[str, Any], without: Iterable[str] = LEFT
) -> Vary:
    """A constructor with the values of its arguments, defaults for those not in the table."""
    takes = inspect.signature(make).parameters
    taken = {n: p.default for n, p in takes.items() if n not in without}
    _check_keys(where, table, taken)
    lists = {}
    for name, default in taken.items():
        if name in table:
            read = PARAMETERS.get(name, read_value)
            lists[name] = read_values(f"{where} {name}", table[name], read)
        elif default is inspect.Parameter.empty:
            raise ValueError(f"{name} is missing in {where}; give a value or a list of values")
        elif isinstance(default, bool | int | float | str):
            lists[name] = (default,)
    return Vary(make, **lists)


def _read_problem(folder: Path, where: str, table: dict[str, Any]) -> tuple[str, Any]:
    kind = table.get("kind", "synthetic")
    given = {k: v for k, v in table.items() if k not in ("kind", "name")}
    if not isinstance(kind, str) or ":" not in kind:
        read_choice((*Generated.KINDS, "csv", "images"), f"{where} kind", kind)
    name = read_text(f"{where} name", table.get("name", kind))
    if kind in ("csv", "images"):
        if "file" not in given:
            what = "a CSV file" if kind == "csv" else "an .npz file"
            raise ValueError(f"file is missing in {where}; give the path of {what}")
        file = read_text(f"{where} file", given.pop("file"))
        if kind == "images":
            make: Any = ImageProblem(folder, file)
        else:
            loss = read_choice(LOSSES, f"{where} loss", given.pop("loss", "linear"))
            make = CsvProblem(folder, file, given.pop("target", None), loss)
        return name, _family(where, make, given)
    make = load_object(f"{where} kind", kind) if ":" in kind else Generated(kind)
    return name, _family(where, make, given)


def _read_scheme(folder: Path, where: str, table: dict[str, Any]) -> tuple[str, Any]:
    if "name" not in table:
        raise ValueError(f"name is missing in {where}; give one of {list(CATALOGUE)}")
    make = read_named(CATALOGUE, f"{where} name", table["name"])
    given = {k: v for k, v in table.items() if k not in ("name", "step_size")}
    vary = _family(where, make, given, (*LEFT[2:], "key"))
    steps = read_values(f"{where} step_size", table.get("step_size", 1.0), PARAMETERS["step_size"])
    return table["name"], Vary(make, **vary.values, step_size=steps)


def _read_delays(folder: Path, where: str, table: dict[str, Any]) -> tuple[str, Any]:
    """A family, a trace from a file, or an import path, in bursts or failures if asked for."""
    given = {k: v for k, v in table.items() if k not in ("name", "family", *WRAPPERS)}
    if "file" in given:
        if "family" in table:
            raise ValueError(f"{where} has a file and a family; give one of them")
        path = folder / read_text(f"{where} file", given.pop("file"))
        reading = {name: given.pop(name) for name in READING if name in given}
        vary = _family(where, partial(_trace, Trace.from_csv(path, **reading)), given)
        family = "trace"
    elif "family" in table:
        family = table["family"]
        vary = _family(where, read_named(FAMILIES, f"{where} family", family), given)
    else:
        raise ValueError(f"family is missing in {where}; give one of {list(FAMILIES)}, or a file")
    make, lists = vary.make, dict(vary.values)
    for word, wrapper in WRAPPERS.items():
        if word in table:
            inner = table[word]
            if not isinstance(inner, dict):
                raise ValueError(f"{word}={inner!r} in {where} is no table; give {word} = {{..}}")
            if word == "roster":
                inner = _who_is_there(folder, f"{where} roster", inner)
            outer = _family(f"{where} {word}", wrapper, inner, ("delays",))
            make, lists = _Around(wrapper, tuple(outer.values), make), lists | outer.values
    return read_text(f"{where} name", table.get("name", family)), Vary(make, **lists)


def _who_is_there(folder: Path, where: str, table: dict[str, Any]) -> dict[str, Any]:
    """The table of a roster as one value, from a file of rows of 0 and 1 if it names one."""
    given = dict(table)
    if "file" in given:
        path = folder / read_text(f"{where} file", given.pop("file"))
        try:
            given["present"] = np.loadtxt(path, delimiter=",", ndmin=2).tolist()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{where} file={path} cannot be read ({error}); give rows of 0 and 1, separated by "
                f"commas, a row an iteration and a column a worker"
            ) from None
    return given | ({"present": [given["present"]]} if "present" in given else {})


READING = ("header", *Reading.__annotations__)


def _trace(trace: Trace, resample: str = "iid", block: int = 1) -> Trace:
    return trace.resampled(resample, block)


class _Around(NamedTuple):
    """A constructor of times inside a wrapper, which takes some of the arguments."""

    wrapper: Callable[..., Any]
    names: tuple[str, ...]
    make: Callable[..., Any]

    def __call__(self, **arguments: Any) -> Any:
        outer = {name: arguments.pop(name) for name in self.names}
        return self.wrapper(self.make(**arguments), **outer)


def _read_cluster(folder: Path, where: str, table: dict[str, Any]) -> tuple[str, Any]:
    given = {k: v for k, v in table.items() if k != "name"}
    name = read_text(f"{where} name", table.get("name", "cluster"))
    return name, _family(where, _cluster, given) if given else None


def _cluster(
    startup: Any = None,
    timeout: Any = None,
    independent: bool = False,
    latency: Any = None,
    bandwidth: Any = None,
    download_size: Any = None,
    upload_size: Any = None,
    shared: bool | None = None,
) -> Cluster:
    """A cluster whose link's parts stand beside its own."""
    link = dict(
        latency=latency,
        bandwidth=bandwidth,
        download_size=download_size,
        upload_size=upload_size,
        shared=shared,
    )
    given = {name: value for name, value in link.items() if value is not None}
    return Cluster(startup, Link(**given) if given else None, timeout, independent)


READERS = {
    "problem": _read_problem,
    "scheme": _read_scheme,
    "delays": _read_delays,
    "cluster": _read_cluster,
}
