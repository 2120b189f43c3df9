import numpy as np
import pytest

from dcasenet.train.data.crops import crop


@pytest.mark.parametrize("n_samples", [5, 10, 25])
def test_crops_have_the_requested_length(n_samples: int) -> None:
    samples = np.arange(1, 11, dtype=np.float32)
    for seed in range(10):
        cut = crop(samples, n_samples, np.random.default_rng(seed))
        assert len(cut) == n_samples
        assert set(cut) <= {0.0, *samples}
        assert n_samples < 10 or set(samples) <= set(cut)
