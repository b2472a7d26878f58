"""Sweeps: what they compute, and that nothing written is lost or wrong whatever happens."""

import errno
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import grid
import jax
import numpy as np
import pandas as pd
import plot
import pytest
from test_sweep_config import make, tables

import lagc_jax
from lagc_jax.experiments import (
    Points,
    devices,
    memory,
    pace,
    parse_grid,
    processes,
    run_into,
    store,
)
from lagc_jax.experiments.manifest import update_manifest
from lagc_jax.schemes.catalogue import approximate_gc
from lagc_jax.theory import expected_complexity


class Fixed(pace.Pace):
    """Blocks of as many points as are allowed, however long they take."""

    def cut(self, points):
        return list(itertools.islice(points, self._limit))


def sweep(directory, **changes):
    """Run the small sweep; return what was reported and whether it is complete."""
    stop_after = changes.pop("stop_after", None)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lagc_jax.experiments.runner.Pace", Fixed)
        grid = parse_grid(tables(**({"points_per_block": 2} | changes)))
        complete = run_into(
            Points(grid.experiment),
            directory,
            points_per_block=grid.points_per_block,
            description=grid.source,
            report=seen.append,
            stop=lambda: stop_after is not None and len(seen) > stop_after,
        )
    return seen, complete


def blocks(directory):
    return sorted((directory / "blocks").iterdir())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished sweep, not to be changed."""
    directory = tmp_path_factory.mktemp("done")
    assert sweep(directory)[1]
    return directory


@pytest.fixture(scope="module")
def table(done):
    return lagc_jax.load_results(done)


def assert_same(frame, other):
    pd.testing.assert_frame_equal(frame, other, check_exact=True)


def reference(point, **changes):
    problem = point.problem.value(point.scheme.num_workers)
    settings = dict(
        num_iterations=20, num_realisations=32, accuracies=[1.0, 1e-1],
        step_size=point.step_size / float(problem.total_smoothness),
    )  # fmt: skip
    return problem, lagc_jax.simulate_batch(
        problem, point.scheme, point.delays.value, jax.random.key(0), **settings | changes
    )


COSTS = ("iterations", "communication", "computation", "bits", "timeouts")


def check_point(rows, point, **changes):
    """Rows of a table against a batch of the same point, bit for bit, and exact means."""
    _, batch = reference(point, **changes)
    np.testing.assert_array_equal(rows["accuracy"], [1.0, 1e-1])
    for name in COSTS:
        np.testing.assert_array_equal(rows[name], getattr(batch.costs, name).mean)
    time = batch.costs.time
    np.testing.assert_array_equal(rows["time_mean"], time.mean)
    np.testing.assert_array_equal(rows["time_standard_error"], time.standard_error)
    np.testing.assert_array_equal(rows[["time_q0.05", "time_q0.5", "time_q0.95"]], time.quantiles)
    np.testing.assert_array_equal(rows["reached"], batch.reached)
    without = float(batch.diverged) * (1 - np.asarray(batch.reached))  # on a path that all share
    np.testing.assert_array_equal(rows["diverged"], without)
    if point.scheme.decoder.anonymous:
        path = lagc_jax.descent.Path(batch.gap, batch.selected, None, batch.diverged)
        exact = expected_complexity(point.scheme, point.delays.value, path, [1.0, 1e-1])
        np.testing.assert_allclose(rows["time_expected"], exact.mean, rtol=1e-12)
        np.testing.assert_allclose(rows["time_variance"], exact.variance, rtol=1e-12)
    else:
        assert rows["time_expected"].isna().all()


def test_every_row_is_what_a_batch_of_its_point_gives(table):
    points = make()
    assert len(table) == 2 * len(points)
    assert np.isfinite(table["iterations"]).any()
    for point in points:
        check_point(table[table["point"] == point.number], point)


def test_worker_by_worker_sampling_and_the_worker_trigger(tmp_path):
    scheme = {"name": "G-LAG", "num_workers": 4, "num_groups": 2, "trigger": "worker", "xi": 0.1}
    changes = {"sampler": "workers", "scheme": [scheme]}
    assert sweep(tmp_path, **changes)[1]
    frame = lagc_jax.load_results(tmp_path)
    for point in make(**changes):
        check_point(frame[frame["point"] == point.number], point, sampler="workers")


def test_later_schemes_on_minibatches(tmp_path):
    schemes = [
        {"name": "LAQ", "num_workers": 4, "bits": 2},
        {"name": "approximate GC", "num_workers": 4, "redundancy": 2, "deadline": [1.0, 2.0]},
    ]
    problem = {"num_features": 5, "batch_size": 2}
    changes = {"problem": [problem], "scheme": schemes}
    assert sweep(tmp_path, **changes)[1]
    frame = lagc_jax.load_results(tmp_path)
    assert frame["scheme_bits"].dropna().unique().tolist() == [2.0]
    assert frame["deadline"].dropna().unique().tolist() == [1.0, 2.0]
    for point in make(**changes):
        check_point(frame[frame["point"] == point.number], point)


def test_the_table_is_tidy(table):
    first = table.columns[: list(table.columns).index("accuracy")]
    assert list(first) == [
        "point", "problem", "scheme", "num_workers", "num_groups", "redundancy", "xi", "memory",
        "trigger", "step_size", "delays", "rate", "problem_seed", "problem_num_features",
        "problem_growth", "problem_noise",
    ]  # fmt: skip
    assert not table.duplicated(["point", "accuracy"]).any()
    assert table["point"].is_monotonic_increasing
    assert table["rate"].tolist()[:4] == [1.0, 1.0, 2.0, 2.0]
    assert set(table["problem"]) == {"synthetic"}


def test_parameters_that_a_family_lacks_and_means_that_are_infinite(tmp_path):
    delays = [{"family": "exponential", "rate": 1.0}, {"family": "pareto", "scale": 1.0}]
    delays[1]["shape"] = 0.4
    assert sweep(tmp_path, delays=delays, accuracies=[1.0, 1e-9])[1]
    frame = lagc_jax.load_results(tmp_path)
    pareto = frame["delays"] == "pareto"
    assert frame.loc[pareto, "rate"].isna().all()
    assert frame.loc[~pareto, ["scale", "shape"]].isna().all().all()
    reached = np.isfinite(frame["iterations"])
    assert set(frame.loc[~reached, "accuracy"]) == {1e-9}
    assert np.isinf(frame.loc[~reached, ["time_mean", "time_q0.5", "communication"]]).all().all()
    infinite = np.isinf(frame["time_expected"])
    assert (infinite == (~reached | (pareto & (frame["redundancy"] * 0.4 <= 1)))).all()
    assert (reached & pareto).any()


def test_a_divergent_point_is_flagged(tmp_path):
    scheme = {"name": "LAGC", "num_workers": 4, "num_groups": 1, "redundancy": 1, "xi": 0.01}
    assert sweep(tmp_path, scheme=[scheme | {"step_size": [1.0, 3.0]}])[1]
    frame = lagc_jax.load_results(tmp_path)
    assert (frame["diverged"] == (frame["step_size"] == 3.0)).all()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_it_does_not_matter_which_points_share_a_block(size, tmp_path, table):
    assert sweep(tmp_path, points_per_block=size)[1]
    assert len(blocks(tmp_path)) == -(-table["point"].nunique() // size)
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_a_stopped_sweep_continues(tmp_path, table):
    seen, complete = sweep(tmp_path, stop_after=1)
    assert not complete
    assert [progress.points for progress in seen] == [0, 2]
    with pytest.warns(RuntimeWarning, match="2 of 8 points"):
        part = lagc_jax.load_results(tmp_path)
    assert_same(part, table[table["point"] < 2])
    seen, complete = sweep(tmp_path)
    assert complete
    assert [progress.block for progress in seen] == [None, 0, 1, 2]
    assert_same(lagc_jax.load_results(tmp_path), table)


def copy(done, directory):
    return Path(shutil.copytree(done, directory / "copy"))


def test_a_finished_sweep_is_extended_and_shrunk(done, tmp_path, table):
    directory = copy(done, tmp_path)
    delays = {"family": "exponential", "rate": [3.0, 1.0, 2.0]}
    schemes = [*tables()["scheme"], {"name": "GD", "num_workers": 4}]
    with pytest.warns(RuntimeWarning, match=r"delays\[1\].rate: \[1.0, 2.0\] -> \[3.0, 1.0, 2.0\]"):
        seen, complete = sweep(directory, delays=[delays], scheme=schemes)
    assert complete
    assert (seen[0].points, seen[0].total) == (8, 15)
    assert sweep(tmp_path / "anew", delays=[delays], scheme=schemes)[1]
    longer = lagc_jax.load_results(directory)
    assert_same(longer, lagc_jax.load_results(tmp_path / "anew"))
    assert longer["rate"].tolist()[:6:2] == [3.0, 1.0, 2.0]
    with pytest.warns(RuntimeWarning, match="kept but not shown"):
        seen, _ = sweep(directory)
    assert len(seen) == 1  # nothing was left to do
    assert_same(lagc_jax.load_results(directory), table)


@pytest.mark.parametrize(
    "changes", [{"realisations": 64}, {"seed": 1}, {"accuracies": [1.0]}, {"quantiles": [0.5]}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_what_all_numbers_depend_on_makes_all_points_new(changes, done, tmp_path, table):
    directory = copy(done, tmp_path)
    with pytest.warns(RuntimeWarning, match=next(iter(changes))):
        seen, _ = sweep(directory, **changes, stop_after=0)
    assert seen[0].points == 0
    with pytest.raises(ValueError, match="no results yet"):
        lagc_jax.load_results(directory)
    with pytest.warns(RuntimeWarning, match=next(iter(changes))):
        sweep(directory)
    assert_same(lagc_jax.load_results(directory), table)


def test_rows_keep_their_labels_whatever_the_precision_of_the_reader(tmp_path):
    # In 32 bits r = 7 cannot be, so points counted then would have other numbers.
    decodable = {"name": "first decodable", "num_workers": 16, "redundancy": [7, 8]}
    plain = {"name": "GD", "num_workers": 16, "step_size": [0.25, 0.5, 1.0]}
    changes = {
        "problem": [{"num_features": 16}],
        "scheme": [decodable, plain],
        "delays": [{"family": "exponential", "rate": 1.0}],
    }
    assert sweep(tmp_path, **changes)[1]
    frame = lagc_jax.load_results(tmp_path)
    assert frame["redundancy"].tolist()[::2] == [7, 8, 1, 1, 1]
    assert frame["scheme"].tolist()[::2] == 2 * ["first decodable"] + 3 * ["GD"]
    with jax.enable_x64(False):
        assert len(make(**changes)) < 5
        assert_same(lagc_jax.load_results(tmp_path), frame)
    assert len(make(**changes)) == 5


@pytest.mark.parametrize(
    "mode", [jax.default_prng_impl("rbg"), jax.threefry_partitionable(False)], ids=["rbg", "old"]
)
def test_the_generator_that_jax_takes_by_default_does_not_matter(mode, tmp_path, table):
    drawn = approximate_gc(7, 2, 4).decoding.encoding
    with mode:
        np.testing.assert_array_equal(approximate_gc(7, 2, 4).decoding.encoding, drawn)
        assert sweep(tmp_path)[1]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_quantiles_that_differ_little_have_columns_of_their_own(tmp_path):
    # Gradient descent reaches both accuracies on every machine.
    sweep(tmp_path, quantiles=[0.5, 0.5000001], scheme=[{"name": "GD", "num_workers": 4}])
    frame = lagc_jax.load_results(tmp_path)
    assert [name for name in frame if name.startswith("time_q")] == ["time_q0.5", "time_q0.5000001"]
    assert (frame["time_q0.5"] < frame["time_q0.5000001"]).all()


def test_damaged_blocks_are_named_and_computed_anew(tmp_path, table):
    sweep(tmp_path)
    flipped, cut, dangling, _ = blocks(tmp_path)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-7])
    dangling.unlink()
    dangling.symlink_to("nowhere")
    with pytest.raises(ValueError, match=flipped.name):
        lagc_jax.load_results(tmp_path)
    seen, complete = sweep(tmp_path)
    assert complete
    assert list(seen[0].damaged) == [flipped, cut, dangling]
    assert [progress.block for progress in seen[1:]] == [0, 1, 2]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_a_folder_where_a_block_belongs_is_named(done, tmp_path):
    directory = copy(done, tmp_path)
    block = blocks(directory)[0]
    block.unlink()
    block.mkdir()
    with pytest.raises(ValueError, match=f"{block.name} is damaged"):
        lagc_jax.load_results(directory)
    with pytest.raises(ValueError, match=f"{block.name} is a folder"):
        sweep(directory)


DAMAGED = {
    "cut": '{"format": 2, "runs"',
    "list": "[]",
    "null": "null",
    "bare": "{}",
    "no runs": '{"format": 2, "runs": null, "description": {}}',
    "odd runs": '{"format": 2, "runs": [3], "description": []}',
    "deep": 100_000 * "[",
    "deep description": '{"format": 2, "runs": [], "description": ' + 900 * "[" + 900 * "]" + "}",
    "bytes": "\udcff",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_manifest_is_written_anew(text, done, tmp_path, table):
    directory = copy(done, tmp_path)
    manifest = directory / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(text, errors="surrogateescape")
    assert_same(lagc_jax.load_results(directory), table)
    with pytest.warns(RuntimeWarning):
        seen, complete = sweep(directory)
    assert complete
    assert len(seen) == 1
    assert json.loads(manifest.read_text())["description"] == whole["description"]


def test_a_store_that_cannot_be_a_directory_is_refused_before_anything_is_run(tmp_path):
    (tmp_path / "file").touch()
    for wrong in ("", 3, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"store=.*; give"):
            lagc_jax.run(None, wrong)
    with pytest.raises(ValueError, match="directory=3 is no path"):
        lagc_jax.load_results(3)


def test_a_manifest_that_describes_nothing_is_damaged(tmp_path):
    (tmp_path / "manifest.json").write_text('{"format": 2, "runs": [], "description": 3}')
    made, words = update_manifest(tmp_path, {"iterations": 3})
    assert made["description"] == {"iterations": 3}
    assert [word for word in words if "damaged" in word] == words


def test_another_format_is_refused(done, tmp_path):
    directory = copy(done, tmp_path)
    (directory / "manifest.json").write_text('{"format": 1, "runs": []}')
    with pytest.raises(ValueError, match="another version"):
        sweep(directory)


def test_a_damaged_index_is_an_error_and_written_anew(done, tmp_path, table):
    directory = copy(done, tmp_path)
    (directory / "index.parquet").write_bytes((done / "index.parquet").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"index\.parquet is damaged"):
        lagc_jax.load_results(directory)
    assert sweep(directory)[1]
    assert_same(lagc_jax.load_results(directory), table)
    with pytest.raises(ValueError, match="holds no results"):
        lagc_jax.load_results(tmp_path / "nowhere")


def test_the_results_of_other_conditions_are_continued_with_a_warning(tmp_path):
    sweep(tmp_path, stop_after=1)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"platform": "', '"platform": "other '))
    with pytest.warns(RuntimeWarning, match="platform: other"):
        assert sweep(tmp_path)[1]


def test_a_second_run_is_kept_out(tmp_path, table):
    at_work = processes.join(tmp_path, processes.Process(), "", lambda alone: None)
    with at_work, pytest.raises(ValueError, match=f"in use.*process {os.getpid()} on"):
        sweep(tmp_path)
    assert sweep(tmp_path)[1]
    assert_same(lagc_jax.load_results(tmp_path), table)


def fill_disk(monkeypatch, flushes):
    """Let some flushes through, then have no space left."""
    flush, left = os.fsync, iter(range(flushes))

    def fsync(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(store.os, "fsync", fsync)


def test_a_full_disk_leaves_what_was_written_valid(tmp_path, table, monkeypatch):
    with monkeypatch.context() as patch:
        # Two flushes a file, its own and its folder's: manifest, index and two blocks fit.
        fill_disk(patch, 8)
        with pytest.raises(OSError, match="No space left"):
            sweep(tmp_path)
    assert len(blocks(tmp_path)) == 2
    with pytest.warns(RuntimeWarning, match="4 of 8 points"):
        assert_same(lagc_jax.load_results(tmp_path), table[table["point"] < 4])
    assert sweep(tmp_path)[1]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_what_a_crash_left_half_written_is_removed_and_nothing_else(tmp_path):
    sweep(tmp_path, stop_after=1)
    name = blocks(tmp_path)[0].name
    half = [tmp_path / "blocks" / f".{name}.7.tmp", tmp_path / ".manifest.json.12.tmp"]
    own = [
        tmp_path / "notes" / f".{name}.7.tmp",
        tmp_path / ".notes.tmp",
        tmp_path / "blocks" / ".notes.7.tmp",
        tmp_path / "blocks" / "notes.parquet",
    ]
    own[0].parent.mkdir()
    for path in half + own:
        path.write_bytes(b"PAR1")
    assert sweep(tmp_path)[1]
    assert [path.exists() for path in half + own] == [False, False, True, True, True, True]
    lagc_jax.load_results(tmp_path)


def test_blocks_are_cut_by_the_seconds_that_points_take():
    points = list(make(scheme=[{"name": "GD", "num_workers": 4}]))
    grid = points * 500
    cutter = pace.Pace(256)
    assert len(cutter.cut(grid)) == 1  # nothing is known
    cutter.took(grid[:1], 8.0)  # most of it to compile
    assert len(cutter.cut(grid)) == 5
    cutter.took(grid[:5], 0.5)
    assert len(cutter.cut(grid)) == 100
    cutter.took(grid[:100], 0.1)
    assert len(cutter.cut(grid)) == 256
    (other, *_) = make(scheme=[{"name": "GD", "num_workers": 5}])
    assert cutter.cut([*grid[:3], other, *grid]) == [*grid[:3], other]


def test_the_first_block_of_a_structure_has_a_point_for_every_device():
    points = list(make(scheme=[{"name": "GD", "num_workers": 4}]))
    (other, *_) = make(scheme=[{"name": "GD", "num_workers": 5}])
    cutter = pace.Pace(256, devices=3)
    assert cutter.cut([*points[:1] * 2, other]) == points[:1] * 2
    assert len(cutter.cut(points[:1] * 500)) == 3
    cutter.took(points[:1] * 3, 12.0)  # most of it to compile
    assert len(cutter.cut(points[:1] * 500)) == 10
    assert cutter.cut([points[0], other, other, points[0]]) == [points[0], other, other]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"realisations": 10**9}, ["realisations needs about 89.4 GiB", "lower realisations"]),
        ({"iterations": 10**10}, ["iterations needs", "lower iterations"]),
        (
            {"scheme": [{"name": "LAG", "num_workers": 4, "memory": 10**10}]},
            ["memory needs", "lower memory"],
        ),
        (
            {"problem": [{"kind": "gaussian", "num_features": 10**6, "num_rows": 10**5}]},
            ["num_workers needs", "num_features"],
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_more_memory_than_there_is_is_refused(changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 64 * 2**30)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        sweep(tmp_path / "out", **changes)
    for word in (*words, "64 GiB"):
        assert word in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("threads", "used"), [(2, 1), (4, 3), (5, 4)])
def test_host_devices_leave_a_thread_free(threads, used, monkeypatch):
    # With as many devices as threads, XLA can wait for a thread forever.
    monkeypatch.setattr(devices.jax, "local_devices", lambda: 4 * jax.devices())
    monkeypatch.setattr(devices, "_threads", lambda: threads)
    if used == 4:
        assert devices.local_mesh().devices.size == 4
    else:
        with pytest.warns(RuntimeWarning, match=f"{used} of 4 host devices are used"):
            assert devices.local_mesh().devices.size == used


@pytest.mark.parametrize(
    ("given", "used"), [({}, 2), *(({name: "2"}, 1) for name in devices.VARIABLES)]
)
def test_the_pool_is_as_large_as_it_is_whatever_the_environment_says_now(given, used):
    code = """
