"""The file of a sweep: lists multiply, what cannot be is dropped, what is wrong is named."""

import itertools
import json
import sys
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest

import lagc_jax
from lagc_jax.experiments import (
    Accuracy,
    Experiment,
    Gap,
    Iterate,
    Points,
    Vary,
    parse_grid,
    read_grid,
    run,
)
from lagc_jax.experiments.manifest import describe_difference

EXAMPLES = sorted((Path(__file__).parents[1] / "sweeps").glob("*.toml"))


SINGLE = {"precision": "float32"}


def tables(**changes):
    """A small sweep as TOML gives it."""
    whole = {
        "iterations": 20,
        "realisations": 32,
        "accuracies": [1.0, 1e-1],
        "problem": [{"kind": "synthetic", "num_features": 5}],
        "scheme": [
            {"name": "LAGC", "num_workers": 4, "num_groups": [1, 2], "redundancy": [1, 2]},
        ],
        "delays": [{"family": "exponential", "rate": [1.0, 2.0]}],
    }
    return whole | changes


def make(**changes):
    """The points of the small sweep."""
    return Points(parse_grid(tables(**changes)).experiment)


def test_lists_multiply():
    scheme = {"name": "LAGC", "num_workers": [4, 8], "num_groups": 2, "redundancy": [1, 2]}
    scheme |= {"xi": [0.1, 0.2, 0.3], "memory": [5, 10], "step_size": [0.5, 1.0]}
    points = list(make(problem=[{"num_features": 8}], scheme=[scheme]))
    found = [
        (p.scheme.num_workers, p.scheme.redundancy, p.scheme.xi, p.scheme.memory, p.step_size,
         p.delays.parameters["rate"])
        for p in points
    ]  # fmt: skip
    lists = ((4, 8), (1, 2), (0.1, 0.2, 0.3), (5, 10), (0.5, 1.0), (1.0, 2.0))
    assert sorted(found) == sorted(itertools.product(*lists))
    assert [p.number for p in points] == list(range(len(points)))


def test_every_target_unit_and_start_can_be_written():
    path, written = "numpy:sum", {k: v for k, v in tables().items() if k != "accuracies"}
    written |= {"levels": [0.5], "iterates": [0, 3], "record": path, "step_unit": "absolute"}
    grid = parse_grid(written | {"starts": {"synthetic": [1.0] * 5}})
    experiment = grid.experiment
    parts = (Accuracy((0.5,), np.sum), Iterate((0, 3), np.sum))
    for part, expected in zip(experiment.target.parts, parts, strict=True):
        assert type(part) is type(expected)
        assert np.array_equal(part.levels, expected.levels)
        assert part.record is expected.record
    assert experiment.step_unit == "absolute"
    assert experiment.starts == {"synthetic": (1.0,) * 5}
    assert json.loads(json.dumps(grid.source))["record"] == path
    assert isinstance(parse_grid(tables()).experiment.target, Gap)
    with pytest.raises(ValueError, match="record=None is no function; give"):
        parse_grid(written | {"record": None})


def test_impossible_combinations_are_dropped_and_counted_by_reason():
    scheme = {"name": "LAGC", "num_workers": [4, 6], "num_groups": [2, 4], "redundancy": [1, 2, 3]}
    scheme["trigger"] = ["server", "worker"]
    points = make(scheme=[scheme])
    # Two rates each. M = 6 has more workers than features; of M = 4, r = 3 fits no group, and r = 2
    # only G = 2; with the worker trigger r is n.
    assert sum(points.dropped.values()) + len(points) == 2 * 2 * 2 * 3 * 2
    assert points.dropped["num_features is less than num_workers"] == 2 * 3 * 2 * 2
    assert points.dropped["redundancy exceeds the partitions of a group"] == 2 * 2 * (1 + 2)
    (worker,) = [count for why, count in points.dropped.items() if why.startswith("trigger")]
    assert worker == 2
    assert {p.scheme.num_groups for p in points} == {2, 4}
    divides = make(scheme=[scheme | {"num_groups": [2, 3]}])
    assert divides.dropped["num_groups does not divide num_workers"] == 2 * 3 * 2


