"""Workers that send a coded message after every part of their work.

What a slow worker has done is not lost: the server stops as soon as the messages in, early ones and
late ones, decode. (Several coded messages a worker and an iteration: Ozfatura, Gunduz and Ulukus,
"Gradient Coding with Clustering and Multi-message Communication", IEEE DSW 2019, arXiv 1903.01974,
of which abstract and introduction were at hand, not the construction. The codes here, cyclic ones
of growing redundancy, are ours, and so is that a message is cancelled which would add nothing.)
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, finite, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.codes import cyclic_repetition, first_spanning, project_ones
from lagc_jax.schemes.decoding import Decoding


@pytree()
class MultiMessage(Decoding):
    """The server stops as soon as the messages in decode, first ones of slow workers among them.

    It takes those that raise the rank until then, as `FirstDecodable` does, to the same tolerance.
    Workers are charged their whole loads, as everywhere.

    Args:
        messages: (n, p, n), entry `[w, j]` the combination of partitions that worker `w` sends
            after the `j`-th of `p` equal parts of its load.

    Raises:
        ValueError: for another shape, or messages that never decode.

    >>> ones = [[[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]]
    >>> known, taken = MultiMessage(ones).wait(jnp.array([1.0, 2.0, 1.5, 3.0]))
    >>> float(known), taken.tolist()
    (1.5, [True, False, True, False])
    """

    messages: ArrayLike

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", as_leaf(self.messages))
        shape = np.shape(self.messages)
        if len(shape) != 3 or shape[0] != shape[2] or not np.size(self.messages):
            raise ValueError(
                f"messages has shape {shape}; give (n, p, n), p combinations of n partitions a "
                f"worker"
            )
        known = finite("messages", self.messages)
        if known is not None:
            with jax.ensure_compile_time_eval():  # where it is made while code is traced
                decodes = bool(project_ones(self._rows)[1][-1])
            if not decodes:
                raise ValueError("messages do not decode when all are in; give others")

    @property
    def _rows(self) -> Array:
        n, p, _ = np.shape(self.messages)
        return jnp.asarray(self.messages, float).reshape(n * p, n)

    @property
    def tasks(self) -> int:
        return np.shape(self.messages)[1]

    def check(self, group_size: int, redundancy: int) -> None:
        n, p, _ = np.shape(self.messages)
        if n != group_size or redundancy % p:
            raise ValueError(
                f"decoding.messages has shape {(n, p, n)}; give ({group_size}, p, {group_size}), p "
                f"a divisor of the scheme's redundancy={redundancy}"
            )
        known = concrete(self.messages)
        if known is None:
            return
        held = np.count_nonzero(np.cumsum(abs(known), axis=1), axis=-1)
        if (held > redundancy // p * np.arange(1, p + 1)).any():
            raise ValueError(
                f"decoding.messages has {held.max(0).tolist()} partitions in messages so "
                f"far; give at most j redundancy / p of redundancy={redundancy} in the first j"
            )

    @lenient
    def wait(self, arrival: Array) -> tuple[Array, Array]:
        return first_spanning(self._rows, arrival)


def multi_message_gc(num_workers: int, redundancy: int, num_messages: int | None = None) -> Scheme:
    """Gradient coding with `p` messages a worker, in one group; see `MultiMessage`.

    After `j r/p` gradients a worker sends its message of the cyclic code of that redundancy: its
    own gradient first if `p = r`, what gradient coding has it send last.

    Args:
        num_workers: `M`.
        redundancy: `r`, gradients of a worker.
        num_messages: `p`, a divisor of `r`; `r` by default. With one it is `first_decodable` with
            the cyclic code, bit for bit on the same times.

    >>> multi_message_gc(4, redundancy=2).decoding.messages[0].round(6).tolist()
    [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    """
    M, r = whole_number("num_workers", num_workers), whole_number("redundancy", redundancy)
    p = r if num_messages is None else whole_number("num_messages", num_messages)
    if r % p:
        raise ValueError(f"num_messages={p} does not divide redundancy={r}; give a divisor")
    loads = [r // p * j for j in range(1, p + 1)]
    codes = [np.asarray(cyclic_repetition(M, load).encoding) for load in loads]
    return Scheme(M, 1, r, decoding=MultiMessage(np.stack(codes, axis=1)))
