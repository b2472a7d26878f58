"""How servers that do not wait for all compare, beside what their papers claim.

All schemes learn the same regression from minibatches, under the same computing times of the same
workers; each takes the step size that serves it best. What is compared is the time to a gap, and
the gap at the end of a run of one step size.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax._keys import fold_in
from lagc_jax.delays.base import Delays, Exponential, Pareto, TimeSource
from lagc_jax.delays.families import ShiftedExponential
from lagc_jax.delays.stragglers import Bursty
from lagc_jax.experiments.claims import claims_table, decide
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.problems.base import Problem
from lagc_jax.problems.linear import gaussian_linear_regression
from lagc_jax.problems.stochastic import minibatch
from lagc_jax.schemes.anytime import anytime
from lagc_jax.schemes.asynchronous import (
    asynchronous,
    delay_adaptive,
    k_async,
    k_batch_async,
    k_batch_sync,
    k_sync,
    mindflayer,
    rennala,
    ringmaster,
)
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gc, gd
from lagc_jax.schemes.multi_message import multi_message_gc
from lagc_jax.schemes.schedules import cyclic_schedule, staircase_schedule
from lagc_jax.schemes.sequential import m_sgc, round_gc, sr_sgc
from lagc_jax.targets import Gap, Iterate, Several

M = 12  # workers
STEPS = (0.03, 0.1, 0.3)  # over 1/L


class Claim(NamedTuple):
    """A paper's claim: under a law, a scheme has less of something than another.

    Attributes:
        paper, text: as in `literature.Claim`.
        law: of `laws`.
        scheme, than: of `schemes`.
        column: of `table_frame`.
        ties: whether as much as the other is enough.
    """

    paper: str
    text: str
    law: str
    scheme: str
    than: str
    column: str = "time"
    ties: bool = False


CLAIMS = (
    Claim("Dutta et al. 2018", "asynchrony beats waiting for all", "unequal", "ASGD", "all"),
    Claim(
        *("Dutta et al. 2018", "K-async is no slower than K-sync"),
        *("unequal", "K-async", "K-sync"),
        ties=True,
    ),
    Claim(
        *("Dutta et al. 2018", "fresh gradients end closer than stale ones, of one step size"),
        *("unequal", "K-batch-sync", "K-batch-async", "final"),
    ),
    Claim(
        *("Mishchenko et al. 2022", "steps that fit the delays beat a constant one"),
        *("unequal", "delay-adaptive ASGD", "ASGD"),
    ),
    Claim(
        *("Mishchenko et al. 2022", "asynchrony beats minibatches of all workers"),
        *("unequal", "delay-adaptive ASGD", "all"),
    ),
    Claim("Tyurin, Richtarik 2023", "Rennala beats waiting for all", "unequal", "Rennala", "all"),
    Claim("Maranjyan et al. 2025", "Ringmaster beats ASGD", "unequal", "Ringmaster", "ASGD"),
    Claim("Maranjyan et al. 2025", "Ringmaster beats Rennala", "unequal", "Ringmaster", "Rennala"),
    Claim(
        *("Maranjyan, Omar, Richtarik 2025", "MindFlayer beats Rennala where tails are heavy"),
        *("heavy tail", "MindFlayer", "Rennala"),
    ),
    Claim(
        *("Maranjyan, Omar, Richtarik 2025", "MindFlayer beats ASGD where tails are heavy"),
        *("heavy tail", "MindFlayer", "ASGD"),
    ),
    Claim("Ozfatura et al. 2020", "every gradient sent beats a coded sum", "equal", "cyclic", "GC"),
    Claim(
        *("Amiri, Gunduz 2019", "gradients in staircase order beat a coded sum"),
        *("heavy tail", "staircase", "GC"),
    ),
    *(
        Claim(
            *("Ozfatura et al. 2019", "several coded messages beat one"),
            *(law, "multi-message GC", "GC"),
        )
        for law in ("equal", "heavy tail")
    ),
    Claim(
        *("Ferdinand et al. 2019", "what is done in a time beats minibatches of all workers"),
        *("unequal", "anytime", "minibatch SGD"),
    ),
    *(
        Claim("Krishnan et al. 2023", f"{text} {than}", law, scheme, than, ties=True)
        for law in ("bursts", "independent")
        for scheme, than, text in (
            ("SR-SGC", "GC in rounds", "selective repetition is no slower than the same load of"),
            ("SR-SGC", "GC of 2", "selective repetition is no slower than the same load of"),
            ("M-SGC", "GC of 2", "multiplexed coding, of a lower load, is no slower than"),
            ("M-SGC", "minibatch SGD", "multiplexed coding is no slower than"),
        )
    ),
)


def laws() -> dict[str, Delays]:
    """Times of the workers: of equal and very unequal ones, and of heavy tails."""
    return {
        "equal": Exponential(np.ones(M)),
        "unequal": Exponential(np.geomspace(2.0, 0.02, M)),
        "heavy tail": Pareto(1.0, 1.05),
    }


def schemes(law: Delays) -> dict[str, Scheme]:
    """Every way to wait, with batches of the number of workers where there is one.

    From "minibatch SGD" on a gradient is of a partition, before it of the whole problem. MindFlayer
    knows under which law how many of its trials succeed.
    """
    allotted = 2.0
    success = 1 - np.asarray(law.survival(allotted))
    return {
        "all": k_sync(M, M),
        "K-sync": k_sync(M, 8),
        "K-batch-sync": k_batch_sync(M, M),
        "K-async": k_async(M, 8),
        "K-batch-async": k_batch_async(M, M),
        "ASGD": asynchronous(M),
        "delay-adaptive ASGD": delay_adaptive(M),
        "Rennala": rennala(M, M),
        "Ringmaster": ringmaster(M, M),
        "MindFlayer": mindflayer(M, 2, allotted, success),
        "minibatch SGD": gd(M),
        "GC": gc(M, 3),
        "multi-message GC": multi_message_gc(M, 3),
        "cyclic": cyclic_schedule(M, 3),
        "staircase": staircase_schedule(M, 3),
        "anytime": anytime(M, allotted, 8),
    }


def bursty_laws() -> dict[str, TimeSource]:
    """Times of workers that are slow for two iterations on average, and of independent ones."""
    good = ShiftedExponential(1.0, 10.0)
    return {
        "bursts": Bursty(good, slowdown=5.0, enter=0.04, leave=0.5),
        "independent": Exponential(1.0),
    }


def coded_schemes() -> dict[str, Scheme]:
    """Codes over rounds, and codes of single rounds of their load."""
    return {
        "minibatch SGD": gd(M),
        "GC of 2": gc(M, 2),
        "GC in rounds": round_gc(M, 2),
        "SR-SGC": sr_sgc(M, burst=2, window=3, num_stragglers=2),
        "M-SGC": m_sgc(M, burst=2, window=5, num_stragglers=4),
    }


def problem(key: Array) -> Problem:
    """A regression of 10 parameters, with minibatches of one sample of every partition."""
    whole = gaussian_linear_regression(key, M, num_rows=20, num_features=10, spread=3.0, noise=1.0)
    return minibatch(whole, 1, fold_in(key, 1))


def experiment(
    key: Array,
    chosen: Mapping[str, Scheme],
    times: Mapping[str, TimeSource],
    accuracy: float,
    num_iterations: int,
    num_realisations: int,
) -> Experiment:
    """Every scheme under every law with every step size, to a gap and to the end."""
    return Experiment(
        problems={"regression": problem(key)},
        schemes=chosen,
        delays=times,
        num_iterations=num_iterations,
        num_realisations=num_realisations,
        target=Several((Gap([accuracy]), Iterate([num_iterations]))),
        step_sizes=STEPS,
        quantiles=[],
        key=key,
    )


def table_frame(found: pd.DataFrame, step_size: float = 0.3) -> pd.DataFrame:
    """A row a law and scheme, of the table of an `experiment`.

    Columns: the mean `time` to the gap with the step size of the least, which is `step_size`, with
    its `standard_error`, `updates`, `communication` and `computation`, all `inf` where no step size
    gets there in all realisations; and `final`, the mean gap after all updates with the step size
    given.
    """
    names = ["delays", "scheme"]
    hits = found[found["accuracy"].notna()]
    best = hits.loc[hits.groupby(names, sort=False)["time_mean"].idxmin()]
    columns = {"time_mean": "time", "time_standard_error": "standard_error"}
    kept = [*names, "time", "standard_error", "step_size", "updates"]
    best = best.rename(columns=columns | {"iterations": "updates"})
    ends = found[found["iterate"].notna() & (found["step_size"] == step_size)]
    final = ends.set_index(names)["gap"].rename("final")
    return best[[*kept, "communication", "computation"]].join(final, on=names, how="left")


def claims_frame(table: pd.DataFrame) -> pd.DataFrame:
    """A row a claim: the two values, their ratio, and whether it holds in this run.

    Times closer than two standard errors of their difference leave it undecided. Schemes meet the
    same delays, so that these, of independent times, are rather too wide.
    """
    values, rows = table.set_index(["delays", "scheme"]).to_dict("index"), []
    for claim in CLAIMS:
        one, two = (values[claim.law, name] for name in (claim.scheme, claim.than))
        mine, other = float(one[claim.column]), float(two[claim.column])
        error = 0.0
        if claim.column == "time":
            error = 2 * math.hypot(one["standard_error"], two["standard_error"])
        rows.append(
            {
                "paper": claim.paper,
                "claim": claim.text,
                "delays": claim.law,
                "compared": f"{claim.column} of {claim.scheme} over {claim.than}",
                "value": mine,
                "other value": other,
                "ratio": mine / other,
                "holds": _holds(claim, mine, other, error),
            }
        )
    return claims_table(rows)


def _holds(claim: Claim, mine: float, other: float, error: float) -> bool | None:
    if claim.ties and mine == other:
        return True
    close = math.isfinite(mine) and math.isfinite(other) and abs(mine - other) < error
    return None if close else decide(mine < other, mine, other)
