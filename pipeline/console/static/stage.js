// What is being judged: a video with its timeline, a picture with its views, or a sound.

import { clock, fill, h } from "./dom.js";
import { points, Timeline } from "./timeline.js";

const FRAME = 1 / 25;
/** Places with a lower score are left to the timeline: a box around them would say that something is there. */
const SHOWN = 0.3;

const boxes = (found) => h("svg", { class: "boxes", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
  found.map(([x0, y0, x1, y1]) => h("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 })));

const asked = (url, words) => `${url}?${new URLSearchParams(words)}`;

/** Crops of the faces (and other places) that evidence points at, the strongest of each track first. */
export function faces(view, go) {
  const seen = new Set();
  const found = view.signals.flatMap((signal) => signal.evidence.map((each, index) => ({ ...each, family: signal.family, index })))
    .filter((each) => each.box && each.score >= SHOWN).sort((a, b) => b.score - a.score)
    .filter((each) => { const key = `${each.track} ${each.at} ${each.heat}`; return seen.has(key) ? false : seen.add(key); }).slice(0, 12);
  if (!found.length) return null;
  return h("div", { class: "faces", role: "group", "aria-label": "Places that evidence points at" }, found.flatMap((each) => {
    const at = each.at ?? 0;
    const where = view.media.kind === "image" ? "" : `, ${clock(at)}`;
    const label = `${each.track === null ? "place" : `face ${each.track + 1}`}${where}: ${each.family.replaceAll("_", " ")} ${each.score.toFixed(2)}`;
    const crop = h("button", { type: "button", onclick: () => go(at), title: label },
      h("span", { class: "media" }, h("img", { src: asked(view.media_urls.crop, { at, box: each.box.join(",") }), alt: label, loading: "lazy" })), h("span", {}, label));
    if (!each.heat) return [crop];
    const map = asked(view.media_urls.heat, { at, family: each.family, evidence: each.index });
    return [crop, h("button", { type: "button", onclick: () => go(at), title: `Where the score comes from: ${label}` },
      h("span", { class: "media" }, h("img", { src: map, alt: `Heat map of ${label}`, loading: "lazy" })), h("span", {}, "where it comes from"))];
  }));
}

class Stage {
  constructor(view) {
    this.view = view;
    this.points = points(view.signals);
    this.media = h("div", { class: "media" });
    this.element = h("div", { class: "stage" }, this.media);
    this.below = [];
  }

  get now() { return 0; }
  go() {}
  play() {}
  mute() { for (const player of this.element.querySelectorAll("video, audio")) player.muted = !player.muted; }
  step() {}
  jump(direction) {
    if (!this.points.length) return;
    const after = this.points.filter((each) => (direction > 0 ? each.at > this.now + 0.05 : each.at < this.now - 0.05));
    const next = direction > 0 ? after[0] : after.at(-1);
    if (next) this.go(next.at);
  }
  peak() {
    const best = [...this.points].sort((a, b) => b.score - a.score)[0];
    if (best) this.go(best.at);
  }
}

class VideoStage extends Stage {
  constructor(view, care) {
    super(view);
    this.video = h("video", { src: view.media_urls.original, controls: true, preload: "metadata", playsinline: "", loop: true });
    this.video.muted = true;
    if (care.autoplay) this.video.autoplay = true;
    this.marks = h("div", {});
    fill(this.media, this.video, this.marks);
    this.timeline = new Timeline(view, (at) => this.go(at));
    this.rate = h("select", { "aria-label": "Speed", onchange: () => { this.video.playbackRate = Number(this.rate.value); } },
      [0.25, 0.5, 1, 1.5, 2].map((rate) => h("option", { value: rate, selected: rate === 1 }, `${rate} ×`)));
    this.place = h("span", { class: "muted number" }, clock(0));
    const button = (key, text, action) => h("button", { type: "button", onclick: action }, text, h("kbd", {}, key));
    this.tools = h("div", { class: "tools" }, button("l", "Play", () => this.play()), button("m", "Sound", () => this.mute()), button("←", "Frame", () => this.step(-1)),
      button("→", "Frame", () => this.step(1)), button("k", "Before", () => this.jump(-1)), button("j", "Next", () => this.jump(1)),
      button("p", "Strongest", () => this.peak()), this.rate, this.place);
    this.video.addEventListener("timeupdate", () => this.moved());
    this.video.addEventListener("seeked", () => this.moved());
    this.video.addEventListener("error", () => {
      const picture = h("img", { alt: "A frame of the video", src: asked(view.media_urls.picture, { at: 0 }) });
      this.still = picture;
      fill(this.media, picture, this.marks);
      this.place.textContent = "This browser cannot play the file: single frames are shown.";
    });
    this.below = [this.tools, this.timeline.element];
  }

  get now() { return this.still ? this.stillAt ?? 0 : this.video.currentTime; }

  go(at) {
    if (this.still) { this.stillAt = at; this.still.src = asked(this.view.media_urls.picture, { at }); this.moved(); return; }
    this.video.pause();
    this.video.currentTime = at;
  }

  play() { if (this.video.paused) this.video.play(); else this.video.pause(); }
  step(by) { this.go(Math.max(0, this.now + by * FRAME)); }

  moved() {
    this.timeline.at(this.now);
    this.place.textContent = clock(this.now);
    const here = this.points.filter((each) => each.box && Math.abs(each.at - this.now) < 0.12);
    fill(this.marks, here.length ? boxes(here.map((each) => each.box)) : null);
  }
}

const VIEWS = [["picture", "Picture"], ["noise", "Noise"], ["compression", "Compression"], ["spectrum", "Spectrum"]];
const SAID = {
  picture: "", noise: "What is left when the smooth part is taken away. Another strength or grain in one place can mean that it came from elsewhere; plain sky and blurred parts differ honestly.",
  compression: "How much each place changes when the picture is saved again. Edges and text light up in honest pictures too.",
  spectrum: "Frequencies of the noise, low ones in the middle. Bright points in a regular grid come from up-sampling, as in many generators, and from resizing.",
};

class ImageStage extends Stage {
  constructor(view) {
    super(view);
    this.beside = null;
    this.zoom = false;
    this.buttons = VIEWS.slice(1).map(([what, name], i) => h("button", { type: "button", "aria-pressed": "false", onclick: () => this.look(what) }, `Beside it: ${name.toLowerCase()}`, h("kbd", {}, ["x", "c", "v"][i])));
    this.said = h("p", { class: "muted small" });
    this.below = [h("div", { class: "tools" }, this.buttons, h("button", { type: "button", onclick: () => this.enlarge() }, "Full size", h("kbd", {}, "z"))), this.said];
    this.show();
  }

  look(what) { this.beside = this.beside === what ? null : what; this.show(); }
  enlarge() { this.zoom = !this.zoom; if (this.zoom) this.element.classList.remove("small"); this.show(); }

  show() {
    const marked = this.view.signals.flatMap((signal) => signal.evidence).filter((each) => each.box && each.score >= SHOWN).map((each) => each.box);
    const picture = (what) => h("img", { src: asked(this.view.media_urls[what], {}), alt: what === "picture" ? "The upload" : `The upload's ${what}` });
    const first = h("div", { class: "media" }, picture("picture"), boxes(marked));
    fill(this.media, this.beside ? h("div", { class: "pair" }, first, picture(this.beside)) : first);
    this.media.classList.toggle("zoomed", this.zoom);
    this.said.textContent = SAID[this.beside ?? "picture"];
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(this.beside === VIEWS[i + 1][0])));
  }
}

class SoundStage extends Stage {
  constructor(view) {
    super(view);
    this.audio = h("audio", { src: view.media_urls.original, controls: true, preload: "metadata" });
    const shown = (what) => h("img", { src: view.media_urls[what], alt: what === "wave" ? "Waveform" : "Spectrogram, 0 to 8 kHz" });
    this.element.classList.add("sound");
    fill(this.media, shown("wave"), shown("spectrogram"), this.audio);
    this.timeline = new Timeline(view, (at) => this.go(at));
    this.audio.addEventListener("timeupdate", () => this.timeline.at(this.audio.currentTime));
    this.below = [this.timeline.element];
  }

  get now() { return this.audio.currentTime; }
  go(at) { this.audio.currentTime = at; this.timeline.at(at); }
  play() { if (this.audio.paused) this.audio.play(); else this.audio.pause(); }
}

class NothingStage extends Stage {
  constructor(view) {
    super(view);
    fill(this.media, h("p", { class: "centre" }, "The file could not be read: there is nothing to show."));
  }
}

/** The stage for what the upload is. */
export function stage(view, care) {
  switch (view.media.kind) {
    case "video": case "animation": return view.media_urls.original && view.media.kind === "video" ? new VideoStage(view, care) : new ImageStage(view);
    case "image": return new ImageStage(view);
    case "audio": return new SoundStage(view);
    default: return new NothingStage(view);
  }
}
