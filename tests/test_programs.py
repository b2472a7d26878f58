"""Compiled programs are let go when there are many, and the user's own are not."""

import jax
import jax.numpy as jnp
import numpy as np
from common import Compilations

from lagc_jax import _programs


def test_no_more_programs_are_kept_than_said(monkeypatch):
    monkeypatch.setattr(_programs, "KEPT", 4)
    monkeypatch.setattr(_programs, "_functions", [])
    monkeypatch.setattr(_programs._Count, "programs", 0)
    traced = []

    @_programs.compiled()
    def inner(x):
        return 2 * x

    @_programs.compiled("n")
    def outer(x, n):
        traced.append((x.size, n))
        return inner(x).sum() + n

    users = jax.jit(lambda x: traced.append("user") or outer(x, 0))
    users(np.ones(3))
    for size in (1, 2, 1, 2, 3):  # with the user's, four programs, each with two of our functions
        assert outer(np.ones(size), n=1) == 2 * size + 1
    assert traced == ["user", (3, 0), (1, 1), (2, 1), (3, 1)]
    outer(np.ones(3), n=2)  # drops them all
    outer(np.ones(1), n=1)
    users(np.ones(3))
    assert traced[5:] == [(3, 2), (1, 1)]


def test_programs_that_take_many_maps_of_memory_are_dropped_sooner(monkeypatch):
    monkeypatch.setattr(_programs, "LOOK", 2)
    monkeypatch.setattr(_programs, "_functions", [])
    for name in ("programs", "seen"):
        monkeypatch.setattr(_programs._Count, name, 0)
    traced = []

    @_programs.compiled()
    def total(x):
        traced.append(x.size)
        return x.sum()

    for share, size in ((0.4, 1), (0.4, 2), (0.4, 3), (0.6, 1), (0.6, 4), (0.6, 1)):
        monkeypatch.setattr(_programs, "share_of_maps", lambda share=share: share)
        total(np.ones(size))
    assert traced == [1, 2, 3, 4, 1]
    monkeypatch.undo()
    assert 0 <= _programs.share_of_maps() < 1


def test_a_compiled_function_passes_through_transformations():
    @_programs.compiled("power")
    def total(x, power):
        return jnp.sum(x**power)

    x = jnp.arange(3.0)
    assert jax.grad(total)(x, 2).tolist() == [0, 2, 4]
    assert jax.vmap(lambda row: total(row, power=1))(x[:, None]).tolist() == [0, 1, 2]


def test_a_function_runs_on_one_thread_where_it_is_a_program_of_its_own(monkeypatch):
    monkeypatch.setattr(_programs, "_functions", [])
    monkeypatch.setattr(_programs, "_too_many", lambda: False)  # whatever ran before

    @_programs.compiled("power", one_thread=lambda *_, power: power > 1)
    def total(x, power):
        return jnp.sum(x**power)

    program, calm = _programs._functions
    x = jnp.arange(3.0)
    assert [total(x, power=power) for power in (1, 2, 3)] == [3, 5, 9]
    assert (program._cache_size(), calm._cache_size()) == (1, 2)
    # Parts of other programs have their options.
    assert jax.jit(lambda: total(x, power=2))() == 5
    assert jax.jit(lambda x: total(x, power=2))(x) == 5
    assert jax.vmap(lambda row: total(row, power=2))(x[:, None]).tolist() == [0, 1, 4]
    assert jax.grad(total)(x, power=2).tolist() == [0, 2, 4]
    assert jax.hessian(total)(x, power=2).trace() == 6
    assert calm._cache_size() == 2


def test_xla_knows_the_pass_that_is_left_out():
    large = jnp.ones((2000, 2000))
    sine = lambda x: jnp.sin(x.T) + 1  # noqa: E731
    told = [
        jax.jit(sine, compiler_options=options).lower(large).compile().as_text()
        for options in (None, _programs.ONE_THREAD)
    ]
    split = ["outer_dimension_partitions" in text for text in told]
    assert split in ([True, False], [False, False])  # one core has no threads to split between


def test_programs_of_a_script_are_dropped_when_there_are_many(monkeypatch):
    dropped = []
    monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(compilations.total))
    compilations = Compilations()
    for compilations.total in (1, 500, 501, 700, 1001, 1002):
        compilations.bound()
    assert dropped == [501, 1002]
