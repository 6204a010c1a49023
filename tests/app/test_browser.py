"""The page in Chromium, as somebody uses it."""

import os
import pathlib
import shutil
import time
import urllib.parse

import pytest

pytest.importorskip('gradio', reason="no gradio (pip install '.[app]')")
sync_api = pytest.importorskip('playwright.sync_api', reason='no playwright')

from mdcf_jax.media import face_search  # noqa: E402
from mdcf_jax.media.writer import VideoWriter  # noqa: E402
from tests.app import samples  # noqa: E402

SECONDS = 60  # A loaded machine is slow, not wrong.
_NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
CHROMIUM = os.environ.get('MDCF_CHROMIUM') or next(
  filter(None, map(shutil.which, _NAMES)), None
)
if CHROMIUM is None:
  pytest.skip('no Chromium (MDCF_CHROMIUM names one)', allow_module_level=True)
# The camera shows a pattern, the microphone hears beeps.
FLAGS = (
  '--no-sandbox',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
)


@pytest.fixture(autouse=True)
def one_face(monkeypatch):
  box = samples.np.float32((0.5, 0.2, 0.7, 0.8))
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: [box])


@pytest.fixture(scope='module')
def browser():
  with sync_api.sync_playwright() as play:
    browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser, served):
  """Opens the page as another visitor, and checks what it asked for."""
  contexts, errors, hosts = [], [], set()

  def open_it(**options):
    context = browser.new_context(
      permissions=['camera', 'microphone'], **options
    )
    context.set_default_timeout(SECONDS * 1000)
    contexts.append(context)
    page = context.new_page()
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('request', lambda x: hosts.add(urllib.parse.urlsplit(x.url).netloc))
    page.goto(served[0])
    page.wait_for_selector('#make')
    return page

  yield open_it
  for context in contexts:
    context.close()
  assert not errors
  # `data:` and `blob:` have no host.
  assert hosts - {''} == {urllib.parse.urlsplit(served[0]).netloc}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp('files')
  samples.write_picture(folder / 'wide.png', 200, 100)
  samples.write_sound(folder / 'talk.wav', 0.8)
  sound = samples.speech(0.8)
  with VideoWriter(folder / 'talk.mp4', (64, 64), 25, sound) as file:
    for _ in range(20):
      file.write(samples.picture(64, 64))
  (folder / 'bad.mp4').write_bytes(b'no video')
  (folder / 'bad.png').write_bytes(b'\x89PNG\r\n\x1a\n no picture')
  (folder / 'bad.wav').write_bytes(b'RIFF no sound')
  return folder


def give(page, selector: str, path: pathlib.Path):
  page.set_input_files(f'{selector} input[type=file]', str(path))


def give_voice_of(page, path: pathlib.Path):
  with page.expect_file_chooser() as chooser:
    page.click('#video-voice')
  chooser.value.set_files(str(path))


def playing(page, selector: str) -> dict:
  """Waits until a video plays; returns what it is."""
  page.wait_for_function(
    f"""() => {{
      const video = document.querySelector('{selector} video');
      return video && video.currentTime > 0.05;
    }}"""
  )
  return page.evaluate(
    f"""() => {{
      const video = document.querySelector('{selector} video');
      return {{size: [video.videoWidth, video.videoHeight],
               seconds: video.duration, source: video.src,
               error: video.error}};
    }}"""
  )


def test_from_upload_to_a_video_that_plays(open_page, files, pipe):
  page = open_page()
  give(page, '#portrait', files / 'wide.png')
  page.wait_for_selector('#preview img')
  assert page.locator('#choice input:checked').get_attribute('value') == (
    'Face 1'
  )
  give(page, '#voice', files / 'talk.wav')
  page.wait_for_function(
    "document.querySelector('#estimate').innerText.includes('of memory')"
  )
  pipe.go.clear()
  page.click('#make')
  page.wait_for_selector('#panel [role=progressbar]')
  page.wait_for_function(
    "document.querySelector('#panel').innerText.includes('picture 1 of 20')"
  )
  for _ in range(200):  # The pictures come one by one.
    if page.locator('#panel .live img').count() == 2:
      break
    pipe.go.set()
    time.sleep(0.005)
    pipe.go.clear()
    page.wait_for_timeout(100)
  pipe.go.set()
  found = playing(page, '#video')
  assert found['size'] == [64, 64] and found['error'] is None
  assert found['seconds'] == pytest.approx(0.8, abs=0.1)
  assert pipe.given[-1]['face'] == 1 and pipe.given[-1]['crop'] == 'auto'

  page.get_by_role('tab', name='With its motion').click()
  assert playing(page, '#beside')['size'] == [128, 64]
  with page.expect_download() as download:
    page.click('#download-beside')
  assert download.value.suggested_filename == 'with-motion.mp4'
  page.get_by_role('tab', name='Video', exact=True).click()
  with page.expect_download() as download:
    page.click('#download')
  assert download.value.suggested_filename == 'talking-head.mp4'
  content = pathlib.Path(download.value.path()).read_bytes()
  assert b'AI-generated; mark=1' in content
  assert page.locator('#history label').count() == 1


