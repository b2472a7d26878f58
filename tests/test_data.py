"""A user's CSV file: standardised, dealt to the workers, no row lost; clear refusals."""

import common
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import savemat
from sklearn.datasets import dump_svmlight_file

import lagc_jax as lj
from lagc_jax.problems.data import load_csv, load_data

ROWS = 10


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 3)) * [1.0, 10.0, 0.1] + [5.0, 0.0, -2.0]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def path(table, write):
    lines = ["a,b,c", *(",".join(map(repr, row.tolist())) for row in table)]
    return write("\n".join(lines) + "\n")


def standardised(column):
    return (column - column.mean()) / column.std()


def test_rows_are_dealt_in_turn_and_padded_with_zeros(path, table):
    X, y = load_csv(path, num_workers=4)
    assert X.shape == (4, 3, 3)
    assert y.shape == (4, 3)
    for row in range(ROWS):
        expected = [standardised(table[:, 0])[row], standardised(table[:, 1])[row], 1.0]
        np.testing.assert_allclose(X[row % 4, row // 4], expected, rtol=1e-12)
        np.testing.assert_allclose(y[row % 4, row // 4], standardised(table[:, 2])[row], rtol=1e-12)
    for worker in (2, 3):
        np.testing.assert_array_equal(X[worker, 2], 0)
        np.testing.assert_array_equal(y[worker, 2], 0)


@pytest.mark.parametrize("num_workers", [1, 3, 5, 10])
def test_no_row_is_lost(path, num_workers):
    X, y = load_csv(path, num_workers)
    # Standardised columns and the intercept have a sum of squares of one a row.
    np.testing.assert_allclose((X**2).sum((0, 1)), ROWS, rtol=1e-12)
    np.testing.assert_allclose((y**2).sum(), ROWS, rtol=1e-12)
    np.testing.assert_allclose(X.sum((0, 1)), [0, 0, ROWS], atol=1e-12)


def test_dealing_does_not_change_the_regression(path):
    optima = [lj.linear_regression(*load_csv(path, M)).optimum for M in (1, 4, 10)]
    np.testing.assert_allclose(optima, optima[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("target", "others"), [("a", [1, 2]), ("b", [0, 2]), ("c", [0, 1]), (None, [0, 1])]
)
def test_target_is_taken_by_name_and_else_the_last_column(path, table, target, others):
    X, y = load_csv(path, 1, target=target)
    values = standardised(table[:, "abc".index(target or "c")])
    np.testing.assert_allclose(y[0], values, rtol=1e-12)
    for place, column in enumerate(others):
        np.testing.assert_allclose(X[0, :, place], standardised(table[:, column]), rtol=1e-12)


def test_columns_that_pandas_numbers_are_a_header(table, write):
    X, _ = load_csv(write(pd.DataFrame(table).to_csv(index=False)), 1)
    assert X.shape == (1, ROWS, 3)


@pytest.mark.parametrize("constant", [7, 0.1])
def test_constant_features_are_left_out(write, constant):
    """0.1 is rounded, and so is a mean of many: the deviation is then not exactly zero."""
    rows = "".join(f"{i},{constant},{i * i}\n" for i in range(6))
    X, _ = load_csv(write("a,same,c\n" + rows), 2)
    assert X.shape == (2, 3, 2)
    np.testing.assert_array_equal(X[:, :, 1], 1)


def test_spaces_after_commas_are_skipped(write):
    X, _ = load_csv(write("a, c\n1, 1\n2, 3\n"), 2, target="c")
    np.testing.assert_allclose(X[:, 0], [[-1, 1], [1, 1]])


GOOD = "a,b\n1,2\n2,4\n3,5\n"


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", {}, r"csv=.* is empty; give"),
        ("a,b\n", {}, r"csv=.* has no rows; give"),
        (GOOD, dict(target="z"), r"target='z' is not a column of .*; give one of \['a', 'b'\]"),
        ("a,b\n1,2\nx,4\n3,5\n", {}, r"row 2 of column 'a' .* holds 'x'.*; remove .* or mend"),
        ("a,b\n1,2\n2,4\n,5\n", {}, r"row 3 of column 'a' .* holds 'nan'"),
        ("a,b\n1,2\n2,inf\n3,5\n", {}, r"row 2 of column 'b' .* holds 'inf'"),
        ("a,b\n1,2\n2,-inf\n3,5\n", {}, r"row 2 of column 'b' .* holds '-inf'"),
        (GOOD, dict(num_workers=4), r"has 3 rows for num_workers=4; give at least one row"),
        (GOOD, dict(num_workers=0), r"num_workers=0 is too small; give"),
        (GOOD, dict(num_workers=1.5), r"num_workers=1.5 is not a whole number; give"),
        ("a,b\n1e308,2\n-1e308,3\n0,4\n", {}, r"column 'a' in .* has squares beyond float64"),
        ("a,b\n1,2\n2,2\n3,2\n", {}, r"target='b' is constant in .*; give a column that varies"),
        ("a,b\n" + "".join(f"{i},0.1\n" for i in range(6)), {}, r"target='b' is constant"),
        ("a\n1\n2\n3\n", {}, r"target='a'"),
        ("a,b\n1,2,3\n2,4,6\n3,5,1\n", {}, r"csv=.*table\.csv"),
        ("1,2\n2,4\n3,5\n4,4\n", {}, r"numbers in its first line; give a header"),
        ("0.5,2,3\n2,4,1\n3,5,2\n", {}, r"numbers in its first line; give a header"),
        (",a,b\n0.5,1,2\n1,2,4\n", {}, r"a column without a name .*; name it or leave it out"),
        ("a,b,a\n1,2,3\n2,4,1\n", dict(target="a"), r"two columns 'a'; give every column its own"),
        ("a,b\n1,2\n2,4,9,9\n", {}, r"(?s)csv=.* cannot be read as a table .*; mend"),
    ],
)
def test_bad_files_are_refused(write, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_csv(write(text), **(dict(num_workers=2) | arguments))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"csv=.*nowhere\.csv does not exist; give"):
        load_csv(tmp_path / "nowhere.csv", 2)


S, D = 12, 3
FEATURES = np.random.default_rng(1).normal(size=(S, D)) * [1, 10, 100] + 5
LABELS = np.arange(S) % 2
FRAME = pd.DataFrame(FEATURES, columns=["a", "b", "c"]).assign(y=LABELS)


def raw(path, num_workers=1, **arguments):
    data = load_data(path, num_workers, standardise=False, **arguments)
    return data.X[0], data.y[0]


@pytest.mark.parametrize("kind", ["csv", "parquet", "blanks", "libsvm", "mat", "one.mat", "sparse"])
def test_every_format_holds_the_same_samples(kind, tmp_path):
    path, header = tmp_path / f"samples.{kind}", None
    if kind == "csv":
        FRAME.to_csv(path, index=False, sep=";", decimal=",")
    elif kind == "parquet":
        FRAME.to_parquet(path)
    elif kind == "blanks":
        np.savetxt(path, np.column_stack([FEATURES, LABELS]), fmt="%25.17g")
        header = False
    elif kind == "libsvm":
        dump_svmlight_file(FEATURES, LABELS, str(path := tmp_path / "a9a.t"), zero_based=False)
    else:
        path = tmp_path / "samples.mat"
        held = {
            "mat": {"X": FEATURES, "labels": LABELS, "other": np.ones(3), "n": 12},
            "one.mat": {"data": np.column_stack([FEATURES, LABELS])},
            "sparse": {"X": sparse.csc_matrix(FEATURES.T), "y": LABELS},
        }
        savemat(path, held[kind])
    X, y = raw(path, header=header)
    np.testing.assert_allclose(X, FEATURES, rtol=1e-15)
    np.testing.assert_array_equal(y, LABELS)


def test_labels_become_signs_or_classes(write):
    words = np.array(["no", "yes", "maybe"])
    for labels, loss, expected, classes in (
        (LABELS, "logistic", 2 * LABELS - 1, (0, 1)),
        (2 * LABELS - 1, "logistic", 2 * LABELS - 1, (-1, 1)),
        (words[LABELS], "logistic", 2 * LABELS - 1, ("no", "yes")),
        (LABELS == 1, "logistic", 2 * LABELS - 1, (False, True)),
        (10 * (np.arange(S) % 3), "multinomial", np.arange(S) % 3, (0, 10, 20)),
        (words[np.arange(S) % 3], "multinomial", np.arange(1, S + 1) % 3, ("maybe", "no", "yes")),
    ):
        path = write(FRAME.assign(y=labels).to_csv(index=False))
        data = load_data(path, 1, "y", loss=loss)
        np.testing.assert_array_equal(data.y[0], expected)
        assert data.classes == classes
        standard = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
        np.testing.assert_allclose(data.X[0], np.column_stack([standard, np.ones(S)]), rtol=1e-12)


def test_workers_have_their_files_or_their_name_in_a_column(tmp_path, write):
    sizes = [5, 1, 6]
    owner = np.repeat(["w10", "w2", "w1"], sizes)
    FRAME.assign(owner=owner).to_csv(tmp_path / "all.csv", index=False)
    paths = []
    for name in ("w1", "w2", "w10"):
        paths.append(tmp_path / f"{name}.csv")
        FRAME[owner == name].to_csv(paths[-1], index=False)
    named = load_data(tmp_path / "all.csv", worker="owner", loss="logistic", target="y")
    filed = load_data(paths, loss="logistic")
    last = load_data(tmp_path / "all.csv", worker="owner", loss="logistic")  # y is the last other
    for data in (named, filed, last):
        assert data.weights.sum(axis=1).tolist() == [6, 1, 5]
        for m, name in enumerate(("w1", "w2", "w10")):
            count = (owner == name).sum()
            np.testing.assert_array_equal(data.y[m, :count], 2 * LABELS[owner == name] - 1)
            np.testing.assert_array_equal(data.X[m, count:], 0)
        np.testing.assert_allclose(data.X, named.X, rtol=1e-12)
    # Workers of unequal sizes minimise the same loss as one with all the samples.
    whole = load_data(write(FRAME.to_csv(index=False)), 1, loss="logistic")
    optima = [
        lj.logistic_regression(data.X, data.y, l2=0.6 / len(data.X), weights=data.weights).optimum
        for data in (whole, named)
    ]
    np.testing.assert_allclose(optima[0], optima[1], rtol=1e-10)


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (FRAME, dict(loss="hinge"), r"loss='hinge' is unknown; give one of"),
        (FRAME, dict(num_workers=None), r"names no workers; give num_workers, or worker="),
        (FRAME, dict(standardise="no"), r"standardise='no' is no truth; give True or False"),
        (FRAME, dict(target=np.array(["a", "b"])), r"target=array.* is no name of a column"),
        (FRAME, dict(header="no"), r"header='no' is no truth; give True or False"),
        (FRAME, dict(worker="who"), r"worker='who' is not a column of"),
        (FRAME, dict(worker="y", target="c", num_workers=3), r"2 workers .* for num_workers=3"),
        (FRAME, dict(target="a", loss="multinomial"), r"'a' has 12 labels in 12 rows .* no class"),
        (FRAME.assign(y=[*"abcabcabcabc"]), dict(loss="logistic"), r"3 labels .*'multinomial'"),
        (FRAME.assign(y=[*"aaaaaaaaaaaa"]), dict(loss="logistic"), r"target='y' is constant in"),
        (FRAME.assign(y=[None, *"abcabcabcab"]), dict(loss="multinomial"), r"row 1 .* no label"),
        (FRAME.assign(w=[None, *"abcabcabcab"]), dict(worker="w"), r"row 1 .* names no worker"),
        (FRAME[["y"]], dict(loss="logistic"), r"no column but target='y'"),
        (FRAME, dict(worker="y", target="y"), r"worker='y' is the target, too; give two columns"),
        (FRAME.assign(a=1e-170 * FRAME["a"]), {}, r"column 'a' in .* has squares beyond float64"),
    ],
)
def test_samples_that_do_not_fit_are_refused(frame, arguments, message, write):
    path = write(frame.to_csv(index=False))
    with pytest.raises(ValueError, match=message):
        load_data(path, **dict(num_workers=2) | arguments)


def test_names_of_levels_are_refused(tmp_path):
    columns = pd.MultiIndex.from_product([["a"], ["x", "y"]])
    pd.DataFrame(np.ones((4, 2)), columns=columns).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="names of 2 levels; give one name a column"):
        load_data(tmp_path / "t.parquet", 2)


