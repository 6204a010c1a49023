"""The layout of the page. Needs gradio."""

import gradio as gr

from mdcf_jax.app import framing, panel
from mdcf_jax.app.handlers import Handlers
from mdcf_jax.app.studio import GENERATED, STILL, VIDEO, Studio

TITLE = 'Talking head'
_INTRO = """# Talking head
A portrait and a voice become a video, on this computer."""
_CONSENT = """Use faces and voices of people who agreed to it. Every video
carries an invisible mark and says in its metadata that it was generated
(`mdcf detect` finds both). What you upload is deleted when you close the
page."""
_CROP = """Left: the part that is used; click a face or a place to take
another. Right: the part itself, best with the face at 0.6 of its height."""
_HEADS = [
  ('As the voice suggests', GENERATED),
  ('Still', STILL),
  ('As in a video', VIDEO),
]
_EYES = [
  ('Blink now and then', GENERATED),
  ('Stay open', STILL),
  ('As in a video', VIDEO),
]

_QUIET = dict(api_visibility='private', show_progress='hidden')


def theme() -> gr.themes.ThemeClass:
  """Fonts of the system, so that none is fetched."""
  fonts = ['system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'sans-serif']
  return gr.themes.Soft(
    primary_hue='indigo',
    neutral_hue='slate',
    font=fonts,
    font_mono=['ui-monospace', 'Menlo', 'Consolas', 'monospace'],
  ).set(  # Grey that can be read.
    body_text_color_subdued='*neutral_600',
    body_text_color_subdued_dark='*neutral_300',
    block_info_text_color='*neutral_600',
    block_info_text_color_dark='*neutral_300',
  )


class Page:
  """All components of the page, and what connects them.

  Attributes:
    blocks: gradio's application.
  """

  def __init__(self, studio: Studio):
    self._studio, limits = studio, studio.limits
    with gr.Blocks(title=TITLE, analytics_enabled=False) as self.blocks:
      gr.Markdown(_INTRO, elem_id='title')
      with gr.Row():
        with gr.Column(min_width=320):
          self._add_portrait()
          self._add_voice()
          self._add_options()
          gr.Markdown(_CONSENT, elem_classes='note')
        with gr.Column(min_width=320):
          self._add_results()
      self._connect(Handlers(studio, self))
    self.blocks.queue(
      max_size=16 + limits.waiting, default_concurrency_limit=4, api_open=False
    )

  def _add_portrait(self) -> None:
    self.portrait = gr.Image(
      label='Portrait',
      sources=['upload', 'webcam', 'clipboard'],
      type='filepath',
      height=220,
      buttons=[],
      elem_id='portrait',
    )
    self.example_portrait = gr.Button(
      'Use the example portrait',
      icon=self._studio.thumbnail(),
      size='sm',
      elem_id='example-portrait',
    )
    with gr.Column(visible=False) as self.cropping:
      gr.Markdown(_CROP, elem_classes='note')
      with gr.Row():
        self.preview = gr.Image(
          label='What is used of the portrait',
          show_label=False,
          interactive=False,
          type='filepath',
          height=200,
          buttons=[],
          elem_id='preview',
        )
        self.cut = gr.Image(
          label='The crop',
          show_label=False,
          interactive=False,
          type='filepath',
          height=200,
          buttons=[],
          elem_id='cut',
        )
      self.choice = gr.Radio(
        [framing.WHOLE, framing.OWN],
        label='Which part of the picture',
        elem_id='choice',
      )
      self.side = gr.Slider(
        *(5, 100),
        step=1,
        label='Size of my square, in % of the picture',
        visible=False,
        elem_id='side',
      )
      self.note = gr.Markdown(visible=False, elem_classes='note')

  def _add_voice(self) -> None:
    seconds = self._studio.limits.seconds
    self.voice = gr.Audio(
      label=f'Voice, at most {seconds:g} s',
      sources=['upload', 'microphone'],
      type='filepath',
      editable=False,
      buttons=[],
      elem_id='voice',
    )
    with gr.Row():
      self.example_voice = gr.Button(
        'Use the example voice',
        size='sm',
        min_width=180,
        elem_id='example-voice',
      )
      self.video_voice = gr.UploadButton(
        'Take the voice of a video',
        file_types=['video'],
        size='sm',
        min_width=180,
        elem_id='video-voice',
      )

  def _add_options(self) -> None:
    studio = self._studio
    with gr.Accordion('Options', open=False, elem_id='options'):
      self.head = gr.Radio(_HEADS, value=GENERATED, label='The head moves')
      self.eyes = gr.Radio(_EYES, value=GENERATED, label='The eyes')
      self.driver = gr.Video(
        label='Video to move by: one clear face',
        sources=['upload', 'webcam'],
        include_audio=True,  # Or gradio would start ffmpeg.
        height=220,
        visible=False,
        buttons=[],
        elem_id='driver',
      )
      self.steps = gr.Slider(
        *(1, studio.limits.steps),
        value=20,
        step=1,
        label='Steps',
        info='Fewer are faster, more are finer.',
        elem_id='steps',
      )
      self.resolution = gr.Dropdown(
        [(f'{n} × {n}', n) for n in studio.resolutions],
        value=studio.resolution,
        label='Pixels',
        info=f'The model has learnt {studio.workshop.pipe.resolution}.',
      )
      self.seed = gr.Number(
        value=0,
        precision=0,
        minimum=0,
        label='Seed',
        info='The same number makes the same video again.',
        elem_id='seed',
      )
      self.dice = gr.Button('Another seed', size='sm', elem_id='dice')
      self.paste = gr.Checkbox(
        label='Put the moving face back into the whole picture'
      )
      self.motion = gr.Checkbox(
        value=True, label='Also make a video with the motion beside it'
      )

  def _add_results(self) -> None:
    self.estimate = gr.Markdown(
      container=False, elem_classes='note', elem_id='estimate'
    )
    with gr.Row():
      self.make = gr.Button('Make the video', variant='primary', elem_id='make')
      self.stop = gr.Button(
        'Stop', variant='stop', visible=False, elem_id='stop'
      )
    self.panel = gr.HTML(panel.START, elem_id='panel')
    with gr.Column(visible=False) as self.results:
      with gr.Tabs():
        with gr.Tab('Video'):
          self.video = self._player('video')
          self.download = gr.DownloadButton(
            'Download the video', elem_id='download'
          )
        with gr.Tab('With its motion', visible=False) as self.motion_tab:
          self.beside = self._player('beside')
          gr.Markdown(panel.LEGEND, elem_classes='note')
          self.download_beside = gr.DownloadButton(
            'Download the video with its motion', elem_id='download-beside'
          )
      self.history = gr.Radio(
        [], label='Videos of this visit', elem_id='history'
      )

  def _player(self, name: str) -> gr.Video:
    return gr.Video(
      show_label=False,
      interactive=False,
      autoplay=True,
      height=360,
      buttons=[],
      elem_id=name,
    )

  def _connect(self, do: Handlers) -> None:
    self._connect_files(do)
    quiet = _QUIET
    self.choice.input(do.choose, self.choice, self.framing, **quiet)
    self.side.release(do.resize, self.side, self.framing, **quiet)
    self.preview.select(do.point, None, self.framing, **quiet)
    moves = [self.head, self.eyes]
    for option in moves:
      option.input(do.show_driver, moves, self.driver, **quiet)
    self.dice.click(do.another_seed, None, self.seed, **quiet)
    gr.on(
      [
        *(self.portrait.change, self.voice.change),
        *(self.resolution.input, self.steps.release),
      ],
      *(do.plan, self.settings, self.estimate),
      trigger_mode='always_last',
      **quiet,
    )
    self.make.click(
      *(do.make, self.settings, self.made),
      concurrency_limit=self._studio.limits.waiting + 2,
      **quiet,
    )
    self.stop.click(do.stop, None, None, **quiet)
    self.history.input(do.show, self.history, self.players, **quiet)
    self.blocks.load(do.welcome, None, self.made, **quiet)
    self.blocks.unload(do.end)

  def _connect_files(self, do: Handlers) -> None:
    """What cannot be used does not stay in its box."""
    shown = dict(api_visibility='private', show_progress='minimal')
    # As it was sent: gradio would open it, with whatever can.
    raw = dict(**shown, preprocess=False)
    framed = [self.portrait, self.cropping, *self.framing]
    given = self.portrait.input(do.give_picture, self.portrait, framed, **raw)
    given.failure(do.clear_picture, None, framed, **_QUIET)
    self.portrait.clear(do.clear_picture, None, framed, **_QUIET)
    self.example_portrait.click(do.example_picture, None, framed, **shown)
    for source, event in (
      (self.voice, self.voice.input),
      (self.video_voice, self.video_voice.upload),
    ):
      given = event(do.give_sound, source, self.voice, **raw)
      given.failure(do.clear_sound, None, self.voice, **_QUIET)
    self.voice.clear(do.clear_sound, None, None, **_QUIET)
    self.example_voice.click(do.example_sound, None, self.voice, **shown)
    given = self.driver.input(do.give_motion, self.driver, self.driver, **raw)
    given.failure(do.clear_motion, None, self.driver, **_QUIET)
    gr.on(
      [self.portrait.change, self.voice.change, self.driver.change],
      *(do.refresh, None, self.panel),
      **_QUIET,
    )

  @property
  def framing(self) -> list:
    """What shows the square of the portrait."""
    return [self.preview, self.cut, self.choice, self.side, self.note]

  @property
  def settings(self) -> list:
    """In the order of `Settings`."""
    return [
      *(self.steps, self.seed, self.resolution, self.head, self.eyes),
      *(self.paste, self.motion),
    ]

  @property
  def players(self) -> list:
    return [
      *(self.video, self.beside, self.motion_tab),
      *(self.download, self.download_beside),
    ]

  @property
  def made(self) -> list:
    """What changes while a video is made."""
    return [
      *(self.panel, self.make, self.stop, self.results),
      *(*self.players, self.history, self.estimate),
    ]
