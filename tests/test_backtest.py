"""What advice says of measured times against what further times bring, by laws and by loops."""

import itertools
from dataclasses import replace
from pathlib import Path

import advise
import jax
import numpy as np
import pandas as pd
import pytest

import lagc_jax
from lagc_jax import Cluster, Exponential, Link, Scheme, Trace, Vary, design, gc, gd
from lagc_jax.cluster import collect
from lagc_jax.experiments.assignment import assign
from lagc_jax.experiments.backtest import backtest
from lagc_jax.experiments.heldout import regret_of
from lagc_jax.experiments.intervals import block_length, means, medians, outlook
from lagc_jax.experiments.rows import as_drawn, reordered
from lagc_jax.experiments.waits import group_waits, is_shared, slowest, through_link

pytestmark = pytest.mark.long

# Rows, blocks and problems are of one size where that does not matter: few programs.
M, T, BLOCK = 6, 80, 4
QUICK = dict(accuracy=1e-2, num_realisations=16)


@pytest.fixture(scope="module")
def small():
    # Without its spikes it is of the shape of any regression.
    return replace(lagc_jax.synthetic_linear_regression(jax.random.key(3), M, 8), spiked=None)


def rows_of(law, T, rng, workers=M):
    """Times (T, workers) of a known law."""
    times = rng.exponential(size=(T, workers)) + 0.5
    if law == "workers":
        return times * rng.lognormal(0, 0.5, workers)
    if law == "bursts":
        bad = np.zeros((T, workers), bool)
        for t in range(1, T):
            bad[t] = rng.random(workers) < np.where(bad[t - 1], 0.9, 0.025)
        return times * np.where(bad, 5, 1)
    if law == "drift":
        return times * np.linspace(1, 1.5, T)[:, None]
    return times


@pytest.mark.parametrize("law", ["iid", "workers", "bursts", "drift"])
def test_intervals_hold_the_mean_of_the_next_stretch(law):
    rng = np.random.default_rng(1)
    held, wide = [], []
    for T in [60, 300] * 40:
        rows = rows_of(law, 2 * T, rng)
        series = np.stack([rows.max(1), rows.reshape(-1, 3, 2).min(2).max(1)])
        seen = outlook(series[:, :T], rows[:T].mean(1))
        truth = series[:, T:].mean(-1)
        held += ((seen.low <= truth) & (truth <= seen.high)).tolist()
        wide += ((seen.high - seen.low) / truth).tolist()
    assert np.mean(held) >= 0.8
    assert np.median(wide) < 1.0  # what always holds says nothing


def test_drift_is_flagged_and_noise_is_not():
    rng = np.random.default_rng(2)
    flags = {
        law: np.mean([outlook(x.max(1)[None], x.mean(1)).drifts for x in many])
        for law, many in (
            (law, [rows_of(law, 300, rng) for _ in range(40)]) for law in ("iid", "drift")
        )
    }
    assert flags["drift"] > 0.9
    assert flags["iid"] < 0.3


def test_blocks_are_as_long_as_the_memory_of_the_rows():
    noise = np.random.default_rng(0).normal(size=4000)
    slow = np.zeros_like(noise)
    for t in range(1, noise.size):
        slow[t] = 0.9 * slow[t - 1] + noise[t]
    # The asymptotic optimum for an autoregression, (3 rho^2 / (1 - rho^2)^2 * 2 T)^(1/3).
    wanted = (2 * (2 * 0.9 / (1 - 0.81)) ** 2 * 1.5 / 2 * noise.size) ** (1 / 3)
    assert 0.5 < block_length(slow) / wanted < 2
    assert block_length(noise) <= 3
    assert block_length(np.ones(50)) == 1


