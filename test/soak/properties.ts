/**
 * Whatever is typed, or put into a folder, a file or the environment: no command ends as a bug of this program, none crashes,
 * none takes long. Cases are drawn by fast-check from a grammar of right and wrong values, and cut down where they fail.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { exitCodeOf, exitCodes } from '../../grpo/finetune/exit_codes.js';
import { loadModel } from '../../grpo/finetune/model.js';
import { winnow } from '../grpo/cli/output.js';
import { commandLine, environment } from './commands.js';
import { damagedCopy, type Fault, fault } from './folders.js';
import type { SoakOptions, SoakResult } from './soak.js';
import { type Change, change, changed, oddText } from './values.js';
import { createWorld, type ModelKind, modelKinds, type World } from './world.js';

/** One thing that is tried. */
type Case =
  | { readonly kind: 'command'; readonly args: readonly string[]; readonly env: Variables }
  | { readonly kind: 'device'; readonly prompt: string; readonly env: Variables }
  | { readonly kind: 'config'; readonly changes: readonly Change[]; readonly cut: number; readonly command: string }
  | { readonly kind: 'model'; readonly model: ModelKind; readonly faults: readonly Fault[]; readonly draws: boolean }
  | { readonly kind: 'adapter'; readonly adapter: number; readonly faults: readonly Fault[] }
  | { readonly kind: 'prompts'; readonly faults: readonly Fault[] }
  | { readonly kind: 'run'; readonly command: readonly string[]; readonly faults: readonly Fault[] };

type Variables = Readonly<Record<string, string | undefined>>;

/** What a command that would open a device is stopped by, as status 2: everything before it has been looked at then. */
const noDevice = { WINNOW_MEMORY: 'none of it' };

const faults = fc.array(fault, { minLength: 1, maxLength: 2 });

function casesOf({ at, folder }: World): fc.Arbitrary<Case> {
  const names = [
    'config.json',
    'config.yaml',
    'prompts.txt',
    'prompts.jsonl',
    'picture.png',
    'tensor.safetensors',
    'page.html',
    'empty',
    'none',
    'runs',
    'runs/whole',
    'adapter-kohya',
  ];
  const places = { paths: [...names.map((name) => at(name)), 'scenes-flow', 'sd15-lora'], out: join(folder, 'out') };
  const kind = <K extends Case['kind']>(name: K) => fc.constant(name);
  return fc.oneof(
    { weight: 18, arbitrary: fc.record({ kind: kind('command'), args: commandLine(places), env: environment }) },
    {
      weight: 16,
      arbitrary: fc.record({
        kind: kind('config'),
        changes: fc.array(change, { minLength: 1, maxLength: 2 }),
        cut: fc.constantFrom(1, 1, 1, 1, 0.9, 0.5, 0),
        command: fc.constantFrom('plan', 'plan', 'plan', 'train', 'eval', 'inspect', 'sample'),
      }),
    },
    {
      weight: 14,
      arbitrary: fc.record({
        kind: kind('model'),
        model: fc.constantFrom(...modelKinds),
        faults,
        draws: fc.nat(9).map((n) => n === 0),
      }),
    },
    { weight: 5, arbitrary: fc.record({ kind: kind('adapter'), adapter: fc.nat(2), faults }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('prompts'), faults }) },
    {
      weight: 9,
      arbitrary: fc.record({
        kind: kind('run'),
        faults,
        command: fc.constantFrom(
          ['runs', '--out', 'runs'],
          ['report', 'hurt', '--out', 'report.html'],
          ['plan', 'runs/hurt'],
          ['export', 'runs/hurt'],
          ['train', '--resume', 'hurt'],
          ['eval', 'hurt'],
          ['sample', 'hurt', '--prompt', 'a'],
          ['inspect', 'hurt'],
        ),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: kind('device'), prompt: oddText, env: environment }) },
  );
}

