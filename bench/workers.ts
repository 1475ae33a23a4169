/**
 * What workers bring, `npm run bench:workers [turns] [minutes]`: scenes-flow with none, one and two `winnow worker`, each a process on
 * a core of its own with one thread of the driver's, over a redis-server of its own, in turns of some updates so that a busy
 * machine meets all of them. Then what the trainer does alone, and by these times, simulated, the curves to 64 workers.
 * Writes bench/results/workers.json, and ends with status 1 where two workers are not 1.7 times as fast as one.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { writeWhole } from '../engine/files.js';
import { loadConfig } from '../grpo/finetune/config/file.js';
import { plan } from '../grpo/finetune/plan/plan.js';
import { connect } from '../grpo/workers/redis/connection.js';
import { percentile } from './report.js';
import { type Curve, type CurveRun, curveOf } from './workers/curve.js';
import { type TrainerPace, trainerPace } from './workers/pace.js';
import { quiet, untilQuiet } from './workers/processors.js';
import { openSetup, type Setup, type Turn } from './workers/setups.js';

const [wantedTurns, minutes] = [Number(process.argv[2] ?? 8), Number(process.argv[3] ?? 10)];
const updates = 2; // of a turn
const [wanted, cores] = [1.7, [0, 1]];
const patience = 60; // seconds for which a turn waits for a quiet machine
const results = join('bench', 'results', 'workers.json');

/** Stable Diffusion 3.5 Medium's adapter of rank 32: 75 MB. Its arithmetic is planned, its machines' speed is assumed. */
const large = { thousands: 18_750, costs: { network: 3.88, decode: 2.82039 }, teraflops: [100, 20] };

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

/** Turns of a setup, or of all, in which the machine was quiet. */
const calmOf = (turns: readonly Turn[], workers?: number): Turn[] =>
  turns.filter((turn) => turn.others <= quiet && (workers === undefined || turn.workers === workers));

/** Medians of a setup's turns. */
function together(turns: readonly Turn[], workers: number): Turn {
  const own = turns.filter((turn) => turn.workers === workers);
  const middle = (value: (turn: Turn) => number): number => percentile(own.map(value), 0.5);
  return {
    workers,
    seconds: middle(({ seconds }) => seconds),
    draw: middle(({ draw }) => draw),
    learn: middle(({ learn }) => learn),
    move: middle(({ move }) => move),
    rest: middle(({ rest }) => rest),
    bytes: { in: middle(({ bytes }) => bytes.in), out: middle(({ bytes }) => bytes.out) },
    trainer: middle(({ trainer }) => trainer),
    others: middle(({ others }) => others),
  };
}

const ms = (seconds: number): string => `${(1000 * seconds).toFixed(1)} ms`.padStart(10);

function show({ workers, seconds, draw, learn, move, rest, bytes, trainer, others }: Turn): void {
  const parts = `draw ${ms(draw)}  learn ${ms(learn)}  move ${ms(move)}  rest ${ms(rest)}  trainer's processor ${ms(trainer)}`;
  console.log(
    `${workers} workers  update ${ms(seconds)}  ${parts}  ${Math.round(bytes.in)} B in, ${Math.round(bytes.out)} B out  others ${others.toFixed(2)}`,
  );
}

/** Runs that curves are of: this one with 64 groups in 64 shards, and the large one with a shard for each of its 48 groups. */
async function runsOf(one: Pick<Turn, 'draw' | 'learn'>, rest: number, small: TrainerPace, big: TrainerPace) {
  const { learned, groupsPerUpdate } = await plan(await loadConfig('scenes-flow'));
  const { update, groupsPerUpdate: groups } = await plan(await loadConfig('sd35m-flash'), { costs: large.costs });
  const runs: [string, CurveRun][] = [
    [
      'scenes-flow, 64 groups',
      {
        groups: 64,
        shards: 64,
        shardSeconds: (one.draw + one.learn) / groupsPerUpdate,
        weightBytes: 4 * learned!,
        sumBytes: 4 * (learned! + 8),
        addSeconds: small.fetch + small.add,
        stepSeconds: rest,
      },
    ],
    ...large.teraflops.map((teraflops): [string, CurveRun] => [
      `sd35m-flash at ${teraflops} TFLOP/s`,
      {
        groups,
        shards: groups,
        shardSeconds: update!.total / groups / teraflops,
        weightBytes: 4 * big.learned,
        sumBytes: 4 * (big.learned + 8),
        addSeconds: big.fetch + big.add,
        stepSeconds: big.step + big.store,
      },
    ]),
  ];
  return runs;
}

