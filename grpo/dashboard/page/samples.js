/** Samples of the same prompts and noise: before, after some updates, and now. */
import { absent, el, replace } from '../../serve/page/dom.js';
import { firstRun, onChange, pictureOf } from './store.js';

const fileOf = (update) => `${String(update).padStart(6, '0')}.png`;
const nameOf = (update) => (update === 0 ? 'before' : `after ${update} ${update === 1 ? 'update' : 'updates'}`);

export function mountSamples(panel) {
  const slider = el('input', { type: 'range', min: 0, max: 0, value: 0 });
  const tools = el('div', { className: 'tools' }, el('label', {}, 'between ', slider));
  const place = el('div', { className: 'samples' });
  const dialog = el('dialog', { className: 'pair', 'aria-label': 'Samples before and after' });
  dialog.addEventListener('click', () => dialog.close());
  replace(panel, panel.querySelector('h2'), tools, place, dialog);
  const view = { index: undefined, drawn: '' };

  const picture = (run, update) => {
    const image = el('img', {
      src: pictureOf(run.id, 'samples', fileOf(update)),
      alt: `Samples ${nameOf(update)}, each under its prompt`,
    });
    return image;
  };

  const enlarge = (run, update) => {
    const shown = update === 0 ? run.summary.samples.at(-1) : update;
    const figure = (each) => el('figure', {}, el('figcaption', {}, nameOf(each)), picture(run, each));
    const close = el('button', { type: 'button', className: 'close' }, 'close');
    replace(dialog, close, figure(0), shown === 0 ? undefined : figure(shown));
    dialog.showModal();
  };

  const column = (run, update, title) =>
    el(
      'figure',
      { data: { update: String(update) } },
      el('figcaption', {}, title),
      el(
        'button',
        {
          type: 'button',
          'aria-label': `enlarge samples ${nameOf(update)} beside those before`,
          on: { click: () => enlarge(run, update) },
        },
        picture(run, update),
      ),
    );

  const draw = () => {
    const run = firstRun();
    const updates = run?.summary.samples ?? [];
    const between = updates.slice(1, -1);
    tools.hidden = between.length === 0;
    slider.max = String(Math.max(0, between.length - 1));
    const index = Math.min(view.index ?? between.length - 1, between.length - 1);
    slider.value = String(index);
    const middle = between[index];
    if (middle !== undefined) slider.setAttribute('aria-valuetext', nameOf(middle));
    const text = JSON.stringify([run?.id, updates.length, middle, run?.summary.info?.updates === updates.at(-1)]);
    if (text === view.drawn) return;
    view.drawn = text;
    if (updates.length === 0) {
      replace(place, absent('No samples are drawn yet.'));
      return;
    }
    const last = updates.at(-1);
    replace(
      place,
      column(run, updates[0], nameOf(updates[0])),
      middle === undefined ? undefined : column(run, middle, nameOf(middle)),
      last === updates[0] ? undefined : column(run, last, `now: ${nameOf(last)}`),
    );
  };
  slider.addEventListener('input', () => {
    view.index = Number(slider.value);
    draw();
  });
  onChange((what) => {
    if (what === 'run') view.index = undefined;
    if (what === 'summary' || what === 'run') draw();
  });
}
