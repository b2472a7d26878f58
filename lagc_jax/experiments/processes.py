"""Several processes at one sweep: they meet in a file of its directory and nowhere else.

What a process computes it has locked there, a byte for every point and one for itself. The system
frees its locks however it ends, so what a killed process was at falls to the others, nobody waits
for one that never came, and there is no connection to lose. The file tells who came, a line each.
"""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

LOCK = "lock"
WIDTH = 96  # bytes of a line
AT_WORK, LEFT = "at work", "left"
# Where the locked bytes are; locks need not lie within the file.
DOOR, PROCESSES, POINTS = 0, 1, 2**32
# Directories that this process is at work in, for its locks do not keep out itself.
_entered: set[Path] = set()


@dataclass(frozen=True)
class Process:
    """Which process of a sweep this is.

    Attributes:
        index: from 0.
        count: how many there are meant to be; it says where each begins.
    """

    index: int = 0
    count: int = 1


def this_process() -> Process:
    """Where `jax.distributed` has been initialised, what it says; else the only one."""
    return Process(jax.process_index(), jax.process_count())


class Claims:
    """Who is at work on which points; made by `join`."""

    def __init__(self, descriptor: int, process: Process) -> None:
        """Begin with no point taken."""
        self.process = process
        self._descriptor = descriptor
        self._gone: set[int] = set()

    def take(self, point: int) -> bool:
        """Keep others from a point, unless another process has it."""
        return self.alone or _lock(self._descriptor, POINTS + point)

    def release(self, points: Sequence[int]) -> None:
        """Leave points to others, finished or not."""
        for point in () if self.alone else points:
            _unlock(self._descriptor, POINTS + point)

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.process.count == 1

    def order(self, missing: np.ndarray) -> np.ndarray:
        """What is missing from this process's share on, so that all begin at places apart."""
        return np.roll(missing, -(len(missing) * self.process.index // self.process.count))

    def look(self) -> dict[int, str]:
        """How each process ended that was at work and is not any more."""
        ended = {}
        for index, (state, who) in _read_lines(self._descriptor).items():
            place = PROCESSES + index
            if index == self.process.index or (
                state == AT_WORK and not _lock(self._descriptor, place)
            ):
                continue
            if state == AT_WORK:
                _unlock(self._descriptor, place)
            how = "was lost" if state == AT_WORK else "has left"
            ended[index] = f"process {index} ({who}) {how}; its points fall to the others"
        return ended

    def note(self, ended: dict[int, str]) -> list[str]:
        """What is new of a look, after which points were still missing."""
        new = [words for index, words in ended.items() if index not in self._gone]
        self._gone = set(ended)
        return new

    def leads(self) -> bool:
        """Whether no process of a lower index is there: then it speaks for all."""
        there = _read_lines(self._descriptor).keys() - self._gone
        return min(there) == self.process.index


@contextmanager
def join(
    directory: Path, process: Process, fingerprint: str, prepare: Callable[[bool], None]
) -> Generator[Claims, None, None]:
    """Go to work in a directory: a single process alone, several together.

    Args:
        directory: made if need be.
        process: which this one is.
        fingerprint: of what is computed there, the same for all that work there together.
        prepare: called while nobody else can join, with whether nobody else is at work.

    Raises:
        ValueError: if another run is at work there, or one with another fingerprint or this index.
    """
    place = directory.resolve()
    place.mkdir(parents=True, exist_ok=True)
    if place in _entered:
        raise ValueError(_in_use(directory, _me()))
    _entered.add(place)
    descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, DOOR, wait=True)
        prepare(_enter(descriptor, directory, process, fingerprint))
        _write_line(descriptor, 1 + process.index, f"{AT_WORK}: {_me()}")
        _unlock(descriptor, DOOR)
        yield Claims(descriptor, process)
        _write_line(descriptor, 1 + process.index, f"{LEFT}: {_me()}")
    finally:
        os.close(descriptor)  # frees all locks
        _entered.remove(place)


def _enter(descriptor: int, directory: Path, process: Process, fingerprint: str) -> bool:
    """Lock the byte of this process, or all for the only one; whether nobody else is at work."""
    own = PROCESSES + process.index
    if _lock(descriptor, PROCESSES, 0):
        os.ftruncate(descriptor, 0)
        _write_line(descriptor, 0, fingerprint)
        if process.count > 1:
            _unlock(descriptor, PROCESSES, 0)
            _lock(descriptor, own)
        return True
    lines = _read_lines(descriptor)
    who = next((who for state, who in lines.values() if state == AT_WORK), "another")
    if process.count > 1 and os.pread(descriptor, WIDTH, 0).decode().strip() != fingerprint:
        raise ValueError(
            f"{directory} is in use with another configuration ({who}); start all processes "
            f"with the same, or give another directory"
        )
    if process.count == 1 or not _lock(descriptor, own):
        raise ValueError(_in_use(directory, lines.get(process.index, (AT_WORK, who))[1]))
    return False


def _in_use(directory: Path, who: str) -> str:
    return (
        f"{directory} is in use by another run ({who}); wait for it, stop it, or give another "
        f"directory (several processes of grid.py need --num-processes and ids of their own)"
    )


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _lock(descriptor: int, start: int, length: int = 1, wait: bool = False) -> bool:
    """Lock bytes, those to infinity where `length` is 0; whether no other process has one."""
    import fcntl  # not on every system, and reading results needs no lock

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), length, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(descriptor: int, start: int, length: int = 1) -> None:
    import fcntl

    fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)


def _write_line(descriptor: int, number: int, text: str) -> None:
    line = text.encode()[: WIDTH - 1].ljust(WIDTH - 1) + b"\n"
    os.pwrite(descriptor, line, number * WIDTH)


def _read_lines(descriptor: int) -> dict[int, tuple[str, str]]:
    """State and name of every process that has come, by its index."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    lines = {}
    for index, start in enumerate(range(WIDTH, len(data), WIDTH)):
        state, _, who = data[start : start + WIDTH].decode().strip("\0 \n").partition(": ")
        if state:
            lines[index] = state, who
    return lines
