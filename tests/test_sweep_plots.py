"""The table of a sweep and its figures: what is shown, what is refused, and the frontier."""

import itertools
import re

import numpy as np
import pandas as pd
import plot
import pytest
from matplotlib.collections import PatchCollection, QuadMesh

import lagc_jax
from lagc_jax import _tables as tables
from lagc_jax.plots._panels import states_of
from lagc_jax.plots.frontier import plot_frontier
from lagc_jax.plots.heat import plot_heat_map
from lagc_jax.plots.lines import plot_lines
from lagc_jax.plots.sweep import draw

SIZES = [(G, r) for G in (1, 2, 3, 6) for r in (1, 2, 3, 6) if r <= 6 // G]


def run_script(*arguments):
    """Exit status of the script run in this process; warnings stay errors."""
    try:
        return plot.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def make_table():
    """LAGC over G x r x xi and GD, under two families of delays, at two accuracies."""
    choices = [
        ("LAGC", G, r, xi, 10, "server") for (G, r), xi in itertools.product(SIZES, (0.1, 1))
    ]
    choices.append(("GD", 6, 1, 0.0, 1, "always"))
    names = ("scheme", "num_groups", "redundancy", "xi", "memory", "trigger")
    worlds = [("pareto", 1.0, 0.8, np.nan), ("pareto", 1.0, 2.0, np.nan)]
    worlds.append(("exponential", np.nan, np.nan, 1.0))
    pairs = itertools.product(worlds, choices)
    rows = [
        dict(point=i, problem="synthetic", num_workers=6, step_size=1.0)
        | dict(zip(("delays", "scale", "shape", "rate"), world, strict=True))
        | dict(zip(names, choice, strict=True))
        for i, (world, choice) in enumerate(pairs)
    ]
    frame = pd.concat([pd.DataFrame(rows).assign(accuracy=gap) for gap in (1e-2, 1e-6)])
    frame = frame.sort_values("point", kind="stable").reset_index(drop=True)
    draws = np.random.default_rng(0).uniform(1, 2, (len(frame), 3))
    iterations = 100 * draws[:, 0] * (1 + (frame["accuracy"] < 1e-3))
    iterations[frame["num_groups"] == 1] = np.inf
    time = iterations * draws[:, 1] / frame["redundancy"]
    infinite = frame["redundancy"] * frame["shape"].fillna(9) <= 1
    return frame.assign(
        iterations=iterations,
        communication=iterations * draws[:, 2],
        computation=iterations * frame["redundancy"],
        bits=64 * iterations * draws[:, 2],
        time_mean=time,
        time_standard_error=0.01 * time,
        **{f"time_q{level}": time * (0.5 + level) for level in (0.05, 0.5, 0.95)},
        time_expected=np.where(infinite, np.inf, time),
        diverged=1.0 * ((frame["num_groups"] == 1) & (frame["xi"] == 1)),
    )


@pytest.fixture(scope="module")
def table():
    return make_table()


@pytest.fixture(scope="module")
def rows(table):
    return tables.select(table)


@pytest.fixture(scope="module")
def lagc(table):
    return tables.select(table, {"scheme": "LAGC", "delays": "pareto", "shape": "2", "xi": "1"})


def test_the_finest_accuracy_is_the_default_and_others_can_be_asked_for(table, rows):
    assert (rows["accuracy"] == 1e-6).all()
    assert len(rows) == len(table) / 2
    assert (tables.select(table, accuracy=0.01)["accuracy"] == 0.01).all()


def test_the_time_is_the_exact_mean_where_known_and_a_quantile_on_request(table, rows):
    assert (rows["time"] == rows["time_expected"]).all()
    assert set(rows["time_statistic"]) == {"exact mean"}
    unknown = tables.select(table.assign(time_expected=np.nan))
    assert (unknown["time"] == unknown["time_mean"]).all()
    assert set(unknown["time_statistic"]) == {"sample mean"}
    assert (tables.select(table, time="0.950")["time"] == rows["time_q0.95"]).all()


def test_fixing_a_parameter_keeps_points_without_it(table):
    rows = tables.select(table, {"shape": "2", "xi": "1.0"})
    assert set(rows["delays"]) == {"pareto", "exponential"}
    assert set(rows["scheme"]) == {"LAGC", "GD"}
    assert set(rows["shape"].dropna()) == {2.0}
    assert set(rows["xi"].dropna()) == {1.0}


@pytest.mark.parametrize(
    ("where", "more", "message"),
    [
        ({"redundncy": "2"}, {}, r"'redundncy' is not a parameter of the table; give redundancy"),
        ({"time_mean": "2"}, {}, r"'time_mean' is not a parameter of the table; give one of"),
        ({"num_groups": "5"}, {}, r"num_groups=5 is not in the table; give one of 1, 2, 3, 6"),
        ({"delays": "gamma"}, {}, r"delays=gamma is not .*; give one of pareto, exponential"),
        ({}, {"accuracy": 1e-3}, r"accuracy=0.001 is not .*; give one of 1e-06, 0.01"),
        ({}, {"time": "0.9"}, r"time='0.9' is not .*; give 'mean' or .* 0.05, 0.5, 0.95"),
        ({}, {"time": "mode"}, r"time='mode' is not .*; give 'mean' or"),
    ],
)
def test_what_the_table_does_not_hold_is_refused(table, where, more, message):
    with pytest.raises(ValueError, match=message):
        tables.select(table, where, **more)


def test_tables_that_are_none_of_a_sweep_are_refused(table):
    with pytest.raises(ValueError, match=r"lacks the columns \['iterations'\]"):
        tables.select(table.drop(columns="iterations"))
    with pytest.raises(ValueError, match="the table has no rows"):
        tables.select(table[:0])
    with pytest.raises(ValueError, match=r"points \[.*\] agree in every parameter"):
        tables.select(table.drop(columns="redundancy"))
    with pytest.raises(ValueError, match=r"time=None is not in the table; give 'mean' or one of"):
        tables.select(table, time=None)
    with pytest.raises(ValueError, match=r"where=\['xi'\] is no dict; give one from"):
        tables.select(table, ["xi"])


def test_the_level_that_takes_longest_is_chosen_whichever_way_levels_are_reached(table):
    gaps = tables.select(table)
    assert (gaps["accuracy"] == table["accuracy"].min()).all()
    upwards = table.assign(accuracy=1 - table["accuracy"])  # as levels of a recorded accuracy are
    assert (tables.select(upwards)["accuracy"] == 1 - table["accuracy"].min()).all()


def test_costs_of_any_unit_are_drawn_alike(rows):
    """Neither a frontier nor the smallest value of a map depends on the unit of the time."""
    rows = rows[rows["scheme"] == "LAGC"]
    time = [name for name in rows if name.startswith("time") and name != "time_statistic"]
    spread = rows["time"].rank() / len(rows)
    seen = []
    for unit in (1.0, 1e-12):
        scaled = rows.assign(**{name: unit * rows[name] for name in time})
        wide = scaled.assign(time=unit * 10 ** (9 * spread))  # over nine decades
        figure = plot_frontier(wide)
        for axis in figure.axes:
            low, high = axis.get_ylim()
            costs = wide[["communication", "computation"]].to_numpy()
            assert low < high
            assert (costs <= high).any()
        axis = plot_heat_map(tables.fix(scaled, "xi", 0.1), "num_groups", "redundancy").axes[0]
        rings = [line for line in axis.get_lines() if line.get_marker() == "o"]
        seen.append([line.get_xydata().tolist() for line in rings])
    assert seen[0] == seen[1]


def test_parameters_that_follow_from_others_are_not_free(rows):
    free = ["scheme", "num_groups", "redundancy", "xi", "delays", "shape"]
    assert sorted(tables.free_parameters(rows)) == sorted(free)
    gd = pd.DataFrame(dict(scheme="GD", num_workers=[2, 4], num_groups=[2, 4]))
    assert tables.free_parameters(gd) == ["num_workers"]
    assert tables.free_parameters(gd, ["num_groups"]) == ["num_groups"]


def dominated(costs, i):
    return any((c <= costs[i]).all() and (c < costs[i]).any() for c in costs)


def test_the_frontier_is_that_of_brute_force_under_equal_conditions(rows):
    expected = []
    for _, world in rows.groupby(["delays", "shape"], dropna=False):
        costs = world[list(tables.COSTS)].to_numpy()
        expected += [
            point
            for i, point in enumerate(world["point"])
            if np.isfinite(costs[i]).all() and not dominated(costs, i)
        ]
    frontier = tables.pareto_frontier(rows)["point"].tolist()
    assert sorted(frontier) == sorted(expected)
    assert 3 < len(expected) < len(rows)


def test_a_scheme_with_a_dashed_line_is_a_mark_in_the_frontier(rows):
    figure = plot_frontier(rows.replace({"scheme": {"LAGC": "LAG-WK"}}))
    entries = zip(figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)
    lines = {text.get_text(): line for text, line in entries}
    assert lines["LAG-WK"].get_linestyle() == "None"


def test_equal_points_share_the_frontier_and_a_worse_one_never_joins():
    costs = np.array([[1.0, 1, 1], [1, 1, 1], [1, 1, 2], [2, 1, 0]])
    assert tables.not_dominated(costs).tolist() == [True, True, False, True]


def test_narrowing_fixes_numbers_in_the_middle_where_points_are_finite(rows):
    shown, fixed = tables.narrow(rows, ["shape", "xi"], 1)
    assert fixed == {"shape": [2.0, 0.8, 2.0], "xi": [1.0, 0.1, 1.0]}
    assert set(shown["xi"].dropna()) == {1.0}
    assert tables.narrow(rows, ["shape", "xi"], 9)[1] == {}
    five = pd.DataFrame(dict(xi=range(5), scheme="LAG", point=range(5), redundancy=1))
    for reached, middle in (([1, 1, 1, 1, 1], 2), ([1, 1, 0, 0, 0], 1), ([0, 0, 0, 1, 1], 3)):
        costs = dict.fromkeys(tables.COSTS, np.where(reached, 1.0, np.inf))
        assert tables.narrow(five.assign(**costs), ["xi"], 1)[1]["xi"][0] == middle
    # A number alone may have more values, and a scheme without the axis is not the one kept.
    costs = dict.fromkeys(tables.COSTS, 1.0)
    assert tables.narrow(five.assign(**costs), ["xi"], 2, lone=5)[1] == {}
    two = pd.DataFrame(dict(scheme=["GD", "LAG", "LAG"], xi=[np.nan, 1.0, 2.0], **costs))
    assert tables.narrow(two, ["scheme"], 1)[1]["scheme"][0] == "GD"
    assert tables.narrow(two, ["scheme"], 1, axes=["xi"])[1]["scheme"][0] == "LAG"


def test_a_line_shows_the_tables_numbers_and_marks_its_gaps(lagc):
    figure = plot_lines(lagc, "num_groups")
    time, communication, _ = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:4] == ["r = 1", "r = 2", "r = 3", "r = 6"]
    assert labels[4:] == ["median", "exact mean", "5-95 %", "diverged"]
    assert "shape\u00a0=\u00a02" in figure.legends[0].get_title().get_text()
    first = lagc[lagc["redundancy"] == 1].sort_values("num_groups")
    # A gap where G = 1 diverged, and a mark above it.
    drawn = communication.lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, first["communication"].replace(np.inf, np.nan))
    assert np.isnan(drawn[0])
    assert communication.lines[1].get_xdata().tolist() == [1]
    median = [line.get_ydata() for line in time.lines]
    assert any(np.array_equal(y, first["time_q0.5"].replace(np.inf, np.nan), True) for y in median)


