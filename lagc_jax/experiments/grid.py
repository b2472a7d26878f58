"""A sweep as written in a file: TOML tables whose lists multiply, checked before anything runs."""

import hashlib
import inspect
import itertools
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lagc_jax._checks import not_negative, positive, probability, whole_number
from lagc_jax._keys import fold_in, make_key
from lagc_jax.clock import SAMPLERS
from lagc_jax.delays.base import Delays
from lagc_jax.delays.families import FAMILIES
from lagc_jax.experiments.distinct import check_distinct
from lagc_jax.problems.base import Problem
from lagc_jax.problems.data import load_csv
from lagc_jax.problems.linear import (
    gaussian_linear_regression,
    linear_regression,
    synthetic_linear_regression,
)
from lagc_jax.problems.stochastic import minibatch
from lagc_jax.schemes.base import TRIGGERS, Scheme
from lagc_jax.schemes.catalogue import (
    approximate_gc,
    cada,
    erasure_head,
    fastest_k,
    first_decodable,
    g_cada,
    g_lag,
    gc,
    gd,
    grouping,
    lag,
    lagc,
    laq,
    lasg,
    stochastic_gc,
)

SCHEMES: dict[str, Callable[..., Scheme]] = {
    "GD": gd,
    "GC": gc,
    "grouping": grouping,
    "LAG": lag,
    "LAGC": lagc,
    "G-LAG": g_lag,
    "LAQ": laq,
    "LASG": lasg,
    "CADA": cada,
    "G-CADA": g_cada,
    "first decodable": first_decodable,
    "fastest-k": fastest_k,
    "stochastic GC": stochastic_gc,
    "approximate GC": approximate_gc,
    "ErasureHead": erasure_head,
}
MATRICES = ("code", "assignment", "encoding")  # that a file leaves at their defaults
PROBLEMS: dict[str, Callable[..., Problem]] = {
    "synthetic": synthetic_linear_regression,
    "gaussian": gaussian_linear_regression,
}
OPTIONAL = ("batch_size",)  # of any problem; full gradients without it
PRECISIONS = ("float32", "float64")

Reader = Callable[[str, Any], Any]


def _seed(name: str, value: Any) -> int:
    if whole_number(name, value, 0) >= 2**63:
        raise ValueError(f"{name}={value} is out of range; give one from 0 to 2^63 - 1")
    return value


def _realisations(name: str, value: Any) -> int:
    if whole_number(name, value) >= 2**31:
        raise ValueError(f"{name}={value} are more than there are keys; give less than 2^31")
    return value


def _number(check: Callable[[str, Any], None], name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}={value!r} is not a number; give one, or a list of them")
    check(name, value)
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not text; give it in quotes")
    return value


