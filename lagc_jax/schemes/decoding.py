"""How the server waits for a group's messages, which it takes, and what it makes of them.

A decoding is a part of a scheme; without one the server takes the `F = n - r + 1` fastest messages
of a group and recovers its gradient. It is a small frozen object with two functions, `wait` and
`weights`. Nothing else knows one by name, so a decoding of one's own is a class like those below.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, finite, positive, scalar, shaped, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT, pytree
from lagc_jax._sorting import arrived, first
from lagc_jax.schemes.codes import GradientCode, first_spanning, project_ones


class Decoding(Protocol):
    """How a group's messages become its gradient; a pytree.

    Attributes:
        exact: whether that is always the gradient itself. If not, the path depends on who arrives.
        by_order: whether it takes messages by their order alone, whatever the times between them.
    """

    exact: ClassVar[bool] = False
    by_order: ClassVar[bool] = True

    @property
    def fastest(self) -> int | None:
        """`F`, where the server always takes the `F` fastest messages of a group; else None.

        Then the time of an iteration has a known law and the number of messages is constant.
        """
        return None

    @property
    def anonymous(self) -> bool:
        """Whether the path and the number of messages are the same whoever arrives."""
        return self.exact and self.fastest is not None

    @property
    def own_code(self) -> Any:
        """The gradient code that it decodes, where it is made for one."""
        return None

    @property
    def pieces(self) -> int:
        """Pieces of a vector of which a message has the length of one."""
        return 1

    @property
    def vectors(self) -> int:
        """Vectors that a message is made of."""
        return 1

    @property
    def tasks(self) -> int:
        """`p`, equal parts of a worker's load, done one after another, each with a message.

        What is (..., n) by message below is then (..., n p), a worker's messages side by side.
        """
        return 1

    @property
    def pooled(self) -> bool:
        """Whether tasks are minibatches of their own, with weights (..., n p) of their own.

        A worker then sends the sum of those taken in one message, and only they are charged.
        """
        return False

    def check(self, group_size: int, redundancy: int) -> None:
        """Raise ValueError unless it fits groups of `n` workers that store `r` partitions each."""
        return None

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        """When the server stops waiting, (...,), `inf` for never, and whose messages it takes.

        Given is when the workers' messages arrive, (..., n), `inf` if never; the latter is bool. By
        default it takes the `fastest`.
        """
        if self.fastest is None:
            raise ValueError(
                f"decoding={type(self).__name__} has neither `fastest` nor `wait`; define one"
            )
        if not 1 <= self.fastest <= arrival.shape[-1]:
            raise ValueError(
                f"fastest={self.fastest} of decoding={type(self).__name__} is none of the "
                f"{arrival.shape[-1]} workers of a group; give one from 1 to {arrival.shape[-1]}"
            )
        return first(arrival, self.fastest)

    def weights(self, taken: Array) -> Array:
        """Weights (..., n) of the partitions' gradients in what is decoded from those `taken`."""
        return jnp.ones(taken.shape)

    def weigher(self, num_sets: int) -> Callable[[Array], Array]:
        """`weights` for so many sets one after another, with what is worth knowing beforehand."""
        return self.weights


def check_code_fits(code: Any, group_size: int, redundancy: int) -> None:
    """Raise ValueError unless a decoding's code is of the sizes of its scheme."""
    if (code.group_size, code.redundancy) != (group_size, redundancy):
        raise ValueError(
            f"decoding.code has group_size={code.group_size} and redundancy="
            f"{code.redundancy}; the scheme needs {group_size} and {redundancy}"
        )


@pytree("num_waited")
class Fastest(Decoding):
    """A gradient code decodes from any `F` messages (GC): what schemes do without a decoding."""

    num_waited: int

    exact: ClassVar[bool] = True

    @property
    def fastest(self) -> int:
        return self.num_waited


@pytree()
class FirstDecodable(Decoding):
    """The server stops as soon as the messages that it has decode, never after the `F`-th.

    It cancels workers whose message would add nothing to those that it has, so it takes the
    messages that raise the rank until the ones vector lies in their span, to within the square root
    of the machine precision: in float32 a set that decodes up to 3e-4 passes for one that does, as
    happens with cyclic codes of some 14 workers or more. With fractional repetition that is the
    fastest of every block. For any other code an iteration takes some `n^3` operations.

    Args:
        code: the gradient code.

    Raises:
        ValueError: if it is none.

    >>> from lagc_jax.schemes.codes import fractional_repetition
    >>> known, taken = FirstDecodable(fractional_repetition(4, 2)).wait(jnp.array([1., 2., 5., 4.]))
    >>> float(known), taken.tolist()
    (4.0, [True, False, False, True])
    """

    code: GradientCode

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.code, GradientCode):
            raise ValueError(
                f"code is of type {type(self.code).__name__}; give a GradientCode, as "
                f"cyclic_repetition makes it"
            )

    @property
    def own_code(self) -> GradientCode:
        return self.code

    def check(self, group_size: int, redundancy: int) -> None:
        check_code_fits(self.code, group_size, redundancy)

    @lenient
    def wait(self, arrival: Array) -> tuple[Array, Array]:
        if self.code.blocks:
            by_block = _blocks(arrival, self.code.redundancy)
            fastest = jnp.argmin(by_block, axis=-1, keepdims=True)
            taken = jnp.arange(self.code.redundancy) == fastest
            return by_block.min(-1).max(-1), taken.reshape(arrival.shape)
        return first_spanning(self.code.encoding, arrival)


