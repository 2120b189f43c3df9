"""An exported model with ONNX Runtime and nothing else of ours: python onnx_alone.py MODEL FILE.

`dcasenet export model.onnx` makes the file; what is in it is said by its metadata. FILE is one
window long, 5 to 10 s for the default checkpoint; dcasenet cuts longer ones and repeats shorter.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

if len(sys.argv) != 3:
    raise SystemExit(__doc__)

model, file = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
spec = json.loads(session.get_modelmeta().custom_metadata_map["dcasenet"])

samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
if rate != spec["frontend"]["sample_rate"]:
    raise SystemExit(f"Resample {file} to {spec['frontend']['sample_rate']} Hz first.")
waveform = samples.mean(axis=1)[None, :]  # (1, samples), mono

(logits,) = session.run(["tag"], {"waveform": waveform})
probabilities = 1 / (1 + np.exp(-logits[0]))
for index in np.argsort(-probabilities)[:3]:
    print(f"{spec['tags'][index]}: {probabilities[index]:.2f}")
print("torch is needed:", "torch" in sys.modules)
