/** SIGINT and SIGTERM in each phase of a run, once and twice. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  differences,
  outcomeOf,
  runChild,
  type SoakOptions,
  type SoakResult,
  tinyUpdates,
  writeTinyConfig,
} from './soak.js';

const phases = ['loading', 'drawing', 'evaluating', 'sampling', 'scoring', 'training', 'saving', 'reporting'] as const;
const statuses = { SIGINT: 130, SIGTERM: 143 } as const;

/** Seconds within which a second signal must end a process. */
const patience = 2;

/** `count` of the cases, in turn: each phase, signal, once and twice. A run that was ended goes on to the same bits. */
export async function soakSignals({ count, folder, log }: SoakOptions): Promise<SoakResult> {
  const config = await writeTinyConfig(folder);
  const args = (name: string, ...more: string[]): string[] => [
    '--run',
    config,
    folder,
    name,
    String(tinyUpdates),
    ...more,
  ];
  const whole = await runChild(args('whole'));
  if (whole.code !== 0) return { cases: 0, failures: [`the run that nobody interrupts: ${whole.text}`] };
  const expected = await outcomeOf(join(folder, 'whole'));
  const cases = phases.flatMap((phase) =>
    (['SIGINT', 'SIGTERM'] as const).flatMap((signal) => [1, 2].map((times) => ({ phase, signal, times }))),
  );
  const failures: string[] = [];
  const chosen = cases.slice(0, count);
  for (const [i, { phase, signal, times }] of chosen.entries()) {
    const name = `${phase}-${signal}-${times}`;
    const fail = (what: string): void => void failures.push(`${name}: ${what}`);
    let sent = false;
    let second = 0;
    const { code, text } = await runChild(args(name), (said, kill) => {
      if (sent || !said.includes(`phase ${phase}`)) return;
      sent = true;
      kill(signal);
      if (times === 2)
        setTimeout(() => {
          second = performance.now();
          kill(signal);
        }, 700);
    });
    const since = second ? (performance.now() - second) / 1000 : 0;
    if (!sent) fail(`the phase never came: ${text}`);
    // A run that is all but done may end before the signal is heard.
    const isLate = code === 0 && phase === 'reporting';
    if (code !== statuses[signal] && !isLate) fail(`ended with ${code}: ${text.slice(-500)}`);
    if (since > patience) fail(`took ${since.toFixed(1)} s after the second signal`);
    if (times === 1 && /saved \d/.test(text)) {
      const again = await runChild(args(name, 'resume'));
      const wrong =
        again.code === 0
          ? differences(expected, await outcomeOf(join(folder, name)))
          : `resumed, it ended with ${again.code}: ${again.text.slice(-500)}`;
      if (wrong) fail(wrong);
    }
    await rm(join(folder, name), { recursive: true, force: true });
    if ((i + 1) % 8 === 0) log(`signals ${i + 1}/${chosen.length}, ${failures.length} failures`);
  }
  return { cases: chosen.length, failures };
}
