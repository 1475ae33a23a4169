/**
 * What workers bring, `npm run bench:workers [blocks] [updates]`: scenes-flow with none, one and two `winnow worker`, each a process on
 * a core of its own with one thread of the driver's, over a redis-server of its own; one after the other and again, so that a
 * busy machine meets all of them. Then what the trainer does alone, and by these times, simulated, the curves to 64 workers.
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
import { measureRound, type Round } from './workers/rounds.js';

const [blocks, updates] = [Number(process.argv[2] ?? 3), Number(process.argv[3] ?? 20)];
const [wanted, cores] = [1.7, [0, 1]];
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

/** Medians of the rounds with so many workers. */
function together(rounds: readonly Round[], workers: number): Omit<Round, 'range' | 'updates'> {
  const own = rounds.filter((round) => round.workers === workers);
  const middle = (value: (round: Round) => number): number => percentile(own.map(value), 0.5);
  return {
    workers,
    seconds: middle(({ seconds }) => seconds),
    draw: middle(({ draw }) => draw),
    learn: middle(({ learn }) => learn),
    move: middle(({ move }) => move),
    rest: middle(({ rest }) => rest),
    bytes: { in: middle(({ bytes }) => bytes.in), out: middle(({ bytes }) => bytes.out) },
    trainer: middle(({ trainer }) => trainer),
  };
}

const ms = (seconds: number): string => `${(1000 * seconds).toFixed(1)} ms`.padStart(10);

function show({ workers, seconds, draw, learn, move, rest, bytes, trainer }: Omit<Round, 'range' | 'updates'>): void {
  const parts = `draw ${ms(draw)}  learn ${ms(learn)}  move ${ms(move)}  rest ${ms(rest)}  trainer's processor ${ms(trainer)}`;
  console.log(`${workers} workers  update ${ms(seconds)}  ${parts}  ${bytes.in} B in, ${bytes.out} B out`);
}

/** Runs that curves are of: this one with 64 groups in 64 shards, and the large one with a shard for each of its 48 groups. */
async function runsOf(one: Pick<Round, 'draw' | 'learn'>, rest: number, small: TrainerPace, big: TrainerPace) {
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

async function measure(url: string, out: string): Promise<void> {
  const connection = await connect({ url });
  const loads = [loadavg()[0]!];
  const rounds: Round[] = [];
  try {
    for (let block = 0; block < blocks; block++)
      for (const workers of block % 2 === 0 ? [1, 2, 0] : [0, 2, 1]) {
        const round = await measureRound({ workers, cores, updates, url, redis: connection.redis, out });
        rounds.push(round);
        loads.push(loadavg()[0]!);
        show(round);
      }
  } finally {
    connection.close();
  }
  const medians = [0, 1, 2].map((workers) => together(rounds, workers));
  const of = (workers: number, block: number): number =>
    rounds.filter((round) => round.workers === workers)[block]!.seconds;
  const ratios = Array.from({ length: blocks }, (_, block) => of(1, block) / of(2, block));
  const speedup = percentile(ratios, 0.5);
  for (const each of medians) show(each);
  console.log(`two workers are ${speedup.toFixed(2)} times as fast as one, expected at least ${wanted}`);

  const { learned } = await plan(await loadConfig('scenes-flow'));
  const [small, big] = [
    await trainerPace(url, Math.round(learned! / 1000)),
    await trainerPace(url, large.thousands),
  ] as const;
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
    /** Before all, and after each round. */
    loads,
    measured: { speedup, ratios, wanted, medians, rounds, trainer: { small, large: big } },
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
try {
  await Promise.race([
    wait(1000),
    over.then(() => {
      throw new Error('bench: redis-server ended; it has to be installed');
    }),
  ]);
  await measure(`redis://127.0.0.1:${port}`, work);
} finally {
  server.kill();
  await over;
  await rm(work, { recursive: true, force: true });
}
