"""What visitors may ask for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
  """Bounds of one visitor and of all.

  Attributes:
    file_bytes: of one upload.
    pixels: of a picture that is uploaded.
    side: of a picture that is kept, in pixels; larger ones are made smaller.
    seconds: of a recording, and of a video to move by.
    steps: of the diffusion.
    resolution: pixels of a side of what is made.
    waiting: videos that may wait for their turn.
    videos: of a visit; the oldest makes room.
    visits: at a time.
    idle_seconds: after which a visit ends that nobody uses.
    upload_seconds: after which a file is deleted as it was uploaded; what was
      made of it stays as long as the visit.
  """

  file_bytes: int = 50 * 2**20
  pixels: int = 50_000_000
  side: int = 1920
  seconds: float = 60.0
  steps: int = 50
  resolution: int = 1024
  waiting: int = 4
  videos: int = 12
  visits: int = 32
  idle_seconds: float = 3 * 3600.0
  upload_seconds: float = 120.0
