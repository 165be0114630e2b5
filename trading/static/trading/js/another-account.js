// The account of this page is traded here no more: the person chose another one, or began anew, in
// another window. Nothing is asked or heard before the page is loaded again, and shows that one.

import { part } from "./dom.js";

/** End what asks, `sync`, and what hears, `sockets`, once it is known, and say so. */
export function attach({ sync, sockets }) {
  const dialog = part("another-account");
  document.addEventListener("openbell:another-account", () => {
    sync.stop();
    for (const socket of sockets) socket.close();
    dialog.showModal();
  });
  dialog.addEventListener("close", () => location.reload());
  // Whoever comes back from another window is told before they act.
  addEventListener("focus", () => sync.clock());
}
