// The timeline below a player: a lane for each family with its scores, marks where frames were looked at, a playhead.

import { clock, h, percent, spoken } from "./dom.js";

const WIDTH = 1000;
const LEFT = 190;
const LANE = 34;

export const colour = (i) => `var(--f${(i % 7) + 1})`;

/** All points of evidence with a moment, in order of time. */
export function points(signals) {
  return signals.flatMap((signal) => signal.evidence.map((each, index) => ({ ...each, family: signal.family, index })))
    .filter((each) => each.at !== null)
    .sort((a, b) => a.at - b.at || b.score - a.score);
}

export class Timeline {
  constructor(view, seek) {
    this.duration = view.media.duration || Math.max(1, ...view.media.looked_at);
    this.lanes = view.signals.filter((signal) => signal.evidence.some((each) => each.at !== null));
    this.points = points(view.signals);
    this.seek = seek;
    this.element = h("div", { class: "timeline" }, this.draw(view), this.words(view));
  }

  x(at) { return LEFT + (at / this.duration) * (WIDTH - LEFT - 10); }

  draw(view) {
    const height = Math.max(1, this.lanes.length) * LANE + 34;
    const svg = h("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "group", "aria-label": "Scores over time" });
    for (const at of view.media.looked_at) {
      svg.append(h("line", { class: "frame", x1: this.x(at), x2: this.x(at), y1: 4, y2: height - 26 }, h("title", {}, `looked at ${clock(at)}`)));
    }
    this.lanes.forEach((signal, i) => svg.append(this.lane(signal, i)));
    const steps = 8;
    for (let i = 0; i <= steps; i += 1) {
      const at = (this.duration * i) / steps;
      svg.append(h("text", { x: this.x(at), y: height - 6, "text-anchor": i === steps ? "end" : "middle", "font-size": 12, fill: "var(--soft)" }, clock(at)));
    }
    svg.append(h("line", { class: "axis", x1: LEFT, x2: WIDTH - 10, y1: height - 22, y2: height - 22 }));
    this.head = h("line", { class: "head", x1: LEFT, x2: LEFT, y1: 0, y2: height - 20 });
    svg.append(this.head);
    svg.addEventListener("click", (event) => {
      const share = ((event.clientX - svg.getBoundingClientRect().left) / svg.getBoundingClientRect().width) * WIDTH;
      if (share >= LEFT) this.seek(Math.min(this.duration, ((share - LEFT) / (WIDTH - LEFT - 10)) * this.duration));
    });
    return svg;
  }

  lane(signal, i) {
    const top = i * LANE + 4;
    const base = top + LANE - 8;
    const group = h("g", { class: "lane" }, h("text", { x: 0, y: top + 18 }, `${spoken(signal.family)} ${percent(signal.probability)}`),
      h("line", { class: "axis", x1: LEFT, x2: WIDTH - 10, y1: base, y2: base }));
    const moments = signal.evidence.filter((each) => each.at !== null).sort((a, b) => a.at - b.at);
    const y = (score) => base - score * (LANE - 12);
    if (moments.length > 2) {
      const path = moments.map((each, n) => `${n ? "L" : "M"}${this.x(each.at).toFixed(1)} ${y(each.score).toFixed(1)}`).join("");
      group.append(h("path", { d: path, fill: "none", stroke: colour(i), "stroke-width": 1.5, opacity: 0.7 }));
    }
    for (const each of moments) {
      const words = `${spoken(signal.family)}: score ${each.score.toFixed(2)} at ${clock(each.at)}${each.note ? ` – ${each.note}` : ""}`;
      if (each.until !== null) group.append(h("rect", { class: "stretch", x: this.x(each.at), width: Math.max(3, this.x(each.until) - this.x(each.at)), y: top, height: LANE - 8, fill: colour(i) }));
      group.append(h("circle", { class: "dot", cx: this.x(each.at), cy: y(each.score), r: 4.5, fill: colour(i),
        onclick: (event) => { event.stopPropagation(); this.seek(each.at); } }, h("title", {}, words)));
    }
    return group;
  }

  words(view) {
    const looked = view.media.looked_at.length;
    if (view.scores_hidden) return h("p", { class: "muted small" }, "Scores are shown after your first answer.");
    const whole = this.lanes.length ? "" : " No score points at a moment: each speaks of the whole.";
    if (!looked) return h("p", { class: "muted small" }, `Sound only: the whole that was listened to is shown.${whole}`);
    const gap = view.media.largest_gap;
    return h("p", { class: "muted small" }, `${looked} frames were looked at.`,
      gap ? ` The longest stretch without a look is ${gap.toFixed(1)} s: a shorter manipulation may lie in it unseen.` : "");
  }

  at(moment) {
    const x = this.x(Math.min(moment, this.duration)).toFixed(1);
    this.head.setAttribute("x1", x);
    this.head.setAttribute("x2", x);
  }
}
