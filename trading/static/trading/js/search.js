// Finds an instrument by symbol or company: Enter shows it, Shift and Enter watches it, too.

import { attribute, element, part } from "./dom.js";
import { matches } from "./search-rank.js";

export function attach(desk, { watchlists }) {
  const box = part("search");
  const input = part("search-input");
  const list = part("search-results");
  let found = [];
  let active = 0;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    attribute(input, "aria-activedescendant", null);
  };
  const choose = (asset) => {
    input.value = "";
    close();
    input.blur();
    desk.select(asset.symbol);
    desk.tell("view", "chart");
  };
  const show = () => {
    found = matches([...desk.assets.values()], input.value);
    active = 0;
    list.replaceChildren(...found.map((asset, at) => option(asset, at, desk, watchlists, choose)));
    if (found.length === 0)
      list.append(element("li", { class: "empty" }, "No instrument matches."));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point(0);
  };
  const point = (to) => {
    const options = list.querySelectorAll("[role=option]");
    if (options.length === 0) return;
    active = (to + options.length) % options.length;
    options.forEach((node, at) => node.setAttribute("aria-selected", at === active));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  };

  input.addEventListener("focus", show);
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    const asset = found[active];
    if (event.key === "ArrowDown") point(active + 1);
    else if (event.key === "ArrowUp") point(active - 1);
    else if (event.key === "Enter" && asset) {
      if (event.shiftKey) watchlists.add(asset.symbol);
      choose(asset);
    } else if (event.key === "Escape") {
      close();
      input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", (event) => box.contains(event.target) || close());
  input.addEventListener("blur", (event) => box.contains(event.relatedTarget) || close());
  part("watch-add").addEventListener("click", () => input.focus());
  desk.on("search", () => input.focus());
}

function option(asset, at, desk, watchlists, choose) {
  const watched = desk.watched.includes(asset.symbol);
  const add = element(
    "button",
    { class: "chip", type: "button", tabindex: "-1", disabled: watched },
    watched ? "Watched" : "Watch",
  );
  const node = element(
    "li",
    { class: "search-result", role: "option", id: `search-result-${at}` },
    element("span", { class: "search-symbol" }, asset.symbol),
    element("span", { class: "search-name" }, asset.name ?? ""),
    element("span", { class: "search-exchange" }, asset.exchange),
    add,
  );
  // Pointer down, not click: the input would lose focus and close the list first.
  node.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    if (event.target !== add) return choose(asset);
    if (watched) return;
    watchlists.add(asset.symbol);
    add.disabled = true;
    add.textContent = "Watched";
  });
  return node;
}
