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
SHORT = np.where(np.arange(T) < 3, 1.5, np.nan)
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
        (LONG, r"a column 'worker' among .* long table.*from_frame, by "
         r"iteration='iteration', worker='worker', time='time'"),
        (LONG.assign(worker=[f"host{m}" for m in WORKER]), r"'worker' among .* long table"),
        (LONG.rename(columns={"worker": "Rank"}), r"a column 'Rank' among .* long table"),
        (LONG.set_axis(["a", "b", "c"], axis=1), r"every pair .* 'a' and 'b' .* long table"),
        (LONG.sample(frac=1, random_state=0).set_axis(list("abc"), axis=1), r"'a' and 'b' .* long"),
        (WIDE.assign(node=WORKER[:T]), r"'node' of .* few distinct whole numbers .*worker='node'"),
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
)  # fmt: skip
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


ROLES = dict(iteration="iteration", worker="worker", time="time")


def test_long_tables_are_read_by_every_door_in_any_order(tmp_path):
    mixed = LONG.assign(host=[f"w{m + 8}" for m in WORKER]).sample(frac=1, random_state=0)
    mixed.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    mixed.to_parquet(tmp_path / "t.parquet")
    roles = ROLES | dict(worker="host")  # w10 comes after w9
    for made in (
        lj.Trace.from_frame(mixed, **ROLES),
        lj.Trace.from_frame(mixed, **roles),
        lj.Trace.from_csv(tmp_path / "t.csv", **roles),
        lj.Trace.from_csv(tmp_path / "t.parquet", **roles),
        lj.Trace.from_parquet(tmp_path / "t.parquet", **roles),
        lj.Trace.from_frame(LONG, worker="worker", time="time"),
    ):
        assert np.array_equal(made.times, TIMES)
    one = lj.Trace.from_frame(LONG, time="time")
    assert np.array_equal(one.times[:, 0], TIMES.ravel())


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("header", [True, False])
def test_separators_and_decimals_are_found(separator, decimal, header, tmp_path):
    if separator == decimal:
        return
    WIDE.to_csv(tmp_path / "t", index=False, sep=separator, decimal=decimal, header=header)
    made = lj.Trace.from_csv(tmp_path / "t", header=None if header else False)
    assert np.array_equal(made.times, TIMES)


def test_numbers_are_names_or_times_as_the_header_says(tmp_path):
    (tmp_path / "t.csv").write_text("3,5\n1.5,2\n")
    with pytest.raises(ValueError, match="or header=True if these are names and header=False if"):
        lj.Trace.from_csv(tmp_path / "t.csv")
    assert lj.Trace.from_csv(tmp_path / "t.csv", header=True).times.tolist() == [[1.5, 2]]
    assert lj.Trace.from_csv(tmp_path / "t.csv", header=False).times.tolist() == [[3, 5], [1.5, 2]]


def test_arrays_in_files(tmp_path):
    np.save(tmp_path / "t.npy", TIMES)
    np.savez(tmp_path / "t.npz", times=TIMES)
    np.savez(tmp_path / "logs.npz", **{f"w{m}": TIMES[:, m] for m in range(W)})
    for name in ("t.npy", "t.npz", "logs.npz"):
        assert np.array_equal(lj.Trace.from_csv(tmp_path / name).times, TIMES)
    np.savez(tmp_path / "two.npz", a=TIMES, b=TIMES)
    with pytest.raises(ValueError, match=r"holds the arrays .*; give one alone"):
        lj.Trace.from_csv(tmp_path / "two.npz")


def test_units_and_durations_become_seconds(tmp_path):
    whole = np.random.default_rng(3).integers(1, 10**6, (T, W))
    durations = whole.astype("timedelta64[ms]")
    durations[3, 2] = "NaT"
    seconds = np.where(np.isnat(durations), np.inf, whole / 1000)
    frame = pd.DataFrame(durations, columns=WIDE.columns)
    frame.to_csv(tmp_path / "t.csv", index=False)  # as text: 0 days 00:00:01.5
    for made in (
        lj.Trace.from_array(durations),
        lj.Trace.from_array(np.ma.masked_invalid(np.where(np.isnat(durations), np.nan, whole)),
                            unit="ms"),
        lj.Trace.from_frame(frame),
        lj.Trace.from_csv(tmp_path / "t.csv"),
    ):  # fmt: skip
        assert np.array_equal(made.times, seconds)
    assert np.array_equal(lj.Trace.from_frame(WIDE, unit="min").times, TIMES * 60)
    with pytest.raises(ValueError, match=r"unit='s' is given, but column 'w0' .* holds durations"):
        lj.Trace.from_frame(frame, unit="s")


def test_a_log_that_ends_early_is_no_failure():
    frame = WIDE.copy()
    frame.loc[5, "w1"] = frame.loc[9:, "w2"] = np.nan
    long = frame.reset_index().melt("index", value_name="time")
    # A row without a time is an answer that never came, also at the end of a log.
    kept = long[long["time"].notna() | (long["index"] == 5)]
    roles = dict(iteration="index", worker="variable", time="time")
    for given, reading in ((frame, {}), (kept, roles)):
        with pytest.warns(RuntimeWarning, match="the log of 'w2' in frame ends at row 9 of 12"):
            cut = lj.Trace.from_frame(given, **reading)
        expected = np.where(np.isnan(frame), np.inf, frame)
        assert np.array_equal(cut.times, expected[:9])
        failed = lj.Trace.from_frame(given, end="failed", **reading)
        assert np.array_equal(failed.times, expected)
    assert np.array_equal(lj.Trace.from_frame(long, **roles).times, expected)


