"""Decoding by a code that waits for another number of workers than `n - r + 1`."""

from typing import ClassVar

from lagc_jax._pytree import pytree
from lagc_jax.schemes.codes import GradientCode
from lagc_jax.schemes.decoding import Decoding, check_code_fits
from lagc_jax.schemes.short_codes import ShortCode


@pytree()
class Coded(Decoding):
    """A code of its own decodes from any `F` messages, the code's `num_waited`.

    Args:
        code: a `GradientCode` whose `F` is not `n - r + 1`, or a `ShortCode`.

    Raises:
        ValueError: if it is neither.

    >>> from lagc_jax.schemes.short_codes import short_code
    >>> Coded(short_code(5, 3, pieces=2)).pieces
    2
    """

    code: GradientCode | ShortCode

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.code, GradientCode | ShortCode):
            raise ValueError(f"code is of type {type(self.code).__name__}; give a GradientCode")

    @property
    def fastest(self) -> int:
        return self.code.num_waited

    @property
    def pieces(self) -> int:
        return self.code.pieces

    @property
    def own_code(self) -> GradientCode | ShortCode:
        return self.code

    def check(self, group_size: int, redundancy: int) -> None:
        check_code_fits(self.code, group_size, redundancy)
