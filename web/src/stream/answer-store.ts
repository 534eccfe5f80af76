import { reduce, type AnswerSignal, type AnswerState } from "./reduce";

/** Nothing is painted in a hidden tab, so animation frames do not come; its title and readers still want news. */
const HIDDEN_TAB_MS = 250;

function nextFrame(callback: () => void): void {
  if (document.hidden) setTimeout(callback, HIDDEN_TAB_MS);
  else requestAnimationFrame(callback);
}

/** An answer that changes at most once per animation frame, however many events arrive; for `useSyncExternalStore`. */
export class AnswerStore {
  #state: AnswerState;
  #pending: AnswerSignal[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #schedule: (callback: () => void) => void;

  constructor(initial: AnswerState, schedule = nextFrame) {
    this.#state = initial;
    this.#schedule = schedule;
  }

  getState = (): AnswerState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  push(signal: AnswerSignal): void {
    this.#pending.push(signal);
    if (this.#pending.length === 1) this.#schedule(() => this.flush());
  }

  /** Fold what is pending now. */
  flush(): void {
    const signals = this.#pending;
    if (signals.length === 0) return;
    this.#pending = [];
    this.#state = signals.reduce(reduce, this.#state);
    for (const listener of this.#listeners) listener();
  }
}
