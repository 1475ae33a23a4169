/** A share of the soak's cases: whatever is typed or put into a folder, file or environment, no command ends as a bug. */
import { expect, test } from 'vitest';
import { soakProperties } from '../../soak/properties.js';

const seed = Number(process.env.PROPERTY_SEED ?? Date.now() % 1e6);
const count = Number(process.env.PROPERTY_COUNT ?? 300);

test('right and wrong command lines, environments, configurations, folders and files end with a status that says whose fault it is', async () => {
  console.log(`cases of PROPERTY_SEED=${seed}`);
  const { cases, failures } = await soakProperties({ count, seed, log: (line) => console.log(line) });
  expect(failures, `PROPERTY_SEED=${seed}`).toEqual([]);
  expect(cases).toBe(count);
}, 300_000);