@pytree("num_waited")
class Rescaled(Decoding):
    """The sum of the `k` fastest messages, scaled so that it is unbiased: stochastic coding.

    A worker sends the sum of the gradients of its partitions, each divided by the number of workers
    that hold it; the server adds up what arrives, times `n/k`. The weight of a partition is so
    `n / (k d_j)` for every taken worker of the `d_j` that hold it, 1 on average where all sets of
    `k` workers are as likely. (Bitar, Wootters and El Rouayheb, "Stochastic Gradient Coding for
    Straggler Mitigation in Distributed Learning", IEEE JSAIT 1(1), 2020, arXiv 1905.05383.) Without
    redundancy it ignores stragglers: the `k` fastest gradients, times `n/k`.

    Args:
        assignment: (n, n), 1 where a worker (row) holds a partition (column), 0 elsewhere; None
            where every worker holds one of its own.
        num_waited: `k`; static.

    Raises:
        ValueError: for another assignment, or a partition that no worker holds.

    >>> Rescaled(np.eye(2), num_waited=1).weights(jnp.array([True, False])).tolist()
    [2.0, 0.0]
    """

    assignment: ArrayLike | None
    num_waited: int

    def __post_init__(self) -> None:
        if self.assignment is None:
            return
        object.__setattr__(self, "assignment", as_leaf(self.assignment))
        known = _square("assignment", self.assignment)
        if known is None:
            return
        if (strange := known[~np.isin(known, (0, 1))]).size:
            raise ValueError(f"assignment holds {strange[0]}; give 0 and 1")
        if not known.any(0).all():
            raise ValueError(
                f"column {known.any(0).argmin()} of assignment is zero; give a worker to every "
                f"partition"
            )

    @property
    def fastest(self) -> int:
        return self.num_waited

    def check(self, group_size: int, redundancy: int) -> None:
        if self.assignment is not None:
            _check_fit("assignment", self.assignment, group_size, redundancy)
        elif redundancy != 1:
            raise ValueError(
                f"assignment=None holds one partition a worker but redundancy={redundancy}; give "
                f"redundancy=1 or an assignment"
            )
        _check_count(self.num_waited, group_size)

    @lenient
    def weights(self, taken: Array) -> Array:
        scale = taken.shape[-1] / self.num_waited
        if self.assignment is None:
            return scale * taken.astype(float)
        assignment = jnp.asarray(self.assignment, float)
        share = assignment / jnp.sum(assignment, axis=0)
        return scale * jnp.matmul(taken.astype(share.dtype), share, precision=EXACT)


