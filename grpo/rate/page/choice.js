/** Two pictures side by side, and the ways to choose: buttons, keys, touch. */
import { el, replace } from '../../serve/page/dom.js';
import { canUndo, countedNow, currentPair, onChange, store, undo, upcoming, vote } from './store.js';

const ways = [
  { choice: 'left', key: 'ArrowLeft', label: 'left', shown: '←' },
  { choice: 'equal', key: ' ', label: 'equal', shown: 'space' },
  { choice: 'right', key: 'ArrowRight', label: 'right', shown: '→' },
  { choice: 'skip', key: 's', label: 'skip', shown: 's' },
];

const largest = 320; // CSS pixels to which a small picture is enlarged: larger, one sees squares instead of things

export function mountChoice(panel) {
  const view = { id: undefined, since: 0, isBroken: false };
  const prompt = el('p', { className: 'prompt', id: 'prompt' });
  const progress = el('progress', { max: 1, value: 0, 'aria-label': 'votes' });
  const count = el('p', { role: 'status', id: 'count' });
  const choose = (choice) => {
    const pair = currentPair();
    if (pair) vote(pair, choice, (performance.now() - view.since) / 1000);
  };
  const button = (name, click, ...children) =>
    el(
      'button',
      {
        type: 'button',
        data: { choice: name },
        on: {
          click: (event) => {
            // Chosen by a pointer, the button does not keep the focus: space means «equal» again.
            if (event.detail > 0) event.currentTarget.blur();
            click();
          },
        },
      },
      ...children,
    );
  const key = (text) => el('kbd', { 'aria-hidden': 'true' }, text);
  const pictures = ['left', 'right'].map((side) => {
    const own = button(side, () => choose(side));
    own.className = 'picture';
    own.setAttribute('aria-label', `the picture on the ${side}`); // also while there is none
    return own;
  });
  const choices = ways.map(({ choice, label, shown }) => button(choice, () => choose(choice), label, ' ', key(shown)));
  const back = button('undo', undo, 'undo ', key('u'));
  const waiting = el('p', { className: 'absent', role: 'status' });
  const pairPlace = el('div', { className: 'pair' }, ...pictures);
  replace(
    panel,
    panel.querySelector('h2'),
    prompt,
    pairPlace,
    waiting,
    el('div', { className: 'choices', role: 'group', 'aria-label': 'choices' }, ...choices, back),
    el('div', { className: 'progress' }, progress, count),
  );

  const ahead = new Map(); // images by their addresses, loaded before they are needed
  const imageOf = ({ sha256, width, height }) => {
    const source = `/api/pictures/${sha256}.png`;
    const known = ahead.get(source);
    if (known) return known;
    // One that could not be loaded, as while the server is away, is asked for again with the next state.
    const lost = () => {
      ahead.delete(source);
      view.isBroken = true;
    };
    const image = el('img', { src: source, width, height, draggable: false, on: { error: lost } });
    ahead.set(source, image);
    return image;
  };

  /** Whole factors of device pixels, so that every pixel of a small picture is a square of one size. */
  const scale = () => {
    for (const place of pictures) {
      const image = place.querySelector('img');
      if (!image) continue;
      const ratio = window.devicePixelRatio || 1;
      const style = getComputedStyle(pairPlace);
      const gap = Number.parseFloat(style.columnGap) || 0;
      const across = ((pairPlace.clientWidth - gap) / 2 - 12) * ratio;
      const down = Math.max(160, window.innerHeight * 0.55) * ratio;
      const [width, height] = [image.width0, image.height0];
      const factor = Math.min(across / width, down / height);
      const most = Math.max(1, (largest * ratio) / Math.max(width, height));
      const whole = factor >= 1 ? Math.floor(Math.min(factor, most)) : factor;
      image.style.width = `${(width * whole) / ratio}px`;
      image.style.height = `${(height * whole) / ratio}px`;
      image.classList.toggle('small', whole > 1);
    }
  };

  const draw = () => {
    const { state, outbox } = store;
    if (!state) return;
    const pair = currentPair();
    const counted = countedNow();
    progress.max = state.of;
    progress.value = Math.min(counted, state.of);
    const text = `${counted} of ${state.of} votes${state.skipped > 0 ? `, ${state.skipped} skipped` : ''}`;
    const done = counted >= state.of ? ': enough, but each more helps' : '';
    if (count.textContent !== text + done) count.textContent = text + done;
    for (const each of [...pictures, ...choices]) each.disabled = pair === undefined;
    back.disabled = !canUndo();
    waiting.hidden = pair !== undefined;
    waiting.textContent = state.problem
      ? `No pictures: ${state.problem}`
      : ['none', 'done', 'stopped', 'failed'].includes(state.lesson.status)
        ? 'Pictures are being drawn …'
        : 'More pictures are drawn when the training ends.';
    document.body.dataset.sent = String(outbox.length === 0);
    const isSame = pair?.id === view.id;
    if (isSame && !(view.isBroken && store.connected)) return;
    view.isBroken = false;
    if (!isSame) view.since = performance.now();
    view.id = pair?.id;
    prompt.textContent = pair?.prompt ?? '';
    panel.dataset.pair = pair?.id ?? '';
    const wanted = upcoming().flatMap((each) => each.pictures.map(imageOf));
    for (const [source, image] of ahead) if (!wanted.includes(image)) ahead.delete(source);
    for (const i of [0, 1]) {
      const picture = pair?.pictures[i];
      if (!picture) {
        replace(pictures[i]);
        continue;
      }
      const image = imageOf(picture);
      image.alt = ''; // the button is called by it
      image.width0 = picture.width;
      image.height0 = picture.height;
      replace(pictures[i], image);
    }
    scale();
  };

  document.addEventListener('keydown', (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    // A control that has the focus keeps its own keys: space and return press it.
    const isControl = event.target.closest?.('button, a, input, select, summary, dialog') !== null;
    const way = ways.find((each) => each.key === event.key || each.key === event.key.toLowerCase());
    const isUndo = event.key.toLowerCase() === 'u';
    if ((!way && !isUndo) || (isControl && event.key === ' ')) return;
    event.preventDefault();
    if (isUndo) undo();
    else choose(way.choice);
  });
  window.addEventListener('resize', scale);
  onChange(draw);
}
