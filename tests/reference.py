"""Every number of the library once more: slow, plain NumPy loops, written from the definitions.

Letters: K iterations, M workers, G groups, n = M/G workers in a group, r redundancy, F = n-r+1
workers waited for, N rows of a partition, d features, D memory. Section numbers are those of the
definitions (1 system, 2 iteration, 4 costs, 5 computing times, 6 bounds).
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, special


class Data(NamedTuple):
    """M partitions: features X (M, N, d), targets or labels y (M, N), l2; kind names the loss.

    Kinds are linear, logistic (labels -1, 1) and multinomial (classes from 0, parameters (d, C)).
    """

    kind: str
    X: np.ndarray
    y: np.ndarray
    l2: float = 0.0


def data_of(problem):
    """The data of a linear regression."""
    return Data("linear", np.asarray(problem.X), np.asarray(problem.y))


class Path(NamedTuple):
    """Iterates (K+1, d), selected (K, G), gap (K+1,), both sides of every trigger (K, G)."""

    theta: np.ndarray
    selected: np.ndarray
    gap: np.ndarray
    left: np.ndarray
    right: np.ndarray


def random_data(kind, seed, M=6, N=4, d=5, l2=0.3):
    """Normal features, scaled differently in every partition; normal targets or random labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(M, N, d)) * np.linspace(0.3, 1.5, M)[:, None, None]
    y = rng.normal(size=(M, N))
    return Data(kind, X, y) if kind == "linear" else Data(kind, X, np.sign(y), l2)


def partition_loss(data, m, theta):
    """Loss of partition m (section 1)."""
    z = data.X[m] @ theta
    if data.kind == "linear":
        return 0.5 * np.sum((z - data.y[m]) ** 2)
    if data.kind == "multinomial":
        rights = z[np.arange(len(z)), data.y[m]]
        return np.sum(special.logsumexp(z, axis=1) - rights) + data.l2 / 2 * np.sum(theta**2)
    return np.sum(np.logaddexp(0.0, -data.y[m] * z)) + data.l2 / 2 * theta @ theta


def partition_gradient(data, m, theta):
    """Gradient of the loss of partition m (section 1)."""
    z = data.X[m] @ theta
    if data.kind == "linear":
        return data.X[m].T @ (z - data.y[m])
    if data.kind == "multinomial":
        errors = special.softmax(z, axis=1) - np.eye(z.shape[1])[data.y[m]]
        return data.X[m].T @ errors + data.l2 * theta
    return data.X[m].T @ (-data.y[m] * special.expit(-data.y[m] * z)) + data.l2 * theta


def loss(data, theta):
    """Loss of the whole data, the sum over the partitions (section 1)."""
    return sum(partition_loss(data, m, theta) for m in range(len(data.X)))


def group_gradient(data, sizes, g, theta):
    """Gradient of group g: its n consecutive partitions (section 1)."""
    n = len(data.X) // sizes
    return sum(partition_gradient(data, m, theta) for m in range(g * n, (g + 1) * n))


def smoothness(data, sizes):
    """Exact smoothness constants of `sizes` groups; sizes=1 is the whole loss (section 2)."""
    n = len(data.X) // sizes
    groups = [np.concatenate(data.X[g * n : (g + 1) * n]) for g in range(sizes)]
    largest = np.array([np.linalg.svd(X, compute_uv=False)[0] ** 2 for X in groups])
    curvature = {"linear": 1.0, "logistic": 0.25, "multinomial": 0.5}[data.kind]
    return curvature * largest + n * data.l2


def minimiser(data):
    """Least squares, BFGS (multinomial) or Newton's method from zero (logistic; section 1)."""
    d = data.X.shape[2]
    X, y = data.X.reshape(-1, d), data.y.reshape(-1)
    if data.kind == "linear":
        return np.linalg.lstsq(X, y, rcond=None)[0]
    if data.kind == "multinomial":
        shape = d, data.y.max() + 1
        found = optimize.minimize(
            lambda theta: loss(data, theta.reshape(shape)),
            np.zeros(d * shape[1]),
            jac=lambda theta: group_gradient(data, 1, 0, theta.reshape(shape)).ravel(),
            options={"gtol": 1e-8},
        )
        return found.x.reshape(shape)
    theta, l2 = np.zeros(d), len(data.X) * data.l2
    for _ in range(50):
        p = special.expit(-y * (X @ theta))
        hessian = (X * (p * (1 - p))[:, None]).T @ X + l2 * np.eye(d)
        theta = theta - np.linalg.solve(hessian, -X.T @ (y * p) + l2 * theta)
    return theta


