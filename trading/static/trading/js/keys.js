// API keys of the account: made, shown once, revoked.

import * as api from "./api.js";
import { confirmed } from "./confirm.js";
import { element, part, write } from "./dom.js";

const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }); // keys run on wall time

export function attach(desk, { notices }) {
  const dialog = part("keys");
  const form = part("keys-form");

  part("open-keys").addEventListener("click", () => {
    part("menu").open = false;
    part("new-key").hidden = true;
    write(part("keys-address"), location.origin);
    dialog.showModal();
    list(notices);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.submitter.disabled = true; // its answer shows the one secret; a second would cover it
    try {
      reveal(await api.post("/api/keys", { name: form.elements.name.value }));
      form.reset();
    } catch (error) {
      notices.refused(error, "New key");
    }
    event.submitter.disabled = false;
    list(notices);
  });
  part("new-key-copy").addEventListener("click", copy);
  dialog.addEventListener("close", () => write(part("new-key-secret"), ""));
}

function reveal({ key_id: id, secret }) {
  write(part("new-key-id"), id);
  write(part("new-key-secret"), secret);
  write(part("new-key-copy"), "Copy both");
  part("new-key").hidden = false;
}

// As environment variables, which is how clients read them.
async function copy() {
  const [id, secret] = [part("new-key-id").textContent, part("new-key-secret").textContent];
  const lines = [`APCA_API_KEY_ID=${id}`, `APCA_API_SECRET_KEY=${secret}`];
  try {
    await navigator.clipboard.writeText(
      [...lines, `APCA_API_BASE_URL=${location.origin}`].join("\n"),
    );
    write(part("new-key-copy"), "Copied");
  } catch {
    write(part("new-key-copy"), "The browser does not allow it: select and copy");
  }
}

async function list(notices) {
  try {
    const keys = await api.get("/api/keys");
    part("keys-rows").replaceChildren(...keys.map((key) => row(key, notices)));
  } catch (error) {
    notices.refused(error, "List of keys");
  }
}

function row(key, notices) {
  const used = key.last_used_at ? date.format(Date.parse(key.last_used_at)) : "never";
  const end = element("button", { class: "button-quiet button-danger", type: "button" }, "Revoke");
  end.setAttribute("aria-label", `Revoke ${key.key_id}`);
  end.addEventListener("click", () => revoke(key, notices));
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("code", {}, key.key_id)),
    element("td", {}, key.name || "–"),
    element("td", {}, key.revoked_at ? "revoked" : used),
    element("td", { class: "right" }, key.revoked_at ? "" : end),
  );
}

async function revoke(key, notices) {
  const sure = await confirmed({
    title: "Revoke this key?",
    text: `Programs that use ${key.key_id} are shut out at once, and for good.`,
    yes: "Revoke it",
    no: "Keep it",
  });
  if (!sure) return;
  try {
    await api.remove(`/api/keys/${key.key_id}`);
  } catch (error) {
    notices.refused(error, "Revocation");
  }
  list(notices);
}
