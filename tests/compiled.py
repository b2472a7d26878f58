"""Programs to compile, some of which do not; `test_compile.py` hands them to processes."""

import os

import jax
import jax.numpy as jnp
from cases import Case


def broken(x):
    raise ValueError("no such program")


def crash(x):
    os.abort()


def endless(x):
    while True:
        pass


def few():
    x = jnp.ones(3)
    for function in (jnp.sin, broken, crash, endless):
        yield Case("few", function.__name__, function, (x,))


def sound():
    yield Case(
        "few", "steps", lambda x: jax.lax.fori_loop(0, 9, lambda i, x: x @ x, x), (jnp.eye(3),), 9
    )


def none():
    raise ModuleNotFoundError("No module named 'lagc_jax.clock'")
