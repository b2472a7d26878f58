"""The code that users get beside that of these tests, which XLA makes soon: counts are equal.

Fast code may make a number twice, rounded otherwise, and whoever compares the two loses something.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import schemes as S

pytestmark = pytest.mark.long

M, K, KEY = 6, 2000, jax.random.key(3)
FAST = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
LINK = lj.Link(latency=0.15, bandwidth=3.0)
OWN = lj.Link(latency=np.linspace(0.1, 0.3, M), bandwidth=np.linspace(2.0, 4.0, M))
CLUSTERS = {
    "start-up and link": lj.Cluster(startup=0.1, link=LINK),
    "own links": lj.Cluster(startup=np.linspace(0.1, 0.2, M), link=OWN),
    "timeout": lj.Cluster(startup=0.1, link=LINK, timeout=4.0),
    "shared link": lj.Cluster(startup=0.1, link=lj.Link(0.15, 30.0, shared=True)),
}
SCHEMES = {
    "cyclic": S.cyclic_schedule(M, 3, num_waited=4),
    "staircase": S.staircase_schedule(M, 3),
    "fastest-k": S.fastest_k(M, 4),
    "ErasureHead": S.erasure_head(M, 2, 4),
    "multi-message": S.multi_message_gc(M, 2),
    "first decodable": S.first_decodable(M, 2),
    "M-SGC": S.m_sgc(M, burst=1, window=2, num_stragglers=2),
    "dynamic clusters": S.dynamic_clusters(M, 2, 2),
    "anytime": S.anytime(M, 2.0, 3),
    "ASGD": S.asynchronous(M),
    "K-sync": S.k_sync(M, 3),
    "MindFlayer": S.mindflayer(M, 2, 1.5, success=0.7),
    "LAGC": lj.lagc(M, 2, 2, xi=0.1),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_counts_are_those_of_slow_code(problem, name):
    scheme, counts = SCHEMES[name], ("downlink", "uplink", "computation", "timeouts", "received")
    kinds = ["own links"] + ["start-up and link"] * (name in ("cyclic", "staircase", "ASGD"))
    kinds += ["shared link"] * (name == "LAGC") + ["timeout"] * (name in ("cyclic", "fastest-k"))
    clusters = {kind: CLUSTERS[kind] for kind in kinds}

    @jax.jit
    def run(key):
        return {
            kind: lj.simulate(
                problem, scheme, lj.Exponential(1.0), key, num_iterations=K, step_size=1e-6,
                cluster=cluster,
            )
            for kind, cluster in clusters.items()
        }  # fmt: skip

    slow, fast = run(KEY), run.lower(KEY).compile(compiler_options=FAST)(KEY)
    for kind in clusters:
        for count in counts:
            one, other = (getattr(found[kind], count) for found in (slow, fast))
            np.testing.assert_array_equal(jnp.asarray(one), other, f"{count} with {kind}")
        np.testing.assert_allclose(slow[kind].wall_clock, fast[kind].wall_clock, rtol=1e-12)
