/** The funnel of a group: a row a selection with its previews by reward, and what was drawn to its end. */
import { absent, el, isNumber, number, replace } from '../../serve/page/dom.js';
import { get } from '../../serve/page/server.js';
import { firstRun, onChange, pictureOf } from './store.js';

const view = { index: -1, follows: true, group: undefined, sample: undefined };
const listeners = new Set();

/** Calls a listener with each group that is shown. */
export function onGroup(listener) {
  listeners.add(listener);
}

/** Rows of a group: { title, tiles: [{ sample, reward, kept, picture? }] }, tiles by falling reward, lost ones last. */
export function rowsOf({ record, previews }) {
  const selections = (record.selections ?? []).map(({ step, samples, rewards, kept }) => ({
    title: `step ${step}`,
    step,
    tiles: tilesOf(
      samples,
      rewards,
      new Set(kept),
      previews?.selections?.find((each) => each.step === step),
    ),
    counts: `${samples.length} → ${kept.length}`,
  }));
  const survivors = record.survivors ?? [];
  const end = {
    title: 'end',
    tiles: tilesOf(survivors, record.rewards, new Set(survivors), previews?.final),
    counts: `${survivors.length} trained on`,
  };
  return [...selections, end];
}

function tilesOf(samples, rewards, kept, pictures) {
  const tiles = samples.map((sample, i) => {
    const place = pictures?.samples.indexOf(sample) ?? -1;
    return {
      sample,
      reward: rewards?.[i] ?? null,
      kept: kept.has(sample),
      ...(place >= 0 && {
        picture: { file: pictures.file, columns: pictures.columns, count: pictures.samples.length, place },
      }),
    };
  });
  const height = ({ reward }) => (isNumber(reward) ? reward : Number.NEGATIVE_INFINITY);
  return tiles.sort((a, b) => height(b) - height(a) || a.sample - b.sample);
}

export function mountFunnel(panel) {
  const slider = el('input', { type: 'range', min: 0, max: 0, value: 0, id: 'group' });
  const newest = el('button', { type: 'button' }, 'newest');
  const title = el('p', { className: 'prompt' });
  const rows = el('div', { className: 'funnel' });
  const about = el('p', { className: 'readout', role: 'status' });
  const note = el('p', { className: 'soft' });
  slider.addEventListener('input', () => {
    view.follows = false;
    void showGroup(Number(slider.value));
  });
  newest.addEventListener('click', () => {
    view.follows = true;
    update();
  });
  replace(
    panel,
    panel.querySelector('h2'),
    el('div', { className: 'tools' }, el('label', {}, 'group ', slider), newest, note),
    title,
    rows,
    about,
  );

  const showGroup = async (index) => {
    view.index = index;
    slider.value = String(index);
    const run = firstRun();
    const group = await get('runs', run.id, 'groups', String(index)).catch(() => undefined);
    if (view.index !== index || !group || run !== firstRun()) return; // another one was chosen meanwhile
    view.group = group;
    draw(run);
    for (const listener of listeners) listener(group);
  };

  const draw = (run) => {
    const { record, previews } = view.group;
    slider.setAttribute('aria-valuetext', `update ${record.update}, group ${record.group + 1}`);
    note.textContent = `update ${record.update}, group ${record.group + 1}${previews ? '' : '; its previews are not recorded (save.previews)'}`;
    title.textContent = record.prompt;
    const all = rowsOf(view.group);
    const rewards = all.flatMap(({ tiles }) => tiles.map(({ reward }) => reward)).filter(isNumber);
    const scale = { low: Math.min(...rewards), high: Math.max(...rewards) };
    replace(rows, ...all.map((row) => rowElement(row, { run, previews, scale, select })));
    select(undefined);
  };

  /** Marks a sample in every row and says what became of it. */
  const select = (sample) => {
    view.sample = sample;
    for (const tile of rows.querySelectorAll('.tile'))
      tile.classList.toggle('same', sample !== undefined && Number(tile.dataset.sample) === sample);
    about.textContent = sample === undefined ? hint : story(view.group.record, sample);
  };

  const update = () => {
    const run = firstRun();
    const count = run?.summary.groups ?? 0;
    slider.max = String(Math.max(0, count - 1));
    slider.disabled = count === 0;
    newest.disabled = count === 0;
    if (count === 0) {
      view.group = undefined;
      view.index = -1;
      replace(rows, absent('No group is drawn yet.'));
      title.textContent = '';
      about.textContent = '';
      note.textContent = '';
    } else if (view.follows || view.index < 0 || view.index >= count) {
      const { newestGroup } = run.summary;
      if (view.index !== newestGroup) void showGroup(newestGroup);
    }
  };
  onChange((what) => {
    if (what === 'run') {
      view.index = -1;
      view.follows = true;
    }
    if (what === 'summary' || what === 'run') update();
  });
}

