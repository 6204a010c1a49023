"""Installation: `pip install .`; extras for what surrounds the product."""

import setuptools

_KINDS = ('html', 'css', 'js')  # Of files that pages are made of.

setuptools.setup(
  name='mdcf_jax',
  version='0.1.0',
  description='Microscope / MDCF: talking heads from a portrait and speech.',
  author='The mdcf_jax authors',
  license='Apache-2.0',
  keywords=['talking head', 'diffusion', 'video', 'JAX', 'Flax'],
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Environment :: Console',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    *(f'Programming Language :: Python :: 3.{x}' for x in (11, 12, 13)),
    'Topic :: Multimedia :: Video',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  python_requires='>=3.11,<3.14',
  packages=setuptools.find_packages(include=('mdcf_jax', 'mdcf_jax.*')),
  package_data={
    'mdcf_jax': [
      'bundled/*',
      *('pages/*.css', 'prepare/report/*.html'),
      *('app/*.css', 'app/examples/*'),
      *(f'{page}/*.{kind}' for page in ('report', 'study') for kind in _KINDS),
    ]
  },
  install_requires=[
    'jax>=0.10.2',
    'flax>=0.12.8',  # Linen modules.
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12.8,<1.0',  # v1 has another interface.
    'einops>=0.8',
    'numpy>=2.0',
    'ml_collections>=1.0',  # Configs with locked keys.
    'absl-py',  # Flags of train.py.
    'av>=14,<19',  # Video and audio; bundles FFmpeg. 19 drops arguments.
    'pillow>=11',
    'safetensors>=0.5',  # Weights, never unpickled.
    'tqdm>=4.66',  # Progress bars with ETA.
    'grain>=0.2.15',
    'tensorflow-datasets>=4.9.9',
    'array_record>=0.6',
    'tensorboardX>=2.6',  # clu's writers need TensorFlow.
  ],
  extras_require={
    'faces': ['mediapipe>=1.2'],  # Pose, blink and boxes from pictures.
    'eval': [
      # For CSIM of `mdcf_jax.metrics.identity`: runs a network of the user's.
      'onnxruntime>=1.20',
      # Farnebaeck's optical flow; the distribution that MediaPipe asks for, as
      # two of them break each other.
      'opencv-contrib-python>=4.10',
    ],
    'app': ['gradio>=6.7'],  # `mdcf app` alone.
    'plot': ['matplotlib>=3.9'],  # `mdcf plot` alone.
    # Signed C2PA manifests; the mark and the metadata need neither.
    'provenance': ['c2pa-python>=0.38', 'cryptography>=45'],
    # `make docs`. The theme does not work with the next mkdocs.
    'docs': [
      'mkdocs>=1.6,<2',
      'mkdocs-material>=9.6',
      'mkdocstrings[python]>=1.0',
      'griffelib>=2.0',  # scripts/docstring_names.py extends it.
    ],
    # Weights by name, `mdcf push`; imported where a name of the Hub is given.
    'hub': ['huggingface_hub>=0.30'],
    'cuda12': ['jax[cuda12]'],
    'cuda13': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    # For scripts/pth_to_safetensors.py alone, which opens PyTorch's pickles
    # apart from the package; nothing in mdcf_jax imports torch.
    'convert': ['torch==2.13.0'],
    # For the tests that compare with PyTorch's modules, with HuBERT's, with
    # SyncNet's sound and pictures, and for those of CSIM, which make a small
    # network (no mark; skipped without).
    'parity': [
      'torch==2.13.0',
      'transformers>=5.0,<6',
      'python_speech_features>=0.6',
      'scipy>=1.14',
      'opencv-contrib-python>=4.10',
      'onnx>=1.17',
      'onnxruntime>=1.20',
    ],
    'dev': [
      'pytest>=8',
      'pytest-xdist>=3.6',  # `make test` runs on two processes.
      'ruff>=0.8',
      'setuptools>=77',  # The tests build the wheel.
      'pyyaml>=6',  # And read mkdocs.yml and CITATION.cff.
      'pre-commit>=4',
      'soundfile>=0.13',
      'matplotlib>=3.9',  # Of the extra `plot`, which is tested.
      'gradio>=6.7',  # Of the extra `app`, which is tested.
      # Drives the Chromium that is there; without one its tests are skipped.
      'playwright>=1.50',
      # The notebooks of colab/ are run by the tests.
      *('nbclient>=0.10', 'nbformat>=5.10', 'ipykernel>=6.29'),
      'c2pa-python>=0.38',  # Of the extra `provenance`, which is tested.
      'cryptography>=45',
      'huggingface_hub>=0.30',  # Of the extra `hub`, which is tested.
    ],
  },
  entry_points={'console_scripts': ['mdcf = mdcf_jax.cli.main:main']},
)
