"""How figures look: ticks, labels, styles, and the figure of a survey."""

import itertools
import re
from pathlib import Path

import benchmark
import matplotlib as mpl
import numpy as np
import pandas as pd
import paper
import pytest
import schemes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lagc_jax import Trace, plots
from lagc_jax.experiments.backtest import Backtest
from lagc_jax.plots import _style
from lagc_jax.plots._labels import along, place_labels, settle
from lagc_jax.plots._panels import STATES
from lagc_jax.plots._ticks import LogTicks, label_values, short_numbers, tick_labels
from lagc_jax.plots.backtest import plot_backtest

FIGURES = Path(__file__).parents[1] / "figures"
UNITS = {"k": 1e3, "M": 1e6, "": 1.0}


def read_number(label):
    """What a reader takes a label for."""
    power = re.fullmatch(r"\$\\mathdefault\{10\^\{(-?\d+)\}\}\$", label)
    if power:
        return 10.0 ** int(power[1])
    number, unit = re.fullmatch(r"([0-9.e+-]+?)([kM]?)", label).groups()
    return float(number) * UNITS[unit]


@pytest.mark.parametrize("room", [4, 5, 7])
def test_ticks_of_a_logarithmic_axis_are_few_and_read_as_what_they_are(room):
    draws = np.random.default_rng(0).uniform(size=(300, 2))
    for low, ratio in zip(10 ** (12 * draws[:, 0] - 5), 10 ** (8 * draws[:, 1]), strict=True):
        ticks = np.array(LogTicks(room).tick_values(low, low * ratio))
        inside = ticks[(ticks >= low) & (ticks <= low * ratio)]
        assert len(inside) <= room + 1
        assert len(inside) > 1 or ratio < 2.6
        labels = short_numbers(ticks)
        np.testing.assert_allclose([read_number(label) for label in labels], ticks, rtol=1e-5)
        assert max(len(label.replace("mathdefault", "")) for label in labels) < 13


def test_labels_of_values_do_not_touch():
    axis = Figure(figsize=(1.9, 1.5)).subplots()
    values = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
    label_values(axis.xaxis, range(8), [f"{value:g}" for value in values], room=22)
    axis.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert 3 <= len(boxes) < 8
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_values_of_a_geometric_range_have_labels_that_fit():
    axis = Figure(figsize=(1.9, 1.5)).subplots()
    values = np.geomspace(1e-3, 1.0, 20)
    axis.set_xscale("log")
    axis.set_xlim(values[0], values[-1])
    label_values(axis.xaxis, values.tolist(), tick_labels(values.tolist()), room=22)
    axis.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert len(boxes) >= 3
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_labels_overlap_neither_each_other_nor_the_dots():
    figure = Figure(figsize=(3.5, 2.5), layout="constrained")
    axis = figure.subplots()
    dots = np.random.default_rng(1).uniform(size=(24, 2))
    axis.plot(*dots.T, "o", markersize=3)
    settle(figure)
    pixels = np.concatenate([along(axis, *dot[:, None]) for dot in dots])
    labels = [(f"scheme {i}", dot[None]) for i, dot in enumerate(dots)]
    place_labels(axis, labels, pixels, fontsize=6.5)
    figure.draw_without_rendering()
    # That of the text without its leader.
    boxes = [mpl.text.Text.get_window_extent(text) for text in axis.texts]
    assert len(boxes) == 24
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(box.contains(*pixel) for box in boxes for pixel in pixels)


def test_schemes_of_a_family_differ_in_grey_and_from_marks_of_what_is_missing():
    for members in _style.FAMILIES.values():
        ways = {(_style.STYLES[n]["marker"], str(_style.STYLES[n]["linestyle"])) for n in members}
        twins = {"LAG", "LASG", "CADA"} & set(members)  # short names of schemes with two rules
        assert len(ways) == len(members) - len(twins)
    unknown = [f"mine {i}" for i in range(6)]
    styles = _style.scheme_styles([*_style.STYLES, *unknown])
    assert len({(styles[n]["marker"], styles[n]["color"]) for n in unknown}) == 6
    assert not {mark for _, mark in STATES.values()} & {s["marker"] for s in styles.values()}


