"""A schedule as text: the choices of one execution in a short token that another process can replay.

A token holds where the first of the options was not taken, and the settings that decide what there is to
choose.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

from pytest_littleloops.simulation.faults import FAULTS

_PREFIX = "LL1-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The choices of one execution, in order, where there were at least two options."""

    choices: tuple[int, ...]
    early_timeouts: int
    seed: int = 0
    """That of the random numbers that the scenario draws."""
    is_fine: bool = False
    """Whether tasks stopped behind a release too."""
    max_steps: int = 0
    """After how many operations it is cut off; 0 for the usual number."""
    faults: tuple[str, ...] = ()
    """Which faults could strike."""
    fingerprint: int = 0
    """Tells whether a replay met the choices at the same operations; 0 if that is not known."""

    def token(self) -> str:
        """The text that `from_token` reads."""
        seed = self.seed * 2 if self.seed >= 0 else -self.seed * 2 - 1
        early_timeouts = self.early_timeouts * 2 + self.is_fine
        faults = sum(1 << FAULTS.index(fault) for fault in self.faults)
        numbers = [early_timeouts, seed, self.max_steps, self.fingerprint, faults]
        run = 0
        for choice in self.choices:
            if choice == 0:
                run += 1
            else:
                numbers += [run, choice]
                run = 0
        numbers.append(run)
        packed = zlib.compress(b"".join(_varint(number) for number in numbers), 9)
        plain = b"".join(_varint(number) for number in numbers)
        body = b"\0" + plain if len(plain) <= len(packed) else b"\1" + packed
        text = base64.b32encode(_check(body) + body).decode().rstrip("=").lower()
        return _PREFIX + text

    @classmethod
    def from_token(cls, token: str) -> Schedule:
        """The schedule of a token. Raises ValueError for what is none."""
        text = token.strip()
        if not text.startswith(_PREFIX):
            raise ValueError(f"{token!r} is no token of a schedule; tokens begin with {_PREFIX}")
        letters = text.removeprefix(_PREFIX).upper()
        try:
            data = base64.b32decode(letters + "=" * (-len(letters) % 8))
            body = data[2:]
            if _check(body) != data[:2]:
                raise ValueError("checksum")
            numbers = list(_varints(zlib.decompress(body[1:]) if body[0] else body[1:]))
        except Exception:
            raise ValueError(f"{token!r} is damaged: copy it whole from the failure message") from None
        choices: list[int] = []
        early_timeouts, seed, max_steps, fingerprint, faults, *rest = numbers
        for run, choice in zip(rest[::2], rest[1::2], strict=False):
            choices += [0] * run + [choice]
        choices += [0] * rest[-1]
        return cls(
            choices=tuple(choices),
            early_timeouts=early_timeouts // 2,
            is_fine=bool(early_timeouts % 2),
            seed=-(seed + 1) // 2 if seed % 2 else seed // 2,
            max_steps=max_steps,
            faults=tuple(fault for number, fault in enumerate(FAULTS) if faults >> number & 1),
            fingerprint=fingerprint,
        )


def _check(body: bytes) -> bytes:
    return (zlib.crc32(body) & 0xFFFF).to_bytes(2, "big")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number, shift = 0, 0
    return numbers
