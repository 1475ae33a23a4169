/** A command that shows a page until it is interrupted. */
import { once } from 'node:events';
import { catchInterrupts } from './interrupts.js';
import type { Reporter } from './reporter.js';

interface ServedPage {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Says where the page is, and closes it in good order at the first SIGINT or SIGTERM. */
export async function serveUntilInterrupted(reporter: Reporter, page: ServedPage): Promise<void> {
  const interruption = catchInterrupts(() => {});
  try {
    reporter.result(`page     ${page.url}`);
    reporter.object({ url: page.url, port: page.port });
    if (!interruption.signal.aborted) await once(interruption.signal, 'abort');
  } finally {
    await page.close();
    interruption.release();
  }
}
