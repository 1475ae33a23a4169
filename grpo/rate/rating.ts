/** A rating: votes as they come, the pairs that wait, what the votes have taught, and the training by it. */
import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import { writeWhole } from '../../engine/files.js';
import { UsageError } from '../finetune/errors.js';
import { appendVote, pictureFile, readVotes, undoVote, type Vote, votesName } from '../finetune/taste/votes.js';
import { isOver, type Lesson, type LessonOptions, type RunningLesson, startLesson } from './lessons.js';
import { type Drawn, PairQueue, votedPair } from './pairs.js';
import type { Source } from './source.js';
import type { GivenVote, RatingState } from './state.js';
import type { ShownTaste, TasteFitting } from './taste.js';
import { inTurn } from './turns.js';

/** Votes from which on pairs are those that the taste is least sure of. */
export const votesBeforeChoosing = 20;

/** Votes between two fits, and before the first. */
const votesBetweenFits = 5;
const votesBeforeFitting = 10;

/** Pictures of a prompt of which two are chosen. */
const candidates = 6;

/** Pairs that a page is told of, so that its pictures are there when it needs them. */
const pairsShown = 4;

/** Votes that can be taken back one after another. */
const votesRecent = 20;

export interface RatingOptions {
  readonly source: Source;
  /** Where votes and pictures go. */
  readonly folder: string;
  /** Votes that are wanted. */
  readonly pairs: number;
  readonly seed: number;
  readonly taste: TasteFitting | undefined;
  /** Draws `n` pictures of each prompt, from this seed on. */
  readonly draw: (prompts: readonly string[], n: number, seed: number) => Promise<readonly Drawn[]>;
  /** Frees the memory that drawing takes, before a training. */
  readonly rest: () => void;
  /** How a training is made besides its rewards. */
  readonly lesson: Omit<LessonOptions, 'changed' | 'config' | 'from'>;
  readonly warn: (message: string) => void;
}

const noLesson: Lesson = { status: 'none', update: 0, of: 0, grids: [] };

export class Rating {
  private readonly queue: PairQueue;
  private readonly server = randomBytes(8).toString('hex');
  private readonly listeners = new Set<(state: RatingState) => void>();
  private readonly writing = inTurn(); // votes and undos
  private readonly computing = inTurn(); // what needs the device
  private version = 0;
  private taste: ShownTaste | undefined;
  private fittedAt = -1;
  private fitting = false;
  private lesson: Lesson = noLesson;
  private running: RunningLesson | undefined;
  private problem: string | undefined;
  private isClosed = false;

  private constructor(
    private readonly options: RatingOptions,
    /** Those that count, in their order. */
    private readonly votes: Vote[],
  ) {
    const { source, seed, taste, draw } = options;
    this.queue = new PairQueue({
      prompts: source.prompts,
      seed,
      first: votes.length,
      ahead: source.embedded ? 12 : 3,
      together: source.embedded ? 4 : 1,
      candidates: () => (this.taste && taste && this.counted >= votesBeforeChoosing ? candidates : 2),
      choose: (pictures, number) => this.computing(() => taste!.nextPair(pictures, number)), // there is one, as candidates() says
      draw: (prompts, n, from) => this.computing(() => draw(prompts, n, from)),
      changed: (error) => {
        if (error === undefined) this.problem = undefined; // there are pictures again
        this.changed(error);
      },
    });
  }

  /** Goes on with the votes of a folder. Throws a UsageError for votes on another model, and whatever readVotes() throws. */
  static async open(options: RatingOptions): Promise<Rating> {
    const { folder, source, warn } = options;
    const { votes } = await readVotes(folder, { warn });
    const other = votes.find(({ model }) => model !== source.model);
    if (other)
      throw new UsageError(
        `${join(folder, votesName)} has votes on pictures of ${other.model}, expected those of ${source.model}: give another folder with --out`,
      );
    const rating = new Rating(options, [...votes]);
    rating.fitWhenDue();
    rating.queue.fill();
    return rating;
  }

  get state(): RatingState {
    const { source, folder, pairs, taste } = this.options;
    const { run, ...lesson } = this.lesson;
    return {
      server: this.server,
      version: this.version,
      model: source.given,
      folder,
      pairs: this.queue.pairs.slice(0, pairsShown).map(({ id, prompt, pictures }) => ({
        id,
        prompt,
        pictures: pictures.map(({ png, ...picture }) => picture),
      })),
      counted: this.counted,
      of: pairs,
      skipped: this.votes.length - this.counted,
      recent: this.votes.slice(-votesRecent).map(({ id }) => id),
      taste: this.taste,
      fitting: this.fitting,
      trains: taste !== undefined && source.config !== undefined,
      lesson: { ...lesson, ...(run !== undefined && { run: basename(run) }) },
      problem: this.problem,
    };
  }

  /** The folder of the run that is trained, or was last. */
  get run(): string | undefined {
    return this.lesson.run;
  }