def test_every_scheme_and_family_has_its_name():
    schemes = [
        {"name": "GD", "num_workers": 4},
        {"name": "GC", "num_workers": 4, "redundancy": 2},
        {"name": "grouping", "num_workers": 4, "num_groups": 2},
        {"name": "LAG", "num_workers": 4},
        {"name": "LAGC", "num_workers": 4, "num_groups": 2, "redundancy": 1},
        {"name": "G-LAG", "num_workers": 4, "num_groups": 2},
    ]
    points = list(make(scheme=schemes))
    expected = [
        lagc_jax.gd(4), lagc_jax.gc(4, 2), lagc_jax.grouping(4, 2), lagc_jax.lag(4),
        lagc_jax.lagc(4, 2, 1), lagc_jax.g_lag(4, 2),
    ]  # fmt: skip
    assert [p.name for p in points[::2]] == [scheme["name"] for scheme in schemes]
    assert [p.scheme for p in points[::2]] == expected


@pytest.mark.parametrize(
    "delays",
    [
        {"family": "shifted_exponential", "shift": 1.0, "rate": 2.0},
        {"family": "weibull", "scale": 1.0, "shape": 0.7},
        {"family": "lognormal", "location": -1.0, "scale": 0.5},
        {"family": "gamma", "scale": 1.0, "shape": 2.0},
        {"family": "hyperexponential", "rate": 1.0, "slow_rate": 0.1, "slow_share": 0.2},
        {"family": "discrete", "values": 3.0},
    ],
    ids=lambda delays: delays["family"],
)
def test_every_family_of_delays_has_its_name(delays):
    entry = next(iter(make(delays=[delays]))).delays
    assert isinstance(entry.value, lagc_jax.delays.FAMILIES[delays["family"]])
    assert vars(entry.value).items() >= {k: v for k, v in delays.items() if k != "family"}.items()


def test_a_grid_is_made_again_from_its_source():
    grid = parse_grid(tables())
    again = parse_grid(grid.source)
    assert again.source == grid.source
    assert grid.precision == "float64"
    one, other = (Points(each.experiment).keys() for each in (grid, again))
    assert (one == other).all()


def test_differences_are_named():
    old = parse_grid(tables()).source
    new = parse_grid(tables(iterations=30, delays=[{"family": "exponential", "rate": 3.0}])).source
    assert describe_difference(old, old) == []
    lines = describe_difference(old, new)
    assert lines == ["iterations: 20 -> 30", "delays[1].rate: [1.0, 2.0] -> 3.0"]


def test_keys_of_points_are_those_of_their_contents():
    points = make()
    more = {"family": "exponential", "rate": [0.5, 2.0, 1.0]}
    scheme = {"name": "LAGC", "num_workers": [4, 2], "num_groups": [2, 1], "redundancy": [2, 1]}
    larger = make(delays=[more], scheme=[scheme], points_per_block=1)
    place = {key: number for number, key in enumerate(larger.keys().tolist())}
    assert len(place) == len(larger)
    for key, point in zip(points.keys().tolist(), points, strict=True):
        same = larger[place[key]]
        assert vars(same.scheme) == vars(point.scheme)
        assert same.delays.parameters == point.delays.parameters


