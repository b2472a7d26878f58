"""The family of schemes: worker groups, gradient coding and adaptive selection as one point each.

Every scheme is a `Scheme`: its sizes, its rule of selection, its server's optimiser and how the
server decodes. The constructors name the points that the paper compares and those of later papers.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, not_negative, whole_number
from lagc_jax._pytree import pytree
from lagc_jax.schemes.decoding import Decoding, Fastest
from lagc_jax.schemes.rules import RULES, Always, Rule

TRIGGERS = tuple(RULES)


@pytree("num_workers", "num_groups", "redundancy", "memory", "trigger", "optimizer")
class Scheme:
    """`M` workers in `G` groups of `n = M/G`; each stores `r` of its group's `n` partitions.

    Args:
        num_workers: `M`.
        num_groups: `G`, a divisor of `M`.
        redundancy: `r`, partitions a worker stores and computes, `1 <= r <= n`.
        xi: weights of the trigger, () or (D,); may be traced and batched.
        memory: `D`, number of past differences in the trigger.
        trigger: "always" (no adaptive selection), "server" (LAG-PS), "worker" (LAG-WK), another
            name of `rules.RULES`, or a `Rule` of one's own; static.
        optimizer: function from the step size to the server's optax transformation; static.
        decoding: how the server waits for a group and decodes; by default its gradient from its `F`
            fastest workers, `F = n - r + 1`.

    Raises:
        ValueError: for sizes that are not whole numbers or do not fit each other, a negative or
            undefined `xi`, a rule in which workers need their group's gradient with `r < n` (they
            never see it) or with a decoding that is not exact, an unknown trigger, or a trigger,
            optimiser or decoding that is none.

    >>> lagc(num_workers=12, num_groups=4, redundancy=2).num_waited
    2
    """

    num_workers: int
    num_groups: int
    redundancy: int
    xi: ArrayLike = 0.0
    memory: int = 1
    trigger: str | Rule = "always"
    optimizer: Callable[[Array], optax.GradientTransformation] = optax.sgd
    decoding: Decoding | None = None

    def __post_init__(self) -> None:
        workers = whole_number("num_workers", self.num_workers)
        groups = whole_number("num_groups", self.num_groups)
        redundancy = whole_number("redundancy", self.redundancy)
        memory = whole_number("memory", self.memory)
        if workers % groups:
            raise ValueError(f"num_groups={groups} does not divide num_workers={workers}; give one")
        if redundancy > workers // groups:
            raise ValueError(
                f"redundancy={redundancy} exceeds the {workers // groups} partitions of a group; "
                f"give 1 <= redundancy <= num_workers / num_groups"
            )
        if isinstance(self.trigger, str):
            if self.trigger not in RULES:
                raise ValueError(f"trigger={self.trigger!r} is unknown; give one of {TRIGGERS}")
        else:
            _check_part("trigger", self.trigger, "propose", f"a Rule or one of {TRIGGERS}")
        if not callable(self.optimizer):
            raise ValueError(
                f"optimizer={self.optimizer!r} is no function of the step size; give optax.amsgrad "
                f"in place of optax.amsgrad(0.1), say"
            )
        if self.rule.everyone_works and redundancy < workers // groups:
            raise ValueError(
                f"trigger={self.trigger!r} needs workers that know their group's gradient, but "
                f"redundancy={redundancy} is less than the {workers // groups} partitions of a "
                f"group; give trigger='server' or redundancy={workers // groups}"
            )
        if self.decoding is not None:
            _check_part("decoding", self.decoding, "wait", "a Decoding")
            self.decoding.check(workers // groups, redundancy)
            if self.rule.everyone_works and not self.decoding.exact:
                raise ValueError(
                    f"trigger={self.trigger!r} needs workers that know their group's gradient, "
                    f"which decoding={type(self.decoding).__name__} does not recover; give "
                    f"trigger='server'"
                )
        object.__setattr__(self, "xi", as_leaf(self.xi))
        if np.shape(self.xi) not in ((), (memory,)):
            raise ValueError(
                f"xi has shape {np.shape(self.xi)}; give a scalar or a vector of length "
                f"memory={memory}, and batch with jax.vmap"
            )
        not_negative("xi", self.xi)
        for name, size in (
            ("num_workers", workers),
            ("num_groups", groups),
            ("redundancy", redundancy),
            ("memory", memory),
        ):
            object.__setattr__(self, name, size)

    @property
    def group_size(self) -> int:
        """`n = M/G`, workers (and partitions) in a group."""
        return self.num_workers // self.num_groups

    @property
    def decoder(self) -> Decoding:
        """How the server decodes, `Fastest` by default."""
        if self.decoding is None:
            return Fastest(self.group_size - self.redundancy + 1)
        return self.decoding

    @property
    def num_waited(self) -> int:
        """`F`, fastest workers of a group that the server waits for; `n - r + 1` by default.

        Raises:
            ValueError: if that is no constant.
        """
        waited = self.decoder.fastest
        if waited is None:
            raise ValueError(
                f"decoding={type(self.decoding).__name__} takes no fixed number of messages, so "
                f"its costs are not known beforehand; sample with simulate or simulate_batch, or "
                f"for the first decodable set of fractional_repetition use grouping"
            )
        return waited

    @property
    def rule(self) -> Rule:
        """What the trigger stands for."""
        return RULES[self.trigger] if isinstance(self.trigger, str) else self.trigger

    @property
    def load(self) -> int:
        """Partition gradients that a working worker computes in an iteration."""
        return self.rule.gradients * self.redundancy

    @property
    def adaptive(self) -> bool:
        """Whether the scheme may leave groups out."""
        return not isinstance(self.rule, Always)

    @property
    def xi_vector(self) -> Array:
        """`xi` as a vector of shape (D,), newest difference first."""
        return jnp.broadcast_to(jnp.asarray(self.xi), (self.memory,))

    def working(self, uploaded: Array) -> Array:
        """Groups that download, compute and are waited for, given those that upload, (..., G).

        With a rule like the worker trigger all groups compute before each decides.
        """
        return jnp.ones_like(uploaded) if self.rule.everyone_works else uploaded


def _check_part(name: str, part: Any, function: str, remedy: str) -> None:
    """Raise ValueError unless a part of a scheme is an object with its function."""
    if isinstance(part, type) or not hasattr(part, function):
        raise ValueError(f"{name}={part!r} is no object with `{function}`; give {remedy}")
