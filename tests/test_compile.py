"""Compiling ahead of time: what is read of compiled programs, here the CPU's, and what is said."""

import dataclasses

import cases
import compile
import compiled
import hlo
import jax
import jax.numpy as jnp
import pandas as pd
import pytest

import lagc_jax as lj
from lagc_jax.delays.drawn import law_of

pytestmark = pytest.mark.long

N = 1000


def read(function, *arguments, turns=1):
    return hlo.read(jax.jit(function).lower(*arguments).compile().as_text(), turns)


def flops(function, *arguments, turns=1):
    return hlo.flops(jax.jit(function).trace(*arguments).jaxpr.jaxpr, turns)


def repeat(body, times):
    """A loop of a length that is known."""
    return lambda x: jax.lax.scan(lambda x, _: (body(x), None), x, None, length=times)[0]


def until(body):
    """A loop whose length only its condition knows."""
    return lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, body, x)


X = jnp.ones(N, jnp.float32)


def test_a_launch_reads_its_operands_and_writes_its_results():
    seen = read(lambda x: jnp.sin(x) + x, X)
    assert (seen.launches, seen.bytes, seen.loops, seen.waits) == (1, 8 * N, 0, 0)
    assert not seen.slow


def test_all_turns_of_a_loop_count():
    once, often = (read(repeat(lambda x: jnp.sin(jnp.cumsum(x)), n), X) for n in (50, 100))
    assert once.loops == once.known == 1
    assert once.waits == 0
    each = (often.launches - once.launches) // 50
    assert each >= 1
    assert often.launches == once.launches + 50 * each
    assert often.bytes - once.bytes >= 50 * 8 * N


def test_a_loop_of_unknown_length_waits_for_the_host():
    one, five = (read(until(lambda x: x + jnp.sin(x)), X, turns=n) for n in (1, 5))
    assert (one.loops, one.known, one.waits, five.waits) == (1, 0, 1, 5)
    assert five.launches > one.launches
    # What is unknown within it is counted once a turn.
    inner = until(lambda x: jax.lax.while_loop(lambda y: y.max() < 3, jnp.exp, x + 1))
    assert read(inner, X, turns=5).waits == 5 + 5


def test_a_slice_of_a_table_is_all_that_is_read_of_it():
    table = jnp.ones((500, N), jnp.float32)
    seen = read(lambda table: jax.lax.scan(lambda x, row: (x + row, None), X, table)[0], table)
    assert 500 * 8 * N <= seen.bytes < 500 * 20 * N


def test_sorts_and_gathers_in_loops_are_slow_parts():
    index = jnp.arange(N)[::-1]
    assert read(lambda x: jnp.sort(x.reshape(-1, 4)), X).slow == {"sort of 4": 1}
    assert read(repeat(jnp.sort, 3), X).slow == {f"sort of {N} in a loop": 1}
    assert read(repeat(lambda x: x.at[index].get(mode="clip") + 1, 3), X).slow["gather in a loop"]
    assert not read(lambda x: x[index], X).slow
    matrix = jnp.eye(4, dtype=jnp.float32)
    assert any("syevd" in part for part in read(jnp.linalg.eigvalsh, matrix).slow)


def test_operations_are_counted_from_the_equations():
    A, B = jnp.ones((5, 7)), jnp.ones((7, 3))
    assert flops(jnp.matmul, A, B) == 2 * 5 * 7 * 3
    assert flops(repeat(lambda x: jnp.sin(x) * 2, 10), X) == 10 * 2 * N
    assert flops(until(lambda x: x + 1), X, turns=4) == 4 * flops(until(lambda x: x + 1), X)
    assert flops(lambda x: x.reshape(4, -1).T, X) == 0
    longest = jax.vmap(lambda x: jnp.sin(x))
    branches = lambda x: jax.lax.cond(x[0] > 0, lambda x: longest(x) + x, longest, x)  # noqa: E731
    assert flops(branches, X) == 2 * N


def test_every_source_of_times_and_scheme_is_compiled():
    given = [case.arguments[0] for case in cases.clock_cases()]
    sources = {type(each) for each in (*given, *map(law_of, given))}
    public = [getattr(lj.delays, name) for name in lj.delays.__all__]
    real = [each for each in public if dataclasses.is_dataclass(each)]
    assert len(real) >= 12
    assert sources >= set(real)
    for name in (*cases.CATALOGUE, *cases.VARIANTS):
        assert cases.scheme_named(name).num_workers == cases.M


def test_a_crash_and_too_long_a_time_are_rows_of_the_table(tmp_path, capsys):
    arguments = ["--for", "cpu", "--precision", "float64", "--limit", "2"]
    out = tmp_path / "table.csv"
    assert compile.main([*arguments, "--out", str(out)], compiled.few) == 1
    table = pd.read_csv(out).set_index("program")
    assert list(table["compiles"]) == [True, False, False, False]
    assert table["error"]["broken"] == "ValueError: no such program"
    assert "the compiler crashed (SIGABRT)" in table["error"]["crash"]
    assert "longer than 2 s of the processor" in table["error"]["endless"]
    assert "1 of 4 compile" in capsys.readouterr().out


def test_why_no_program_can_be_made_is_told():
    with pytest.raises(RuntimeError, match="no program can be made: ModuleNotFoundError: No mod"):
        compile.main(["--for", "cpu", "--precision", "float32"], compiled.none)


def test_a_name_of_no_program_is_said(tmp_path, capsys):
    out = tmp_path / "table.csv"
    arguments = ["--for", "cpu", "--precision", "float32", "--only", "nothing", "--out", str(out)]
    with pytest.raises(SystemExit) as stopped:
        compile.main(arguments, compiled.sound)
    assert stopped.value.code == 2
    assert "--only 'nothing' is in no 'group: name'; give" in capsys.readouterr().err
    assert not out.exists()


def test_what_compiles_has_a_row(tmp_path):
    out = tmp_path / "table.csv"
    arguments = ["--for", "cpu", "--precision", "float32", "--only", "few: steps"]
    assert compile.main([*arguments, "--out", str(out)], compiled.sound) == 0
    (row,) = pd.read_csv(out).itertuples()
    assert (row.device, row.precision, row.compiles, row.loops) == ("cpu", "float32", True, 1)
    assert row.flops == 9 * 2 * 27


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for", "abacus"], "'abacus' is not one of tpu-v5e, h100, cpu"),
        (["--precision", "float8"], "'float8' is not one of float32, float64"),
        (["--limit", "long"], "'long' is not a positive number"),
        (["--limit", "nan"], "'nan' is not a positive number"),
        (
            ["--out", "no/folder/x.csv"],
            "--out no/folder/x.csv is no file in a folder",
        ),
    ],
)
def test_wrong_arguments_are_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        compile.main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
