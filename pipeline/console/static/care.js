// Care for the person who looks: blurred, muted, small and grey until asked for; how long they looked is counted.
// Blurring hides. It is not claimed to prevent harm.

import { post } from "./api.js";
import { h } from "./dom.js";
import { toast } from "./toast.js";

/** What holds for a harm: a person's preferences with what differs for it. */
export function chosen(preferences, harm) {
  const differs = preferences.per_harm[harm] ?? {};
  const pick = (name) => (differs[name] === null || differs[name] === undefined ? preferences[name] : differs[name]);
  return { ...preferences, blur: pick("blur"), mute: pick("mute"), greyscale: pick("greyscale"), warn: differs.warn ?? true };
}

/** The veil over a stage: `peek` while a key or the button is held, `clear` to keep it sharp. */
export class Veil {
  constructor(stage, care) {
    this.stage = stage;
    this.care = care;
    this.kept = care.blur === 0;
    stage.style.setProperty("--blur", `${care.blur}px`);
    stage.classList.toggle("grey", care.greyscale);
    stage.classList.toggle("small", care.small_first);
    stage.append(h("div", { class: "veil" },
      h("p", {}, stage.classList.contains("sound") ? "Silent until you ask for it" : "Blurred until you ask for it"),
      h("button", { type: "button", onclick: () => this.clear() }, "Show ", h("kbd", {}, "b")),
      h("p", { class: "small" }, "or hold space to look")));
    this.show(this.kept);
  }

  show(clear) {
    this.stage.classList.toggle("blurred", !clear);
    this.stage.classList.toggle("clear", clear);
    document.body.classList.toggle("looking", clear);
    for (const part of document.querySelectorAll(".faces")) {
      part.classList.toggle("blurred-small", !clear);
      part.classList.toggle("grey-small", this.care.greyscale);
    }
    for (const media of this.stage.querySelectorAll("video, audio")) if (!clear && this.care.mute) media.muted = true;
  }

  clear() { this.kept = !this.kept; this.show(this.kept); }
  peek() { this.show(true); }
  unpeek() { this.show(this.kept); }
  large() { this.stage.classList.toggle("small"); }

  get filters() {
    return [!this.stage.classList.contains("clear") && "blur", this.care.mute && "mute", this.care.greyscale && "greyscale",
      this.stage.classList.contains("small") && "small"].filter(Boolean);
  }
}

const TICK = 15;

/** Count the seconds for which a task is on a visible page; told to the server in small pieces. Returns how to stop. */
export function expose(task, veil, preferences, earlier) {
  let seconds = 0;
  let told = 0;
  let work = earlier;
  const tell = () => {
    const piece = seconds - told;
    if (piece < 1) return;
    told = seconds;
    post("/exposure", { task_id: task, seconds: piece, filters: veil.filters }).catch(() => { told -= piece; });
  };
  const timer = setInterval(() => {
    if (document.visibilityState !== "visible") return;
    seconds += 1;
    work += 1;
    if (seconds % TICK === 0) tell();
    if (preferences.break_minutes && work > 0 && work % (preferences.break_minutes * 60) === 0) {
      toast(`You have looked at hard things for ${Math.round(work / 60)} minutes. A short break?`, { seconds: 60 });
    }
  }, 1000);
  return () => { clearInterval(timer); tell(); };
}
