// Keys to the parts of the screen, and the sheet that lists them.

import { element, part } from "./dom.js";
import { action, KEYS } from "./keymap.js";

export function attach(desk) {
  const sheet = part("shortcuts");
  part("shortcut-rows").append(
    ...KEYS.map(({ key, shown, says }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, keys(shown ?? key)),
        element("td", {}, says),
      ),
    ),
  );
  const acts = {
    search: () => desk.tell("search"),
    buy: () => desk.tell("ticket", { side: "buy" }),
    sell: () => desk.tell("ticket", { side: "sell" }),
    watchlist: () => focusWatchlist(desk),
    positions: () => desk.tell("tab", "positions"),
    orders: () => desk.tell("tab", "orders"),
    cancel: () => desk.tell("cancel"),
    "cancel-all": () => desk.tell("cancel-all"),
    shortcuts: () => sheet.showModal(),
    escape: () => document.activeElement?.blur(),
  };

  let acted = null;
  document.addEventListener("keydown", (event) => {
    // A key that is held down after it acted neither acts again nor types.
    if (event.repeat) return event.key === acted && event.preventDefault();
    acted = null;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && leaveTicket(event.target)) return;
    const wanted = action(event);
    if (!wanted) return;
    if (wanted !== "escape") event.preventDefault();
    acted = wanted === "escape" ? null : event.key;
    acts[wanted]();
  });
  part("open-shortcuts").addEventListener("click", () => sheet.showModal());
}

// Escape in a field of the ticket leaves the field, so that the other keys work again.
function leaveTicket(target) {
  if (!target.closest?.("[data-ticket-form]")) return false;
  target.blur();
  return true;
}

function focusWatchlist(desk) {
  desk.tell("view", "watch");
  const rows = part("watch-rows");
  (rows.querySelector("[aria-current=true]") ?? rows.querySelector("button"))?.focus();
}

function keys(text) {
  const box = element("span", { class: "key-row" });
  box.append(...text.split(" ").map((key) => element("kbd", {}, key)));
  return box;
}
