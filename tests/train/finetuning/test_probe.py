"""The linear layer of a probe, held to scikit-learn's."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from dcasenet.train.finetuning.probe import solve


def test_the_linear_layer_is_logistic_regression() -> None:
    random = np.random.default_rng(0)
    truth = random.choice(3, 120, p=[0.6, 0.3, 0.1])
    x = (random.standard_normal((120, 5)) * [1, 2, 3, 4, 5] + truth[:, None]).astype(np.float32)
    decay = 0.05
    head = solve(torch.from_numpy(x), torch.eye(3)[truth], "scene", decay)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    # Its weights sum to the number of examples, so that C is one over decay and number.
    reference = LogisticRegression(
        C=1 / (decay * len(x)), class_weight="balanced", max_iter=2000, tol=1e-8
    ).fit(scaled, truth)
    mine = torch.from_numpy(x) @ head.weight.T + head.bias
    expected = reference.predict_proba(scaled)
    np.testing.assert_allclose(mine.softmax(dim=1).numpy(), expected, atol=2e-3)