function showCurve({ name, gigabits, adding, points, limit, half }: Curve): void {
  const at = points.map(({ workers, speedup }) => `${workers}: ${speedup.toFixed(1)}`).join('  ');
  const ends = limit ? `${limit.limit} is the longest from ${limit.workers} on` : 'work is the longest throughout';
  console.log(`${name}, ${gigabits} Gbit/s, ${adding}  ${at}  ${ends}; half of each from ${half ?? 'none'} on`);
}

async function measure(url: string, pid: number, out: string): Promise<void> {
  const connection = await connect({ url });
  const loads = [loadavg()[0]!];
  const turns: Turn[] = [];
  const setups: Setup[] = [];
  try {
    const { redis } = connection;
    for (const workers of [0, 1, 2])
      setups.push(await openSetup({ workers, cores, url: `${url}/${workers + 1}`, server: pid, redis, out }));
    const end = performance.now() + 60_000 * minutes;
    const isShort = ({ workers }: Setup): boolean => calmOf(turns, workers).length < wantedTurns;
    for (let block = 0; setups.some(isShort) && performance.now() < end; block++) {
      for (const setup of block % 2 === 0 ? setups : setups.toReversed()) {
        await untilQuiet(patience);
        const turn = await setup.turn(updates);
        turns.push(turn);
        show(turn);
      }
      loads.push(loadavg()[0]!);
    }
  } finally {
    for (const setup of setups) await setup.close();
    connection.close();
  }
  const isCalm = [0, 1, 2].every((workers) => calmOf(turns, workers).length >= 3);
  const counted = isCalm ? calmOf(turns) : turns;
  const medians = [0, 1, 2].map((workers) => together(counted, workers));
  const speedup = medians[1]!.seconds / medians[2]!.seconds;
  if (!isCalm) console.log('the machine was busy: all turns count');
  for (const each of medians) show(each);
  console.log(`two workers are ${speedup.toFixed(2)} times as fast as one, expected at least ${wanted}`);

  const { learned } = await plan(await loadConfig('scenes-flow'));
  await untilQuiet(patience);
  const small = await trainerPace(url, Math.round(learned! / 1000));
  await untilQuiet(patience);
  const big = await trainerPace(url, large.thousands);
  for (const { learned: size, ...parts } of [small, big])
    console.log(
      `${size} values: ${Object.entries(parts)
        .map(([part, each]) => `${part} ${ms(each)}`)
        .join('  ')}`,
    );
  const curves = (await runsOf(medians[1]!, medians[2]!.rest, small, big)).flatMap(([name, run]) =>
    [10, 1].flatMap((gigabits) => (['trainer', 'tree'] as const).map((adding) => curveOf(name, run, gigabits, adding))),
  );
  curves.forEach(showCurve);
  const outcome = {
    date: new Date().toISOString(),
    commit: execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim(),
    node: process.version,
    cpu: cpus()[0]?.model,
    processors: availableParallelism(),
    /** Before all, and after each turn of all. */
    loads,
    measured: { speedup, wanted, counted: counted.length, isCalm, medians, turns, trainer: { small, large: big } },
    simulated: { curves },
  };
  await writeWhole(results, `${JSON.stringify(outcome, null, 1)}\n`);
  if (speedup < wanted) process.exitCode = 1;
}

const work = await mkdtemp(join(tmpdir(), 'winnow-workers-'));
const port = await freePort();
const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
  cwd: work,
  stdio: 'ignore',
});
const over = once(server, 'exit');
process.once('exit', () => server.kill());
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
try {
  await Promise.race([
    wait(1000),
    over.then(() => {
      throw new Error('bench: redis-server ended; it has to be installed');
    }),
  ]);
  await measure(`redis://127.0.0.1:${port}`, server.pid!, work);
} finally {
  server.kill();
  await over;
  await rm(work, { recursive: true, force: true });
}
