"""Scene, tags and events of a recording: python analyze.py [FILE]."""

import sys
from pathlib import Path

import dcasenet

path = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("dog_barking.ogg")
model = dcasenet.load()
analysis = model.analyze(path)

print(f"{analysis.scene.label} ({analysis.scene.probability:.2f})")
for tag in analysis.tags[:3]:
    print(f"  {tag.label}: {tag.probability:.2f}")
for event in analysis.events:
    print(f"  {event.onset:5.1f} to {event.offset:5.1f} s  {event.label}")
