"""A problem from any differentiable loss, its parameters any pytree of floats."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._checks import (
    finite,
    finite_data,
    positive,
    real_array,
    scalar,
    shaped,
    takes,
    whole_number,
)
from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.problems._arrays import partition_keys, sum_groups
from lagc_jax.problems._optimum import check_found, minimize_lbfgs
from lagc_jax.problems.base import Problem


@pytree("loss_fn", "unravel", "sampler")
class GeneralProblem(Problem):
    """A user's loss over M partitions; made by `general_problem`, whose arguments it holds."""

    loss_fn: Callable[[Any, Any], Array]
    unravel: Callable[[Array], Any]  # from a vector (d,) to the user's parameters
    data: Any
    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array
    initial: Array  # where runs start
    sampler: Callable[[Any, Array, int], Any] | None = None
    measured: Any = None  # data that the loss is computed from, where not from all

    @property
    def start(self) -> Any:
        return self.initial

    def flatten(self, theta: Any) -> Array:
        expected = jax.tree.map(np.shape, jax.eval_shape(self.unravel, self.minimizer))
        if jax.tree.map(np.shape, theta) != expected:
            raise ValueError(
                f"theta0 has shape {jax.tree.map(np.shape, theta)}; give the pytree of the "
                f"problem's theta0, {expected}"
            )
        for leaf in jax.tree.leaves(theta):
            real_array("theta0", leaf)
        vector = ravel_pytree(theta)[0].astype(self.minimizer.dtype)
        finite("theta0", vector)
        return vector

    def unflatten(self, theta: Array) -> Any:
        return _unflatten(self.unravel, theta)

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        grouped = jax.tree.map(
            lambda leaf: leaf.reshape(num_groups, -1, *leaf.shape[1:]), self.data
        )
        gradient = jax.grad(partial(_sum_of_losses, self.loss_fn, self.unravel))

        def gradients(theta: Array) -> Array:
            points = None if theta.ndim == 1 else 0
            return jax.vmap(gradient, in_axes=(points, 0))(theta, grouped)

        return gradients

    def sample(self, key: Array, batch_size: int) -> "GeneralProblem":
        sampler = self.sampler
        if sampler is None:
            raise ValueError("the problem has sampler=None; give general_problem a `sampler`")
        keys = partition_keys(key, self.num_partitions)
        data = jax.vmap(lambda part, own: sampler(part, own, batch_size))(self.data, keys)
        return replace(self, data=data)

    def few(self, num_samples: int) -> Any:
        """The data of so many samples of every partition, always the same ones."""
        return _few(self, _keys.make_key(0), num_samples)

    def group_smoothness(self, num_groups: int) -> Array:
        return sum_groups(self.smoothness, num_groups)

    def gap(self, theta: Array) -> Array:
        return self.loss(theta) - self.optimum

    def loss(self, theta: Array) -> Array:
        data = self.data if self.measured is None else self.measured
        return _sum_of_losses(self.loss_fn, self.unravel, theta, data)


