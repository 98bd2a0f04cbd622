// The remaining time of one caller, for all requests of its call.

import { pauseLength } from "../rules/clock.js";
import { Offline } from "./errors.js";

/** Throw the reason of a caller that cancelled. React Native has no `throwIfAborted`. @param {AbortSignal | undefined} signal */
export function stopIfAborted(signal) {
  if (signal?.aborted) throw signal.reason ?? Object.assign(new Error("cancelled"), { name: "AbortError" });
}

export class Patience {
  #pauses = 0;
  #slept = 0;
  #draw;

  /**
   * @param {{ clock(): number, sleep: import("../types.js").Sleep, random(): number }} edges
   * @param {number | null} deadline in seconds @param {AbortSignal | undefined} [signal]
   */
  constructor(edges, deadline, signal) {
    this.edges = edges;
    this.deadline = deadline ?? Infinity;
    this.signal = signal;
    this.began = edges.clock();
    this.#draw = edges.random();
  }

  /** Return the seconds that are left. A clock that is set back gives no more time than the pauses have taken. */
  left() {
    return this.deadline - Math.max(this.edges.clock() - this.began, this.#slept);
  }

  /** Return the next pause. @param {number} atLeast */
  next(atLeast) {
    return pauseLength(this.#pauses, this.#draw, atLeast);
  }

  /** Wait before the next request. @param {number} atLeast */
  async pause(atLeast) {
    const length = this.next(atLeast);
    this.#pauses++;
    this.#slept += length;
    this.#draw = this.edges.random();
    await this.edges.sleep(length, this.signal);
    stopIfAborted(this.signal);
  }

  /**
   * Wait for work that outlives this caller. At the deadline, or when the caller cancels, only the waiting ends.
   * @template T @param {Promise<T>} work @returns {Promise<T>}
   */
  async wait(work) {
    const { signal } = this;
    stopIfAborted(signal);
    const left = this.left();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    /** @type {(() => void) | undefined} */
    let cancelled;
    try {
      return await new Promise((resolve, reject) => {
        work.then(resolve, reject);
        if (left !== Infinity) timer = setTimeout(() => reject(new Offline("another call waits for the exchange")), left * 1000);
        cancelled = () => reject(signal?.reason);
        signal?.addEventListener("abort", cancelled);
      });
    } finally {
      clearTimeout(timer);
      if (cancelled) signal?.removeEventListener("abort", cancelled);
    }
  }
}
