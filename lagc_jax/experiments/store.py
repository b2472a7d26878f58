"""The directory of a sweep: a manifest, and blocks of results that are whole or not there.

A block is written under another name, flushed to the disk and then renamed, and its name carries
the key of what it answers and the digest of its bytes. So a name says whether a file is the result
of this very sweep, and its bytes whether they are those that were written.
"""

import hashlib
import json
import os
import platform
import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lagc_jax.experiments.grid import Config, describe_difference, parse_config
from lagc_jax.experiments.points import Points, parameters_frame

PACKAGES = ("lagc_jax", "jax", "jaxlib", "numpy", "pyarrow")
FORMAT = 1
MANIFEST, BLOCKS = "manifest.json", "blocks"
DIGITS = 16


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there in full or not at all, whatever happens meanwhile.

    Raises:
        OSError: if it cannot be written, a full disk for instance; nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename last; systems without file descriptors of folders do that by themselves."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Store:
    """The directory of one sweep.

    Attributes:
        directory: where it is.
        config: what it holds the results of.
        num_points: of the sweep.
    """

    directory: Path
    config: Config
    num_points: int

    @cached_property
    def hash(self) -> str:
        """Hash of the configuration."""
        return hashlib.sha256(json.dumps(self.config.source, sort_keys=True).encode()).hexdigest()

    @property
    def num_blocks(self) -> int:
        """Blocks of `points_per_block` points, the last may be smaller."""
        return -(-self.num_points // self.config.points_per_block)

    def points_of(self, block: int) -> range:
        """Numbers of a block's points."""
        size = self.config.points_per_block
        return range(block * size, min((block + 1) * size, self.num_points))

    def _stem(self, block: int) -> str:
        """Number of a block and key of its contents, with which its file's name begins."""
        points = self.points_of(block)
        content = f"{self.hash} {points.start} {points.stop}"
        return f"{block:06d}-{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}"

    def prepare(self, alone: bool = True) -> None:
        """Make the directory and its manifest, and remove what a crash left half written.

        Args:
            alone: whether nobody else is at work in it; otherwise nothing is removed.

        Raises:
            ValueError: if the directory holds another sweep; the differences are named.
        """
        (self.directory / BLOCKS).mkdir(parents=True, exist_ok=True)
        for temporary in self.directory.rglob(".*.tmp") if alone else ():
            temporary.unlink()
        path = self.directory / MANIFEST
        runs = []
        if path.exists():
            manifest = read_manifest(self.directory)
            if differences := describe_difference(manifest["configuration"], self.config.source):
                raise ValueError(
                    f"out={self.directory} holds another sweep, which differs in "
                    f"{'; '.join(differences)}; give another directory, or the old configuration"
                )
            runs = manifest["runs"]
        run = _this_run()
        if runs and run != runs[-1]:
            changes = "; ".join(describe_difference(runs[-1], run))
            warnings.warn(
                f"{self.directory} was begun under other conditions ({changes}), under which the "
                f"last digits may differ",
                RuntimeWarning,
                stacklevel=2,
            )
        if not runs or run != runs[-1]:
            manifest = {
                "format": FORMAT,
                "hash": self.hash,
                "points": self.num_points,
                "blocks": self.num_blocks,
                "precision": self.config.precision,
                "runs": [*runs, run],
                "configuration": self.config.source,
            }
            write_atomically(path, json.dumps(manifest, indent=1).encode())

    def present(self) -> dict[int, Path]:
        """Files of this sweep's blocks by number, sound or not."""
        found = {}
        for path in sorted((self.directory / BLOCKS).glob("*.parquet")):
            number = path.name.partition("-")[0]
            if number.isdecimal() and int(number) < self.num_blocks:
                stem = self._stem(int(number))
                if path.name.startswith(f"{stem}-"):
                    found[int(number)] = path
        return found

    def count_finished(self) -> int:
        """Points of all blocks that there are."""
        return sum(len(self.points_of(block)) for block in self.present())

    def damaged(self) -> list[Path]:
        """Files of blocks that are not what was written."""
        return [path for path in self.present().values() if _sound(path) is None]

    def missing(self) -> list[int]:
        """Blocks of which there is no file."""
        present = self.present()
        return [block for block in range(self.num_blocks) if block not in present]

    def finished(self, block: int) -> bool:
        """Whether the file of a block is there."""
        return any((self.directory / BLOCKS).glob(f"{self._stem(block)}-*.parquet"))

    def write(self, block: int, columns: dict[str, np.ndarray]) -> None:
        """Keep the results of a block."""
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer)
        data = buffer.getvalue().to_pybytes()
        name = f"{self._stem(block)}-{hashlib.sha256(data).hexdigest()[:DIGITS]}.parquet"
        write_atomically(self.directory / BLOCKS / name, data)


def _sound(path: Path) -> bytes | None:
    """The bytes of a block, None where they are not those that its name tells of."""
    data = path.read_bytes()
    digest = path.stem.rpartition("-")[2]
    return data if hashlib.sha256(data).hexdigest()[:DIGITS] == digest else None


def _this_run() -> dict[str, Any]:
    device = jax.local_devices()[0]
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return {"versions": versions, "platform": device.platform, "device": device.device_kind}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a directory; raise ValueError where there is none."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except OSError:
        raise ValueError(f"directory={directory} holds no sweep: no {MANIFEST} in it") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or start anew") from None
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path} has another format; read it with the version that wrote it")
    return manifest


def open_store(directory: Path) -> tuple[Store, Points]:
    """The sweep that a directory holds, as its manifest tells."""
    config = parse_config(read_manifest(directory)["configuration"])
    points = Points(config)
    return Store(directory, config, len(points)), points


def load_results(directory: str | Path) -> pd.DataFrame:
    """Read the results of a sweep as a tidy table, a row for every point and accuracy.

    Args:
        directory: what `sweeps/grid.py` wrote to with `--out`.

    Returns:
        A frame sorted by point, in the order of the accuracies. Parameters: `point`, `problem`,
        `scheme`, `num_workers`, `num_groups`, `redundancy`, `xi`, `memory`, `trigger`, `step_size`
        (in units of `1/L`), `delays` and the family's own, `problem_*` of the problem (NaN where a
        family or problem lacks one), `accuracy`. Complexity, `inf` where the accuracy is not
        reached: `iterations`, `communication`, `computation`, `uplink_bits`; of the time the sample
        `time_mean`, `time_standard_error` and `time_q*`, a column a quantile, and `time_expected`,
        its exact mean. `diverged` is the share of the realisations whose path diverged.

    Raises:
        ValueError: if the directory holds no sweep, no result yet, or a damaged block.

    Warns:
        RuntimeWarning: if blocks are missing; the table then holds the points that there are.
    """
    directory = Path(directory)
    store, points = open_store(directory)
    tables = []
    present = store.present()
    for path in (present[block] for block in sorted(present)):
        data = _sound(path)
        if data is None:
            raise ValueError(f"{path} is damaged; run the sweep again, it computes it anew")
        tables.append(pq.read_table(pa.BufferReader(data)))
    if not tables:
        raise ValueError(f"directory={directory} holds no results yet; run the sweep")
    if len(tables) < store.num_blocks:
        warnings.warn(
            f"{directory} holds {len(tables)} of {store.num_blocks} blocks; run the sweep again to "
            f"complete it",
            RuntimeWarning,
            stacklevel=2,
        )
    measured = pa.concat_tables(tables).to_pandas()
    numbers = (number for block in sorted(present) for number in store.points_of(block))
    parameters = parameters_frame(points[number] for number in numbers)
    return parameters.merge(measured, on="point", validate="one_to_many")
