"""Tables of times: what is a trace, and what is refused because it is something else."""

import numpy as np
import pandas as pd
import pytest

import lagc_jax as lj
from lagc_jax.delays._columns import check_values
from lagc_jax.delays.fitting import _sample

T, W = 12, 4
TIMES = np.random.default_rng(0).exponential(size=(T, W)) + 0.5
WIDE = pd.DataFrame(TIMES, columns=[f"w{m}" for m in range(W)])
STEP, WORKER = (index.ravel() for index in np.indices((T, W)))
LONG = pd.DataFrame({"worker": WORKER, "iteration": STEP, "time": TIMES.ravel()})
CLOCK = 1.7e9 + np.random.default_rng(1).uniform(0, 60, T)


def real_tables():
    """Times as clusters log them: unequal by a factor of 50, constant, rounded, few, missing."""
    rng = np.random.default_rng(2)
    for rows, workers in ((1, 1), (2, 3), (5, 8), (300, 2), (40, 64)):
        scale = np.geomspace(1, 50, workers)
        times = rng.exponential(size=(rows, workers)) * scale
        yield times
        yield np.ceil(times)
        yield np.full((rows, workers), scale)
        yield rng.integers(1, 4, (rows, workers)).astype(float)
        yield np.where(rng.uniform(size=times.shape) < 0.3, np.inf, times)
        yield times * (1 + 29 * (np.arange(rows) == 0)[:, None])  # the first one compiles


def test_real_times_are_accepted():
    for times in real_tables():
        check_values("times", [str(m) for m in range(times.shape[1])], times)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (LONG, r"a column 'worker' among .* long table.*frame.pivot\(index="),
        (LONG.assign(worker=[f"host{m}" for m in WORKER]), r"'worker' among .* long table"),
        (LONG.rename(columns={"worker": "Rank"}), r"a column 'Rank' among .* long table"),
        (LONG.set_axis(["a", "b", "c"], axis=1), r"every pair .* 'a' and 'b' .* long table"),
        (LONG.sample(frac=1, random_state=0).set_axis(list("abc"), axis=1), r"'a' and 'b' .* long"),
        (WIDE.assign(step=np.arange(T)), r"column 'step' of .* by its name; leave it out"),
        (WIDE.assign(Timestamp="12:30"), r"column 'Timestamp' of .* by its name"),
        (WIDE.assign(mean=TIMES.mean(axis=1)), r"column 'mean' of .* by its name"),
        (WIDE.assign(x=3 + 2 * np.arange(T)), r"column 'x' of .* only ever rises"),
        (WIDE.assign(x=np.arange(T) ** 0.5), r"column 'x' of .* only ever rises"),
        (WIDE.assign(x=CLOCK), r"column 'x' of .* a median [12]e\+09 times that of the others"),
        (WIDE[["w0"]].assign(x=CLOCK), r"column 'x' of .* a median"),
        (WIDE.assign(x="host"), r"row 1 of column 'x' .* leave the column out if it is no worker"),
        (WIDE.cumsum(), r"every column of .* only ever rises, .*; give what an iteration took"),
    ],
)
def test_what_is_no_table_of_workers_times_is_refused_by_every_door(frame, message, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    for door, given in ((lj.Trace.from_csv, tmp_path / "t.csv"), (lj.Trace.from_array, frame)):
        with pytest.raises(ValueError, match=message):
            door(given)


def test_a_long_array_is_refused_and_the_class_itself_takes_what_looks_so():
    with pytest.raises(ValueError, match="long table"):
        lj.Trace.from_array(LONG.to_numpy())
    assert lj.Trace(LONG.to_numpy()).num_columns == 3


def test_masked_entries_are_missing():
    masked = np.ma.masked_greater(TIMES, 1.5)
    expected = np.where(TIMES > 1.5, np.inf, TIMES)
    assert np.array_equal(lj.Trace.from_array(masked).times, expected)
    assert np.array_equal(_sample(masked), _sample(expected))


@pytest.mark.parametrize("names", ["0,1,2,3", "1,2,3,4", "0,2,4,6"])
def test_ranks_are_names(names, tmp_path):
    WIDE.to_csv(tmp_path / "t.csv", index=False, header=names.split(","))
    assert np.array_equal(lj.Trace.from_csv(tmp_path / "t.csv").times, TIMES)


@pytest.mark.parametrize("first", ["1.5,2", "1,2", "476,509", "5,5", "nan,2", ",2"])
def test_a_first_row_of_times_is_no_header(first, tmp_path):
    (tmp_path / "t.csv").write_text(f"{first}\n480,510\n470,500\n")
    with pytest.raises(ValueError, match=r"numbers in its first line; give a header"):
        lj.Trace.from_csv(tmp_path / "t.csv")
