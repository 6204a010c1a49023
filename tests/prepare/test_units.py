"""Names of units, and how they are divided."""

from mdcf_jax.prepare import units


def _unit(name, identity, split=''):
  return units.Unit(
    units.safe_id(name), f'/v/{name}', name, identity, identity, split
  )


def test_ids_are_safe_and_different():
  names = ['a b.mp4', 'a_b.mp4', '-x.mp4', 'ü/ß.mp4', '../up.mp4', 'a' * 300]
  ids = [units.safe_id(name) for name in names]
  assert len(set(ids)) == len(ids)
  for text in ids:
    assert '/' not in text and text[0] not in '-.' and len(text) < 120


def test_ids_are_file_names_in_any_script(tmp_path):
  name = '\u8a71' * 80
  text = units.safe_id(f'{name}.mp4')
  assert text.startswith('\u8a71') and len(text.encode()) <= 90
  (tmp_path / f'{text}.1.npz.partial').touch()


def test_no_identity_is_in_two_splits():
  many = [_unit(f'{i}', f'person {i % 20}') for i in range(60)]
  splits = units.assign_splits(many, 0.1, seed=0)
  people = {s: {c.identity for c in members} for s, members in splits.items()}
  assert not people['train'] & people['val']
  assert len(people['val']) == 2
  assert splits == units.assign_splits(many, 0.1, seed=0)
  assert splits != units.assign_splits(many, 0.1, seed=1)


def test_given_splits_are_kept():
  given = [_unit('1', 'a', 'train'), _unit('2', 'b', 'val'), _unit('3', 'c')]
  splits = units.assign_splits(given, 0.1, seed=0)
  assert given[0] in splits['train'] and given[1] in splits['val']
  assert given[2] in splits['train']


def test_few_clips_still_give_both_splits():
  one = [_unit('1', 'a')]
  assert units.assign_splits(one, 0.1, 0) == {'train': one, 'val': one}
  same = [_unit(str(i), 'a') for i in range(5)]
  splits = units.assign_splits(same, 0.1, 0)
  assert len(splits['train']) == 4 and len(splits['val']) == 1
  assert not units.assign_splits(same, 0, 0)['val']


def test_no_split_is_empty():
  three = [_unit(str(i), f'person {i}') for i in range(3)]
  for fraction in (0.01, 0.5, 0.9, 0.99):
    splits = units.assign_splits(three, fraction, 0)
    assert splits['train'] and splits['val']


def test_who_is_left_out_decides_nothing_for_the_rest():
  many = [_unit(str(i), f'person {i}') for i in range(40)]
  whole = units.assign_splits(many, 0.2, 0)
  for lost in many[:10]:
    rest = units.assign_splits(
      many, 0.2, 0, kept=lambda u, lost=lost: u != lost
    )
    for split, members in rest.items():
      assert members == [unit for unit in whole[split] if unit != lost]
