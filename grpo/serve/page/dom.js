/** Elements and numbers. What comes from a run is only ever set as text. */

/** An element with properties and attributes (with a dash, or `role`), listeners by `on`, and its children. */
export function el(tag, { on = {}, data = {}, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name === 'role' || name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  Object.assign(element.dataset, data);
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

const svgSpace = 'http://www.w3.org/2000/svg';

/** An element of an SVG picture, with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Puts children in place of those there are, unless they would look the same. */
export function replace(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== undefined && child !== null));
}

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

/** A number in four digits, or a dash. */
export function number(value) {
  if (!isNumber(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace('e+', 'e').replace('-', '−');
  return String(size >= 1000 ? Math.round(value) : Number(value.toPrecision(4))).replace('-', '−');
}

/** `36 s`, `12 min`, `3.5 h`. */
export function duration(seconds) {
  if (!isNumber(seconds)) return '–';
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A line that says why there is nothing. */
export const absent = (text) => el('p', { className: 'absent' }, text);

/** The value that a style's variable has now, in light or dark. */
export const styleValue = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
