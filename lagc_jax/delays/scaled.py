"""Times that are those of a family, multiplied."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays


@pytree()
class Scaled(Delays):
    """Times that are a family's, multiplied: of a load that is not the redundancy, say.

    Args:
        delays: the family.
        factor: of its times, () or (M,).
    """

    delays: Delays
    factor: ArrayLike

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        return self.delays.smooth

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        return self.delays.jumps

    @property
    def tail_index(self) -> ArrayLike:
        return self.delays.tail_index

    @property
    def kinks(self) -> Array:
        return self.delays.kinks * jnp.asarray(self.factor)[..., None]

    @property
    def dtype(self) -> Any:
        return self.delays.dtype

    @property
    def identical(self) -> bool:
        return self.delays.identical and np.ndim(self.factor) == 0

    def hazard(self, t: ArrayLike) -> Array:
        return self.delays.hazard(jnp.asarray(t) / self.factor)

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return self.delays.inverse_hazard(x) * self.factor

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.factor) + self.delays.log_inverse_hazard(x)
