"""The weights and steps with which candidates cost least: a pattern that closes in on the best."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from lagc_jax._tables import COSTS, not_dominated
from lagc_jax.experiments.candidates import Family
from lagc_jax.experiments.common import Progress, Walk, follow
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.meters import Meter

TOLERANCE = 0.01  # what a change must save for the search to go on
BEHIND = 2.0  # candidates that cost so many times the best are not searched further
START_XI, START_STEPS = (0.03, 0.1, 0.3, 1.0), (1.0, 1.5)
XI_RANGE, STEP_RANGE = (1e-4, 1e3), (0.05, 1.99)  # a step of 2/L no longer descends
XI_FACTORS, STEP_FACTORS = (3.0, 1.7, 1.3, 1.14), (1.15, 1.07, 1.035, 1.017)

Pricing = Callable[[pd.DataFrame, np.ndarray], np.ndarray]
Setting = tuple[float, float]  # a weight and a step


class Found(NamedTuple):
    """Candidates and their paths.

    Attributes:
        table: of `follow`, a row a candidate, with its `time` and `cost` as compared.
        walks: their paths.
    """

    table: pd.DataFrame
    walks: list[Walk]


class Search:
    """A search over families of schemes on one problem."""

    def __init__(self, experiment: Experiment, meter: Meter, pricing: Pricing) -> None:
        """Take what all candidates share."""
        self.experiment = experiment
        self.meter = meter
        self.pricing = pricing
        self.tables: list[pd.DataFrame] = []
        self.walks: list[Walk] = []
        self.costs: dict[int, dict[Setting, float]] = {}
        self.rows = 0

    def measure(
        self,
        wanted: Mapping[int, Iterable[Setting]],
        families: Sequence[Family],
        progress: Progress,
    ) -> None:
        """Measure settings of families that are not known yet."""
        parts, owners = [], []
        for number, settings in wanted.items():
            known = self.costs.setdefault(number, {})
            schemes: dict[str, list] = {}
            for setting in dict.fromkeys(settings):
                if setting not in known:
                    known[setting] = math.inf
                    for name, varied in families[number].varied(*setting):
                        schemes.setdefault(name, []).append(varied)
            if schemes:
                parts.append(replace(self.experiment, schemes=schemes))
                owners.append(number)
        if not parts:
            return
        table, walks = follow(parts, progress)
        owner = np.array(owners)[table["part"]]
        loads = {row: scheme.load for walk in walks for row, scheme in walk.schemes.items()}
        table = table.assign(load=[loads[row] for row in range(len(table))])
        times = self.meter.coarse(table, walks)
        cost = np.where(table["reached"] > 0, self.pricing(table, times), np.inf)
        table = table.assign(time=times, cost=cost)
        for number, xi, step, paid in zip(
            owner, table["xi"], table["step_size"], cost, strict=True
        ):
            known = self.costs[number]
            setting = (xi, step) if (xi, step) in known else (0.0, step)
            known[setting] = min(known[setting], paid)
        self.walks += [
            Walk(walk.uploads, {self.rows + row: scheme for row, scheme in walk.schemes.items()})
            for walk in walks
        ]
        self.tables.append(table)
        self.rows += len(table)

    def refine(self, families: Sequence[Family], vary: tuple[bool, bool]) -> None:
        """Close in on the best weight and step of every family that may be the cheapest."""
        sizes = dict.fromkeys(self.costs, 0)
        while sizes:
            before = {number: self._best(number) for number in sizes}
            leader = min(cost for _, cost in map(self._best, self.costs))
            active = {n: b for n, b in before.items() if b[1] <= BEHIND * leader}
            wanted = {
                n: _around(best, sizes[n], vary[0] and families[n].lazy, vary[1])
                for n, (best, _) in active.items()
                if math.isfinite(before[n][1])
            }
            self.measure(wanted, families, iter)
            left = {}
            for n in wanted:
                better = self._best(n)[1] < (1 - TOLERANCE) * before[n][1]
                size = sizes[n] + (not better)
                if size < len(XI_FACTORS):
                    left[n] = size
            sizes = left

    def _best(self, number: int) -> tuple[Setting, float]:
        known = self.costs[number]
        setting = min(known, key=lambda one: known[one])
        return setting, known[setting]

    @property
    def found(self) -> Found:
        """All candidates."""
        return Found(pd.concat(self.tables, ignore_index=True), self.walks)


def _around(best: Setting, size: int, lazy: bool, steps: bool) -> list[Setting]:
    """Settings around the best, in a pattern of a size."""
    xi, step = best
    wide, narrow = XI_FACTORS[size], STEP_FACTORS[size]
    weights = [xi / wide, xi, xi * wide] if lazy else [xi]
    lengths = [step / narrow, step, step * narrow] if steps else [step]
    return [
        (float(np.clip(w, *XI_RANGE)) if lazy else w, float(np.clip(s, *STEP_RANGE)))
        for w in weights
        for s in lengths
    ]


def search(
    families: Sequence[Family],
    experiment: Experiment,
    meter: Meter,
    pricing: Pricing,
    given: tuple[Sequence[float] | None, Sequence[float] | None],
    progress: Progress,
) -> Found:
    """Candidates with every given weight and step; what is not given (None) is searched."""
    xi, steps = given
    starts = START_XI if xi is None else xi, START_STEPS if steps is None else steps
    job = Search(experiment, meter, pricing)
    grid = {
        number: [(w, s) for w in (starts[0] if family.lazy else (0.0,)) for s in starts[1]]
        for number, family in enumerate(families)
    }
    job.measure(grid, families, progress)
    if xi is None or steps is None:
        job.refine(families, (xi is None, steps is None))
        return _thinned(job.found)
    return job.found


def _thinned(found: Found) -> Found:
    """The cheapest setting of every size, and those that none beats in all costs."""
    table = found.table
    costs = table[list(COSTS)].to_numpy(float)
    order = np.lexsort(costs.T[::-1])
    order = order[np.isfinite(costs[order]).all(1)]
    kept = np.zeros(len(table), bool)
    kept[order] = not_dominated(costs[order])
    sizes = ["scheme", "num_groups", "redundancy", "trigger"]
    best = table.sort_values("cost", kind="stable").drop_duplicates(sizes).index
    kept[best] = True
    place = np.cumsum(kept) - 1
    walks = [
        Walk(walk.uploads, {int(place[r]): s for r, s in walk.schemes.items() if kept[r]})
        for walk in found.walks
    ]
    return Found(table[kept].reset_index(drop=True), [walk for walk in walks if walk.schemes])
