"""Problems that a grid file describes: generated ones, tables, and images."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax

from lagc_jax._keys import fold_in, make_key
from lagc_jax.problems.base import Problem
from lagc_jax.problems.data import load_data, problem_of
from lagc_jax.problems.images import image_problem, load_images
from lagc_jax.problems.linear import gaussian_linear_regression, synthetic_linear_regression
from lagc_jax.problems.stochastic import minibatch


@dataclass(frozen=True)
class Generated:
    """A problem from a seed, as a function of its arguments."""

    kind: str

    KINDS: ClassVar[dict[str, Callable[..., Problem]]] = {
        "synthetic": synthetic_linear_regression,
        "gaussian": gaussian_linear_regression,
    }

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the problem's constructor, a seed in place of the key."""
        takes = inspect.signature(self.KINDS[self.kind]).parameters
        extra = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in (("seed", 0), ("batch_size", None))
        ]
        kept = [p.replace(kind=p.KEYWORD_ONLY) for name, p in takes.items() if name != "key"]
        return inspect.Signature([extra[0], *kept, extra[1]])

    def __call__(
        self, *, num_workers: int, seed: int = 0, batch_size: int | None = None, **arguments: Any
    ) -> Problem:
        key = make_key(seed)
        return _sampled(self.KINDS[self.kind](key, num_workers, **arguments), batch_size, key)

    def misfit(self, *, num_workers: int, num_features: int, **_: Any) -> str | None:
        """Why it cannot be cut into `M` partitions, None where it can."""
        if self.kind == "synthetic" and num_features < num_workers:
            return "num_features is less than num_workers"
        return None


@dataclass(frozen=True)
class _OfFile:
    """A problem of a file's samples; a change of the file is refused."""

    folder: Path = field(compare=False)
    file: str
    sha256: str = field(init=False)
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", self._count())
        object.__setattr__(self, "sha256", self._digest())

    def _count(self) -> int:
        raise NotImplementedError

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.file

    def _digest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def check(self) -> None:
        """Raise ValueError where the file is another one by now."""
        if self._digest() != self.sha256:
            raise ValueError(f"{self.path} has changed since the grid was read; start anew")

    def misfit(self, *, num_workers: int, **_: Any) -> str | None:
        """Why it cannot be cut into `M` partitions, None where it can."""
        return "the file has fewer rows than num_workers" if self.rows < num_workers else None


@dataclass(frozen=True)
class CsvProblem(_OfFile):
    """The regression of a column of a table on the others.

    The loss is one of `problems.data.LOSSES`: a classification has a penalty `l2`, too.
    """

    target: str | None = None
    loss: str = "linear"

    def _count(self) -> int:
        return load_data(self.path, 1, self.target, loss=self.loss).X.shape[1]

    @property
    def __signature__(self) -> inspect.Signature:
        """What may vary: a linear regression has no penalty."""
        defaults = {"seed": 0, "batch_size": None} | ({} if self.loss == "linear" else {"l2": 1e-3})
        kind = inspect.Parameter.KEYWORD_ONLY
        given = [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
        return inspect.Signature([inspect.Parameter("num_workers", kind), *given])

    def __call__(
        self, *, num_workers: int, seed: int = 0, batch_size: int | None = None, l2: float = 1e-3
    ) -> Problem:
        self.check()
        data = load_data(self.path, num_workers, self.target, loss=self.loss)
        return _sampled(problem_of(data, self.loss, l2), batch_size, make_key(seed))


@dataclass(frozen=True)
class ImageProblem(_OfFile):
    """A convolutional network on images of a file (`load_images`), of `image_problem`."""

    def _count(self) -> int:
        return len(load_images(self.path).y_train)

    @property
    def __signature__(self) -> inspect.Signature:
        """What may vary: all that `image_problem` takes by name."""
        kind = inspect.Parameter.KEYWORD_ONLY
        takes = inspect.signature(image_problem).parameters.values()
        own = (inspect.Parameter("num_workers", kind), inspect.Parameter("seed", kind, default=0))
        return inspect.Signature([*own, *(each for each in takes if each.kind is kind)])

    def __call__(self, *, num_workers: int, seed: int = 0, **options: Any) -> Problem:
        self.check()
        return image_problem(load_images(self.path), num_workers, make_key(seed), **options)


def _sampled(problem: Problem, batch_size: int | None, key: jax.Array) -> Problem:
    if batch_size is None:
        return problem
    return minibatch(problem, batch_size, fold_in(key, 1))
