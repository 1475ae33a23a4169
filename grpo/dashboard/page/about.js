/** The run itself: what it is, how its configuration differs from a preset, its log, and buttons where it lives. */
import { absent, duration, el, number, replace } from '../../serve/page/dom.js';
import { get, post } from '../../serve/page/server.js';
import { firstRun, onChange } from './store.js';

const labels = { save: 'save now', sample: 'sample now', stop: 'stop' };

export function mountAbout(panel, session, isLive) {
  const facts = el('dl', { className: 'facts' });
  const changes = el('div', {});
  const log = el('pre', { className: 'log', tabIndex: 0, role: 'log', 'aria-label': 'The end of the log' });
  const answer = el('p', { role: 'status', className: 'soft' });
  const press = async (action) => {
    if (action === 'stop' && !confirm('End the run after the group at hand, with a checkpoint?')) return;
    const response = await post(session, ['runs', firstRun().id, action]);
    const said = {
      save: 'A checkpoint is written after the update at hand.',
      sample: 'Samples are drawn after the update at hand.',
      stop: 'The run ends after the group at hand.',
    };
    answer.textContent = response?.ok
      ? said[action]
      : `Not done: ${response ? await response.text() : 'no connection'}`;
  };
  const buttons = el(
    'div',
    { className: 'tools', hidden: true },
    ...session.actions.map((action) =>
      el('button', { type: 'button', data: { action }, on: { click: () => press(action) } }, labels[action]),
    ),
    answer,
  );
  replace(
    panel,
    panel.querySelector('h2'),
    buttons,
    el('div', { className: 'about' }, el('div', {}, facts, changes), el('div', {}, el('h3', {}, 'log'), log)),
  );
  const draw = () => {
    const run = firstRun();
    if (!run) return;
    const { info, config, log: lines } = run.summary;
    buttons.hidden = session.actions.length === 0 || info?.status !== 'running' || !isLive(run.id);
    replace(facts, ...factsOf(run).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
    replace(changes, ...changesOf(config));
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    const text = lines.join('\n');
    if (log.textContent === text) return;
    log.textContent = text || 'The log is empty.';
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  onChange((what) => {
    if (what === 'summary' || what === 'run') draw();
  });
}

function factsOf({ summary: { info, folder }, columns }) {
  if (!info) return [['folder', folder]];
  const { model, totals, seconds, updates, of, versions, platform, adapter, git, exit, started } = info;
  const memory = columns['memory/peak']?.at(-1);
  return [
    ['folder', folder],
    ['model', `${model.path}, ${model.kind}, ${number(model.trainable)} of ${number(model.parameters)} values learn`],
    ['device', adapter],
    ['memory', memory ? `${number(memory / 1e6)} MB` : 'not recorded'],
    ['began', started.replace('T', ' ').slice(0, 16)],
    ['done', `${updates} of ${of} updates in ${duration(seconds)}`],
    [
      'work',
      `${number(totals.calls)} network calls, ${number(totals.decodes)} pictures decoded, ${number(totals.trained)} steps trained`,
    ],
    [
      'versions',
      `winnow ${versions.winnow}, Node ${versions.node}, ${platform}${git ? `, commit ${git.slice(0, 10)}` : ''}`,
    ],
    ...(exit ? [['ended', exit.reason]] : []),
  ];
}

function changesOf(config) {
  const title = el('h3', {}, 'configuration');
  if (!config) return [title, absent('config.yaml is not there, or can not be read.')];
  const { preset, changes } = config;
  if (changes.length === 0) return [title, el('p', {}, `the preset ${preset}, unchanged`)];
  const head = ['key', preset, 'this run'].map((text) => el('th', { scope: 'col' }, text));
  const rows = changes.map(({ key, preset: usual, run }) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, key),
      el('td', {}, usual ?? '–'),
      el('td', {}, el('strong', {}, run ?? '–')),
    ),
  );
  return [
    title,
    el('p', { className: 'soft' }, `as the preset ${preset}, but for`),
    el(
      'div',
      { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'changes to the preset' },
      el('table', {}, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...rows)),
    ),
  ];
}

/** The runs that can be chosen. */
export const fetchRuns = () => get('runs');
