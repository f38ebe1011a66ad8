"""The seed of a run's randomness, as the SDK derives it from the run's id: SipHash-1-3 with a zero key.

Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012). The text's bytes are followed by one ``0xff``, as Rust
hashes a string. With the SDK's own seed, `workflow.random` and `workflow.uuid4` give in a replay what they gave here.
"""

from __future__ import annotations

from functools import cache
from typing import Final

_MASK: Final = (1 << 64) - 1


def _left(word: int, by: int) -> int:
    return ((word << by) | (word >> (64 - by))) & _MASK


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = _left(b, 13) ^ a
    a = _left(a, 32)
    c = (c + d) & _MASK
    d = _left(d, 16) ^ c
    a = (a + d) & _MASK
    d = _left(d, 21) ^ a
    c = (c + b) & _MASK
    b = _left(b, 17) ^ c
    c = _left(c, 32)
    return a, b, c, d


@cache
def randomness_seed(run_id: str) -> int:
    """The seed of the run with this id."""
    data = run_id.encode() + b"\xff"
    state = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    whole = len(data) - len(data) % 8
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        a, b, c, d = _round(state[0], state[1], state[2], state[3] ^ word)
        state = (a ^ word, b, c, d)
    state = (state[0], state[1], state[2] ^ 0xFF, state[3])
    for _ in range(3):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]