const hint = 'Point at a sample, or reach it by Tab and the arrow keys, to follow it through the rows.';

/** What became of a sample, in a sentence. */
function story({ selections = [], survivors = [], rewards = [], advantages = [], seeds }, sample) {
  const parts = selections.flatMap(({ step, samples, rewards: seen, kept }) => {
    const i = samples.indexOf(sample);
    if (i < 0) return [];
    return [`${number(seen?.[i])} at step ${step}, ${kept.includes(sample) ? 'kept' : 'pruned'}`];
  });
  const i = survivors.indexOf(sample);
  const end = i < 0 ? [] : [`${number(rewards[i])} at the end, advantage ${number(advantages[i])}`];
  const seed = seeds?.[sample] === undefined ? '' : ` (seed ${seeds[sample]})`;
  return `Sample ${sample}${seed}: ${[...parts, ...end].join('; ')}`;
}

function rowElement({ title, counts, tiles }, { run, previews, scale, select }) {
  const list = el('ul', { className: previews ? 'tiles pictures' : 'tiles', 'aria-label': `${title}: ${counts}` });
  list.append(...tiles.map((tile, i) => el('li', {}, tileElement(tile, i, { run, previews, scale, select }))));
  list.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const all = [...list.querySelectorAll('.tile')];
    const to = by && all[all.indexOf(document.activeElement) + by];
    if (!to) return;
    event.preventDefault();
    for (const tile of all) tile.tabIndex = tile === to ? 0 : -1;
    to.focus();
  });
  return el(
    'section',
    { className: 'row' },
    el('h3', {}, `${title} `, el('span', { className: 'soft' }, counts)),
    list,
  );
}

function tileElement({ sample, reward, kept, picture }, i, { run, previews, scale, select }) {
  const state = kept ? 'kept' : 'pruned';
  const tile = el('button', {
    type: 'button',
    className: `tile ${state}`,
    tabIndex: i === 0 ? 0 : -1,
    'aria-label': `sample ${sample}, reward ${shortReward(reward)}, ${state}`,
    data: { sample: String(sample), reward: String(reward) },
    on: { pointerenter: () => select(sample), focus: () => select(sample), pointerleave: () => select(undefined) },
  });
  const face = el('span', { className: 'face', 'aria-hidden': 'true' });
  if (picture && previews) cutPicture(face, picture, run);
  else {
    const share = isNumber(reward) && scale.high > scale.low ? (reward - scale.low) / (scale.high - scale.low) : 0;
    const bar = el('span', { className: 'level' });
    bar.style.height = `${Math.round(100 * share)}%`;
    face.append(bar);
  }
  tile.append(face, el('span', { className: 'value', 'aria-hidden': 'true' }, shortReward(reward)));
  return tile;
}

/** A reward in five places, so that those of a row are equally long. */
const shortReward = (value) =>
  isNumber(value) && Math.abs(value) >= 0.01 && Math.abs(value) < 1000
    ? value.toPrecision(4).slice(0, 6)
    : number(value);

/** A picture out of the file that has all of a selection in a grid. */
function cutPicture(face, { file, columns, count, place }, run) {
  const rows = Math.ceil(count / columns);
  const share = (at, of) => (of > 1 ? `${(100 * at) / (of - 1)}%` : '0');
  face.style.backgroundImage = `url("${pictureOf(run.id, 'previews', file)}")`;
  face.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  face.style.backgroundPosition = `${share(place % columns, columns)} ${share(Math.floor(place / columns), rows)}`;
}
