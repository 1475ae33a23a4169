/** `winnow pretrain`: the small models that ship, from random weights. */
import type { Command } from 'commander';
import { type PretrainOptions, pretrain, pretrainable } from '../../finetune/pretrain/pretrain.js';
import { mostPictures, seedNumber, wholeNumber } from '../arguments.js';
import * as shared from '../options.js';
import { warn } from '../reporter.js';

export function addPretrain(program: Command): void {
  program
    .command('pretrain')
    .description('train the small models that ship, or one of them, on scenes, from random weights')
    .argument('<model>', `all, or one of ${pretrainable.join(', ')}; those that it is made of lie beside its folder`)
    .option('--steps <count>', "optimizer steps (default: the model's own)", wholeNumber(1))
    .option('--seed <number>', 'seed of weights, scenes and noise', seedNumber, 1)
    .option('--batch <count>', "pictures a step (default: the model's own)", wholeNumber(1, mostPictures))
    .option('--resume', 'go on from the checkpoint in the folder')
    .requiredOption('--out <folder>', "the model folder to write; of all, the folder of the models' folders")
    .option(...shared.device)
    .action(async (model: string, options: PretrainOptions) => {
      for (const line of await pretrain(model, { ...options, onLine: warn })) process.stdout.write(`${line}\n`);
    });
}
