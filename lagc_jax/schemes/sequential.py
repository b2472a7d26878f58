"""Coding over rounds: what a straggler leaves undone is made good in later rounds.

`T + 1` models are trained in turn, so that the gradient of a round's model may come `T` rounds
later and is still exact. An iteration of a simulated scheme is a round: its path is that of any of
the models, and its time what one iteration of one model takes of the cluster's time, which all
models share. All `P = T + 1` models have iterate `k` by `wall_clock[k P + T]` of a run that is long
enough. (Krishnan, Ebrahimi and Khisti, "Sequential Gradient Coding for Straggler Mitigation",
ICLR 2023, arXiv 2211.13802; times are those of its authors' code, run beside ours.)

A worker straggles in a round when it takes more than `1 + mu` times as long as the fastest. The
server goes on without the stragglers while they keep to the bursts that the code was made for: at
most `lambda` different ones in any `W` rounds, and none again from the `B`-th round after it has
straggled to the end of such a window. Otherwise it waits for all in that round, as in the authors'
code, or for as few as bring the others back to such bursts (`waits_for_all=False`).

A worker sends a vector for every model that it works for. The first rounds, in which some models
have nothing to do yet, take as long as others.
"""

import math
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import not_negative, scalar, whole_number
from lagc_jax._pytree import pytree
from lagc_jax._sorting import arrived, smallest
from lagc_jax.schemes.adaptive import Adaptive
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.decoding import Decoding

SIZES = ("burst", "window", "num_stragglers", "waits_for_all")


@pytree("num_stragglers", "waits_for_all")
class Round(Decoding):
    """One round: the server leaves the stragglers, or waits for more or all.

    Args:
        recent: (n,) bool, workers that have straggled in the window.
        barred: (n,) bool, workers that must not straggle now.
        tolerance: `mu`, ().
        num_stragglers: `lambda`; static.
        waits_for_all: whether it waits for all where there are too many stragglers; static.
    """

    recent: Array
    barred: Array
    tolerance: ArrayLike
    num_stragglers: int
    waits_for_all: bool

    exact: ClassVar[bool] = True

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        factor = jnp.asarray(1 + jnp.asarray(self.tolerance), arrival.dtype)
        limit, longest = factor * jnp.min(arrival, axis=-1), jnp.max(arrival, axis=-1)
        # Among workers that have not straggled before, those beyond `M - lambda` may.
        needed = jnp.max(jnp.where(self.barred, arrival, 0), axis=-1)
        if (count := arrival.shape[-1] - self.num_stragglers) > 0:
            others = jnp.where(self.recent, jnp.inf, arrival)
            needed = jnp.maximum(needed, smallest(others, count))
        soon = jnp.minimum(limit, longest)
        end = jnp.where(needed > soon, longest if self.waits_for_all else needed, soon)
        return end, arrived(arrival, end)


@pytree("num_stragglers", "waits_for_all")
class EveryRound(Decoding):
    """Gradient coding in every round by itself, with the stragglers of sequential coding.

    Args:
        num_stragglers: `s`, at most in a round; static.
        tolerance: `mu`, ().
        waits_for_all: as in `Round`; static.
    """

    num_stragglers: int
    tolerance: ArrayLike = 1.0
    waits_for_all: bool = True

    exact: ClassVar[bool] = True
    by_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        not_negative("tolerance", self.tolerance)
        scalar("tolerance", self.tolerance)

    def check(self, group_size: int, redundancy: int) -> None:
        if redundancy != self.num_stragglers + 1:
            raise ValueError(
                f"redundancy={redundancy} must be num_stragglers + 1 = {self.num_stragglers + 1}"
            )

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        nobody = jnp.zeros(arrival.shape[-1], bool)
        sizes = self.tolerance, self.num_stragglers, self.waits_for_all
        return Round(nobody, nobody, *sizes).wait(arrival)


