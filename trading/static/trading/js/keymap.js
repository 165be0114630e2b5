// Which key does what. Off while typing, and with any modifier that the browser may want.

export const KEYS = [
  { key: "/", action: "search", says: "Search a symbol" },
  { key: "b", action: "buy", says: "Buy ticket" },
  { key: "s", action: "sell", says: "Sell ticket" },
  { key: "w", action: "watchlist", says: "Go to the watchlist; arrows move, Enter selects" },
  { key: "p", action: "positions", says: "Positions" },
  { key: "o", action: "orders", says: "Open orders" },
  { key: "c", action: "cancel", says: "Cancel the order under focus, or the newest open one" },
  { key: "X", action: "cancel-all", says: "Cancel all open orders (asks first)", shown: "Shift X" },
  { key: "?", action: "shortcuts", says: "This sheet" },
  { key: "Escape", action: "escape", says: "Close, or go back a step", shown: "Esc" },
];

const TYPING = new Set(["INPUT", "TEXTAREA", "SELECT"]);

/** The action a key press asks for; null where the press belongs to somebody else. */
export function action({ key, ctrlKey, metaKey, altKey, target }) {
  if (ctrlKey || metaKey || altKey) return null;
  const typing = target && (TYPING.has(target.tagName) || target.isContentEditable);
  if (typing && !["checkbox", "radio"].includes(target.type)) return null;
  return KEYS.find((entry) => entry.key === key)?.action ?? null;
}
