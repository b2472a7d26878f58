"""A plain Python event queue for schemes whose workers do not compute in step: slow, and its own.

Each scheme is written as its paper has it, without the package's policies.
"""

import heapq

import numpy as np


def run(scheme, work, gradient, alpha, theta, num_updates, limit=None, success=1.0):
    """Iterates, and (time, jobs started, gradients sent) of every update, from times (J, M).

    A scheme is (name, number): of gradients an update, or the threshold. `gradient` is of a point
    and the number of the gradient among those that are used.
    """
    name, size = scheme
    M = work.shape[1]
    batch = {"ASGD": 1, "delay-adaptive": 1, "Ringmaster": 1, "Ringmaster stops": 1}.get(name, size)
    if name == "MindFlayer":
        batch = M * size
    queue, rows = [], [0] * M
    tokens = [0] * M  # a job in the queue that is not a worker's last was stopped
    started = sent = used = 0
    points, spent = [np.array(theta)], [(0.0, 0, 0)]

    def launch(m, now):
        nonlocal started
        started += 1
        time = work[rows[m], m]
        rows[m] += 1
        tokens[m] += 1
        failed = limit is not None and time > limit
        end = now + (type(time)(limit) if failed else time)
        heapq.heappush(queue, (end, m, tokens[m], len(points) - 1, failed))

    for m in range(M):
        launch(m, work.dtype.type(0))
    total, count, waiting, made = np.zeros_like(theta), 0, [], [0] * M
    while len(points) <= num_updates:
        now, m, token, began, failed = heapq.heappop(queue)
        if token != tokens[m]:
            continue
        before = started, sent
        delay = len(points) - 1 - began
        sent += not failed
        made[m] += 1
        if (name == "Rennala" and delay) or (name == "Ringmaster" and delay >= size):
            launch(m, now)
            continue
        weight = M / max(M, delay) if name == "delay-adaptive" else 1.0
        if not failed:
            total = total + weight * gradient(points[began], used)
        used, count = used + 1, count + 1
        done = count == batch
        if done:
            expected = batch * success if name == "MindFlayer" else batch
            points.append(points[-1] - alpha * total / expected)
            spent.append((now, before[0], sent))
            total, count, made = np.zeros_like(theta), 0, [0] * M
        if name in ("K-sync", "K-batch-sync", "MindFlayer") and done:
            for other in range(M):
                launch(other, now)
        elif name == "K-async":
            waiting.append(m)
            if done:
                for other in waiting:
                    launch(other, now)
                waiting = []
        elif name == "K-sync" or (name == "MindFlayer" and made[m] == size):
            pass
        else:
            launch(m, now)
        if name == "Ringmaster stops":
            for other in range(M):
                last = max((e for e in queue if e[1] == other), key=lambda e: e[2])
                if len(points) - 1 - last[3] >= size:
                    launch(other, now)
    return np.array(points), np.array(spent)
