"""One run: what happened along it, and what it took to reach an accuracy."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import not_negative, one_axis, positive
from lagc_jax._display import readable
from lagc_jax._frames import frame, load, save
from lagc_jax._programs import compiled
from lagc_jax.costs import at_hit, first_hit

if TYPE_CHECKING:
    import pandas as pd


@readable
class Trajectory(NamedTuple):
    """One realisation of a scheme; arrays over iterates are cumulative and start at 0.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`; not finite from where the iterates overflow.
        selected: (K, G) bool, groups that were to upload, and did unless they were given up.
        wall_clock: (K+1,) time, in the unit of the delays; iterations in which nobody works take 0.
        downlink: (K+1,) messages from the server, exact integers.
        uplink: (K+1,) messages to the server, exact integers.
        computation: (K+1,) partition gradients, exact integers where loads are whole.
        theta: the last iterate, in the form of the problem's parameters.
        diverged: () bool, whether the gap stopped being finite or ended above its start.
        received: (K, G) bool, groups whose gradient arrived: those selected, less those given up.
        timeouts: (K+1,) times that a group was given up, exact integers.
        message_bits: bits of a message to the server, (), or (K,) where they vary.
        recorded: what `record` gave at every iterate, leaves (K+1, ...); None without one.
    """

    gap: Array
    selected: Array
    wall_clock: Array
    downlink: Array
    uplink: Array
    computation: Array
    theta: Any
    diverged: Array
    received: Array
    timeouts: Array
    message_bits: Array
    recorded: Any = None

    @property
    def communication(self) -> Array:
        """Downlink plus uplink messages, (K+1,)."""
        return self.downlink + self.uplink

    @property
    def bits(self) -> Array:
        """Bits sent to the server, (K+1,), of floating type: 32 for every number sent as it is."""
        floating = jnp.result_type(float)
        if self.message_bits.ndim < self.uplink.ndim:
            return self.uplink.astype(floating) * self.message_bits[..., None].astype(floating)
        sent = jnp.diff(self.uplink).astype(floating) * self.message_bits.astype(floating)
        return jnp.concatenate([jnp.zeros_like(sent[..., :1]), jnp.cumsum(sent, axis=-1)], axis=-1)

    def gap_at(self, times: ArrayLike) -> Array:
        """Gap of the newest iterate at given times (T,) or (): (T,), of vmapped runs (.., T).

        A band over realisations is a quantile of it along the runs.

        Raises:
            ValueError: for a negative time.
        """
        not_negative("times", times)
        one_axis("times", times)
        asked = jnp.atleast_1d(jnp.asarray(times))

        def look(gap: Array, clock: Array) -> Array:
            return gap[jnp.searchsorted(clock, asked, side="right") - 1]

        return jnp.vectorize(look, signature="(k),(k)->(t)")(self.gap, self.wall_clock)

    def to_frame(self) -> "pd.DataFrame":
        """A `pandas.DataFrame`, a row an iterate; of vmapped runs, counted in the column `run`."""
        columns = {
            "gap": self.gap,
            "time": self.wall_clock,
            "communication": self.communication,
            "downlink": self.downlink,
            "uplink": self.uplink,
            "computation": self.computation,
            "bits": self.bits,
            "timeouts": self.timeouts,
        }
        return frame(columns, self.gap.ndim > 1, "iterate")

    def save(self, path: str | Path) -> None:
        """Write it to an `.npz` file."""
        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read what `save` has written; raise ValueError for anything else."""
        return load(cls, path)


@readable
class Complexity(NamedTuple):
    """What it took to reach an accuracy; `inf` where it was not reached."""

    wall_clock: Array
    communication: Array  # messages
    computation: Array  # partition gradients
    iterations: Array  # first `k` with `L(theta^k) - L(theta*) <= accuracy`
    bits: Array  # sent to the server

    def to_frame(self) -> "pd.DataFrame":
        """A `pandas.DataFrame`, a row an entry; with two axes these are `run` and `level`."""
        columns = {name: jnp.atleast_1d(values) for name, values in self._asdict().items()}
        columns["time"] = columns.pop("wall_clock")
        leading = self.iterations.ndim > 1
        return frame(columns, leading, "level" if leading else "entry")


def complexity(trajectory: Trajectory, accuracy: ArrayLike) -> Complexity:
    """Read off what a trajectory took to reach an accuracy, a gap or an array of them (LAGC).

    Entries are of the shape of `accuracy`, `inf` where no iterate up to `K` has such a gap; of a
    trajectory made under `vmap` its leading axes come first.

    Raises:
        ValueError: if an accuracy is not positive and finite, or for no trajectory.
    """
    positive("accuracy", accuracy)
    if not isinstance(trajectory, Trajectory):
        raise ValueError(
            f"trajectory is a {type(trajectory).__name__}; give one of simulate, or read the costs "
            f"of a batch off its `costs`"
        )
    # Of a file, which may hold more than this process computes with: on the host, as they are.
    host = isinstance(trajectory.gap, np.ndarray)
    return (_read_off if host else _read_off_compiled)(trajectory, accuracy)


def _read_off(run: Trajectory, accuracy: ArrayLike) -> Complexity:
    if run.gap.ndim > 1 and isinstance(run.gap, np.ndarray):
        leaves, structure = jax.tree.flatten(run)
        every = map(structure.unflatten, zip(*leaves, strict=True))
        costs = zip(*(_read_off(one, accuracy) for one in every), strict=True)
        return Complexity(*(cast(Array, np.stack(cost)) for cost in costs))
    if run.gap.ndim > 1:
        return jax.vmap(_read_off, in_axes=(0, None))(run, accuracy)
    hit = first_hit(run.gap, accuracy)
    iterates = jnp.arange(run.gap.shape[-1])
    costs = (run.wall_clock, run.communication, run.computation, iterates, run.bits)
    return Complexity(*(at_hit(cost, *hit) for cost in costs))


_read_off_compiled = compiled()(_read_off)
