// The watched instruments, live: the rows and how one moves between them.

import { arrange, attribute, part, write } from "./dom.js";
import { WatchRow } from "./watch-row.js";

export function attach(desk, { watchlists }) {
  const body = part("watch-rows");
  const table = part("watch-table");
  const edit = part("watch-edit");
  const rows = new Map();

  const build = () => {
    const wanted = desk.watched.map((symbol) => {
      if (!rows.has(symbol)) rows.set(symbol, new WatchRow(symbol, desk, watchlists));
      return rows.get(symbol);
    });
    for (const symbol of rows.keys()) if (!desk.watched.includes(symbol)) rows.delete(symbol);
    arrange(
      body,
      wanted.map((row) => row.node),
    );
    write(part("watch-count"), desk.watched.length ? String(desk.watched.length) : "");
    write(part("watch-empty"), "Nothing watched yet. Press / and add a symbol.");
    attribute(part("watch-empty"), "hidden", desk.watched.length > 0);
    rows.forEach((row) => row.show());
  };

  desk.on("watchlist", build);
  desk.on("assets", () => rows.forEach((row) => row.name()));
  desk.on("ticks", (changed) => changed.forEach((symbol) => rows.get(symbol)?.show()));
  desk.on("second", () => rows.forEach((row) => row.age()));
  desk.on("connection", () => rows.forEach((row) => row.age()));
  desk.on("select", () => rows.forEach((row) => row.select()));
  body.addEventListener("keydown", (event) => move(event, watchlists));
  edit.addEventListener("click", () => {
    const editing = table.toggleAttribute("data-editing");
    edit.setAttribute("aria-pressed", editing);
    write(edit, editing ? "Done" : "Edit");
  });
}

// Arrows walk through the rows, Home and End to their ends; Delete removes one, however long it is held.
function move(event, watchlists) {
  const row = event.target.closest("tr");
  const next = {
    ArrowDown: row.nextElementSibling,
    ArrowUp: row.previousElementSibling,
    Home: row.parentNode.firstElementChild,
    End: row.parentNode.lastElementChild,
  }[event.key];
  if (event.key === "Delete") {
    if (event.repeat) return;
    (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("button").focus();
    watchlists.remove(row.dataset.symbol);
  } else if (next) {
    next.querySelector("button").focus();
    event.preventDefault();
  }
}