/** The exit status of a case. Its text is for the message of a failure. */
async function outcomeOf(world: World, given: Case): Promise<{ readonly status: number; readonly text: string }> {
  const { at } = world;
  const command = async (args: readonly string[], env: Variables = noDevice) => {
    const { status, stderr } = await withVariables(env, () => winnow(...args));
    return { status, text: stderr };
  };
  switch (given.kind) {
    case 'command':
      return command(given.args, { ...given.env, ...noDevice });
    case 'device': {
      // The driver keeps compiled shaders below HOME and XDG_CACHE_HOME: elsewhere it compiles anew for half a minute.
      const { HOME: _, XDG_CACHE_HOME: __, ...env } = given.env;
      const args = ['sample', world.model('sd1'), '--prompt', given.prompt, '--steps', '1', '--out', at('out')];
      return command(args, { ...env, WINNOW_NO_INSTALL: '1' });
    }
    case 'config': {
      const text = JSON.stringify(given.changes.reduce<unknown>(changed, world.config), null, 1) ?? '';
      await writeFile(at('changed.yaml'), text.slice(0, Math.ceil(given.cut * text.length)));
      const more = given.command === 'sample' ? ['--prompt', 'a'] : [];
      return command([given.command, at('changed.yaml'), ...more]);
    }
    case 'model': {
      const hurt = await damagedCopy(world.model(given.model), at('hurt'), given.faults);
      const plan = await command(['plan', at('config.json'), '--set', `model.path=${at('hurt')}`]);
      if (plan.status === exitCodes.bug) return plan;
      return attempt(hurt.join(', '), async () => {
        const model = await loadModel(at('hurt'), { device: world.device, weights: 'f32' });
        try {
          if (given.draws) await model.sample(given.model === 'dit' ? '1' : 'a red circle', { steps: 1 });
        } finally {
          model.close();
        }
      });
    }
    case 'adapter': {
      const hurt = await damagedCopy(world.adapters[given.adapter]!, at('hurt'), given.faults);
      return attempt(hurt.join(', '), async () => {
        (await loadModel(world.model('sd1'), { device: world.device, adapter: at('hurt') })).close();
      });
    }
    case 'prompts': {
      const hurt = await damagedCopy(at('prompts'), at('hurt'), given.faults);
      const outcomes = [];
      for (const name of ['prompts.txt', 'prompts.jsonl'])
        outcomes.push(await command(['sample', world.model('sd1'), '--prompts', at('hurt', name)]));
      const worst = outcomes.find(({ status }) => status === exitCodes.bug) ?? outcomes[0]!;
      return { ...worst, text: `${hurt.join(', ')}: ${worst.text}` };
    }
    case 'run': {
      const hurt = await damagedCopy(at('runs', 'other'), at('runs', 'hurt'), given.faults);
      const found = await command(given.command);
      return { ...found, text: `${hurt.join(', ')}: ${found.text}` };
    }
  }
}

/** Runs `body` with variables of the environment set, or unset where they are undefined. */
async function withVariables<R>(variables: Variables, body: () => Promise<R>): Promise<R> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  const set = (name: string, value: string | undefined): void => {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  };
  for (const [name, value] of Object.entries(variables)) set(name, value);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) set(name, value);
  }
}

/** The status that a program's error would end a command with. */
async function attempt(what: string, body: () => Promise<void>): Promise<{ status: number; text: string }> {
  try {
    await body();
    return { status: exitCodes.done, text: what };
  } catch (error) {
    return { status: exitCodeOf(error), text: `${what}: ${error instanceof Error ? error.stack : String(error)}` };
  }
}

/** Milliseconds that a case may take, and after which the process is given up: then nothing else could end it. */
const [mostTime, hopeless] = [5000, 60_000];

/** Kills this process, with the case on stderr, where one keeps the thread for so long that no timer runs. */
function watch(): { told(text: string): void; end(): Promise<number> } {
  const script = `
    const { parentPort } = require('node:worker_threads');
    const { writeSync } = require('node:fs');
    let timer;
    parentPort.on('message', (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        writeSync(2, 'hangs: ' + text + '\\n');
        process.kill(process.pid, 'SIGKILL');
      }, ${hopeless});
    });`;
  const worker = new Worker(script, { eval: true });
  return { told: (text) => worker.postMessage(text), end: () => worker.terminate() };
}

/** Cases that are drawn by one seed: each such part has one failure at the most, cut down. */
const part = 100;

/** Tries so many cases and says which of them ended as a bug, crashed or took too long. */
export async function soakProperties({ count, seed, log }: Omit<SoakOptions, 'folder'>): Promise<SoakResult> {
  const world = await createWorld();
  const start = process.cwd();
  const watcher = watch();
  process.chdir(world.folder);
  const failures: string[] = [];
  const strays: unknown[] = [];
  const stray = (error: unknown): void => void strays.push(error);
  process.on('unhandledRejection', stray).on('uncaughtException', stray);
  let cases = 0;
  try {
    const property = fc.asyncProperty(casesOf(world), async (given) => {
      watcher.told(JSON.stringify(given));
      const [began, cpu] = [performance.now(), process.cpuUsage()];
      const live = world.device.memory().liveBytes;
      const { status, text } = await outcomeOf(world, given);
      const { user, system } = process.cpuUsage(cpu);
      // On a busy machine the clock says little: what the process worked counts, and the watch sees to one that waits.
      const took = Math.min(performance.now() - began, (user + system) / 1000);
      if (status === exitCodes.bug) throw new Error(`ended with status 1: ${text}`);
      if (took > mostTime) throw new Error(`took ${(took / 1000).toFixed(1)} s: ${text}`);
      const [first] = strays.splice(0);
      if (first !== undefined)
        throw new Error(`an error that nobody caught: ${first instanceof Error ? first.stack : first}`);
      const left = world.device.memory().liveBytes - live;
      if (left > 0) throw new Error(`left ${left} bytes on the device: ${text}`);
    });
    for (let done = 0; done < count; done += part) {
      const own = seed + done / part;
      const result = await fc.check(property, { seed: own, numRuns: Math.min(part, count - done) });
      cases += result.numRuns;
      if (result.failed) {
        const { message } = result.errorInstance as Error;
        failures.push(`property seed ${own}: ${message}
  ${JSON.stringify(result.counterexample)}`);
      }
      if (count > part && (done / part) % 10 === 9)
        log(`properties: ${cases} of ${count} cases, ${failures.length} failures`);
    }
  } finally {
    process.off('unhandledRejection', stray).off('uncaughtException', stray);
    process.chdir(start);
    await watcher.end();
    await world.close();
  }
  return { cases, failures };
}
