// Dark or light: the system's wish, unless the person chose; the server renders the choice.

import { part } from "./dom.js";

const A_YEAR = 31_536_000;

export function attach(desk) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  part("theme-switch").addEventListener("click", () => {
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    document.cookie = `theme=${next}; path=/; max-age=${A_YEAR}; samesite=lax`;
    desk.tell("theme");
  });
  dark.addEventListener("change", () => desk.tell("theme"));
}
