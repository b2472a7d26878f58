"""Iterations of a fixed time, in which every worker does what it can."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, positive, scalar, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.decoding import Decoding


@pytree("most")
class Anytime(Decoding):
    """The mean over all minibatches that are done in an allotted time: anytime minibatch.

    A worker takes one minibatch of its partition after another, a delay each, and sends the sum of
    the gradients of those that it has finished in one message; the server steps along `n` times
    their mean over all workers, so that fast workers count for more, or does not move where nobody
    has finished one. That is unbiased where all partitions are samples of one distribution, as in
    the paper; where they are not it leans towards those of fast workers. One minibatch of one
    sample each is the paper's count. What is finished is charged, no more. (Ferdinand, Al-Lawati,
    Draper and Nokleby, "Anytime Minibatch: Exploiting Stragglers in Online Distributed
    Optimization", ICLR 2019, arXiv 2006.05752, with a server in place of their consensus, and its
    optimiser in place of dual averaging.)

    Args:
        allotted: `T`, time of an iteration from its start, (), messages included; less where all
            workers have done all that they may.
        most: minibatches of a worker, at most; static.

    >>> decoding = Anytime(2.0, most=2)
    >>> known, taken = decoding.wait(jnp.array([1.0, 2.0, 3.0, 6.0, 1.5, 3.0]))
    >>> float(known), decoding.weights(taken).tolist()
    (2.0, [1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    """

    allotted: ArrayLike
    most: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "allotted", as_leaf(self.allotted))
        positive("allotted", self.allotted)
        scalar("allotted", self.allotted)
        whole_number("most", self.most)

    @property
    def tasks(self) -> int:
        return self.most

    @property
    def pooled(self) -> bool:
        return True

    def check(self, group_size: int, redundancy: int) -> None:
        if redundancy != 1:
            raise ValueError(
                f"anytime minibatches are of a worker's own partition; give redundancy=1, not "
                f"{redundancy}"
            )

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        limit = jnp.asarray(self.allotted, arrival.dtype)
        return jnp.minimum(limit, jnp.max(arrival, axis=-1)), arrival <= limit

    @lenient
    def weights(self, taken: Array) -> Array:
        done = jnp.sum(taken, axis=-1, keepdims=True)
        n = taken.shape[-1] // self.most
        return n / jnp.maximum(done, 1) * taken.astype(float)


def anytime(num_workers: int, allotted: ArrayLike, most: int) -> Scheme:
    """Every iteration takes `allotted`, every worker does up to `most` minibatches; see `Anytime`.

    With `most=1` and time for all it is `gd`, bit for bit on the same times.

    >>> anytime(4, allotted=2.0, most=8).load
    8
    """
    decoding = Anytime(allotted, most)
    return Scheme(num_workers, 1, 1, decoding=decoding, fixed_load=most)
