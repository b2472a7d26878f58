"""A directory of results: blocks that are whole or not there, an index, and a manifest.

A block is a table of some answers, a row or more each. Its column `key` says what they answer, the
others all that a reader needs to know of them. Its file is written under another name, flushed to
the disk and then renamed; the name carries the digest of the keys and that of the bytes. The index
says which answers are wanted, in which order. So reading derives nothing, and what is asked of a
directory may change while what is known stays.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lagc_jax._checks import warn
from lagc_jax.experiments.manifest import MANIFEST, join_manifest, update_manifest

INDEX, BLOCKS = "index.parquet", "blocks"
DIGITS = 24
_BLOCK = re.compile(rf"[0-9a-f]{{{DIGITS}}}-[0-9a-f]{{{DIGITS}}}\.parquet")
_NAMES = "|".join([re.escape(MANIFEST), re.escape(INDEX), _BLOCK.pattern])
_TEMPORARY = re.compile(rf"\.({_NAMES})\.\d+\.tmp")


def digest(value: Any) -> str:
    """Key of bytes, or of the canonical JSON of anything else."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def check_directory(name: str, directory: Any) -> None:
    """Raise ValueError unless there is such a directory, or one can be made there."""
    if not isinstance(directory, str | os.PathLike) or not os.fspath(directory):
        raise ValueError(f"{name}={directory!r} is no path; give that of a directory")
    path = Path(directory).absolute()
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ValueError(
            f"{name}={os.fspath(directory)!r} cannot be a directory: {there} is a file; give "
            f"another path"
        )


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


class _Wanted:
    """Keys (N,) in order, and how to find one's place."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def find(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a table whose key is wanted, and the places of these keys."""
        keys = np.asarray(table["key"].to_numpy(), self.keys.dtype)
        found = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        rows = np.flatnonzero(self._sorted[found] == keys)
        return rows, self._order[found[rows]]


class Store:
    """A directory of results.

    Attributes:
        directory: where it is.
        damaged: files that are not what their names say, found when they were looked at.
    """

    def __init__(self, directory: str | Path) -> None:
        """Nothing is read or written before `open` or `ask`."""
        self.directory = Path(directory)
        self.damaged: list[Path] = []
        self._seen: set[str] = set()

    def ask(self, keys: np.ndarray) -> None:
        """Say which answers are wanted, where another process has written that down.

        Args:
            keys: (N,) of `digest`, as bytes, in the order of the table; each once.
        """
        self._wanted = _Wanted(keys)
        self._present = np.zeros(len(keys), bool)
        self._seen.clear()
        self.look()

    def join(self, keys: np.ndarray) -> None:
        """As `ask`, and say which devices come to work at it beside those of the others.

        To be called while no other process does.

        Args:
            keys: as for `ask`.

        Raises:
            OSError: if that cannot be written.

        Warns:
            RuntimeWarning: if they, or the versions of packages, are others.
        """
        if joined := join_manifest(self.directory):
            self._say(*joined)
        self.ask(keys)

    def _say(self, manifest: Mapping[str, Any], words: Sequence[str]) -> None:
        for line in words:
            warn(line)
        write_atomically(self.directory / MANIFEST, json.dumps(manifest, indent=1).encode())

    def open(
        self, description: Mapping[str, Any], keys: np.ndarray, columns: Sequence[str]
    ) -> None:
        """Say which answers are wanted, and remove what a crash left half written or damaged.

        Args:
            description: of what is asked, for people.
            keys: as for `ask`.
            columns: of the table, in order; a block may lack some.

        Raises:
            ValueError: if the directory is of another version, or a folder stands where a block
                belongs.
            OSError: if something cannot be written or removed.

        Warns:
            RuntimeWarning: if the directory was asked for something else before, was begun under
                other conditions, or its manifest is damaged.
        """
        folder = self.directory / BLOCKS
        folder.mkdir(parents=True, exist_ok=True)
        for path in (*self.directory.glob(".*.tmp"), *folder.glob(".*.tmp")):
            if _TEMPORARY.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
                path.unlink()
        self._say(*update_manifest(self.directory, description))
        index = pa.table({"key": keys}).replace_schema_metadata(
            {"columns": json.dumps(list(columns)), "digest": digest(keys.tobytes())}
        )
        write_atomically(self.directory / INDEX, _to_bytes(index))
        self.ask(keys)
        for path in self.damaged:
            if path.is_dir() and not path.is_symlink():
                raise ValueError(f"{path} is a folder where a block belongs; move it away")
            path.unlink()

    def missing(self) -> np.ndarray:
        """Places of the wanted answers that are not known to be there."""
        return np.flatnonzero(~self._present)

    def finished(self) -> int:
        """Wanted answers that are known to be there."""
        return int(self._present.sum())

    def look(self) -> None:
        """Look for answers that others have written; blocks seen before are not read again."""
        for path in _block_files(self.directory):
            if path.name not in self._seen:
                self._seen.add(path.name)
                if (data := _sound(path)) is None:
                    self.damaged.append(path)
                else:
                    found = _from_bytes(data, ["key"])
                    self._present[self._wanted.find(found)[1]] = True

    def write(self, columns: Mapping[str, Any]) -> None:
        """Keep a block: columns of equal lengths, `key` among them, None where there is no value.

        Raises:
            OSError: as `write_atomically`.
        """
        table = pa.table(dict(columns))
        data = _to_bytes(table)
        name = f"{digest(np.unique(columns['key']).tobytes())}-{digest(data)}.parquet"
        write_atomically(self.directory / BLOCKS / name, data)
        self._seen.add(name)
        self._present[self._wanted.find(table)[1]] = True


