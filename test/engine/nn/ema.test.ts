import { expect, test } from 'vitest';
import { EMA, emaDecay } from '../../../engine/nn/ema.js';
import { scope } from '../../../engine/tensor/scope.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { expectClose, random, testDevice, upload } from '../../check.js';
import { readRecorded } from '../../recorded_fixture.js';

const device = await testDevice();

interface Case {
  readonly name: string;
  readonly args: {
    readonly decay: number;
    readonly update_step_interval: number;
    readonly steps: readonly number[];
    readonly init: readonly number[];
    readonly params: readonly (readonly number[])[];
  };
  readonly values: readonly (readonly number[])[];
}
const fixture = readRecorded<{ readonly cases: readonly Case[] }>('grpo/ema', {
  'cases.tol.abs': 'for double precision; averages are f32',
});
const { cases } = fixture.value;

/** Roundings of up to 40 updates of values near 1, which the decay keeps from adding up. */
const relative = 2 ** -20;

for (const { name, args, values } of cases) {
  test(`EMA follows Flow-GRPO's wrapper: ${name}`, async () => {
    const parameter = tensor(device, args.init);
    const ema = new EMA([parameter], { decay: args.decay });
    for (const [k, step] of args.steps.entries()) {
      parameter.write(args.params[k]!);
      if ((step + 1) % args.update_step_interval === 0) {
        ema.decay.write([emaDecay(step, args.decay)]);
        ema.update();
      }
      expectClose(await ema.averages[0]!.data(), values[k]!, relative, `after call ${k}`);
    }
    ema.dispose();
    parameter.dispose();
  });
}

test('the decay warms up', () => {
  expect(emaDecay(0, 0.9)).toBe(0.1);
  expect(emaDecay(10, 0.9)).toBe(11 / 20);
  expect(emaDecay(1000, 0.9)).toBe(0.9);
});

test('swap exchanges parameters and averages, and back; copyTo overwrites', async () => {
  const values = [random([8], 1), random([2, 3], 2)];
  const parameters = values.map((value) => upload(device, value));
  const ema = new EMA(parameters, { decay: 0.5 });
  for (const parameter of parameters) parameter.write(new Float32Array(parameter.size).fill(2));
  ema.update();
  const averages = values.map(({ data }) =>
    [...data].map((value) => Math.fround(value + 0.5 * Math.fround(2 - value))),
  );
  const read = async (): Promise<number[][]> => Promise.all(parameters.map(async (p) => [...(await p.data())]));
  ema.swap();
  expect(await read()).toEqual(averages);
  ema.swap();
  expect(await read()).toEqual([new Array(8).fill(2), new Array(6).fill(2)]);
  ema.copyTo(parameters);
  expect(await read()).toEqual(averages);
  ema.dispose();
  for (const parameter of parameters) parameter.dispose();
});

test('EMA refuses what does not fit', () => {
  scope(device, () => {
    const parameter = tensor(device, [1, 2]);
    expect(() => new EMA([], { decay: 0.9 })).toThrow('EMA: expected at least one parameter');
    expect(() => new EMA([parameter], { decay: 1.5 })).toThrow('EMA: decay must lie between 0 and 1, found 1.5');
    const ema = new EMA([parameter], { decay: 0.9 });
    expect(() => ema.copyTo([])).toThrow('EMA: 0 targets for 1 averages');
    expect(() => ema.copyTo([tensor(device, [1])])).toThrow('EMA: target 0 is [1] f32, its average [2] f32');
  });
});

fixture.done();
