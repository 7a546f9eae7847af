"""How entries and bodies lie in a journal: framed so that a cut or a damaged stretch costs nothing but itself.

    2 bytes magic · 1 kind · 1 version · 4 length of the payload · 4 CRC-32 of the payload · 4 CRC-32 of the header

Both checksums are seeded with the journal's random name: a prompt that contains the bytes of a record is never taken
for one. Little-endian; the payload is MessagePack.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec
from msgspec import Struct

from ..core import LedgerError, Usage, Weighed
from .entries import Body, Entry

MAGIC = b"\xc1P"  # 0xC1 stands in no UTF-8 text, and MessagePack never uses it as a type
VERSION = 1
MAX_PAYLOAD = 64 * 1024 * 1024

_FRONT = struct.Struct("<2sBBII")
_CHECK = struct.Struct("<I")
_pack_front, _pack_check = _FRONT.pack, _CHECK.pack
HEADER_SIZE = _FRONT.size + _CHECK.size

_ENTRY, _BODY = 1, 2
_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_body = msgspec.msgpack.Decoder(Body).decode


def frame(record: Entry | Body, seed: int) -> bytes:
    """The bytes of one record. Raises LedgerError for a body that is past 64 MiB."""
    try:
        payload = _encode(record)
    except (UnicodeEncodeError, OverflowError):
        payload = _encode(_storable(record))
    if len(payload) > MAX_PAYLOAD:
        raise LedgerError(f"A record of {len(payload):,} bytes is too large: the journal takes {MAX_PAYLOAD:,}.")
    kind = _ENTRY if type(record) is Entry else _BODY
    front = _pack_front(MAGIC, kind, VERSION, len(payload), crc32(payload, seed))
    return front + _pack_check(crc32(front, seed)) + payload


class Batch(Struct, frozen=True):
    """Records read one after the other; `end` is how many bytes of the buffer they (and what was skipped) took."""

    records: tuple[Entry | Body, ...]
    end: int
    damaged: int = 0
    """Stretches that were skipped, since no record could be read from them."""
    needed: int = 0
    """When more than 0: the buffer must have this many bytes before the next record can be read."""
    newer: bool = False
    """The next record is of a kind or version that we do not know."""


def parse(buffer: bytes, seed: int, *, limit: int, at_end: bool) -> Batch:
    """Up to `limit` whole records. `at_end`: the buffer reaches the end of the file.

    A torn tail is left where it is: it may be a record that is being written, or zeros where none is yet. Damage is
    skipped only when a whole record follows it.
    """
    records: list[Entry | Body] = []
    position = damaged = 0
    while len(records) < limit and position < len(buffer):
        head = _head_at(buffer, position, seed)
        if head is not None:
            end = position + HEADER_SIZE + head.length
            if end > len(buffer) and not at_end:
                return Batch(tuple(records), position, damaged, needed=end - position)
            if _is_whole(buffer, position, head, seed):
                if head.version != VERSION or head.kind not in (_ENTRY, _BODY):
                    return Batch(tuple(records), position, damaged, newer=True)
                record = _decoded(head, buffer[position + HEADER_SIZE : end])
                position = end
                if record is None:
                    damaged += 1
                else:
                    records.append(record)
                continue
        elif not at_end and len(buffer) - position < HEADER_SIZE:
            return Batch(tuple(records), position, damaged, needed=HEADER_SIZE)
        following = _next_whole(buffer, position + 1, seed)
        if following is None:
            needed = 0 if at_end else 2 * len(buffer)
            return Batch(tuple(records), position, damaged, needed=needed)
        damaged += 1
        position = following
    return Batch(tuple(records), position, damaged)


class _Head(Struct, frozen=True, gc=False):
    kind: int
    version: int
    length: int
    checksum: int


def _head_at(buffer: bytes, position: int, seed: int) -> _Head | None:
    """The header at `position`, if a sound one stands there."""
    if len(buffer) - position < HEADER_SIZE:
        return None
    magic, kind, version, length, checksum = _FRONT.unpack_from(buffer, position)
    front_end = position + _FRONT.size
    if magic != MAGIC or crc32(buffer[position:front_end], seed) != _CHECK.unpack_from(buffer, front_end)[0]:
        return None
    return _Head(kind, version, length, checksum)


def _is_whole(buffer: bytes, position: int, head: _Head, seed: int) -> bool:
    start = position + HEADER_SIZE
    payload = memoryview(buffer)[start : start + head.length]
    return len(payload) == head.length and crc32(payload, seed) == head.checksum


def _next_whole(buffer: bytes, start: int, seed: int) -> int | None:
    position = buffer.find(MAGIC, start)
    while position >= 0:
        head = _head_at(buffer, position, seed)
        if head is not None and _is_whole(buffer, position, head, seed):
            return position
        position = buffer.find(MAGIC, position + 1)
    return None


def _decoded(head: _Head, payload: bytes) -> Entry | Body | None:
    try:
        return _decode_entry(payload) if head.kind == _ENTRY else _decode_body(payload)
    except (msgspec.DecodeError, ValueError):
        return None


def _storable(record: Entry | Body) -> Entry | Body:
    """The same record without what no file format holds: halves of surrogate pairs, and integers past 64 bits."""
    plain = msgspec.structs.asdict(record)
    return msgspec.structs.replace(record, **{name: _plain(value) for name, value in plain.items()})


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return value if _fits(value) else None
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Usage):
        tier = value.service_tier.encode("utf-8", "replace").decode("utf-8")
        counts = [count for count in msgspec.structs.astuple(value) if isinstance(count, int)]
        return msgspec.structs.replace(value, service_tier=tier) if all(map(_fits, counts)) else None
    if isinstance(value, Weighed):
        plain = {name: _plain(getattr(value, name)) for name in ("model", "rejected", *_ESTIMATES)}
        return msgspec.structs.replace(value, **plain)
    return value


_ESTIMATES = ("quality", "cost", "seconds", "prior")


def _fits(number: int) -> bool:
    return -(2**63) <= number < 2**63
