"""Sweeps: what they compute, and that nothing written is lost or wrong whatever happens."""

import errno
import os
import subprocess
import sys

import grid
import jax
import numpy as np
import pandas as pd
import pytest
from test_sweep_config import tables

import lagc_jax
from lagc_jax.experiments import Points, devices, parse_config, processes, run_sweep, store
from lagc_jax.theory import expected_complexity


def sweep(directory, **changes):
    """Run the small sweep; return what was reported and whether it is complete."""
    stop_after = changes.pop("stop_after", None)
    seen = []
    complete = run_sweep(
        parse_config(tables(**({"points_per_block": 2} | changes))),
        directory,
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
    problem = point.problem.build(point.scheme.num_workers)
    settings = dict(
        num_iterations=20, num_realisations=32, accuracies=[1.0, 1e-1],
        step_size=point.step_size / float(problem.total_smoothness),
    )  # fmt: skip
    return problem, lagc_jax.simulate_batch(
        problem, point.scheme, point.delays.delays, jax.random.key(0), **settings | changes
    )


def check_point(rows, point, **changes):
    """Rows of a table against a batch of the same point, and the exact expectation."""
    _, batch = reference(point, **changes)
    np.testing.assert_array_equal(rows["accuracy"], [1.0, 1e-1])
    for name in ("iterations", "communication", "computation"):
        np.testing.assert_array_equal(rows[name], getattr(batch, name))
    # Two programs may round differently.
    np.testing.assert_allclose(rows["time_mean"], batch.mean, rtol=1e-12)
    error = batch.wall_clock.standard_error
    np.testing.assert_allclose(rows["time_standard_error"], error, rtol=1e-9)
    np.testing.assert_allclose(
        rows[["time_q0.05", "time_q0.5", "time_q0.95"]], batch.quantiles, rtol=1e-12
    )
    path = lagc_jax.Path(batch.gap, batch.selected, None, batch.diverged)
    exact = expected_complexity(point.scheme, point.delays.delays, path, [1.0, 1e-1])
    np.testing.assert_allclose(rows["time_expected"], exact.mean, rtol=1e-12)
    np.testing.assert_array_equal(rows["diverged"], float(batch.diverged))


def test_every_row_is_what_a_batch_of_its_point_gives(table):
    points = Points(parse_config(tables()))
    assert len(table) == 2 * len(points)
    assert np.isfinite(table["iterations"]).any()
    for point in points:
        check_point(table[table["point"] == point.number], point)


def test_worker_by_worker_sampling_and_the_worker_trigger(tmp_path):
    scheme = {"name": "G-LAG", "num_workers": 4, "num_groups": 2, "trigger": "worker", "xi": 0.1}
    changes = {"sampler": "workers", "scheme": [scheme]}
    assert sweep(tmp_path, **changes)[1]
    frame = lagc_jax.load_results(tmp_path)
    for point in Points(parse_config(tables(**changes))):
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
    points = Points(parse_config(tables(**changes)))
    assert frame["bits"].dropna().unique().tolist() == [2.0]
    assert frame["deadline"].dropna().unique().tolist() == [1.0, 2.0]
    for point in points:
        rows = frame[frame["point"] == point.number]
        if point.scheme.decoding is None:
            check_point(rows, point)
            continue
        _, batch = reference(point)
        assert rows["time_expected"].isna().all()
        for name in ("iterations", "communication", "computation"):
            np.testing.assert_allclose(rows[name], getattr(batch, name), rtol=1e-12)
        np.testing.assert_allclose(rows["uplink_bits"], batch.bits, rtol=1e-12)
        np.testing.assert_allclose(rows["time_mean"], batch.mean, rtol=1e-12)
        np.testing.assert_allclose(rows["time_q0.5"], batch.quantiles[:, 1], rtol=1e-12)


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
    scheme = {"name": "LAGC", "num_workers": 4, "num_groups": 1, "redundancy": 1}
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
    with pytest.warns(RuntimeWarning, match="1 of 4 blocks"):
        part = lagc_jax.load_results(tmp_path)
    assert_same(part, table[table["point"] < 2])
    seen, complete = sweep(tmp_path)
    assert complete
    assert [progress.block for progress in seen] == [None, 1, 2, 3]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_another_sweep_is_refused_and_the_differences_named(done, table):
    with pytest.raises(ValueError, match="another sweep") as error:
        sweep(done, realisations=64, delays=[{"family": "exponential", "rate": 3.0}])
    assert "realisations: 32 -> 64" in str(error.value)
    assert "delays[1].rate: [1.0, 2.0] -> [3.0]" in str(error.value)
    assert_same(lagc_jax.load_results(done), table)


def test_damaged_blocks_are_named_and_computed_anew(tmp_path, table):
    sweep(tmp_path)
    flipped, cut, emptied, _ = blocks(tmp_path)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-7])
    emptied.write_bytes(b"")
    with pytest.raises(ValueError, match=flipped.name):
        lagc_jax.load_results(tmp_path)
    seen, complete = sweep(tmp_path)
    assert complete
    assert list(seen[0].damaged) == [flipped, cut, emptied]
    assert [progress.block for progress in seen[1:]] == [0, 1, 2]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_a_damaged_manifest_is_an_error(tmp_path, done):
    (tmp_path / "manifest.json").write_bytes((done / "manifest.json").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        sweep(tmp_path)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        lagc_jax.load_results(tmp_path)
    with pytest.raises(ValueError, match="holds no sweep"):
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
        # Two flushes a file, its own and its folder's: the manifest and two blocks fit.
        fill_disk(patch, 6)
        with pytest.raises(OSError, match="No space left"):
            sweep(tmp_path)
    assert len(blocks(tmp_path)) == 2
    with pytest.warns(RuntimeWarning, match="2 of 4 blocks"):
        assert_same(lagc_jax.load_results(tmp_path), table[table["point"] < 4])
    assert sweep(tmp_path)[1]
    assert_same(lagc_jax.load_results(tmp_path), table)


def test_what_a_crash_left_half_written_is_removed(tmp_path):
    sweep(tmp_path, stop_after=1)
    half = tmp_path / "blocks" / ".000001-x.parquet.7.tmp"
    half.write_bytes(b"PAR1")
    assert sweep(tmp_path)[1]
    assert not half.exists()


def test_another_precision_than_jax_computes_in_is_refused(tmp_path):
    with pytest.raises(ValueError, match="precision='float32' but JAX computes in float64"):
        sweep(tmp_path, precision="float32")


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


@pytest.mark.parametrize("variable", devices.VARIABLES)
def test_the_pool_is_as_large_as_it_is_whatever_the_environment_says_now(variable):
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
    for given, used in ((variables | {variable: "2"}, 1), (variables, 2)):
        environment = {k: v for k, v in os.environ.items() if k not in devices.VARIABLES} | given
        command = [sys.executable, "-c", code]
        assert (
            int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
            == used
        )


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
    assert sum(line.startswith("block ") for line in output.splitlines()) == 4
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
    for words in ("No space left", "what was written before is valid", "To continue: python"):
        assert words in errors


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
