// The person's menu closes when one looks elsewhere; a session that ended leads to the door.

import { csrfToken } from "./api.js";
import { part } from "./dom.js";

export function attach() {
  const menu = part("menu");
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape") menu.open = false;
  });
  menu.querySelector("form").addEventListener("submit", ({ target }) => {
    target.elements.csrfmiddlewaretoken.value = csrfToken();
  });
  document.addEventListener("openbell:logged-out", () => location.reload(), { once: true });
}
