"""Constructors of schemes that are about messages: compressors, memories and local steps.

Everywhere `num_workers` is `M`, each a group of its own that holds one partition, and `compressor`
one of `compressors.py`, or a text such as "top-k(4)".
"""

from jax.typing import ArrayLike

from lagc_jax._checks import positive_number
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.compression import Compressed, Diana, Direct, ErrorFeedback, Marina
from lagc_jax.schemes.compressors import Compressor, as_compressor
from lagc_jax.schemes.federated import LocalSteps, Participation
from lagc_jax.schemes.rulebook import ThreePoint
from lagc_jax.schemes.rules import Always, Rule


def compressed_gd(num_workers: int, compressor: str | Compressor) -> Scheme:
    """Gradient descent whose gradients are compressed as they are, `compression.Direct`: QSGD.

    >>> str(compressed_gd(12, "dithering(4)").trigger)
    'always directly dithering(4)'
    """
    return Scheme(num_workers, num_workers, 1, trigger=Direct(Always(), as_compressor(compressor)))


def error_feedback(num_workers: int, compressor: str | Compressor) -> Scheme:
    """Compressed gradient descent with a memory of what was not sent, `compression.ErrorFeedback`.

    >>> error_feedback(12, "sign").trigger.message_bits(num_parameters=10)
    42
    """
    return Scheme(num_workers, num_workers, 1, trigger=ErrorFeedback(as_compressor(compressor)))


def ef21(num_workers: int, compressor: str | Compressor) -> Scheme:
    """EF21: changes of gradients are compressed, `compression.Compressed`; all workers send.

    >>> ef21(12, "top-k(4)").trigger.message_bits(num_parameters=50)
    152
    """
    return Scheme(
        num_workers, num_workers, 1, trigger=Compressed(Always(), as_compressor(compressor))
    )


def clag(num_workers: int, compressor: str | Compressor, xi: ArrayLike) -> Scheme:
    """CLAG: lazy compressed changes of gradients, `rulebook.ThreePoint`, with `xi` its `zeta`, ().

    With `xi = 0` it is `ef21`, with the compressor "identity" the LAG of three-point compressors.

    >>> clag(12, "top-k(4)", xi=1.0).memory
    1
    """
    trigger = Compressed(ThreePoint(), as_compressor(compressor))
    return Scheme(num_workers, num_workers, 1, xi, memory=1, trigger=trigger)


def diana(num_workers: int, compressor: str | Compressor, rate: float) -> Scheme:
    """DIANA: differences to a shift that learns at a rate are compressed, `compression.Diana`.

    >>> diana(12, "natural", rate=0.5).trigger.rate
    0.5
    """
    return Scheme(num_workers, num_workers, 1, trigger=Diana(as_compressor(compressor), rate))


def marina(
    num_workers: int, compressor: str | Compressor, probability: float, seed: int = 0
) -> Scheme:
    """MARINA: compressed changes, and whole gradients with a probability, `compression.Marina`.

    >>> marina(12, "random-k(4)", probability=0.1).trigger.probability
    0.1
    """
    return Scheme(
        num_workers, num_workers, 1, trigger=Marina(as_compressor(compressor), probability, seed)
    )


def local_sgd(
    num_workers: int,
    num_steps: int,
    participants: int | None = None,
    compressor: str | Compressor | None = None,
    local_step_size: float | None = None,
    seed: int = 0,
) -> Scheme:
    """Local SGD, or FedAvg: `H` local steps of the workers between rounds, `federated.LocalSteps`.

    With participants, the server picks so many workers at random in every round; with a compressor,
    the sums of gradients are compressed as they are (FedPAQ: Reisizadeh, Mokhtari, Hassani,
    Jadbabaie and Pedarsani, AISTATS 2020, arXiv 1909.13014). The local step is by default
    `M alpha`, with which the server takes the mean of the workers' models.

    >>> local_sgd(12, num_steps=5, participants=3).load
    5
    """
    if local_step_size is not None:
        positive_number("local_step_size", local_step_size)
    trigger: Rule = LocalSteps(Always(), num_steps, local_step_size)
    if compressor is not None:
        trigger = Direct(trigger, as_compressor(compressor))
    if participants is not None:
        trigger = Participation(trigger, participants, seed)
    return Scheme(num_workers, num_workers, 1, trigger=trigger)
