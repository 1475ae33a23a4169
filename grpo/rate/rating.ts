/** A rating: votes as they come, the pairs that wait, what the votes have taught, and the training by it. */

import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import { messageOf } from '../../engine/errors.js';
import { UsageError } from '../finetune/errors.js';
import type { Pause } from '../finetune/run/pause.js';
import { readVotes, undoVote, type Vote, votesName } from '../finetune/taste/votes.js';
import { hashNumbers } from '../random.js';
import { Asking, isPause } from './asking.js';
import { keepVote, votedPair } from './ballot.js';
import { isOver, type Lesson, noLesson, type RunningLesson, startLesson } from './lessons.js';
import type { RatingOptions } from './options.js';
import { type Drawn, LastPictures, PairQueue } from './pairs.js';
import type { GivenVote, RatingState } from './state.js';
import type { ShownTaste } from './taste.js';
import { inTurn } from './turns.js';

/** Votes from which on pairs are those that the taste is least sure of. */
const votesBeforeChoosing = 20;

/** Votes between two fits, and before the first. */
const votesBetweenFits = 5;
const votesBeforeFitting = 10;

/** Pictures of a prompt of which two are chosen. */
const candidates = 6;

/** Pairs that a page is told of, so that its pictures are there when it needs them. */
const pairsShown = 4;

/** Votes that can be taken back one after another. */
const votesRecent = 20;

export class Rating {
  private readonly queue: PairQueue;
  private readonly server = randomBytes(8).toString('hex');
  private readonly last = new LastPictures();
  private readonly listeners = new Set<(state: RatingState) => void>();
  private readonly writing = inTurn(); // votes and undos
  private readonly computing = inTurn(); // what needs the device
  private version = 0;
  private taste: ShownTaste | undefined;
  private fittedAt = -1;
  private fitting = false;
  private lesson: Lesson = noLesson;
  private running: RunningLesson | undefined;
  private asking: Asking | undefined;
  private problem: string | undefined;
  private isClosed = false;

  private constructor(
    private readonly options: RatingOptions,
    /** Those that count, in their order. */
    private readonly votes: Vote[],
  ) {
    this.queue = this.queueOf(options.seed, (prompts, n, from) => this.computing(() => options.draw(prompts, n, from)));
  }

  /** Pairs from this vote on, drawn by `draw`. */
  private queueOf(seed: number, draw: RatingOptions['draw']): PairQueue {
    const { source, taste } = this.options;
    return new PairQueue({
      prompts: source.prompts,
      seed,
      first: this.votes.length,
      ahead: source.embedded ? 12 : 3,
      together: source.embedded ? 4 : 1,
      candidates: () => (this.taste && taste && this.counted >= votesBeforeChoosing ? candidates : 2),
      choose: (pictures, number) => this.computing(() => taste!.nextPair(pictures, number)), // there is one, as candidates() says
      draw,
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
    const { asking } = this;
    return {
      server: this.server,
      version: this.version,
      model: source.given,
      folder,
      pairs: this.shown.pairs.slice(0, pairsShown).map(({ id, prompt, pictures }) => ({
        id,
        prompt,
        pictures: pictures.map(({ png, ...picture }) => picture),
      })),
      counted: this.counted,
      of: pairs,
      skipped: this.votes.length - this.counted,
      recent: this.votes.slice(this.undoable).map(({ id }) => id),
      taste: this.taste,
      fitting: this.fitting,
      trains: taste !== undefined && source.config !== undefined,
      lesson: { ...lesson, ...(run !== undefined && { run: basename(run) }) },
      asking: asking && { votes: asking.votes, of: asking.of, update: asking.update },
      problem: this.problem,
    };
  }

  /** The folder of the run that is trained, or was last. */
  get run(): string | undefined {
    return this.lesson.run;
  }

  /** The file of a picture that waits to be chosen from, or did until lately. */
  picture(sha256: string): Uint8Array | undefined {
    const shown = [...this.shown.pairs, ...this.queue.pairs].flatMap(({ pictures }) => pictures);
    return shown.find((picture) => picture.sha256 === sha256)?.png ?? this.last.get(sha256);
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
      const { asking } = this;
      const isAsked = asking !== undefined && this.queue.find(id, hashes) === undefined; // else sent before it was asked
      const queue = isAsked ? asking.queue : this.queue;
      const pair = await queue.findSoon(id, hashes);
      if (!pair) return false;
      const { folder, source } = this.options;
      const { model } = source;
      const update = isAsked ? this.updateNow : source.update;
      this.votes.push(await keepVote(folder, pair, { id, choice, seconds, model, update }));
      queue.take(pair);
      this.last.add(pair);
      if (isAsked) asking.count(1);
      this.fitWhenDue();
      this.changed();
      return true;
    });
  }

