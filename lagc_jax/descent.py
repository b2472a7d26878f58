"""The path of the iterates: select, compute, update. It knows no clock.

One step serves every scheme: the scheme's rule says who uploads what, its optimiser what the server
does with the sum.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import check_record, positive_number
from lagc_jax._display import readable
from lagc_jax._frames import path_frame
from lagc_jax._loops import scan
from lagc_jax._modes import lenient
from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.doors import check_fit, enter, flat_start, schedule
from lagc_jax.problems.base import Oracle, Problem
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.rules import Proposal, Round
from lagc_jax.schemes.servers import check_transformation
from lagc_jax.stopping import scan_until


@pytree()
class State:
    """What the server knows before iteration `k`.

    Attributes:
        theta: (d,) iterate `theta^k`.
        held: (G, d) every group's last message, its gradient unless the rule quantises.
        stale_iterates: (G, d) `theta_hat_g`, the iterate at which it was taken.
        differences: (D,) last squared steps `|theta^{k+1-d} - theta^{k-d}|^2`, newest first.
        uploaded: (G,) bool, groups whose gradient arrived in the iteration before.
        known: (G,) bool, groups whose gradient has ever arrived; the others' is taken as zero.
        silent: (G,) iterations since the last upload.
        notes: what the scheme's rule remembers.
        k: () number of iterations made.
        group_smoothness: (G,) `L_g`.
        step_size: `alpha`, () or one an iteration (K,), whose last goes on.
        optimizer: state of the server's optax transformation.
    """

    theta: Array
    held: Array
    stale_iterates: Array
    differences: Array
    uploaded: Array
    known: Array
    silent: Array
    notes: Any
    k: Array
    group_smoothness: Array
    step_size: Array
    optimizer: Any


def init(
    problem: Problem, scheme: Scheme, step_size: ArrayLike | None = None, theta0: Any = None
) -> State:
    """Make the state before the first iteration.

    Args:
        problem: loss over M partitions.
        scheme: how its gradients are collected.
        step_size: `alpha`, () or one an iteration (K,), whose last goes on; by default `1/L`.
        theta0: start, of the shape of the problem's parameters; by default the problem's `start`.

    Raises:
        ValueError: if the problem has other than M partitions, `step_size` is not positive and
            finite, or `theta0` has a wrong shape.

    >>> from lagc_jax import gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> init(problem, gd(2)).theta.tolist()
    [0.0]
    """
    check_fit(problem, scheme)
    if callable(step_size):
        raise ValueError(
            "step_size is a function, and init knows no number of iterations; give its values (K,)"
        )
    alpha = None if step_size is None else schedule(step_size, max(np.size(step_size), 1))
    return begin(problem, scheme, alpha, flat_start(problem, theta0))


def begin(problem: Problem, scheme: Scheme, step_size: ArrayLike | None, start: ArrayLike) -> State:
    """`init` from a vector (d,); it trusts its arguments."""
    theta = jnp.asarray(start)
    alpha = 1.0 / problem.total_smoothness if step_size is None else step_size
    alpha = jnp.asarray(alpha, theta.dtype)
    zeros = jnp.zeros((scheme.num_groups, theta.size), theta.dtype)
    return State(
        theta=theta,
        held=zeros,
        stale_iterates=jnp.broadcast_to(theta, zeros.shape),
        differences=jnp.zeros(scheme.memory, theta.dtype),
        uploaded=jnp.zeros(scheme.num_groups, bool),
        known=jnp.zeros(scheme.num_groups, bool),
        silent=jnp.zeros(scheme.num_groups, jnp.int32),
        notes=contract.start(scheme.trigger, theta, scheme.num_groups),
        k=jnp.zeros((), jnp.int32),
        group_smoothness=problem.group_smoothness(scheme.num_groups),
        step_size=alpha,
        optimizer=server(scheme, alpha if alpha.ndim == 0 else alpha[0]).init(theta),
    )


def path_scheme(scheme: Scheme) -> Scheme:
    """The scheme of full redundancy with the same path: coding changes costs, not iterates."""
    check_exact(scheme)
    return scheme.path_key


def check_exact(scheme: Scheme) -> None:
    """Raise ValueError where the path depends on who arrives, for a step knows no clock."""
    if not scheme.decoder.exact:
        raise ValueError(
            f"decoding={type(scheme.decoding).__name__} is not exact, so the path depends on the "
            f"delays; give the scheme and delays to simulate or simulate_batch"
        )


def server(scheme: Scheme, step_size: Array) -> optax.GradientTransformation:
    """What the scheme's server does with the sum of the messages."""
    return check_transformation(scheme.optimizer(step_size))


