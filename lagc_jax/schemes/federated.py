"""Rules of federated learning: local steps between rounds, and a random part of the workers."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from lagc_jax import _keys
from lagc_jax._checks import positive, real_array, scalar, whole_number
from lagc_jax._loops import scan
from lagc_jax.schemes.compression import Around, Direct
from lagc_jax.schemes.rules import Always, Gradients, Proposal, Round


@dataclass(frozen=True)
class LocalSteps(Around):
    """Any rule on the sum of the gradients along `H` local steps of every group.

    From `theta` a group goes `H` steps `w = w - eta g(w)` on its own loss and takes the sum of the
    `g(w)` for its gradient, that is `(theta - w) / eta`: `H` gradients, and the time of `H`, for
    one message. With `eta = G alpha`, the default, plain descent at the server moves to the mean of
    the groups' `w`: local SGD, or FedAvg (McMahan, Moore, Ramage, Hampson and Aguera y Arcas,
    "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, arXiv
    1602.05629). Minibatches are those of the iterations `k H` to `k H + H - 1`. One step is the
    rule itself, bit for bit.

    Args:
        rule: a `Rule` or the name of one.
        num_steps: `H`; static.
        step_size: `eta`, a number; static.
    """

    num_steps: int
    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("num_steps", self.num_steps)
        if self.step_size is not None:
            real_array("step_size", self.step_size)
            positive("step_size", self.step_size)
            scalar("step_size", self.step_size)

    def __str__(self) -> str:
        return f"{self.rule} after {self.num_steps} steps"

    @property
    def gradients(self) -> int:
        return self.num_steps * self.rule.gradients

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        local = round.held.shape[0] * round.step_size if self.step_size is None else self.step_size

        def along(theta: Array) -> Array:
            first = gradients(theta, round.k * self.num_steps)

            def move(walk: tuple[Array, Array], h: Array) -> tuple[tuple[Array, Array], None]:
                point, total = walk
                slope = gradients(point, round.k * self.num_steps + h)
                return (point - local * slope, total + slope), None

            start = jnp.broadcast_to(theta, first.shape) - local * first
            return scan(move, (start, first), jnp.arange(1, self.num_steps))[0][1]

        return self.rule.propose(along, round, notes)


@dataclass(frozen=True)
class Participation(Around):
    """The server picks some groups at random in every iteration, and steps along them alone.

    Only those download, compute and upload, and their messages count `G / participants` times, so
    that the mean is right; nothing is kept of the others. Groups are drawn from `seed` without
    replacement, the same in all realisations of the delays. (FedAvg, arXiv 1602.05629.)

    Args:
        rule: what those do: one without a memory of the last message.
        participants: groups an iteration; static.
        seed: static.

    Raises:
        ValueError: for another rule, or numbers that are not whole.
    """

    participants: int
    seed: int = 0

    everyone_works: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("participants", self.participants)
        whole_number("seed", self.seed, minimum=0)
        inner = self.rule
        while isinstance(inner, LocalSteps | Direct):
            inner = inner.rule
        if not isinstance(inner, Always):
            raise ValueError(
                f"rule={str(self.rule)!r} may remember messages, of which nothing is kept; give "
                f"'always', Direct or LocalSteps"
            )

    def __str__(self) -> str:
        return f"{self.rule} of {self.participants}"

    @property
    def needs_whole(self) -> bool:
        return self.rule.needs_whole

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        groups = round.held.shape[0]
        if self.participants > groups:
            raise ValueError(
                f"participants={self.participants} exceeds the {groups} groups; give fewer"
            )
        key = _keys.fold_in(_keys.make_key(self.seed), round.k)
        picked = _keys.permutation(key, groups) < self.participants
        found = self.rule.propose(gradients, round, notes)
        message = groups / self.participants * found.message
        return Proposal(~picked, message, found.draft, jnp.zeros_like(message))