CLUSTERS = [
    None,
    Cluster(startup=np.linspace(0, 1, 12)),
    Cluster(startup=0.3, link=Link(latency=np.linspace(0.1, 0.5, 12), bandwidth=2.0)),
    Cluster(startup=0.3, link=Link(0.1, 2.0, shared=True), timeout=9.0),
    Cluster(link=Link(0.1, 2.0, 0.5, 3.0, shared=True)),
]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_waits_in_numpy_are_those_of_the_simulator(cluster):
    rng = np.random.default_rng(0)
    times = rng.exponential(size=(20, 12))
    lazy = dict(xi=0.1, memory=10)
    schemes = [Scheme(12, 4, 2, **lazy, trigger="server"), gd(12), gc(12, 3)]
    schemes.append(lagc_jax.schemes.heterogeneous_gc(12, np.linspace(1, 3, 12), 1))
    for scheme in [*schemes, Scheme(12, 4, 3, **lazy, trigger="worker")]:
        uploads = rng.random((20, scheme.num_groups)) < 0.5
        startup = 0.0 if cluster is None or cluster.startup is None else cluster.startup
        there = cluster and cluster.sized(scheme, 8)
        work = np.tile(scheme.loads, scheme.num_groups) * times
        known = collect(scheme, there, work + startup, uploads, 0).time
        if is_shared(cluster):
            found = through_link(scheme, cluster, times, uploads)
        else:
            found = np.diagonal(slowest(group_waits(scheme, cluster, times), uploads))
        np.testing.assert_allclose(found, known, rtol=1e-12)