def step(problem: Problem, scheme: Scheme, state: State) -> State:
    """Make iteration `k`: `theta^{k+1}` from `theta^k` (LAG, Algorithms 1 and 2).

    The state is that of `init` or of the step before, with the same problem and scheme.

    Raises:
        ValueError: for a decoding that is not exact: what it decodes depends on who arrives.

    >>> from lagc_jax import gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> f"{step(problem, gd(2), init(problem, gd(2))).theta[0]:.4f}"
    '1.0000'
    """
    check_exact(scheme)
    proposal = propose(scheme, problem.group_oracle(scheme.num_groups), state)
    return update(scheme, state, proposal, select(state, proposal))


def propose(scheme: Scheme, oracle: Oracle, state: State) -> Proposal:
    """What the groups would do in iteration `k`, by the scheme's rule."""
    xi = scheme.xi_vector.astype(state.theta.dtype)
    known = Round(
        k=state.k,
        theta=state.theta,
        held=state.held,
        stale_iterates=state.stale_iterates,
        silent=state.silent,
        moved=jnp.sum(xi * state.differences),
        step_size=_step_size(state),
        group_smoothness=state.group_smoothness,
        memory=scheme.memory,
        xi=xi,
    )

    def gradients(theta: Array, k: Array = state.k) -> Array:
        return oracle(theta, k)

    return contract.propose(scheme.trigger, gradients, known, state.notes)


def _step_size(state: State) -> Array:
    """`alpha` of iteration `k`, ()."""
    return state.step_size if state.step_size.ndim == 0 else state.step_size[state.k]


def select(state: State, proposal: Proposal) -> Array:
    """Groups that are to upload, bool (G,).

    A group that has never been heard of is always among them, hence all are at `k = 0`, unless the
    rule says what the absent count for.
    """
    return ~proposal.skip | ~state.known if proposal.absent is None else ~proposal.skip


def update(scheme: Scheme, state: State, proposal: Proposal, uploaded: Array) -> State:
    """Step along the messages that arrived, `uploaded` (G,), and the others' stale ones."""
    absent = state.held if proposal.absent is None else proposal.absent
    held = jnp.where(uploaded[:, None], proposal.message, absent)
    stale_iterates = jnp.where(uploaded[:, None], state.theta[None], state.stale_iterates)
    updates, optimizer_state = lenient(server(scheme, _step_size(state)).update)(
        held.sum(0), state.optimizer, state.theta
    )
    theta = jnp.asarray(optax.apply_updates(state.theta, updates))
    newest = jnp.sum((theta - state.theta) ** 2)
    return State(
        theta=theta,
        held=held,
        stale_iterates=stale_iterates,
        differences=jnp.concatenate([newest[None], state.differences[:-1]]),
        uploaded=uploaded,
        known=state.known | uploaded,
        silent=jnp.where(uploaded, 0, state.silent + 1),
        notes=contract.remember(scheme.trigger, state.notes, proposal.draft, uploaded),
        k=state.k + 1,
        group_smoothness=state.group_smoothness,
        step_size=state.step_size,
        optimizer=optimizer_state,
    )


@readable
class Path(NamedTuple):
    """The iterates' part of a trajectory; most often it does not depend on computing times.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`.
        selected: (K, G) bool, groups that uploaded.
        theta: the last iterate `theta^K`, in the form of the problem's parameters.
        diverged: () bool, whether the gap stopped being finite or ended above its start.
        recorded: what `record` gave at every iterate, leaves (K+1, ...); None without one.
    """

    gap: Array
    selected: Array
    theta: Any
    diverged: Array
    recorded: Any = None

    def to_frame(self) -> Any:
        """A `pandas.DataFrame`, a row an iterate: its gap, and groups that have uploaded."""
        return path_frame(self.gap, self.selected)


