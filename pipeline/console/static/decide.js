// The decision: one key for each outcome, a reason where it restricts, notes, and a way back for a while.

import { fill, h, spoken } from "./dom.js";
import { toast } from "./toast.js";

const OUTCOMES = [["1", "allow", "Allow"], ["2", "label", "Label"], ["3", "limit", "Limit"], ["4", "remove", "Remove"]];

export class Decision {
  constructor(view, { send, skip, escalate, release }) {
    this.view = view;
    this.action = null;
    this.sending = send;
    this.buttons = OUTCOMES.map(([key, action, name]) => h("button", { type: "button", "aria-pressed": "false", "data-action": action, onclick: () => this.choose(action) }, name, h("kbd", {}, key)));
    this.harm = h("select", { name: "harm" }, h("option", { value: "" }, "choose…"),
      view.harms.map((each) => h("option", { value: each.name, selected: each.name === view.task.harm }, `${spoken(each.name)}: ${each.what}`)));
    this.label = h("input", { name: "label", maxlength: 200, list: "labels", placeholder: "what viewers are told" });
    this.reason = h("input", { name: "reason", maxlength: 2000, placeholder: "for the platform; else the reason's own" });
    this.notes = h("textarea", { name: "notes", maxlength: 20000, placeholder: "only for colleagues" });
    this.families = view.scores_hidden ? [] : view.signals.filter((each) => each.probability !== null && each.probability >= 0.3).slice(0, 6);
    this.seen = this.families.map((each) => h("select", { "data-family": each.family, "aria-label": spoken(each.family) },
      h("option", { value: "" }, "cannot tell"), h("option", { value: "yes" }, "yes"), h("option", { value: "no" }, "no")));
    this.more = h("div", { class: "stack more" });
    this.button = h("button", { type: "button", class: "primary send", disabled: true, onclick: () => this.send() }, "Decide", h("kbd", {}, "Enter"));
    this.element = h("section", { class: "card decide" }, h("h2", {}, view.scores_hidden ? "Your first answer, before the scores" : "Your decision"),
      h("div", { class: "outcomes", role: "group", "aria-label": "Outcome" }, this.buttons), this.more,
      h("div", { class: "row more" }, this.button),
      h("div", { class: "row more" }, h("button", { type: "button", onclick: skip }, "Skip", h("kbd", {}, "s")), h("button", { type: "button", onclick: escalate }, "Move", h("kbd", {}, "e")),
        h("button", { type: "button", onclick: release }, "Give back", h("kbd", {}, "q"))),
      h("datalist", { id: "labels" }, view.labels.map((each) => h("option", { value: each }))));
    if (!view.scores_hidden) this.fields();
  }

  fields() {
    const restricts = this.action !== null && this.action !== "allow";
    fill(this.more, this.families.length ? h("fieldset", { class: "plain" }, h("legend", {}, "Did you see it yourself?"),
      this.families.map((each, i) => h("label", { class: "check" }, spoken(each.family), this.seen[i]))) : null,
    restricts ? h("label", {}, "Reason", this.harm) : null,
    this.action === "label" || this.action === "limit" ? h("label", {}, "Label", this.label) : null,
    restricts ? h("label", {}, "In words", this.reason) : null,
    h("label", {}, "Notes", this.notes));
  }

  choose(action) {
    this.action = action;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.action === action));
    this.button.disabled = false;
    if (!this.view.scores_hidden) this.fields();
  }

  /** Go to a field, where it is shown. */
  focus(name) {
    const field = { harm: this.harm, seen: this.seen[0], notes: this.notes }[name];
    if (field?.isConnected) field.focus();
  }

  async send() {
    if (!this.action || this.sent) return;
    if (this.action !== "allow" && !this.view.scores_hidden && !this.harm.value && !this.reason.value.trim()) {
      toast("A restriction needs a reason: choose one, or say it in words.");
      this.harm.focus();
      return;
    }
    this.sent = true;
    this.button.disabled = true;
    const said = (answer) => this.families.filter((_, i) => this.seen[i].value === answer).map((each) => each.family);
    const restricts = this.action !== "allow";
    try {
      await this.sending({ action: this.action, harm: restricts ? this.harm.value || null : null, reason: restricts ? this.reason.value : "",
        label: restricts ? this.label.value || null : null, notes: this.notes.value, confirmed: said("yes"), denied: said("no") });
    } finally {
      this.sent = false;
      this.button.disabled = false;
    }
  }
}