def test_the_style_is_exported_and_leaves_no_trace():
    before = mpl.rcParams["lines.linewidth"], mpl.rcParams["axes.spines.top"]
    with plots.style():
        assert (mpl.rcParams["lines.linewidth"], mpl.rcParams["axes.spines.top"]) == (1.2, False)
    assert before == (mpl.rcParams["lines.linewidth"], mpl.rcParams["axes.spines.top"])
    assert all(hasattr(plots, name) for name in plots.__all__)


@pytest.fixture(scope="module")
def survey():
    """Curves and table of a few schemes, one of them of no known family."""
    curves, table = (pd.read_csv(FIGURES / f"{n}.csv") for n in ("schemes_accuracy", "schemes"))
    names = {"GD": "GD", "LAG-PS": "LAG-PS", "G-LAG": "G-LAG", "GC": "mine"}
    few = [
        frame[frame["scheme"].isin(names) & (frame["task"] == "neural")].replace({"scheme": names})
        for frame in (curves, table)
    ]
    few[1].loc[few[1]["scheme"] == "LAG-PS", ["time", "bits"]] = np.inf
    return few


def test_a_survey_is_drawn_by_family_with_gd_and_the_best_behind(survey):
    curves, table = survey
    (summary,) = plots.plot_costs(table, "high tail").get_axes()
    figure = plots.plot_survey(curves, table, "high tail")
    panels = figure.get_axes()
    assert len(panels) == 2 * 2
    assert not figure.legends
    assert {text.get_text() for text in summary.texts} == {"GD", "G-LAG", "mine"}
    assert summary.get_title("left") == "neural, high tail; not reached: LAG-PS"
    families = [panel.get_ylabel() for panel in panels[::2]]
    assert families == ["Lazy", "Others"]
    keys = [[text.get_text() for text in panel.get_legend().texts] for panel in panels[::2]]
    assert keys == [["LAG-PS", "G-LAG"], ["mine"]]
    greys = [{text.get_text() for text in panel.texts} for panel in panels]
    assert greys == 2 * [{"GD"}] + 2 * [{"GD", "G-LAG"}]
    for panel, names in zip(panels[::2], keys, strict=True):
        looks = {line.get_color() for line in panel.lines} - {"0.75"}
        assert looks == {line.get_color() for line in panel.get_legend().get_lines()}
        assert len(looks) == len(names)
    for panel, cost in zip(panels, ["time", "bits"] * 2, strict=True):
        lines = {len(line.get_xdata()): line for line in panel.lines}
        greys = [line for line in panel.lines if line.get_color() == "0.75"]
        assert len(greys) == (1 if panel in panels[:2] else 2)
        for line in lines.values():
            points = np.column_stack(line.get_data())
            numbers = curves[(curves["delays"] == "high tail")][[cost, "accuracy"]].to_numpy()
            assert (np.abs(points[:, None] - numbers).sum(-1).min(1) == 0).all()
    with pytest.raises(ValueError, match="delays='none' is not in the frame; give one of low"):
        plots.plot_survey(curves, table, "none")


