/** Draws pictures to choose from, by one model on one device, whose memory is freed while a training needs it. */
import type { Device } from '../../engine/index.js';
import { loadModel, type Model } from '../finetune/model.js';
import type { SampledPicture } from '../finetune/picture.js';
import type { Source } from './source.js';

export interface PainterOptions {
  readonly device: Device;
  /** What is told of the model when it is loaded first. */
  readonly warn: (message: string) => void;
}

export class Painter {
  private model: Model | undefined;
  private told = false;

  constructor(
    private readonly source: Source,
    private readonly options: PainterOptions,
  ) {}

  /**
   * `n` pictures of each prompt, one prompt after another; the first has the seed `seed` and each next one more. Loads the model
   * where it is not.
   */
  async draw(prompts: readonly string[], n: number, seed: number): Promise<SampledPicture[]> {
    const { given, sampling } = this.source;
    if (!this.model) {
      this.model = await loadModel(given, { device: this.options.device });
      if (!this.told) this.model.warnings.forEach(this.options.warn);
      this.told = true;
    }
    return this.model.sample(prompts, { ...sampling, n, seed, batch: this.atOnce(n * prompts.length) });
  }

  /** As many small pictures as are asked for, few large ones. */
  private atOnce(wanted: number): number {
    return this.source.embedded ? wanted : Math.min(wanted, 2);
  }

  /** Frees the model; the next picture loads it again. */
  rest(): void {
    this.model?.close();
    this.model = undefined;
  }
}
