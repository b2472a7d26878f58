"""What a directory of results says to people: who made it, with what, and what was asked of it."""

import itertools
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lagc_jax.experiments.devices import count_devices, describe_devices

PACKAGES = ("lagc_jax", "jax", "jaxlib", "numpy", "pyarrow")
# Of JAX, which change the last digits.
SETTINGS = ("jax_default_matmul_precision",)
FORMAT = 2
MANIFEST = "manifest.json"


def update_manifest(
    directory: Path, description: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The manifest that a directory should have now, and lines on what it had before.

    Raises:
        ValueError: if the directory was written by another version.
    """
    runs, words = [], []
    try:
        old = _read(directory / MANIFEST)
        if old and old["format"] == FORMAT:
            runs = old["runs"]
            words = _describe_changes(directory, old, description)
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        words = [
            f"{directory / MANIFEST} is damaged ({type(error).__name__}); it is written anew, "
            f"without what it said of earlier runs"
        ]
        old = {"format": FORMAT}
    if old and old["format"] != FORMAT:
        raise ValueError(
            f"{directory} was written by another version of lagc_jax; give another directory"
        )
    return _manifest([*runs, this_run()], description), words


def join_manifest(directory: Path) -> tuple[dict[str, Any], list[str]] | None:
    """The manifest with the devices of one more process at work, and lines on what is new of it.

    To be called while no other process does; None where there is no sound manifest.
    """
    try:
        manifest = _read(directory / MANIFEST) or {}
        *runs, begun = manifest["runs"]
        run, devices = this_run(), begun["devices"]
        known = [_kind(device) for device in devices]
        lines = describe_difference({**begun, "devices": []}, {**run, "devices": []})
        for device in run["devices"]:
            if _kind(device) in known:
                devices[known.index(_kind(device))]["count"] += device["count"]
            else:
                lines.append(
                    f"devices: {describe_devices([device])} beside {describe_devices(devices)}"
                )
                devices = [*devices, device]
        runs.append({**begun, "devices": devices})
        words = [_begun(directory, lines)] if lines else []
        return _manifest(runs, manifest["description"]), words
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _manifest(runs: list[dict[str, Any]], description: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest, without runs that are just like the one before."""
    different = [run for run, _ in itertools.groupby(runs)]
    return {"format": FORMAT, "runs": different, "description": dict(description)}


def _kind(device: Mapping[str, Any]) -> dict[str, Any]:
    """What numbers depend on of a description of devices."""
    return {name: value for name, value in device.items() if name != "count"}


def _kinds(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run without the number of its devices, on which nothing depends."""
    return {**run, "devices": [_kind(device) for device in run["devices"]]}


def _begun(directory: Path, lines: list[str]) -> str:
    return (
        f"{directory} was begun under other conditions ({'; '.join(lines)}), under which the last "
        f"digits may differ"
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(manifest["runs"], list) or not isinstance(manifest["format"], int):
        raise TypeError
    if manifest["format"] == FORMAT and not isinstance(manifest["description"], dict):
        raise TypeError
    return manifest


def _describe_changes(directory: Path, old: dict[str, Any], description: Any) -> list[str]:
    """A line for each thing about a directory that is no longer what it was."""
    words = []
    before = old["runs"][-1:]
    if before and (lines := describe_difference(_kinds(before[0]), _kinds(this_run()))):
        words.append(_begun(directory, lines))
    if lines := describe_difference(old["description"], dict(description)):
        words.append(
            f"{directory} was asked for something else before ({'; '.join(lines)}); what both ask "
            f"for is not computed again, the rest is kept but not shown"
        )
    return words


def this_run() -> dict[str, Any]:
    """What numbers depend on beside what is asked."""
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    settings = {name: getattr(jax.config, name) for name in SETTINGS}
    return {
        "versions": versions,
        "devices": count_devices(),
        "precision": jnp.dtype(jnp.result_type(float)).name,
        "settings": settings,
    }


def describe_difference(old: Any, new: Any, name: str = "") -> list[str]:
    """Lines that say where two descriptions differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        pairs = [(f"{name}.{key}" if name else key, old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and _holds_tables(old + new):
        padded = itertools.zip_longest(old, new)
        pairs = [(f"{name}[{i}]", *pair) for i, pair in enumerate(padded, 1)]
    else:
        return [] if old == new else [f"{name}: {_show(old)} -> {_show(new)}"]
    return [line for where, a, b in pairs for line in describe_difference(a, b, where)]


def _holds_tables(values: list) -> bool:
    return any(isinstance(value, dict) for value in values)


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
