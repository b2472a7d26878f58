"""Schemes: one family, its six named points, and what it does not hold."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj

# Constructed scheme: groups G, redundancy r, workers waited for in a group F, trigger.
POINTS = [
    (lj.gd(12), 12, 1, 1, "always"),
    (lj.gc(12, 3), 1, 3, 10, "always"),
    (lj.grouping(12, 4), 4, 3, 1, "always"),
    (lj.lag(12), 12, 1, 1, "server"),
    (lj.lagc(12, 4, 2), 4, 2, 2, "server"),
    (lj.g_lag(12, 4), 4, 3, 1, "server"),
    (lj.lag(12, trigger="worker"), 12, 1, 1, "worker"),
    (lj.g_lag(12, 4, trigger="worker"), 4, 3, 1, "worker"),
]


@pytest.mark.parametrize(("scheme", "groups", "redundancy", "waited", "trigger"), POINTS)
def test_constructors_place_every_scheme_in_the_family(scheme, groups, redundancy, waited, trigger):
    assert scheme.num_workers == 12
    assert (scheme.num_groups, scheme.redundancy) == (groups, redundancy)
    assert (scheme.group_size, scheme.num_waited) == (12 // groups, waited)
    assert (scheme.trigger.name, scheme.adaptive) == (trigger, trigger != "always")


def test_adaptive_schemes_default_to_a_memory_of_ten_and_xi_of_one():
    for scheme in (lj.lag(12), lj.lagc(12, 4, 2), lj.g_lag(12, 4)):
        assert scheme.memory == 10
        assert np.array_equal(scheme.xi_vector, np.ones(10))


def test_xi_may_be_a_vector():
    scheme = lj.lag(4, xi=np.array([0.3, 0.2, 0.1]), memory=3)
    assert np.array_equal(scheme.xi_vector, [0.3, 0.2, 0.1])


def test_worker_trigger_needs_workers_that_know_their_group_s_gradient():
    # The definition asks for r = n: with r = 1 < n a worker knows one partition of several.
    with pytest.raises(ValueError, match="redundancy=1"):
        lj.lagc(12, 4, 1, trigger="worker")
    lj.lagc(12, 4, 3, trigger="worker")
    lj.lagc(12, 12, 1, trigger="worker")


def test_worker_trigger_keeps_all_groups_working():
    uploaded = jnp.array([True, False, False])
    assert np.array_equal(lj.g_lag(6, 3).working(uploaded), uploaded)
    worker = lj.g_lag(6, 3, trigger="worker")
    assert np.array_equal(worker.working(uploaded), [True, True, True])


def test_schemes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        lj.gd(4).redundancy = 2


def test_xi_is_the_only_array_and_sizes_are_static():
    scheme = lj.lagc(12, 4, 2, xi=0.25)
    assert jax.tree.leaves(scheme) == [0.25]
    other = jax.tree.map(lambda xi: 2 * xi, scheme)
    assert (other.num_groups, other.redundancy, other.xi) == (4, 2, 0.5)
    assert jax.tree.structure(scheme) == jax.tree.structure(other)
    assert jax.tree.structure(scheme) != jax.tree.structure(lj.lagc(12, 4, 3, xi=0.25))


def test_schemes_can_be_made_from_traced_xi():
    @jax.jit
    def first(xi):
        return lj.lag(4, xi=xi, memory=2).xi_vector[0]

    assert first(0.3) == 0.3
    assert np.array_equal(jax.vmap(first)(jnp.array([0.1, 0.2])), [0.1, 0.2])


def test_equal_schemes_compare_equal_and_share_a_hash():
    def make(xi=0.25, redundancy=2, **changes):
        scheme = lj.lagc(12, 4, redundancy, xi, memory=2)
        return dataclasses.replace(scheme, **changes)

    same = make(jnp.asarray(0.25)), make(np.float32(0.25)), make(trigger="server")
    assert len({make(), *same}) == 1
    others = make(0.5), make([0.25, 0.25]), make(redundancy=1), make(trigger="always")
    assert len({make(), *others}) == 5
    assert make(fixed_load=7) != make() != make(optimizer=lj.schemes.amsgrad)
    assert lj.schemes.fastest_k(6, 4) == lj.schemes.fastest_k(6, 4) != lj.schemes.fastest_k(6, 3)
    assert lj.Pareto(1.0, 2) == lj.Pareto(1, 2.0) != lj.Pareto(1.0, 3.0)
    assert lj.gd(3) != "GD"
    unknown = lj.linear_regression([[[1.0]]], [[1.0]])
    unknown = dataclasses.replace(unknown, strong_convexity=np.nan)
    for thing in (unknown, lj.delays.ShiftedWeibull(1.0, 2.0, 1.0)):
        assert {thing: 1}[copy.deepcopy(thing)] == 1

    @jax.jit
    def traced(xi):
        one = make(xi)
        assert one == dataclasses.replace(one)
        assert hash(one) == hash(dataclasses.replace(one))
        assert one != make(xi + 0) != make()
        return xi

    traced(0.25)


def test_a_load_is_what_a_worker_computes_whatever_it_stores():
    assert lj.gc(12, 3).load == 3
    assert dataclasses.replace(lj.gc(12, 3), redundancy=4).load == 4
    assert lj.schemes.lasg(12, 0.1).load == 2
    assert lj.schemes.g_cada(12, 4, 0.1).load == lj.schemes.g_cada(12, 3, 0.1).load == 1
    assert lj.schemes.g_cada(12, 4, 0.1, load=3, trigger="cada2").load == 3
    assert lj.schemes.cada(12, 0.1) == lj.schemes.g_cada(12, 12, 0.1, trigger="cada2")
    light = lj.Scheme(12, 4, 2, fixed_load=1)
    selected, delays = np.ones((3, 4), bool), lj.Exponential(1.0)
    costs = lj.theory.iteration_costs(light, delays)
    assert (int(costs.computation), int(costs.communication)) == (12, 20)
    whole = lj.expected_wall_clock(lj.Scheme(12, 4, 2), delays, selected)
    np.testing.assert_allclose(
        lj.expected_wall_clock(light, delays, selected), whole / 2, rtol=1e-12
    )
    with pytest.raises(ValueError, match="fixed_load=0 is too small; give"):
        lj.Scheme(12, 4, 2, fixed_load=0)
