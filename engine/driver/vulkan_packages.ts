/** Which packages bring a Vulkan driver to which system. Pure: nothing here looks at the machine. */

/** The fields of /etc/os-release: `ID`, `VERSION_ID`, `VERSION_CODENAME`, ... */
export type OsRelease = Readonly<Record<string, string>>;

/** Reads the text of /etc/os-release: `KEY=value` lines, the value perhaps in quotes. */
export function parseOsRelease(text: string): OsRelease {
  const fields: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, key, , value] = /^([A-Z][A-Z0-9_]*)=(["']?)(.*)\2\s*$/.exec(line) ?? [];
    if (key !== undefined) fields[key] = value!;
  }
  return fields;
}

/** How apt gets a Mesa that Dawn accepts. */
export interface AptRecipe {
  readonly packages: readonly string[];
  /** The suite the packages must come from, where the release's own Mesa is too old for Dawn. */
  readonly suite?: string;
}

const packages = ['mesa-vulkan-drivers', 'libvulkan1'] as const;

/** The recipe of a Debian or Ubuntu release; undefined for other systems and for releases with too old a Mesa. */
export function aptRecipe({ ID, VERSION_ID }: OsRelease): AptRecipe | undefined {
  const version = VERSION_ID === undefined ? Number.POSITIVE_INFINITY : Number(VERSION_ID); // testing and unstable have none
  // Debian 12 has Mesa 22.3, which lacks shaderUniformBufferArrayDynamicIndexing; its backports have 25.0.
  if (ID === 'debian' && version === 12) return { packages, suite: 'bookworm-backports' };
  if ((ID === 'debian' && version >= 13) || (ID === 'ubuntu' && version >= 24.04)) return { packages };
  return undefined;
}

/** An apt source: the text of the file and its ending, which tells apt the format. */
export interface AptSource {
  readonly text: string;
  readonly extension: 'sources' | 'list';
}

const suitesLine = /^Suites:(.*)$/m;
const suitesOf = (stanza: string): string[] => (suitesLine.exec(stanza)?.[1] ?? '').trim().split(/\s+/);
const uncommented = (text: string): string => text.replace(/^#.*\n?/gm, '');

/**
 * The source that adds `suite` (`bookworm-backports`) from the mirror the machine already uses; undefined when a source
 * file has the suite. `files` are the texts of the source files by path, in both of apt's formats. Throws when none of them
 * has the release itself.
 */
export function suiteSource(suite: string, files: ReadonlyMap<string, string>): AptSource | undefined {
  const base = suite.replace(/-backports$/, '');
  const texts = [...files].map(([path, text]) => ({ path, text: uncommented(text) }));
  if (texts.some(({ text }) => text.split(/\s+/).includes(suite))) return undefined;
  for (const { path, text } of texts) {
    if (!path.endsWith('.sources')) continue;
    const stanza = text.split(/\n\s*\n/).find((part) => suitesOf(part).includes(base));
    if (stanza) return { text: `${stanza.trim().replace(suitesLine, `Suites: ${suite}`)}\n`, extension: 'sources' };
  }
  for (const { text } of texts) {
    const line = new RegExp(`^(deb\\s+(?:\\[[^\\]]*\\]\\s+)?\\S+)\\s+${base}\\s+main\\b`, 'm').exec(text);
    if (line) return { text: `${line[1]} ${suite} main\n`, extension: 'list' };
  }
  throw new Error(`apt has no source of ${base} that ${suite} could be read from`);
}

/** What to install by hand, for the message of a machine without an adapter. */
export function installHint(platform: NodeJS.Platform, os: OsRelease): string {
  if (platform === 'darwin')
    return 'macOS brings Metal along: this needs macOS 11 or newer, outside of a virtual machine without a GPU.';
  if (platform === 'win32')
    return 'Windows brings Direct3D 12 along: this needs Windows 10 or newer with a current graphics driver.';
  if (platform !== 'linux') return `There is no WebGPU for ${platform}.`;
  const debian = aptRecipe(os)?.suite;
  const commands = {
    debian: `Debian, Ubuntu: apt install ${debian ? `-t ${debian} ` : ''}${packages.join(' ')}${debian ? ' (add that suite to the sources first)' : ''}`,
    fedora: 'Fedora: dnf install mesa-vulkan-drivers vulkan-loader',
    arch: 'Arch: pacman -S vulkan-swrast vulkan-icd-loader',
  };
  const family = `${os.ID ?? ''} ${os.ID_LIKE ?? ''}`.split(' ');
  const known =
    family.includes('ubuntu') || family.includes('debian')
      ? 'debian'
      : (['fedora', 'arch'] as const).find((id) => family.includes(id));
  const lines = known ? [commands[known]] : Object.values(commands);
  return `Linux needs a Vulkan driver: the GPU's own (NVIDIA, AMD, Intel), or Mesa's software driver:\n  ${lines.join('\n  ')}`;
}
