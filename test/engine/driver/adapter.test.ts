/** What a device does on a machine without a Vulkan driver: the driver's provider and the look for a loader are fakes. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Device } from '../../../engine/device/device.js';
import { NoAdapterError } from '../../../engine/driver/adapter.js';
import type * as vulkan from '../../../engine/driver/vulkan.js';

const provided = vi.hoisted(() => ({ calls: 0, succeeds: false }));

vi.mock('../../../engine/driver/vulkan.js', async (original) => {
  const real = await original<typeof vulkan>();
  const provideVulkan: typeof real.provideVulkan = async (log) => {
    provided.calls++;
    log('providing');
    if (!provided.succeeds) return { ok: false, message: 'nothing worked' };
    return real.lacksVulkanLoader() ? real.provideVulkan(log) : { ok: true, message: 'there is one' };
  };
  return { ...real, lacksVulkanLoader: () => true, provideVulkan };
});

const refusal = async (options: Parameters<typeof Device.create>[0]): Promise<Error> => {
  const made = await Device.create(options).catch((error: Error) => error);
  if (!(made instanceof Error)) {
    made.close();
    throw new Error('there is a device');
  }
  return made;
};

beforeEach(() => {
  provided.calls = 0;
});

describe('without a driver', () => {
  test('nothing is provided unless the program asks for it, and the error says what is missing', async () => {
    for (const options of [undefined, {}, { provideDriver: false, quiet: true }]) {
      const error = await refusal(options);
      expect(error).toBeInstanceOf(NoAdapterError);
      expect(error.message).toMatch(/^no WebGPU adapter\. /);
      if (process.platform === 'linux') {
        expect(error.message).toContain('Linux needs a Vulkan driver');
        expect(error.message).toContain('mesa-vulkan-drivers');
        expect(error.message).toContain('Device.create({ provideDriver: true })');
      }
    }
    expect(provided.calls).toBe(0);
  });

  test('with provideDriver it is tried once, told to the log, and the error says what failed', async () => {
    const lines: string[] = [];
    const error = await refusal({ provideDriver: true, log: (line) => lines.push(line) });
    expect(error).toBeInstanceOf(NoAdapterError);
    expect(error.message).toBe('no WebGPU adapter. nothing worked');
    expect(provided.calls).toBe(1);
    expect(lines).toEqual(['providing']);
  });
});

// Where this machine has a driver, it stands for the one that is provided.
test('a driver that was provided is used', async () => {
  provided.succeeds = true;
  const device = await Device.create({ provideDriver: true, quiet: true, log: () => {} });
  expect(provided.calls).toBe(1);
  device.close();
});
