/** A tiny run in a process of its own, as `winnow train` runs it, which tells its phases: `config out name updates [resume]`. */
import { catchInterrupts } from '../../grpo/cli/interrupts.js';
import { exitCodeOf } from '../../grpo/finetune/exit_codes.js';
import { runConfig } from '../../grpo/finetune/run/run_config.js';

const [config, out, name, updates, resume] = process.argv.slice(process.argv.indexOf('--run') + 1) as string[];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const interruption = catchInterrupts(() => say('interrupted'));
let phase = '';
const enter = (next: string): void => {
  if (next !== phase) say(`phase ${next}`);
  phase = next;
};
try {
  const common = { signal: interruption.signal, progress: true, updates: Number(updates) };
  const options = resume === 'resume' ? { ...common, resume: `${out}/${name}` } : { ...common, config, out, name };
  for await (const event of runConfig(options)) {
    if (event.kind === 'loading') enter('loading');
    if (event.kind === 'progress') enter(event.at.phase);
    if (event.kind === 'update') enter('saving'); // what comes next
    if (event.kind === 'checkpoint') say(`saved ${event.update}`);
    if (event.kind === 'evaluation' && event.update > 0) enter('reporting');
    if (event.kind === 'warning') say(`! ${event.message}`);
    if (event.kind === 'done') say('done');
  }
} catch (error) {
  say(`error ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = exitCodeOf(error);
} finally {
  interruption.release();
}
process.exit(); // a device that is still open does not keep it
