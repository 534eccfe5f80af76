import type { AnswerState } from "@lorestream/client";

/** What is shown: a `Run`, or anything else with a state that changes. */
export interface Followed {
  getState: () => AnswerState;
  subscribe: (listener: () => void) => () => void;
}

/** Nothing is painted in a hidden tab, so animation frames do not come; its title and readers still want news. */
const HIDDEN_TAB_MS = 250;
/** Where there are no animation frames. */
const FRAME_MS = 16;

function nextFrame(callback: () => void): void {
  if (typeof requestAnimationFrame !== "function") setTimeout(callback, FRAME_MS);
  else if (typeof document !== "undefined" && document.hidden) setTimeout(callback, HIDDEN_TAB_MS);
  else requestAnimationFrame(callback);
}

/**
 * An answer that changes at most once per animation frame, however many events arrive; for `useSyncExternalStore`.
 *
 * What is rare is there at once: that it got its id, is being stopped, has ended.
 */
export class AnswerStore {
  readonly #followed: Followed;
  readonly #schedule: (callback: () => void) => void;
  readonly #listeners = new Set<() => void>();
  #state: AnswerState;
  #scheduled = false;

  constructor(followed: Followed, schedule = nextFrame) {
    this.#followed = followed;
    this.#schedule = schedule;
    this.#state = followed.getState();
    followed.subscribe(this.#look);
  }

  getState = (): AnswerState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #look = (): void => {
    const { runId, phase, stopping } = this.#followed.getState();
    if (runId !== this.#state.runId || phase !== this.#state.phase || stopping !== this.#state.stopping) this.#show();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      this.#schedule(() => {
        this.#scheduled = false;
        this.#show();
      });
    }
  };

  #show(): void {
    const state = this.#followed.getState();
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}