def test_points_are_not_held():
    xi = [i / 1000 for i in range(1000)]
    scheme = {
        "name": "LAG",
        "num_workers": 4,
        "xi": xi,
        "step_size": [i / 99 for i in range(1, 100)],
    }
    rates = [float(i) for i in range(1, 101)]
    experiment = parse_grid(
        tables(scheme=[scheme], delays=[{"family": "exponential", "rate": rates}])
    ).experiment
    tracemalloc.start()
    points = Points(experiment)
    last = points[len(points) - 1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(points) == 1000 * 99 * 100
    assert (last.scheme.xi, last.step_size, last.delays.parameters["rate"]) == (0.999, 1.0, 100.0)
    assert peak < 1_000_000


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_sound(path):
    points = Points(read_grid(path).experiment)
    assert len(points) >= 100
    largest = max(points, key=lambda point: point.scheme.num_workers)
    assert largest.scheme.num_workers == (1000 if path.stem == "tail_workers" else 12)
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iteration": 3}, ["'iteration'", "did you mean 'iterations'"]),
        (
            {"scheme": [{"name": "LAG", "num_worker": 4}]},
            ["'num_worker'", "did you mean 'num_workers'", "[[scheme]] 1"],
        ),
        ({"scheme": [{"name": "GD", "num_workers": 4, "xi": 1.0}]}, ["'xi'", "[[scheme]] 1"]),
        ({"scheme": [{"name": "LAGG", "num_workers": 4}]}, ["'LAGG'", "did you mean 'LAG"]),
        ({"scheme": [{"num_workers": 4}]}, ["name is missing", "[[scheme]] 1"]),
        ({"scheme": [{"name": "GC", "num_workers": 4}]}, ["redundancy is missing"]),
        ({"scheme": [{"name": "GD", "num_workers": [4, 4]}]}, ["num_workers holds 4 twice"]),
        ({"scheme": [{"name": "GD", "num_workers": []}]}, ["num_workers=[]"]),
        ({"scheme": [{"name": "GD", "num_workers": 2.5}]}, ["num_workers=2.5", "whole number"]),
        ({"scheme": [{"name": "GD", "num_workers": 0}]}, ["num_workers=0"]),
        ({"scheme": [{"name": "GD", "num_workers": 9}]}, ["num_features=5 is less"]),
        ({"scheme": [{"name": "LAG", "num_workers": 4, "xi": -1.0}]}, ["xi=-1.0"]),
        ({"scheme": [{"name": "LAG", "num_workers": 4, "xi": [[1.0]]}]}, ["xi has shape (1,)"]),
        ({"scheme": [{"name": "LAG", "num_workers": 4, "memory": 0}]}, ["memory=0"]),
        (
            {"scheme": [{"name": "LAG", "num_workers": 4, "trigger": "serve"}]},
            ["'serve'", "did you mean 'server'"],
        ),
        ({"scheme": [{"name": "LAG", "num_workers": 4, "step_size": 0.0}]}, ["step_size=0.0"]),
        ({"scheme": {"name": "GD"}}, ["[[scheme]]"]),
        ({"scheme": []}, ["[[scheme]] is missing"]),
        ({"problem": [{"kind": "synthetik"}]}, ["'synthetik'", "did you mean 'synthetic'"]),
        ({"problem": [{"num_features": True}]}, ["num_features=True"]),
        ({"problem": [{"noise": -0.1}]}, ["noise=-0.1"]),
        ({"problem": [{"growth": 0}]}, ["growth=0"]),
        ({"problem": [{"seed": -1}]}, ["seed=-1"]),
        ({"problem": [{}, {}]}, ["problems has two of name 'synthetic'"]),
        ({"problem": [{"kind": "csv"}]}, ["file is missing"]),
        ({"delays": [{"family": "paretto"}]}, ["'paretto'", "did you mean 'pareto'"]),
        ({"delays": [{"rate": 1.0}]}, ["family is missing"]),
        ({"delays": [{"family": "pareto", "scale": 1.0}]}, ["shape is missing"]),
        ({"delays": [{"family": "exponential", "rate": 0.0}]}, ["rate=0.0"]),
        ({"delays": [{"family": "exponential", "rate": "1"}]}, ["rate='1'", "not a real number"]),
        ({"delays": [{"family": "exponential", "rates": 1.0}]}, ["'rates'", "did you mean 'rate'"]),
        ({"delays": [{"family": "exponential", "rate": True}]}, ["rate=True", "not a real number"]),
        ({"accuracies": [0.0]}, ["accuracies=0.0"]),
        ({"accuracies": []}, ["accuracies=[]"]),
        ({"quantiles": [1.5]}, ["quantiles=1.5", "[0, 1]"]),
        ({"precision": "float16"}, ["'float16'", "float32"]),
        ({"sampler": "direkt"}, ["'direkt'", "'direct'"]),
        ({"realisations": -1}, ["realisations=-1"]),
        ({"seed": 2**63}, ["seed=9223372036854775808"]),
        ({"points_per_block": 0}, ["points_per_block=0"]),
        ({"realisations": 10**12}, ["realisations=1000000000000", "less than 2^31"]),
        ({"problem": [{"kind": ["synthetic"]}]}, ["kind=['synthetic']", "not one text"]),
        ({"precision": ["float32"]}, ["precision=['float32']", "not one text"]),
        (
            {"scheme": 2 * [{"name": "LAG", "num_workers": 4}]},
            ["schemes holds 'LAG' twice with num_workers=4", "xi=1.0"],
        ),
        (
            {
                "scheme": [
                    {"name": "GC", "num_workers": 4, "redundancy": [1, 2]},
                    {"name": "GC", "num_workers": [2, 4], "redundancy": [4, 2], "step_size": 1},
                ]
            },
            ["schemes holds 'GC' twice", "redundancy=2"],
        ),
        (
            {"delays": [{"family": "exponential", "rate": rate} for rate in (1, [2.0, 1.0])]},
            ["delays has two of name 'exponential'", "'rate': 1.0"],
        ),
        (
            {"delays": [{"family": "exponential", "rate": 1.0, "bursty": 3}]},
            ["bursty=3", "is no table"],
        ),
        (
            {"delays": [{"family": "exponential", "rate": 1.0, "roster": 3}]},
            ["roster=3", "is no table"],
        ),
        (
            {"delays": [{"family": "exponential", "file": "times.csv"}]},
            ["a file and a family", "give one of them"],
        ),
        (SINGLE | {"accuracies": [1e-3, 1.00000000001e-3]}, ["accuracy", "equals 0.001"]),
        (SINGLE | {"accuracies": [1e-50]}, ["accuracy=1e-50", "is 0.0 in float32"]),
        (SINGLE | {"quantiles": [0.5, 0.500000001]}, ["quantiles=0.500000001", "equals 0.5"]),
        (
            SINGLE | {"delays": [{"family": "exponential", "rate": [1.0, 1.00000000001]}]},
            ["exponential rate=1.00000000001", "equals 1.0 in float32"],
        ),
    ],
)  # fmt: skip
def test_bad_values_are_named(changes, words):
    single = changes.get("precision") == "float32"
    with jax.enable_x64(not single), pytest.raises(ValueError) as error:  # noqa: PT011
        make(**changes)
    for word in words:
        assert word in str(error.value)


