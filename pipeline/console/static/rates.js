// Shares with their intervals and counts: never a bare number.

import { h, percent, spoken } from "./dom.js";

export const range = (share) => (share.value === null ? h("span", { class: "muted" }, "–")
  : h("span", {}, `${percent(share.value)} `, h("span", { class: "muted small" }, `(${percent(share.low)}–${percent(share.high)}, ${share.hits} of ${share.count})`)));

/** A card with a line for each rule, family or queue. */
export function rates(title, lines, first, one, two, note) {
  return h("section", { class: "card" }, h("h3", {}, title), lines.length
    ? h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, first), h("th", { scope: "col" }, one), h("th", { scope: "col" }, two))),
      h("tbody", {}, lines.map((line) => h("tr", {}, h("td", {}, spoken(line.name)), h("td", {}, range(line.precision)), h("td", {}, range(line.recall))))))
    : h("p", { class: "muted" }, "Nothing yet."), note ? h("p", { class: "muted small" }, note) : null);
}
