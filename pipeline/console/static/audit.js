// The audit log, page by page, and whether its chain holds.

import { get } from "./api.js";
import { h } from "./dom.js";
import "./keys.js";
import { toast } from "./toast.js";

const body = document.querySelector("#entries tbody");
let after = 0;

async function more() {
  const entries = await get(`/audit?after=${after}&limit=100`);
  for (const entry of entries) {
    after = entry.seq;
    body.append(h("tr", {}, h("td", { class: "number" }, String(entry.seq)), h("td", {}, new Date(entry.at).toLocaleString()),
      h("td", {}, entry.actor), h("td", {}, entry.verb), h("td", {}, entry.subject), h("td", { class: "small" }, entry.words ? h("div", {}, `“${entry.words}”`) : null, entry.detail)));
  }
  document.getElementById("more").hidden = entries.length < 100;
}

document.getElementById("more").addEventListener("click", () => more().catch((refused) => toast(refused.message)));
document.getElementById("verify").addEventListener("click", async () => {
  const chain = await get("/audit/verify");
  const place = document.getElementById("chain");
  place.className = chain.broken_at === null ? "good" : "bad";
  place.textContent = chain.broken_at === null
    ? `The chain holds: ${chain.entries} entries, head ${chain.head.slice(0, 16)}…`
    : `Broken: ${chain.why}.`;
});
await more();
