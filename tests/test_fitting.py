"""Maximum likelihood against SciPy's own, and against the parameters that made the data."""

import jax
import numpy as np
import pytest
from scipy import special, stats

import lagc_jax as lj
from lagc_jax import fit
from lagc_jax.delays import FAMILIES, Gamma, Hyperexponential, Lognormal, Weibull, quantile_frame
from lagc_jax.delays.estimators import ESTIMATORS, _polygamma
from lagc_jax.plots.paper import plot_quantiles

N = 4_000
sample = jax.jit(lambda delays, key: delays.sample(key, (N,)))
TIMES = np.asarray(sample(Gamma(2.0, 1.7), jax.random.key(0)))


@pytest.fixture(scope="module")
def table():
    return fit(TIMES)


def log_likelihood(name, delays):
    values = list(vars(delays).values())
    if name == "hyperexponential":
        rate, slow, q = values
        density = (1 - q) * rate * np.exp(-rate * TIMES) + q * slow * np.exp(-slow * TIMES)
        return np.log(density).sum()
    law = {
        "exponential": lambda rate: stats.expon(scale=1 / rate),
        "pareto": lambda scale, shape: stats.pareto(shape, scale=scale),
        "shifted_exponential": lambda shift, rate: stats.expon(shift, 1 / rate),
        "weibull": lambda scale, shape: stats.weibull_min(shape, scale=scale),
        "lognormal": lambda location, scale: stats.lognorm(scale, scale=np.exp(location)),
        "gamma": lambda scale, shape: stats.gamma(shape, scale=scale),
        "shifted_weibull": lambda shift, scale, shape: stats.weibull_min(shape, shift, scale),
        "shifted_lognormal": lambda shift, m, scale: stats.lognorm(scale, shift, np.exp(m)),
        "shifted_gamma": lambda shift, scale, shape: stats.gamma(shape, shift, scale),
    }[name](*values)
    return law.logpdf(TIMES).sum()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_likelihood_and_distance_are_those_of_the_fitted_law(name, table):
    row = table.loc[name]
    assert isinstance(row["delays"], FAMILIES[name])
    np.testing.assert_allclose(
        row["log-likelihood"], log_likelihood(name, row["delays"]), rtol=1e-11
    )
    distance = stats.kstest(TIMES, lambda t: 1 - row["delays"].survival(t)).statistic
    np.testing.assert_allclose(row["KS"], distance, rtol=1e-9)
    np.testing.assert_allclose(row["AIC"], 2 * row["parameters"] - 2 * row["log-likelihood"])


@pytest.mark.parametrize(
    ("name", "estimate"),
    [
        ("weibull", lambda: stats.weibull_min.fit(TIMES, floc=0)[::-2]),
        ("gamma", lambda: stats.gamma.fit(TIMES, floc=0)[::-2]),
        ("lognormal", lambda: (np.log(stats.lognorm.fit(TIMES, floc=0)[2]),
                               stats.lognorm.fit(TIMES, floc=0)[0])),
        ("shifted_exponential", lambda: (TIMES.min(), 1 / stats.expon.fit(TIMES)[1])),
        ("pareto", lambda: stats.pareto.fit(TIMES, floc=0)[::-2]),
    ],
)  # fmt: skip
def test_estimates_are_those_of_scipy(name, estimate, table):
    # SciPy's optimisers stop at about 1e-5.
    fitted = list(vars(table.loc[name, "delays"]).values())
    np.testing.assert_allclose(fitted, estimate(), rtol=2e-5)


def test_the_family_of_the_data_comes_first(table):
    assert table.index[0] == "gamma"
    assert table["AIC"].is_monotonic_increasing


@pytest.mark.parametrize(
    "truth",
    [Gamma(2.0, 1.7), Weibull(3.0, 0.6), Lognormal(-1.0, 0.4), Hyperexponential(4.0, 0.2, 0.1)],
)
def test_parameters_are_recovered(truth):
    """Within 4 standard errors (6e-5 two-sided), from the observed information."""
    name = {type_: name for name, type_ in FAMILIES.items()}[type(truth)]
    times = np.asarray(sample(truth, jax.random.key(3)), float)
    fitted, _ = ESTIMATORS[name](np.sort(times))
    values = np.array(list(vars(fitted).values()), float)
    density = jax.jit(
        jax.vmap(jax.grad(lambda t, theta: -type(truth)(*theta).survival(t)), in_axes=(0, None))
    )

    def scores(theta):
        steps = 1e-5 * np.maximum(np.abs(theta), 0.1)
        columns = [
            np.log(np.asarray(density(times, theta + h)) / np.asarray(density(times, theta - h)))
            / (2 * step)
            for step, h in zip(steps, np.diag(steps), strict=True)
        ]
        return np.stack(columns)

    score = scores(values)
    error = np.sqrt(np.diag(np.linalg.inv(score @ score.T)))
    assert (np.abs(values - list(vars(truth).values())) < 4 * error).all()
    # At the maximum the total score vanishes; the mixture stops at 1e-10 of likelihood a time.
    assert (np.abs(score.sum(1)) * error < (0.05 if name == "hyperexponential" else 1e-4)).all()


def test_missing_times_are_left_out(table):
    gaps = np.full((N, 2), np.nan)
    gaps[np.arange(N), np.arange(N) % 2] = TIMES
    for times in (gaps, np.nan_to_num(gaps, nan=np.inf), lj.Trace.from_array(gaps)):
        np.testing.assert_array_equal(fit(times)["AIC"], table["AIC"])


def test_quantiles_of_the_best_family_lie_on_the_diagonal(table):
    frame = quantile_frame(TIMES, table)
    assert frame.groupby("family").size().tolist() == [200] * len(ESTIMATORS)
    best = frame[frame["family"] == "gamma"].iloc[20:-20]
    np.testing.assert_allclose(best["measured"], best["fitted"], rtol=0.1)
    figure = plot_quantiles(frame)
    assert [axis.get_title() for axis in figure.axes[: len(ESTIMATORS)]] == [
        name.replace("_", " ") for name in table.index
    ]


def test_polygamma_is_exact():
    for x in (1e-3, 0.5, 1.0, 11.9, 12.1, 1e4):
        np.testing.assert_allclose(
            _polygamma(x), [special.psi(x), special.polygamma(1, x)], rtol=1e-13
        )


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[1.0, 2.0], [-1.0, 3.0]], r"times\[1, 0\]=-1.0 \(row 2 of column 1\) is not a time"),
        ([1.0, -2.0], r"times\[1\]=-2.0 is not a time"),
        ([1.0, -np.inf], r"times\[1\]=-inf is not a time"),
        (["a", "b"], r"times=.* is not a real number"),
        ([np.nan, 1.0], r"times has fewer than two distinct values; give more"),
        ([2.0, 2.0], r"times has fewer than two distinct values; .* Discrete\(\[2.0\]\)"),
        ([], r"times has fewer than two"),
    ],
)
def test_bad_times_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        fit(times)
