"""Maximum likelihood against SciPy's own, and against the parameters that made the data."""

import jax
import numpy as np
import pytest
from scipy import optimize, special, stats

import lagc_jax as lj
from lagc_jax import fit
from lagc_jax.delays import (
    FAMILIES,
    Gamma,
    Hyperexponential,
    Lognormal,
    Weibull,
    _laws,
    quantile_frame,
)
from lagc_jax.delays.estimators import ESTIMATORS, _gamma, _polygamma_excess
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
        np.testing.assert_array_equal(fit(times, num_bootstrap=0)["AIC"], table["AIC"])


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
        found = np.add(_polygamma_excess(x), [np.log(x), 1 / x])
        np.testing.assert_allclose(found, [special.psi(x), special.polygamma(1, x)], rtol=1e-13)
    # As `x` grows they are -1/(2x) and 1/(2x^2).
    np.testing.assert_allclose(_polygamma_excess(1e16), [-5e-17, 5e-33], rtol=1e-12)


@pytest.mark.parametrize("far", [1e4, 1e7, 1e8, 1e9, 1e12])
def test_gamma_of_nearly_constant_times_is_a_normal_law(far):
    """Its likelihood, of a shape beyond what logarithms of gamma functions tell apart."""
    times = np.sort(far + np.random.default_rng(1).normal(0, 2, 200).cumsum())
    found, likelihood = _gamma(times)
    normal = stats.norm(times.mean(), times.std()).logpdf(times).sum()
    assert likelihood == pytest.approx(normal, rel=10 * np.ptp(times) / far + 1e-6)
    assert found.shape == pytest.approx((times.mean() / times.std()) ** 2, rel=1e-2)
    table = lj.fit(times, num_bootstrap=0)
    assert np.isfinite(table["AIC"]).all()


SHIFTED = {
    "shifted_weibull": lambda k: stats.weibull_min(k, 3, 2),
    "shifted_gamma": lambda k: stats.gamma(k, 3, 2),
    "shifted_lognormal": lambda k: stats.lognorm(k, 3, 2),
}


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("name", SHIFTED)
def test_shifts_are_at_least_as_likely_as_the_truth(name, shape):
    """Also where the likelihood has no maximum: shapes of 1 and less of Weibull and gamma."""
    law = SHIFTED[name](shape)
    times = np.sort(law.rvs(500, random_state=np.random.default_rng(5)))
    fitted, likelihood = ESTIMATORS[name](times)
    if name == "shifted_lognormal":
        ours = law.dist(fitted.scale, fitted.shift, np.exp(fitted.location))
    else:
        ours = law.dist(fitted.shape, fitted.shift, fitted.scale)
    np.testing.assert_allclose(likelihood, ours.logpdf(times).sum(), rtol=1e-10)
    # The density is infinite at the shift for shapes below 1, so the first few decide nothing.
    rest = times[5 if shape < 1 else 0 :]
    assert ours.logpdf(rest).sum() > law.logpdf(rest).sum() - 1
    assert 0 < times[0] - fitted.shift < law.ppf(0.1) - 3 + (name == "shifted_lognormal")
    assert abs(fitted.shift - 3) < 0.5
    table = fit(times, num_bootstrap=0)
    assert table["AIC"].idxmin() == table.index[0] != "exponential"
    assert table.loc[name, "AIC"] < table.loc[name.removeprefix("shifted_"), "AIC"]


def test_a_shift_is_where_a_fine_grid_has_its_highest_inner_maximum():
    times = np.sort(SHIFTED["shifted_lognormal"](0.8).rvs(200, random_state=1))
    _, likelihood = ESTIMATORS["shifted_lognormal"](times)
    gaps = np.geomspace(times[0], 1e-3, 400)
    logs = np.log(times - times[0] + gaps[:, None])
    spread = logs.std(axis=1)
    every = -logs.sum(axis=1) - 200 * (np.log(spread) + 0.5 * np.log(2 * np.pi) + 0.5)
    inner = (every[1:-1] > every[:-2]) & (every[1:-1] > every[2:])
    peak = every[1:-1][inner].max()
    assert peak - 1e-9 <= likelihood < peak + 0.05


