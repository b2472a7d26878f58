"""Which family measured computing times follow: maximum likelihood and goodness of fit.

The p-value of a fit is that of a parametric bootstrap: the share of samples of the fitted law,
rounded as the times are, which the family, fitted to them anew, misses by a larger
Kolmogorov-Smirnov distance (Stute, Gonzalez Manteiga, Presedo Quindimil, "Bootstrap based
goodness-of-fit-tests", Metrika 40, 1993). It is judged by at most 4000 of the times and 8 of the
groups, drawn at random, and ten worse samples end it (Besag and Clifford, "Sequential Monte Carlo
p-values", Biometrika 78, 1991).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import real_array, warn, whole_number
from lagc_jax.delays import _laws
from lagc_jax.delays.base import Delays
from lagc_jax.delays.estimators import ESTIMATORS, WITH_ZEROS
from lagc_jax.delays.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

# Times and groups by which a family is judged, and samples that have to be worse to stop early.
NUM_JUDGED, GROUPS_JUDGED, ENOUGH = 4000, 8, 10


def fit(
    times: ArrayLike | Trace,
    *,
    groups: Sequence[Any] | None = None,
    num_bootstrap: int = 99,
    seed: int = 0,
) -> "pd.DataFrame":
    """Fit every family by maximum likelihood to measured times, best first.

    All times are taken as independent draws of one law, or of one law a group of workers.
    `Discrete` is not among the families: its fit is `Discrete(times)`, the data themselves, whose
    probabilities do not compare to densities. The smallest time is the estimate of the shift of an
    exponential and of Pareto's scale: it exceeds the truth by a term of order `1/N`. Other shifts
    are where the likelihood has its highest inner maximum or, if it has none, below the smallest
    time by what the fitted law expects.

    The p-value of the best family is that of a parametric bootstrap of its Kolmogorov-Smirnov
    distance; a small one says that no family here is good enough. Whether times are independent is
    said by `diagnose`.

    Args:
        times: a `Trace`, or times of any shape, iterations x workers say; NaN, `inf` or masked
            where a worker never answered: such entries are left out. Where some are zero the
            families that cannot have them are left out, with a warning.
        groups: a label a column of the times: workers with the same one have the same parameters,
            of shape (W,) then. `range(W)` fits every worker by itself. AIC says whether it pays.
        num_bootstrap: samples behind the p-value; none if 0.
        seed: of those.

    Returns:
        A frame indexed by family, sorted by rising AIC, with the columns `delays` (the fitted
        `Delays`), `parameters` (their number), `log-likelihood`, `AIC` (twice the number minus
        twice the log-likelihood), `KS` (the Kolmogorov-Smirnov distance of the levels of times in
        their law to the uniform one) and `p-value` (of the first row; NaN below).

    Raises:
        ValueError: for times that are not numbers or negative (the entry is named), fewer than two
            distinct ones in a group, `groups` that are not one a column, or a number of samples or
            a seed that is not a whole number of at least 0.

    >>> table = fit([[1.0, 2.0, 4.0], [1.5, 8.0, float("nan")]])
    >>> table.columns.tolist()
    ['delays', 'parameters', 'log-likelihood', 'AIC', 'KS', 'p-value']
    """
    whole_number("num_bootstrap", num_bootstrap, 0)
    whole_number("seed", seed, 0)
    samples, place = _by_group(times, groups)
    zeros = min(sample[0] for sample in samples) == 0
    names = WITH_ZEROS if zeros else tuple(ESTIMATORS)
    table = _tabulated({name: _fit_groups(name, samples) for name in names}, place)
    if num_bootstrap:
        best = str(table.index[0])
        rng = np.random.default_rng(seed)
        table.loc[best, "p-value"] = _p_value(best, samples, num_bootstrap, rng)
    return table


def _tabulated(fits: "dict[str, _Fitted]", place: np.ndarray | None) -> "pd.DataFrame":
    """A row a family, by rising AIC."""
    import pandas as pd

    rows = [
        (name, _stacked(one.laws, place), one.size, one.likelihood, one.aic, one.distance, np.nan)
        for name, one in fits.items()
    ]
    columns = ["family", "delays", "parameters", "log-likelihood", "AIC", "KS", "p-value"]
    table = pd.DataFrame(rows, columns=columns).set_index("family")
    return table.sort_values("AIC", kind="stable")


class _Fitted(NamedTuple):
    """A family fitted to every group."""

    laws: list[Delays]
    likelihood: float
    distance: float

    @property
    def size(self) -> int:
        return sum(len(vars(law)) for law in self.laws)

    @property
    def aic(self) -> float:
        return 2 * self.size - 2 * self.likelihood


def _fit_groups(name: str, samples: list[np.ndarray]) -> _Fitted:
    found = [ESTIMATORS[name](sample) for sample in samples]
    laws = [law for law, _ in found]
    levels = [_laws.cdf(law, sample) for law, sample in zip(laws, samples, strict=True)]
    level = levels[0] if len(levels) == 1 else np.sort(np.concatenate(levels))
    rank = np.arange(level.size + 1) / level.size
    distance = float(max(np.max(rank[1:] - level), np.max(level - rank[:-1])))
    return _Fitted(laws, sum(likelihood for _, likelihood in found), distance)


def _stacked(laws: list[Delays], place: np.ndarray | None) -> Delays:
    """The laws of groups as one of the workers, each in the group at its place."""
    if place is None:
        return laws[0]
    return jax.tree.map(lambda *leaves: np.array(leaves)[place], *laws)


def _p_value(
    name: str, samples: list[np.ndarray], num_bootstrap: int, rng: np.random.Generator
) -> float:
    if len(samples) > GROUPS_JUDGED:
        chosen = rng.choice(len(samples), GROUPS_JUDGED, replace=False)
        samples = [samples[i] for i in chosen]
    share = min(NUM_JUDGED / sum(sample.size for sample in samples), 1)
    sizes = [max(round(share * sample.size), min(20, sample.size)) for sample in samples]
    samples = [
        np.sort(rng.choice(sample, size, replace=False))
        for sample, size in zip(samples, sizes, strict=True)
    ]
    samples = [sample for sample in samples if sample[0] < sample[-1]]
    fitted = _fit_groups(name, samples)
    steps = [_rounding(sample) for sample in samples]
    worse = 0
    for done in range(1, num_bootstrap + 1):
        drawn = []
        for law, sample, step in zip(fitted.laws, samples, steps, strict=True):
            times = _laws.draw(law, rng, sample.size)
            if step:
                times = np.maximum(np.round(times / step) * step, 0 if sample[0] == 0 else step)
            drawn.append(np.sort(times))
        if all(times[0] < times[-1] for times in drawn):
            worse += _fit_groups(name, drawn).distance >= fitted.distance
        if worse == ENOUGH:
            return worse / done
    return (1 + worse) / (1 + num_bootstrap)


def _rounding(sample: np.ndarray) -> float:
    """The unit of which all times are whole multiples, 0 if there seems to be none."""
    distinct = np.unique(sample)
    step = float(np.diff(distinct).min())
    multiple = distinct / step
    whole = np.abs(multiple - np.round(multiple)) <= 1e-6 * np.maximum(multiple, 1)
    return step if distinct.size < sample.size and whole.all() else 0.0


def quantile_frame(times: ArrayLike | Trace, table: "pd.DataFrame") -> "pd.DataFrame":
    """Measured against fitted quantiles, in long form, for `lagc_jax.plots.paper.plot_quantiles`.

    From times and the table of `fit`, a frame with the columns `family`, `fitted` and `measured`:
    the `i`-th smallest of N times against the quantile of level `(i - 1/2) / N`, at most 200 a
    family.

    Raises:
        ValueError: for what is no table of `fit`, one of several groups, or times that `fit`
            refuses.
    """
    import pandas as pd

    if "delays" not in getattr(table, "columns", ()):
        raise ValueError(f"table={table!r} has no column delays; give what fit returns")
    if any(np.ndim(leaf) for law in table["delays"] for leaf in jax.tree.leaves(law)):
        raise ValueError("table holds one law a worker; give the table of fit without groups")
    sample = _sample(times)
    chosen = np.unique(np.linspace(0, sample.size - 1, 200).round().astype(int))
    level = (chosen + 0.5) / sample.size
    measured = sample[chosen]
    fitted = {str(name): _laws.quantile(law, level) for name, law in table["delays"].items()}
    frames = [
        pd.DataFrame({"family": name, "fitted": values, "measured": measured})
        for name, values in fitted.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _by_group(
    times: ArrayLike | Trace, groups: Sequence[Any] | None
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The times of every group, and the group at each column of them; None if all are one."""
    if groups is None:
        return [_sample(times)], None
    array = time_entries(times)
    if not isinstance(groups, Iterable) or getattr(groups, "ndim", 1) == 0:
        raise ValueError(f"groups={groups!r} is no list; give one label a column of times")
    labels, place = np.unique([str(label) for label in groups], return_inverse=True)
    if array.ndim != 2 or array.shape[1] != place.size:
        raise ValueError(
            f"groups names {place.size} columns but times has shape {array.shape}; give one label "
            f"a column"
        )
    samples = [sorted_times(array[:, place == i], f" of group {g}") for i, g in enumerate(labels)]
    return samples, place


