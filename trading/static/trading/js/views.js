// Which part of the screen is in front: the tabs of the blotter, and the bottom tabs of a phone.

import { attribute, part } from "./dom.js";

export function attach(desk) {
  const tabs = [...document.querySelectorAll("[data-tab]")];
  const buttons = [...document.querySelectorAll("[data-show]")];

  const openTab = (name) => {
    for (const tab of tabs) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      part("pane", tab.dataset.tab).hidden = !chosen;
    }
  };
  const openView = (name) => {
    document.body.dataset.view = name;
    for (const button of buttons) {
      attribute(button, "aria-current", button.dataset.show === name);
    }
  };

  for (const tab of tabs) {
    tab.addEventListener("click", () => openTab(tab.dataset.tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      openTab(next.dataset.tab);
      next.focus();
    });
  }
  for (const button of buttons)
    button.addEventListener("click", () => openView(button.dataset.show));
  desk.on("view", openView);
  desk.on("tab", (name) => {
    openView("portfolio");
    openTab(name);
    part("tab", name).focus();
  });
}