def descend(
    problem: Problem,
    scheme: Scheme,
    *,
    num_iterations: int,
    step_size: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    accuracy: ArrayLike | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """Run `K` iterations and record the path alone.

    Arguments and errors are those of `simulate`, and `accuracy`: the path then stops soon after its
    gap has come within it or is not finite any more, and what was not run has gap NaN, records NaN
    (integers 0) and selects no group (all groups where the gap is not finite, as running on would
    have given). Under `vmap` every member stops for itself, and the batch stops with its last
    member. For many members, `jax.lax.map` with a `batch_size` of about 1000 bounds the memory at
    no loss of speed.

    >>> from lagc_jax import gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> [f"{gap:.4f}" for gap in descend(problem, gd(2), num_iterations=2).gap]
    ['2.5000', '0.0000', '0.0000']
    """
    given = (num_iterations, step_size, theta0, optimizer)
    problem, scheme, K, alpha, theta = enter(problem, scheme, *given)
    check_record(record)
    scheme = path_scheme(scheme)
    if accuracy is not None:
        positive_number("accuracy", accuracy)
    # What is not run is NaN on purpose.
    with nullcontext() if accuracy is None else jax.debug_nans(False):
        return find_path(problem, scheme, alpha, theta, K, accuracy, record)


@compiled("num_iterations", "record")
def find_path(
    problem: Problem,
    scheme: Scheme,
    step_size: ArrayLike | None,
    theta: ArrayLike,
    num_iterations: int,
    accuracy: ArrayLike | None = None,
    record: Callable[[Any], Any] | None = None,
) -> Path:
    """`descend` with a scheme of `path_scheme` and a start (d,); it trusts its arguments."""
    start = begin(problem, scheme, step_size, theta)
    oracle = problem.group_oracle(scheme.num_groups)
    look = observer(problem, record)

    def iterate(state: State, _: None) -> tuple[State, tuple[Any, Array]]:
        proposal = propose(scheme, oracle, state)
        state = update(scheme, state, proposal, select(state, proposal))
        return state, (look(state.theta), state.uploaded)

    if accuracy is None:
        last, (seen, selected) = scan(iterate, start, None, length=num_iterations)
    else:
        last, seen, selected = scan_until(iterate, start, num_iterations, accuracy)
    return as_path(problem, look, start, last, seen, selected)


def observer(
    problem: Problem, record: Callable[[Any], Any] | None
) -> Callable[[Array], tuple[Array, Any]]:
    """What is kept of every iterate (d,): its gap and what the user asks for."""

    def look(theta: Array) -> tuple[Array, Any]:
        gap = problem.gap(theta)
        if record is None:
            return gap, None
        return gap, contract.as_arrays(record(problem.unflatten(theta)), "record")

    return look


def as_path(
    problem: Problem,
    look: Callable[[Array], tuple[Array, Any]],
    start: State,
    last: State,
    seen: tuple[Array, Any],
    selected: Array,
) -> Path:
    """A path from its first and last state and what was seen in between."""
    first = look(start.theta)
    gap, recorded = jax.tree.map(
        lambda one, rest: jnp.concatenate([jnp.asarray(one)[None], rest]), first, seen
    )
    resolution = _gap_resolution(problem, start.theta)
    diverged = ~(problem.gap(last.theta) <= jnp.maximum(gap[0], resolution))
    return Path(gap, selected, problem.unflatten(last.theta), diverged, recorded)


def _gap_resolution(problem: Problem, theta0: Array) -> Array:
    """Gap that rounding alone explains, so that a start at the optimum does not read diverged."""
    squares = jnp.sum(theta0**2) + jnp.sum(problem.minimizer**2)
    scale = jnp.abs(problem.optimum) + problem.total_smoothness * squares
    return jnp.finfo(scale.dtype).eps * scale
