/** `winnow watch`: the dashboard of runs, live or finished. */
import type { Command } from 'commander';
import { startDashboard, usualPort } from '../../dashboard/index.js';
import { portNumber } from '../arguments.js';
import * as shared from '../options.js';
import { Reporter } from '../reporter.js';
import { serveUntilInterrupted } from '../serve_page.js';

interface WatchOptions {
  readonly port: number;
  readonly host: string;
  readonly token?: string;
  readonly json?: boolean;
}

export function addWatch(program: Command): void {
  program
    .command('watch')
    .description('show runs on a page of this machine; buttons are on the page of `train --dashboard` alone')
    .argument('[runs...]', 'folders or names of runs, or folders of runs (default: runs)')
    .option('--port <port>', 'where to listen, or a free one where it is taken', portNumber, usualPort)
    .option('--host <address>', 'who can reach it; beyond loopback only with --token', '127.0.0.1')
    .option('--token <text>', 'asked of every reader')
    .option('--read-only', 'no buttons: as it always is here')
    .option(...shared.json)
    .action(watch);
}

async function watch(runs: readonly string[], { json = false, ...options }: WatchOptions): Promise<void> {
  const reporter = new Reporter({ json });
  const page = await startDashboard({ runs: runs.length > 0 ? runs : ['runs'], ...options, readOnly: true });
  await serveUntilInterrupted(reporter, page);
}
