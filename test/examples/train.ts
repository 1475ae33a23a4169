import { loadModel, type RewardImage, train } from 'winnow';

const model = await loadModel('scenes-flow', { lora: { rank: 8 } });
const prompts = ['a red circle on blue', 'a green square on white', 'a yellow triangle on black'];
const redness = (images: readonly RewardImage[]) => images.map(({ rgb }) => meanRed(rgb));

for await (const event of train({
  model,
  prompts,
  rewards: { redness },
  preset: 'scenes-flow',
  updates: 20,
  out: 'runs/red',
}))
  if (event.kind === 'update') console.log(event.update, event.reward.mean);
await model.save('red-lora', { format: 'diffusers' });

/** Red over green and blue, averaged over a picture, from -255 to 255. */
function meanRed(rgb: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < rgb.length; i += 3) sum += rgb[i]! - (rgb[i + 1]! + rgb[i + 2]!) / 2;
  return (3 * sum) / rgb.length;
}
