"""Experiments in Python: what they are made of, and what is said of what cannot be."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import lagc_jax
from lagc_jax.experiments import Experiment, Points, estimate
from lagc_jax.targets import Gap


def test_a_scheme_that_fits_no_problem_is_refused_and_notes_say_which_entry_it_is(problem):
    M = problem.num_partitions
    given = dict(problems={"p": problem}, num_iterations=3, num_realisations=2)
    fits, law = {"fits": lagc_jax.gd(M)}, {"law": lagc_jax.Exponential(1.0)}
    cases = (
        (fits | {"odd": lagc_jax.gd(M + 1)}, law, {}, "num_workers=7", "schemes['odd']"),
        (fits, law | {"odd": lagc_jax.Exponential([1.0, 2.0])}, {}, "has shape", "delays['odd']"),
        (fits, law | {"odd": scipy.stats.norm(1, 1)}, {}, "has times from", "delays['odd']"),
        (fits, law, {"odd": lagc_jax.Cluster(startup=[1.0, 2.0])}, "startup", "clusters['odd']"),
    )
    for schemes, delays, clusters, words, entry in cases:
        more = dict(schemes=schemes, delays=delays, clusters=clusters or None)
        with pytest.raises(ValueError, match=words) as error:
            Points(Experiment(**given, **more))
        assert entry in error.value.__notes__[-1]
    unnamed = given | dict(problems={"q": lambda M: problem})
    with pytest.raises(ValueError, match=r"problems\['q'\] cannot be called with num_workers"):
        Points(Experiment(**unnamed, schemes=fits, delays=law))


def test_single_numbers_are_lists_of_one_and_records_are_numbers(problem):
    given = dict(
        problems={"p": problem}, schemes={"GD": lagc_jax.gd(problem.num_partitions)},
        delays={"law": lagc_jax.Exponential(1.0)}, num_iterations=3, num_realisations=2,
    )  # fmt: skip
    experiment = Experiment(**given, step_sizes=0.5, quantiles=0.5)
    assert (experiment.step_sizes, experiment.quantiles) == ((0.5,), (0.5,))
    target = lagc_jax.Accuracy([0.5], jnp.atleast_1d)
    with pytest.raises(ValueError, match=r"record gives arrays of the shapes .* give one number"):
        lagc_jax.run(Experiment(**given, target=target), progress=False)


def test_schemes_that_look_the_same_in_the_table_are_refused(problem):
    M = problem.num_partitions
    one, other, third = (np.full(10, xi) for xi in (0.1, 0.2, 0.3))
    vary = lambda *xi: lagc_jax.Vary(lagc_jax.lag, num_workers=M, xi=list(xi))  # noqa: E731
    given = dict(problems={"p": problem}, delays={"e": lagc_jax.Exponential(1.0)}, num_iterations=3)
    assert len(Points(Experiment(**given, schemes={"a": vary(one, 1.0), "b": vary(other)}))) == 3
    lag = lambda xi: lagc_jax.lag(M, xi)  # noqa: E731
    assert len(Points(Experiment(**given, schemes={"a": [lag(one), lag(1.0), lag(0.5)]}))) == 3
    for alike in ([vary(one, other)], [vary(one), vary(third)], [lag(one), lag(third)]):
        with pytest.raises(ValueError, match="look the same in the table"):
            Points(Experiment(**given, schemes={"LAG": alike}))
    for twice in ([vary(one), vary(one)], [vary(0.5), vary(1.0, 0.5)]):
        with pytest.raises(ValueError, match="schemes holds 'LAG' twice"):
            Points(Experiment(**given, schemes={"LAG": twice}))


@pytest.mark.parametrize(
    "given", [{"step_sizes": [1.0, 1.0]}, {"quantiles": [0.5, 0.5]}, {"target": Gap([0.1, 0.1])}]
)
def test_values_given_twice_are_refused(problem, given):
    schemes, delays = {"GD": lagc_jax.gd(problem.num_partitions)}, {"e": lagc_jax.Exponential(1.0)}
    things = dict(problems={"p": problem}, schemes=schemes, delays=delays, num_iterations=3)
    with pytest.raises(ValueError, match=r"holds (1.0|0.5|0.1) twice"):
        Experiment(**things, **given)


@pytest.mark.parametrize("values", [("y", 3), (True, 0.5), ("y", True)])
def test_a_column_of_two_kinds_is_refused(problem, values):
    """In a directory of results, too, which would not be read again."""
    M = problem.num_partitions
    problems = {
        name: lagc_jax.Vary(lambda num_workers, who: problem, who=[value])
        for name, value in zip("ab", values, strict=True)
    }
    given = dict(schemes={"GD": lagc_jax.gd(M)}, delays={"e": lagc_jax.Exponential(1.0)})
    with pytest.raises(ValueError, match=r"column 'problem_who' would hold .* one type"):
        Points(Experiment(problems=problems, num_iterations=3, **given))


class Sweep(list):
    """Points of which estimates know the numbers alone: two parts of 9, and one of 2."""

    ends, num_paths = (9, 18, 20), 20


def test_every_part_of_a_sweep_takes_what_it_took_itself():
    trials = [estimate._Trial(1.0, 0.0, (1.0, 3.0)), estimate._Trial(1.0, 2.0, (100.0, 100.0))]
    found = estimate._seconds(Sweep(range(20)), trials, np.array([0, 2]), 1.0)
    assert found == [9 + 9 + 204, 18 + 18 + 204, 27 + 27 + 204]
