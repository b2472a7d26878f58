"""The benchmark of one device: that it finds a wrong result, and that a small one runs."""

import benchmark
import jax
import numpy as np
import on_device
import pandas as pd
import pytest
import queues

pytestmark = pytest.mark.long

QUICK = on_device.SIZES["quick"]


def test_a_small_benchmark_of_the_engine_runs(tmp_path, capsys):
    assert benchmark.main(["--engine-alone", "--quick", "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "benchmark_cpu.csv").set_index("work")
    checks = table[table.index.str.startswith("check")]
    # Against itself.
    assert (checks["difference"] == 0).all()
    assert len(checks) == 8
    timed = table.drop(checks.index)
    assert (timed["a second"] > 0).all()
    assert "points of a grid of 4" in timed.index
    assert (timed.loc[timed["of"].notna(), "share"] > 0).all()
    assert "results agree with the CPU's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda gap, chosen: (gap * (1 + 1e-9), chosen), "differs by 1e-09, more than 1e-11"),
        (lambda gap, chosen: (gap * np.nan, chosen), "differs by nan"),
        (lambda gap, chosen: (gap, ~chosen), "chooses otherwise"),
    ],
)
def test_a_device_that_computes_something_else_is_found(spoil, words, monkeypatch):
    right = {"path": (np.array([4.0, 2.0, np.inf]), np.array([True, False]))}
    found = iter([right, {"path": spoil(*right["path"])}])
    monkeypatch.setattr(on_device, "answers", lambda *_: next(found))
    with pytest.raises(RuntimeError, match=f"path in float64 {words}.* from the CPU on"):
        list(on_device.check(jax.devices()[0], QUICK, "float64"))


@pytest.mark.device
@pytest.mark.skipif(jax.default_backend() == "cpu", reason="no accelerator is here")
@pytest.mark.parametrize("precision", on_device.TOLERANCES)
def test_means_selections_and_words_of_a_device_are_those_of_the_cpu(precision):
    device = jax.devices()[0]
    sizes = on_device.SIZES[device.platform]
    if precision not in sizes.precisions:
        pytest.skip(f"{precision} is not supported on a {device.platform}")
    found = {row["work"] for row in on_device.check(device, sizes, precision)}
    assert {"check: random words", "check: clock, trace, r = 2", "check: path, LAG"} <= found


def test_random_words_that_differ_are_found():
    word = np.array([7], np.uint32)
    assert on_device.differences({"words": (word,)}, {"words": (word + 1,)}) == {
        "words": (0, False)
    }


def test_what_would_take_too_long_is_left_out(monkeypatch, capsys):
    sizes = QUICK._replace(sources=(), many=(10, 10**12))
    taken = []

    class Report:
        def add(self, work, *_):
            taken.append(work)

    on_device.clock_times(Report(), sizes, "float64", lambda: 60.0)
    assert taken == ["iterations of G-LAG, 10 realisations with quantiles"]
    assert "1e+12 realisations would take" in capsys.readouterr().out


def test_contenders_of_updates_simulate_the_same(monkeypatch):
    monkeypatch.setattr(queues, "on_all_cores", lambda: 2)
    work = queues.Updates(num_workers=6, num_features=5, updates=200, realisations=64, repeats=1)
    costs = {who: run(work) for who, run in queues.QUEUES.items()}
    assert all(cost.seconds > 0 for cost in costs.values())
    queues.check_updates(work, {who: cost.answer for who, cost in costs.items()})
    with pytest.raises(RuntimeError, match=r"engine has mean 1\.3, the exact mean is 33\.3"):
        queues.check_updates(work, {"engine": 1.3})
