"""The scripts of `sweeps/` as one command: `lagc paper`, `lagc grid`, or `python -m lagc_jax`."""

import ast
import os
import runpy
import sys
from pathlib import Path

NAMES = (
    *("paper", "grid", "plot", "advise", "schemes", "waiting", "timeline"),
    *("benchmark", "compile", "own_scheme", "tutorial_figure", "tutorial_sweep", "tutorial"),
)
HOME = Path(__file__).parent


def scripts() -> Path:
    """Where the scripts are: in an installed package inside of it, in a checkout beside it."""
    inside = HOME / "sweeps"
    return inside if inside.is_dir() else HOME.parent / "sweeps"


def usage() -> str:
    """What there is, with the first line of every script's description."""
    lines = ["usage: lagc COMMAND [OPTIONS]; lagc COMMAND --help says more", ""]
    for name in NAMES:
        text = ast.get_docstring(ast.parse((scripts() / f"{name}.py").read_text())) or ""
        lines.append(f"  {name:<16} {text.splitlines()[0]}")
    return "\n".join(lines)


def main() -> None:
    """Run the script that the first argument names; its own exit status is that of the command."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in NAMES:
        print(f"lagc: error: command {name!r} is unknown; give one of {NAMES}", file=sys.stderr)
        sys.exit(2)
    folder = scripts()
    sys.path.insert(0, str(folder))
    sys.argv = sys.argv[1:]
    os.environ["LAGC_COMMAND"] = f"lagc {name}"  # by which the script calls itself
    runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
