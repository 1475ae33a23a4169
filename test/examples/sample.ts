import { loadModel } from 'winnow';

const [picture] = await (await loadModel('scenes-flow')).sample('a red circle', { steps: 20, seed: 1 });
await picture!.save('circle.png');
