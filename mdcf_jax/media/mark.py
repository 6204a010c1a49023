"""The invisible mark of generated pictures: what it is, and how it gets in.

One tile of 64 x 64 pixels is repeated over the picture and added to it: 166
waves of 5.8 to 16 pixels whose phases come from a key, half of them turned or
not by the bits of a payload. This is spread spectrum (Cox, Kilian, Leighton
and Shamoon, 'Secure spread spectrum watermarking for multimedia', 1997) in the
waves that H.264 and scaling leave in place. The tile is the same in every
frame: it does not flicker, and an encoder has no reason to take it out. It is
as strong in smooth parts as in others: encoders give these their finest steps,
so what is there survives.

The key is no secret: whoever has this file can find the mark, and also remove
it. `mark_search.py` finds it.
"""

import dataclasses
import functools
import hashlib

import numpy as np

TILE = 64  # Pixels of a side.
BAND = 4, 11  # Waves in a tile, from and to.
BITS = 16
VERSION = 1  # Of what this file says; the first four bits of a payload.
TOOL = 0x3DC  # Of mdcf_jax; the other twelve.
PAYLOAD = VERSION << 12 | TOOL
KEY = 'mdcf_jax mark 1'
RMS = 1.7  # Steps of 255: 43.5 dB.


@dataclasses.dataclass(frozen=True)
class Pattern:
  """What a key determines.

  Attributes:
    rows, columns: `[K]`, waves in a tile, of which `columns` has no negative
      ones: a real picture has these together with their opposites.
    phases: `[K]` in radians, of a payload whose bits are zero.
    chips: `[BITS, K]` of 0 and 1: a bit of the payload turns the phases of
      its ones by half a wave; the first half of K has none.
  """

  rows: np.ndarray
  columns: np.ndarray
  phases: np.ndarray
  chips: np.ndarray

  @property
  def fixed(self) -> int:
    """How many waves are the same for every payload; they come first."""
    return len(self.rows) // 2

  def signs(self, payloads: np.ndarray) -> np.ndarray:
    """Maps payloads `[N]` to `[N, K]` of 1 and -1, float32."""
    bits = (np.asarray(payloads)[:, None] >> np.arange(BITS)) & 1
    odd = (bits.astype(np.float32) @ self.chips) % 2
    return 1 - 2 * odd


@functools.lru_cache(maxsize=8)
def pattern(key: str = KEY) -> Pattern:
  """Returns the waves of `key`, the same on every machine and version."""
  rows, columns = np.mgrid[-BAND[1] : BAND[1] + 1, 0 : BAND[1] + 1]
  length = np.hypot(rows, columns)
  kept = (length >= BAND[0]) & (length <= BAND[1])
  kept &= (columns > 0) | (rows > 0)
  rows, columns = rows[kept], columns[kept]
  count = len(rows)
  stream = hashlib.shake_256(key.encode()).digest((4 + BITS) * count)
  order = np.argsort(np.frombuffer(stream[: 2 * count], '<u2'), kind='stable')
  turns = np.frombuffer(stream[2 * count : 4 * count], '<u2') / 65536
  chips = np.frombuffer(stream[4 * count :], np.uint8).reshape(BITS, count) & 1
  chips = chips * (np.arange(count) >= count // 2)
  return Pattern(
    rows[order],
    columns[order],
    2 * np.pi * turns,
    chips.astype(np.float32),
  )


@functools.lru_cache(maxsize=8)
def tile(payload: int = PAYLOAD, key: str = KEY, rms: float = RMS):
  """Returns what is added, `[64, 64]` int8 with a root mean square of `rms`.

  Raises:
    ValueError: the payload does not have 16 bits.
  """
  if not 0 <= payload < 1 << BITS:
    raise ValueError(f'payload {payload} is not in 0 to {(1 << BITS) - 1}')
  waves = pattern(key)
  spectrum = np.zeros((TILE, TILE), complex)
  spectrum[waves.rows, waves.columns] = waves.signs([payload])[0] * np.exp(
    1j * waves.phases
  )
  image = np.fft.ifft2(spectrum).real
  image *= rms / image.std()
  rounded = np.rint(image)
  # Rounding adds a little, and that counts.
  rounded = np.rint(image * rms / rounded.std())
  return rounded.astype(np.int8)


@functools.lru_cache(maxsize=4)
def _parts(height: int, width: int, payload: int, key: str, rms: float):
  """What is added and what is taken away, `[H, W, 3]` uint8."""
  image = tile(payload, key, rms)
  repeats = -(-height // TILE), -(-width // TILE)
  image = np.tile(image, repeats)[:height, :width]
  image = np.repeat(image[..., None], 3, axis=2)
  added = np.maximum(image, 0).astype(np.uint8)
  taken = np.maximum(-image, 0).astype(np.uint8)
  return added, taken


def embed(
  frame: np.ndarray,
  payload: int = PAYLOAD,
  *,
  key: str = KEY,
  rms: float = RMS,
) -> np.ndarray:
  """Returns a marked copy of `frame`.

  Args:
    frame: `[H, W, 3]` uint8 RGB.
    payload: 16 bits: four of the mark's version, twelve of the tool.
    key: any text; who looks for the mark needs the same.
    rms: root mean square of the change in steps of 255; less where the picture
      is black or white, as values stop at 0 and 255.

  Raises:
    ValueError: the frame or the payload is something else.
  """
  if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
    raise ValueError(
      f'frame is {frame.dtype} {frame.shape}, expected uint8 [height, width, 3]'
    )
  added, taken = _parts(*frame.shape[:2], payload, key, float(rms))
  # In bytes that stop at their limits: ten times as fast as in integers.
  marked = np.minimum(frame, 255 - added)
  marked += added
  np.maximum(marked, taken, out=marked)
  marked -= taken
  return marked
