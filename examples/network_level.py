"""The front end and the network as plain modules: shapes, logits, gradients."""

import torch

import dcasenet

model = dcasenet.load()
model.requires_grad_(True)  # weights are loaded without gradients
waveform = torch.randn(2, 10 * 24_000)  # two clips of 10 s at 24 kHz

log_mel = model.frontend(waveform)
print("log-mel", tuple(log_mel.shape))

outputs = model.network(log_mel, tasks=("scene", "event"))
print("scene logits", tuple(outputs.scene.shape), " event logits", tuple(outputs.event.shape))

outputs.scene.logsumexp(dim=1).sum().backward()
print("gradients of", sum(p.grad is not None for p in model.network.parameters()), "parameters")
