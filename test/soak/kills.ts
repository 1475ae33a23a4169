/** SIGKILL at random moments: a run that is killed, resumed, killed and resumed again ends with the same bits. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  differences,
  type Ended,
  outcomeOf,
  randomNumbers,
  runChild,
  type SoakOptions,
  type SoakResult,
  tinyUpdates,
  writeTinyConfig,
} from './soak.js';

/** `count` runs, each killed twice. */
export async function soakKills({ count, seed, folder, log }: SoakOptions): Promise<SoakResult> {
  const random = randomNumbers(seed);
  const config = await writeTinyConfig(folder);
  const train = (name: string, resume: boolean, killAfter?: number): Promise<Ended> => {
    const args = ['--run', config, folder, name, String(tinyUpdates), ...(resume ? ['resume'] : [])];
    let timer: NodeJS.Timeout | undefined;
    return runChild(args, (_, kill) => {
      if (killAfter !== undefined) timer ??= setTimeout(() => kill('SIGKILL'), 1000 * killAfter);
    }).finally(() => clearTimeout(timer));
  };
  const whole = await train('whole', false);
  if (whole.code !== 0) return { cases: 0, failures: [`the run that nobody kills: ${whole.text}`] };
  const expected = await outcomeOf(join(folder, 'whole'));
  const failures: string[] = [];
  let kills = 0;
  for (let i = 0; i < count; i++) {
    const name = `killed-${i}`;
    const run = join(folder, name);
    const moments = [random() * whole.seconds, random() * whole.seconds];
    let ended: Ended | undefined;
    let resume = false;
    for (let attempt = 0; attempt < 6 && ended?.code !== 0; attempt++) {
      ended = await train(name, resume, moments[attempt]);
      if (ended.code === null) kills++;
      // What was killed before its first checkpoint has nothing to go on from, and begins again.
      resume = ended.code === null || ended.code === 0;
      if (ended.code === 6 && /expected a checkpoint|no run: expected/.test(ended.text))
        await rm(run, { recursive: true, force: true });
      else if (ended.code !== null && ended.code !== 0) break;
    }
    const wrong =
      ended?.code === 0
        ? differences(expected, await outcomeOf(run))
        : `ended with ${ended?.code}: ${ended?.text.slice(-500)}`;
    if (wrong) failures.push(`kills at ${moments.map((moment) => moment.toFixed(3)).join(' and ')} s: ${wrong}`);
    await rm(run, { recursive: true, force: true });
    if ((i + 1) % 10 === 0) log(`kills ${i + 1}/${count}, ${failures.length} failures`);
  }
  return { cases: count, failures, figures: { kills } };
}
