// The few strokes that every part of the screen draws with.

/** The one element that carries `data-<name>`, or `data-<name>="<value>"`. */
export function part(name, value, root = document) {
  return root.querySelector(value === undefined ? `[data-${name}]` : `[data-${name}="${value}"]`);
}

/** A new element: properties (`class`, `data-…` and `aria-…` as attributes), then children. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Write text only where it changed: a layout is spent on news alone. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute, only where it changed. */
export function attribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Disable a button or not. It would lose the focus to the page, so `keeper` takes that over. */
export function disable(button, disabled, keeper) {
  if (disabled && document.activeElement === button) keeper.focus({ preventScroll: true });
  button.disabled = disabled;
}

/** A number whose direction is told by sign, colour and data: "up", "down" or "flat". */
export function writeSigned(node, text, direction) {
  write(node, text);
  attribute(node, "data-direction", direction);
}

/**
 * Make `nodes` the children of `parent`, in this order. What stands right stays untouched, and what
 * has to move keeps the focus in it.
 */
export function arrange(parent, nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, at) => {
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  if (parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** An icon of the page's sprite. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}
