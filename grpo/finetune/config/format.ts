/** Configurations as text: whole, with comments, and what editors and readers need to write one. */
import { Document, isScalar, parseDocument, stringify, visit } from 'yaml';
import { z } from 'zod';
import { configSchema, type RunConfig } from '../../config.js';
import { type ConfigEntry, configEntries } from '../../config_entries.js';
import type { ConfigSource } from './parse.js';

/** The whole configuration as YAML, every default written out; parseConfig() reads it back. Short lists stand on a line. */
export function formatConfig(config: RunConfig): string {
  const document = new Document(config);
  visit(document, {
    Seq(_, node) {
      node.flow = true;
    },
  });
  return document.toString({ lineWidth: 0 });
}

/** The file that editors find keys, types and meanings in: written by `winnow schema`, named in the first lines of a configuration. */
const schemaFile = 'winnow.schema.json';

/** A JSON schema of configuration files, for editors and other programs. */
export const jsonSchema = (): Record<string, unknown> => ({
  title: 'winnow configuration',
  ...z.toJSONSchema(configSchema, { io: 'input' }),
});

/**
 * A configuration to begin with, of a preset's text: every key with its meaning above it, the preset's own value or the
 * default, and behind it the preset's reason. Keys without a value stand as comments.
 */
export function commentedConfig({ name, text }: ConfigSource): string {
  const document = parseDocument(text);
  const given = document.toJS() as Record<string, unknown>;
  const at = (path: readonly string[]): unknown =>
    path.reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], given);
  const reason = (path: readonly string[]): string => {
    const node = document.getIn(path, true);
    return isScalar(node) && node.comment ? `  #${node.comment}` : '';
  };
  const lines = [
    `#${document.commentBefore ?? ` ${name}`}`.replaceAll('\n', '\n#'),
    `# yaml-language-server: $schema=${schemaFile}`,
    `# (the file of that name: winnow schema > ${schemaFile})`,
  ];
  const closed: (readonly string[])[] = [];
  for (const entry of configEntries) {
    const { path, doc, isSection, required } = entry;
    if (path.includes('*')) continue; // the keys of a reward stand with the section
    if (path.some((_, depth) => depth > 0 && at(path.slice(0, depth)) === null)) continue; // below lora: null
    // A section that is null unless it is given: its keys stand as comments, with their defaults.
    const isOpen = !closed.some((section) => section.every((name, i) => path[i] === name) && path !== section);
    const indent = '  '.repeat(path.length - 1);
    const value = at(path) ?? (at(path) === null ? null : entry.default);
    if (isSection && value === null && at(path) === undefined) closed.push(path);
    if (path.length === 1) lines.push('');
    const sentences = path[0] === 'reward' ? [doc, ...rewardKeys()] : [doc];
    lines.push(...sentences.flatMap((sentence) => wrapped(sentence, `${indent}# `)));
    const key = path.at(-1)!;
    if (path[0] === 'reward') {
      lines.push('reward:');
      for (const [own, keys] of Object.entries((value ?? {}) as Record<string, unknown>))
        lines.push(`  ${own}: ${inline(keys)}`);
    } else if (!isOpen) lines.push(`${indent}# ${key}: ${value === undefined ? '' : inline(value)}`.trimEnd());
    else if (isSection && value !== null) lines.push(`${indent}${key}:`);
    else if (value === undefined && !required) lines.push(`${indent}# ${key}:`);
    else lines.push(`${indent}${key}: ${value === undefined ? '' : inline(value)}${reason(path)}`.trimEnd());
  }
  return `${lines.join('\n')}\n`;
}

const rewardKeys = (): string[] =>
  configEntries
    .filter(({ path }) => path[0] === 'reward' && path.length === 3)
    .map(
      ({ path, doc, default: usual }) => `${path[2]}: ${doc}${usual === undefined ? '' : ` Default ${inline(usual)}.`}`,
    );

const inline = (value: unknown): string => stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim();

/** A comment in lines of 110 characters. */
function wrapped(text: string, prefix: string): string[] {
  const lines: string[] = [];
  let line = prefix.trimEnd();
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > 110) {
      lines.push(line);
      line = prefix.trimEnd();
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** Every key with its default and its meaning, as a table in Markdown. */
export function configTable(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const row = ({ path, doc, default: usual, required }: ConfigEntry): string =>
    `| \`${path.join('.').replace('.*.', '.NAME.')}\` | ${usual === undefined ? (required ? 'required' : '') : `\`${inline(usual)}\``} | ${cell(doc)} |`;
  const keys = configEntries.filter(({ isSection }) => !isSection);
  return ['| key | default | meaning |', '|---|---|---|', ...keys.map(row)].join('\n');
}
