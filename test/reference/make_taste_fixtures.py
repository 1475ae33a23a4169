"""Writes test/fixtures/taste.json: votes on vectors in two groups, the strengths of the groups, and the utilities' weights as
scipy finds them in the primal form, the sum of the votes' losses plus |w_g|^2 / (2 strength_g); and Wilson's intervals by
scipy.stats. Read by test/grpo/finetune/taste/fit.test.ts and agreement.test.ts.

Run: python test/reference/make_taste_fixtures.py
"""
import json

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest

from fixtures import FOLDER

rng = np.random.default_rng(21)
VOTES, SIZES, STRENGTHS = 24, {"plain": 5, "last": 40}, {"plain": 1.5, "last": 0.15}
sides = {name: rng.normal(size=(2, VOTES, size)).round(4) for name, size in SIZES.items()}
targets = rng.choice([0, 0.5, 1], size=VOTES, p=[0.4, 0.2, 0.4])

# Standardised over all pictures; a group's rows are divided by the root of its size, so that strengths compare.
rows, penalty, deviations = [], [], {}
for name, size in SIZES.items():
    pictures = sides[name].reshape(-1, size)
    deviations[name] = pictures.std(0)
    rows.append((sides[name][0] - sides[name][1]) / deviations[name] / np.sqrt(size))
    penalty.append(np.full(size, 1 / STRENGTHS[name]))
D, ridge = np.concatenate(rows, 1), np.concatenate(penalty)


def loss(w):
    f = D @ w
    return np.sum(np.logaddexp(0, f) - targets * f) + 0.5 * np.sum(ridge * w * w)


def gradient(w):
    return D.T @ (expit(D @ w) - targets) + ridge * w


def hessian(w):
    p = expit(D @ w)
    return (D.T * (p * (1 - p))) @ D + np.diag(ridge)


found = minimize(loss, np.zeros(D.shape[1]), jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-13})
w = found.x - np.linalg.solve(hessian(found.x), gradient(found.x))
assert np.abs(gradient(w)).max() < 1e-13
weights, start = {}, 0
for name, size in SIZES.items():
    weights[name] = (w[start:start + size] / np.sqrt(size)).tolist()
    start += size

# Laplace's variance of the difference between the first vote's left picture and the last vote's right one.
row = np.concatenate([(sides[n][0][0] - sides[n][1][-1]) / deviations[n] / np.sqrt(s) for n, s in SIZES.items()])
variance = row @ np.linalg.solve(hessian(w), row)

intervals = []
for agree, of in [(0, 10), (16, 30), (41, 60), (60, 60), (300, 500)]:
    ci = binomtest(agree, of).proportion_ci(method="wilson")
    intervals.append({"agree": agree, "of": of, "low": ci.low, "high": ci.high})

(FOLDER / "taste.json").write_text(json.dumps({
    "strengths": STRENGTHS,
    "votes": [{"left": {n: sides[n][0][i].tolist() for n in SIZES}, "right": {n: sides[n][1][i].tolist() for n in SIZES},
               "target": targets[i]} for i in range(VOTES)],
    "weights": weights,
    "objective": loss(w),
    "difference": {"mean": float(row @ w), "variance": float(variance)},
    "intervals": intervals,
}) + "\n")
