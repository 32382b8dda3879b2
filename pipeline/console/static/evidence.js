// What is known besides the picture: signals as calibrated statements, rules, provenance, matches, context, history.

import { h, percent, relative, spoken } from "./dom.js";
import { colour } from "./timeline.js";

function signal(each, i) {
  const span = each.low === null ? null : h("span", { class: "bar-span" });
  const fill = each.probability === null ? null : h("span", { class: "bar-mark" });
  const track = h("div", { class: "bar-track", "aria-hidden": "true" }, span, fill);
  if (span) Object.assign(span.style, { left: `${each.low * 100}%`, width: `${(each.high - each.low) * 100}%`, background: colour(i) });
  if (fill) fill.style.left = `calc(${each.probability * 100}% - 1px)`;
  return h("li", {}, h("div", { class: "top" }, h("span", {}, spoken(each.family), each.advisory ? h("span", { class: "muted small" }, " (hint)") : null),
    h("span", {}, percent(each.probability))), track, h("div", { class: "muted small" }, each.sentence));
}

export function signals(view) {
  if (view.scores_hidden) return h("section", { class: "card" }, h("h2", {}, "What the machine believes"), h("p", { class: "muted" }, "Hidden until you have answered once, so that it does not sway you."));
  const order = [...view.signals].sort((a, b) => (b.probability ?? -1) - (a.probability ?? -1));
  const told = order.filter((each) => each.probability !== null && (each.probability >= 0.3 || each.status === "abstained"));
  const rest = order.filter((each) => !told.includes(each));
  const lane = (each) => view.signals.indexOf(each);
  return h("section", { class: "card" }, h("h2", {}, "What the machine believes"),
    told.length ? h("ul", { class: "signals" }, told.map((each) => signal(each, lane(each)))) : h("p", { class: "muted" }, "Nothing suspicious."),
    rest.length ? h("details", {}, h("summary", {}, `${rest.length} more, unsuspicious or not judged`), h("ul", { class: "signals" }, rest.map((each) => signal(each, lane(each))))) : null);
}

export function why(view) {
  const acted = view.trace.filter((hit) => hit.mode === "live" && !hit.exempted_by);
  const other = view.trace.filter((hit) => !acted.includes(hit));
  const line = (hit) => h("li", {}, hit.because, h("span", { class: "muted small" }, ` ${hit.rule}: ${spoken(hit.action)}${hit.fail_mode ? ", a precaution" : ""}${hit.exempted_by ? `, left alone (${spoken(hit.exempted_by)})` : ""}${hit.mode === "shadow" ? ", only tried out" : ""}`));
  return h("section", { class: "card" }, h("h2", {}, "Why it is here"),
    view.request ? h("p", {}, h("strong", {}, view.request)) : null,
    acted.length ? h("ul", { class: "plain-list" }, acted.map(line)) : h("p", { class: "muted" }, view.scores_hidden ? "Hidden until you have answered once." : view.task.reasons.join(" ") || "–"),
    other.length ? h("details", {}, h("summary", {}, "Rules that did not act"), h("ul", { class: "plain-list" }, other.map(line))) : null);
}

const pair = (name, value) => (value === null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);

export function context(view) {
  const media = view.media;
  const size = media.width ? `${media.width} × ${media.height}` : null;
  return h("section", { class: "card" }, h("h2", {}, "The upload"), h("dl", { class: "facts" },
    pair("caption", view.caption), pair("where", [spoken(view.surface), view.regions.join(", ")].filter(Boolean).join(" in ")),
    pair("when", `${new Date(view.uploaded_at).toLocaleString()} (${relative(view.uploaded_at)})`), pair("uploader", view.uploader_id),
    pair("says", [view.declared_synthetic ? "it is synthetic" : "", ...view.purposes].filter(Boolean).join(", ")), pair("consent", view.consent),
    pair("file", [media.kind, media.container, size, media.duration ? `${media.duration.toFixed(1)} s` : null].filter(Boolean).join(", "))),
  media.metadata.length ? h("details", {}, h("summary", {}, `Metadata (${media.metadata.length})`), h("dl", { class: "facts" }, media.metadata.flatMap(([key, value]) => pair(key, value)))) : null);
}

export function provenance(view) {
  return h("section", { class: "card" }, h("h2", {}, "Where it says it comes from"),
    h("ul", { class: "plain-list" }, view.provenance.sentences.map((each) => h("li", {}, each))),
    view.provenance.conflicts.length ? [h("h3", { class: "warn" }, "What does not fit"), h("ul", { class: "plain-list" }, view.provenance.conflicts.map((each) => h("li", {}, each)))] : null,
    view.matches.length ? [h("h3", {}, "Known content"), h("ul", { class: "plain-list" }, view.matches.map((each) => h("li", {}, `${each.bank}: ${each.distance === 0 ? "the same" : `${each.distance} of 256 bits differ`}, ${percent(each.share)} of it${each.live ? "" : " (does not count)"}`)))] : null);
}

export function history(view) {
  const line = (each) => h("li", {}, `${relative(each.decided_at)}: ${spoken(each.action)} by ${spoken(each.decided_by)}${each.final ? "" : ", provisionally"} `, h("span", { class: "muted small" }, `${each.media_id}, round ${each.round}`));
  const list = (items, none) => (items.length ? h("ul", { class: "plain-list" }, items.slice(0, 8).map(line)) : h("p", { class: "muted" }, none));
  return h("section", { class: "card" }, h("h2", {}, "Before"), h("h3", {}, "This content"), list(view.history, "Never seen before."),
    view.uploader_id ? [h("h3", {}, "This uploader"), list(view.uploader_history, "Nothing else by them.")] : null,
    view.notes.length ? [h("h3", {}, "Notes of colleagues"), h("ul", { class: "plain-list" }, view.notes.map((each) => h("li", {}, each.words, h("span", { class: "muted small" }, ` ${each.by}, ${relative(each.at)}`))))] : null,
    view.siblings.length ? h("p", {}, `Your decision speaks for ${view.siblings.length} near ${view.siblings.length === 1 ? "copy" : "copies"} too.`) : null);
}
