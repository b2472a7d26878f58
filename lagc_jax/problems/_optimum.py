"""Reference optima: Newton's method on the host, L-BFGS for losses known only as a function."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

# From `theta` (d,) to value (), gradient (d,) and Hessian (d, d), or what stands for it.
Derivatives = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def newton_direction(hessian: np.ndarray, gradient: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Solve `H p = -g` in the least-squares sense, without singular values where many are sound.

    What counts as singular is seen in `p * scales`, the same in all units of the data.
    """
    hessian, gradient = hessian / scales / scales[:, None], gradient / scales
    if len(gradient) > 256:  # fewer take no time
        try:
            pivots = np.linalg.cholesky(hessian).diagonal()
        except np.linalg.LinAlgError:
            pivots = np.zeros(1)
        if pivots.min() > 1e-6 * pivots.max():
            return np.linalg.solve(hessian, -gradient) / scales
    return np.linalg.lstsq(hessian, -gradient)[0] / scales


def units(curvature: np.ndarray) -> np.ndarray:
    """Factors (d,) of parameters after which a curvature along each is one."""
    return np.sqrt(np.where(curvature > 0, curvature, 1))


def minimize_newton(
    derivatives: Derivatives,
    theta: np.ndarray,
    scales: np.ndarray | None = None,
    find_direction: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, float]:
    """Minimise a convex function in float64 by Newton's method with backtracking.

    Gives the minimiser and the minimum, to the rounding of the gradient; a ValueError where that
    does not vanish, as for separable data without a penalty. Lengths are those of `theta * scales`
    (d,), where the curvature is about one along every axis; by default it is at the start.
    """
    value, gradient, hessian = derivatives(theta)
    scales = units(hessian.diagonal()) if scales is None else scales
    find_direction = find_direction or partial(newton_direction, scales=scales)
    scale = np.linalg.norm(gradient / scales)
    for _ in range(200):
        direction = find_direction(hessian, gradient)
        # The Newton decrement bounds the gap.
        decrement, size = -gradient @ direction, max(abs(value), 1.0)
        if decrement <= np.finfo(float).eps ** 2 * size:
            break
        # Below the rounding of the value, steps go on only as long as they shrink the gradient.
        settled = decrement <= np.finfo(float).eps * size
        norm = np.linalg.norm(gradient / scales)
        step = 1.0
        while step > (0.5 if settled else 1e-10):
            trial = derivatives(theta + step * direction)
            trial_norm = np.linalg.norm(trial[1] / scales)
            if trial_norm < norm / 2 if settled else trial[0] <= value or trial_norm < norm:
                break
            step /= 2
        else:
            break
        theta = theta + step * direction
        value, gradient, hessian = trial
    far = np.linalg.norm(theta * scales) > 1e8
    if far or not np.linalg.norm(gradient / scales) <= 1e-8 * scale:
        raise ValueError(
            f"no optimum found: gradient norm {np.linalg.norm(gradient):.3g} after Newton's "
            f"method; data may be separable, give l2 > 0"
        )
    return theta, float(value)


def minimize_lbfgs(
    loss: Callable[[Array], Array], theta: Array
) -> tuple[Array, Array, Array, Array]:
    """Minimise a smooth function by L-BFGS until its value stops falling, to its rounding.

    Pure, of 2000 iterations at the most. Returns the minimizer (d,), its value (), and the norms ()
    of the gradient there and at the start, for `check_found`.
    """
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)
    resolution = jnp.finfo(theta.dtype).eps

    def iterate(carry: tuple) -> tuple:
        point, state, _, k, stalled = carry
        value, gradient = value_and_grad(point, state=state)
        update, state = solver.update(
            gradient, state, point, value=value, grad=gradient, value_fn=loss
        )
        moved = jnp.asarray(optax.apply_updates(point, update))
        fall = value - loss(moved)
        small = fall <= 4 * resolution * jnp.abs(value)
        return moved, state, jnp.linalg.norm(gradient), k + 1, jnp.where(small, stalled + 1, 0)

    def unfinished(carry: tuple) -> Array:
        return (carry[3] < 2000) & (carry[4] < 10) & (carry[2] > 0)

    first = (theta, solver.init(theta), jnp.asarray(jnp.inf, theta.dtype), 0, 0)
    point, *_ = jax.lax.while_loop(unfinished, iterate, first)
    value, gradient = jax.value_and_grad(loss)(point)
    return point, value, jnp.linalg.norm(gradient), jnp.linalg.norm(jax.grad(loss)(theta))


def check_found(
    point: Array, value: Array, norm: Array, norm0: Array, smoothness: float
) -> tuple[Array, float]:
    """The first two of what was found; ValueError for a gradient that does not vanish.

    It does where the gap that it tells of is within the rounding of the loss, now or at the start,
    up to the condition of the loss, or where that of the point explains it; in any units.
    """
    eps = float(jnp.finfo(norm.dtype).eps)
    of_loss = max(float(norm0), (smoothness * abs(float(value))) ** 0.5) * eps**0.5
    of_point = 16 * eps * smoothness * float(jnp.linalg.norm(point))
    if not norm <= max(of_loss, of_point):
        raise ValueError(
            f"no optimum found: gradient norm {float(norm):.3g} after L-BFGS; give optimum=, 0.0 "
            f"say, for a loss that is not convex"
        )
    return point, float(value)
