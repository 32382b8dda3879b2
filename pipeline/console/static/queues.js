// The queues as they are now, kept up to date by server-sent events.

import { get } from "./api.js";
import { fill, h, relative, span } from "./dom.js";
import { on } from "./keys.js";

const queues = new Map();
const body = document.querySelector("#queues tbody");
const live = document.getElementById("live");
const mayWork = Boolean(document.getElementById("next"));

const EDGES = [0, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 48 * 3600];
const NAMES = ["late", "15 min", "1 h", "4 h", "12 h", "1 day", "2 days", "more"];

function histogram(slack) {
  const counts = new Array(EDGES.length + 1).fill(0);
  for (const seconds of slack) counts[EDGES.findIndex((edge) => seconds < edge) === -1 ? EDGES.length : EDGES.findIndex((edge) => seconds < edge)] += 1;
  const most = Math.max(1, ...counts);
  const words = counts.map((count, i) => (count ? `${count} ${i === 0 ? "late" : `within ${NAMES[i]}`}` : "")).filter(Boolean).join(", ");
  const bars = counts.map((count, i) => {
    const height = Math.round((count / most) * 32);
    return h("rect", { x: i * 25 + 2, y: 34 - height, width: 21, height, class: i === 0 ? "late" : i < 3 ? "soon" : "" },
      h("title", {}, `${count}: ${NAMES[i]}`));
  });
  return h("svg", { class: "histogram", viewBox: "0 0 200 36", role: "img", "aria-label": words || "nothing waits" },
    bars, h("line", { x1: 0, x2: 200, y1: 35, y2: 35 }));
}

const scale = () => h("svg", { class: "scale", viewBox: "0 0 200 14", "aria-hidden": "true" },
  ["late", "15m", "1h", "4h", "12h", "1d", "2d", "+"].map((name, i) => h("text", { x: i * 25 + 12.5, y: 11 }, name)));
document.getElementById("slack").append(scale());

function row(queue) {
  const link = `/case?queue=${encodeURIComponent(queue.name)}`;
  return h("tr", { class: queue.depth ? "" : "empty", "data-queue": queue.name },
    h("td", {}, h("div", { class: "name" }, queue.name), h("div", { class: "muted small" }, queue.what)),
    h("td", { class: "number" }, h("span", { class: "depth" }, String(queue.depth)),
      queue.held ? h("div", { class: "muted small" }, `${queue.held} held back`) : null),
    h("td", { class: `number ${queue.overdue ? "bad" : ""}` }, String(queue.overdue)),
    h("td", { class: `number ${queue.breaches ? "warn" : ""}`, title: queue.breaches === null ? "No answers lately: the pace is unknown." : "" },
      queue.breaches === null ? "–" : String(queue.breaches)),
    h("td", {}, queue.oldest ? relative(queue.oldest) : "–"),
    h("td", {}, histogram(queue.slack)),
    h("td", {}, queue.at_work.length ? queue.at_work.join(", ") : h("span", { class: "muted" }, "nobody"),
      h("div", { class: "muted small" }, `${span(queue.handling_seconds)} a case${queue.handling_measured ? "" : " (assumed)"}`)),
    h("td", {}, mayWork && queue.depth ? h("a", { class: "button", href: link }, "Work", h("span", { class: "hidden" }, ` ${queue.name}`)) : null));
}

function show() {
  const all = [...queues.values()];
  fill(body, all.length ? all.map(row) : h("tr", {}, h("td", { colspan: 8, class: "muted" }, "No queue is yours. Ask a lead.")));
  const depth = all.reduce((sum, queue) => sum + queue.depth, 0);
  const late = all.reduce((sum, queue) => sum + queue.overdue, 0);
  document.getElementById("summary").textContent = depth ? `${depth} cases wait, ${late} of them late.` : "Nothing waits. Well done.";
}

for (const queue of await get("/queues")) queues.set(queue.name, queue);
show();

function listen() {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("queue", (event) => {
    const queue = JSON.parse(event.data);
    queues.set(queue.name, queue);
    show();
  });
  events.addEventListener("open", () => { live.textContent = "live"; live.classList.add("on"); });
  events.addEventListener("error", () => {
    live.textContent = "connecting again";
    live.classList.remove("on");
    // The browser gives up where it was refused: by whom nobody is any more (then this goes to the sign-in), or just now.
    if (events.readyState === EventSource.CLOSED) get("/me").catch(() => {}).then(() => setTimeout(listen, 5000));
  });
}
listen();
setInterval(show, 30000);
if (mayWork) on("n", "take the most urgent case", () => location.assign("/case"));
