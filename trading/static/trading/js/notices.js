// Tells what happened, briefly on top of the screen and for good in the log.

import { ANOTHER_ACCOUNT } from "./api.js";
import { attribute, element, icon, part, write } from "./dom.js";
import { refusalNotice } from "./notice-text.js";
import { when } from "./new-york.js";

const SHOWN_MS = 6_000;
const URGENT_MS = 14_000;
const MOST_TOASTS = 4;
const MOST_LINES = 200;
const SAME_TROUBLE_MS = 30_000;

export class Notices {
  constructor(desk) {
    this.desk = desk;
    this.toasts = part("toasts");
    this.alerts = part("alerts");
    this.log = part("log");
    this.lines = 0;
    this.troubles = new Map(); // message: when it was told
    desk.on("connection", ({ now, before }) => this.connection(now, before));
  }

  /** A notice {title, detail, tone, urgent}: read out politely, or at once where urgent. */
  tell(notice) {
    this.write(notice);
    const shelf = notice.urgent ? this.alerts : this.toasts;
    const toast = this.toast(notice);
    shelf.append(toast);
    while (shelf.childElementCount > MOST_TOASTS) shelf.firstElementChild.remove();
    setTimeout(() => toast.remove(), notice.urgent ? URGENT_MS : SHOWN_MS);
  }

  /** A refusal of the API, in words and with its code; another account has a dialog of its own. */
  refused(error, what) {
    if (error.code !== ANOTHER_ACCOUNT) this.tell(refusalNotice(error, what));
  }

  /** Something could not be fetched; each sentence is told once in half a minute. */
  trouble(error) {
    const now = Date.now();
    for (const [message, at] of this.troubles) {
      if (now - at >= SAME_TROUBLE_MS) this.troubles.delete(message);
    }
    if (this.troubles.has(error.message)) return;
    this.troubles.set(error.message, now);
    this.refused(error, "Request");
  }

  connection(now, before) {
    if (before.kind === "connecting" && now.kind === "live") return;
    const tone = now.kind === "live" ? "plain" : "bad";
    this.write({ title: now.kind === "live" ? "Connection is live again" : now.text, tone });
  }

  toast({ title, detail, tone }) {
    const close = element(
      "button",
      { class: "icon-button", type: "button", "aria-label": "Dismiss" },
      icon("close"),
    );
    const text = element("div", {}, element("p", { class: "toast-title" }, title));
    if (detail) text.append(element("p", { class: "toast-detail" }, detail));
    const toast = element("div", { class: "toast", "data-tone": tone }, text, close);
    close.addEventListener("click", () => toast.remove());
    return toast;
  }

  write({ title, detail, tone }) {
    const at = this.desk.market.now(Date.now());
    const line = element(
      "li",
      { class: "log-line", "data-tone": tone },
      element("time", { class: "log-time" }, at === null ? "" : when(at, at)),
      element("span", {}, [title, detail].filter(Boolean).join(". ").replace(/\.\. /g, ". ")),
    );
    this.log.prepend(line);
    while (this.log.childElementCount > MOST_LINES) this.log.lastElementChild.remove();
    this.lines += 1;
    write(part("count", "log"), String(Math.min(this.lines, MOST_LINES)));
    attribute(part("log-empty"), "hidden", true);
  }
}
