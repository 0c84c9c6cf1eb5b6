// Small helpers for the page's own elements.

export const $ = (id) => document.getElementById(id);

// An element with properties and children; text is never read as HTML.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'class') made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

// An element of a drawing.
export function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Something wide that scrolls by itself; the keyboard reaches it.
export const scrolled = (label, ...children) => element('div', { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': label }, ...children);

export function save(blob, name) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Numbers as people write them: as many digits as are worth reading.
export function number(value, digits = 3) {
  if (value === null || value === undefined) return '–';
  if (Number.isInteger(value)) return value.toLocaleString('en');
  const size = Math.abs(value);
  return size >= 1000 ? Math.round(value).toLocaleString('en') : value.toLocaleString('en', { maximumSignificantDigits: digits });
}

// Nothing is said to be certain that is not.
export function percent(share) {
  if (share > 0.9995 && share < 1) return '> 99.9 %';
  if (share > 0 && share < 0.0005) return '< 0.1 %';
  return `${(share * 100).toFixed(1)} %`;
}

export const seconds = (time) => (time < 1 ? `${Math.round(time * 1000)} ms` : `${time.toFixed(1)} s`);

// Without the suffixes that say what kind of file it is.
export const stem = (name) => name.replace(/(\.nii)?\.(gz|[a-z0-9]{1,5})$/i, '');
