"""Rules whose messages are compressed: with memories at the workers, or as changes.

Each takes any compressor of `compressors.py`. All need workers that know their group's whole
gradient, for what they send is no linear function of it. A group whose upload is lost is as it was
before, and so is its part of the server.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax import _keys
from lagc_jax._checks import positive, probability, real_array, scalar, whole_number
from lagc_jax.schemes.compressors import Compressor, as_compressor, sent
from lagc_jax.schemes.rulebook import as_rule
from lagc_jax.schemes.rules import FLOAT_BITS, Bits, Gradients, Proposal, Round, Rule


@dataclass(frozen=True)
class _Compressing(Rule):
    """A rule in which everybody sends, with a compressor."""

    compressor: Compressor

    everyone_works: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "compressor", as_compressor(self.compressor))

    def __str__(self) -> str:
        return f"{super().__str__()} {self.compressor}"

    def message_bits(self, num_parameters: int) -> Bits:
        return self.compressor.bits(num_parameters)


@dataclass(frozen=True)
class Around(Rule):
    """A rule around another, whose decisions it keeps."""

    rule: Rule

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", as_rule(self.rule))

    @property
    def everyone_works(self) -> bool:
        return self.rule.everyone_works

    @property
    def gradients(self) -> int:
        return self.rule.gradients

    @property
    def needs_whole(self) -> bool:
        return True

    def start(self, theta: Array, num_groups: int) -> Any:
        return self.rule.start(theta, num_groups)

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        return self.rule.propose(gradients, round, notes)

    def remember(self, notes: Any, draft: Any, uploaded: Array) -> Any:
        return self.rule.remember(notes, draft, uploaded)

    def message_bits(self, num_parameters: int) -> Bits:
        return self.rule.message_bits(num_parameters)


@dataclass(frozen=True)
class _Shortening(Around):
    """A rule whose messages are sent by a compressor."""

    compressor: Compressor

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "compressor", as_compressor(self.compressor))

    def __str__(self) -> str:
        return f"{self.rule} {self.name} {self.compressor}"

    def message_bits(self, num_parameters: int) -> Bits:
        return self.compressor.bits(num_parameters)


@dataclass(frozen=True)
class Direct(_Shortening):
    """Any rule, whose messages are compressed as they are: QSGD, natural compression, signs.

    With a biased compressor it need not come near the optimum, with an unbiased one only as near as
    its noise there lets it. (QSGD, arXiv 1610.02132.)
    """

    name: ClassVar[str] = "directly"

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        found = self.rule.propose(gradients, round, notes)
        return found._replace(message=sent(self.compressor, found.message, round.k))


@dataclass(frozen=True)
class Compressed(_Shortening):
    """Any rule, whose messages are compressed changes of the last: `held + C(message - held)`.

    Around no rule that skips it is EF21 (Richtarik, Sokolov and Fatkhullin, "EF21: A New, Simpler,
    Theoretically Better, and Practically Faster Error Feedback", NeurIPS 2021, arXiv 2106.05203),
    around the trigger "three-point" CLAG (arXiv 2202.00998, Algorithm 4); with the identity it is
    the rule itself, bit for bit. The compressor should come nearer to every vector than zero is,
    as the largest entries, signs and grids do. As in EF21 the first message is compressed, too;
    the code of CLAG's authors begins with whole gradients.
    """

    name: ClassVar[str] = "by"

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        found = self.rule.propose(gradients, round, notes)
        if found.absent is not None:
            raise ValueError(
                f"trigger={str(self.rule)!r} forgets the groups that do not upload, so there is no "
                f"last message to compress changes of; give Direct"
            )
        message = self.compressor.move(round.held, found.message, round.k)
        return found._replace(message=message)


@dataclass(frozen=True)
class ErrorFeedback(_Compressing):
    """What was not sent is added to the next gradient: `C(e + g)` is sent, `e = e + g - C(e + g)`.

    The memory `e` is in units of gradients; the papers' is in units of steps, which is the same for
    a constant step and a compressor with `C(a v) = a C(v)`. (Seide, Fu, Droppo, Li and Yu 2014;
    Stich, Cordonnier and Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, arXiv 1809.07599;
    Karimireddy et al., arXiv 1901.09847.)
    """

    name: ClassVar[str] = "error feedback"

    def start(self, theta: Array, num_groups: int) -> Array:
        return jnp.zeros((num_groups, theta.size), theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: Array) -> Proposal:
        wanted = notes + gradients(round.theta)
        message = sent(self.compressor, wanted, round.k)
        return Proposal(jnp.zeros(len(message), bool), message, wanted - message)

    def remember(self, notes: Array, draft: Array, uploaded: Array) -> Array:
        return jnp.where(uploaded[:, None], draft, notes)


@dataclass(frozen=True)
class Diana(_Compressing):
    """DIANA: the difference to a shift `h` is compressed, and `h` learns: `h = h + rate C(g - h)`.

    The server takes `h + C(g - h)`. With `rate = 1` the shift is the last message, as in EF21, bit
    for bit. Unbiased compressors of variance `w |v|^2` need a rate of `1 / (1 + w)` at most.
    (Mishchenko, Gorbunov, Takac and Richtarik, "Distributed Learning with Compressed Gradient
    Differences", 2019, arXiv 1901.09269, Algorithm 1 without its momentum.)
    """

    rate: float

    name: ClassVar[str] = "diana"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("rate", self.rate)
        scalar("rate", self.rate)

    def start(self, theta: Array, num_groups: int) -> Array:
        return jnp.zeros((num_groups, theta.size), theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: Array) -> Proposal:
        change = sent(self.compressor, gradients(round.theta) - notes, round.k)
        shift = notes + self.rate * change
        return Proposal(jnp.zeros(len(change), bool), notes + change, shift)

    def remember(self, notes: Array, draft: Array, uploaded: Array) -> Array:
        return jnp.where(uploaded[:, None], draft, notes)


COIN = np.uint32(2**32 - 1)  # the number of a stream that no iteration has


@dataclass(frozen=True)
class Marina(_Compressing):
    """MARINA: changes of gradients are compressed, whole gradients are sent with a probability.

    One coin, from `seed`, decides for all workers in an iteration; at `k = 0` all send their whole
    gradient, `32 d` bits, and else what the last message becomes by `C(g^k - g^{k-1})`. It is for
    full gradients: with minibatches the two would be on different samples. (Gorbunov, Burlachenko,
    Li and Richtarik, "MARINA: Faster Non-Convex Distributed Learning with Compression", ICML 2021,
    arXiv 2102.07845, Algorithm 1.)
    """

    probability: float
    seed: int = 0

    name: ClassVar[str] = "marina"

    def __post_init__(self) -> None:
        super().__post_init__()
        real_array("probability", self.probability)
        scalar("probability", self.probability)
        probability("probability", self.probability)
        whole_number("seed", self.seed, minimum=0)

    def whole(self, k: Array) -> Array:
        """Whether whole gradients are sent in iteration `k`, bool ()."""
        own = _keys.fold_in(_keys.make_key(self.seed), COIN)  # apart from that of a compressor
        key = _keys.fold_in(own, k)
        return (k == 0) | (_keys.survival_uniforms(key, (), jnp.float32) <= self.probability)

    def start(self, theta: Array, num_groups: int) -> Array:
        return jnp.zeros((num_groups, theta.size), theta.dtype)

    def propose(self, gradients: Gradients, round: Round, notes: Array) -> Proposal:
        fresh = gradients(round.theta)
        moved = round.held + sent(self.compressor, fresh - notes, round.k)
        message = jnp.where(self.whole(round.k), fresh, moved)
        return Proposal(jnp.zeros(len(fresh), bool), message, fresh)

    def remember(self, notes: Array, draft: Array, uploaded: Array) -> Array:
        return jnp.where(uploaded[:, None], draft, notes)

    def message_bits(self, num_parameters: int) -> Bits:
        short, whole = self.compressor.bits(num_parameters), FLOAT_BITS * num_parameters
        return lambda k: jnp.where(self.whole(k), whole, short)
