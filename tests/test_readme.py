"""What the pages print runs: their programs, their grids and their command lines."""

import importlib
import re
import runpy
import shlex
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import plot
import pytest

import lagc_jax
from lagc_jax import batch
from lagc_jax.experiments import Points, read_grid
from lagc_jax.plots import paper as plotting
from lagc_jax.problems.data import load_csv

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / place / "README.md"
    for place in (
        *("", "lagc_jax", "lagc_jax/delays", "lagc_jax/schemes", "lagc_jax/problems"),
        *("sweeps", "figures"),
    )
]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.M | re.S)
]
# What needs a network, another machine or the suite itself: looked at by name only.
EXCEPTED = {"pip", "venv", "pytest", "gcloud"}


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def command_lines():
    """Every command of every block, as words, without settings of the environment."""
    for text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                words = shlex.split(command, comments=True)
                yield [word for word in words if not re.match(r"[A-Z_]+=", word)]


COMMANDS = [
    words
    for words in command_lines()
    if words and not EXCEPTED & {Path(word).name for word in words}
]


def test_every_block_is_looked_at():
    assert {name for name, _ in BLOCKS} == {"python", "toml", "sh"}
    assert min(len(blocks(name)) for name in ("python", "toml", "sh")) > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_refers_to_is_there(page):
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text()):
        path, _, section = link.partition("#")
        assert (page.parent / path).exists(), link
        if section:
            heads = re.findall(r"^#+ (.*)$", (page.parent / path).read_text(), re.M)
            assert section in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in heads]


@pytest.mark.long
def test_programs_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """Whole trajectories in the last batch are traced alone: they take long to compile."""
    whole = batch.realise_paths.__wrapped__

    def trace(*arguments):
        return jax.eval_shape(lambda *some: whole(*some, *arguments[7:]), *arguments[:7])

    monkeypatch.setattr(batch, "realise_paths", trace)
    monkeypatch.chdir(tmp_path)
    times = 1 + np.random.default_rng(0).exponential(size=(60, 12))
    pd.DataFrame(times).to_csv("times.csv", index=False)
    names = {}
    for text in blocks("python"):
        few = re.sub(r"(num_realisations)=\d+", r"\1=4", text)
        exec(compile(few, "README.md", "exec"), names)
    assert names["scheme"].trigger == names["EF21"](kept=4)
    settings = dict(num_iterations=5, sampler="workers")
    parts = names["problem"], names["half"], lagc_jax.Exponential(1.0), jax.random.key(0)
    same = lagc_jax.schemes.fastest_k(12, 6)
    runs = [lagc_jax.simulate(parts[0], s, *parts[2:], **settings) for s in (same, parts[1])]
    np.testing.assert_allclose(runs[0].gap, runs[1].gap, rtol=1e-12)
    assert (np.diff(names["run"].wall_clock)[names["run"].selected.any(1)] > 0).all()
    assert names["batch"].costs.timeouts.mean.shape == (1,)
    shown = capsys.readouterr().out.splitlines()
    # The mean of 1000 runs is near the exact one at the same gap.
    mean, exact = float(shown[1]), float(shown[2])
    assert abs(mean / exact - 1) < 0.02


@pytest.mark.parametrize("text", blocks("toml"))
def test_grids_are_read(text, tmp_path):
    (tmp_path / "grid.toml").write_text(text)
    assert len(Points(read_grid(tmp_path / "grid.toml").experiment)) > 1


@pytest.mark.parametrize("words", [words for words in COMMANDS if "-c" not in words], ids=" ".join)
def test_command_lines_are_understood(words):
    first = next(i for i, word in enumerate(words) if word.startswith("sweeps/"))
    script, arguments = words[first], words[first + 1 :]
    assert (ROOT / script).exists()
    if arguments:
        module = importlib.import_module(Path(script).stem)
        module.make_parser().parse_args(arguments)
    for name in arguments:
        if name.startswith("sweeps/"):
            assert len(Points(read_grid(ROOT / name).experiment)) > 1


def test_the_table_of_scikit_learn_is_one_that_the_study_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (program,) = [words[2] for words in COMMANDS if "-c" in words]
    exec(compile(program, "README.md", "exec"), {})
    (study,) = [words for words in COMMANDS if "--csv" in words]
    X, _ = load_csv(study[study.index("--csv") + 1], 12, study[study.index("--target") + 1])
    assert X.shape == (12, 37, 11)


@pytest.mark.long
def test_figures_of_the_example_sweep_are_drawn(tmp_path, monkeypatch, capsys):
    """From made-up results of its points, as computing them takes a minute."""
    points = Points(read_grid(ROOT / "sweeps" / "xi_memory.toml").experiment)
    frame = pd.DataFrame([{"point": point.number} | point.parameters() for point in points])
    draws = np.random.default_rng(0).uniform(1, 2, (len(frame), 4))
    results = dict(zip(("iterations", "communication", "computation"), draws.T, strict=False))
    time = {f"time_{name}": draws[:, 3] for name in ("mean", "q0.05", "q0.95", "expected")}
    table = tmp_path / "table.parquet"
    frame.assign(accuracy=1e-8, diverged=0.0, **results, **time).to_parquet(table)
    (words,) = [words for words in COMMANDS if "sweeps/plot.py" in words and "--x" in words]
    monkeypatch.setattr(plotting, "save_figure", lambda figure, frame, stem: [stem])
    assert plot.main([str(table), *words[words.index("--x") :]]) == 0
    assert "heat_xi_memory\n  step_size fixed at" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "drawn"),
    [("tutorial_figure", "first_figure.png"), ("tutorial_sweep", "tutorial/frontier.png")],
)
def test_tutorials_draw(script, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "unused")
    runpy.run_path(str(ROOT / "sweeps" / f"{script}.py"))
    assert (tmp_path / "results" / drawn).stat().st_size > 0


BENCHMARKED = {
    "plain NumPy loop": "NumPy loop",
    "the same on Gram matrices": "NumPy loop on Gram matrices",
    "NumPy over realisations": "NumPy vectorised",
    "numba, both cores": "numba, all cores",
    "numba that draws selected groups alone": "numba, selected groups alone",
    "`jax.vmap` over the workers' times": "jax.vmap over workers",
    "the engine, a million realisations with quantiles": "engine, a million with quantiles",
    "limit: one number of `jax.random.uniform`": "limit: jax.random.uniform",
    "limit: the products alone, same sizes": "limit: products of these sizes",
    "limit: large matrix products": "limit: large products",
    "plain Python event queue": "Python event queue",
    "the same made fast": "Python event queue made fast",
}


def test_ratios_of_the_benchmark_are_those_of_its_file():
    measured = pd.read_csv(ROOT / "figures" / "benchmark.csv")
    ratios = measured.set_index(["work", "contender"])["engine is faster by"]
    works = list(dict.fromkeys(measured["work"]))
    lines = (ROOT / "sweeps" / "README.md").read_text().partition("| contender |")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    rows = rows[: rows.index([""])]
    assert {row[0] for row in rows} == BENCHMARKED.keys()
    told = {
        (work, BENCHMARKED[name]): cell
        for name, *cells in rows
        for work, cell in zip(works, cells, strict=True)
        if cell
    }
    known = [(w, c) for w, c in ratios.index if not c.startswith("engine") or "million" in c]
    assert told == {each: f"{float(f'{ratios[each]:.2g}'):g}" for each in known}
