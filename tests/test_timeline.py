"""The table of jobs: its sums are the trajectory's costs, whatever the scheme and the cluster."""

import jax
import numpy as np
import pandas as pd
import pytest
import timeline as timeline_script

import lagc_jax as lj
from lagc_jax import schemes
from lagc_jax.plots.timeline import timeline
from lagc_jax.timeline import job_table

M, K, KEY = 6, 12, jax.random.key(7)
RATES = lj.Exponential([3.0, 1.0, 1.0, 0.5, 1.0, 0.05])
SHARED = lj.Cluster(startup=0.1, link=lj.Link(0.05, 4.0, shared=True))
CASES = {
    "GD": (lj.gd(M), None),
    "GC": (lj.gc(M, 3), SHARED),
    "LAG-WK": (lj.lag(M, xi=0.1, trigger="worker"), lj.Cluster(link=lj.Link(bandwidth=4.0))),
    "G-LAG, timeout": (lj.g_lag(M, 3, xi=1.0), lj.Cluster(timeout=0.7)),
    "LAG, timeout": (lj.lag(M, xi=1.0), lj.Cluster(timeout=2.0)),
    "first decodable": (schemes.first_decodable(M, 2), None),
    "deadline": (schemes.approximate_gc(M, 2, deadline=1.5), None),
    "ErasureHead": (schemes.erasure_head(M, 2, 4), None),
    "K-sync": (schemes.k_sync(M, 3, load=2), None),
    "K-async": (schemes.k_async(M, 3), lj.Cluster(link=lj.Link(0.1))),
    "ASGD": (schemes.asynchronous(M), None),
    "K-async, own links": (schemes.k_async(M, 3), lj.Cluster(0.1, lj.Link([0.1, 0.6] * 3, 4.0))),
    "Rennala": (schemes.rennala(M, 3), None),
    "Ringmaster": (schemes.ringmaster(M, 2, stops=True), None),
    "MindFlayer": (schemes.mindflayer(M, [3, 2, 2, 1, 2, 0], 1.5), None),
}


@pytest.fixture(scope="module")
def problem():
    return lj.synthetic_linear_regression(jax.random.key(0), M, 6)


@pytest.mark.parametrize("name", CASES)
def test_sums_over_jobs_are_the_costs(problem, name):
    scheme, cluster = CASES[name]
    run = lj.simulate(
        problem, scheme, RATES, KEY, num_iterations=K, cluster=cluster, sampler="workers"
    )
    table = job_table(run, scheme, RATES, KEY, cluster)
    arrived = np.isfinite(table["arrival"])
    assert len(table) == run.downlink[-1]
    assert scheme.load * len(table) == run.computation[-1]
    assert arrived.sum() == run.uplink[-1]
    ends = np.maximum(table["finish"], table["arrival"].where(table["taken"], 0))
    assert ends.max() == pytest.approx(float(run.wall_clock[-1]), rel=1e-12)
    if not scheme.event_driven:  # jobs of one iteration end with it
        last = ends.groupby(table["iteration"]).max()
        np.testing.assert_allclose(
            last, np.asarray(run.wall_clock)[1:][last.index.to_numpy()], rtol=1e-12
        )
        counts = table.groupby("iteration").size().reindex(range(K), fill_value=0)
        np.testing.assert_array_equal(counts.cumsum(), run.downlink[1:])
    if cluster is not None and cluster.link is not None and not cluster.link.shared:
        latency = np.broadcast_to(cluster.link.latency, (M,))[table["worker"]]
        sent = 1 / 4.0 if cluster.link.bandwidth == 4.0 else 1.0  # every message is whole
        travels = (table["arrival"] - table["finish"])[arrived]
        np.testing.assert_allclose(travels, (latency + sent)[arrived], rtol=1e-9)
    assert np.array_equal(table["updated"], np.asarray(run.wall_clock)[1:][table["iteration"]])
    assert not (arrived & (table["cancelled"] | table["given_up"])).any()
    assert (arrived >= table["taken"]).all()
    table = table.sort_values(["worker", "start"])
    same = table["worker"].diff() == 0
    assert (table["start"] >= table["finish"].shift() - 1e-12)[same].all()  # one job at a time
    assert (table[["taken", "cancelled", "given_up"]].sum(axis=1) <= 1).all()