def test_a_number_between_gaps_shows_its_band_and_its_mean(lagc):
    rows = lagc[lagc["redundancy"] == 1].sort_values("num_groups")
    costs = [name for name in rows.columns if name.startswith("time") and "stat" not in name]
    rows.loc[rows["num_groups"] == 3, [*costs, "iterations"]] = np.inf  # 1 and 3 have none
    time = plot_lines(rows, "num_groups").axes[0]
    bars = [bar for each in time.collections for bar in each.get_paths() if len(bar.vertices) == 2]
    known = rows[rows["num_groups"].isin([2, 6])]
    ends = known[["num_groups", "time_q0.05", "num_groups", "time_q0.95"]].to_numpy()
    np.testing.assert_array_equal([bar.vertices.ravel() for bar in bars], ends)
    (means,) = (line for line in time.lines if line.get_marker() == "_")
    np.testing.assert_array_equal(means.get_ydata(), known["time_expected"])


def test_a_scheme_without_the_parameter_is_a_level_line(table):
    rows = tables.select(table, {"delays": "exponential", "num_groups": "6"})
    level = plot_lines(rows, "xi").axes[1].lines[1]
    gd = rows.loc[rows["scheme"] == "GD", "communication"].item()
    assert level.get_xdata().tolist() == [0.1, 1.0]
    assert level.get_ydata().tolist() == [gd, gd]


