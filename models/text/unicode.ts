/**
 * White space and lower case as tokenizers in Rust and programs in Python have them. JavaScript's `\s` and trim() take U+FEFF
 * for white space and U+0085 for none, and its toLowerCase() ends Greek words with another sigma.
 */

/** The inside of a class of regular expressions with the flag u: the property White_Space, which is Rust's char::is_whitespace. */
const unicodeSpace = '\\p{White_Space}';

/** Python's str.isspace(): besides, the four separators of information (the Unicode Character Database's bidirectional class B or S). */
const pythonSpace = `${unicodeSpace}\\x1C-\\x1F`;

const pythonEnds = new RegExp(`^[${pythonSpace}]+|[${pythonSpace}]+$`, 'gu');

/** The text without white space at its ends, as Python's str.strip(). */
export const strip = (text: string): string => text.replace(pythonEnds, '');

/** A text's lines, as Python reads a file of text: they end with \n, \r\n or \r. */
export const linesOf = (text: string): string[] => text.split(/\r\n?|\n/);

/** A step of a tokenizer.json. */
interface Step {
  readonly type: string;
  readonly [option: string]: unknown;
}

const isStep = (value: unknown): value is Step =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';

const sequence = (key: string, steps: readonly Step[]): Step => ({ type: 'Sequence', [key]: steps });

/** Lower case a character at a time, as Rust's: only a capital sigma's depends on what stands around it in JavaScript. */
const lowerSigma: Step = { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' };

/** The splitting of GPT-2, which `ByteLevel` has built in (huggingface/tokenizers, pre_tokenizers/byte_level.rs). */
const byteLevelWords = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** A step that keeps the parts of the text that a pattern matches. */
const matches = (regex: string): Step => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Removed',
  invert: true,
});

/**
 * A normaliser of a tokenizer.json so that the library in JavaScript does what the one in Rust does. The library reads the
 * patterns of a file as Rust's; what its own steps do with JavaScript's sets is said by such patterns here.
 */
export function rustNormalizer(step: unknown): unknown {
  if (!isStep(step)) return step;
  const { type, normalizers, strip_left: left, strip_right: right } = step;
  if (type === 'Sequence' && Array.isArray(normalizers))
    return { ...step, normalizers: normalizers.map(rustNormalizer) };
  if (type === 'Lowercase') return sequence('normalizers', [lowerSigma, step]);
  if (type !== 'Strip') return step;
  const ends = [...(left ? ['\\A\\s+'] : []), ...(right ? ['\\s+\\z'] : [])];
  return sequence(
    'normalizers',
    ends.map((regex) => ({ type: 'Replace', pattern: { Regex: regex }, content: '' })),
  );
}

/** A splitter of a tokenizer.json, likewise. */
export function rustPreTokenizer(step: unknown): unknown {
  if (!isStep(step)) return step;
  const { type, pretokenizers, add_prefix_space: prefix, use_regex: splits = true } = step;
  if (type === 'Sequence' && Array.isArray(pretokenizers))
    return { ...step, pretokenizers: pretokenizers.map(rustPreTokenizer) };
  if (type === 'WhitespaceSplit') return matches('\\S+');
  // With a space before the text, which comes before the splitting, the step can't be taken apart; no CLIP has it so.
  if (type !== 'ByteLevel' || !splits || prefix) return step;
  return sequence('pretokenizers', [matches(byteLevelWords), { ...step, use_regex: false }]);
}
