/** Table 3: what a checker that no run is trained on reads in the pictures, by category. */
import type { TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, standard } from '../methods.js';
import { rewardAfter } from '../quantities.js';
import { checkerParts, equalMargin } from '../recipe.js';

const titles = { 'scene-checker-color': 'colour', 'scene-checker-shape': 'shape', 'scene-checker-ground': 'ground' };

export const table3: TrainingExperiment = {
  kind: 'training',
  name: 'table3',
  paper: 'table 3',
  title: 'Do pictures still show what the caption says',
  about:
    'The share of held-out pictures in which image analysis reads the colour, the shape and the ground of the caption, as GenEval does by categories. The reward that was trained on is a preference and has not seen the checker.',
  baseline: flowGrpo.name,
  base: true,
  methods: [flowGrpo, flash, standard],
  columns: [
    rewardAfter('scene-checker', { title: 'all three' }),
    ...checkerParts.map((reward) => rewardAfter(reward, { title: titles[reward] })),
  ],
  figures: [],
  claims: [flash, standard].flatMap((method) =>
    ['scene-checker' as const, ...checkerParts].map((reward) => ({
      says: `${method.label.split(',')[0]} keeps ${reward === 'scene-checker' ? 'alignment' : `the ${titles[reward]}`} as well as the full group.`,
      of: method.name,
      over: flowGrpo.name,
      quantity: rewardAfter(reward),
      margin: equalMargin,
    })),
  ),
};