def test_a_heat_map_shows_every_point_once_as_number_or_state(lagc):
    figure = plot_heat_map(lagc, "num_groups", "redundancy")
    for axis, cost in zip(figure.axes, tables.COSTS, strict=False):
        grid = next(c for c in axis.collections if isinstance(c, QuadMesh)).get_array()
        boxes = [c for c in axis.collections if isinstance(c, PatchCollection) and c.get_paths()]
        numbers = np.sort(grid.compressed())
        np.testing.assert_array_equal(numbers, np.sort(lagc[cost][np.isfinite(lagc[cost])]))
        assert sum(len(c.get_paths()) for c in boxes) == np.isinf(lagc[cost]).sum() == 4
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["smallest", "diverged", "no point"]


PANELS = {"energy": "Energy", "bits": "Communication\n(bits)"}


@pytest.mark.parametrize(("name", "label"), PANELS.items())
def test_energy_has_a_panel_where_it_has_prices_and_bits_where_messages_differ(lagc, name, label):
    priced = lagc.assign(**{name: lagc["communication"] * (1 + lagc["redundancy"])})
    assert tables.costs_of(lagc.assign(bits=64 * lagc["communication"])) == tables.COSTS
    assert tables.parameters(priced) == tables.parameters(lagc)
    for figure in (
        plot_lines(priced, "redundancy"),
        plot_heat_map(priced, "num_groups", "redundancy"),
    ):
        assert len([axis for axis in figure.axes if axis.get_subplotspec()]) % 4 == 0
    lines = plot_lines(priced, "redundancy").axes[3]
    assert lines.get_ylabel() == label
    shown = np.concatenate([line.get_ydata() for line in lines.lines])
    finite = priced[name][np.isfinite(priced[name])]
    assert np.isin(finite, shown).all()


