import numpy as np
import torch

from dcasenet.train.engine import augmentation


def test_masks_are_no_wider_than_allowed() -> None:
    log_mel = torch.ones(50, 128, 250)
    masked = augmentation.mask(log_mel, (12, 25), np.random.default_rng(0)) == 0
    rows, columns = masked.all(dim=2).sum(dim=1), masked.all(dim=1).sum(dim=1)
    assert 0 < rows.max() <= 12 + 1
    assert 0 < columns.max() <= 25 + 1
    assert (log_mel == 1).all()  # the input is left alone


def test_own_share_of_a_mixture_is_the_larger() -> None:
    own = augmentation.mixup_weights(1_000, 0.4, np.random.default_rng(0))
    assert own.min() >= 0.5
    assert own.max() <= 1.0
    assert augmentation.mixup_weights(3, 0.0, np.random.default_rng(0)).tolist() == [1.0, 1.0, 1.0]
