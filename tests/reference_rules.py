"""The lazy rules once more: one slow, plain NumPy loop for each, written from its paper.

`gradient(g, theta, k)` is the gradient of group g at theta on the samples of iteration k;
`server(v)` turns the sum of the groups' messages into the step that is subtracted. Every loop
returns the iterates (K+1, d), the uploads (K, G) and, of each decision, the left and the right side
(K, G). `lost(k, g)` says whether the upload of a group gets lost, and with it what it would have
changed at the server and in the group.
"""

import numpy as np


def nothing_lost(k, g):
    return False


def sgd(alpha):
    """The server of gradient descent."""
    return lambda v: alpha * v


def amsgrad(alpha, b1=0.9, b2=0.999, eps=1e-8):
    """AMSGrad as in CADA's code: no correction of the bias, eps outside the root."""
    memory = {"h": 0.0, "v": 0.0, "largest": 0.0}

    def server(gradient):
        memory["h"] = b1 * memory["h"] + (1 - b1) * gradient
        memory["v"] = b2 * memory["v"] + (1 - b2) * gradient**2
        memory["largest"] = np.maximum(memory["largest"], memory["v"])
        return alpha * memory["h"] / (np.sqrt(memory["largest"]) + eps)

    return server


def moved(theta, xi, D):
    """sum_d xi |theta^{k+1-d} - theta^{k-d}|^2 of a list of iterates up to theta^k."""
    k = len(theta) - 1
    return xi * sum(np.sum((theta[k + 1 - d] - theta[k - d]) ** 2) for d in range(1, min(D, k) + 1))


def lasg_wk2(gradient, G, start, K, xi, D, server, silence, lost=nothing_lost):
    """LASG, rule WK2 (and CADA2): two points, the same samples."""
    theta, used = [start], [None] * G
    message, silent = np.zeros((G, start.size)), np.zeros(G, int)
    uploads, left, right = (np.zeros((K, G)) for _ in range(3))
    for k in range(K):
        for g in range(G):
            fresh = gradient(g, theta[k], k)
            if used[g] is not None:
                left[k, g] = np.sum((fresh - gradient(g, used[g], k)) ** 2)
                right[k, g] = moved(theta, xi, D)
            uploads[k, g] = used[g] is None or left[k, g] > right[k, g] or silent[g] >= silence
            silent[g] += 1
            if uploads[k, g] and not lost(k, g):
                message[g], used[g], silent[g] = fresh, theta[k], 0
        theta.append(theta[k] - server(message.sum(0)))
    return np.array(theta), uploads, left, right


def lasg_ps(gradient, G, start, K, xi, D, server, silence, smoothness, lost=nothing_lost):
    """LASG, server rule: the smoothness constant in place of a second gradient."""
    theta, used = [start], [None] * G
    message, silent = np.zeros((G, start.size)), np.zeros(G, int)
    uploads, left, right = (np.zeros((K, G)) for _ in range(3))
    for k in range(K):
        for g in range(G):
            if used[g] is not None:
                left[k, g] = smoothness[g] ** 2 * np.sum((theta[k] - used[g]) ** 2)
                right[k, g] = moved(theta, xi, D)
            uploads[k, g] = used[g] is None or left[k, g] > right[k, g] or silent[g] >= silence
            silent[g] += 1
            if uploads[k, g] and not lost(k, g):
                message[g], used[g], silent[g] = gradient(g, theta[k], k), theta[k], 0
        theta.append(theta[k] - server(message.sum(0)))
    return np.array(theta), uploads, left, right


def cada1(gradient, G, start, K, xi, D, server, silence, life, lost=nothing_lost):
    """CADA, rule 1: differences to a snapshot; when it is renewed everybody uploads."""
    theta, snapshot = [start], start
    message, reduced = np.zeros((G, start.size)), np.zeros((G, start.size))
    silent, known = np.zeros(G, int), np.zeros(G, bool)
    uploads, left, right = (np.zeros((K, G)) for _ in range(3))
    for k in range(K):
        if k % life == 0:
            snapshot = theta[k]
        for g in range(G):
            fresh = gradient(g, theta[k], k)
            now = fresh - gradient(g, snapshot, k)
            left[k, g], right[k, g] = np.sum((now - reduced[g]) ** 2), moved(theta, xi, D)
            uploads[k, g] = not known[g] or left[k, g] > right[k, g] or silent[g] >= silence
            uploads[k, g] = uploads[k, g] or k % life == 0
            silent[g] += 1
            if uploads[k, g] and not lost(k, g):
                message[g], reduced[g], silent[g], known[g] = fresh, now, 0, True
        theta.append(theta[k] - server(message.sum(0)))
    return np.array(theta), uploads, left, right


def laq(gradient, G, start, K, xi, D, alpha, bits, silence, lost=nothing_lost):
    """LAQ: quantised changes of gradients, the condition on the quantised gradients."""
    theta, Q = [start], np.zeros((G, start.size))
    error, silent, known = np.zeros(G), np.zeros(G, int), np.zeros(G, bool)
    uploads, left, right = (np.zeros((K, G)) for _ in range(3))
    for k in range(K):
        for g in range(G):
            fresh = gradient(g, theta[k], k)
            R = np.abs(fresh - Q[g]).max()
            tau = 1 / (2**bits - 1)
            levels = np.floor((fresh - Q[g] + R) / (2 * tau * R) + 0.5)
            quantised = Q[g] + 2 * tau * R * levels - R
            now = np.sum((fresh - quantised) ** 2)
            left[k, g] = np.sum((Q[g] - quantised) ** 2)
            right[k, g] = moved(theta, xi, D) / (alpha * G) ** 2 + 3 * (now + error[g])
            uploads[k, g] = not known[g] or left[k, g] > right[k, g] or silent[g] >= silence
            silent[g] += 1
            if uploads[k, g] and not lost(k, g):
                Q[g], error[g], silent[g], known[g] = quantised, now, 0, True
        theta.append(theta[k] - alpha * Q.sum(0))
    return np.array(theta), uploads, left, right
