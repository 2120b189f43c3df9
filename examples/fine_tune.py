"""Teach a model your own sounds, a folder for each class: python fine_tune.py FOLDER OUTPUT."""

import sys

import dcasenet
from dcasenet.train import cross_validate, finetune

if len(sys.argv) != 3:
    raise SystemExit(__doc__)

folder, output = sys.argv[1:]
model = dcasenet.load()

report = cross_validate(model, folder, task="scene", folds=4)  # each file predicted once, unseen
print(report)

tuned = finetune(model, folder, task="scene", folds=report)  # one linear layer, on every file
tuned.save_pretrained(output)
print("labels:", ", ".join(dcasenet.load(output).spec.scenes))
