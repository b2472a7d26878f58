"""The family of schemes: worker groups, gradient coding and adaptive selection as one point each.

Every scheme is a `Scheme`: its sizes, its rule of selection, its server's optimiser and how the
server decodes. The constructors name the points that the paper compares and those of later papers.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, check_part, hashable, not_negative, shaped, whole_number
from lagc_jax._pytree import converted, pytree
from lagc_jax.schemes.decoding import Decoding, Fastest
from lagc_jax.schemes.loads import check_tasks, known_load
from lagc_jax.schemes.rulebook import RULES, as_rule
from lagc_jax.schemes.rules import Always, Rule

TRIGGERS = tuple(RULES)
SIZES = ("num_workers", "num_groups", "redundancy", "memory")


@pytree(*SIZES, "trigger", "optimizer", "fixed_load")
class Scheme:
    """`M` workers in `G` groups of `n = M/G`; each stores `r` of its group's `n` partitions.

    Equal schemes compare equal, and share compiled programs.

    Args:
        num_workers: `M`.
        num_groups: `G`, a divisor of `M`.
        redundancy: `r`, partitions a worker stores, `1 <= r <= n`.
        xi: weights of the trigger, () or (D,); may be traced and batched.
        memory: `D`, number of past differences in the trigger.
        trigger: a `Rule`, or the name of one: "always" (no adaptive selection), "server" (LAG-PS),
            "worker" (LAG-WK) or another of `rulebook.RULES`; static, and a rule ever after.
        optimizer: function from the step size to the server's optax transformation; static.
        decoding: how the server waits for a group and decodes; by default its gradient from its `F`
            fastest workers, `F = n - r + 1`.
        fixed_load: gradients that a working worker computes for one message, or a tuple of those of
            the `n` workers of every group; by default those of the rule on `r` partitions. Whole
            numbers but where a partition is divided. See `loads`; static.

    Raises:
        ValueError: for sizes that are not whole numbers or do not fit each other, a negative or
            undefined `xi`, a rule in which workers need their group's gradient with `r < n` (they
            never see it) or with a decoding that is not exact, an unknown trigger, or a trigger,
            optimiser or decoding that is none.

    >>> from lagc_jax import lagc
    >>> lagc(num_workers=12, num_groups=4, redundancy=2).num_waited
    2
    """

    num_workers: int
    num_groups: int
    redundancy: int
    xi: ArrayLike = converted(converter=as_leaf, default=0.0)
    memory: int = 1
    trigger: Rule = converted(converter=as_rule, default="always")
    optimizer: Callable[[Array], optax.GradientTransformation] = optax.sgd
    decoding: Decoding | None = None
    fixed_load: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in SIZES:
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.num_workers % self.num_groups:
            raise ValueError(
                f"num_groups={self.num_groups} does not divide num_workers={self.num_workers}; "
                f"give one"
            )
        if self.redundancy > self.group_size:
            raise ValueError(
                f"redundancy={self.redundancy} exceeds the {self.group_size} partitions of a "
                f"group; give 1 <= redundancy <= num_workers / num_groups"
            )
        whole_number("trigger.gradients", self.trigger.gradients)
        if self.fixed_load is not None:
            object.__setattr__(self, "fixed_load", known_load(self.fixed_load, self.group_size))
        if not callable(self.optimizer):
            raise ValueError(
                f"optimizer={self.optimizer!r} is no function of the step size; give optax.amsgrad "
                f"in place of optax.amsgrad(0.1), say"
            )
        hashable("optimizer", self.optimizer, "give a function")
        if self.decoding is not None:
            self._check_decoding(self.decoding)
        if self.trigger.needs_whole and self.redundancy < self.group_size:
            raise ValueError(
                f"trigger={str(self.trigger)!r} needs workers that know their group's gradient, "
                f"but redundancy={self.redundancy} is less than the {self.group_size} partitions "
                f"of a group; give trigger='server' or redundancy={self.group_size}"
            )
        remedy = f"a scalar or a vector of length memory={self.memory}, and batch with jax.vmap"
        shaped("xi", self.xi, [(), (self.memory,)], remedy)
        not_negative("xi", self.xi)

    def _check_decoding(self, decoding: Decoding) -> None:
        check_part("decoding", decoding, Decoding, "a Decoding")
        if jax.tree_util.all_leaves([decoding]):
            raise ValueError(
                f"decoding={decoding!r} is no pytree; decorate its class with "
                f"jax.tree_util.register_dataclass"
            )
        decoding.check(self.group_size, self.redundancy)
        check_tasks(decoding, self.loads)
        if self.trigger.needs_whole and not decoding.exact:
            raise ValueError(
                f"trigger={str(self.trigger)!r} needs workers that know their group's gradient, "
                f"which decoding={type(decoding).__name__} does not recover; give trigger='server'"
            )
        if self.event_driven and (self.adaptive or self.num_groups > 1):
            raise ValueError(
                f"decoding={type(decoding).__name__} waits for single gradients, but trigger="
                f"{str(self.trigger)!r} and num_groups={self.num_groups}; give 'always' and 1"
            )

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
            way = "for the first decodable set of fractional_repetition use grouping"
            if self.event_driven:
                way = "for an update's mean time use theory.update_time"
            raise ValueError(
                f"decoding={type(self.decoding).__name__} takes no fixed number of messages, so "
                f"its costs are not known beforehand; sample with simulate or simulate_batch, or "
                f"{way}"
            )
        return waited

    @property
    def load(self) -> float:
        """Gradients, each of a time `tau`, that a worker computes for one message, at most."""
        return max(self.loads)

    @property
    def loads(self) -> tuple[float, ...]:
        """The load of every worker of a group, (n,)."""
        if isinstance(self.fixed_load, tuple):
            return self.fixed_load
        load = self.fixed_load or self.trigger.gradients * self.redundancy
        return (load,) * self.group_size

    @property
    def adaptive(self) -> bool:
        """Whether the scheme may leave groups out."""
        return not isinstance(self.trigger, Always)

    @property
    def event_driven(self) -> bool:
        """Whether every worker computes in its own time: the decoding is a `Policy`."""
        return getattr(self.decoding, "event_driven", False)

    @property
    def learner(self) -> Any:
        """The decoding where it changes with what the server has seen (`Adaptive`), or None."""
        return self.decoding if getattr(self.decoding, "learns", False) else None

    @property
    def xi_vector(self) -> Array:
        """`xi` as a vector of shape (D,), newest difference first."""
        return jnp.broadcast_to(jnp.asarray(self.xi), (self.memory,))

    def working(self, uploaded: Any) -> Any:
        """Groups that download, compute and are waited for, given those that upload, (..., G)."""
        return uploaded | True if self.trigger.everyone_works else uploaded

    @cached_property
    def path_key(self) -> "Scheme":
        """The scheme that stands for all with its path: coding changes costs, not iterates."""
        return replace(self, redundancy=self.group_size, decoding=None, fixed_load=None)

    @cached_property
    def clock_key(self) -> "Scheme":
        """The scheme that stands for all with its clock: of its rule that sees who works only."""
        trigger = self.trigger if self.trigger.everyone_works else Always()
        sizes = self.num_workers, self.num_groups, self.redundancy
        return Scheme(*sizes, trigger=trigger, decoding=self.decoding, fixed_load=self.loads)
