/** Cases of softmax and logSoftmax: which axis, and what lies inside it. */
export interface SoftmaxCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
}

export const softmaxCases: readonly SoftmaxCase[] = [
  { name: 'rows in fours', shape: [5, 64], axis: 1 },
  { name: 'odd rows', shape: [4, 3, 37], axis: 2 },
  { name: 'a single element', shape: [1, 1], axis: 1 },
  { name: 'rows longer than a lane takes', shape: [2, 2056], axis: 1 },
  { name: 'columns in fours', shape: [9, 8], axis: 0 },
  { name: 'an odd middle axis', shape: [3, 7, 5], axis: 1 },
];
