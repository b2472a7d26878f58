"""The survey of all schemes: what it runs, its frames, its claims and its script."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pandas as pd
import pytest
import schemes

import lagc_jax
from lagc_jax.experiments import (
    Accuracy,
    Experiment,
    Gap,
    Iterate,
    Several,
    bits,
    contenders,
    literature,
    run,
    survey,
)
from lagc_jax.plots._style import OTHERS, families_of
from lagc_jax.schemes import Sign
from lagc_jax.schemes.catalogue import CATALOGUE

pytestmark = pytest.mark.long

K, R, KEY = 20, 3, jax.random.key(4)
LAWS = {"low": lagc_jax.Exponential(1.0), "high": lagc_jax.Pareto(1.0, 1.2)}


def first_parameter(theta):
    """A stand-in for a test accuracy that moves along the path."""
    return theta[0]


@pytest.fixture(scope="module")
def task(problem):
    step_size = 1 / float(problem.total_smoothness)
    return contenders.Task(problem, None, first_parameter, 0.5, step_size, free_problem=problem)


@pytest.fixture(scope="module")
def found(task):
    """What two schemes took, one of which loses gradients."""
    everyone = contenders.choose(contenders.candidates(task, 2, 3, 4))
    few = {name: everyone[name] for name in ("LAG-WK", "fastest-k", "CADA1")}
    plan = survey.experiments({"small": task}, {"small": few}, LAWS, KEY, K, R)
    assert [list(each.schemes) for each in plan] == [["LAG-WK", "fastest-k"], ["CADA1"]]
    return few, run(plan[0], progress=False)


def test_the_frames_hold_means_and_medians_of_trajectories(task, found):
    few, rows = found
    curves, table = survey.curve_frame(rows), survey.table_frame(rows)
    assert len(table) == 2 * len(LAWS)
    for row in table.to_dict("records"):
        law, contender = LAWS[row["delays"]], few[row["scheme"]]
        alone = [
            lagc_jax.simulate(
                task.problem,
                contender.scheme,
                law,
                jax.random.fold_in(KEY, i),
                num_iterations=K,
                step_size=contender.step_size,
                sampler="workers",
                record=first_parameter,
            )
            for i in range(R)
        ]
        recorded = np.array([one.recorded for one in alone])
        names = "wall_clock", "communication", "computation", "bits"
        costs = [np.array([getattr(one, name) for one in alone], float) for name in names]
        ever, first = (recorded >= task.target).any(1), (recorded >= task.target).argmax(1)
        at = [np.where(ever, each[range(R), first], np.inf) for each in costs]
        # Two programs may round differently.
        close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
        close([row[cost] for cost in survey.COSTS], np.median(at, axis=1))
        close([row["reached"], row["final"]], [ever.mean(), recorded[:, -2:].mean()])
        curve = curves.query("delays == @row['delays'] and scheme == @row['scheme']")
        close(curve[["accuracy", *survey.COSTS]].T, [each.mean(0) for each in (recorded, *costs)])


def test_the_middle_is_a_realisation_of_the_lower_half_exactly():
    for R in range(2, 300):
        assert survey._middle(R) * (R - 1) == (R - 1) // 2
    assert survey._middle(1) == 0


def test_there_is_a_contender_for_every_claim_and_a_family_for_every_contender(task):
    sampled = task._replace(problem=lagc_jax.problems.minibatch(task.problem, 1, KEY))
    full, random = (set(contenders.candidates(each, 2, 3, 4)) for each in (task, sampled))
    assert full ^ random == {"MARINA", "anytime minibatch"}
    names = full | random
    short = {"LAG": "LAG-PS", "LASG": "LASG-PS", "CADA": "CADA2"}
    short |= {"compressed GD": "QSGD", "local SGD": "FedAvg"}
    assert {short.get(name, name) for name in CATALOGUE} <= names
    assert {claim.scheme for claim in literature.CLAIMS} <= names
    assert {claim.than for claim in literature.CLAIMS} <= names
    assert OTHERS not in families_of(names)


def test_the_candidate_of_the_least_bits_is_chosen(task):
    everyone = contenders.candidates(task, 2, 3, 4)
    everyone = {name: everyone[name] for name in ("GD", "QSGD", "LASG-WK2", "AMSGrad")}
    names = list(contenders.contested(everyone))
    assert len(names) == len(contenders.STEPS) + len(contenders.WEIGHTS) + len(
        contenders.ADAM_STEPS
    )
    table = pd.DataFrame({"scheme": names[::-1], "bits": np.inf, "final": 0.1})
    table = table.set_index("scheme", drop=False)
    table.loc["QSGD | 2", "bits"], table.loc["QSGD | 1", "bits"] = 5.0, 7.0
    table.loc["LASG-WK2 | 3", "final"], table.loc["LASG-WK2 | 4", "final"] = 0.2, np.nan
    chosen = contenders.choose(everyone, table.reset_index(drop=True))
    assert list(chosen) == list(everyone)
    assert chosen["QSGD"].step_size == contenders.STEPS[2] * task.step_size
    frame = contenders.chosen_frame(chosen).set_index("scheme")
    assert frame.loc["LASG-WK2", "xi"] == contenders.WEIGHTS[3]
    assert frame.loc["AMSGrad", "step_size"] == contenders.ADAM_STEPS[0]
    assert contenders.choose(everyone)["GD"] == everyone["GD"][0]


def test_final_is_of_the_last_tenth_of_a_schemes_own_updates():
    long = made_up("ASGD", 1.0, 1.0, [0.0] * 20 + [0.6, 0.8])
    rows = pd.concat([made_up("GD", 1.0, 1.0, [0, 0.5, 0.7]), long])
    final = survey.table_frame(rows).set_index("scheme")["final"]
    assert final.to_dict() == pytest.approx({"GD": 0.7, "ASGD": 0.7})


PARTS = ("train", 200), ("test", 30)


def own_images(folder):
    """Options for some made-up images, in a file of the folder."""
    rng = np.random.default_rng(0)
    images = {f"x_{part}": rng.integers(0, 256, (size, 2, 3), np.uint8) for part, size in PARTS}
    labels = {f"y_{part}": np.arange(size) % 3 for part, size in PARTS}
    np.savez(folder / "own.npz", **images, **labels)
    return ["--data", str(folder / "own.npz"), "--accuracies", "0.5", "0.6"]


def made_up(scheme, hit, reached, accuracy):
    """Rows of a scheme that reached its target at iterate `hit`; costs are its multiples."""
    iterates = np.arange(len(accuracy), dtype=float)
    rows = pd.DataFrame({"accuracy": [0.5] + [np.nan] * len(accuracy)})
    rows["iterate"] = [np.nan, *iterates]
    for i, cost in enumerate(survey.COSTS, 1):
        rows["time_mean" if cost == "time" else cost] = i * np.array([hit, *iterates])
        rows[f"{cost}_q0.5"] = i * np.array([hit, *iterates])
    rows["iterations_q0.5"], rows["recorded"] = [hit, *iterates], [0.5, *accuracy]
    return rows.assign(problem="made up", delays="low", scheme=scheme, reached=reached)


def test_the_frames_are_costs_at_the_target_and_curves():
    rows = [made_up("A", 2.0, 2 / 3, [0, 0.2, 0.3]), made_up("B", np.inf, 0.0, [0, 0, 0.1])]
    rows = pd.concat([*rows, made_up("GD", 1.0, 1.0, [0, 0.5, 0.7])])
    table = survey.table_frame(rows).set_index("scheme")
    assert list(table.loc["A", ["iterations", *survey.COSTS]]) == [2, 2, 4, 6, 8]
    assert list(table.loc["A", ["reached", "final"]]) == [2 / 3, 0.3]
    assert np.isinf(table.loc["B", ["iterations", *survey.COSTS]].to_numpy(float)).all()
    relative = survey.relative_frame(table.reset_index(), "made up", "low").set_index("scheme")
    assert list(relative.loc["A"]) == pytest.approx([2] * 5 + [0.3])
    curves = survey.curve_frame(rows).set_index("scheme")
    assert curves.loc["A", ["iterate", "accuracy", "bits"]].to_numpy().tolist() == [
        [0, 0, 0], [1, 0.2, 4], [2, 0.3, 8]
    ]  # fmt: skip


def test_claims_are_comparisons_of_the_table():
    names = {c.scheme for c in literature.CLAIMS} | {c.than for c in literature.CLAIMS}
    table = pd.DataFrame(
        [{"delays": "low", "scheme": n, "final": 0.9} | dict.fromkeys(survey.COSTS, 1.0)
         for n in sorted(names)]
    ).set_index("scheme", drop=False)  # fmt: skip
    claims = literature.claims_frame(table, minibatches=True)
    assert len(claims) == len(literature.CLAIMS)
    saves = claims["claim"].str.contains("60 %")
    assert claims.loc[saves, "holds"].tolist() == [False]
    enough = (claims["compared"] == "final") | claims["claim"].str.contains("no later")
    assert (claims.loc[~saves, "holds"] == enough[~saves]).all()  # as much is not less
    summary = literature.summarise_claims(claims).set_index("claim")
    assert summary.loc[saves[saves].index.map(claims["claim"]), "holds in"].tolist() == ["0 of 1"]
    assert (summary["from"] == (summary["compared"].str.startswith("final") ^ True)).all()
    table.loc["GC", "time"] = np.inf
    claims = literature.claims_frame(table, minibatches=False)
    assert len(claims) == len(literature.CLAIMS) - 1
    beaten = (claims["scheme"] == "GC") & (claims["compared"] == "time")
    assert claims.loc[beaten, "holds"].tolist() == [False]
    assert schemes.verdict(claims.loc[beaten, "holds"].item()) == "FAILS"


def test_a_claim_about_what_nobody_reached_is_undecided():
    names = {c.scheme for c in literature.CLAIMS} | {c.than for c in literature.CLAIMS}
    missed = dict.fromkeys(survey.COSTS, np.inf)
    rows = [{"delays": "low", "scheme": n, "final": 0.9} | missed for n in sorted(names)]
    table = pd.DataFrame(rows)
    claims = literature.claims_frame(table, minibatches=True)
    final = claims["compared"] == "final"
    assert claims.loc[~final, "holds"].isna().all()
    assert claims.loc[final, "holds"].all()
    summary = literature.summarise_claims(claims).set_index("claim")["holds in"]
    assert summary[claims["claim"].iloc[0]] == "0 of 0, 1 undecided"
    results = survey.Results(table, table, claims.assign(task="convex"))
    printed = schemes.report(results)
    assert printed.count("undecided  convex") == (~final).sum()
    assert "FAILS" not in printed


def test_the_script_writes_its_table_claims_and_figure(tmp_path, monkeypatch, capsys):
    everyone = contenders.candidates
    few = "GD", "CADA1"
    laws = {name: schemes.LAWS[name] for name in ("low tail", "high tail")}
    monkeypatch.setattr(schemes, "LAWS", laws)
    claim = literature.Claim("a paper", "a claim", "CADA1", "GD", "bits")
    monkeypatch.setattr(literature, "CLAIMS", (claim,))
    monkeypatch.setattr(bits, "compressors", lambda kept: [Sign()])
    monkeypatch.setattr(contenders, "ADAM_STEPS", (0.01, 0.02))
    monkeypatch.setattr(contenders, "WEIGHTS", (1e3,))
    monkeypatch.setattr(schemes, "candidates", lambda *a: {n: everyone(*a)[n] for n in few})
    store = tmp_path / "store"
    quick = ["--quick", "--iterations", "12", "--out", str(tmp_path), "--store", str(store)]
    assert schemes.main([*quick, *own_images(tmp_path)]) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "schemes.csv")
    kept = [lagc_jax.load_results(each) for each in sorted((store / "survey").iterdir())]
    assert set(pd.concat(kept)["scheme"]) == set(few)
    assert set(table["scheme"]) == set(few)
    assert len(table) == len(laws) * len(few)
    assert len(pd.read_csv(tmp_path / "schemes_claims.csv")) == len(laws)
    chosen = pd.read_csv(tmp_path / "schemes_chosen.csv").set_index("scheme")
    assert chosen.loc["CADA1", "step_size"] in (0.01, 0.02)
    assert chosen.loc["CADA1", "xi"] == 1e3
    sent = pd.read_csv(tmp_path / "schemes_bits.csv")
    assert list(sent["mechanism"]) == ["GD", *bits.MECHANISMS]
    for name in ("schemes.md", "schemes_accuracy.pdf", "schemes_bits.png"):
        assert (tmp_path / name).stat().st_size > 0
        assert str(tmp_path / name) in printed
    curves = pd.read_csv(tmp_path / "schemes_accuracy.csv")
    assert curves.groupby(["delays", "scheme"])["iterate"].max().eq(12).all()
    assert np.isfinite(curves.drop(columns=["task", "delays", "scheme"])).all().all()


def test_what_is_recorded_is_a_mean_over_the_realisations_that_reach_the_level(problem):
    M, R, K = problem.num_partitions, 8, 30

    def negative_gap(theta):
        return -problem.gap(theta)

    waits = lagc_jax.schemes.fastest_k(M, 2)
    everyone = dict(problems={"p": problem}, delays={"low": LAWS["low"]})
    begin = dict(num_iterations=K, step_size=0.1 / float(problem.total_smoothness))
    keys = [jax.random.fold_in(jax.random.key(0), i) for i in range(R)]
    runs = [lagc_jax.simulate(problem, waits, LAWS["low"], key, **begin) for key in keys]
    gaps = np.array([run.gap for run in runs])
    level = float(np.median(gaps.min(1)))
    hits = [gap[gap <= level][0] for gap in gaps if (gap <= level).any()]
    table = run(
        Experiment(
            **everyone, schemes={"gd": lagc_jax.gd(M), "fastest-k": waits}, step_sizes=[0.1],
            target=Accuracy([-level, 1e9], negative_gap), num_iterations=K,
            num_realisations=R,
        )
    ).set_index(["scheme", "accuracy"])  # fmt: skip
    assert len(hits) == R / 2
    assert table.loc[("fastest-k", -level), "recorded"] == pytest.approx(-np.mean(hits), rel=1e-12)
    assert table.xs(1e9, level="accuracy")[["recorded", "reached"]].isna().sum().tolist() == [2, 0]


def test_who_diverges_does_not_depend_on_other_levels_or_targets():
    """A path that ends at its last level and one that goes on say the same of a level."""
    q = lagc_jax.synthetic_linear_regression(jax.random.key(0), num_workers=12, num_features=12)
    scheme, clusters = (
        lagc_jax.g_lag(12, 3, xi=5.0),
        {"": None, "own": lagc_jax.Cluster(timeout=1e9)},
    )
    one, other, end = Gap([200.0]), Gap([200.0, 1e-9]), Iterate([300])
    for cluster in clusters.values():
        for target in (one, other, Several((other, end))):
            rows = run(
                Experiment(
                    problems={"q": q}, schemes={"s": scheme}, delays={"low": LAWS["low"]},
                    clusters={"c": cluster}, num_iterations=300, num_realisations=2, target=target,
                ), progress=False
            )  # fmt: skip
            assert rows["diverged"].tolist() == [0.0, 1.0, 1.0][: len(rows)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_what_is_recorded_may_be_of_any_type(dtype):
    seen = np.array([1, 6, 7, 30], dtype)
    index, reached = Accuracy([5.0, 20.0, 40.0], first_parameter).hits(np.ones(4), seen)
    assert (index.tolist()[:2], reached.tolist()) == ([1, 3], [True, True, False])


def test_bits_of_a_target_that_is_missed_are_endless_where_messages_vary(problem):
    scheme = lagc_jax.schemes.marina(problem.num_partitions, "natural", probability=0.5)
    row = run(
        Experiment(
            problems={"p": problem}, schemes={"MARINA": scheme}, delays={"low": LAWS["low"]},
            target=lagc_jax.experiments.Gap([1e-30]), num_iterations=3, num_realisations=2,
        ), progress=False
    ).iloc[0]  # fmt: skip
    assert row["reached"] == 0
    assert np.isinf(row[["bits", "bits_q0.5"]].to_numpy(float)).all()


def test_several_targets_that_do_not_go_together_are_refused():
    one, other = Accuracy([0.5], first_parameter), Iterate([1], np.sum)
    for targets, words in (((one, one), "columns"), ((one, other), "record"), ((), "columns")):
        with pytest.raises(ValueError, match=f"targets .*{words}.*give"):
            Several(targets)


def test_tasks_are_made_of_images_of_ones_own(tmp_path):
    chosen = [*own_images(tmp_path), "--network-step", "0.01"]
    args = schemes.make_parser().parse_args(chosen)
    images = np.load(tmp_path / "own.npz")
    (tasks,) = schemes.make_tasks(args, (0,))
    convex, neural = tasks["convex"], tasks["neural"]
    assert (convex.target, neural.target, neural.step_size) == (0.5, 0.6, 0.01)
    assert convex.problem.num_parameters == 7 * 3
    assert [w.shape for w, _ in neural.theta0] == [(7, schemes.HIDDEN), (schemes.HIDDEN, 3)]
    rows = np.column_stack([images["x_test"].reshape(30, -1) / 255, np.ones(30)])
    weights = np.random.default_rng(1).normal(size=(7, 3))
    right = np.mean(np.argmax(rows @ weights, 1) == images["y_test"])
    assert float(convex.test_accuracy(weights)) == pytest.approx(right)


def test_bad_options_are_refused_in_a_line(tmp_path, capsys):
    nowhere = str(tmp_path / "none.npz")
    for wrong in (
        ["--waited", "13"], ["--alpha", "-1"], ["--data", nowhere],
        ["--accuracies", "0.9", "95"], ["--network-step", "0"], ["--store", "/dev/null/x"],
        ["--network-step", "0.01"],
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            schemes.main(["--quick", "--out", str(tmp_path), *wrong])
        error = capsys.readouterr().err
        assert error.startswith("schemes.py: error: ")
        assert wrong[0] in error
        assert error.count("\n") == 1


def test_bits_are_those_of_the_best_step_size(task):
    asked = bits.experiment(task, KEY, K)
    assert len(asked.schemes) == 1 + len(bits.MECHANISMS) * len(bits.compressors(1))
    chosen = ("GD", "identity"), ("EF21", "top-k(1)"), ("CLAG", "sign")
    names = [" | ".join(pair) for pair in chosen]
    few = {name: asked.schemes[name] for name in names}
    frame = bits.bits_frame(run(replace(asked, schemes=few), progress=False))
    frame = frame.set_index(["mechanism", "compressor"])
    assert list(frame.index) == list(chosen)
    for mechanism, compressor in chosen:
        row, own = frame.loc[(mechanism, compressor)], task.problem
        M, schemes = own.num_partitions, {"GD": lambda M, _: lagc_jax.gd(M), **bits.MECHANISMS}
        spent = []
        for step in contenders.STEPS:
            scheme = schemes[mechanism](M, compressor)
            alone = lagc_jax.simulate(
                own, scheme, LAWS["low"], KEY, num_iterations=K, step_size=step * task.step_size,
                record=first_parameter,
            )  # fmt: skip
            there = np.asarray(alone.recorded) >= task.target
            spent.append(alone.bits[there.argmax()] if there.any() else np.inf)
        assert row["bits"] == min(spent)
