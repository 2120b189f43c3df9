"""Run exported models in ONNX Runtime, without torch.

::

    import dcasenet.onnx

    model = dcasenet.onnx.load("open.onnx")
    model.analyze("recording.wav")

`dcasenet.onnx.export` or ``dcasenet export`` writes the file.
"""

from dcasenet.onnx.runtime import OnnxSoundModel, load

__all__ = ["OnnxSoundModel", "load"]
