import { afterAll, expect, test } from 'vitest';
import { Attention, Initializer, Linear } from '../../../engine/nn/layers.js';
import { disposeModule, loadStateDict, namedParameters, parameters, stateDict } from '../../../engine/nn/module.js';
import { zeros } from '../../../engine/ops/create.js';
import { testDevice } from '../../check.js';

const device = await testDevice();
const make = (seed: number): { attn1: Attention; normOut: Linear } => {
  const init = new Initializer(device, seed);
  return { attn1: Attention.create(init, 8, { heads: 2 }), normOut: Linear.create(init, 8, 3) };
};
const module = make(1);
afterAll(() => disposeModule(module));

test("parameters have PyTorch's names", () => {
  expect([...namedParameters(module).keys()]).toEqual([
    'attn1.to_q.weight',
    'attn1.to_k.weight',
    'attn1.to_v.weight',
    'attn1.to_out.0.weight',
    'attn1.to_out.0.bias',
    'norm_out.weight',
    'norm_out.bias',
  ]);
});

test('a state read from one module makes another equal, and a wrong one changes nothing', async () => {
  const other = make(2);
  const before = await stateDict(other);
  const state = await stateDict(module);
  const { values } = state.get('norm_out.bias')!;
  const wrong = new Map([
    ...state,
    ['norm_out.bias', { shape: [1, 3], values }],
    ['extra', { shape: [1], values: [0] }],
  ]);
  wrong.delete('attn1.to_q.weight');
  expect(() => loadStateDict(other, wrong)).toThrow(
    'loadStateDict: extra is not a parameter of the module; attn1.to_q.weight [8, 8] is missing; norm_out.bias is [1, 3], expected [3]',
  );
  expect(await stateDict(other)).toEqual(before);
  loadStateDict(other, state);
  expect(await stateDict(other)).toEqual(state);
  disposeModule(other);
});

test('a tensor that several fields hold is one parameter', () => {
  const shared = zeros(device, [2]);
  const module = { first: { weight: shared }, second: { weight: shared } };
  expect(parameters(module)).toEqual([shared]);
  expect(namedParameters(module).size).toBe(2);
  shared.dispose();
});