def test_iterations_beside_the_workers_are_set_aside():
    frame = WIDE.assign(step=np.arange(T)).sample(frac=1, random_state=0)
    assert np.array_equal(lj.Trace.from_frame(frame, iteration="step").times, TIMES)


@pytest.mark.parametrize("text", [str, "step {}".format, lambda i: str(i) if i % 2 else i])
def test_iterations_that_are_text_are_ordered_by_the_numbers_in_it(text):
    names = [text(i) for i in range(T)]
    wide = WIDE.assign(step=pd.Series(names)).sample(frac=1, random_state=0)
    assert np.array_equal(lj.Trace.from_frame(wide, iteration="step").times, TIMES)
    long = LONG.assign(iteration=[names[i] for i in STEP]).sample(frac=1, random_state=0)
    assert np.array_equal(lj.Trace.from_frame(long, **ROLES).times, TIMES)


@pytest.mark.parametrize(
    ("frame", "reading", "message"),
    [
        (WIDE, dict(unit="days"), r"unit='days' is unknown; give one of \('ns'"),
        (WIDE, dict(end="x"), r"end='x' is unknown; give"),
        (LONG, dict(time="t"), r"time='t' is no column of frame; give one of"),
        (LONG, dict(worker="worker"), r"worker='worker' comes without .* time= as well, one of"),
        (LONG, dict(worker="time", time="time"), r"are \['time', 'time'\]; give three"),
        (LONG.assign(iteration=STEP // 2), ROLES, r"row 5 .* another time for iteration 0 of w"),
        (WIDE.assign(w=np.arange(T) // 2), dict(iteration="w"), r"row 2 .* another .*iteration 0,"),
        (WIDE.assign(w=[np.nan, *range(1, T)]), dict(iteration="w"), r"row 1 .* no iteration in"),
        (LONG.assign(worker=np.where(STEP < 1, np.nan, 1)), ROLES, r"row 1 .* has no worker in"),
        (LONG.assign(time=CLOCK[STEP] + 60 * STEP), ROLES, r"every worker of frame only ever rise"),
        (WIDE.assign(w1=SHORT), {}, r"log of 'w1' .* ends at row 3 of 12; give end='failed'"),
        (WIDE, dict(unit=["s"]), r"unit=\['s'\] is unknown; give"),
        (WIDE, dict(end=np.ones(2)), r"end=array.* is unknown; give"),
        (TIMES, {}, r"frame is a ndarray, no pandas.DataFrame; give one"),
        (LONG.set_index(["iteration", "worker"]), {}, r"rows named by 2 levels.*reset_index"),
        (LONG.set_axis(["rank", "a", "a"], axis=1), {}, r"a column 'rank' .* worker='rank', time="),
    ],
)
def test_what_does_not_fit_a_table_is_refused(frame, reading, message):
    with pytest.raises(ValueError, match=message):
        lj.Trace.from_frame(frame, **reading)


def test_the_remedy_names_the_columns_by_what_they_hold():
    frame = LONG.set_axis(["rank", "time", "batch_ms"], axis=1)
    with pytest.raises(ValueError, match="iteration='time', worker='rank', time='batch_ms'"):
        lj.Trace.from_frame(frame)


def test_an_array_as_it_is_may_hold_nan_and_nothing_below_zero():
    times = np.where(np.arange(T)[:, None] == 3, np.nan, TIMES)
    assert np.array_equal(lj.Trace(times).times, lj.Trace.from_array(times).times)
    for wrong, message in ((-TIMES, "entries below 0"), (TIMES[0], "shape .4,.; give .iterations")):
        with pytest.raises(ValueError, match=message):
            lj.Trace(wrong)


def test_columns_that_pandas_adds_or_renames_are_seen_through(tmp_path):
    file = tmp_path / "log.csv"
    WIDE.to_csv(file)  # with the numbers of the rows in a column without a name
    assert np.array_equal(lj.Trace.from_csv(file).times, TIMES)
    file.write_text("12.5,13.1,12.5\n11,12,13\n14,11,12\n")
    with pytest.raises(ValueError, match="numbers in its first line"):
        lj.Trace.from_csv(file)


def test_the_row_that_holds_no_time_is_named_among_times_of_a_clock():
    frame = pd.DataFrame({"a": ["00:00:01", "00:00:02", "oops"], "b": ["00:00:03"] * 3})
    with pytest.raises(ValueError, match=r"row 3 of column 'a' .* holds 'oops'"):
        lj.Trace.from_frame(frame)


@pytest.mark.parametrize("door", [lj.Trace.from_csv, lj.Trace.from_parquet])
def test_a_file_has_a_path(door):
    with pytest.raises(ValueError, match="path=None is no path; give that of a file"):
        door(None)


def test_a_list_is_a_trace_and_columns_may_share_a_name():
    assert lj.Trace(TIMES.tolist()).dtype == TIMES.dtype
    named = pd.DataFrame(TIMES[:, :3], columns=["a", "a", "a"])
    assert np.array_equal(lj.Trace.from_frame(named).times, TIMES[:, :3])


def test_a_table_on_its_side_is_told_and_names_of_levels_are_refused():
    wide = np.random.default_rng(0).exponential(size=(3, 90)) + 1
    with pytest.warns(RuntimeWarning, match="90 workers and 3 rows; .* the other way round"):
        lj.Trace.from_array(wide)
    columns = pd.MultiIndex.from_product([["a"], ["x", "y"]])
    with pytest.raises(ValueError, match="names of 2 levels; give one name a column"):
        lj.Trace.from_frame(pd.DataFrame(TIMES[:, :2], columns=columns))
