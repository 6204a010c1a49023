"""What is fixed so that two scores of one name may be compared.

The paper fixes little (section 4: 256 x 256 pixels, 25 frames a second, windows
of 16 and 32 frames) and leaves the rest open. A protocol says all of it; its
hash goes with every score, and scores of two hashes do not compare.
"""

import dataclasses
import hashlib
import json


@dataclasses.dataclass(frozen=True)
class Protocol:
  """The rules of an evaluation. What a field says is what the code does.

  Attributes:
    name: by which it is chosen.
    fps: frames a second that every clip is brought to, by true time.
    size: pixels of a side that every clip is brought to, before anything else.
    resize: by which rule.
    skip: frames at the start that scores of pictures leave out (`picture`
      scores: FID, KID, PSNR, SSIM, LPIPS, CSIM, sharpness): generation starts
      from the first one, which is given away. Scores of motion see all.
    inception, inception_resize: network of FID and KID, and what it sees.
    kid_sample: frames of a set, at most, that KID looks at: those whose names
      have the smallest sha256, so that any division of the work draws the same.
    kid_subsets, kid_subset_size, kid_seed: of `kid.kernel_distance`.
    i3d, fvd_lengths, fvd_rule: network of FVD, frames of its windows, which do
      not overlap, and what the network sees (`fvd.prepare_frames`).
    syncnet, sync_crops: network of LSE, and the kinds of `face_crops`.
    sync_fixed_box: where the fixed crop is.
    csim, csim_source: how a face is aligned, and what it is compared with.
    flow: estimators, whose names are part of the scores'.
    flow_iterations: of RAFT.
    flow_mean: how fields make a score.
    psnr_peak: decibels of frames that are equal to the last bit.
    lpips: network.
    detector: what finds faces for everything but the exact crop.
    interval: level, draws and seed of the bootstrap over clips.
  """

  name: str
  fps: int
  size: int
  resize: str
  skip: int
  inception: str
  inception_resize: str
  kid_sample: int
  kid_subsets: int
  kid_subset_size: int
  kid_seed: int
  i3d: str
  fvd_lengths: tuple[int, ...]
  fvd_rule: str
  syncnet: str
  sync_crops: tuple[str, ...]
  sync_fixed_box: str
  csim: str
  csim_source: str
  flow: tuple[str, ...]
  flow_iterations: int
  flow_mean: str
  psnr_peak: float
  lpips: str
  detector: str
  interval: tuple[float, int, int]

  @property
  def hash(self) -> str:
    """sha256 of the canonical JSON of all fields: 64 digits."""
    text = json.dumps(
      dataclasses.asdict(self), sort_keys=True, separators=(',', ':')
    )
    return hashlib.sha256(text.encode()).hexdigest()


v1 = Protocol(
  name='v1',
  fps=25,
  size=256,
  resize='centred square, Lanczos of Pillow with antialiasing, 8 bits',
  skip=1,
  inception='pt_inception-2015-12-05 of pytorch-fid, pool3, 2048 numbers',
  inception_resize='bilinear to 299, align_corners=False, no antialiasing',
  kid_sample=5000,
  kid_subsets=100,
  kid_subset_size=1000,
  kid_seed=0,
  i3d='Kinetics-400 of TensorFlow Hub, 400 logits',
  fvd_lengths=(16, 32),
  fvd_rule='crop',
  syncnet='syncnet_v2',
  sync_crops=('exact', 'fixed'),
  sync_fixed_box='median box of the true clip, else of the clip, by detector',
  csim='five points of the landmarks upon the template of ArcFace, 112 pixels',
  csim_source='first frame of the true clip',
  flow=('raft-small', 'farneback'),
  flow_iterations=12,
  flow_mean='of fields of consecutive frames, then of clips',
  psnr_peak=100.0,
  lpips='alex, v0.1',
  detector='MediaPipe face landmarker, every frame on its own',
  interval=(0.95, 10000, 0),
)

PROTOCOLS = {protocol.name: protocol for protocol in (v1,)}