@pytest.mark.long
def test_figures_are_drawn_again_from_numbers_that_stay(survey, tmp_path, capsys):
    files = dict(zip(("schemes_accuracy", "schemes"), survey, strict=True))
    files["fig2_pareto"] = pd.read_csv(FIGURES / "fig2_pareto.csv")
    files["benchmark_scaling"] = pd.read_csv(FIGURES / "benchmark_scaling.csv")
    for name, frame in files.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.csv")}
    for script in (schemes, benchmark):
        assert script.main(["--redraw", "--out", str(tmp_path)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "FIGURES", {"fig2_pareto": plots.plot_curves})
        assert paper.main(["--redraw", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in ("schemes_accuracy", "benchmark", "fig2_pareto"):
        for end in ("pdf", "png"):
            assert (tmp_path / f"{name}.{end}").stat().st_size > 0
            assert f"{name}.{end}" in printed
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*.csv")}
    for script in (schemes, benchmark, paper):
        with pytest.raises(SystemExit):
            script.main(["--redraw", "--out", str(tmp_path / "nowhere")])
        said = capsys.readouterr().err
        assert "nowhere" in said
        assert "run without it first" in said


def test_the_benchmark_has_a_caption_and_the_palette_of_the_schemes():
    figure = benchmark.plot_scaling(pd.read_csv(FIGURES / "benchmark_scaling.csv"))
    assert "one size grows" in figure.legends[0].get_title().get_text()
    colors = {to_hex(line.get_color()) for axis in figure.axes for line in axis.lines}
    assert colors <= {to_hex(style["color"]) for style in _style.STYLES.values()}
    assert len(colors) == 5


OTHER = pd.DataFrame({"a": [1.0]})
QUANTILES = pd.DataFrame({"family": ["gamma"] * 2, "fitted": [1.0, 2.0], "measured": [1.0, 2.1]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_lines([1.0], "xi"), "table is a list, no frame; give that of lagc_jax"),
        (lambda: plots.plot_heat_map(OTHER, "xi", "memory"), "table lacks the columns .*; give"),
        (lambda: plots.plot_frontier(None), "table is a NoneType, no frame; give that of"),
        (lambda: plots.plot_curves(OTHER), "curves lacks the columns .*; give that of"),
        (lambda: plots.plot_redundancy(OTHER), "redundancy lacks the columns .*; give that of"),
        (lambda: plots.plot_tail(OTHER), "tail lacks the columns .*; give that of"),
        (lambda: plots.plot_quantiles(OTHER), "quantiles lacks the columns .*; give that of"),
        (lambda: plots.plot_bits(OTHER), "frame lacks the columns .*; give that of"),
        (lambda: plots.plot_costs(OTHER), "the frame lacks the columns .*; give one of a survey"),
        (lambda: plots.plot_design(OTHER), "advice is a DataFrame; give what lagc_jax.design"),
        (lambda: plots.scheme_style(["GD"]), r"scheme=\['GD'\] is no name; give one"),
        (lambda: plots.select({}), "the table is a dict, no frame; give that of a sweep"),
        (lambda: plots.save_drawing(None, None), "stem=None is no path; give that of a file"),
    ],
)
def test_what_a_figure_is_not_made_of_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_stem_may_hold_points(tmp_path):
    written = plots.save_figure(plots.plot_quantiles(QUANTILES), QUANTILES, f"{tmp_path}/run1.5")
    assert [path.name for path in written] == ["run1.5.pdf", "run1.5.png", "run1.5.csv"]


def test_rows_of_a_trace_that_nobody_answers_are_gaps_of_its_figure():
    times = np.arange(1.0, 61.0)[:, None] + [0.0, 0.5]
    times[3] = times[40:50] = np.nan
    names = dict(scheme="GD", num_groups=2, redundancy=1, assignment="as given", xi=np.nan)
    row = names | dict(
        step_size=1.0, time=2.0, time_low=1.0, time_high=3.0, held_out=2.5, held=True
    )
    table = pd.DataFrame([row])
    found = Backtest(None, table, True, 1.0, 0.0, "", Trace(times))
    points, means = (line.get_ydata() for line in plot_backtest(found).axes[1].lines)
    np.testing.assert_allclose(points, times.max(axis=1))
    parts = np.array_split(times.max(axis=1), len(means))
    assert np.isnan(means).any()
    for mean, part in zip(means, parts, strict=True):
        answered = part[np.isfinite(part)]
        np.testing.assert_allclose(mean, answered.mean() if answered.size else np.nan)