  /** The file of a picture that waits to be chosen from. */
  picture(sha256: string): Uint8Array | undefined {
    const shown = this.queue.pairs.flatMap(({ pictures }) => pictures);
    return shown.find((picture) => picture.sha256 === sha256)?.png;
  }

  /** Calls a listener with every new state; returns how to end that. */
  onChange(listener: (state: RatingState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Writes a vote, and its pictures before it. One that is there already is not counted again. Returns whether it counts: not
   * for a pair that nobody was shown.
   */
  vote({ pair: id, pictures: hashes, choice, seconds }: GivenVote): Promise<boolean> {
    return this.writing(async () => {
      if (this.votes.some((vote) => vote.id === id)) return true;
      const pair = await this.queue.findSoon(id, hashes);
      if (!pair) return false;
      const { folder, source } = this.options;
      for (const { sha256, png } of pair.pictures) await writeWhole(join(folder, pictureFile(sha256)), png);
      const [left, right] = pair.pictures.map(({ sha256, seed }) => ({ sha256, seed, file: pictureFile(sha256) }));
      const { model, update } = source;
      const vote: Vote = {
        id,
        prompt: pair.prompt,
        pictures: [left!, right!],
        choice,
        seconds,
        model,
        ...(update !== undefined && { update }),
      };
      await appendVote(folder, vote);
      this.votes.push(vote);
      this.queue.take(pair);
      this.fitWhenDue();
      this.changed();
      return true;
    });
  }

  /** Takes the last vote back, and shows its pair again. Returns whether it was the last: of another nothing is done. */
  undo(id: string): Promise<boolean> {
    return this.writing(async () => {
      const vote = this.votes.at(-1);
      if (vote?.id !== id) return false;
      await undoVote(this.options.folder, id);
      this.votes.pop();
      const pair = await votedPair(this.options.folder, vote);
      if (pair) this.queue.putBack(pair);
      this.changed();
      return true;
    });
  }

  /**
   * Starts a training by the votes, if none goes on. Refuses, with a sentence, where they do not agree with one another, unless
   * `anyway`.
   */
  async train({ anyway = false }: { readonly anyway?: boolean } = {}): Promise<string | undefined> {
    const { taste, source, folder, lesson } = this.options;
    if (!taste || source.config === undefined)
      return `${source.given} has no configuration to train by: winnow train CONFIG --taste ${folder}`;
    if (!isOver(this.lesson.status)) return 'a training goes on already';
    this.teach({ ...noLesson, status: 'fitting' });
    try {
      await this.queue.hold();
      const fitted = await this.fit({ write: true });
      if (!fitted.agrees && !anyway) {
        this.queue.release();
        this.teach(noLesson);
        return fitted.sentence;
      }
      const set = [...(lesson.set ?? []), ...(await taste.rewards(folder, { force: anyway }))];
      await this.computing(async () => this.rest());
      if (this.isClosed) return 'this program ends';
      await this.running?.close();
      const { config, run } = source;
      this.running = startLesson({ ...lesson, set, config, from: run, changed: (now) => this.teach(now) });
      void this.running.ended.then(() => this.isClosed || this.queue.release());
      return undefined;
    } catch (error) {
      this.queue.release();
      const message = messageOf(error);
      this.teach({ ...noLesson, status: 'failed', message });
      return message;
    }
  }

  /** Ends the training in good order. */
  stop(): void {
    this.running?.stop();
  }

  /** Ends everything in good order: what is drawn or trained is waited for. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.listeners.clear();
    await this.queue.hold();
    this.running?.stop();
    await this.running?.ended;
    await this.running?.close();
    await this.writing(async () => {});
    await this.computing(async () => this.rest());
  }

  /** Frees what drawing and fitting hold on the GPU. */
  private rest(): void {
    this.options.rest();
    this.options.taste?.rest();
  }

  private get counted(): number {
    return this.votes.filter(({ choice }) => choice !== 'skip').length;
  }

  private teach(lesson: Lesson): void {
    this.lesson = lesson;
    this.changed();
  }

  private changed(error?: unknown): void {
    this.problem = error === undefined ? this.problem : messageOf(error);
    this.version++;
    const { state } = this;
    for (const listener of this.listeners) listener(state);
  }

  /** Fits the taste where there are enough votes that it does not know, in the background. */
  private fitWhenDue(): void {
    const { counted } = this;
    const due = counted >= votesBeforeFitting && Math.abs(counted - this.fittedAt) >= votesBetweenFits;
    if (!this.options.taste || this.fitting || !due || !isOver(this.lesson.status)) return;
    this.fit({ write: false }).catch((error: unknown) => this.changed(error));
  }

  private async fit({ write }: { readonly write: boolean }): Promise<ShownTaste> {
    const { taste, folder } = this.options;
    this.fitting = true;
    this.fittedAt = this.counted;
    this.changed();
    try {
      const fitted = await this.computing(() => taste!.fit(folder, { write })); // asked for where there is one
      this.taste = fitted;
      return fitted;
    } finally {
      this.fitting = false;
      this.changed();
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
