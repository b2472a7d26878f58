"""Links whose messages differ in length from one iteration to the next: MARINA's, and one's own."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_cluster

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.cluster import sample_work
from lagc_jax.experiments import Points, parse_grid
from lagc_jax.experiments.waits import group_waits
from lagc_jax.schemes import compressors as C
from lagc_jax.schemes import marina
from lagc_jax.schemes.rules import Always
from lagc_jax.timeline import job_table

# More iterations than a chunk has; 32 d times the inverse of 32 d is less than one.
M, K, D, KEY = 4, 70, 49, jax.random.key(3)
PROBLEM = lj.synthetic_linear_regression(jax.random.key(0), M, D)
DELAYS, RANDOM = lj.Exponential(1.0), C.RandomK(7, seed=3)
MARINA = marina(M, RANDOM, probability=0.3, seed=5)
WHOLE = np.array([bool(MARINA.trigger.whole(jnp.asarray(k))) for k in range(K)])
SHORT = 7 / D


@dataclasses.dataclass(frozen=True)
class Halves(Always):
    """Numbers of 16 bits in every other iteration."""

    def message_bits(self, num_parameters):
        return lambda k: jnp.where(k % 2, 16, 32) * num_parameters


HALVES = lj.Scheme(M, M, 1, trigger=Halves())
SIZES = {
    "MARINA": (MARINA, np.where(WHOLE, 1.0, SHORT)),
    "halves": (HALVES, np.where(np.arange(K) % 2, 0.5, 1.0)),
}
BANDWIDTHS = np.array([2.0, 3.0, 4.0, 1.0])
LINKS = {
    "own": lj.Link(0.1, BANDWIDTHS, 2.0),
    "shared": lj.Link(0.1, 7.0, 2.0, shared=True),
    "equal": lj.Link(0.1, 3.0, 2.0),
}


def run(scheme, link, timeout=None, key=KEY, **options):
    cluster = lj.Cluster(0.2, link, timeout)
    return lj.simulate(
        PROBLEM, scheme, DELAYS, key, num_iterations=K, cluster=cluster, **options
    )  # fmt: skip


@pytest.mark.parametrize("timeout", [None, 3.0])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", SIZES)
def test_arrivals_are_those_of_the_sizes_sent(name, link, timeout):
    scheme, sizes = SIZES[name]
    found, made = run(scheme, LINKS[link], timeout), LINKS[link]
    work = np.asarray(sample_work(scheme, DELAYS, lj.Cluster(0.2), KEY, K))
    everyone, times = set(range(M)), []
    for k in range(K):
        if made.shared or np.ndim(made.bandwidth) == 0:
            plain = dict(
                latency=0.1, down=2 / made.bandwidth, up=sizes[k] / made.bandwidth,
                shared=made.shared,
            )  # fmt: skip
            args = M, 1, everyone, everyone, plain, timeout or math.inf
            time, decoded, *_ = reference_cluster.iteration(work[k], *args)
        else:
            arrival = 0.2 + (2.0 + sizes[k]) / made.bandwidth + work[k]
            decoded = set(np.flatnonzero(arrival <= (timeout or math.inf)))
            time = min(arrival.max(), timeout or math.inf)
        assert set(np.flatnonzero(found.received[k])) == decoded
        times.append(time)
    np.testing.assert_allclose(np.diff(found.wall_clock), times, rtol=1e-10)
    assert timeout is None or 0 < found.timeouts[-1] < K * M


@pytest.mark.parametrize("link", LINKS)
def test_whole_messages_alone_are_gradient_descent_bit_for_bit(link):
    one = run(marina(M, RANDOM, probability=1.0), LINKS[link])
    plain = run(lj.gd(M), LINKS[link], sampler="workers")
    assert np.array_equal(one.gap, plain.gap)
    assert np.array_equal(one.wall_clock, plain.wall_clock)
    assert np.array_equal(one.bits, plain.bits)


@pytest.mark.parametrize("link", LINKS)
def test_short_messages_alone_are_of_a_fixed_size(link):
    """But for the first, which is whole."""
    rare = marina(M, RANDOM, probability=1e-12)
    fixed = dataclasses.replace(LINKS[link], upload_size=SHORT)
    one, other = (np.diff(run(rare, each).wall_clock) for each in (LINKS[link], fixed))
    assert one[0] > other[0]
    np.testing.assert_allclose(one[1:], other[1:], rtol=1e-10)


def test_every_door_has_the_same_times():
    grid = parse_grid({
        "iterations": K, "realisations": 3, "accuracies": [1e-2],
        "problem": [{"kind": "synthetic", "num_features": 5}],
        "scheme": [{"name": "MARINA", "num_workers": M, "compressor": "natural",
                    "probability": 0.2, "step_size": 0.2}],
        "delays": [{"family": "exponential", "rate": 1.0}],
        "cluster": [{"bandwidth": 2.0, "shared": True, "name": name, **more}
                    for name, more in {"patient": {}, "impatient": {"timeout": 5.0}}.items()],
    })  # fmt: skip
    table, points = lj.run(grid.experiment), Points(grid.experiment)
    problem, key = points[0].problem.value(M), grid.experiment.key
    sizes = dict(num_iterations=K, step_size=0.2 / float(problem.total_smoothness))
    assert table["iterations"].min() > 20
    assert table["timeouts"].tolist()[0] == 0 < table["timeouts"].tolist()[1]
    for point, row in zip(points, table.to_dict("records"), strict=True):
        parts = dict(cluster=point.cluster.value, **sizes)
        batch = lj.simulate_batch(
            problem, point.scheme, DELAYS, key, num_realisations=3, accuracies=(1e-2,),
            keep_samples=True, **parts,
        )  # fmt: skip
        single = [
            lj.complexity(lj.simulate(problem, point.scheme, DELAYS, own, **parts), 1e-2)
            for own in (jax.random.fold_in(key, i) for i in range(3))
        ]
        times = batch.costs.time.samples[0]
        np.testing.assert_allclose(times, [one.wall_clock for one in single], rtol=1e-12)
        np.testing.assert_allclose(row["time_mean"], times.mean(), rtol=1e-12)
        for bits in (row["bits"], batch.costs.bits.mean[0]):
            np.testing.assert_allclose(bits, np.mean([one.bits for one in single]), rtol=1e-12)


def test_a_table_of_jobs_has_them():
    cluster = lj.Cluster(0.2, LINKS["shared"])
    found = run(MARINA, LINKS["shared"], sampler="workers")
    table = job_table(found, MARINA, DELAYS, KEY, cluster)
    ends = table.groupby("iteration")["arrival"].max()
    np.testing.assert_allclose(ends, found.wall_clock[1:], rtol=1e-12)


def test_they_have_no_law_of_an_iteration():
    cluster = lj.Cluster(link=LINKS["equal"])
    clock = clock_of(HALVES, DELAYS, cluster, num_parameters=D)
    assert not clock.direct
    assert not clock.exact
    with pytest.raises(ValueError, match="adds one constant to every answer"):
        clock_of(HALVES, DELAYS, cluster, "direct", D)
    with pytest.raises(ValueError, match="exact moments do not apply"):
        clock.mean(np.ones((1, M), bool))


def test_workers_without_a_common_iteration_are_refused():
    scheme = lj.Scheme(M, 1, M, trigger=Halves(), decoding=lj.schemes.asynchronous(M).decoding)
    with pytest.raises(ValueError, match="varies with the iteration; give upload_size"):
        run(scheme, LINKS["equal"])


@pytest.mark.long
def test_advice_simulates_them():
    key, small = jax.random.key(4), lj.synthetic_linear_regression(KEY, 2, 3)
    scheme, cluster = marina(2, "natural", probability=0.3), lj.Cluster(link=lj.Link(0.1))
    given = dict(accuracy=1e-2, num_realisations=4, num_iterations=K, key=key, cluster=cluster)
    table = lj.design(
        2, DELAYS, problem=small, schemes={"own": scheme}, xi=[0.3], step_sizes=[0.5], storage=1,
        **given,
    ).table  # fmt: skip
    row = table.set_index("scheme").loc["own"]
    batch = lj.simulate_batch(
        small, scheme, DELAYS, key, num_iterations=K, num_realisations=4, accuracies=[1e-2],
        step_size=0.5 / float(small.total_smoothness), cluster=cluster,
    )  # fmt: skip
    np.testing.assert_allclose(row["time"], batch.mean[0], rtol=1e-9)
    with pytest.raises(ValueError, match="no longest answer is known; give timeout"):
        group_waits(scheme, cluster.sized(scheme, 3), np.ones((1, 2)))
