// <lease-clock>: how long a case is still yours. It sends a heartbeat while somebody works, and says when it ends.

import { post } from "./api.js";

const BEAT = 30;
const QUIET = 120;
const LOW = 60;

class LeaseClock extends HTMLElement {
  connectedCallback() {
    this.until = new Date(this.getAttribute("until")).getTime();
    this.seen = Date.now();
    this.active = () => { this.seen = Date.now(); };
    for (const kind of ["pointermove", "keydown", "scroll", "play"]) document.addEventListener(kind, this.active, { passive: true, capture: true });
    this.ticking = setInterval(() => this.tick(), 1000);
    this.beating = setInterval(() => this.beat(), BEAT * 1000);
    this.tick();
  }

  disconnectedCallback() {
    clearInterval(this.ticking);
    clearInterval(this.beating);
    for (const kind of ["pointermove", "keydown", "scroll", "play"]) document.removeEventListener(kind, this.active, { capture: true });
  }

  tick() {
    const left = Math.max(0, Math.round((this.until - Date.now()) / 1000));
    this.textContent = `yours for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    this.classList.toggle("low", left < LOW);
    if (left === 0) this.end("The case went back to the queue.");
  }

  async beat() {
    if (Date.now() - this.seen > QUIET * 1000) return;
    try {
      const kept = await post(`/work/${this.getAttribute("lease")}/keep`);
      this.until = new Date(kept.until).getTime();
      this.tick();
    } catch (refused) {
      if (refused.status === 409) this.end(refused.message);
    }
  }

  end(why) {
    clearInterval(this.ticking);
    clearInterval(this.beating);
    this.dispatchEvent(new CustomEvent("ended", { detail: why, bubbles: true }));
  }
}

customElements.define("lease-clock", LeaseClock);
