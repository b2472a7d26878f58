"""The same computation for many tasks, spread over the devices, in programs of one fixed shape."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from lagc_jax._programs import compiled
from lagc_jax.experiments.devices import accelerated

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

# Leaves larger than this are handed over once for all tasks that have the very same.
LARGE = 512


def map_alike(
    body: Callable[[Any, Any], Any],
    mesh: Mesh,
    shared: Sequence[Any],
    tasks: Sequence[Any],
    capacities: Sequence[int],
    together: bool = False,
    one_thread: Callable[[Any], bool] = lambda _: False,
) -> list[Any]:
    """`body(shared, task)` for every task on all devices, as NumPy arrays, in the tasks' order.

    Tasks of one structure, with the very same `shared`, go together. Large leaves of a task's first
    field are handed over once for all tasks that have the very same ones.

    Args:
        body: a pure function of arrays, the same object for the same computation, so that it is
            compiled once.
        mesh: of `local_mesh`.
        shared: a pytree for every task.
        tasks: named tuples.
        capacities: tasks that a device takes at once, the first one's of those that go together.
        together: as for `map_items`.
        one_thread: of a task, as for `compiled`.
    """
    split = [_split(task) for task in tasks]
    groups: dict[Hashable, list[int]] = {}
    for i, (common, one) in enumerate(zip(shared, split, strict=True)):
        key = tuple(map(id, jax.tree.leaves(common))), one.kind, tuple(map(id, one.large))
        groups.setdefault(key, []).append(i)
    found: dict[int, Any] = {}
    for members in groups.values():
        first = split[members[0]]
        run = _joined(body, first.kind)
        common = (shared[members[0]], first.large)
        items = [split[i].small for i in members]
        how = (together, one_thread(tasks[members[0]]))
        results = map_items(run, mesh, capacities[members[0]], common, items, *how)
        found |= zip(members, results, strict=True)
    return [found[i] for i in range(len(tasks))]


class _Split(NamedTuple):
    """A task in two.

    Attributes:
        kind: its type, structure, and the shapes and types of its leaves.
        large: leaves that are shared.
        small: leaves that are stacked.
    """

    kind: Hashable
    large: list[Any]
    small: list[Any]


def _split(task: Any) -> _Split:
    leaves, structure = jax.tree.flatten(task)
    first = len(jax.tree.leaves(task[0]))
    places = tuple(i for i, leaf in enumerate(leaves[:first]) if np.size(leaf) > LARGE)
    small = [leaf for i, leaf in enumerate(leaves) if i not in places]
    shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in small)
    return _Split((structure, places, shapes), [leaves[i] for i in places], small)


@lru_cache(maxsize=256)
def _joined(body: Callable, kind: tuple) -> Callable:
    """`body` on a task that `_split` took apart."""
    structure, places, _ = kind

    def joined(shared: tuple[Any, list[Any]], small: list[Any]) -> Any:
        common, large = shared
        rest, known = iter(small), dict(zip(places, large, strict=True))
        count = structure.num_leaves
        leaves = [known[i] if i in known else next(rest) for i in range(count)]
        return body(common, structure.unflatten(leaves))

    return joined


def map_items(
    body: Callable[[Shared, Item], Result],
    mesh: Mesh,
    capacity: int,
    shared: Shared,
    items: Sequence[Item],
    together: bool = False,
    one_thread: bool = False,
) -> Iterator[Result]:
    """`body(shared, item)` for every item, on all devices of a mesh, as NumPy arrays.

    On accelerators results travel to the host while the next items are computed.

    Args:
        body: a pure function of arrays, the same object for the same computation, so that it is
            compiled once; equal shapes and types for all items.
        mesh: of `local_mesh`.
        capacity: items that a device takes at once.
        shared: a pytree that all items use.
        items: pytrees of one structure; their leaves are stacked.
        together: whether a device computes its items in one `vmap`, always of the whole capacity,
            and not one after another. The values are those of the loop up to the order of sums
            within a product.
        one_thread: as for `compiled`.
    """
    devices, ahead = mesh.devices.size, int(accelerated(mesh))
    waiting: list[tuple[int, Any]] = []

    def fetch() -> Iterator[Result]:
        count, results = waiting.pop(0)
        leaves, structure = jax.tree.flatten(jax.device_get(results))
        for i in range(count):
            yield structure.unflatten([leaf[i % devices, i // devices] for leaf in leaves])

    for start in range(0, len(items), devices * capacity):
        batch = items[start : start + devices * capacity]
        # Neighbours to different devices, for they cost alike; the first item fills up.
        place = np.arange(capacity) * devices + np.arange(devices)[:, None]
        filled = np.where(place < len(batch), place, 0)
        counts = (place < len(batch)).sum(1)
        given = (shared, _stack(batch, filled), counts)
        with jax.debug_nans(False):  # what is not known is NaN on purpose
            results = _spread(body, mesh, *given, together=together, one_thread=one_thread)
        jax.tree.map(lambda leaf: leaf.copy_to_host_async(), results)
        waiting.append((len(batch), results))
        if len(waiting) > ahead:
            yield from fetch()
    while waiting:
        yield from fetch()


def _stack(items: Sequence[Any], order: np.ndarray) -> Any:
    """Leaves of items stacked on new leading axes, in an order that may repeat."""
    return jax.tree.map(lambda *leaves: np.stack(leaves)[order], *items)


@compiled(
    "body", "mesh", "together", "one_thread", one_thread=lambda *_, one_thread, **__: one_thread
)
def _spread(
    body: Callable,
    mesh: Mesh,
    shared: Any,
    items: Any,
    counts: Any,
    *,
    together: bool,
    one_thread: bool,
) -> Any:
    """On every device the first `counts` (devices,) of items (devices, capacity, ...), or all."""
    many, one = PartitionSpec("devices"), PartitionSpec()

    def local(shared: Any, items: Any, counts: Array) -> Any:
        own = jax.tree.map(lambda leaf: leaf[0], items)
        run = _together if together else _in_turn
        return jax.tree.map(lambda leaf: leaf[None], run(body, shared, own, counts[0]))

    spread = jax.shard_map(
        local, mesh=mesh, in_specs=(one, many, many), out_specs=many, check_vma=False
    )
    return spread(shared, items, counts)


def _in_turn(body: Callable, shared: Any, items: Any, count: Array) -> Any:
    """The first `count` of items (capacity, ...), one after another."""
    body = jax.jit(body)  # traced once for the shapes and the loop

    def item(i: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[i], items)

    def turn(i: Array, results: Any) -> Any:
        result = body(shared, item(i))
        return jax.tree.map(lambda all, new: all.at[i].set(new), results, result)

    capacity = jax.tree.leaves(items)[0].shape[0]
    shapes = jax.eval_shape(body, shared, item(0))
    empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)
    return jax.lax.fori_loop(0, count, turn, empty)


def _together(body: Callable, shared: Any, items: Any, count: Array) -> Any:
    """All items (capacity, ...) at once."""
    return jax.vmap(lambda item: body(shared, item))(items)