  /** Takes the last vote back, and shows its pair again. Returns whether it was the last: of another nothing is done. */
  undo(id: string): Promise<boolean> {
    return this.writing(async () => {
      const vote = this.votes.at(-1);
      if (vote?.id !== id || vote.update !== this.updateNow) return false;
      await undoVote(this.options.folder, id);
      this.votes.pop();
      const pair = await votedPair(this.options.folder, vote);
      if (pair) this.shown.putBack(pair);
      this.asking?.count(-1);
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
      const fitted = await this.fit();
      if (!fitted.agrees && !anyway) {
        this.queue.release();
        this.teach(noLesson);
        return fitted.sentence;
      }
      await this.computing(() => taste.write(folder));
      const set = [...(lesson.set ?? []), ...(await taste.rewards(folder, { force: anyway }))];
      await this.computing(async () => this.rest());
      if (this.isClosed) return 'this program ends';
      await this.running?.close();
      const { config, run } = source;
      const between = (pause: Pause): Promise<void> => this.ask(pause, anyway);
      this.running = startLesson({ ...lesson, set, config, from: run, between, changed: (now) => this.teach(now) });
      void this.running.ended.then(() => this.isClosed || this.queue.release());
      return undefined;
    } catch (error) {
      this.queue.release();
      const message = messageOf(error);
      this.teach({ ...noLesson, status: 'failed', message });
      return message;
    }
  }

  /** Between two updates: asks for votes on what the model draws now where that is due, and has the taste learn from them. */
  private async ask({ update, of, draw, renew }: Pause, anyway: boolean): Promise<void> {
    const { ask, taste, folder, seed } = this.options;
    if (ask === 0 || this.isStopping || !isPause({ update, of })) return;
    const drawn = async (prompts: readonly string[], n: number, from: number): Promise<Drawn[]> => {
      const pictures = await draw(prompts, n, from);
      return pictures.map((picture, i) => ({ ...picture, seed: from + i }));
    };
    const asking = new Asking(this.queueOf(hashNumbers(seed, update), drawn), update, ask);
    this.asking = asking;
    asking.queue.fill();
    this.changed();
    await asking.over;
    await asking.queue.hold();
    await this.writing(async () => {
      this.asking = undefined;
      for (const pair of asking.queue.pairs.slice(0, pairsShown)) this.last.add(pair);
    });
    this.changed();
    if (asking.votes === 0 || this.isStopping) return;
    const fitted = await this.fit();
    if (fitted.agrees || anyway) {
      await this.computing(() => taste!.write(folder)); // by which the training goes on, so there is one
      await renew();
    }
    await this.computing(async () => taste?.rest());
  }

  private get isStopping(): boolean {
    return this.isClosed || this.lesson.status === 'stopping';
  }

  /** Has a training that waits for votes go on without more of them. */
  goOn(): void {
    this.asking?.end();
  }

  /** Ends the training in good order. */
  stop(): void {
    this.running?.stop();
    this.asking?.end();
  }

  /** Ends everything in good order: what is drawn or trained is waited for. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.listeners.clear();
    await this.queue.hold();
    this.stop();
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

  /** The pairs that are voted on now. */
  private get shown(): PairQueue {
    return this.asking?.queue ?? this.queue;
  }

  /** Updates of the policy whose pairs are voted on now. */
  private get updateNow(): number | undefined {
    const { update } = this.options.source;
    return this.asking ? (update ?? 0) + this.asking.update : update;
  }

  /** The first vote that can be taken back, one after another: pairs of another policy are not shown again. */
  private get undoable(): number {
    const other = this.votes.findLastIndex(({ update }) => update !== this.updateNow);
    return Math.max(other + 1, this.votes.length - votesRecent);
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
    this.fit().catch((error: unknown) => this.changed(error));
  }

  private async fit(): Promise<ShownTaste> {
    const { taste, folder } = this.options;
    this.fitting = true;
    this.fittedAt = this.counted;
    this.changed();
    try {
      const fitted = await this.computing(() => taste!.fit(folder)); // asked for where there is one
      this.taste = fitted;
      return fitted;
    } finally {
      this.fitting = false;
      this.changed();
    }
  }
}