@pytree("num_waited")
class LeastSquares(Decoding):
    """The least-squares decoding of whatever arrives, of the `k` fastest or by a deadline.

    The server combines the messages by the vector `a` that minimises `|B_A^T a - 1|^2`, `B_A` the
    rows that arrived, so that the weights `B_A^T a` of the partitions are the projection of the
    ones vector on the span of the rows: all 1 where they decode, 0 where nothing arrived, which
    counts as a gradient of zero, also in a group whose rule would reuse an older one. (Raviv, Tamo,
    Tandon and Dimakis, "Gradient Coding from Cyclic MDS Codes and Expander Graphs", 2020,
    arXiv 1707.03858; Charles, Papailiopoulos and Ellenberg, "Approximate Gradient Coding via Sparse
    Random Graphs", 2017, arXiv 1711.06771.)

    Args:
        encoding: `B`, (n, n), row `w` the coefficients of the combination that worker `w` sends.
        num_waited: `k`, messages that the server waits for; static.
        deadline: time from the start of an iteration, (), at which the server stops waiting if not
            all have answered before; give either.

    Raises:
        ValueError: for both or none of the two, or a matrix or deadline that is not sound.

    >>> two_of_three = LeastSquares([[1, 1, 0], [1, 1, 0], [0, 0, 1]], num_waited=2)
    >>> two_of_three.weights(jnp.array([True, True, False])).round(3).tolist()
    [1.0, 1.0, 0.0]
    """

    encoding: ArrayLike
    num_waited: int | None = None
    deadline: ArrayLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoding", as_leaf(self.encoding))
        _square("encoding", self.encoding)
        if (self.num_waited is None) == (self.deadline is None):
            raise ValueError(
                f"num_waited={self.num_waited} and deadline={self.deadline}; give exactly one"
            )
        if self.deadline is not None:
            positive("deadline", self.deadline)
            scalar("deadline", self.deadline)

    @property
    def fastest(self) -> int | None:
        return self.num_waited

    def check(self, group_size: int, redundancy: int) -> None:
        _check_fit("encoding", self.encoding, group_size, redundancy)
        if self.num_waited is not None:
            _check_count(self.num_waited, group_size)

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        if self.num_waited is not None:
            return first(arrival, self.num_waited)
        deadline = jnp.asarray(self.deadline, arrival.dtype)
        return jnp.minimum(deadline, jnp.max(arrival, axis=-1)), arrival <= deadline

    def weights(self, taken: Array) -> Array:
        rows = jnp.where(taken[..., None], jnp.asarray(self.encoding, float), 0)
        return project_ones(jnp.moveaxis(rows, -2, 0))[0]

    def weigher(self, num_sets: int) -> Callable[[Array], Array]:
        """With few workers, those of all sets are looked up."""
        n = np.shape(self.encoding)[0]
        # Measured on CPU: so many at once take no longer than an eighth of them in turn.
        if 2**n > min(8 * num_sets, LARGEST_TABLE):
            return self.weights
        place = 2 ** np.arange(n, dtype=np.int32)
        table = self.weights(jnp.asarray(np.arange(2**n)[:, None] // place % 2 > 0))
        return lambda taken: table[jnp.matmul(taken.astype(place.dtype), place)]


# Sets of workers whose decoding is looked up.
LARGEST_TABLE = 2**12


@pytree("redundancy", "num_waited")
class FirstBlocks(Decoding):
    """Fractional repetition: the first answer of every block among the `k` fastest messages.

    The server goes on as soon as every block of `r` workers has answered, after `k` messages at the
    latest; a block that has not answered by then counts as a gradient of zero. What a block sends
    again arrives, and counts among the `k`, but adds nothing. (ErasureHead, arXiv 1901.09671, and
    its authors' code.)

    Args:
        redundancy: `r`, workers of a block; static.
        num_waited: `k`; static.

    >>> known, taken = FirstBlocks(2, num_waited=3).wait(jnp.array([1.0, 2.0, 5.0, 4.0]))
    >>> float(known), taken.tolist()
    (4.0, [True, True, False, True])
    """

    redundancy: int
    num_waited: int

    def check(self, group_size: int, redundancy: int) -> None:
        _check_count(self.num_waited, group_size)
        if self.redundancy != redundancy or group_size % redundancy:
            raise ValueError(
                f"decoding has blocks of {self.redundancy} workers; give the scheme's redundancy="
                f"{redundancy}, and one that divides the {group_size} workers of a group"
            )

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        every_block = _blocks(arrival, self.redundancy).min(-1).max(-1)
        limit, fastest = first(arrival, self.num_waited)
        return jnp.minimum(every_block, limit), fastest & arrived(arrival, every_block)

    def weights(self, taken: Array) -> Array:
        answered = _blocks(taken, self.redundancy).any(-1)
        return jnp.repeat(answered, self.redundancy, axis=-1).astype(float)


def _blocks(by_worker: Array, redundancy: int) -> Array:
    """(..., n) as (..., n/r, r)."""
    return by_worker.reshape(*by_worker.shape[:-1], -1, redundancy)


def _square(name: str, matrix: Any) -> np.ndarray | None:
    """Check that a matrix is (n, n) and finite; return it, None if traced."""
    shape = np.shape(matrix)
    if len(shape) != 2 or shape[0] != shape[1] or not math.prod(shape):
        raise ValueError(f"{name} has shape {shape}; give (n, n), a row a worker of a group")
    return finite(name, matrix)


def _check_fit(name: str, matrix: ArrayLike, group_size: int, redundancy: int) -> None:
    """Raise ValueError unless a matrix is (n, n) and its longest row holds `r` partitions."""
    shape = (group_size, group_size)
    shaped(name, matrix, [shape], f"{shape}, a row a worker of a group")
    known = concrete(matrix)
    if known is not None and (largest := np.count_nonzero(known, axis=1).max()) != redundancy:
        raise ValueError(
            f"{name} has up to {largest} partitions a worker but redundancy={redundancy}; give "
            f"redundancy={largest}"
        )


def _check_count(num_waited: int, group_size: int) -> None:
    if whole_number("num_waited", num_waited) > group_size:
        raise ValueError(
            f"num_waited={num_waited} exceeds the {group_size} workers of a group; give fewer"
        )
