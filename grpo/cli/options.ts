/** Options that several commands have. */
import { collect, wholeNumber } from './arguments.js';

export const json = ['--json', 'print JSON objects, one a line, and nothing else on stdout'] as const;
export const device = ['--device <name>', "part of an adapter's name"] as const;
export const set = [
  '--set <key=value>',
  'change a key, such as grpo.keep=[24,16,12]; may be given again',
  collect,
] as const;
export const step = [
  '--step <updates>',
  'of a run: the checkpoint after so many updates (default: the last)',
  wholeNumber(0),
] as const;
