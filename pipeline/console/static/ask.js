// A small question in a dialog; answers with what was filled in, or null.

import { h } from "./dom.js";

export function ask(title, fields, yes = "Do it") {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title }, h("form", { method: "dialog", class: "stack" }, h("h2", {}, title), fields,
      h("div", { class: "row" }, h("button", { class: "primary", value: "yes" }, yes), h("button", { value: "", formnovalidate: "" }, "Cancel"))));
    dialog.addEventListener("close", () => {
      const said = dialog.returnValue === "yes" ? Object.fromEntries(new FormData(dialog.querySelector("form"))) : null;
      dialog.remove();
      resolve(said);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