def _sample(times: ArrayLike | Trace) -> np.ndarray:
    """The times that are not missing, sorted, (N,)."""
    return sorted_times(time_entries(times), "")


def sorted_times(array: np.ndarray, whose: str) -> np.ndarray:
    """Entries that are not missing, sorted, (N,); ValueError where fewer than two differ."""
    sample = np.sort(array[np.isfinite(array)].astype(np.float64))
    if sample.size < 2 or sample[0] == sample[-1]:
        raise ValueError(
            f"times{whose} has fewer than two distinct values; give more, or use "
            f"Discrete({sample[:1].tolist()})"
        )
    return sample


def time_entries(times: ArrayLike | Trace) -> np.ndarray:
    """Times as they are; ValueError where one is negative, a warning where one is zero."""
    if np.ma.isMaskedArray(times):
        times = np.ma.filled(times.astype(float), np.nan)
    array = real_array("times", times.times if isinstance(times, Trace) else times)
    if array is None:
        raise ValueError("times is traced; fit outside jit and vmap")
    bad = np.argwhere(~(np.isnan(array) | (array >= 0)))
    if len(bad):
        raise ValueError(
            f"{_entry(array, bad[0])} is not a time; mend the entry, or give NaN where one is "
            f"missing"
        )
    zeros = np.argwhere(array == 0)
    if len(zeros):
        count = "the only one" if len(zeros) == 1 else f"one of {len(zeros)}"
        warn(
            f"{_entry(array, zeros[0])}, {count} of {array.size} times; families without zeros are "
            f"left out: give NaN where one is missing, or mend the entry, to have them"
        )
    return array


def _entry(array: np.ndarray, place: np.ndarray) -> str:
    where = [int(i) for i in place]
    row = f" (row {where[0] + 1} of column {where[1] + 1})" if len(where) == 2 else ""
    return f"times{where}={array[tuple(where)]}{row}"
