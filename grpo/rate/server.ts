/** The page on which somebody rates pictures: a server of this machine. */
import { openDevice } from '../finetune/device.js';
import type { RunConfigOptions } from '../finetune/run/run_config.js';
import { pageFiles } from '../serve/responses.js';
import { serveSite } from '../serve/site.js';
import { clipTaste } from './clip_taste.js';
import { Painter } from './painter.js';
import { Rating } from './rating.js';
import { answerData, answerPost, Listeners } from './routes.js';
import { readSource } from './source.js';
import type { TasteFitting } from './taste.js';

export const usualPort = 8675;

/** What a training of one of the small models that ship is like: seconds an update, so that its grid can change as it goes. */
const quickly = ['train.updates=24', 'sample.every=4', 'eval.n=64', 'eval.rewards=[scene-checker]'];

export interface RatingServerOptions {
  /** A model's folder, an embedded model's name, a configuration's file, or a run by its folder or name. */
  readonly model: string;
  /** Where votes and pictures are kept. Default taste. */
  readonly folder?: string | undefined;
  /** A file of prompts. Default: those that the configuration trains on; of a model folder it has to be given. */
  readonly prompts?: string | undefined;
  /** Votes that are wanted. Default 60; one may go on. */
  readonly pairs?: number | undefined;
  /** Default 8675; another that is free where it is taken. 0: any. */
  readonly port?: number | undefined;
  /** Of prompts and noise. Default 0. */
  readonly seed?: number | undefined;
  /** Part of an adapter's name. */
  readonly device?: string | undefined;
  /** Where runs go that are trained from the page. Default runs. */
  readonly runs?: string | undefined;
  /** Changes of keys for them, `train.updates=50`. */
  readonly set?: RunConfigOptions['set'];
  /**
   * The folder of a CLIP by whose features the taste is told. Default: scenes-clip for the small models that ship, for others that
   * of the configuration's reward `clip`. Without one votes are taken, and nothing is fitted to them.
   */
  readonly clip?: string | undefined;
  /** Votes that a training from the page asks for after a third and two thirds of its updates. Default 0. */
  readonly ask?: number | undefined;
  /** Another way to fit a taste to the votes. */
  readonly taste?: TasteFitting | undefined;
  /** What a person should know: of the model's folder, of a line of votes that was cut. */
  readonly warn?: (message: string) => void;
}

export interface RatingServer {
  readonly url: string;
  readonly port: number;
  /** Ends every connection, and a training in good order. */
  close(): Promise<void>;
}

/**
 * Serves a page on which two pictures of a prompt are chosen from, again and again; votes go to the folder at once. Listens on
 * loopback alone. Throws a UsageError for what does not go together, and a FileError for what can't be read.
 */
export async function startRating(options: RatingServerOptions): Promise<RatingServer> {
  const { model, folder = 'taste', pairs = 60, port = usualPort, seed = 0, runs = 'runs', warn = () => {} } = options;
  const source = await readSource(model, options.prompts);
  const device = await openDevice({ device: options.device });
  try {
    const clip = options.clip ?? source.clip;
    const painter = new Painter(source, { device, warn });
    const rating = await Rating.open({
      source,
      folder,
      pairs,
      seed,
      ask: options.ask ?? 0,
      taste: options.taste ?? (clip === undefined ? undefined : clipTaste(device, clip, warn)),
      draw: (prompts, n, from) => painter.draw(prompts, n, from),
      rest: () => painter.rest(),
      lesson: {
        set: [...(source.embedded ? quickly : []), ...(options.set ?? [])],
        out: runs,
        device: options.device,
      },
      warn,
    });
    const listeners = new Listeners();
    rating.onChange((state) => listeners.tell(state));
    const served = await serveSite({ port }, (guard) => {
      const room = { guard, rating, listeners };
      return {
        files: pageFiles('rate'),
        get: (visit) => answerData(room, visit),
        post: (visit) => answerPost(room, visit),
      };
    });
    return {
      url: served.origin,
      port: served.port,
      close: async () => {
        listeners.close();
        await served.close();
        await rating.close();
        device.close();
      },
    };
  } catch (error) {
    device.close();
    throw error;
  }
}
