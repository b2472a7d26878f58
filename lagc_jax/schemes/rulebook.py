"""The lazy rules of later papers, and all rules by name."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from lagc_jax._checks import check_part, hashable, whole_number
from lagc_jax.schemes.compressors import Compressor, as_compressor, sent, unit_of
from lagc_jax.schemes.rules import (
    Always,
    Gradients,
    LagServer,
    LagWorker,
    Proposal,
    Round,
    Rule,
    squared_norms,
)


@dataclass(frozen=True)
class _Lasting(Rule):
    """A rule whose fields are spans of iterations, the memory `D` where they are None."""

    silence: int | None = None

    def __post_init__(self) -> None:
        for name, span in vars(self).items():
            if span is not None:
                whole_number(name, span)


@dataclass(frozen=True)
class LasgServer(_Lasting):
    """LASG-PS: as LAG-PS, beside the plain steps: `L_g^2 |theta_hat_g - theta|^2 <= moved`.

    (Chen, Sun and Yin, "LASG: Lazily Aggregated Stochastic Gradients", 2020, arXiv 2002.11360.)
    An upload is forced after `silence` iterations without one, the memory `D` by default; a silence
    that is no whole number is a ValueError.
    """

    name: ClassVar[str] = "lasg-server"

    def propose(self, gradients: Gradients, round: Round, notes: None) -> Proposal:
        moved = squared_norms(round.stale_iterates - round.theta[None])
        skip = (round.group_smoothness**2 * moved <= round.moved) & round.fresh_enough(self.silence)
        return Proposal(skip, gradients(round.theta))


@dataclass(frozen=True)
class LasgWorker(_Lasting):
    """LASG-WK2: the change of the gradient between two points on the same samples.

    `|g(theta; b) - g(theta_hat_g; b)|^2 <= moved` (LASG, arXiv 2002.11360, rule WK2). The silence
    is that of `LasgServer`.
    """

    name: ClassVar[str] = "lasg-worker"
    everyone_works: ClassVar[bool] = True
    gradients: ClassVar[int] = 2

    def propose(self, gradients: Gradients, round: Round, notes: None) -> Proposal:
        fresh = gradients(round.theta)
        change = squared_norms(fresh - gradients(round.stale_iterates))
        return Proposal((change <= round.moved) & round.fresh_enough(self.silence), fresh)


@dataclass(frozen=True)
class Cada2(LasgWorker):
    """CADA2: LASG-WK2 under its name in CADA (arXiv 2012.15469)."""

    name: ClassVar[str] = "cada2"


@dataclass(frozen=True)
class CadaSnapshot(_Lasting):
    """CADA1: the change of a variance-reduced gradient since the last upload.

    `|v - v_hat_g|^2 <= moved` with `v = g(theta; b) - g(theta_snapshot; b)` and `v_hat_g` that of
    the last upload. When the snapshot is renewed everybody uploads, so that both refer to the same
    one (Chen, Guo, Sun and Yin, "CADA: Communication-Adaptive Distributed Adam", 2021, arXiv
    2012.15469, rule CADA1; the uploads as in the authors' code). It is renewed after
    `snapshot_life` iterations, the memory `D` by default; the silence is that of `LasgServer`.
    """

    snapshot_life: int | None = None

    name: ClassVar[str] = "cada1"
    everyone_works: ClassVar[bool] = True
    gradients: ClassVar[int] = 2

    def start(self, theta: Array, num_groups: int) -> tuple[Array, Array]:
        return theta, jnp.zeros((num_groups, theta.size), theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: tuple[Array, Array]) -> Proposal:
        snapshot, last = notes
        life = round.memory if self.snapshot_life is None else self.snapshot_life
        renewed = round.k % life == 0
        snapshot = jnp.where(renewed, round.theta, snapshot)
        fresh = gradients(round.theta)
        reduced = fresh - gradients(snapshot)
        close = squared_norms(reduced - last) <= round.moved
        skip = close & ~renewed & round.fresh_enough(self.silence)
        return Proposal(skip, fresh, (snapshot, reduced))

    def remember(
        self, notes: tuple[Array, Array], draft: tuple[Array, Array], uploaded: Array
    ) -> tuple[Array, Array]:
        snapshot, reduced = draft
        return snapshot, jnp.where(uploaded[:, None], reduced, notes[1])


@dataclass(frozen=True)
class LasgSnapshot(CadaSnapshot):
    """LASG-WK1: CADA1 under its name in LASG (arXiv 2002.11360)."""

    name: ClassVar[str] = "lasg-snapshot"


@dataclass(frozen=True)
class Laq(Rule):
    """LAQ: LAG-WK on gradients whose changes are uploaded by a compressor, its grid of `b` bits.

    The condition is LAG-WK's on the quantised gradients `Q`, with `3 (|e|^2 + |e_hat_g|^2)` added
    on the right, `e` the quantisation error of now and `e_hat_g` that of the last upload. A message
    of the grid is `32 + b d` bits: the range and the levels (Sun, Chen, Giannakis and Yang,
    "Communication-Efficient Distributed Learning via Lazily Aggregated Quantized Gradients",
    NeurIPS 2019, arXiv 1909.07588, eqs. 5 to 7). The silence is that of `LasgServer`.
    """

    compressor: Compressor
    silence: int | None = None

    name: ClassVar[str] = "laq"
    everyone_works: ClassVar[bool] = True

    def __post_init__(self) -> None:
        as_compressor(self.compressor)
        if self.silence is not None:
            whole_number("silence", self.silence)

    def start(self, theta: Array, num_groups: int) -> Array:
        return jnp.zeros(num_groups, theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: Array) -> Proposal:
        fresh, scale = gradients(round.theta), round.lag_scale
        change = sent(self.compressor, fresh - round.held, round.k)
        error = jnp.sqrt(squared_norms(scale * (fresh - (round.held + change))))
        bound = round.moved + 3 * (error**2 + (scale * notes) ** 2)
        skip = squared_norms(scale * change) <= bound
        return Proposal(skip & round.fresh_enough(self.silence), round.held + change, error / scale)

    def remember(self, notes: Array, draft: Array, uploaded: Array) -> Array:
        return jnp.where(uploaded, draft, notes)

    def message_bits(self, num_parameters: int) -> int:
        return self.compressor.bits(num_parameters)


@dataclass(frozen=True)
class ThreePoint(Rule):
    """The trigger of CLAG: the change since the last upload beside that of one iteration.

    `|grad_g - grad_hat_g|^2 <= zeta |grad_g - grad_g^{k-1}|^2`, with `zeta` the scheme's first
    `xi` (Richtarik, Sokolov, Gasanov, Fatkhullin, Li and Gorbunov, "3PC: Three Point Compressors
    for Communication-Efficient Distributed Training and a Better Theory for Lazy Aggregation", ICML
    2022, arXiv 2202.00998, whose LAG this is; the authors' code was run beside it).
    """

    name: ClassVar[str] = "three-point"
    everyone_works: ClassVar[bool] = True

    def start(self, theta: Array, num_groups: int) -> Array:
        return jnp.zeros((num_groups, theta.size), theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: Array) -> Proposal:
        fresh = gradients(round.theta)
        since, lately = fresh - round.held, fresh - notes
        unit = unit_of(jnp.maximum(jnp.abs(since), jnp.abs(lately)))
        bound = round.xi[0] * squared_norms(lately / unit)
        return Proposal(squared_norms(since / unit) <= bound, fresh, fresh)

    def remember(self, notes: Array, draft: Array, uploaded: Array) -> Array:
        return draft


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Always(),
        LagServer(),
        LagWorker(),
        LasgServer(),
        LasgWorker(),
        CadaSnapshot(),
        Cada2(),
        LasgSnapshot(),
        ThreePoint(),
    )
}


def as_rule(trigger: Any) -> Rule:
    """A rule or the name of one as a rule; raise ValueError for what is neither.

    >>> as_rule("cada2").gradients
    2
    """
    if isinstance(trigger, str) and trigger not in RULES:
        raise ValueError(f"trigger={trigger!r} is unknown; give one of {tuple(RULES)}")
    if isinstance(trigger, str):
        return RULES[trigger]
    check_part("trigger", trigger, Rule, f"a Rule or one of {tuple(RULES)}")
    return hashable("trigger", trigger, "make its class a frozen dataclass of numbers and tuples")
