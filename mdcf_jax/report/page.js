// Tables sort by a click: numbers by value, names as text, blanks last.
'use strict';
for (const table of document.querySelectorAll('[data-sortable]')) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => row.cells[i].dataset.v;
  heads.forEach((head, i) => {
    head.querySelector('button').addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const compare = (a, b) => {
        const [x, y] = [key(a, i), key(b, i)];
        if (x === '' || y === '') return (x === '') - (y === '');
        const order = i ? x - y : x.localeCompare(y, 'en', {numeric: true});
        return up ? order : -order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// One clip at a time.
addEventListener('play', (event) => {
  for (const video of document.querySelectorAll('video')) {
    if (video !== event.target) video.pause();
  }
}, true);