def test_labels_are_the_same_in_files_of_numbers_and_of_words(tmp_path):
    for name, labels in (("one", ["0.0", "1.0"]), ("two", ["0", "1", "x"])):
        rows = "".join(f"{i},{labels[i % len(labels)]}\n" for i in range(12))
        (tmp_path / name).write_text("a,y\n" + rows)
    found = load_data([tmp_path / "one", tmp_path / "two"], loss="multinomial")
    assert found.classes == ("0", "1", "x")


def test_workers_of_any_size_are_in_the_order_of_their_numbers(write):
    rows = "".join(f"{worker},{i},{i * i}\n" for i, worker in enumerate([1e6, 2, 10, 1e16]))
    found = load_data(write("who,a,y\n" + rows), worker="who", standardise=False)
    assert found.X.ravel().tolist() == [1, 2, 0, 3]


def test_libsvm_is_known_by_more_than_its_first_sample(tmp_path):
    (tmp_path / "first").write_text("1\n-1 1:2 3:4\n1 2:1\n")
    found = load_data(tmp_path / "first", 1, loss="logistic", standardise=False)
    np.testing.assert_array_equal(found.X[0], [[0, 0, 0], [2, 0, 4], [0, 1, 0]])


def test_files_that_do_not_fit_are_refused(tmp_path, write):
    one, two = tmp_path / "one.csv", write(FRAME.drop(columns="a").to_csv(index=False))
    FRAME.to_csv(one, index=False)
    savemat(tmp_path / "two.mat", {"A": np.ones((3, 2)), "B": np.ones((3, 2)), "y": np.arange(3)})
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(9))
    (tmp_path / "bad.svm").write_text("1 1:x\n")
    (tmp_path / "good.svm").write_text("1 1:2\n")
    times = pd.to_datetime(["2020-01-01", None] * 6)
    FRAME.assign(a=times).to_parquet(tmp_path / "times.parquet")
    savemat(tmp_path / "complex.mat", {"A": np.ones((3, 2)) + 1j, "y": np.arange(3)})
    for paths, arguments, message in (
        ([one, two], {}, r"has the columns \['b', 'c', 'y'\] but .*; give files of the same"),
        ([one, one], dict(num_workers=3), r"2 files for num_workers=3; give 2"),
        ([one, one], dict(worker="y"), r"worker= names the workers of one file"),
        ([], {}, r"path names no file"),
        (None, {}, r"path is a NoneType; give files"),
        (tmp_path / "times.parquet", dict(num_workers=2), r"'a' in .* holds datetime64.*; remove"),
        (tmp_path / "complex.mat", dict(num_workers=2), r"'1' in .* holds complex128, no real"),
        (tmp_path / "two.mat", {}, r"holds \{'A': \(3, 2\), .*; give a file with one matrix"),
        (tmp_path / "new.mat", {}, r"version 7.3; save it with '-v7'"),
        (tmp_path / "none.mat", {}, r"none.mat does not exist"),
        (tmp_path / "bad.svm", {}, r"cannot be read as libsvm's format"),
        (tmp_path / "none.svm", {}, r"none.svm.* does not exist"),
        (tmp_path / "good.svm", dict(target="y"), r"no columns to name"),
    ):
        with pytest.raises(ValueError, match=message):
            load_data(paths, **arguments)


