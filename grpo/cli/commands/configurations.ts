/** `winnow init` and `winnow schema`: configurations to begin with, and what editors need for them. */
import type { Command } from 'commander';
import { presetNames, readPreset } from '../../finetune/config/file.js';
import { commentedConfig, jsonSchema } from '../../finetune/config/format.js';

export function addConfigurations(program: Command): void {
  program
    .command('init')
    .description('print a commented configuration to begin with: winnow init scenes-flow > my.yaml')
    .argument('<preset>', presetNames().join(', '))
    .action(async (preset: string) => {
      process.stdout.write(commentedConfig(await readPreset(preset)));
    });
  program
    .command('schema')
    .description('print the JSON schema of configurations, by which editors complete and check them')
    .action(() => {
      process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    });
}
