import { homedir } from 'node:os';
import { join } from 'node:path';

/** The user's folder for what can be fetched or measured again. */
export const cacheFolder = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'winnow');