def gaps(data, thetas):
    """L(theta) - L* at every iterate (section 2).

    For least squares it is 1/2 |X (theta - theta*)|^2, the same number without cancellation.
    """
    best = minimiser(data)
    if data.kind == "linear":
        X = data.X.reshape(-1, data.X.shape[2])
        return np.array([0.5 * np.sum((X @ (theta - best)) ** 2) for theta in thetas])
    return np.array([loss(data, theta) - loss(data, best) for theta in thetas])


def run_path(data, sizes, trigger, xi, memory, alpha, iterations, theta0=None):
    """Iterates and selections with `sizes` groups; trigger always, server or worker (section 2).

    `alpha` is one number, or one an iteration: then the trigger takes that of the iteration.
    """
    alpha = np.broadcast_to(alpha, iterations)
    xi = np.broadcast_to(np.asarray(xi, float), (memory,))
    constants = smoothness(data, sizes)
    theta = [np.zeros(data.X.shape[2]) if theta0 is None else np.array(theta0, float)]
    selected = np.zeros((iterations, sizes), bool)
    left, right = np.zeros((iterations, sizes)), np.zeros((iterations, sizes))
    last_used = [None] * sizes
    with np.errstate(all="ignore"):  # a path may diverge until it overflows
        for k in range(iterations):
            bound = 0.0
            for d in range(1, memory + 1):
                if k - d >= 0:
                    bound += xi[d - 1] * np.sum((theta[k + 1 - d] - theta[k - d]) ** 2)
            bound /= alpha[k] ** 2 * sizes**2
            for g in range(sizes):
                if trigger == "always" or k == 0:
                    selected[k, g] = True
                else:
                    if trigger == "server":
                        change = constants[g] * (last_used[g] - theta[k])
                    else:
                        old = group_gradient(data, sizes, g, last_used[g])
                        change = old - group_gradient(data, sizes, g, theta[k])
                    left[k, g], right[k, g] = np.sum(change**2), bound
                    selected[k, g] = not left[k, g] <= right[k, g]
                if selected[k, g]:
                    last_used[g] = theta[k]
            total = sum(group_gradient(data, sizes, g, last_used[g]) for g in range(sizes))
            theta.append(theta[k] - alpha[k] * total)
        return Path(np.array(theta), selected, gaps(data, theta), left, right)


def tie_margin(path):
    """Smallest relative distance of the two sides of a trigger along a path (section 2)."""
    larger, apart = np.maximum(path.left, path.right), np.abs(path.left - path.right)
    return np.min(apart[larger > 0] / larger[larger > 0], initial=1.0)


def costs(selected, workers, redundancy, trigger):
    """Cumulative downlink, uplink and computation, each (K+1,) (section 4)."""
    sizes = selected.shape[1]
    n = workers // sizes
    total = [(0, 0, 0)]
    for row in selected:
        uploads = int(sum(row))
        active = sizes if trigger == "worker" else uploads
        spent = n * active, (n - redundancy + 1) * uploads, redundancy * n * active
        total.append(tuple(a + b for a, b in zip(total[-1], spent, strict=True)))
    return tuple(np.array(total).T)


def wall_clock(times, selected, redundancy, trigger):
    """Cumulative time (K+1,) from the workers' times (K, M) of one gradient (section 4)."""
    sizes = selected.shape[1]
    n = times.shape[1] // sizes
    clock = [0.0]
    for row, tau in zip(selected, times, strict=True):
        longest = 0.0
        for g in range(sizes):
            if row[g] or trigger == "worker":
                arrivals = sorted(redundancy * t for t in tau[g * n : (g + 1) * n])
                longest = max(longest, arrivals[n - redundancy])
        clock.append(clock[-1] + longest)
    return np.array(clock)


def complexity(array, gap, accuracy):
    """Entry of a cumulative array at the first k whose gap is <= accuracy, or inf (section 4)."""
    hits = (value for value, distance in zip(array, gap, strict=True) if distance <= accuracy)
    return float(next(hits, math.inf))


def exponential_order_mean(k, n, rate):
    """E[k-th smallest of n] exponential times: (H_n - H_{n-k}) / rate (section 5)."""
    return sum(1 / j for j in range(n - k + 1, n + 1)) / rate


