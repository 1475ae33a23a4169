/** The keys of PEFT's LoraConfig besides rank and alpha: what changes the meaning of a file's tensors is applied or refused. */
import { shown } from '../files/weight_files.js';
import { isTarget, type LoraTargets } from './lora.js';

type Config = Readonly<Record<string, unknown>>;

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  (typeof value === 'object' && Object.keys(value).length === 0);

/** Keys that must have no value, and what they would ask for. */
const refused: Readonly<Record<string, string>> = {
  use_dora: 'only plain LoRA can be read',
  use_qalora: 'only plain LoRA can be read',
  use_bdlora: 'only plain LoRA can be read',
  lora_bias: 'adapters have no biases here',
  modules_to_save: 'other weights of the network are not replaced',
  target_parameters: 'only linear layers are adapted',
  trainable_token_indices: 'only linear layers are adapted',
  layer_replication: 'the network has its own layers alone',
  alora_invocation_tokens: 'adapters act on every token',
  velora_config: 'only plain LoRA can be read',
  monteclora_config: 'only plain LoRA can be read',
  kasa_config: 'only plain LoRA can be read',
  arrow_config: 'one adapter acts at a time',
  megatron_config: 'no layer is spread over devices',
  ensure_weight_tying: 'no weights are tied',
};

/** Ways to begin that leave the network's own weights as they are; others (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA) alter them. */
const initializations: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal', 'mica'];

/** Keys that say how a file was made, or what is no matter once it is; rank, alpha and their patterns are read elsewhere. */
const without = [
  ...['peft_type', 'r', 'lora_alpha', 'use_rslora', 'rank_pattern', 'alpha_pattern'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'bias', 'init_lora_weights'],
  ...['task_type', 'auto_mapping', 'peft_version', 'base_model_name_or_path', 'revision', 'inference_mode'],
  ...['lora_dropout', 'fan_in_fan_out', 'loftq_config', 'eva_config', 'corda_config', 'lora_ga_config'],
  ...['megatron_core', 'qalora_group_size', 'runtime_config'],
];

/**
 * What a LoraConfig asks for that can't be done, by its keys behind `prefix`, and what it has that is unknown here. Of
 * `fan_in_fan_out` PEFT itself says that linear layers have no use for it.
 */
export function checkPeftKeys(config: Config, prefix = ''): { problems: string[]; unknown: string[] } {
  const problems: string[] = [];
  for (const [key, reason] of Object.entries(refused)) {
    const value = config[prefix + key];
    const expected = typeof value === 'boolean' ? 'false' : 'no value';
    if (!isEmpty(value)) problems.push(`${prefix}${key} is ${shown(value)}, expected ${expected}: ${reason}`);
  }
  const { [`${prefix}bias`]: bias = 'none', [`${prefix}init_lora_weights`]: start } = config;
  if (bias !== 'none')
    problems.push(`${prefix}bias is ${shown(bias)}, expected "none": the network keeps its own biases`);
  if (!initializations.includes(start))
    problems.push(
      `${prefix}init_lora_weights is ${shown(start)}, expected true, false, "gaussian", "eva", "orthogonal" or "mica": others may alter the network's own weights, which are not in the file`,
    );
  const unknown = Object.keys(config).filter((key) => {
    const own = key.startsWith(prefix) ? key.slice(prefix.length) : undefined;
    return own !== undefined && !isEmpty(config[key]) && !without.includes(own) && !(own in refused);
  });
  return { problems, unknown };
}

/** The entries of target_modules or exclude_modules; undefined where the key is absent or stands for all layers. */
function targetsOf(value: unknown): LoraTargets | undefined {
  if (typeof value === 'string') return value === 'all-linear' ? undefined : new RegExp(value);
  return Array.isArray(value) && value.length > 0 ? value.map(String) : undefined;
}

/** The number of a layer's block, by PEFT's check_target_module_exists. */
function blockOf(name: string, patterns: unknown): number | undefined {
  const given = isEmpty(patterns) ? [] : [patterns].flat().map(String);
  const expressions =
    given.length > 0 ? given.map((each) => `^(?:|.*?\\.)${each}\\.(\\d+)\\.`) : ['^.*?\\.[^.]*\\.(\\d+)\\.'];
  const found = expressions.map((each) => new RegExp(each).exec(name)).find((match) => match);
  return found ? Number(found[1]) : undefined;
}

/** Why a config leaves a layer as it is, of which a file has an adapter all the same; undefined where it adapts the layer. */
export function exclusionOf(config: Config, name: string, prefix = ''): string | undefined {
  const value = (key: string): unknown => config[prefix + key];
  const [targets, excluded] = [targetsOf(value('target_modules')), targetsOf(value('exclude_modules'))];
  if (excluded && isTarget(name, excluded)) return `${prefix}exclude_modules names it`;
  if (targets && !isTarget(name, targets)) return `${prefix}target_modules does not name it`;
  const blocks = value('layers_to_transform');
  if (isEmpty(blocks) || typeof value('target_modules') === 'string') return undefined;
  const block = blockOf(name, value('layers_pattern'));
  return [blocks].flat().includes(block) ? undefined : `${prefix}layers_to_transform is ${shown(blocks)}`;
}
