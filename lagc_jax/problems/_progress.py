"""How far a long computation on the host is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def steps(name: str, total: int, shown: bool) -> Generator[Callable[[], object], None, None]:
    """Yield what is to be called after every step; on a terminal a bar shows them."""
    if not shown:
        yield lambda: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=name, unit="step", disable=None) as bar:
        yield bar.update
