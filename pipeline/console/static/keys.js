// Keys: registered once with what they do, shown by `?`. They rest while somebody types; Escape leaves a field.

import { fill, h } from "./dom.js";

const known = new Map();

/** Do `action` when `key` is pressed; `what` is shown on the sheet. `up` is called when it is let go. */
export function on(key, what, action, up = null) {
  known.set(key, { what, action, up });
}

const typing = (target) =>
  target.closest("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable]");
const shown = (key) => ({ " ": "space", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" })[key] ?? key;

export function sheet() {
  const dialog = document.getElementById("keys");
  const rows = [...known].flatMap(([key, { what }]) => [h("dt", {}, h("kbd", {}, shown(key))), h("dd", {}, what)]);
  fill(document.getElementById("keys-list"), h("dt", {}, h("kbd", {}, "?")), h("dd", {}, "this sheet"), rows,
    h("dt", {}, h("kbd", {}, "Esc")), h("dd", {}, "leave a field"));
  dialog.open ? dialog.close() : dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.key === "Enter" && !document.querySelector("dialog[open]")) { known.get("Enter")?.action(); return; }
  if (event.key === "Escape" && typing(event.target) && !event.target.closest("dialog")) { document.getElementById("main").focus(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "?") { event.preventDefault(); sheet(); return; }
  if (document.querySelector("dialog[open]")) return;
  const found = known.get(event.key);
  // A button that has the focus is pressed by Enter and space itself.
  if (!found || (event.target.closest("button, a, summary") && (event.key === "Enter" || event.key === " "))) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) found.action();
});
document.addEventListener("keyup", (event) => {
  const found = known.get(event.key);
  if (found?.up) found.up();
});
document.getElementById("show-keys")?.addEventListener("click", sheet);
