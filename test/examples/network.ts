import { loadPipeline, openDevice } from 'winnow';
import { tensor, zeros } from 'winnow/engine';

const device = await openDevice();
const { network, encode, latentChannels: c, latentSize: s } = await loadPipeline(device, 'my-model', { kind: 'sd3' });
const [context, pooled] = encode(['a red circle']);
const velocity = network.forward(zeros(device, [1, c, s, s]), tensor(device, [500]), context!, pooled!);
console.log(`${velocity}`, (await velocity.data())[0]);