import os, warnings
warnings.simplefilter("ignore")
from lagc_jax.experiments import devices
devices.widen_pool()
devices.jax.devices()
os.environ["NPROC"] = "9"
print(devices.local_mesh().devices.size)
"""
    variables = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    environment = {k: v for k, v in os.environ.items() if k not in devices.VARIABLES}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, env=environment | variables | given, stdout=subprocess.PIPE, check=True
    )
    assert int(ran.stdout) == used


def test_the_pool_is_asked_to_be_larger_than_the_devices(monkeypatch):
    for name in devices.VARIABLES:
        monkeypatch.setenv(name, "1")  # so that it is put back as it was
        monkeypatch.delenv(name)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=7")
    devices.widen_pool()
    assert all(int(os.environ.pop(name)) > 7 for name in devices.VARIABLES)
    monkeypatch.setenv("NPROC", "3")
    devices.widen_pool()
    assert os.environ["NPROC"] == "3"
    assert "PJRT_NPROC" not in os.environ


TOML = """
iterations = 20
realisations = 32
accuracies = [1.0, 1e-1]
points_per_block = 2
[[problem]]
kind = "synthetic"
num_features = 5
[[scheme]]
name = "LAGC"
num_workers = 4
num_groups = [1, 2, 3]
redundancy = [1, 2]
[[delays]]
family = "exponential"
rate = [1.0, 2.0]
"""


@pytest.fixture
def script(tmp_path, monkeypatch, capsys):
    """Runs the script in this process; the answer is its status, output and errors."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "unused")
    (tmp_path / "sweep.toml").write_text(TOML)

    def run(*arguments, config=tmp_path / "sweep.toml"):
        try:
            status = grid.main([str(config), *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_the_script_runs_and_continues(script, tmp_path, table):
    status, output, errors = script("--out", tmp_path / "out", "--verbose")
    assert status == 0
    assert "8 points" in output
    assert "4 points dropped: num_groups does not divide num_workers" in output
    assert sum(line.startswith("block ") for line in output.splitlines()) >= 4
    assert "Complete" in output
    assert errors == ""  # no bar where there is no terminal
    frame = lagc_jax.load_results(tmp_path / "out")
    assert_same(frame, table)
    status, output, _ = script("--out", tmp_path / "out")
    assert status == 0
    assert "8 of 8 points are there already" in output


def test_a_dry_run_says_what_it_will_take_and_writes_nothing(script, tmp_path):
    status, output, _ = script("--dry-run")
    assert status == 0
    # Paths of two numbers of groups, clocks with and without a table, means of two sizes.
    for words in ("8 points", "6 programs", "256 realisations", "MiB of memory", " s on "):
        assert words in output
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


def test_a_full_disk_is_one_clear_line(script, tmp_path, monkeypatch):
    fill_disk(monkeypatch, 2)
    status, _, errors = script("--out", tmp_path / "out")
    assert status == 1
    for words in ("No space left", "before is valid. Make room", "To continue: python"):
        assert words in errors


def test_a_path_that_cannot_be_is_named(script, tmp_path):
    file, remedy = tmp_path / "sweep.toml", "Give an --out that can be written"
    for out, expected, words in (
        (file, 2, "not the path of a directory; give one"),
        (file / "x", 2, "not the path of a directory; give one"),
        (tmp_path / (300 * "x"), 1, remedy),
    ):
        status, _, errors = script("--out", out)
        assert status == expected
        assert "--out" in errors
        assert str(out) in errors
        assert words in errors
        assert "Make room" not in errors
        assert errors.count("\n") == 1


def test_too_much_memory_is_one_line(script, tmp_path):
    (tmp_path / "sweep.toml").write_text(TOML.replace("= 32", "= 2_000_000_000"))
    for arguments in (["--dry-run"], ["--out", tmp_path / "out"]):
        status, _, errors = script(*arguments)
        assert status == 2
        assert "lower realisations" in errors
        assert errors.count("\n") == 1


class Closed(io.StringIO):
    """A pipe whose reader left; its descriptor is another file's."""

    file = None

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def fileno(self):
        return self.file.fileno()


@pytest.mark.parametrize("program", [grid, plot])
def test_a_reader_that_leaves_ends_a_script_quietly(program, done, tmp_path, monkeypatch):
    (tmp_path / "sweep.toml").write_text(TOML)
    arguments = [done, "--out", tmp_path] if program is plot else [tmp_path / "sweep.toml"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments), *["--dry-run"][program is plot :]])
    with Closed() as pipe, tempfile.TemporaryFile() as pipe.file:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stderr", pipe)
        with pytest.raises(SystemExit) as ended:
            common.run_script(program.main)
    assert ended.value.code == 128 + 13


def test_a_second_signal_ends_a_process_that_is_inside_a_long_call():
    # Python's own handlers do not run while this C function does, of half a minute.
    code = (
        "import grid, hashlib\n"
        "with grid.Stop():\n"
        "    print('in', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        [sys.executable, "-c", "import signal\n" + code.replace("60_000", "60_000")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "in\n"
        process.send_signal(signal.SIGINT)
        assert "once more" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--out is missing"),
        (("--out", "x", "--process-id", 0), "together"),
        (("--coordinator", "localhost:1", "--num-processes", 2, "--process-id", 2), "process_id=2"),
        (("--out", "x", "--unknown"), "--unknown"),
    ],
)
def test_bad_options_exit_with_2_and_one_line(script, arguments, words):
    status, _, errors = script(*arguments)
    assert status == 2
    assert errors.startswith("grid.py: error: ")
    assert errors.count("\n") == 1
    assert words in errors


def test_a_bad_file_exits_with_2(script, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(TOML.replace("num_groups", "num_group"))
    status, _, errors = script("--out", tmp_path / "out", config=bad)
    assert status == 2
    assert "unknown key 'num_group' in [[scheme]] 1; did you mean 'num_groups'?" in errors
    assert not (tmp_path / "out").exists()