def test_time_of_a_trace_is_the_mean_over_its_rows(small):
    """Against a loop over the iterations of every candidate's path and all rows."""
    rows = rows_of("workers", T, np.random.default_rng(3))
    given = dict(problem=small, xi=[0.3], step_sizes=[1.0], storage=2, **QUICK)
    advice = design(M, Trace(rows, "blocks", BLOCK), **given)
    table = advice.table[(advice.table["assignment"] == "as given") & ~advice.table["simulated"]]
    for row in table.to_dict("records"):
        G, r = row["num_groups"], row["redundancy"]
        xi = 0.0 if np.isnan(row["xi"]) else row["xi"]
        trigger = "server" if row["trigger"] == "always" else row["trigger"]
        scheme = Scheme(M, G, r, xi, 10, trigger)
        path = lagc_jax.descend(small, scheme, num_iterations=int(row["iterations"]))
        waits, total = np.sort(r * rows.reshape(T, G, -1))[:, :, M // G - r], 0.0
        for chosen in np.asarray(path.selected):
            total += waits[:, scheme.working(chosen)].max(1, initial=0.0).sum()
        np.testing.assert_allclose(row["time"], total / len(rows), rtol=1e-12)
    assert (table["time_low"] < table["time"]).all()
    assert (table["run_low"] <= table["run_high"]).all()
    assert f"blocks of {BLOCK} of the {T} rows" in advice.reason


def test_a_replay_starts_at_a_random_row(small):
    rows = rows_of("bursts", T, np.random.default_rng(3))
    given = dict(problem=small, xi=[0.3], step_sizes=[1.0], storage=1, **QUICK)
    replayed = design(M, Trace(rows, "replay"), **given)
    blocks = design(M, Trace(rows, "blocks", BLOCK), **given)
    first = replayed.table.iloc[0]
    times = [one.table["time"][~one.table["simulated"]] for one in (replayed, blocks)]
    np.testing.assert_allclose(*times, rtol=1e-12)
    assert first["run_low"] < first["run_high"]


def test_how_a_trace_is_drawn_is_chosen_and_said():
    rows = rows_of("iid", 60, np.random.default_rng(0))
    drawn = as_drawn(Trace(rows), M, None)
    assert (drawn.delays.resample, drawn.whole_rows) == ("blocks", True)
    other = as_drawn(Trace(rows), 2 * M, None)
    assert (other.delays.resample, "6 columns for 12 workers" in other.note) == ("iid", True)
    assert as_drawn(Trace(rows), M, "iid").delays.resample == "iid"
    assert as_drawn(Trace(rows, "worker"), M, None).delays.resample == "worker"
    with pytest.raises(ValueError, match="resample='blocks' draws from a trace"):
        as_drawn(Exponential(1.0), M, "blocks")


def test_one_missing_entry_changes_little_and_is_waited_for(small):
    rows = rows_of("iid", T, np.random.default_rng(4))
    whole = design(M, Trace(rows), problem=small, xi=[0.3], step_sizes=[1.0], **QUICK)
    lacking = rows.copy()
    lacking[17, 2] = np.inf
    advice = design(M, Trace(lacking), problem=small, xi=[0.3], step_sizes=[1.0], **QUICK)
    assert np.isfinite(advice.table["time"]).all()
    # A timeout that cuts slow groups may save some, but nothing waits for ever.
    assert abs(advice.table["time"].iloc[0] / whole.table["time"].iloc[0] - 1) < 0.1
    assert f"1 of the {T * M} entries are missing" in advice.reason
    batch = lagc_jax.simulate_batch(
        small,
        advice.scheme,
        reordered(Trace(lacking, "blocks", 1), advice.assignment),
        jax.random.key(0),
        num_iterations=256,
        num_realisations=32,
        accuracies=[QUICK["accuracy"]],
        step_size=advice.step_size,
        cluster=advice.cluster,
    )
    error = 4 * float(batch.costs.time.standard_error[0])
    assert abs(float(batch.mean[0]) - advice.table["time"].iloc[0]) < error


def test_cheapest_weight_and_step_are_near_those_of_a_dense_grid(small):
    rows = Trace(rows_of("iid", T, np.random.default_rng(5)), "blocks", BLOCK)
    given = dict(problem=small, storage=1, price_message=0.2, **QUICK)
    found = design(M, rows, **given).table
    steps, xi = np.linspace(0.5, 1.95, 10).tolist(), np.geomspace(1e-3, 30, 14).tolist()
    dense = design(M, rows, xi=xi, step_sizes=steps, **given).table
    assert found["cost"].iloc[0] < 1.02 * dense["cost"].iloc[0]


def test_workers_in_groups_are_searched_and_the_order_is_the_one_to_use(small):
    """Two fast workers in one group: each group should have one."""
    rows = rows_of("iid", 80, np.random.default_rng(6)) * [1, 1, 9, 9, 9, 9]
    scheme = lagc_jax.grouping(M, 2)
    everyone = np.ones((5, 2), bool)
    placed = assign(scheme, None, everyone, rows, np.random.default_rng(0))

    def takes(order):
        return (3 * rows[:, order]).reshape(-1, 2, 3).min(2).max(1).mean()

    assert placed.name != "as given"
    best = min(takes(list(p)) for p in itertools.permutations(range(M)))
    assert takes(placed.order) < min(1.05 * best, 0.9 * takes(range(M)))
    alike = rows_of("iid", 80, np.random.default_rng(6))
    assert assign(scheme, None, everyone, alike, np.random.default_rng(0)).name == "as given"
    moved = reordered(Cluster(startup=np.arange(6.0), timeout=2.0), placed.order)
    assert moved.startup.tolist() == placed.order.tolist()


def test_prices_of_uploads_and_bits_and_own_schemes(small):
    own = {"mine": lagc_jax.lag(M, 0.5), "two": [gc(M, 2), gc(M, 3)]}
    given = dict(problem=small, xi=[0.3], step_sizes=[1.0], storage=1, schemes=own, **QUICK)
    prices = dict(price_time=0.0, price_upload=1.0, price_bit=0.01)
    table = design(M, Exponential(1.0), **given, **prices).table
    assert {"mine", "two", "LAQ"} <= set(table["scheme"])
    np.testing.assert_allclose(table["cost"], table["uploads"] + 0.01 * table["bits"])
    waited = table["num_groups"].map(lambda G: M // G) - table["redundancy"] + 1
    served = table["trigger"].isin(["always", "server"])
    down = table["computation"] / table["redundancy"]
    np.testing.assert_allclose(
        table["uploads"][served], (down / (M // table["num_groups"]) * waited)[served]
    )


def test_schemes_of_ones_own_may_be_of_every_kind(small):
    """Costs of those with paths of their own are those of batches under the same key."""
    kinds = lagc_jax.schemes
    apart = {
        "k": kinds.fastest_k(M, 4),
        "asynchronous": kinds.asynchronous(M, load=M),
        "decodable": kinds.first_decodable(M, 2),
    }
    alike = {"codes": kinds.heterogeneous_gc(M, np.linspace(1, 3, M), 1), "short": gc(M, 2)}
    varied = Vary(kinds.k_async, num_workers=M, num_waited=2, load=M, step_size=[0.1, 0.2])
    rows = Trace(rows_of("iid", T, np.random.default_rng(8)), "blocks", BLOCK)
    key = jax.random.key(4)
    own = dict(schemes=apart | alike | {"varied": varied}, storage=1, key=key)
    found = design(M, rows, problem=small, xi=[0.3], step_sizes=[0.1], **own, **QUICK).table
    assert {*apart, *alike, "varied"} <= set(found["scheme"])
    assert found.set_index("scheme").loc["varied", "step_size"] in (0.1, 0.2)
    for name, scheme in apart.items():
        row = found[(found["scheme"] == name) & found["simulated"]].iloc[0]
        batch = lagc_jax.simulate_batch(
            small,
            scheme,
            rows,
            key,
            num_iterations=256,
            num_realisations=QUICK["num_realisations"],
            accuracies=[QUICK["accuracy"]],
            step_size=0.1 / float(small.total_smoothness),
        )
        if batch.reached[0] < 1:
            assert np.isinf(row["cost"])
            continue
        np.testing.assert_allclose(row["time"], batch.mean[0], rtol=1e-9)
        np.testing.assert_allclose(row["computation"], batch.costs.computation.mean[0])


def test_a_scheme_that_does_not_wait_wins_where_one_worker_is_very_slow():
    """A worker a hundred times slower holds up all who wait for it, unless copies spare it."""
    data = np.random.default_rng(0).normal(size=(M, 8, 8))
    easy = lagc_jax.linear_regression(data, data @ np.ones(8))  # partial gradients vanish with it
    rows = Trace(np.ones((T, M)) * [1, 1, 1, 1, 1, 100], "blocks", BLOCK)
    given = dict(xi=[0.01], step_sizes=[1.0], storage=1) | QUICK | dict(accuracy=1e-3)
    advice = design(M, rows, problem=easy, **given)
    first = advice.table.iloc[0]
    assert first["scheme"] == "fastest-k"
    assert first["time"] == first["iterations"]
    assert f"num_waited={advice.scheme.num_waited}" in advice.reason
    # On noisy data its steps would have to be too small: it is not run at all.
    noisy = lagc_jax.linear_regression(data, np.random.default_rng(1).normal(size=(M, 8)))
    given |= dict(problem=noisy, accuracy=1e-8)
    assert "fastest-k" not in set(design(M, rows, **given).table["scheme"])


def test_stochastic_rules_are_candidates_on_minibatches(small):
    noisy = lagc_jax.problems.minibatch(small, 4, jax.random.key(0))
    given = dict(accuracy=3.0, xi=[0.1], step_sizes=[0.5], storage=2, num_realisations=8)
    table = design(M, Exponential(1.0), problem=noisy, **given).table
    assert {"LASG-PS", "LASG-WK2", "CADA", "G-CADA"} <= set(table["scheme"])
    rows = table[(table["scheme"] == "G-CADA") & np.isfinite(table["cost"])]
    # A group's two workers both compute the gradients of its two partitions.
    assert (rows["computation"] % 4 == 0).all()


@pytest.mark.parametrize("law", ["iid", "workers", "bursts", "drift"])
def test_a_choice_by_half_a_trace_keeps_on_the_other(law, small):
    """Made-up sets stand for measured ones."""
    regrets, held = [], []
    for seed in range(4):
        rows = rows_of(law, 2 * T, np.random.default_rng(seed))
        given = dict(problem=small, xi=[0.3, 1.0], step_sizes=[1.0], accuracy=1e-2)
        found = backtest(M, Trace(rows), num_realisations=100, **given)
        regrets.append(found.regret)
        held += found.table["held"].tolist()
        again = found.advice.retimed(Trace(rows[T:], "blocks"))
        np.testing.assert_allclose(found.table["held_out"], again)
    assert max(regrets) < 0.1
    assert np.mean(held) >= 0.8


def test_script_looks_back_and_reads_a_cluster(tmp_path, capsys):
    path, grid = tmp_path / "times.csv", tmp_path / "grid.toml"
    rows = rows_of("workers", 40, np.random.default_rng(7), workers=4)
    pd.DataFrame(rows, columns=list("abcd")).to_csv(path, index=False)
    grid.write_text("[[cluster]]\nstartup = 0.25\nlatency = 0.125\n")
    options = ["--trace", str(path), "--accuracy", "10", "--realisations", "8", "--storage", "1"]
    options += ["--iterations", "256"]
    out = ["--out", str(tmp_path / "out")]
    assert advise.main([*options, "--grid", str(grid), "--backtest", *out]) == 0
    text = capsys.readouterr().out
    assert "The first half promised" in text
    table = pd.read_csv(tmp_path / "out" / "backtest.csv")
    assert table["held_out"].notna().all()
    assert (tmp_path / "out" / "backtest.png").stat().st_size > 0
    args = advise.make_parser().parse_args([*options, "--startup", "0.25", "--latency", "0.125"])
    from_options = advise.find_cluster(args, {})
    args = advise.make_parser().parse_args([*options, "--grid", str(grid)])
    from_file = advise.find_cluster(args, advise.read_things(grid))
    assert from_options == from_file == Cluster(startup=0.25, link=Link(latency=0.125))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(cluster=3.0), "cluster=3.0 is no Cluster"),
        (dict(cluster=Cluster(independent=True)), "independent=True draws"),
        (dict(cluster=Cluster(startup=[1.0, 2.0])), "cluster.startup has shape"),
        (dict(schemes={"mine": 3}), "schemes\\['mine'\\]=3 is no scheme"),
        (dict(schemes={"GD": gc(M, 2)}), "schemes\\['GD'\\] has the name of a candidate"),
        (dict(schemes="GD"), "schemes='GD' is no dict"),
        (dict(price_bit=-1.0), "price_bit=-1.0"),
        (dict(accuracy=1e-300), "is not reached by gradient descent"),
    ],
)
def test_bad_input_is_named(options, message, small):
    with pytest.raises(ValueError, match=message):
        design(M, Exponential(1.0), **(dict(problem=small) | QUICK | options))


def test_a_backtest_needs_rows_to_halve():
    with pytest.raises(ValueError, match="splits the rows of a trace"):
        backtest(M, Exponential(1.0))
    with pytest.raises(ValueError, match="has 6 rows; give at least 8"):
        backtest(M, Trace(np.ones((6, M))))


SHARED = Path(__file__).parents[1] / "shared" / "traces"


@pytest.mark.skipif(not SHARED.exists(), reason="the measured sets are not in the repository")
def test_choices_hold_on_measured_sets():
    times = pd.read_csv(SHARED / "pai_job1_wide.csv").to_numpy(float)
    found = backtest(10, Trace(times), accuracy=1e-2, xi=[0.3, 1.0], step_sizes=[1.0])
    assert found.regret < 0.05


def test_regret_is_none_where_all_costs_are_zero():
    assert [regret_of(0.0, 0.0), regret_of(2.0, 2.0), regret_of(3.0, 2.0)] == [0, 0, 0.5]
    assert np.isinf(regret_of(1.0, 0.0))


@pytest.mark.parametrize("number", [4, 8, 100])
def test_intervals_of_realisations_hold_what_they_should_in_nine_of_ten_cases(number):
    samples = 9 + np.random.default_rng(0).normal(size=(20_000, number))
    _, low, high = means(samples, np.full(len(samples), np.inf))
    assert ((low <= 9) & (high >= 9)).mean() == pytest.approx(0.9, abs=0.01)  # 5 standard errors
    middle, low, high = medians(samples)
    np.testing.assert_array_equal(middle, np.median(samples, axis=1))
    held = ((low <= 9) & (high >= 9)).mean()
    assert 0.87 < held < (0.95 if number == 100 else 1.01)  # ranks are whole
