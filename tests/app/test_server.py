"""The server without a browser: what it does for visitors, and what not."""

import io
import json
import os
import socket
import threading
import time

import pytest
from PIL import Image

pytest.importorskip('gradio', reason="no gradio (pip install '.[app]')")

from mdcf_jax.app import server  # noqa: E402
from mdcf_jax.app.framing import OWN, WHOLE  # noqa: E402
from mdcf_jax.app.studio import Settings, Studio  # noqa: E402
from mdcf_jax.errors import InputError  # noqa: E402
from mdcf_jax.media import face_search  # noqa: E402
from tests.app import samples  # noqa: E402
from tests.app.conftest import LIMITS  # noqa: E402
from tests.app.visitor import API, Visitor, file_data  # noqa: E402

SETTINGS = 2, 7, 64, 'generated', 'generated', False, True


@pytest.fixture(autouse=True)
def no_faces(monkeypatch):
  """MediaPipe is not what is tested here."""
  monkeypatch.setattr(face_search, 'find_boxes', lambda _: [])


@pytest.fixture
def visitor(served):
  someone = Visitor(served[0])
  yield someone
  served[1].store.end(someone.key)


def png(width=96, height=96):
  file = io.BytesIO()
  Image.fromarray(samples.picture(width, height)).save(file, 'PNG')
  return file.getvalue()


@pytest.fixture(scope='module')
def wav(tmp_path_factory):
  path = tmp_path_factory.mktemp('wav') / 'a.wav'
  return samples.write_sound(path).read_bytes()


def give(visitor, wav):
  visitor.output('give_picture', visitor.given('me.png', png()))
  visitor.output('give_sound', visitor.given('me.wav', wav))


def eventually(condition):
  end = time.monotonic() + 120  # A loaded machine is slow, not wrong.
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)


def test_from_upload_to_video(served, visitor, wav):
  portrait, _, preview, _, choice, _, note = visitor.output(
    'give_picture', visitor.given('me.png', png())
  )
  assert 'No face was found' in note['value'] and note['visible']
  assert choice['choices'] == [[WHOLE, WHOLE], [OWN, OWN]]
  shown = visitor.http.get(f'{API}/file={portrait["path"]}')
  assert Image.open(io.BytesIO(shown.content)).size == (96, 96)
  assert visitor.http.get(f'{API}/file={preview["path"]}').status_code == 200
  visitor.output('give_sound', visitor.given('me.wav', wav))
  (estimate,) = visitor.output('plan', *SETTINGS)
  assert '10 frames of 64 × 64: 1.00 GB of memory' in estimate

  messages = visitor.call('make', *SETTINGS)
  last = messages[-1]
  assert last['success'] and messages[-2]['msg'] == 'process_generating'
  files = [x for x in last['output']['data'] if 'talking-head' in str(x)]
  path = next(x['path'] for x in files if isinstance(x, dict) and 'path' in x)
  video = visitor.http.get(f'{API}/file={path}')
  assert video.headers['content-type'] == 'video/mp4'
  assert b'AI-generated; mark=1' in video.content
  part = visitor.http.get(f'{API}/file={path}', headers=dict(Range='bytes=0-9'))
  assert part.status_code == 206 and part.content == video.content[:10]
  assert '"1: 0.4 s, seed 7, 2 steps"' in json.dumps(last['output'])
  # A browser that closes the page leaves nothing behind.
  folder = served[1].store.visit(visitor.key).folder
  assert folder.is_dir()
  visitor.leave()
  eventually(lambda: not folder.exists())


def test_the_history_is_bounded_and_can_be_shown(served, visitor, wav):
  give(visitor, wav)
  for seed in range(3):
    visitor.output('make', 1, seed, *SETTINGS[2:])
  made = served[1].store.visit(visitor.key).made
  assert [x.number for x in made] == [3, 2]
  assert sum(x.is_dir() for x in made[0].folder.parent.iterdir()) == 2
  shown, *_, download, beside = visitor.output('show', made[1].folder.name)
  assert shown['path'] == download['path'] == str(made[1].video)
  assert beside['path'] == str(made[1].motion)
  assert 'error' in visitor.error('show', '../../etc')


def test_choosing_the_square(served, visitor, pipe, wav):
  visitor.output('give_sound', visitor.given('me.wav', wav))
  visitor.output('give_picture', visitor.given('wide.png', png(200, 100)))
  visitor.output('choose', OWN)
  *_, side, _ = visitor.output('resize', 50)
  assert side['visible'] and side['value'] == 50
  visitor.output('make', *SETTINGS)
  assert pipe.given[-1]['crop'] == (75, 25, 50, 50)
  assert 'choice' in visitor.error('choose', 'Face 9').lower()