def test_another_place_and_stop(open_page, files, pipe):
  page = open_page()
  give(page, '#portrait', files / 'wide.png')
  page.wait_for_selector('#preview img')
  page.click('#example-voice')
  page.wait_for_function(
    "document.querySelector('#voice').innerText.includes('0:0')"
  )
  # Left of the face: a square of one's own.
  image = page.locator('#preview img')
  box = image.bounding_box()
  image.click(position=dict(x=0.15 * box['width'], y=0.5 * box['height']))
  page.wait_for_selector('#side')
  assert page.locator('#choice input:checked').get_attribute('value') == (
    'My own square'
  )
  pipe.go.clear()
  page.click('#make')
  page.click('#stop')
  page.wait_for_function(
    "document.querySelector('#panel').innerText.includes('Stopped')"
  )
  pipe.go.set()
  x, y, width, height = pipe.given[-1]['crop']
  assert x < 30 and width == height


def test_bad_files_are_told_and_do_not_stay(open_page, files):
  page = open_page(viewport=dict(width=1280, height=900))
  page.click('#options >> text=Options')
  page.locator('#options >> text=As in a video').first.click()
  for selector, name, said in (
    ('#portrait', 'bad.png', 'picture'),
    ('#voice', 'bad.wav', 'recording'),
    ('#voice', 'bad.mp4', 'recording'),
    ('#driver', 'bad.mp4', 'video'),
  ):
    if (selector, name) == ('#voice', 'bad.mp4'):
      give_voice_of(page, files / name)
    else:
      give(page, selector, files / name)
    page.wait_for_selector('.toast-body')
    text = page.inner_text('.toast-body')
    assert said in text and '/' not in text
    page.evaluate('scrollTo(0, 0)')
    page.click('#make', trial=True, timeout=5000)  # Nothing hides it.
    page.click('.toast-close')
    page.wait_for_selector('.toast-body', state='detached')
    page.wait_for_selector(f'{selector} input[type=file]', state='attached')
    assert (
      not page.get_by_text('Error', exact=True).filter(visible=True).count()
    )
  row = page.locator('#driver .source-selection').bounding_box()
  box = page.locator('#driver').bounding_box()
  assert row['y'] + row['height'] <= box['y'] + box['height'] + 1


def test_the_panel_tells_what_is_missing_until_it_is_given(open_page, files):
  page = open_page()
  page.click('#make')
  page.wait_for_function(
    "document.querySelector('#panel').innerText.includes('portrait is missing')"
  )
  give_voice_of(page, files / 'talk.mp4')
  page.wait_for_function(
    "document.querySelector('#voice').innerText.includes('0:0')"
  )
  page.wait_for_function(
    "document.querySelector('#panel').innerText.includes('Give a portrait')"
  )


def test_two_visitors(open_page, files, pipe):
  """The second waits, hears so, and both get their own."""
  pages = [open_page(), open_page()]
  for page in pages:
    page.click('#example-portrait')
    page.wait_for_selector('#preview img')
    give(page, '#voice', files / 'talk.wav')
    page.wait_for_function(
      "document.querySelector('#voice').innerText.includes('0:0')"
    )
  pipe.go.clear()
  pages[0].click('#make')
  pages[0].wait_for_function(
    "document.querySelector('#panel').innerText.includes('picture 1 of')"
  )
  pages[1].click('#make')
  pages[1].wait_for_function(
    "document.querySelector('#panel').innerText.includes('before yours')"
  )
  pipe.go.set()
  sources = {playing(page, '#video')['source'] for page in pages}
  assert len(sources) == 2


def test_microphone_camera_and_a_narrow_screen(open_page, served):
  page = open_page(viewport=dict(width=390, height=844))
  width = page.evaluate('document.documentElement.scrollWidth')
  assert width <= 390
  page.click('#portrait [aria-label="Capture from camera"]')
  page.click('#portrait >> text=/access webcam/i')
  page.wait_for_timeout(500)
  page.click('#portrait [aria-label="capture photo"]')
  page.wait_for_selector('#preview img')
  page.click('#voice [aria-label="Record audio"]')
  page.click('#voice .record-button')
  page.wait_for_timeout(900)
  page.click('#voice .stop-button')
  page.wait_for_function(
    "document.querySelector('#estimate').innerText.includes('of memory')"
  )