def pareto_order_mean(k, n, scale, shape):
    """E[k-th smallest of n] Pareto times, inf unless n-k+1 > 1/shape (section 5)."""
    if n - k + 1 <= 1 / shape:
        return math.inf
    log = math.lgamma(n + 1) + math.lgamma(n - k + 1 - 1 / shape)
    return scale * math.exp(log - math.lgamma(n - k + 1) - math.lgamma(n + 1 - 1 / shape))


def iteration_cdf(t, phi, s, n, redundancy):
    """P(iteration time <= t) with s selected groups; phi is the cdf of tau (section 5)."""
    return special.betainc(n - redundancy + 1, redundancy, phi(t / redundancy)) ** s


@functools.cache
def iteration_moment(power, family, parameters, s, n, redundancy):
    """E[(iteration time)^power], an integral over z = -log P(tau > t) (section 5)."""
    F, r = n - redundancy + 1, redundancy
    if s == 0 or (family == "pareto" and r * parameters[1] <= power):
        return math.inf if s else 0.0

    def integrand(z):  # time^power times the density s I^(s-1) u^(F-1) (1-u)^(r-1) / B, u = 1-e^-z
        if family == "exponential":
            log_time = math.log(r * z / parameters[0])
        else:
            log_time = math.log(r * parameters[0]) + z / parameters[1]
        u = -math.expm1(-z)
        log = power * log_time - r * z + (F - 1) * math.log(u) - special.betaln(F, r)
        return s * math.exp(log) * special.betainc(F, r, u) ** (s - 1)

    # Cut at 4, where the bulk ends: the adaptive rule then sees the bulk and the tail apart.
    ends = (0, 4), (4, math.inf)
    return sum(integrate.quad(integrand, *ab, epsabs=0, epsrel=1e-11)[0] for ab in ends)


def moments_by_quadrature(isf, n, redundancy, s):
    """Mean and variance of an iteration's time, given the inverse survival function of tau.

    Gauss's rule on panels of v, survival exp(-v), so that the heavy tail is smooth (section 5).
    """
    x, w = np.polynomial.legendre.leggauss(80)
    knots = np.concatenate([np.logspace(-16, -1, 31), [0.3, 1, 2, 3, 5, 10, 20, 30, 50, 100, 300]])
    half = np.diff(knots)[:, None] / 2
    v = knots[:-1, None] + half * (1 + x)
    upper = -np.expm1(np.log1p(-np.exp(-v)) / s)  # of one group
    time = redundancy * isf(special.betaincinv(redundancy, n - redundancy + 1, upper))
    weight = half * w * np.exp(-v)
    mean = np.sum(weight * time)
    return mean, np.sum(weight * (time - mean) ** 2)


def expected_clock(family, parameters, selected, workers, redundancy, trigger):
    """Cumulative mean and variance of the wall-clock along a path, each (K+1,) (section 5)."""
    sizes = selected.shape[1]
    mean, variance = [0.0], [0.0]
    for row in selected:
        s = sizes if trigger == "worker" else int(sum(row))
        args = (family, parameters, s, workers // sizes, redundancy)
        first, second = iteration_moment(1, *args), iteration_moment(2, *args)
        mean.append(mean[-1] + first)
        variance.append(variance[-1] + (second if second == math.inf else second - first**2))
    return np.array(mean), np.array(variance)


def gammas(total, alpha, xi, memory, sizes):
    """gamma_d = xi_d / (d alpha^2 L^2 G^2), d = 1..D (section 6)."""
    xi = np.broadcast_to(np.asarray(xi, float), (memory,))
    return [xi[d - 1] / (d * alpha**2 * total**2 * sizes**2) for d in range(1, memory + 1)]


def lemma4_holds(selected, constants, total, alpha, xi, memory):
    """Groups with (L_g/L)^2 <= gamma_d are used at most once in d+1 iterations (section 6)."""
    iterations, sizes = selected.shape
    return all(
        sum(selected[k : k + d + 1, g]) <= 1
        for d, gamma in enumerate(gammas(total, alpha, xi, memory, sizes), start=1)
        for g in range(sizes)
        if (constants[g] / total) ** 2 <= gamma
        for k in range(iterations)
    )


def communication_share_bound(constants, total, alpha, xi, memory):
    """1 - sum_d (1/d - 1/(d+1)) h(gamma_d), a share of full communication (section 6)."""
    limits = gammas(total, alpha, xi, memory, len(constants))
    h = [sum((c / total) ** 2 <= gamma for c in constants) / len(constants) for gamma in limits]
    return 1 - sum((1 / d - 1 / (d + 1)) * h[d - 1] for d in range(1, memory + 1))
