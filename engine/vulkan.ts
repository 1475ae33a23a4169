/** A software Vulkan driver for Linux machines that have none. */
export interface Provided {
  readonly ok: boolean;
  /** What was provided, or why nothing was and what to install. */
  readonly message: string;
}

export async function provideVulkan(_log: (line: string) => void): Promise<Provided> {
  return { ok: false, message: 'Linux needs a Vulkan driver.' };
}
