"""Workers that come and go, and what a run costs them in energy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.delays import Bursty, Diurnal, Drift, Failures, OnOff, Roster, Tabulated
from lagc_jax.energy import energy
from lagc_jax.experiments import Points, parse_grid
from lagc_jax.experiments import run as execute

M, C, KEY = 4, 256, jax.random.key(0)
EXPONENTIAL = lj.Exponential(1.0)
PROBLEM = lj.synthetic_linear_regression(jax.random.key(1), num_workers=M, num_features=5)


def run(scheme, delays=EXPONENTIAL, K=20, **options):
    return lj.simulate(PROBLEM, scheme, delays, KEY, num_iterations=K, **options)


def test_the_chain_is_that_of_bursts_and_keeps_the_times():
    shape, leave = (C, 1, M), np.array([0.0, 0.05, 0.1, 1.0])
    plain = EXPONENTIAL.sample_chunk(KEY, 3, shape)
    found = OnOff(EXPONENTIAL, leave, 0.3).sample_chunk(KEY, 3, shape)
    slow = Bursty(EXPONENTIAL, 2.0, leave, 0.3).sample_chunk(KEY, 3, shape) != plain
    assert np.array_equal(found, np.where(slow, np.inf, plain))
    assert np.isfinite(found[:, 0, 0]).all()
    assert np.isinf(found[:, 0, 3]).any()


def test_a_roster_says_who_is_there():
    present = np.random.default_rng(0).random((7, M)) < 0.7
    times = Roster(EXPONENTIAL, present.astype(int)).sample_chunk(KEY, 1, (C, 1, M))
    there = present[(C + np.arange(C)) % 7]
    assert np.array_equal(np.isfinite(times[:, 0]), there)
    plain = EXPONENTIAL.sample_chunk(KEY, 1, (C, 1, M))
    assert np.array_equal(times[:, 0][there], plain[:, 0][there])
    roster = Roster(lj.Trace.from_array(np.ones((5, M)), resample="replay"), present)
    assert (roster.length, Roster(EXPONENTIAL, present).length) == (5, 7)
    with pytest.warns(RuntimeWarning, match="replay starts anew"):
        run(lj.gd(M), Roster(EXPONENTIAL, np.ones((7, M))))


def test_who_is_away_is_given_up():
    present = np.ones((20, M), bool)
    present[3:9, 2] = False
    delays = Roster(EXPONENTIAL, present)
    found = run(lj.gd(M), delays, cluster=lj.Cluster(timeout=100.0))
    assert np.array_equal(found.received, present)
    assert found.timeouts[-1] == 6
    assert np.isinf(run(lj.gd(M), delays).wall_clock[-1])
    assert np.isfinite(run(lj.gc(M, 2), delays).wall_clock).all()
    assert np.isfinite(run(lj.schemes.fastest_k(M, 3), delays).gap).all()


def test_a_grid_has_workers_that_come_and_go():
    delays = {"family": "exponential", "rate": 1.0, "on_off": {"leave": [0.1, 0.2], "come": 0.5}}
    grid = parse_grid(
        {"iterations": 3, "problem": [{}], "delays": [delays],
         "scheme": [{"name": "EF21", "num_workers": 12, "compressor": ["top-k(4)", "sign"]}]}
    )  # fmt: skip
    made = grid.experiment.delays["exponential"][0]
    assert made.make(rate=1.0, leave=0.1, come=0.5) == OnOff(EXPONENTIAL, 0.1, 0.5)
    (schemes,) = grid.experiment.schemes["EF21"]
    assert schemes.values["compressor"] == ("top-k(4)", "sign")


def test_a_grid_has_a_roster_from_a_file_or_in_place(tmp_path):
    present = np.array([[1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    np.savetxt(tmp_path / "who.csv", present, fmt="%d", delimiter=",")
    tables = {
        "iterations": 3,
        "problem": [{"num_features": 5}],
        "scheme": [{"name": "GC", "num_workers": 4, "redundancy": 2}],
    }
    for roster in ({"file": "who.csv"}, {"present": present.tolist()}):
        delays = {"family": "exponential", "rate": [1.0, 2.0], "roster": roster}
        experiment = parse_grid(tables | {"delays": [delays]}, tmp_path).experiment
        points = list(Points(experiment))
        assert len(points) == 2
        assert points[0].delays.value == Roster(EXPONENTIAL, present)
    table = execute(experiment, progress=False)
    assert np.isfinite(table.time_mean).sum() == (table.reached > 0).sum()
    for wrong, message in {"missing.csv": "cannot be read", "who.txt": "cannot be read"}.items():
        (tmp_path / "who.txt").write_text("here, away")
        bad = {"family": "exponential", "rate": 1.0, "roster": {"file": wrong}}
        with pytest.raises(ValueError, match=message):
            parse_grid(tables | {"delays": [bad]}, tmp_path)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda law: OnOff(law, 0.1, 0.3),
        lambda law: Roster(law, [[1, 0]]),
        lambda law: Drift(law, 1.1),
        lambda law: Diurnal(law, 0.5, 10.0),
        lambda law: Bursty(law, 2.0, 0.1, 0.1),
        lambda law: Failures(law, 0.1),
    ],
)
def test_every_wrapper_takes_a_law_of_scipys(wrapped):
    """Laws that are equal are tabulated once: the wrapped one is the very same object."""
    inside = wrapped(st.fisk(2.5)).delays
    assert isinstance(inside, Tabulated)
    assert wrapped(st.fisk(c=2.5)).delays == inside
    assert wrapped(st.fisk(2.5)).delays is inside
    assert wrapped(st.fisk(2.0)).delays != inside


def test_energy_is_the_sum_over_workers():
    gradient, message = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.2, 0.4, 0.8])
    for scheme in (lj.lag(M, 0.5), lj.lag(M, 0.1, trigger="worker"), lj.schemes.fastest_k(M, 3)):
        found = run(scheme)
        flat = energy(scheme, found, 2.0, 0.5)
        np.testing.assert_allclose(flat, 2.0 * found.computation + 0.5 * found.communication)
    others = lj.schemes.asynchronous(M), lj.schemes.rennala(M, 3), lj.schemes.anytime(M, 2.0, 5)
    for scheme in others:  # whose workers do not all do the same
        found = run(scheme)
        flat = energy(scheme, found, 2.0, 0.5)
        np.testing.assert_allclose(flat, 2.0 * found.computation + 0.5 * found.communication)
        with pytest.raises(ValueError, match=r"per_gradient differs between workers, .* one pri"):
            energy(scheme, found, gradient, 0.5)
    for trigger in ("server", "worker"):
        scheme = lj.lag(M, 0.5, trigger=trigger)
        found = run(scheme)
        total = [0.0]
        for selected in np.asarray(found.selected):
            spent = 0.0
            for m in range(M):
                works = selected[m] or trigger == "worker"
                spent += works * (gradient[m] + message[m]) + selected[m] * message[m]
            total.append(total[-1] + spent)
        np.testing.assert_allclose(energy(scheme, found, gradient, message), total, rtol=1e-12)
    scheme, by_group = lj.lagc(M, 2, 2, xi=0.1), np.array([0.1, 0.1, 0.4, 0.4])
    found = run(scheme)
    spent = np.asarray(found.selected) @ [2 * 3.0 + 0.3, 2 * 7.0 + 1.2]
    each = energy(scheme, found, gradient, by_group)
    np.testing.assert_allclose(each[1:], np.cumsum(spent), rtol=1e-12)
    loads = lj.schemes.heterogeneous_gc(M, (1.0, 1.0, 2.0, 2.0), 1)
    spent = energy(loads, run(loads), gradient, 0.0)
    np.testing.assert_allclose(spent[1:], np.arange(1, 21) * (gradient @ loads.loads))


def test_energy_is_a_column_of_a_table():
    """Means over the realisations, infinite where a level is not reached; in grids as well."""
    tables = {
        "iterations": 30,
        "realisations": 4,
        "accuracies": [1.0, 1e-12],
        "problem": [{"num_features": 5}],
        "scheme": [
            {"name": "GD", "num_workers": 4},
            {"name": "fastest-k", "num_workers": 4, "num_waited": 3},
        ],
        "delays": [{"family": "exponential", "rate": 1.0}],
    }
    plain = execute(parse_grid(tables).experiment, progress=False)
    assert "energy" not in plain.columns
    prices = {"per_gradient": 2.0, "per_message": 0.5, "per_bit": 0.001}
    grid = parse_grid(tables | {"energy": prices})
    assert grid.source["energy"] == prices
    table = execute(grid.experiment, progress=False)
    expected = 2 * plain.computation + 0.5 * plain.communication + 0.001 * plain.bits
    np.testing.assert_allclose(table.energy, expected, rtol=1e-12)
    assert np.isfinite(table.energy[table.reached > 0]).all()
    assert np.isinf(table.energy[table.reached == 0]).all()
    for wrong, message in {
        "much": "energy='much' is no table",
        (("per_gram", 1.0),): "unknown key 'per_gram' in energy; did you mean 'per_gra",
        (("per_bit", -1.0),): "per_bit=-1.0 must be",
    }.items():
        given = wrong if isinstance(wrong, str) else dict(wrong)
        with pytest.raises(ValueError, match=message):
            parse_grid(tables | {"energy": given})


def test_bad_input_is_refused():
    roster, prices = jnp.ones((3, M + 1)), np.arange(1.0, M + 1)
    for message, call in {
        r"are both 0 for a worker": lambda: OnOff(EXPONENTIAL, 0.0, 0.0),
        r"leave=2.0 must lie": lambda: OnOff(EXPONENTIAL, 2.0, 0.1),
        r"delays.leave has shape \(3,\)": lambda: run(lj.gd(M), OnOff(EXPONENTIAL, [0.1] * 3, 0.1)),
        r"present has shape \(2,\)": lambda: Roster(EXPONENTIAL, [1, 0]),
        r"give \(iterations, workers\)": lambda: Roster(EXPONENTIAL, [[2]]),
        r"delays.present has 5 columns": lambda: run(lj.gd(M), Roster(EXPONENTIAL, roster)),
        r"not a source of times": lambda: Roster(3, [[1]]),
        r"per_gradient=-1.0 must be": lambda: energy(lj.gd(M), run(lj.gd(M)), -1.0, 0.0),
        r"per_message has shape \(2,\)": lambda: energy(lj.gd(M), run(lj.gd(M)), 1.0, [1.0, 2.0]),
        r"not known who sent": lambda: energy(lj.gc(M, 2), run(lj.gc(M, 2)), 1.0, prices),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()


def test_who_comes_back_to_no_event_driven_server_is_told():
    gone = OnOff(EXPONENTIAL, 0.1, 0.5)
    kept = lj.schemes.k_sync(M, 2), lj.schemes.mindflayer(M, 1, 2.0, 0.5)
    lost = lj.schemes.asynchronous(M), lj.schemes.k_async(M, 2), lj.schemes.rennala(M, 2)
    for scheme in kept:
        clock_of(scheme, gone)
    clock_of(lj.gd(M), gone)
    clock_of(lost[0], Failures(EXPONENTIAL, forever=0.1))  # which says so itself
    for scheme, delays in itertools.product(lost, (gone, Failures(EXPONENTIAL, once=0.1))):
        with pytest.warns(RuntimeWarning, match="never ends keeps its worker for good"):
            clock_of(scheme, delays)
