"""What a sweep says of its devices, and how it uses accelerators."""

import json
import warnings

import jax
import numpy as np
import pytest

from lagc_jax.experiments import devices, manifest
from lagc_jax.experiments.store import Store

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