def general_problem(
    loss: Callable[[Any, Any], Array],
    data: Any,
    theta0: Any,
    *,
    smoothness: ArrayLike | None = None,
    strong_convexity: float = math.nan,
    optimum: float | None = None,
    sampler: Callable[[Any, Array, int], Any] | None = None,
    loss_samples: int | None = None,
) -> GeneralProblem:
    """Build a problem from a loss function; its parameters may be any pytree of floats.

    Args:
        loss: pure function from (parameters, data of one partition) to that partition's loss ().
        data: pytree whose leaves have the leading axis M, one entry a partition.
        theta0: parameters in the user's form; where runs and the search for the optimum start.
        smoothness: (M,) constants of the partitions; by default a lower bound of them, estimated by
            `estimate_smoothness` at `theta0` and, if `optimum` is searched for, there and between.
        strong_convexity: `mu`, if known; only bounds use it.
        optimum: `L(theta*)`. By default it is found by L-BFGS, in float64; give it for losses that
            are not convex (0.0, say).
        sampler: pure function from (data of one partition, JAX random key, batch size) to its data
            on a minibatch, whose loss must have the mean of the partition's: let it weigh the
            samples of a uniform minibatch by their number over the batch size.
        loss_samples: samples of every partition that loss and gap along a path are estimated from,
            drawn once by the sampler, the same in all runs; all by default, as for gradients.

    Constants of groups and the total are sums of the partitions'. The gap is a difference of two
    losses, resolved to their rounding.

    Raises:
        ValueError: if the leading axes of `data` differ, `theta0` is not of floats, `smoothness` is
            not M positive numbers, `strong_convexity` no number, loss or sampler take other
            arguments, the loss fails or is not a finite scalar at `theta0`, or no optimum is found.

    >>> data = jnp.array([[1.0], [3.0]])
    >>> problem = general_problem(lambda t, x: jnp.sum((t - x) ** 2), data, jnp.zeros(1))
    >>> round(float(problem.optimum), 3)
    2.0
    """
    M, mu = _check_data(loss, data, theta0), _check_more(strong_convexity, sampler)
    data = jax.tree.map(jnp.asarray, data)
    flat0, unravel = ravel_pytree(theta0)
    minimizer = flat0
    if optimum is None:
        minimizer, optimum, smoothness = _search(loss, theta0, data, flat0.dtype, smoothness)
    elif smoothness is None:
        smoothness = estimated(loss, data, theta0)
    finite("optimum", optimum)
    scalar("optimum", optimum)
    positive("smoothness", smoothness)
    shaped("smoothness", smoothness, [(M,)], f"({M},), one constant a partition")
    each = jnp.asarray(smoothness, flat0.dtype)
    mu = jax.device_put(mu.astype(flat0.dtype))  # made by JAX, NaN might stop it
    known = each, each.sum(), mu, minimizer, jnp.asarray(optimum, flat0.dtype), flat0
    problem = GeneralProblem(loss, unravel, data, *known, sampler)
    if loss_samples is None:
        return problem
    return replace(problem, measured=problem.few(whole_number("loss_samples", loss_samples)))


def _search(
    loss: Callable[[Any, Any], Array],
    theta0: Any,
    data: Any,
    dtype: Any,
    smoothness: ArrayLike | None,
) -> tuple[Array, float, ArrayLike]:
    """The minimiser (d,) and the minimum, found in float64 where the platform has it.

    Also the smoothness constants (M,), the largest estimates on the way if none are given.
    """
    with jax.enable_x64(jax.default_backend() != "tpu"):

        def wide(leaf: Any) -> Any:
            real = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            return jnp.asarray(leaf, float) if real else leaf

        flat, unravel = ravel_pytree(jax.tree.map(wide, theta0))
        data = jax.tree.map(wide, data)
        found = _minimize(loss, unravel, flat, data)
        largest = np.asarray(_largest_smoothness(loss, data, unravel, flat, found[0]))
        point, optimum = check_found(*found, float(largest.sum()))
        known = largest if smoothness is None else smoothness
        return jnp.asarray(point, dtype), optimum, known


@compiled("loss", "unravel")
def _minimize(
    loss: Callable[[Any, Any], Array], unravel: Callable[[Array], Any], theta: Array, data: Any
) -> tuple[Array, Array, Array, Array]:
    return minimize_lbfgs(partial(_sum_of_losses, loss, unravel, data=data), theta)


@compiled("unravel")
def _unflatten(unravel: Callable[[Array], Any], theta: Array) -> Any:
    return unravel(theta)


@compiled("num_samples")
def _few(problem: GeneralProblem, key: Array, num_samples: int) -> Any:
    return problem.sample(key, num_samples).data


def _largest_smoothness(
    loss: Callable[[Any, Any], Array],
    data: Any,
    unravel: Callable[[Array], Any],
    first: Array,
    last: Array,
) -> Array:
    """The largest of the estimates at the first point, the last and between, (M,)."""
    points = [unravel(first + share * (last - first)) for share in (0.0, 0.5, 1.0)]
    return jnp.max(jnp.stack([estimated(loss, data, point) for point in points]), axis=0)


