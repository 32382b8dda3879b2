// Short messages at the edge of the page; screen readers hear them too.

import { h } from "./dom.js";

/** Show a message; with an action it stays as long as that can be taken. */
export function toast(message, { action = null, label = "", seconds = 6 } = {}) {
  const close = () => made.remove();
  const made = h(
    "div",
    { class: "toast" },
    h("span", {}, message),
    action && h("button", { type: "button", onclick: () => { close(); action(); } }, label),
  );
  document.getElementById("toasts").append(made);
  setTimeout(close, seconds * 1000);
  return close;
}
