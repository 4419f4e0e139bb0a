"""The records of an event file (the TFRecord format), each checked against its sum.

A record is: length (8 bytes, little endian), masked CRC-32C of the length (4), data, masked CRC-32C of the data (4);
see https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. TensorBoard's reader takes the
sum byte by byte in Python; here all records of one length are summed at once, a byte of each at a time.
"""

from __future__ import annotations

import functools
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnopt.errors import RunsFolderError

POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
LONGEST = 1 << 20  # bytes; a longer record is a picture or a graph, and is passed over
AT_ONCE = 1 << 16  # records summed at once

Bytes = NDArray[np.uint8]


def read_records(path: Path) -> tuple[list[bytes], str | None]:
    """The records of a file in order, and what is wrong with it: those from the first damaged one on are left out.

    A last record that is cut short was being written when its program ended: it is left out without a word.

    Raises:
        RunsFolderError: the file cannot be read, or is no event file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunsFolderError(f"cannot read {path}: {error.strerror}") from None
    starts, lengths, problem = _find(data, path)
    array = np.frombuffer(data, np.uint8)
    bad = _first_bad(array, np.array(starts, np.int64), np.array(lengths, np.int64))
    if bad is not None:
        starts, lengths = starts[:bad], lengths[:bad]
        problem = f"{path} is damaged at record {bad + 1}: what follows is left out"
    return [data[a : a + n] for a, n in zip(starts, lengths, strict=True) if n <= LONGEST], problem


def masked_crc(rows: Bytes) -> NDArray[np.uint32]:
    """[n] masked CRC-32C of each row of [n, k] bytes."""
    table = _table()
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    return np.asarray(((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8), np.uint32)


def _find(data: bytes, path: Path) -> tuple[list[int], list[int], str | None]:
    """Starts and lengths of the records' data."""
    starts: list[int] = []
    lengths: list[int] = []
    at, end, header = 0, len(data), struct.Struct("<Q")
    while at + 12 <= end:
        (length,) = header.unpack_from(data, at)
        head = np.frombuffer(data, np.uint8, 12, at)
        # The length is summed for the first record, to tell an event file, and where it does not fit into the file.
        if (at == 0 or at + 16 + length > end) and masked_crc(head[None, :8])[0] != head[8:].view("<u4")[0]:
            if at == 0:
                raise RunsFolderError(f"{path} is no event file of TensorBoard")
            return starts, lengths, f"{path} is damaged after record {len(starts)}: what follows is left out"
        if at + 16 + length > end:
            break
        starts.append(at + 12)
        lengths.append(length)
        at += 16 + length
    return starts, lengths, None


def _first_bad(array: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> int | None:
    """The first record whose sum is wrong."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, length in enumerate(lengths.tolist()):
        if length <= LONGEST:
            places[length].append(place)
    bad: list[int] = []
    for length, same in places.items():
        step = max(1, min(AT_ONCE, (1 << 24) // max(length, 1)))
        for at in range(0, len(same), step):
            some = np.array(same[at : at + step])
            offsets = starts[some, None]
            wanted = array[offsets + length + np.arange(4)].copy().view("<u4")[:, 0]
            wrong = np.flatnonzero(masked_crc(array[offsets + np.arange(length)]) != wanted)
            bad += some[wrong[:1]].tolist()
    return min(bad, default=None)


@functools.cache
def _table() -> NDArray[np.uint32]:
    """[256] the CRC of each byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(POLYNOMIAL), crc >> 1).astype(np.uint32)
    return crc