def test_more_than_six_lines_over_one_number_have_a_bar_of_colours(lagc):
    many = pd.concat([lagc.assign(xi=xi, point=1000 * i) for i, xi in enumerate(range(1, 9))])
    many["point"] += np.arange(len(many))
    many = many[many["redundancy"] == 1]
    figure = plot_lines(many, "num_groups")
    assert figure.axes[-1].get_ylabel() == r"Trigger weight $\xi$"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["median", "diverged"]
    more = pd.concat([many.assign(xi=xi, point=many["point"] + 10**5 * xi) for xi in range(25)])
    with pytest.raises(ValueError, match=r"25 combinations .* than the 24"):
        plot_lines(more.drop_duplicates(["xi", "num_groups"]), "num_groups")


def test_of_lines_that_coincide_the_lower_is_wider(lagc):
    twin = lagc[lagc["redundancy"] == 1]
    figure = plot_lines(
        pd.concat([twin, twin.assign(redundancy=2, point=twin["point"] + 99)]), "num_groups"
    )
    for axis in figure.axes:
        lines = [line for line in axis.lines if len(line.get_xdata()) > 1]
        below, above = [line for line in lines if line.get_linestyle() != ":"]
        assert below.get_linewidth() > 2 * above.get_linewidth()
        assert below.get_markersize() > above.get_markersize()