def _check_data(
    loss: Callable[[Any, Any], Array], data: Any, theta0: Any, name: str = "theta0"
) -> int:
    """Check what `general_problem` is given, and return `M`."""
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or sizes in ({()}, {(0,)}):
        raise ValueError(
            f"data has leading axes {sorted(sizes)}; give leaves that share the axis M"
        )
    for leaf in jax.tree.leaves(data):
        finite_data("data", leaf)
    if not jax.tree.leaves(theta0):
        raise ValueError(f"{name}={theta0!r} holds no parameters; give a pytree of floats")
    for leaf in jax.tree.leaves(theta0):
        if not isinstance(leaf, float) and not jnp.issubdtype(
            getattr(leaf, "dtype", object), jnp.floating
        ):
            raise ValueError(f"{name} holds {leaf!r}, which is no float; give floats, 0.0 say")
    takes("loss", loss, "theta", "part")
    try:
        start = jax.jit(loss)(theta0, jax.tree.map(lambda leaf: np.asarray(leaf)[0], data))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"loss({name}, partition 0) fails ({error}); give data and a {name} that fit the loss"
        ) from error
    number = isinstance(start, jax.Array | np.ndarray | np.number | float | int)
    if not number or np.shape(start) != () or not np.isfinite(start):
        raise ValueError(f"loss({name}, partition 0)={start} is not a finite scalar; return one")
    return sizes.pop()[0]


def _check_more(strong_convexity: Any, sampler: Any) -> np.ndarray:
    """Check what else `general_problem` is given, and return `mu`, ()."""
    scalar("strong_convexity", strong_convexity)
    mu = real_array("strong_convexity", strong_convexity)
    if mu is None or np.isinf(mu):
        raise ValueError(f"strong_convexity={strong_convexity} is no number; give one, or NaN")
    if sampler is not None:
        takes("sampler", sampler, "data", "key", "batch_size")
    return mu


def _sum_of_losses(
    loss: Callable[[Any, Any], Array], unravel: Callable[[Array], Any], theta: Array, data: Any
) -> Array:
    parameters = unravel(theta)
    return jnp.sum(jax.vmap(lambda part: loss(parameters, part))(data))


def estimate_smoothness(
    loss: Callable[[Any, Any], Array], data: Any, theta: Any, num_iterations: int = 100
) -> Array:
    """Largest curvature of every partition's loss at one point, by Lanczos's method.

    Args:
        loss: as for `general_problem`.
        data: pytree with leading axis M.
        theta: parameters in the user's form.
        num_iterations: `k`, Hessian-vector products a partition.

    Returns:
        (M,) estimates of the largest absolute eigenvalue of the Hessian at `theta`, itself never
        above `L_m`. To rounding they are never above it either, and they reach it as soon as `k` is
        the number of distinct eigenvalues and most often far sooner. For a convex loss with d
        parameters they are low by at most a share of `0.1 (log(d k^4) / k)^2` in the mean over
        starts, however close its eigenvalues lie (Kuczynski and Wozniakowski, "Estimating the
        largest eigenvalue by the power and Lanczos algorithms with a random start", 1992).

    Raises:
        ValueError: for data, a point or a loss that `general_problem` refuses.
    """
    whole_number("num_iterations", num_iterations)
    _check_data(loss, data, theta, "theta")
    return estimated(loss, data, theta, num_iterations)


def estimated(
    loss: Callable[[Any, Any], Array], data: Any, theta: Any, num_iterations: int = 100
) -> Array:
    """`estimate_smoothness` of what is checked."""
    flat, unravel = ravel_pytree(theta)
    # A fixed draw: a structured start could be orthogonal to the leading eigenvector.
    start = _keys.normal(_keys.make_key(0), flat.shape, flat.dtype)
    return _curvatures(loss, unravel, num_iterations, flat, start, data)


@compiled("loss", "unravel", "num_iterations")
def _curvatures(
    loss: Callable[[Any, Any], Array],
    unravel: Callable[[Array], Any],
    num_iterations: int,
    flat: Array,
    start: Array,
    data: Any,
) -> Array:
    """What `estimate_smoothness` finds at a point (d,) from a start (d,)."""

    def curvature(part: Any) -> Array:
        gradient = jax.grad(lambda point: loss(unravel(point), part))

        def product(carry: tuple, _: None) -> tuple[tuple, tuple]:
            before, vector, norm = carry
            image = jax.jvp(gradient, (flat,), (vector,))[1] - norm * before
            along = jnp.vdot(image, vector)
            image = image - along * vector
            norm = jnp.linalg.norm(image)
            return (vector, image / jnp.where(norm > 0, norm, 1), norm), (along, norm)

        first = (jnp.zeros_like(start), start / jnp.linalg.norm(start), jnp.zeros((), start.dtype))
        diagonal, beside = jax.lax.scan(product, first, None, length=num_iterations)[1]
        diagonal = diagonal.astype(jnp.promote_types(diagonal.dtype, jnp.float32))
        tridiagonal = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(tridiagonal)))

    return jax.vmap(curvature)(data)
