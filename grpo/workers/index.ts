/** Many machines, `winnow/workers`: a run whose groups are drawn elsewhere, and what draws them. */
export { openRemoteRun, type RemoteRunOptions } from './trainer/remote_run.js';
export { type ServeOptions, serve } from './worker/serve.js';
export type { ServeEvent } from './worker/serve_events.js';
