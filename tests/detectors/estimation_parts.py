"""A classifier whose scores are worth less in one part of the space."""

import numpy as np


def loans(rng, rows, mean=0.0, harder=0.0, flip=0.0, temper=1.0):
    """A score that is calibrated where x is low and overconfident where it is high."""
    x = rng.normal(mean, 1, rows)
    signal = rng.normal(0, 2, rows)
    truth = signal * np.where(x > 1, 0.3, 1.0) * (1 - harder)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    labels = np.where(rng.random(rows) < flip, 1 - labels, labels)
    scores = 1 / (1 + np.exp(-temper * signal))
    features = {"x": x, "group": np.where(x > 1, "high", "low").astype(object)}
    return features, scores, (scores >= 0.5).astype(float), labels
