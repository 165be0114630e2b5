// The account of this page is traded here no more: the person chose another one, or began anew, in
// another window. Nothing goes on before the page is loaded again, and shows that one.

import { part } from "./dom.js";

export function attach(desk, { sync }) {
  const dialog = part("another-account");
  document.addEventListener("openbell:another-account", () => {
    if (!dialog.open) dialog.showModal();
  });
  dialog.addEventListener("close", () => location.reload());
  // Whoever comes back from another window is told before they act.
  addEventListener("focus", () => sync.clock());
}
