/** The page on which somebody rates pictures. */
import { mountChoice } from './choice.js';
import { onChange, start, store } from './store.js';
import { mountTaste } from './taste.js';
import { mountTraining } from './training.js';

const byId = (id) => document.getElementById(id);

mountChoice(byId('choice'));
mountTaste(byId('taste'));
mountTraining(byId('training'));
onChange(() => {
  const { state, connected } = store;
  byId('connection').textContent = connected ? '' : 'no connection; trying again';
  if (!state) return;
  byId('what').textContent = `pictures of ${state.model}, votes in ${state.folder}`;
  document.title = `${state.counted}/${state.of} winnow rate`;
});
start().then(
  () => {
    document.body.dataset.ready = 'true';
  },
  (error) => {
    byId('connection').textContent = `The page could not start: ${error.message}`;
  },
);