@pytest.mark.parametrize(
  ('settings', 'said'),
  [
    ((0, *SETTINGS[1:]), 'steps'),
    ((2, -1, *SETTINGS[2:]), 'seed'),
    ((2, 1, 64, 'video', *SETTINGS[4:]), 'video to move by is missing'),
  ],
)
def test_settings_that_cannot_be(visitor, wav, settings, said):
  give(visitor, wav)
  last = visitor.call('make', *settings)[-1]
  text = json.dumps(last['output'])
  assert said in text.lower() or not last['success']
  assert '/tmp' not in text and 'Traceback' not in text


def test_what_is_missing_is_said(visitor):
  assert 'A portrait is missing' in json.dumps(visitor.call('make', *SETTINGS))
  visitor.output('give_picture', visitor.given('me.png', png()))
  assert 'A recording is missing' in json.dumps(visitor.call('make', *SETTINGS))


@pytest.mark.parametrize(
  ('event', 'name', 'content'),
  [
    ('give_picture', 'a.png', b'no picture'),
    ('give_picture', 'a.svg', b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ('give_picture', 'a.png', png(16, 15)),
    ('give_sound', 'a.wav', b'no sound'),
    ('give_sound', 'a.wav', b'ffconcat version 1.0\nfile /etc/hosts\n'),
    ('give_sound', 'a.png', png()),
    ('give_motion', 'a.mp4', b'no video'),
    ('give_motion', '../../a.mp4', b''),
    ('give_picture', 'a' * 300 + '.png', b'x'),
  ],
)
def test_bad_files_are_told_in_one_line(served, visitor, event, name, content):
  said = visitor.error(event, visitor.given(name, content))
  text = json.loads(said)['error']
  assert text and '\n' not in text
  assert str(served[1].store.root) not in said and '/' not in text
  visit = served[1].store.visit(visitor.key)
  assert visit.framing is visit.sound is visit.motion is None
  assert not any(visit.folder.iterdir())


def test_a_long_recording_is_refused(visitor, tmp_path):
  path = samples.write_sound(tmp_path / 'a.wav', 4.0)
  given = visitor.given('a.wav', path.read_bytes())
  assert 'longer than 3 s' in visitor.error('give_sound', given)


@pytest.mark.parametrize('event', ['give_picture', 'give_sound', 'give_motion'])
def test_a_path_of_the_server_is_no_upload(served, visitor, event):
  """Those that exist, those that do not, and other people's."""
  other = Visitor(served[0])
  (secret,) = other.upload('mine.png', png()).json()
  link = served[1].store.root / 'link.png'
  link.unlink(missing_ok=True)
  link.symlink_to('/etc/passwd')
  folder = os.path.dirname(secret)
  for path in (
    *('/etc/passwd', '/etc/none', '../secret', 'a\0b', str(link), ''),
    *(f'{folder}/../../../etc/passwd', 'http://127.0.0.1/x', __file__),
  ):
    assert visitor.join(event, file_data(path)).status_code == 403, path
  for sent in (
    *('/etc/passwd', 7, [], {}, dict(url='file:///etc/passwd')),
    dict(url='http://127.0.0.1:1/x', path=None),
  ):
    assert 'passwd' not in visitor.error(event, sent)
  link.unlink()


def test_uploads_have_a_size(served, visitor):
  large = b'x' * (LIMITS.file_bytes + 100_000)
  assert visitor.upload('a.png', large).status_code == 413
  # A little too large for us, and not for what is around it.
  answer = visitor.upload('a.png', b'x' * (LIMITS.file_bytes + 10))
  assert answer.status_code >= 400
  files = [x for x in served[1].store.root.rglob('*') if x.is_file()]
  assert max(x.stat().st_size for x in files) <= LIMITS.file_bytes


@pytest.mark.parametrize('name', ['../../evil.png', '/etc/evil.png', 'a\0.png'])
def test_the_name_of_an_upload_leads_nowhere(served, visitor, name):
  answer = visitor.upload(name, png())
  if answer.status_code == 200:
    (path,) = answer.json()
    assert path.startswith(str(served[1].store.root) + '/')
    assert '..' not in path and '\0' not in path
  assert not os.path.exists('/etc/evil.png')


@pytest.mark.parametrize(
  'path',
  [
    *('/monitoring', '/docs', '/openapi.json', f'{API}/deep_link'),
    *(f'{API}/file=/etc/passwd', f'{API}/file=../../etc/passwd'),
    *(f'{API}/file=/etc/passwd%00.png', f'{API}/proxy=http://127.0.0.1/'),
    *('/static/../../../etc/passwd', '/static/%2e%2e/%2e%2e/etc/passwd'),
    *('/assets/..%2f..%2fetc%2fpasswd', f'{API}/runs'),
  ],
)
def test_other_addresses_are_closed(visitor, path):
  request = visitor.http.build_request('GET', visitor.http.base_url)
  request.url = request.url.copy_with(raw_path=path.encode())
  answer = visitor.http.send(request)
  assert answer.status_code in (403, 404) and 'root:' not in answer.text


def test_the_page_names_no_other_address(visitor):
  """Scripts and styles are ours; a policy forbids what the browser would
  fetch from elsewhere all the same."""
  answer = visitor.http.get('/')
  policy = answer.headers['content-security-policy']
  assert "default-src 'self'" in policy and 'http' not in policy
  css = visitor.http.get('/theme.css').text
  assert 'url(http' not in css and '@import' not in css
  foreign = visitor.http.get('/', headers=dict(Host='evil.example'))
  assert foreign.status_code == 421
  origin = dict(Origin='http://evil.example')
  assert visitor.http.get('/config', headers=origin).status_code == 403


def test_it_listens_on_this_machine_alone(served):
  assert served[0].startswith('http://127.0.0.1:')
  port = int(served[0].rstrip('/').rpartition(':')[2])
  others = socket.gethostbyname_ex(socket.gethostname())[2]
  for other in others:
    if other.startswith('127.'):
      continue
    with socket.socket() as trial:
      trial.settimeout(2)
      assert trial.connect_ex((other, port)) != 0


def test_two_at_once(served, pipe, wav):
  """One waits for the other and hears so; each gets a video of its own."""
  people = [Visitor(served[0]) for _ in range(2)]
  for someone in people:
    give(someone, wav)
  pipe.go.clear()
  found = {}

  def make(i):
    found[i] = people[i].call('make', 2, i, *SETTINGS[2:])

  threads = [threading.Thread(target=make, args=(i,)) for i in range(2)]
  threads[0].start()
  visit = served[1].store.visit(people[0].key)
  eventually(lambda: visit.job and visit.job.snapshot().stage == 'frames')
  threads[1].start()
  other = served[1].store.visit(people[1].key)
  eventually(lambda: other.job and other.job.snapshot().place == 1)
  time.sleep(0.5)  # So that it is shown.
  pipe.go.set()
  for thread in threads:
    thread.join(120)
  assert 'one video is before yours' in json.dumps(found[1])
  videos = [
    served[1].store.visit(someone.key).made[0].video for someone in people
  ]
  assert videos[0].read_bytes() != videos[1].read_bytes()
  assert videos[0].parents[1] != videos[1].parents[1]
  for someone in people:
    served[1].store.end(someone.key)


def test_a_visitor_has_one_at_a_time(served, visitor, pipe, wav):
  give(visitor, wav)
  pipe.go.clear()
  thread = threading.Thread(target=visitor.call, args=('make', *SETTINGS))
  thread.start()
  visit = served[1].store.visit(visitor.key)
  eventually(lambda: visit.job and visit.job.snapshot().stage == 'frames')
  with pytest.raises(InputError, match='not finished'):
    served[1].start(visitor.key, Settings(*SETTINGS))
  pipe.go.set()
  thread.join(120)


def test_stop(served, visitor, pipe, wav):
  give(visitor, wav)
  pipe.go.clear()
  found = []
  thread = threading.Thread(
    target=lambda: found.extend(visitor.call('make', *SETTINGS))
  )
  thread.start()
  visit = served[1].store.visit(visitor.key)
  eventually(lambda: visit.job and visit.job.snapshot().stage == 'frames')
  other = Visitor(served[0])
  other.key = visitor.key
  assert other.join('stop').status_code == 200
  thread.join(120)
  assert 'Stopped' in json.dumps(found[-1]) and visit.job.wait(10)
  assert not any(x.is_dir() for x in visit.folder.iterdir())
  pipe.go.set()


def test_who_leaves_stops_the_work(served, pipe, wav):
  someone = Visitor(served[0])
  give(someone, wav)
  pipe.go.clear()
  assert someone.join('make', *SETTINGS).status_code == 200
  visit = served[1].store.visit(someone.key)
  eventually(lambda: visit.job and visit.job.snapshot().stage == 'frames')
  someone.leave()
  assert visit.job.wait(120)
  eventually(lambda: not visit.folder.exists())
  assert not served[1].workshop.busy
  pipe.go.set()


def test_a_resolution_that_the_weights_do_not_make(served):
  store, workshop = served[1].store, served[1].workshop
  with pytest.raises(InputError, match='--resolution 100'):
    Studio(store, workshop, 100)
  assert Studio(store, workshop, 256).resolutions[-1] == 256


def test_what_the_environment_says_of_gradio_does_not_count(
  tmp_path, monkeypatch
):
  """GRADIO_SHARE or GRADIO_SERVER_NAME would open the page to others."""
  monkeypatch.setenv('GRADIO_SHARE', 'True')
  monkeypatch.setenv('GRADIO_SERVER_NAME', '0.0.0.0')
  monkeypatch.setenv('GRADIO_ALLOWED_PATHS', '/')
  with server._environment(tmp_path):
    found = {k for k in os.environ if k.startswith('GRADIO_')}
    assert found == {'GRADIO_TEMP_DIR', 'GRADIO_ANALYTICS_ENABLED'}
  assert os.environ['GRADIO_SHARE'] == 'True'


def test_a_taken_port_is_told(served):
  port = int(served[0].rstrip('/').rpartition(':')[2])
  with pytest.raises(InputError, match=f'port {port} cannot be used'):
    server.find_port(port)
