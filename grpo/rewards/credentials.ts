/** What must not be told: passwords and tokens in addresses, headers and texts. */

/** `env:NAME`: the value of a variable of the environment, which configurations name instead of holding a credential. */
export const environmentPattern = /env:([A-Za-z_][A-Za-z0-9_]*)/g;

const fromEnvironment = (text: string): boolean => text.search(environmentPattern) >= 0;

const clearNames =
  /token(?!s|iz)|secret|passw|passphrase|credential|authori[sz]ation|cookie|signature|(api|access|private|subscription)key|jwt/;
/** Names that mean a credential in an address or a header, but other things in a sentence. */
const shortNames = /^(auth|sig|pwd|pass|session|sid|code|sas)$|key$/;

const lettersOf = (name: string): string => name.toLowerCase().replace(/[^a-z]/g, '');

/** Whether what stands under a name, of a header or in an address, is a credential by that name. `max_tokens` is none. */
export const isCredentialName = (name: string): boolean =>
  clearNames.test(lettersOf(name)) || shortNames.test(lettersOf(name));

/** Name and value of what an address has behind `?` or `#`. */
const parameter = /([?&#;])([^\s=&#;?"']+)=([^\s&#;"'}]*)/g;
/** User and password of an address. */
const userInfo = /(\b[a-z][a-z0-9+.-]*:\/\/)([^\s/?#"]+)@/gi;

/**
 * Where an address holds a credential itself, for a message: `a password`, `token`; undefined where it has none, or names
 * variables of the environment in its place.
 */
export function credentialIn(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { username, password, search, hash } = new URL(url);
  const user = `${username} ${password}`;
  if (user !== ' ' && !fromEnvironment(decoded(user))) return 'a user or password';
  const parameters = [search, hash].flatMap((part) => [...new URLSearchParams(part.slice(1))]);
  return parameters.find(([name, value]) => value !== '' && isCredentialName(name) && !fromEnvironment(value))?.[0];
}

/** A part of an address without its escapes; as it is where they are none. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Whether the value of a header is a credential, by the header's name or by its own looks. */
export const isCredentialHeader = (name: string, value: string): boolean =>
  !fromEnvironment(value) &&
  (isCredentialName(name) || /^(basic|bearer|token|digest|negotiate)\s/i.test(value) || looksRandom(value));

/** Twenty signs or more without a blank, letters and digits mixed. */
const looksRandom = (value: string): boolean => /^(?=.*\d)(?=.*[a-z])[\w~+/.=-]{20,}$/i.test(value);

/** A name, a colon or a sign of equality, and a value: of a header, of JSON or of YAML. */
const named = /([\w-]+)(["']?\s*[:=]\s*)("[^"]*"|'[^']*'|(?:(?:bearer|basic|token)\s+)?[^\s,}\])"']+)/gi;

const hidden = '***';

/**
 * A text without the credentials that can be told by where they stand: in addresses, behind names such as Authorization.
 * `known` are credentials themselves; each is hidden wherever it stands, also encoded as in addresses or in base64.
 */
export function withoutCredentials(text: string, known: readonly string[] = []): string {
  let shown = text;
  for (const each of known.flatMap(formsOf)) shown = shown.replaceAll(each, hidden);
  return shown
    .replace(userInfo, (all, scheme: string, user: string) => (fromEnvironment(user) ? all : `${scheme}${hidden}@`))
    .replace(parameter, (all, mark: string, name: string, value: string) =>
      value === '' || !isCredentialName(name) || fromEnvironment(value) ? all : `${mark}${name}=${hidden}`,
    )
    .replace(named, (all, name: string, between: string, value: string) =>
      value.length < 6 || !clearNames.test(lettersOf(name)) || fromEnvironment(value)
        ? all
        : `${name}${between}${hidden}`,
    )
    .replace(/\b(bearer\s+)(?!env:)[\w~+/.=-]{6,}/gi, `$1${hidden}`);
}

/** A credential, its words (`Bearer abc` may be answered as `abc`), and how they look in an address, in JSON or in base64. */
function formsOf(credential: string): string[] {
  const parts = [credential, ...credential.split(/\s+/)].filter((part) => part.length >= 4);
  const forms = parts.flatMap((part) => [
    part,
    encodeURIComponent(part),
    JSON.stringify(part).slice(1, -1),
    Buffer.from(part).toString('base64').replace(/=+$/, ''),
  ]);
  return [...new Set(forms)].sort((a, b) => b.length - a.length); // a part of another would leave the rest of it
}
