/** A plan as lines for a person. */
import { formatBytes } from '../../../engine/errors.js';
import type { LossKind, RunConfig } from '../../config.js';
import { type GroupCalls, rowCostOf, trainingCalls } from '../../cost.js';
import { formatConfig } from '../../finetune/config/format.js';
import type { PlanReport } from '../../finetune/plan/plan.js';
import { isForward } from '../../learning/losses.js';
import { pruneSteps, sizesOf, stagesOf } from '../../rollout/stages.js';
import type { Part, PartSeconds } from '../../workers/forecast.js';
import type { WorkersPlan } from '../../workers/plan.js';

/** A plan, and what it is with workers where that was asked for. */
export type ShownPlan = PlanReport & { readonly workers?: WorkersPlan };

/** The resolved configuration as YAML, then what it means. */
export function formatPlan(report: ShownPlan): string {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['funnel', funnelLines(report)],
    ['cost', costLines(report)],
    ['paper', paperLines(report)],
    ['memory', memoryLines(report)],
    ['time', timeLines(report)],
    ['workers', report.workers ? workersLines(report.workers) : []],
  ];
  const lines = sections.flatMap(([label, texts]) =>
    texts.map((text, i) => `${(i === 0 ? label : '').padEnd(8)} ${text}`.trimEnd()),
  );
  return `${formatConfig(report.config)}\n${lines.join('\n')}`;
}

const row = (name: string, values: readonly string[]): string =>
  `${name.padEnd(16)}${values.map((value) => value.padStart(12)).join('')}`;

function funnelLines({ config, group, full, groupsPerUpdate: groups, updates }: PlanReport): string[] {
  const stages = stagesOf(config);
  const [sizes, at] = [sizesOf(stages), pruneSteps(stages)];
  const { steps } = config.sampler;
  const when = at.length > 0 ? `at steps ${at.join(', ')} of ${steps}` : `after ${steps} steps`;
  const counted: readonly (readonly [string, (calls: GroupCalls) => number])[] = [
    ['network calls', ({ network }) => network],
    ['previews', ({ previews }) => previews],
    ['final pictures', ({ finals }) => finals],
    [`trained ${rowName(config.grpo.loss)}s`, ({ trained }) => trained],
  ];
  return [
    sizes.length === 1
      ? `${sizes[0]} of ${steps} steps, none pruned`
      : `${sizes.join(' -> ')} ${when} (${config.grpo.prune})`,
    row('', ['a group', 'full group', 'an update', 'the run']),
    ...counted.map(([name, of]) => {
      const values = [of(group), of(full), groups * of(group), updates * groups * of(group)];
      return row(name, values.map(grouped));
    }),
    `${groups} groups an update, ${updates} updates, ${group.survivors} of ${full.survivors} trajectories trained`,
  ];
}

function costLines({ config, update, callRatio }: PlanReport): string[] {
  const trained = trainedText(config);
  const pruned = sizesOf(stagesOf(config)).length > 1;
  if (!update)
    return pruned
      ? [`${callRatio.toFixed(3)}x fewer network calls than the full group, training included; ${trained}`]
      : [trained];
  const { costs, total, baseline, ratio, source } = update;
  const whence = source === 'given' ? 'given' : "counted, without the reward's network";
  return [
    `${flops(total)} an update${pruned ? `, ${flops(baseline)} for the full group: ${ratio.toFixed(3)}x less` : ''}`,
    `${flops(costs.network)} a call, ${flops(costs.decode)} a decode (${whence}); ${trained}`,
  ];
}

/** What is trained of a survivor: steps of its path, or rows of the forward process. */
const rowName = (loss: LossKind): string => (isForward(loss) ? 'row' : 'step');

/** What one of them costs in network calls of sampling. */
function trainedText({ sampler, grpo }: RunConfig): string {
  const cost = rowCostOf({ sampler, grpo });
  const calls = trainingCalls(cost);
  const parts = [
    'forward, backward twice',
    ...(cost.reference ? ['reference'] : []),
    ...(cost.forward?.kept ? ['kept prediction'] : []),
    ...((cost.forward?.call ?? 1) < 1 ? ['all without guidance'] : []),
  ];
  return `a trained ${rowName(grpo.loss)} is ${countNames[calls] ?? calls} calls: ${parts.join(', ')}`;
}