def test_panels_without_a_map_are_left_out_and_said(lagc):
    other = lagc[lagc["num_groups"] == 2].assign(scheme="GC")
    other["point"] += 500
    figure = plot_heat_map(pd.concat([lagc, other]), "num_groups", "redundancy")
    assert len([axis for axis in figure.axes if axis.collections and axis.get_ylabel()]) == 1
    assert "no panel for GC" in figure.legends[0].get_title().get_text()
    alone = plot_heat_map(
        lagc.assign(**dict.fromkeys(tables.COSTS, np.inf)), "num_groups", "redundancy"
    )
    assert "no panel" not in alone.legends[0].get_title().get_text()


def test_parameters_that_no_point_has_together_are_no_map(lagc):
    apart = lagc.assign(deadline=np.where(lagc["num_groups"] > 2, lagc["point"], np.nan))
    apart["num_waited"] = np.where(lagc["num_groups"] > 2, np.nan, lagc["point"])
    with pytest.raises(ValueError, match="of the 0 points that have x='deadline' and y='num_wai"):
        next(draw(apart, "deadline", "num_waited"))


def test_an_axis_is_not_lost_by_fixing_others(rows):
    """The groups differ between schemes alone: the scheme is not fixed."""
    many = pd.concat([rows.assign(seed=i, point=rows["point"] + 100 * i) for i in range(8)])
    few = many[(many["redundancy"] == 1) & ((many["num_groups"] == 3) | (many["scheme"] == "GD"))]
    picture = next(draw(few, "num_groups", "shape"))
    assert picture.name == "heat_num_groups_shape"
    assert set(picture.frame["num_groups"]) == {3, 6}


def test_points_without_a_place_on_the_frontier_are_counted_and_told_apart(lagc):
    (title,) = plot_frontier(lagc).axes[0].texts[:1]
    assert title.get_text().startswith("4 of 10 points are not drawn: infinite cost")
    undefined = lagc.assign(time=lagc["time"].where(lagc["redundancy"] > 1))
    (title,) = plot_frontier(undefined).axes[0].texts[:1]
    assert "points are not drawn: infinite or undefined cost" in title.get_text()


def test_letters_beside_the_frontier_say_what_is_chosen(lagc):
    figure = plot_frontier(lagc)
    best = tables.pareto_frontier(lagc).sort_values("time")
    key, *letters = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(letters) == list("abcdefgh")[: len(best)]
    for letter, (_, row) in zip("abcdefgh", best.iterrows(), strict=False):
        assert f"{letter}: G = {row['num_groups']}, r = {row['redundancy']}" in key


def test_states_tell_divergence_from_accuracies_and_means_out_of_reach(rows):
    states = states_of(rows, "time")
    finite, one = np.isfinite(rows["time"]), rows["num_groups"] == 1
    assert (states[finite] == "finite").all()
    assert (states[one & (rows["xi"] == 1)] == "diverged").all()
    assert (states[one & (rows["xi"] != 1)] == "accuracy not reached").all()
    assert (states[~finite & ~one] == "infinite mean").all()
    assert (states == "infinite mean").any()
    assert states_of(rows.assign(time=np.nan), "time")[-1] == "undefined"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("scheme", None), r"'scheme' is no numeric parameter that varies; give one of shape, num"),
        (("memory", None), r"'memory' is no numeric parameter that varies; give one of"),
        (("xi", "xi"), r"both axes are 'xi'; give two parameters"),
        ((None, "xi"), r"y='xi' is given without x; give both"),
    ],
)
def test_figures_that_cannot_be_are_refused(rows, axes, message):
    with pytest.raises(ValueError, match=message):
        next(draw(rows, *axes))


