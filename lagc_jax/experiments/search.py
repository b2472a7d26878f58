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
XI_RANGE, STEP_RANGE = (1e-4, 1e3), (0.05, 1.99)  # a step of 2/L no longer descends
XI_FACTORS, STEP_FACTORS = (3.0, 1.7, 1.3, 1.14), (1.15, 1.07, 1.035, 1.017)

Pricing = Callable[[pd.DataFrame, np.ndarray], np.ndarray]
Setting = tuple[float, float]  # a weight and a step


class Effort(NamedTuple):
    """How much is searched.

    Attributes:
        xi, steps: settings to start from.
        starts: the best of them, from each of which a family is searched.
        behind: families that cost so many times the best are not searched further.
    """

    xi: tuple[float, ...]
    steps: tuple[float, ...]
    starts: int
    behind: float


# The costs are rugged: from one start a fifth was missed. Paths of many workers take long.
MANY_WORKERS = 16
THOROUGH = Effort((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), (1.0, 1.3, 1.6, 1.9), 4, 2.0)
QUICK = Effort((0.03, 0.1, 0.3, 1.0), (1.0, 1.6), 1, 1.5)
ROUGH = Effort((0.03, 0.3), (1.0, 1.6), 0, 1.0)  # nothing but the starts
# Iterations of paths beyond which a search is quick, and beyond which it is rough.
LONG, LONGEST = 2**14, 2**16


def effort_of(num_workers: int, num_iterations: int) -> Effort:
    """How much is searched for so many workers and iterations."""
    if num_iterations > LONGEST:
        return ROUGH
    return QUICK if num_workers > MANY_WORKERS or num_iterations > LONG else THOROUGH


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
        schemes: dict[str, list] = {}
        for number, settings in wanted.items():
            known = self.costs.setdefault(number, {})
            for setting in dict.fromkeys(settings):
                if setting not in known:
                    known[setting] = math.inf
                    for name, varied in families[number].varied(*setting):
                        schemes.setdefault(f"{number}:{name}", []).append(varied)
        if not schemes:
            return
        table, walks = follow(replace(self.experiment, schemes=schemes), progress)
        named = table["scheme"].str.partition(":")
        owner, table = named[0].astype(int), table.assign(scheme=named[2])
        loads = {
            row: float(np.mean(scheme.loads))
            for walk in walks
            for row, scheme in walk.schemes.items()
        }
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

    def refine(self, families: Sequence[Family], vary: tuple[bool, bool], effort: Effort) -> None:
        """Close in on the best weights and steps of every family that may be the cheapest."""
        tracks = [
            _Track(number, setting, 0)
            for number, known in self.costs.items()
            for setting in sorted(known, key=lambda one: known[one])[: effort.starts]
        ]
        while tracks:
            leader = min(min(known.values()) for known in self.costs.values())
            around = {
                track: _around(track, *_varies(families[track.family], vary))
                for track in tracks
                if self._cost(track.family, track.setting) <= effort.behind * leader < math.inf
            }
            wanted: dict[int, list[Setting]] = {}
            for track, settings in around.items():
                wanted.setdefault(track.family, []).extend(settings)
            self.measure(wanted, families, iter)
            moved = (self._moved(track, settings) for track, settings in around.items())
            tracks = [track for track in dict.fromkeys(moved) if track.size < len(XI_FACTORS)]

    def _cost(self, family: int, setting: Setting) -> float:
        return self.costs[family][setting]

    def _moved(self, track: "_Track", settings: Sequence[Setting]) -> "_Track":
        """A track at the best of its settings, in a smaller pattern where that saves little."""
        best = min(settings, key=lambda one: self._cost(track.family, one))
        least = self._cost(track.family, track.setting)
        if self._cost(track.family, best) < (1 - TOLERANCE) * least:
            return track._replace(setting=best)
        return track._replace(size=track.size + 1)

    @property
    def found(self) -> Found:
        """All candidates."""
        return Found(pd.concat(self.tables, ignore_index=True), self.walks)


def _varies(family: Family, vary: tuple[bool, bool]) -> tuple[bool, bool]:
    """Whether a family's weight and step are searched."""
    return vary[0] and family.lazy, vary[1] and family.steps is None


class _Track(NamedTuple):
    """A search of a family: where it is, and the number of its pattern's size."""

    family: int
    setting: Setting
    size: int


def _around(track: _Track, lazy: bool, steps: bool) -> list[Setting]:
    """Settings in the pattern of a track."""
    (xi, step), size = track.setting, track.size
    wide, narrow = XI_FACTORS[size], STEP_FACTORS[size]
    weights = [xi / wide, xi, xi * wide] if lazy else [xi]
    lengths = [step / narrow, step, step * narrow] if steps else [step]
    if lazy:
        weights = np.clip(weights, *XI_RANGE).tolist()
    if steps:
        lengths = np.clip(lengths, *STEP_RANGE).tolist()
    # To some digits, for there are several ways to a setting, which round otherwise.
    weights, lengths = ([float(f"{x:.12g}") for x in some] for some in (weights, lengths))
    return [(w, s) for w in weights for s in lengths]


def search(
    families: Sequence[Family],
    experiment: Experiment,
    meter: Meter,
    pricing: Pricing,
    given: tuple[Sequence[float] | None, Sequence[float] | None],
    progress: Progress,
    effort: Effort,
) -> Found:
    """Candidates with every given weight and step; what is not given (None) is searched.

    A search with the effort `ROUGH` looks at few settings, for a ranking.
    """
    xi, steps = given
    starts = effort.xi if xi is None else xi, effort.steps if steps is None else steps
    job = Search(experiment, meter, pricing)
    grid = {
        number: [
            (w, s)
            for w in (starts[0] if family.lazy else (0.0,))
            for s in family.steps or starts[1]
        ]
        for number, family in enumerate(families)
    }
    job.measure(grid, families, progress)
    searched = xi is None or steps is None
    if searched and effort.starts:
        job.refine(families, (xi is None, steps is None), effort)
    return _thinned(job.found) if searched else job.found


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