const countNames: Readonly<Record<number, string>> = { 2: 'two', 3: 'three', 4: 'four', 5: 'five' };

function paperLines({ paper }: PlanReport): string[] {
  if (!paper) return [];
  const { groups, costs, total, baseline, ratio } = paper;
  const printed = 2 - total / baseline; // 1 + (1 - total / baseline)
  return [
    `${total.toFixed(2)} TFLOP by the count of its table 4; Flow-GRPO with 24: ${baseline.toFixed(2)}; ratio ${ratio.toFixed(3)}x`,
    `${groups} groups, every step trained, ${costs.network} TFLOP a call, ${costs.decode} a decode. Its speed-ups are 1 + saving: ${printed.toFixed(2)}x`,
  ];
}

function memoryLines({ memory, probe }: PlanReport): string[] {
  const line = (part: string, bytes: number): string => `${part.padEnd(20)}${formatBytes(bytes).padStart(10)}`;
  const kept = memory ?? [];
  const together = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    ...kept.map(({ part, bytes }) => line(part, bytes)),
    ...(memory && !probe
      ? [`${line('together', together)}  without activations and rewards (--probe measures them)`]
      : []),
    ...(probe
      ? [
          `${line('measured', probe.memory.model + probe.memory.training)}  on ${probe.device}, without rewards:`,
          `${formatBytes(probe.memory.model)} the model, ${formatBytes(probe.memory.training)} training with its activations`,
        ]
      : []),
  ];
}

function timeLines({ config, probe, updates, secondsPerUpdate }: PlanReport): string[] {
  if (!probe || secondsPerUpdate === undefined) return [];
  const { call, decode, trained } = probe.seconds;
  const ms = (seconds: number): string => `${rounded(1000 * seconds)} ms`;
  return [
    `${duration(secondsPerUpdate)} an update, ${duration(updates * secondsPerUpdate)} for ${updates}, without rewards`,
    `${ms(call)} a call, ${ms(decode)} a decode, ${ms(trained)} a trained ${rowName(config.grpo.loss)}`,
  ];
}

function workersLines({ workers, shards, rounds, used, gigabits, bytes, moveSeconds, update }: WorkersPlan): string[] {
  const busy = `${(100 * used).toFixed(0)} % of the workers' time is used`;
  return [
    `${several(shards, 'shard')} among ${several(workers, 'worker')}: ${several(rounds, 'round')}, ${busy}`,
    ...(bytes && moveSeconds !== undefined
      ? [
          `${formatBytes(bytes.in)} an update into Redis, ${formatBytes(bytes.out)} out: weights of ${formatBytes(bytes.weights)}, a sum of ${formatBytes(bytes.sum)} for each shard`,
          `${duration(moveSeconds)} in which they move at ${gigabits} Gbit/s`,
        ]
      : []),
    ...(update
      ? [
          `${duration(update.total)} an update, ${update.speedup.toFixed(2)} times the pace of one worker, without rewards:`,
          `${partsText(update.seconds)}; most of it is ${partNames[update.limit]}`,
        ]
      : []),
  ];
}

const partNames: Readonly<Record<Part, string>> = {
  work: 'drawing and learning',
  move: 'moving',
  add: 'adding',
  step: 'the step',
};

const partsText = (seconds: PartSeconds): string =>
  (Object.keys(partNames) as Part[]).map((part) => `${partNames[part]} ${duration(seconds[part])}`).join(', ');

const several = (count: number, name: string): string => `${grouped(count)} ${name}${count === 1 ? '' : 's'}`;

const grouped = (value: number): string => value.toLocaleString('en-US');

/** Four significant digits; whole numbers from 1000 on. */
const rounded = (value: number): string =>
  value >= 1000 ? grouped(Math.round(value)) : String(Number(value.toPrecision(4)));

/** Arithmetic given in TFLOP. */
function flops(tera: number): string {
  const [factor, unit] = tera >= 1 || tera === 0 ? [1, 'TFLOP'] : tera >= 1e-3 ? [1e3, 'GFLOP'] : [1e6, 'MFLOP'];
  return `${rounded(factor * tera)} ${unit}`;
}

function duration(seconds: number): string {
  if (seconds < 0.1) return `${rounded(1000 * seconds)} ms`;
  if (seconds < 120) return `${seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
