"""What a sweep says of its devices, and how it uses accelerators."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pandas as pd
import pytest

import lagc_jax as lj
from lagc_jax.experiments import Experiment, Points, Vary, devices, manifest, measure, run, spread
from lagc_jax.experiments.store import Store
from lagc_jax.targets import Iterate

KEYS = np.array([b"0" * 24])
H100 = {"kind": "H100", "platform": "gpu", "count": 1}


def come(monkeypatch, directory, found, precision="float64", first=True):
    """A process with these devices goes to work; the manifest's last run."""
    monkeypatch.setattr(manifest, "count_devices", lambda: [dict(each) for each in found])
    store = Store(directory)
    with jax.enable_x64(precision == "float64"):
        store.open({}, KEYS, ["time"]) if first else store.join(KEYS)
    return json.loads((directory / "manifest.json").read_text())["runs"]


def test_the_manifest_tells_the_devices_and_the_precision(tmp_path):
    Store(tmp_path).open({}, KEYS, ["time"])
    (run,) = json.loads((tmp_path / "manifest.json").read_text())["runs"]
    (found,) = run["devices"]
    assert found["platform"] == jax.devices()[0].platform
    assert found["count"] == jax.local_device_count()
    assert run["precision"] == "float64"


def test_more_devices_of_a_kind_are_recorded_without_a_word(tmp_path, monkeypatch):
    come(monkeypatch, tmp_path, [H100])
    assert [r["devices"][0]["count"] for r in come(monkeypatch, tmp_path, [H100])] == [1]
    for count in (2, 3):
        *_, run = come(monkeypatch, tmp_path, [H100], first=False)
        assert run["devices"] == [H100 | {"count": count}]
    assert len(come(monkeypatch, tmp_path, [H100])) == 2


@pytest.mark.parametrize("first", [True, False], ids=["later", "beside"])
def test_devices_of_another_kind_are_recorded_with_a_warning(first, tmp_path, monkeypatch):
    other = H100 | {"kind": "A100"}
    come(monkeypatch, tmp_path, [H100])
    with pytest.warns(RuntimeWarning, match="other conditions.*A100.*last digits may differ"):
        runs = come(monkeypatch, tmp_path, [other], first=first)
    told = [each["kind"] for run in runs for each in run["devices"]]
    assert told == ["H100", "A100"]
    # One that is known by now is no news.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        come(monkeypatch, tmp_path, [other], first=False)


def test_another_precision_is_told(tmp_path, monkeypatch):
    come(monkeypatch, tmp_path, [H100])
    with pytest.warns(RuntimeWarning, match="precision: float64 -> float32"):
        come(monkeypatch, tmp_path, [H100], "float32", first=False)


def test_a_process_with_devices_of_two_kinds_is_warned(monkeypatch):
    mixed = [H100, H100 | {"kind": "A100"}]
    monkeypatch.setattr(devices, "count_devices", lambda: mixed)
    with pytest.warns(RuntimeWarning, match=r"several kinds \(H100 \(gpu\) and A100 \(gpu\)\)"):
        devices.local_mesh()


@pytest.fixture
def as_accelerators(monkeypatch):
    """Treat this machine's devices as accelerators, which take 4 paths together."""
    for module in (measure, spread):
        monkeypatch.setattr(module, "accelerated", lambda mesh: True)
    monkeypatch.setattr(measure, "PATHS_TOGETHER", 4)


def experiment(problem, xi):
    return Experiment(
        problems={"LAG": problem},
        schemes={"LAG": Vary(lambda xi: lj.lag(6, xi), xi=xi), "GD": lj.gd(6)},
        delays={"low tail": lj.Exponential(1.0)},
        target=lj.Gap([1e-1, 1e-3]),
        num_iterations=60,
        num_realisations=5,
    )


XI = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


def test_paths_computed_together_are_those_of_the_loop(problem, request):
    asked = experiment(problem, XI)
    alone = run(asked)
    points = list(Points(asked))
    before = measure.Engine(asked).measure(points)
    request.getfixturevalue("as_accelerators")
    pd.testing.assert_frame_equal(run(asked), alone, check_exact=True)
    for one, other in zip(measure.Engine(asked).measure(points), before, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.path.parts, other.path.parts)
        # A product of several iterates sums in another order than one of a single iterate.
        np.testing.assert_allclose(one.gap, other.gap, rtol=1e-12)


@pytest.mark.parametrize("target", [lj.Gap([1e-1, 1e-3]), Iterate([1, 9])], ids=["gap", "iterate"])
def test_points_alike_go_to_the_devices_together(problem, target, monkeypatch):
    sizes, map_items = [], spread.map_items

    def noting(body, mesh, capacity, shared, items, *how):
        sizes.append(len(items))
        return map_items(body, mesh, capacity, shared, items, *how)

    monkeypatch.setattr(spread, "map_items", noting)
    asked = dataclasses.replace(experiment(problem, XI), target=target)
    measure.Engine(asked).measure(list(Points(asked)))
    # The path of GD, those of LAG, and the realisations along all of them.
    assert sorted(sizes) == [1, len(XI), len(XI) + 1]


def test_a_path_computed_together_does_not_know_its_company(problem, as_accelerators):
    def gaps(xi):
        asked = experiment(problem, xi)
        return {
            p.parameters()["xi"]: outcome.gap
            for p, outcome in zip(
                Points(asked), measure.Engine(asked).measure(list(Points(asked))), strict=True
            )
        }

    every = gaps(XI)
    for xi in (XI[1:3], XI[::-1], XI[-1:]):
        for one, gap in gaps(xi).items():
            np.testing.assert_array_equal(gap, every[one])