@pytree(*SIZES)
class Windowed(Adaptive):
    """What both codes have: bursts in a window, and rounds that keep to them.

    Args:
        burst: `B`, rounds that a worker straggles for; static.
        window: `W`, rounds that a burst is alone in; static.
        num_stragglers: `lambda`, workers that straggle in a window; static.
        tolerance: `mu`, ().
        waits_for_all: as in `Round`; static.
    """

    burst: int
    window: int
    num_stragglers: int
    tolerance: ArrayLike = 1.0
    waits_for_all: bool = True

    exact: ClassVar[bool] = True
    by_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        whole_number("burst", self.burst)
        whole_number("window", self.window, 2)
        whole_number("num_stragglers", self.num_stragglers, 0)
        not_negative("tolerance", self.tolerance)
        scalar("tolerance", self.tolerance)
        if self.burst >= self.window:
            raise ValueError(f"burst={self.burst} fills window={self.window}; give a longer window")

    def check(self, group_size: int, redundancy: int) -> None:
        if self.num_stragglers > group_size:
            raise ValueError(
                f"num_stragglers={self.num_stragglers} exceeds the {group_size} workers; give fewer"
            )

    def nobody(self, group_size: int) -> Array:
        """Stragglers of the rounds of a window before the first, newest first, (W-1, n)."""
        return jnp.zeros((self.window - 1, group_size), bool)

    def round(self, late: Array) -> Round:
        """A round after those with these stragglers, (W-1, n)."""
        barred = jnp.any(late[self.burst - 1 :], axis=0)
        sizes = self.tolerance, self.num_stragglers, self.waits_for_all
        return Round(jnp.any(late, axis=0), barred, *sizes)


@pytree(*SIZES)
class Multiplexed(Windowed):
    """M-SGC: most of a round's work is repeated where it is lost, the rest is coded.

    The data are cut into `W - 1` parts a worker that it alone holds, and `B` parts that a gradient
    code spreads over all; a worker's message in a round has one vector for each of `W - 1 + B`
    models. (arXiv 2211.13802, section 3.3.)

    Args: those of `Windowed`.
    """

    @property
    def num_models(self) -> int:
        """`T + 1`, models that are trained in turn."""
        return self.window - 1 + self.burst

    @property
    def vectors(self) -> int:
        return self.num_models

    def begin(self, num_parameters: int, group_size: int) -> Array:
        return self.nobody(group_size)

    def now(self, notes: Array) -> Round:
        return self.round(notes)

    def learn(self, notes: Array, arrival: Array, step: Array) -> Array:
        taken = self.now(notes).wait(arrival[0])[1]
        return jnp.concatenate([~taken[None], notes[:-1]])


class Unfinished(NamedTuple):
    """What `SelectiveRepetition` remembers: stragglers that count, and who did its round's task."""

    late: Array  # (W-1, n), newest first
    done: Array  # (B, n), newest first


