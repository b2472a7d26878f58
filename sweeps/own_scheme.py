# %% [markdown]
"""Write a scheme of your own in a page: EF21, gradients whose changes are sent sparsely.

A scheme is sizes (who stores what, whom the server waits for), a rule (who uploads, and what) and
the server's optimiser. This page writes a rule and leaves the rest as it is: EF21 (Richtarik,
Sokolov and Fatkhullin, "EF21: A New, Simpler, Theoretically Better, and Practically Faster Error
Feedback", NeurIPS 2021, arXiv 2106.05203). Every worker keeps an estimate of its gradient that the
server knows as well, and uploads the few largest entries of what is missing:

    v_m = v_m + Top_s(grad L_m(theta) - v_m),      theta = theta - alpha sum_m v_m.
"""

# %% The rule.
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from common import configure_jax, no_options, run_script
from matplotlib.figure import Figure

import lagc_jax
from lagc_jax.plots.paper import save_drawing
from lagc_jax.schemes.rules import FLOAT_BITS, Gradients, Proposal, Round, Rule


@dataclass(frozen=True)  # frozen, so that it hashes: schemes with equal rules share programs
class EF21(Rule):
    """Upload the `kept` largest entries of a gradient's change (EF21, Algorithm 2)."""

    kept: int
    everyone_works: ClassVar[bool] = True  # all workers download and compute; r = n

    def propose(self, gradients: Gradients, round: Round, notes: Any) -> Proposal:
        change = gradients(round.theta) - round.held
        largest = jax.lax.top_k(jnp.abs(change), self.kept)[1]
        sent = jnp.put_along_axis(
            jnp.zeros_like(change),
            largest,
            jnp.take_along_axis(change, largest, axis=-1),
            axis=-1,
            inplace=False,
        )
        return Proposal(skip=jnp.zeros(len(change), bool), message=round.held + sent)

    def message_bits(self, num_parameters: int) -> int:
        """A value and its place, for every entry that is sent."""
        return self.kept * (FLOAT_BITS + (num_parameters - 1).bit_length())


# %% The scheme. It goes wherever the others go: `simulate`, `simulate_batch`, `jax.vmap`.
def ef21(num_workers: int, kept: int) -> lagc_jax.Scheme:
    """EF21 with one worker a group."""
    return lagc_jax.Scheme(num_workers, num_workers, 1, trigger=EF21(kept))


# %% Beside gradient descent: four entries of fifty, the same path length, a fraction of the bits.
def main() -> None:
    """Run both, print what they took, and draw the gap against what was sent."""
    figure = Figure(figsize=(3.5, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.set(xscale="log", yscale="log", xlabel="Bits sent to the server", ylabel="Optimality gap")
    problem = lagc_jax.synthetic_linear_regression(jax.random.key(0), num_workers=12)
    step_size = 0.25 / float(problem.total_smoothness)
    for name, scheme in {"GD": lagc_jax.gd(12), "EF21": ef21(12, kept=4)}.items():
        run = lagc_jax.simulate(
            problem,
            scheme,
            lagc_jax.Exponential(1.0),
            jax.random.key(1),
            num_iterations=4000,
            step_size=step_size,
        )
        axis.plot(run.bits[1:], run.gap[1:], label=name)
        cost = lagc_jax.complexity(run, 1e-4)
        print(f"{name}: {cost.iterations:g} iterations, {cost.bits:.3g} bits to a gap of 1e-4")
    axis.legend()
    out = Path("results")
    out.mkdir(exist_ok=True)
    print("Drawn:", *save_drawing(figure, out / "own_scheme"))


if __name__ == "__main__":
    no_options("own_scheme.py", __doc__)
    configure_jax()
    run_script(main)
