"""Rules of lazy aggregation: which groups skip an upload, and what the others send.

A rule is the only part of a scheme that knows how its groups decide. It is a small frozen object of
static constants with one function, `propose`; what is batched goes into the scheme's `xi`. The step
knows no rule by name, so a rule of one's own is a class like those below, given to a `Scheme` as
its `trigger`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax.numpy as jnp
from jax import Array

FLOAT_BITS = 32  # of a number that is sent as it is, whatever the precision of the simulation

Gradients = Callable[..., Array]
Bits = int | Callable[[Array], Array]


class Round(NamedTuple):
    """What is known before the groups decide in iteration `k`.

    Attributes:
        k: () number of the iteration.
        theta: (d,) `theta^k`.
        held: (G, d) every group's last message, zeros before the first.
        stale_iterates: (G, d) `theta_hat_g`, the iterate at which it was sent.
        silent: (G,) iterations without an upload since then.
        moved: () `sum_d xi_d |theta^{k+1-d} - theta^{k-d}|^2`.
        step_size: () `alpha` of this iteration.
        group_smoothness: (G,) `L_g`.
        memory: `D`, a Python int.
        xi: (D,) the scheme's weights.
    """

    k: Array
    theta: Array
    held: Array
    stale_iterates: Array
    silent: Array
    moved: Array
    step_size: Array
    group_smoothness: Array
    memory: int
    xi: Array

    @property
    def lag_scale(self) -> Array:
        """`alpha G`, (): times it, changes are squared in range, beside `moved` (LAG, eq. 15)."""
        return self.step_size * self.held.shape[0]

    def fresh_enough(self, silence: int | None = None) -> Array:
        """Whether a group has kept silent for less than `silence` iterations, (G,); `D` if None."""
        return self.silent < (self.memory if silence is None else silence)


class Proposal(NamedTuple):
    """What the groups would do.

    Attributes:
        skip: (G,) bool, groups that need not upload; those never heard of do all the same.
        message: (G, d) what a group uploads: the server sums the groups' last messages.
        draft: what `Rule.remember` may want to know, any pytree.
        absent: (G, d) what the server takes of the groups that do not upload, and then groups
            never heard of need not either; by default the last message of each.
    """

    skip: Array
    message: Array
    draft: Any = None
    absent: Array | None = None


class Rule(Protocol):
    """How the groups of a scheme decide; a frozen dataclass, so that equal rules are one program.

    Attributes:
        name: short, for tables and messages; by default that of the class.
        everyone_works: whether all groups download and compute before they decide. They must then
            know their group's whole gradient (`r = n`). Otherwise only those that upload work.
        gradients: gradients of a partition that a worker computes in an iteration.
    """

    name: ClassVar[str] = ""
    everyone_works: ClassVar[bool] = False
    gradients: ClassVar[int] = 1

    def __str__(self) -> str:
        return self.name or type(self).__name__

    @property
    def needs_whole(self) -> bool:
        """Whether workers must know their group's whole gradient, as no sum of codes tells it."""
        return self.everyone_works

    def start(self, theta: Array, num_groups: int) -> Any:
        """What the rule remembers before the first iteration, a pytree of arrays; nothing here."""
        return None

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        """Decide in iteration `k`.

        Args:
            gradients: function to the groups' gradients (G, d) from one point (d,) or one point a
                group (G, d); if the problem has minibatches, on the samples of iteration `k`, or of
                another that is given as its second argument.
            round: what is known.
            notes: what the rule remembers.
        """
        ...

    def remember(self, notes: Any, draft: Any, uploaded: Array) -> Any:
        """What the rule remembers after the iteration, given who uploaded, bool (G,)."""
        return notes

    def message_bits(self, num_parameters: int) -> Bits:
        """Bits of one uploaded message: a number, or a function of the number of the iteration."""
        return FLOAT_BITS * num_parameters


def squared_norms(vectors: Array) -> Array:
    """Squared Euclidean norms (G,) of (G, d)."""
    return jnp.sum(vectors**2, axis=-1)


@dataclass(frozen=True)
class Always(Rule):
    """Nobody skips: gradient descent."""

    name: ClassVar[str] = "always"

    def propose(self, gradients: Gradients, round: Round, notes: None) -> Proposal:
        return Proposal(jnp.zeros(round.held.shape[0], bool), gradients(round.theta))


@dataclass(frozen=True)
class LagServer(Rule):
    """LAG-PS: the server bounds the change of a gradient by `L_g^2 |theta_hat_g - theta|^2`.

    (LAG, eq. 15b.)
    """

    name: ClassVar[str] = "server"

    def propose(self, gradients: Gradients, round: Round, notes: None) -> Proposal:
        moved = squared_norms(round.stale_iterates - round.theta[None])
        skip = (round.lag_scale * round.group_smoothness) ** 2 * moved <= round.moved
        return Proposal(skip, gradients(round.theta))


@dataclass(frozen=True)
class LagWorker(Rule):
    """LAG-WK: workers see the change `|grad_hat_g - grad_g|^2` of a gradient (LAG, eq. 15a)."""

    name: ClassVar[str] = "worker"
    everyone_works: ClassVar[bool] = True

    def propose(self, gradients: Gradients, round: Round, notes: None) -> Proposal:
        fresh = gradients(round.theta)
        return Proposal(squared_norms(round.lag_scale * (round.held - fresh)) <= round.moved, fresh)