@pytest.mark.parametrize("loss", ["linear", "logistic", "multinomial"])
def test_scripts_build_the_problem_of_their_options(loss, write, capsys):
    parser = common.Parser(prog="any.py")
    common.data_options(parser.add_argument_group("problem"))
    path = write(FRAME.assign(owner=[*"aaabbbbccccc"]).to_csv(index=False))
    given = ["--csv", str(path), "--target", "y", "--partition", "owner", "--loss", loss]
    penalty = [] if loss == "linear" else ["--l2", "0.1"]
    problem = common.read_problem(parser.parse_args([*given, *penalty]), None)
    assert problem.num_partitions == 3
    data = load_data(path, target="y", worker="owner", loss=loss)
    alone = {
        "linear": lambda: lj.linear_regression(data.X, data.y),
        "logistic": lambda: lj.logistic_regression(data.X, data.y, l2=0.1, weights=data.weights),
        "multinomial": lambda: lj.problems.multinomial_regression(
            data.X, data.y, l2=0.1, weights=data.weights
        ),
    }[loss]()
    assert float(problem.optimum) == float(alone.optimum)
    said = {"linear": "", "logistic": "Labels: 0 is -1, 1 is 1\n",
            "multinomial": "Labels: 0 is 0, 1 is 1\n"}  # fmt: skip
    assert capsys.readouterr().out == said[loss]
    with pytest.raises(ValueError, match="--target is about samples"):
        common.read_problem(parser.parse_args(given[2:]), None)
    for alone in (["--loss", loss], ["--l2", "5"], ["--raw"], ["--names"], ["--no-names"]):
        with pytest.raises(ValueError, match=rf"--{alone[0][2:].removeprefix('no-')} is about"):
            common.read_problem(parser.parse_args(alone), None)


def test_a_penalty_of_no_loss_is_refused(write):
    parser = common.Parser(prog="any.py")
    common.data_options(parser.add_argument_group("problem"))
    given = ["--csv", str(write(FRAME.to_csv(index=False))), "--l2", "0.1"]
    with pytest.raises(ValueError, match=r"--l2 0.1 is no part of a linear regression"):
        common.read_problem(parser.parse_args(given), 2)
