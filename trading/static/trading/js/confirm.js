// A question before something that cannot be taken back.

import { part, write } from "./dom.js";

/** Whether the person said yes; closing the dialog any other way is no. */
export function confirmed({ title, text, yes, no }) {
  const dialog = part("confirm");
  write(part("confirm-title"), title);
  write(part("confirm-text"), text);
  write(part("confirm-yes"), yes);
  write(part("confirm-no"), no);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
