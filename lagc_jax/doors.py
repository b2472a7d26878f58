"""What the public doors take beside sizes, checked and in the form of the inner functions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, positive, shaped, warn, whole_number
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import TimeSource
from lagc_jax.problems._around import Around, measured
from lagc_jax.problems.base import Problem
from lagc_jax.problems.general import GeneralProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.policies import keeps_the_silent
from lagc_jax.schemes.servers import Fixed


def enter(
    problem: Problem, scheme: Scheme, num_iterations: Any, step_size: Any, theta0: Any, server: Any
) -> tuple[Problem, Scheme, int, ArrayLike | None, ArrayLike]:
    """What the doors share, checked: `K`, step sizes and start as well; they trust it inside."""
    K = whole_number("num_iterations", num_iterations)
    check_fit(problem, scheme)
    alpha = schedule(step_size, K)
    scheme, theta = _with_optimizer(scheme, server, step_size), flat_start(problem, theta0)
    return measured(problem, scheme.num_groups), scheme, K, alpha, theta


def flat_start(problem: Problem, theta0: Any) -> ArrayLike:
    """`theta^0` as a vector (d,), by default the problem's own."""
    if theta0 is None:
        return problem.start
    return problem.flatten(theta0)


def check_fit(problem: Problem, scheme: Scheme) -> None:
    """Raise ValueError unless both are what they should be, with one partition a worker."""
    check_scheme(scheme)
    check_problem(problem)
    if problem.num_partitions != scheme.num_workers:
        raise ValueError(
            f"problem has {problem.num_partitions} partitions but the scheme has "
            f"num_workers={scheme.num_workers}; give one partition a worker"
        )


def check_scheme(scheme: Any) -> None:
    """Raise ValueError unless it is a scheme."""
    if not isinstance(scheme, Scheme):
        raise ValueError(f"scheme={scheme!r} is no Scheme; give one, as lagc_jax.gd(12) is")


def check_problem(problem: Any) -> None:
    """Raise ValueError for what is no problem."""
    if isinstance(problem, type) or not hasattr(problem, "num_partitions"):
        raise ValueError(
            f"problem is a {type(problem).__name__}; give a problem, as lagc_jax.linear_regression "
            f"makes one"
        )


def schedule(
    step_size: ArrayLike | Callable[[Array], ArrayLike] | None, num_iterations: int
) -> ArrayLike | None:
    """Step sizes as numbers, () or (K,); None stays.

    Raises:
        ValueError: for another shape, or one that is not positive and finite.
    """
    step_size = as_leaf(step_size)
    if step_size is None:
        return None
    if callable(step_size):
        try:
            step_size = jax.vmap(step_size)(jnp.arange(num_iterations))
        except jax.errors.ConcretizationTypeError:
            raise ValueError(
                "step_size is a function that branches on k; write it with jnp.where, or give its "
                "values (K,)"
            ) from None
    positive("step_size", step_size)
    K = num_iterations
    remedy = f"a scalar, or one number an iteration ({K},), and batch with jax.vmap"
    shaped("step_size", step_size, [(), (K,)], remedy)
    return step_size


def _with_optimizer(scheme: Scheme, optimizer: Any, step_size: Any) -> Scheme:
    """The scheme with an optax transformation at its server, if one is given."""
    if optimizer is None:
        return scheme
    fixed = Fixed(optimizer)
    if step_size is None:
        raise ValueError(
            "optimizer is given without step_size, which an optax transformation does not tell and "
            "triggers weigh steps with; give its step size, a number, (K,) or a function of k"
        )
    return dataclasses.replace(scheme, optimizer=fixed)


def warn_if_short(delays: TimeSource, num_iterations: int) -> None:
    """Warn where a replayed trace starts anew within a run."""
    length = delays.length
    if length is not None and length < num_iterations:
        warn(
            f"the trace has {length} rows for num_iterations={num_iterations}: its replay starts "
            f"anew after its last row"
        )


def warn_if_coarse(problem: Problem, accuracies: Any) -> None:
    """Warn where a gap that is a difference of losses is rounded more coarsely than it is asked."""
    while isinstance(problem, Around):
        problem = problem.problem
    if not isinstance(problem, GeneralProblem):
        return
    optimum, levels = concrete(problem.optimum), concrete(as_leaf(accuracies))
    if optimum is None or levels is None:
        return
    floor = 4 * float(np.finfo(optimum.dtype).eps * abs(optimum))
    if (levels < floor).any():
        warn(
            f"accuracies={levels.min():.3g} is finer than the gap of the problem in "
            f"{optimum.dtype}, which is a difference of losses near {float(optimum):.3g}: what is "
            f"found is not its own below {floor:.2g}; give larger ones"
            + (", or enable jax_enable_x64" if optimum.dtype == np.float32 else "")
        )


def warn_if_gone(scheme: Scheme, delays: TimeSource) -> None:
    """Warn where workers who come and go do not come back to an event-driven server."""
    leaves = scheme.event_driven and getattr(delays, "leaves", False)
    if leaves and keeps_the_silent(scheme.decoder, scheme.num_workers):  # type: ignore[arg-type]
        warn(
            f"an iteration of {type(delays).__name__} is a job of a worker under decoding="
            f"{type(scheme.decoding).__name__}: one that never ends keeps its worker for good, and "
            f"in time all are gone; give a scheme that starts workers anew or gives jobs up"
        )


def check_ends(scheme: Scheme, cluster: Cluster | None) -> None:
    """Raise ValueError where a cluster ends iterations of which the decoding decides the end."""
    if cluster is None:
        return
    name = f"decoding={type(scheme.decoding).__name__}"
    if cluster.timeout is not None and scheme.event_driven:
        raise ValueError(
            f"cluster.timeout={cluster.timeout} ends iterations, and workers of {name} do not "
            f"compute in step; leave it out"
        )
    if scheme.decoder.by_order:
        return
    if cluster.timeout is not None:
        raise ValueError(
            f"cluster.timeout={cluster.timeout} gives up what {name} still counts on; leave it out "
            f"and give the scheme a tolerance"
        )
    if cluster.link is not None and cluster.link.shared:
        raise ValueError(
            f"{name} waits for times that, on a shared link, depend on whom it waits for; give a "
            f"link that is not shared"
        )