LOSSY = {"name": "fastest-k", "num_workers": 3, "num_waited": 2}


def test_direct_sampling_asked_for_is_refused_where_simulate_batch_refuses_it():
    """Without a setting every scheme is drawn as suits it, and so it is when read again."""
    with pytest.raises(ValueError, match=r"sampler='direct' .* decoding=Rescaled needs; give"):
        make(sampler="direct", scheme=[LOSSY])
    assert len(make(scheme=[LOSSY])) == 2


def test_iterations_must_be_given():
    given = tables()
    del given["iterations"]
    with pytest.raises(ValueError, match="iterations is missing"):
        parse_grid(given)


def test_files_are_checked(tmp_path):
    path = tmp_path / "sweep.toml"
    with pytest.raises(ValueError, match="cannot be read"):
        read_grid(path)
    path.write_text("iterations = \n")
    with pytest.raises(ValueError, match="not TOML"):
        read_grid(path)
    for nested in (1000 * "[" + 1000 * "]", 1000 * "{a=" + "1" + 1000 * "}"):
        path.write_text(f"iterations = {nested}\n")
        with pytest.raises(ValueError, match="nested too deeply"):
            read_grid(path)
    path.write_text(
        'iterations = 5\n[[problem]]\nkind = "csv"\nfile = "data.csv"\n'
        '[[scheme]]\nname = "GD"\nnum_workers = [2, 9]\n'
        '[[delays]]\nfamily = "exponential"\nrate = 1.0\n'
    )
    with pytest.raises(ValueError, match=r"data\.csv does not exist"):
        read_grid(path)
    data = tmp_path / "data.csv"
    data.write_text("a,b\n1,2\n2,1\n3,5\n4,4\n")
    points = Points(read_grid(path).experiment)
    assert points.dropped == {"the file has fewer rows than num_workers": 1}
    (point,) = points
    assert point.problem.value(2).num_partitions == 2
    data.write_text("a,b\n1,2\n2,1\n3,5\n4,3\n")
    with pytest.raises(ValueError, match="has changed"):
        point.problem.value(2)


