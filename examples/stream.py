"""Events while the sound still comes in: python stream.py [FILE], as if it were a microphone."""

import sys
from pathlib import Path

import soundfile

import dcasenet

path = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("dog_barking.ogg")
model = dcasenet.load()


def show(update) -> None:
    for event in update.events:  # final: nothing that follows changes it
        print(f"{event.onset:5.1f} to {event.offset:5.1f} s  {event.label}")


with soundfile.SoundFile(path) as microphone:
    stream = model.stream(microphone.samplerate)
    for block in microphone.blocks(microphone.samplerate // 10, dtype="float32", always_2d=True):
        show(stream.push(block, channels_last=True))
    show(stream.close())