def _choice(choices: Iterable[str], name: str, value: Any) -> str:
    choices = list(choices)
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not one text in quotes; give one of {choices}")
    if value not in choices:
        near = get_close_matches(str(value), choices, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{name}={value!r} is unknown; {hint}give one of {choices}")
    return value


_positive, _not_negative = partial(_number, positive), partial(_number, not_negative)

SETTINGS: dict[str, Reader] = {
    "seed": _seed,
    "iterations": whole_number,
    "realisations": _realisations,
    "precision": partial(_choice, PRECISIONS),
    "accuracies": _positive,
    "quantiles": partial(_number, probability),
    "sampler": partial(_choice, SAMPLERS),
    "points_per_block": whole_number,
}
DEFAULTS = {
    "seed": 0,
    "realisations": 1000,
    "precision": "float64",
    "accuracies": [1e-8],
    "quantiles": [0.05, 0.5, 0.95],
    "points_per_block": 256,
}
TABLES = ("problem", "scheme", "delays")
PARAMETERS: dict[str, Reader] = {
    "num_workers": whole_number,
    "num_groups": whole_number,
    "redundancy": whole_number,
    "xi": _not_negative,
    "memory": whole_number,
    "trigger": partial(_choice, TRIGGERS[1:]),
    "bits": whole_number,
    "num_waited": whole_number,
    "deadline": _positive,
    "silence": whole_number,
    "snapshot_life": whole_number,
    "load": whole_number,
    "step_size": _positive,
    "seed": _seed,
    "num_features": whole_number,
    "num_rows": whole_number,
    "batch_size": whole_number,
    "growth": _positive,
    "spread": _positive,
    "noise": _not_negative,
    "file": _text,
    "target": _text,
    "sha256": _text,
    "rows": whole_number,
}


@dataclass(frozen=True)
class ProblemEntry:
    """One problem of a sweep, for any number of workers.

    Attributes:
        name: its name in the table.
        kind: "csv" or a key of `PROBLEMS`.
        parameters: single values by name.
        folder: where a relative `file` starts.
    """

    name: str
    kind: str
    parameters: Mapping[str, Any]
    folder: Path = Path()

    @property
    def shape(self) -> tuple:
        """What programs are compiled for: values that are no sizes do not matter."""
        names = ("num_rows", "num_features", "sha256", "batch_size")
        return (self.kind, *(self.parameters.get(name) for name in names))

    def impossible(self, num_workers: int) -> str | None:
        """Why the problem cannot be cut into `M` partitions, None where it can."""
        if self.kind == "synthetic" and self.parameters["num_features"] < num_workers:
            return "num_features is less than num_workers"
        if self.kind == "csv" and self.parameters["rows"] < num_workers:
            return "the file has fewer rows than num_workers"
        return None

    def build(self, num_workers: int) -> Problem:
        """The problem over `M` partitions; raise ValueError if its file has changed."""
        values = dict(self.parameters)
        batch_size = values.pop("batch_size", None)
        key = make_key(values.pop("seed", 0))
        if self.kind == "csv":
            path = self.folder / values["file"]
            if not path.is_file() or _digest(path) != values["sha256"]:
                raise ValueError(f"{path} has changed since the sweep was described; start anew")
            problem = linear_regression(*load_csv(path, num_workers, values["target"]))
        else:
            problem = PROBLEMS[self.kind](key, num_workers, **values)
        if batch_size is None:
            return problem
        return minibatch(problem, batch_size, fold_in(key, 1))


class SchemeEntry(NamedTuple):
    """A family of schemes: every combination of the values of its parameters.

    Attributes:
        name: a key of `SCHEMES`.
        values: lists of values by parameter, `step_size` (in units of `1/L`) among them.
    """

    name: str
    values: Mapping[str, tuple]


class DelayEntry(NamedTuple):
    """One distribution of computing times.

    Attributes:
        family: name of the family.
        parameters: single values by name.
        delays: the distribution.
    """

    family: str
    parameters: Mapping[str, float]
    delays: Delays


@dataclass(frozen=True)
class Config:
    """A sweep before it is run; made by `read_config`.

    Attributes:
        source: its settings and tables in full, from which `parse_config` makes it again.
        seed: of the delays, which all points share.
        iterations: `K`, longest path.
        realisations: `R`.
        precision: "float32" or "float64".
        accuracies: (A,) gaps to reach.
        quantiles: (Q,) levels.
        sampler: of schemes that do not depend on who arrives, as for `simulate`; others draw
            worker by worker, and a file that asks for "direct" beside them is refused.
        points_per_block: at most so many are computed and written together.
        problems, schemes, delays: what is combined.
    """

    source: dict[str, Any] = field(repr=False)
    seed: int
    iterations: int
    realisations: int
    precision: str
    accuracies: tuple[float, ...]
    quantiles: tuple[float, ...]
    sampler: str
    points_per_block: int
    problems: tuple[ProblemEntry, ...] = field(repr=False)
    schemes: tuple[SchemeEntry, ...] = field(repr=False)
    delays: tuple[DelayEntry, ...] = field(repr=False)


def read_config(path: str | Path) -> Config:
    """Read a sweep from a TOML file.

    Args:
        path: the file: settings (`seed`, `iterations`, `realisations`, `precision`, `accuracies`,
            `quantiles`, `sampler`, `points_per_block`) and any number of `[[problem]]`,
            `[[scheme]]` and `[[delays]]`, in which every parameter is a value or a list of them.

    Raises:
        ValueError: for a file that is missing or no TOML, an unknown key (the nearest right name is
            named), and any value out of its range.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"config={path} cannot be read ({error}); give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config={path} is not TOML: {error}") from None
    except RecursionError:
        raise ValueError(f"config={path} is nested too deeply; give lists of values") from None
    for number, problem in enumerate(_tables(tables, "problem"), 1):
        if problem.get("kind") == "csv" and isinstance(problem.get("file"), str):
            _pin(problem, f"[[problem]] {number}", path.parent)
    return parse_config(tables, path.parent)


def _pin(problem: dict[str, Any], where: str, folder: Path) -> None:
    """Note the contents of a CSV file, so that a change of them is a change of the sweep."""
    path = folder / problem["file"]
    target = problem.get("target")
    X, _ = load_csv(path, 1, None if target is None else _text(f"{where} target", target))
    problem |= {"sha256": _digest(path), "rows": X.shape[1]}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse_config(tables: Mapping[str, Any], folder: Path = Path()) -> Config:
    """Check the tables of a sweep, as TOML gives them, and make a `Config` of them.

    Args:
        tables: as `tomllib` reads them.
        folder: where the relative paths of CSV files start.

    Raises:
        ValueError: as for `read_config`.

    >>> scheme = {"name": "LAG", "num_workers": [3, 4], "xi": [0.1, 1.0]}
    >>> delays = {"family": "exponential", "rate": 1.0}
    >>> config = parse_config({"iterations": 10, "problem": [{}], "scheme": [scheme],
    ...                        "delays": [delays]})
    >>> config.schemes[0].values["xi"], config.quantiles
    ((0.1, 1.0), (0.05, 0.5, 0.95))
    """
    _check_keys("the file", tables, (*SETTINGS, *TABLES))
    if "iterations" not in tables:
        raise ValueError("iterations is missing; give the length of the longest path")
    settings: dict[str, Any] = {}
    for name, read in SETTINGS.items():
        if name in ("accuracies", "quantiles"):
            value = tables.get(name, DEFAULTS[name])
            empty = name == "quantiles" and value == []
            settings[name] = [] if empty else list(_values(name, value, read))
        elif name in tables or name in DEFAULTS:
            settings[name] = read(name, tables.get(name, DEFAULTS.get(name)))
    problems = _numbered(tables, "problem", _read_problem)
    schemes = _numbered(tables, "scheme", _read_scheme)
    delays = _numbered(tables, "delays", _read_delays)
    source = settings | {"problem": problems, "scheme": schemes, "delays": delays}
    names = [problem["name"] for problem in problems]
    if len(set(names)) < len(names):
        raise ValueError(f"name={names} of the problems must differ; give each [[problem]] a name")
    check_distinct(source, TABLES)
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
    frozen.setdefault("sampler", "direct")
    return Config(
        source=source,
        problems=tuple(_expand_problems(problems, folder)),
        schemes=tuple(SchemeEntry(*_split(scheme, "name")) for scheme in schemes),
        delays=tuple(_expand_delays(delays)),
        **frozen,
    )


def _tables(tables: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise ValueError(f"{name} is not a list of tables; begin each with [[{name}]]")
    return found


def _numbered(
    tables: Mapping[str, Any], name: str, read: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Every table of a name, read in full; raise ValueError where there is none."""
    found = _tables(tables, name)
    if not found:
        raise ValueError(f"[[{name}]] is missing; give at least one")
    return [read(f"[[{name}]] {number}", table) for number, table in enumerate(found, 1)]


def _check_keys(where: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for key in table:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1, cutoff=0.0)
            raise ValueError(
                f"unknown key {key!r} in {where}; did you mean {near[0]!r}? It takes {allowed}"
            )


def _values(name: str, value: Any, read: Reader) -> tuple:
    """A value or list of values, each read; raise ValueError for an empty list or repetitions."""
    values = tuple(read(name, each) for each in (value if isinstance(value, list) else [value]))
    if not values:
        raise ValueError(f"{name}=[] holds no value; give at least one or leave it out")
    repeated = [each for i, each in enumerate(values) if each in values[:i]]
    if repeated:
        raise ValueError(f"{name} holds {repeated[0]!r} twice; give every value once")
    return values


def _take(where: str, table: Mapping[str, Any], defaults: Mapping[str, Any], reader: Any) -> dict:
    """Lists of values of all parameters, by name; a default of `inspect.Parameter.empty` is none.

    Raises:
        ValueError: for unknown and missing parameters, and for values out of range.
    """
    lists = {}
    for name, default in defaults.items():
        if name not in table and default is inspect.Parameter.empty:
            raise ValueError(f"{name} is missing in {where}; give a value or a list of values")
        lists[name] = list(_values(f"{where} {name}", table.get(name, default), reader(name)))
    return lists


def _signature(function: Callable, *without: str) -> dict[str, Any]:
    """Defaults of a function's parameters by name."""
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if name not in without}