@pytree(*SIZES)
class SelectiveRepetition(Windowed):
    """SR-SGC: of more stragglers than the code bears, so many do their task once more.

    A round's model is coded against `s = ceil(B lambda / (W - 1 + B))` stragglers. Where more
    straggled, the first of them, as many as there were too many, repeat in the `B`-th round after
    what they left, in place of that round's task. Rounds with `s` stragglers at most in which
    nobody repeats do not count in the window. (arXiv 2211.13802, section 3.2.)

    Args: those of `Windowed`; `B` must divide `W - 1`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.window - 1) % self.burst:
            raise ValueError(
                f"burst={self.burst} does not divide window - 1 = {self.window - 1}; give a window "
                f"of 1 more than a multiple of it"
            )

    @property
    def borne(self) -> int:
        """`s`, stragglers that the code of a round bears."""
        return -(-self.burst * self.num_stragglers // (self.window - 1 + self.burst))

    @property
    def num_models(self) -> int:
        """`T + 1`, models that are trained in turn."""
        return self.burst + 1

    def check(self, group_size: int, redundancy: int) -> None:
        super().check(group_size, redundancy)
        if redundancy != self.borne + 1:
            raise ValueError(f"redundancy={redundancy}, but the code needs {self.borne + 1}")

    def begin(self, num_parameters: int, group_size: int) -> Unfinished:
        return Unfinished(self.nobody(group_size), jnp.ones((self.burst, group_size), bool))

    def now(self, notes: Unfinished) -> Round:
        return self.round(notes.late)

    def learn(self, notes: Unfinished, arrival: Array, step: Array) -> Unfinished:
        taken = self.now(notes).wait(arrival[0])[1]
        missing = ~notes.done[-1]
        repeats = missing & (jnp.cumsum(missing) <= jnp.sum(missing) - self.borne)
        counts = jnp.any(taken & repeats) | (jnp.sum(~taken) > self.borne)
        late = jnp.concatenate([(~taken & counts)[None], notes.late[:-1]])
        return Unfinished(late, jnp.concatenate([(taken & ~repeats)[None], notes.done[:-1]]))


def round_gc(
    num_workers: int, redundancy: int, tolerance: ArrayLike = 1.0, waits_for_all: bool = True
) -> Scheme:
    """Gradient coding whose server waits as in sequential coding; see `EveryRound`.

    With `tolerance=0` and `waits_for_all=False` it is `gc`, with `redundancy=1` it waits for all.

    >>> round_gc(12, redundancy=3).decoding.num_stragglers
    2
    """
    decoding = EveryRound(whole_number("redundancy", redundancy) - 1, tolerance, waits_for_all)
    return Scheme(num_workers, 1, redundancy, decoding=decoding)


def sr_sgc(
    num_workers: int,
    burst: int,
    window: int,
    num_stragglers: int,
    tolerance: ArrayLike = 1.0,
    waits_for_all: bool = True,
) -> Scheme:
    """Gradient coding with selective repetition over rounds; see `SelectiveRepetition`.

    Raises:
        ValueError: for sizes that do not fit each other, or a negative tolerance.

    >>> scheme = sr_sgc(12, burst=2, window=3, num_stragglers=6)
    >>> scheme.load, scheme.decoding.num_models
    (4, 3)
    """
    decoding = SelectiveRepetition(burst, window, num_stragglers, tolerance, waits_for_all)
    _check_stored(num_workers, num_stragglers, decoding.borne + 1)
    return Scheme(num_workers, 1, decoding.borne + 1, decoding=decoding)


def m_sgc(
    num_workers: int,
    burst: int,
    window: int,
    num_stragglers: int,
    tolerance: ArrayLike = 1.0,
    waits_for_all: bool = True,
) -> Scheme:
    """Multiplexed sequential gradient coding; see `Multiplexed`.

    A worker's load, `(lambda + 1) (W - 1 + B) / (B + (W - 1) (lambda + 1))` partitions, or
    `(W - 1 + B) / (W - 1)` where `lambda = M`, is below 2 and no whole number in general
    (arXiv 2211.13802, eq. 3).

    Raises:
        ValueError: for sizes that do not fit each other, or a negative tolerance.

    >>> scheme = m_sgc(12, burst=1, window=2, num_stragglers=3)
    >>> scheme.load, scheme.decoding.num_models
    (1.6, 2)
    """
    decoding = Multiplexed(burst, window, num_stragglers, tolerance, waits_for_all)
    parts, own, coded = window - 1 + burst, window - 1, num_stragglers + 1
    load = parts / own if num_stragglers == num_workers else coded * parts / (burst + own * coded)
    _check_stored(num_workers, num_stragglers, math.ceil(load))
    return Scheme(num_workers, 1, math.ceil(load), decoding=decoding, fixed_load=load)


def _check_stored(num_workers: int, num_stragglers: int, needed: int) -> None:
    if needed > whole_number("num_workers", num_workers):
        raise ValueError(
            f"num_stragglers={num_stragglers} asks for {needed} partitions a worker, but "
            f"num_workers={num_workers}; give fewer stragglers or more workers"
        )