def test_table_of_a_grid_may_be_classified(tmp_path):
    path, data = tmp_path / "grid.toml", tmp_path / "data.csv"
    data.write_text("a,b\n1,yes\n2,no\n3,yes\n4,no\n5,yes\n6,maybe\n")
    text = (
        'iterations = 5\n[[problem]]\nkind = "csv"\nfile = "data.csv"\nloss = "multinomial"\n'
        'l2 = [0.1, 0.2]\n[[scheme]]\nname = "GD"\nnum_workers = 2\n'
        '[[delays]]\nfamily = "exponential"\nrate = 1.0\n'
    )
    path.write_text(text)
    points = list(Points(read_grid(path).experiment))
    assert [point.problem.parameters["problem_l2"] for point in points] == [0.1, 0.2]
    table = lagc_jax.problems.load_data(data, 2, loss="multinomial")
    known = lagc_jax.problems.multinomial_regression(
        table.X, table.y, l2=0.2, weights=table.weights
    )
    assert points[1].problem.value(2).optimum == known.optimum
    for wrong, message in (
        (text.replace("multinomial", "logistic"), "3 labels"),
        (text.replace("multinomial", "hinge"), "loss='hinge' is unknown"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            read_grid(path)


def test_import_paths_name_modules_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    text = "import lagc_jax\nfrom lagc_jax.schemes import rules\n\nMine = rules.Always\n"
    (tmp_path / "rules_beside_the_grid.py").write_text(text)
    (tmp_path / "grid.toml").write_text(
        'iterations = 20\nrealisations = 2\naccuracies = [1.0]\n[[problem]]\nkind = "synthetic"\n'
        '[[scheme]]\nname = "LAG"\nnum_workers = 4\ntrigger = "rules_beside_the_grid:Mine"\n'
        '[[delays]]\nfamily = "exponential"\nrate = 1.0\n'
    )
    before = list(sys.path)
    grid = read_grid(Path(tmp_path.name) / "grid.toml")
    assert sys.path == before
    (point,) = Points(grid.experiment)
    assert type(point.scheme.trigger).__name__ == "Always"


def test_every_grid_has_the_module_beside_it(tmp_path):
    rates = {}
    for name in ("one", "two", "one"):  # the third time, what came between does not matter
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rate = 1.0 if name == "one" else 1000.0
        (folder / "times_beside.py").write_text(
            f"import lagc_jax\n\ndef times():\n    return lagc_jax.Exponential({rate})\n"
        )
        (folder / "grid.toml").write_text(
            "iterations = 20\nrealisations = 2\naccuracies = [1.0]\n[[problem]]\n"
            'kind = "synthetic"\n[[scheme]]\nname = "GD"\nnum_workers = 4\n'
            '[[delays]]\nfamily = "times_beside:times"\n'
        )
        (point,) = Points(read_grid(folder / "grid.toml").experiment)
        rates[name] = float(point.delays.value.rate)
    assert rates == {"one": 1.0, "two": 1000.0}


def test_an_argument_takes_no_column_from_another(problem):
    laws = [lagc_jax.Exponential(1.0), lagc_jax.Pareto(1.0, 2.0)]
    drift = Vary(lagc_jax.delays.Drift, delays=laws, growth=1.01)
    own = Vary(lambda scheme: lagc_jax.gd(int(scheme)), scheme=["6"])
    table = run(
        Experiment(
            problems={"p": problem},
            schemes={"own": own},
            delays={"drift": drift},
            target=Gap([1e-1]),
            num_iterations=40,
            num_realisations=2,
        ),
        progress=False,
    )
    assert table["delays"].tolist() == ["drift", "drift"]
    assert table["delays_delays"].tolist() == list(map(repr, laws))
    assert table["scheme"].tolist() == ["own", "own"]
    assert table["scheme_scheme"].tolist() == ["6", "6"]


@pytest.mark.parametrize("step", [np.full(40, 0.5), lambda k: 0.5], ids=["array", "function"])
def test_steps_that_change_are_refused_with_the_way_out(problem, step):
    lazy = Vary(lagc_jax.lag, num_workers=6, step_size=[step])
    asked = Experiment(
        problems={"p": problem},
        schemes={"LAG": lazy},
        delays={"low tail": lagc_jax.Exponential(1.0)},
        num_iterations=40,
    )
    with pytest.raises(ValueError, match=r"step_size of 'LAG' holds .*; give numbers, and .*sgd"):
        run(asked, progress=False)
