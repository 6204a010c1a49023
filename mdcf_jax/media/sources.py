"""Files that `mdcf download` can fetch, and where their sha256 are stated.

An entry needs an address and a full sha256 that are public; the comment above
it says where both can be read. Whatever lacks one of them is not fetched:
`BRING` says what to bring instead. Files of `.pth` and `.model` are pickles,
which the package never opens; scripts/pth_to_safetensors.py does.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Source:
  """One file.

  Attributes:
    url: its address.
    sha256: of its content.
    megabytes: of it, about.
    licence: what is known of it, shown before anything is fetched.
    name: under which it is kept.
  """

  url: str
  sha256: str
  megabytes: float
  licence: str
  name: str


_TORCHVISION = (
  'BSD-3-Clause (torchvision); trained on data with terms of theirs'
)

SOURCES = {
  # Address: mseitzer/pytorch-fid, src/pytorch_fid/inception.py, whose file name
  # has the first digits. sha256: the LFS pointer of the same file in
  # huggingface.co/RaphaelLiu/EvalCrafter-Models, commit 6040b4d.
  'inception': (
    Source(
      'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
      'pt_inception-2015-12-05-6726825d.pth',
      '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
      95.6,
      "Apache-2.0 (pytorch-fid; weights of TensorFlow's Inception)",
      'pt_inception-2015-12-05-6726825d.pth',
    ),
  ),
  # Address: joonson/syncnet_python, download_model.sh. sha256 and
  # the address with https: the card of huggingface.co/saracen9/syncnet-v2.
  'syncnet': (
    Source(
      'https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model',
      '961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442',
      54.6,
      'code MIT (syncnet_python); none is stated for the weights',
      'syncnet_v2.model',
    ),
  ),
  # Address: joonson/syncnet_python, download_model.sh. sha256: those
  # that sensein/senselab checks (_S3FD_SHA256) of the copy in
  # modelscope/ClearerVoice-Studio.
  's3fd': (
    Source(
      'https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/sfd_face.pth',
      'd54a87c2b7543b64729c9a25eafd188da15fd3f6e02f0ecec76ae1b30d86c491',
      89.8,
      'code MIT (syncnet_python); none is stated for the weights',
      'sfd_face.pth',
    ),
  ),
  # Address: pytorch/vision, torchvision/models/optical_flow/raft.py, whose file
  # name has the first digits. sha256: the LFS pointer of the same file
  # in huggingface.co/hr16/RAFT-v2, commit eaa9b80.
  'raft': (
    Source(
      'https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth',
      '01064c6dba73b0fc9fc8edf772248560a00a3acfd62ac6677e9eeebad9680e27',
      4.0,
      _TORCHVISION,
      'raft_small_C_T_V2-01064c6d.pth',
    ),
  ),
  # AlexNet: address of pytorch/vision; sha256: the LFS pointer of the same file
  # in huggingface.co/blanchon/image-gs-models-utils. Weights of channels:
  # address of richzhang/PerceptualSimilarity; sha256: the LFS pointer
  # in huggingface.co/chaofengc/IQA-PyTorch-Weights, commit 2c6fd29.
  'lpips': (
    Source(
      'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth',
      '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02',
      244.0,
      _TORCHVISION,
      'alexnet-owt-7be5be79.pth',
    ),
    Source(
      'https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/'
      'weights/v0.1/alex.pth',
      'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0',
      0.006,
      'BSD-2-Clause (PerceptualSimilarity)',
      'lpips-alex.pth',
    ),
  ),
}

# Name -> what to bring: no address and sha256 of it are stated in public.
BRING = {
  'i3d': 'i3d_pretrained_400.pt, which came with VideoGPT',
  'vgg19': "torchvision's vgg19",
  'hubert': "Hugging Face's model.safetensors of HuBERT",
  'arcface': 'an ONNX file of your own, for `mdcf evaluate --arcface`',
}
