// The person's menu closes when one looks elsewhere; a session that ended leads to the door.

import { part } from "./dom.js";

export function attach() {
  const menu = part("menu");
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") menu.open = false;
  });
  document.addEventListener("openbell:logged-out", () => location.reload(), { once: true });
}