@pytest.mark.parametrize(
    ("plot", "axes", "message"),
    [
        (
            plot_lines,
            ["xi"],
            r"33 combinations .* than the 6 .*; fix .*redundancy of 1, 2, 3, 6",
        ),
        (
            plot_heat_map,
            ["xi", "shape"],
            r"10 combinations .* than the 6 .*; fix .*num_groups of 1, 2, 3, 6",
        ),
    ],
)
def test_a_figure_of_more_than_it_can_show_is_refused(rows, plot, axes, message):
    with pytest.raises(ValueError, match=message):
        plot(rows, *axes)


@pytest.mark.parametrize(("axes", "limit"), [(["xi"], 6), (["xi", "shape"], 6)])
def test_axes_asked_for_are_drawn_with_the_rest_fixed(rows, axes, limit):
    picture = next(draw(rows, *axes))
    assert picture.fixed
    for name, (value, *choices) in picture.fixed.items():
        assert value in choices
        assert set(picture.frame[name].dropna()) == {value}
    others = [name for name in tables.free_parameters(picture.frame, axes) if name not in axes]
    assert tables.count_combinations(picture.frame.dropna(subset=axes), others) <= limit


@pytest.mark.long
def test_without_options_everything_is_drawn_and_what_is_fixed_is_said(table, tmp_path, capsys):
    path = tmp_path / "table.parquet"
    table[(table["delays"] == "pareto") & (table["accuracy"] == 1e-6)].to_parquet(path)
    assert run_script(path) == 0
    out = capsys.readouterr().out
    lines = [f"lines_{x}" for x in ("num_groups", "redundancy", "xi", "shape")]
    maps = ["heat_num_groups_redundancy", "heat_num_groups_shape", "heat_redundancy_shape"]
    names = {*lines, *maps, "frontier"}
    files = {f"{name}{end}" for name in names for end in (".pdf", ".png", ".csv")}
    assert {file.name for file in (tmp_path / "figures").iterdir()} == files
    assert "shape fixed at 2, one of 0.8, 2" in out
    frontier = pd.read_csv(tmp_path / "figures" / "frontier.csv")
    assert f"{frontier['frontier'].sum()} of 42 points" in out
    assert re.search("time +communication +computation +bits +iterations", out)


def test_a_directory_is_read_by_load_results(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lagc_jax, "load_results", lambda path: table, raising=False)
    fixed = ("--where", "scheme=LAGC", "--where", "xi=1", "--where", "delays=exponential")
    arguments = ("--x", "num_groups", "--y", "redundancy", "--accuracy", "0.01", "--time", "0.95")
    assert run_script(tmp_path, *arguments, *fixed) == 0
    assert (tmp_path / "figures" / "heat_num_groups_redundancy.png").exists()
    assert "time (95 % quantile)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.parquet"], ["nowhere.parquet does not exist"]),
        ([__file__], ["is no parquet file"]),
        (["{}", "--where", "xi"], ["'xi' is not of the form KEY=VALUE"]),
        (["{}", "--accuracy", "x"], ["'x' is not a number"]),
        (["{}", "--where", "xi=1", "--where", "xi=0.1"], ["'xi' twice; give one value"]),
    ],
)
def test_bad_options_exit_with_2_and_one_line(table, arguments, words, tmp_path, capsys):
    path = tmp_path / "table.parquet"
    table.to_parquet(path)
    assert run_script(*[str(a).format(path) for a in arguments], "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("plot.py: error: ")
    assert all(word in lines[0] for word in words)


def test_help_names_every_option(capsys):
    assert run_script("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"--{name}" in shown for name in ["x", "y", "where", "accuracy", "time", "out"])
