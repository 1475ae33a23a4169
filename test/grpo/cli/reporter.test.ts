/** What long commands print, and where: on terminals, into pipes, as JSON. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { catchInterrupts } from '../../../grpo/cli/interrupts.js';
import { Reporter, type ReporterOptions } from '../../../grpo/cli/reporter.js';
import { InterruptedError } from '../../../grpo/finetune/errors.js';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  for (const stream of [process.stdout, process.stderr]) Reflect.deleteProperty(stream, 'isTTY');
});

/** What a reporter writes to each stream, where both are terminals or neither. */
function printed(isTTY: boolean, options: ReporterOptions, body: (reporter: Reporter) => void) {
  const found = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    Object.defineProperty(process[name], 'isTTY', { value: isTTY, configurable: true });
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      found[name] += text;
      return true;
    });
  }
  body(new Reporter(options));
  vi.restoreAllMocks();
  return found;
}

const everything = (reporter: Reporter): void => {
  reporter.fact('model  m');
  reporter.status('live');
  reporter.progress('loading');
  reporter.warn('slow');
  reporter.object({ event: 'x' });
  reporter.result('done  all');
  reporter.hint('next  more');
};

describe('a reporter', () => {
  test('into pipes: facts and results on stdout, the rest on stderr, no control codes, no live line', () => {
    expect(printed(false, {}, everything)).toEqual({
      stdout: 'model  m\ndone  all\n',
      stderr: 'loading\n! slow\nnext  more\n',
    });
  });

  test('on a terminal the live line goes before the next line, and labels are bold unless NO_COLOR forbids', () => {
    vi.stubEnv('NO_COLOR', ''); // as the test's own surroundings may forbid it
    const shown = printed(true, {}, everything);
    expect(shown.stdout).toBe('\x1b[1mmodel\x1b[22m  m\n\x1b[1mdone\x1b[22m  all\n');
    expect(shown.stderr).toBe('\rlive\x1b[K\r\x1b[Kloading\n! slow\n\x1b[1mnext\x1b[22m  more\n');
    vi.stubEnv('NO_COLOR', '1');
    expect(printed(true, {}, everything).stdout).toBe('model  m\ndone  all\n');
  });

  test('--json: objects alone on stdout; --quiet: results alone; warnings always', () => {
    expect(printed(true, { json: true }, everything)).toMatchObject({ stdout: '{"event":"x"}\n', stderr: '! slow\n' });
    const quiet = printed(false, { quiet: true }, everything);
    expect(quiet).toMatchObject({ stdout: 'done  all\n', stderr: '! slow\nnext  more\n' });
  });
});

describe('signals', () => {
  test('the first asks for an end, one at once after it is its echo, a later one ends the process', () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000);
    const onFirst = vi.fn();
    const { signal, release } = catchInterrupts(onFirst);
    try {
      expect(signal.aborted).toBe(false);
      process.emit('SIGINT', 'SIGINT');
      expect(signal.reason).toEqual(new InterruptedError('SIGINT'));
      process.emit('SIGINT', 'SIGINT');
      expect(exit).not.toHaveBeenCalled();
      now.mockReturnValue(2000);
      process.emit('SIGTERM', 'SIGTERM');
      expect(exit.mock.calls).toEqual([[143]]);
      expect(onFirst).toHaveBeenCalledTimes(1);
    } finally {
      release();
    }
  });

  test('released, they are not listened to', () => {
    const before = process.listenerCount('SIGINT');
    const { release } = catchInterrupts(() => {});
    expect(process.listenerCount('SIGINT')).toBe(before + 1);
    release();
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});