@pytest.mark.parametrize("seed", range(6))
def test_no_mixture_is_likelier(seed):
    """Against SciPy's simplex from many starts."""
    rng = np.random.default_rng(seed)
    slow = rng.random(150) < (0.5, 0.1)[seed % 2]
    draws = rng.exponential(size=150) / np.where(slow, (0.5, 0.05)[seed % 2], 1)
    times = np.sort(draws if seed % 3 else rng.gamma(2.0, size=150))

    def negative(point):
        fast, late = (point[i] - np.exp(point[i]) * times for i in (0, 1))
        return -np.logaddexp(fast - np.logaddexp(0, point[2]), late - np.logaddexp(0, -point[2])
                             ).sum()  # fmt: skip

    starts = rng.normal(size=(8, 3)) * [1, 1, 3]
    with np.errstate(over="ignore"):
        best = min(optimize.minimize(negative, p, method="Nelder-Mead").fun for p in starts)
    delays, likelihood = ESTIMATORS["hyperexponential"](times)
    assert likelihood >= -best - 1e-6
    point = [np.log(delays.rate), np.log(delays.slow_rate), special.logit(delays.slow_share)]
    np.testing.assert_allclose(likelihood, -negative(np.array(point)), rtol=1e-9)


def test_p_values_are_uniform_under_the_law_and_small_beside_it():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(25):
        table = fit(rng.lognormal(0, 1, 50), num_bootstrap=19, seed=seed)
        p.append(table["p-value"].iloc[0])
        assert table["p-value"].iloc[1:].isna().all()
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    two = np.concatenate([rng.normal(5, 0.1, 300), rng.normal(9, 0.1, 300)])
    assert fit(two)["p-value"].iloc[0] == 0.01
    # Rounding alone is no misfit.
    rounded = np.round(rng.gamma(20.0, 0.5, 400), 0)
    assert fit(rounded)["p-value"].iloc[0] > 0.05


def test_groups_have_fits_of_their_own():
    rng = np.random.default_rng(0)
    times = rng.lognormal([0, 1, 0], 0.5, (80, 3))
    times[3, 1] = np.nan
    table = fit(times, groups=["a", "b", "a"], num_bootstrap=19)
    parts = [fit(times[:, [0, 2]], num_bootstrap=0), fit(times[:, 1], num_bootstrap=0)]
    for name, row in table.iterrows():
        ours = [list(vars(part.loc[name, "delays"]).values()) for part in parts]
        stacked = np.array(list(vars(row["delays"]).values()))
        np.testing.assert_array_equal(stacked.T, [ours[0], ours[1], ours[0]])
        total = sum(part.loc[name, "log-likelihood"] for part in parts)
        np.testing.assert_allclose(row["log-likelihood"], total)
        assert row["parameters"] == 2 * parts[0].loc[name, "parameters"]
    row = table.loc["lognormal"]
    law = row["delays"]
    level = stats.norm.cdf((np.log(times) - law.location) / law.scale)
    level = level[np.isfinite(level)]
    np.testing.assert_allclose(row["KS"], stats.kstest(level, "uniform").statistic, rtol=1e-9)
    with pytest.raises(ValueError, match="one law a worker; give the table of fit without groups"):
        quantile_frame(times, table)
    with pytest.raises(ValueError, match=r"groups names 2 columns but times has shape \(80, 3\)"):
        fit(times, groups="ab")


def test_zeros_are_named_and_leave_the_families_that_can_have_them():
    with pytest.warns(RuntimeWarning, match=r"times\[1, 0\]=0.0 \(row 2 of column 1\), one of 2 "):
        table = fit([[1.0, 2.0], [0.0, 3.0], [0.0, 1.5]])
    assert sorted(table.index) == ["exponential", "shifted_exponential"]
    assert np.isfinite(table["AIC"]).all()
    assert table.loc["shifted_exponential", "delays"].shift == 0


def test_a_fit_compiles_nothing(compilations):
    with compilations() as compiled:
        table = fit(TIMES[:777])
        quantile_frame(TIMES[:777], table)
    assert compiled == [0]


def test_host_quantiles_and_draws_are_those_of_the_law(table):
    level = np.array([1e-6, 0.01, 0.5, 0.99, 1 - 1e-9])
    for law in table["delays"]:
        np.testing.assert_allclose(_laws.cdf(law, _laws.quantile(law, level)), level, rtol=1e-9)
        drawn = _laws.draw(law, np.random.default_rng(1), 2000)
        assert stats.kstest(drawn, lambda t, law=law: _laws.cdf(law, t)).pvalue > 1e-3


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
