"""Check MIDI sample dumps, for which libsndfile prints errors if a packet is missing."""

from __future__ import annotations

import numpy as np

from dcasenet.audio.views import BinaryStream, read_at

# First bytes and length of a header; first bytes and length of a packet of samples.
MAGIC, N_HEADER = b"\xf0\x7e", 21
N_PACKET = 127
# Bytes of the longest dump: 2²¹ samples, at least 30 in a packet.
MOST = N_HEADER + (2**21 // 30 + 1) * N_PACKET


def is_whole(stream: BinaryStream) -> bool:
    """Return whether a dump is a header and whole packets with valid checksums."""
    data = read_at(stream, N_HEADER, MOST)
    if not data or len(data) % N_PACKET or len(data) > MOST - N_HEADER:
        return False
    packets = np.frombuffer(data, np.uint8).reshape(-1, N_PACKET)
    sums = np.bitwise_xor.reduce(packets[:, 1:-2], axis=1) & 0x7F
    is_start = (packets[:, :2] == np.frombuffer(MAGIC, np.uint8)).all(axis=1)
    return bool((is_start & (sums == packets[:, -2])).all())
