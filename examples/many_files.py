"""A folder of recordings, where one file is broken: python many_files.py [FOLDER]."""

import sys
from pathlib import Path

import dcasenet

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
model = dcasenet.load()

for path in sorted(folder.iterdir()):
    if path.suffix not in {".wav", ".flac", ".ogg", ".mp3"}:
        continue
    try:
        tags = model.tag(path, top=3)
    except dcasenet.AudioError as error:
        print(f"skipped: {error}")
    else:
        print(path.name, *(f"{tag.label} {tag.probability:.2f}" for tag in tags), sep="  ")