def _to_bytes(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


def _from_bytes(data: bytes, columns: list[str] | None = None) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)


def _block_files(directory: Path) -> list[Path]:
    """Everything that has the name of a block, sound or not."""
    folder = directory / BLOCKS
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if _BLOCK.fullmatch(name)]


def _sound(path: Path) -> bytes | None:
    """The bytes of a block, None where they are not those that its name tells of."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if digest(data) == path.stem.rpartition("-")[2] else None


def read_index(directory: Path) -> tuple[np.ndarray, list[str]]:
    """Wanted keys and columns of the table, in order; raise ValueError without an index."""
    path = directory / INDEX
    if not path.exists():
        raise ValueError(f"directory={directory} holds no results: no {INDEX} in it")
    try:
        table = pq.read_table(path)
        keys = np.asarray(table["key"].to_numpy(), f"S{DIGITS}")
        metadata = table.schema.metadata
        if digest(keys.tobytes()).encode() == metadata[b"digest"]:
            return keys, json.loads(metadata[b"columns"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # said below, as for a digest that is wrong
    raise ValueError(f"{path} is damaged; run again, which writes it anew") from None


def load_results(directory: str | Path) -> pd.DataFrame:
    """Read the results of a sweep as a tidy table, a row for every point and accuracy.

    Args:
        directory: what `sweeps/grid.py` wrote to with `--out`.

    Returns:
        The table of `run`, sorted by point.

    Raises:
        ValueError: if the directory holds no sweep, no result yet, or a damaged block or index.

    Warns:
        RuntimeWarning: if points are missing; the table then holds those that there are.
    """
    check_directory("directory", directory)
    directory = Path(directory)
    keys, columns = read_index(directory)
    wanted, known = _Wanted(keys), np.zeros(len(keys), bool)
    tables, places = [], []
    for path in _block_files(directory):
        if (data := _sound(path)) is None:
            raise ValueError(f"{path} is damaged; run the sweep again, it computes it anew")
        table = _from_bytes(data)
        rows, found = wanted.find(table)
        new = ~known[found]
        if new.any():
            known[found] = True
            tables.append(table if new.sum() == len(table) else table.take(rows[new]))
            places.append(found[new])
    if not tables:
        raise ValueError(f"directory={directory} holds no results yet; run the sweep")
    if not known.all():
        warn(
            f"{directory} holds {known.sum()} of {len(known)} points; run the sweep again to "
            f"complete it"
        )
    point = np.concatenate(places)
    order = np.argsort(point, kind="stable")
    table = pa.concat_tables(tables, promote_options="permissive").take(order)
    frame = table.select([name for name in columns if name in table.column_names]).to_pandas()
    frame.insert(0, "point", point[order])
    return frame