def _read_problem(where: str, table: dict[str, Any]) -> dict[str, Any]:
    kind = table.get("kind", "synthetic")
    if kind == "csv":
        required = dict.fromkeys(("file", "sha256", "rows"), inspect.Parameter.empty)
        _check_keys(where, table, ("kind", "name", "file", "target", "sha256", "rows", *OPTIONAL))
        taken = {k: PARAMETERS[k](f"{where} {k}", table[k]) for k in required if k in table}
        if missing := required.keys() - taken.keys():
            raise ValueError(f"{min(missing)} is missing in {where}; give the path of a CSV file")
        if "target" in table:
            taken["target"] = _text(f"{where} target", table["target"])
    else:
        _choice((*PROBLEMS, "csv"), f"{where} kind", kind)
        defaults = {"seed": 0, **_signature(PROBLEMS[kind], "key", "num_workers")}
        _check_keys(where, table, ("kind", "name", *defaults, *OPTIONAL))
        taken = _take(where, table, defaults, PARAMETERS.__getitem__)
    given = {name: None for name in OPTIONAL if name in table}
    taken |= _take(where, table, given, PARAMETERS.__getitem__)
    name = _text(f"{where} name", table.get("name", kind))
    return {"kind": kind, "name": name} | taken


def _read_scheme(where: str, table: dict[str, Any]) -> dict[str, Any]:
    if "name" not in table:
        raise ValueError(f"name is missing in {where}; give one of {list(SCHEMES)}")
    name = _choice(SCHEMES, f"{where} name", table["name"])
    defaults = {**_signature(SCHEMES[name], *MATRICES), "step_size": 1.0}
    _check_keys(where, table, ("name", *defaults))
    given = {k: v for k, v in defaults.items() if v is not None or k in table}
    return {"name": name} | _take(where, table, given, PARAMETERS.__getitem__)


