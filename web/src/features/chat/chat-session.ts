import type { Link } from "../../stream/follow";
import type { RunSnapshot } from "../../api/types";
import { Exchange, type Scope } from "./exchange";
import { forgetRun, rememberedRuns } from "./remembered-runs";

/** The questions and answers of this tab, oldest first; for `useSyncExternalStore`. */
export class ChatSession {
  #exchanges: readonly Exchange[] = [];
  #opened = 0;
  readonly #listeners = new Set<() => void>();
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  getExchanges = (): readonly Exchange[] => this.#exchanges;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  ask = (question: string, scope: Scope | null): void => {
    this.#set([...this.#exchanges, Exchange.begin(this.#link, question, scope)]);
  };

  /** Bring back what a reload interrupted: every run continues where the server has it now. */
  async open(): Promise<void> {
    const opening = (this.#opened += 1);
    const runs = await Promise.all(rememberedRuns().map((runId) => this.#snapshot(runId)));
    if (opening !== this.#opened) return;
    const restored = runs.filter((run) => run !== null).map((run) => Exchange.restore(this.#link, run));
    this.#set([...restored, ...this.#exchanges]);
  }

  close(): void {
    this.#opened += 1;
    for (const exchange of this.#exchanges) exchange.close();
    this.#set([]);
  }

  async #snapshot(runId: string): Promise<RunSnapshot | null> {
    const response = await this.#link.fetch(`/runs/${encodeURIComponent(runId)}`, {}).catch(() => null);
    // Not there, or another user's: it will not come back.
    if (response?.status === 404) forgetRun(runId);
    return response?.ok ? ((await response.json()) as RunSnapshot) : null;
  }

  #set(exchanges: readonly Exchange[]): void {
    this.#exchanges = exchanges;
    for (const listener of this.#listeners) listener();
  }
}
