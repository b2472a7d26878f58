"""A user's CSV file: standardised, dealt to the workers, no row lost; clear refusals."""

import numpy as np
import pandas as pd
import pytest

import lagc_jax as lj
from lagc_jax.problems.data import load_csv

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
        (",a,b\n0,1,2\n1,2,4\n", {}, r"a column without a name .*; name it or leave it out"),
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