def test_gradients_taken_are_at_the_iterates_that_the_policy_allows(problem):
    rows = {}
    for name in ("Rennala", "Ringmaster", "ASGD"):
        scheme = CASES[name][0]
        run = lj.simulate(problem, scheme, RATES, KEY, num_iterations=K)
        rows[name] = job_table(run, scheme, RATES, KEY)
    delay = {name: table["iteration"] - table["iterate"] for name, table in rows.items()}
    assert (delay["Rennala"][rows["Rennala"]["taken"]] == 0).all()
    assert (delay["Ringmaster"] <= 2).all()
    assert delay["ASGD"].max() > 2
    assert (delay["Ringmaster"][rows["Ringmaster"]["taken"]] < 2).all()
    assert rows["Rennala"]["taken"].sum() == 3 * K


def test_schemes_that_count_parts_of_a_job_are_refused(problem):
    scheme = schemes.anytime(M, 1.0, 1)
    run = lj.simulate(problem, scheme, RATES, KEY, num_iterations=K)
    with pytest.raises(ValueError, match="counts several gradients or messages"):
        job_table(run, scheme, RATES, KEY)


def test_a_run_of_other_times_is_refused(problem):
    scheme = lj.gc(M, 3)
    one = lj.Exponential(1.0)
    run = lj.simulate(problem, scheme, one, KEY, num_iterations=K)
    with pytest.raises(ValueError, match="needs sampler='workers'"):
        job_table(run, scheme, one, KEY)
    many = jax.tree.map(lambda leaf: leaf[None], run)
    with pytest.raises(ValueError, match="give one trajectory"):
        job_table(many, scheme, one, KEY)


@pytest.mark.parametrize("scheme", [lj.gd(2), schemes.k_sync(2, 2)], ids=["GD", "K-sync"])
def test_a_run_that_takes_for_ever_is_refused(scheme):
    problem = lj.linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    times = lj.Trace.from_array([[1.0, 2.0], [1.0, np.inf]], resample="replay")
    run = lj.simulate(problem, scheme, times, KEY, num_iterations=2, sampler="workers")
    with pytest.raises(ValueError, match=r"has no iterate 2 ever, .* fewer iterations"):
        job_table(run, scheme, times, KEY)


def test_the_chart_shows_every_job_and_names_the_fates_that_occur(problem):
    tables = {}
    for name in ("GD", "Rennala"):
        scheme = CASES[name][0]
        run = lj.simulate(problem, scheme, RATES, KEY, num_iterations=K, sampler="workers")
        tables[name] = job_table(run, scheme, RATES, KEY)
    figure = timeline(tables, until=1e9)
    for axis, table in zip(figure.axes, tables.values(), strict=True):
        widths = [bar.get_width() for bar in axis.patches]
        assert sum(widths) == pytest.approx((table["finish"] - table["start"]).sum())
        assert len(axis.lines) == K  # an update each
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["used", "stopped", "sent in vain, or nothing to send"]
    with pytest.raises(ValueError, match="tables is empty"):
        timeline({})
    with pytest.raises(ValueError, match="tables is a list; give a dict"):
        timeline([])
    with pytest.raises(ValueError, match=r"tables.'GD'. is a list, no frame; give one of"):
        timeline({"GD": []})
    with pytest.raises(ValueError, match="until=-1"):
        timeline(tables, until=-1.0)


@pytest.mark.long
def test_the_script_draws_the_figure_of_the_readme(tmp_path, capsys):
    assert timeline_script.main(["--iterations", "3", "--out", str(tmp_path)]) == 0
    jobs = pd.read_csv(tmp_path / "timeline.csv")
    assert jobs["scheme"].nunique() == 6
    assert (tmp_path / "timeline.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("option", "value"), [("--iterations", "100000000000"), ("--out", __file__), ("--out", "")]
)
def test_what_cannot_be_drawn_is_refused_in_a_line(option, value, capsys):
    with pytest.raises(SystemExit):
        timeline_script.main([option, value])
    error = capsys.readouterr().err
    assert error.startswith("timeline.py: error: ")
    assert all(words in error for words in (option, value, "give"))
    assert error.count("\n") == 1
