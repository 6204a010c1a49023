// One clip after the other, in an order that the participant's code decides.
// Answers stay in this browser until they are saved as a file.
'use strict';
const about = JSON.parse(document.getElementById('about').textContent);
const find = (id) => document.getElementById(id);
const keys = about.questions.map((question) => question.key);
let state = null;
let place = 0;
let address = '';

// A number in [0, 1) after the other, decided by a text.
function numbers(text) {
  let h = 2166136261;
  for (const character of text) {
    h = Math.imul(h ^ character.codePointAt(0), 16777619);
  }
  return () => {
    h = Math.imul(h ^ (h >>> 15), 2246822519) + 0x6d2b79f5 | 0;
    let x = Math.imul(h ^ (h >>> 13), 3266489917);
    x ^= x >>> 16;
    return (x >>> 0) / 4294967296;
  };
}

function shuffled(clips, text) {
  const draw = numbers(text);
  const order = [...clips];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

const slot = (code) => `mdcf-study/${about.study}/${code}`;

// A page from disk may have no storage; then closing it loses the answers.
function load(code) {
  try {
    const kept = JSON.parse(localStorage.getItem(slot(code)));
    if (kept && kept.study === about.study && kept.answers) return kept;
  } catch (error) { /* Nothing that can be used. */ }
  return null;
}

function keep() {
  try {
    localStorage.setItem(slot(state.participant), JSON.stringify(state));
    return true;
  } catch (error) {
    find('kept').textContent =
      'This browser keeps nothing: do not close the page before you have ' +
      'saved your answers.';
    return false;
  }
}

const complete = (clip) => {
  const given = state.answers[clip] || {};
  return keys.every((key) => given[key] >= 1 && given[key] <= 5);
};

function start(code) {
  state = load(code) || {
    format: 'mdcf-study-answers', version: 1, study: about.study,
    participant: code, started: new Date().toISOString(), seen: {}, answers: {},
  };
  state.order = shuffled(about.clips, `${about.study}/${code}`);
  keep();
  find('welcome').hidden = true;
  const next = state.order.findIndex((clip) => !complete(clip));
  next < 0 ? finish() : show(next);
}

function show(index) {
  place = index;
  const clip = state.order[index];
  find('end').hidden = true;
  find('judge').hidden = false;
  const text = find(clip).textContent;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(new Blob([bytes], {type: 'video/mp4'}));
  find('trouble').hidden = true;
  find('video').src = address;
  const given = state.answers[clip] || {};
  for (const input of document.querySelectorAll('#questions input')) {
    input.checked = String(given[input.name]) === input.value;
  }
  refresh();
  scrollTo(0, 0);
}

function refresh() {
  const clip = state.order[place];
  const total = state.order.length;
  const done = state.order.filter(complete).length;
  find('progress').max = total;
  find('progress').value = done;
  find('count').textContent = `Video ${place + 1} of ${total}, ${done} judged`;
  find('back').disabled = place === 0;
  const seen = Boolean(state.seen[clip]);
  find('next').disabled = !(seen && complete(clip));
  find('hint').textContent = !seen ? 'Watch the video to its end first.' :
    complete(clip) ? '' : 'Please answer all four questions.';
}

function finish() {
  find('video').pause();
  find('judge').hidden = true;
  find('end').hidden = false;
  const done = state.order.filter(complete).length;
  find('done').textContent = `${done} of ${state.order.length} videos judged.`;
}

function save() {
  const {order, seen, ...rest} = state;
  const answers = {};
  for (const clip of order) if (complete(clip)) answers[clip] = rest.answers[clip];
  const file = {...rest, answers, order, saved: new Date().toISOString()};
  const link = document.createElement('a');
  const text = JSON.stringify(file, null, 1) + '\n';
  link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  link.download = `answers-${about.study}-${state.participant}.json`;
  document.body.append(link);
  link.click();
  link.remove();
}

function ask() {
  for (const question of about.questions) {
    const field = document.createElement('fieldset');
    const legend = document.createElement('legend');
    legend.textContent = question.text;
    field.append(legend);
    question.criteria.forEach((text, i) => {
      const label = document.createElement('label');
      const input = document.createElement('input');
      Object.assign(input, {
        type: 'radio', name: question.key, value: String(i + 1),
      });
      const number = document.createElement('b');
      number.textContent = String(i + 1);
      const words = document.createElement('span');
      words.textContent = text;
      label.append(input, number, words);
      field.append(label);
    });
    find('questions').append(field);
  }
}

ask();
find('code').addEventListener('submit', (event) => {
  event.preventDefault();
  start(find('participant').value.trim());
});
find('questions').addEventListener('change', (event) => {
  const clip = state.order[place];
  state.answers[clip] = {
    ...state.answers[clip], [event.target.name]: Number(event.target.value),
  };
  keep();
  refresh();
});
// `ended` does not come while a video plays again and again.
const watched = () => {
  const video = find('video');
  if (!state || state.seen[state.order[place]]) return;
  if (!video.ended && !(video.currentTime > 0.95 * video.duration)) return;
  state.seen[state.order[place]] = true;
  keep();
  refresh();
};
find('video').addEventListener('timeupdate', watched);
find('video').addEventListener('ended', watched);
find('video').addEventListener('error', () => {
  find('trouble').hidden = false;
});
find('back').addEventListener('click', () => show(place - 1));
find('next').addEventListener('click', () => {
  place + 1 < state.order.length ? show(place + 1) : finish();
});
find('again').addEventListener('click', () => show(0));
for (const button of document.querySelectorAll('.save')) {
  button.addEventListener('click', save);
}