def _read_delays(where: str, table: dict[str, Any]) -> dict[str, Any]:
    if "family" not in table:
        raise ValueError(f"family is missing in {where}; give one of {list(FAMILIES)}")
    family = _choice(FAMILIES, f"{where} family", table["family"])
    # A list is a grid here, so a parameter that is an array has no place: Discrete has one value.
    signature = _signature(FAMILIES[family]).items()
    defaults = {name: default for name, default in signature if default is not None}
    _check_keys(where, table, ("family", *defaults))
    taken = _take(where, table, defaults, lambda _: partial(_number, lambda *_: None))
    for entry in _expand_delays([{"family": family} | taken]):
        if not entry.delays.identical:
            raise ValueError(f"{where} differs between workers; a sweep takes identical delays")
    return {"family": family} | taken


def _split(table: Mapping[str, Any], key: str) -> tuple[Any, dict[str, tuple]]:
    return table[key], {k: tuple(v) for k, v in table.items() if k != key}


def combinations(lists: Mapping[str, Iterable]) -> Iterable[dict[str, Any]]:
    """Every combination of one value from each list, by name; the last list varies fastest."""
    return (dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))


def _expand_problems(problems: list[dict[str, Any]], folder: Path) -> Iterable[ProblemEntry]:
    for table in problems:
        values = {k: v for k, v in table.items() if k not in ("kind", "name")}
        if table["kind"] == "csv":
            single = {"target": None} | {k: v for k, v in values.items() if k not in OPTIONAL}
            values = {k: [v] for k, v in single.items()} | {
                k: values[k] for k in OPTIONAL if k in values
            }
        for parameters in combinations(values):
            yield ProblemEntry(table["name"], table["kind"], parameters, folder)


def _expand_delays(delays: list[dict[str, Any]]) -> Iterable[DelayEntry]:
    for table in delays:
        family, lists = _split(table, "family")
        for parameters in combinations(lists):
            yield DelayEntry(family, parameters, FAMILIES[family](**parameters))
