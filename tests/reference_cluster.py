"""Clusters with messages, failures and a timeout once more: plain NumPy loops over given times."""

import math
from typing import NamedTuple

import numpy as np
import reference


class Run(NamedTuple):
    """gap (K+1,), selected and received (K, G), cumulative costs (K+1,)."""

    gap: np.ndarray
    selected: np.ndarray
    received: np.ndarray
    wall_clock: np.ndarray
    downlink: np.ndarray
    uplink: np.ndarray
    computation: np.ndarray
    timeouts: np.ndarray


def iteration(work, groups, F, uploading, working, link=None, timeout=math.inf):
    """Time, groups decoded, messages up and groups given up, of one iteration.

    work: time that each of M workers computes; uploading, working: sets of groups.
    """
    n = len(work) // groups
    link = dict(latency=0.0, down=0.0, up=0.0, shared=False) | (link or {})
    ready, sent = {}, {}
    downloads = 0
    for m in range(len(work)):
        if m // n in working:
            downloads += 1
            waited = downloads * link["down"] if link["shared"] else link["down"]
            ready[m] = waited + link["latency"] + work[m]
    for g in working:
        first = sorted((m for m in ready if m // n == g), key=lambda m: (ready[m], m))
        for m in first[:F] if link["shared"] else first:
            sent[m] = ready[m]
    free = 0.0
    for m in sorted(sent, key=lambda m: (ready[m], m)):
        if m // n in uploading and math.isfinite(ready[m]):
            start = max(free, ready[m]) if link["shared"] else ready[m]
            free = sent[m] = start + link["up"]
    longest, decoded, messages, given_up = 0.0, set(), 0, 0
    for g in working:
        arrivals = sorted(t + link["latency"] for m, t in sent.items() if m // n == g)[:F]
        if arrivals[F - 1] <= timeout:
            decoded.add(g)
        else:
            given_up += 1
        longest = max(longest, min(arrivals[F - 1], timeout))
        if g in uploading:
            messages += sum(t <= timeout for t in arrivals)
    return longest, decoded, messages, given_up


def run(data, work, groups, r, trigger, xi, memory, alpha, link=None, timeout=math.inf):
    """A whole trajectory; a group given up keeps its stale gradient, zero if it has none."""
    K, M = work.shape
    n = M // groups
    constants = reference.smoothness(data, groups)
    theta, used = [np.zeros(data.X.shape[2])], [None] * groups
    stale = np.zeros((groups, data.X.shape[2]))
    selected, received = np.zeros((K, groups), bool), np.zeros((K, groups), bool)
    costs = [(0.0, 0, 0, 0, 0)]
    for k in range(K):
        bound = 0.0
        for d in range(1, memory + 1):
            if k - d >= 0:
                bound += xi * np.sum((theta[k + 1 - d] - theta[k - d]) ** 2)
        bound /= alpha**2 * groups**2
        fresh = [reference.group_gradient(data, groups, g, theta[k]) for g in range(groups)]
        for g in range(groups):
            if trigger == "always" or used[g] is None:
                selected[k, g] = True
            elif trigger == "server":
                left = constants[g] ** 2 * np.sum((used[g] - theta[k]) ** 2)
                selected[k, g] = not left <= bound
            else:
                selected[k, g] = not np.sum((stale[g] - fresh[g]) ** 2) <= bound
        uploading = {g for g in range(groups) if selected[k, g]}
        working = set(range(groups)) if trigger == "worker" else uploading
        time, decoded, messages, given_up = iteration(
            work[k], groups, n - r + 1, uploading, working, link, timeout
        )
        for g in uploading & decoded:
            received[k, g] = True
            used[g], stale[g] = theta[k], fresh[g]
        theta.append(theta[k] - alpha * stale.sum(0))
        spent = time, n * len(working), messages, r * n * len(working), given_up
        costs.append(tuple(a + b for a, b in zip(costs[-1], spent, strict=True)))
    gap = reference.gaps(data, theta)
    return Run(gap, selected, received, *(np.array(c) for c in zip(*costs, strict=True)))
