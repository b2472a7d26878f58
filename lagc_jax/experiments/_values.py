"""The values that a grid file may hold: each read by itself, and refused where it is wrong."""

import importlib
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from lagc_jax._checks import not_negative, positive, probability, whole_number
from lagc_jax.delays.traces import RESAMPLINGS
from lagc_jax.experiments.experiment import distinct
from lagc_jax.schemes.base import TRIGGERS
from lagc_jax.schemes.compressors import as_compressor

Reader = Callable[[str, Any], Any]


def read_seed(name: str, value: Any) -> int:
    if whole_number(name, value, 0) >= 2**63:
        raise ValueError(f"{name}={value} is out of range; give one from 0 to 2^63 - 1")
    return value


def read_realisations(name: str, value: Any) -> int:
    if whole_number(name, value, 0) >= 2**31:
        raise ValueError(f"{name}={value} are more than there are keys; give less than 2^31")
    return value


def read_number(check: Callable[[str, Any], Any], name: str, value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"{name}={value!r} is not a number; give one, or a list of them")
    check(name, value)
    return float(value)


def read_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not text; give it in quotes")
    return value


def read_choice(choices: Iterable[str], name: str, value: Any) -> str:
    choices = list(choices)
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not one text in quotes; give one of {choices}")
    if value not in choices:
        near = get_close_matches(value, choices, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{name}={value!r} is unknown; {hint}give one of {choices}")
    return value


def read_named(choices: Mapping[str, Any], name: str, value: Any) -> Any:
    """One of the choices, or what an import path such as "mymodule:my_scheme" stands for."""
    if isinstance(value, str) and ":" in value:
        return load_object(name, value)
    return choices[read_choice(choices, name, value)]


@contextmanager
def modules_beside(folder: Path) -> Generator[None, None, None]:
    """Let import paths name modules of a folder, first, as Python does for those of a script."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def load_object(name: str, path: str) -> Any:
    """The object of an import path "module:name"; raise ValueError where there is none."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(_import(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{name}={path!r} cannot be imported ({error}); give module:name, the module beside "
            f"the file or on PYTHONPATH"
        ) from None


def _import(name: str) -> ModuleType:
    """The module that is found now, also where another of its name was imported before."""
    top = name.partition(".")[0]
    loaded, found = sys.modules.get(top), PathFinder.find_spec(top)
    files = [getattr(loaded, "__file__", None), found.origin if found else None]
    if all(files) and len({Path(str(file)).resolve() for file in files}) == 2:
        for other in [each for each in sys.modules if each.partition(".")[0] == top]:
            del sys.modules[other]
    return importlib.import_module(name)


def read_starts(name: str, value: Any) -> dict[str, Any]:
    """`theta^0` by the name of a problem: import paths or lists of numbers."""
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is no table; give names of problems and their theta^0")
    return {problem: read_value(f"{name}.{problem}", start) for problem, start in value.items()}


def read_value(name: str, value: Any) -> Any:
    """An argument: a number, truth or text as it is, an import path as what it stands for."""
    if isinstance(value, str) and ":" in value:
        return load_object(name, value)
    if isinstance(value, list):  # one value of a list of lists: one number a worker
        return tuple(read_value(name, each) for each in value)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name}={value!r} is no number or text; give one, or a list of them")
    return value


def _rule(name: str, value: Any) -> Any:
    """The name of a rule, or one of the user's by its import path, made if it is a class."""
    if isinstance(value, str) and ":" in value:
        found = load_object(name, value)
        return found() if isinstance(found, type) else found
    return read_choice(TRIGGERS[1:], name, value)


def _compressor(name: str, value: Any) -> Any:
    """A compressor's text, or one of the user's by its import path, made if it is a class."""
    if isinstance(value, str) and ":" in value:
        found = load_object(name, value)
        return found() if isinstance(found, type) else found
    return str(as_compressor(read_text(name, value)))


def _each(read: Reader) -> Reader:
    """A reader of one number, or of one a worker."""
    return lambda name, value: (
        tuple(read(name, one) for one in value) if isinstance(value, list) else read(name, value)
    )


def read_values(name: str, value: Any, read: Reader) -> tuple:
    """A value or list of values, each read; raise ValueError for an empty list or repetitions."""
    listed = value if isinstance(value, list) else [value]
    return distinct(name, tuple(read(name, each) for each in listed))


_positive, _not_negative = partial(read_number, positive), partial(read_number, not_negative)
# Values that are wrong by themselves are refused; those that do not fit each other are dropped.
PARAMETERS: dict[str, Reader] = {
    "num_workers": whole_number,
    "num_groups": whole_number,
    "redundancy": whole_number,
    "xi": _each(_not_negative),
    "memory": whole_number,
    "silence": whole_number,
    "snapshot_life": whole_number,
    "load": whole_number,
    "trigger": _rule,
    "bits": whole_number,
    "compressor": _compressor,
    "probability": partial(read_number, probability),
    "num_steps": whole_number,
    "local_step_size": _positive,
    "participants": whole_number,
    "pieces": whole_number,
    "num_waited": whole_number,
    "deadline": _positive,
    "step_size": _positive,
    "seed": read_seed,
    "num_features": whole_number,
    "num_rows": whole_number,
    "batch_size": whole_number,
    "loss_samples": whole_number,
    "alpha": _positive,
    "growth": _positive,
    "spread": _positive,
    "noise": _not_negative,
    "resample": partial(read_choice, RESAMPLINGS),
    "block": whole_number,
}
