import { resume, runPath, type Cursor, type Link, type Signal } from "./follow.js";
import { beginning, reduce, type AnswerSignal, type AnswerState } from "./reduce.js";

/** Where a run comes from: what begins it, or one that is known already. */
export type Origin = { begin: (signal: AbortSignal) => AsyncGenerator<Signal, void> } | { runId: string };

const STOP_TRIES = 4;
const STOP_RETRY_MS = 1_000;

/** The state of one answer, kept true from `follow` to its end over any number of connections. */
export class Following {
  readonly #link: Link;
  readonly #origin: Origin;
  readonly #listeners = new Set<() => void>();
  #state: AnswerState;
  /** Null until the server has said which run it is. */
  #cursor: Cursor | null = null;
  /** Ends the connection; null while nothing is followed. */
  #connection: AbortController | null = null;
  #stopping: Promise<boolean> | null = null;

  constructor(link: Link, question: string, origin: Origin) {
    this.#link = link;
    this.#origin = origin;
    if ("runId" in origin) this.#cursor = { runId: origin.runId, seq: 0 };
    this.#state = beginning(question, this.#cursor?.runId);
  }

  /** The server's name of the run; null until it has taken the question. */
  get id(): string | null {
    return this.#state.runId;
  }

  get running(): boolean {
    return this.#state.phase === "running";
  }

  /** Whether a connection is open, or on its way. */
  get connected(): boolean {
    return this.#connection !== null;
  }

  /** All that is known of the answer now; another object with every change. */
  getState = (): AnswerState => this.#state;

  /** Be called after every change; returns the way to end that. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Begin to follow, or go on after `leave`, without a gap. */
  follow(): void {
    if (this.#connection || !this.running) return;
    this.#connection = new AbortController();
    const { signal } = this.#connection;
    if (this.#cursor) void this.#read(resume(this.#link, this.#cursor, signal), signal);
    else if ("begin" in this.#origin) void this.#read(this.#origin.begin(signal), signal);
  }

  /** Let go of the connection; the run itself goes on. */
  leave(): void {
    this.#connection?.abort();
    this.#connection = null;
    this.tell();
  }

  /**
   * Ask the server to stop, at once or as soon as it has named the run; the text up to there stays.
   *
   * Tells whether the server has taken it; where it has not, it may be called again.
   */
  stop(): Promise<boolean> {
    if (!this.running) return Promise.resolve(true);
    return (this.#stopping ??= this.#stop());
  }

  protected apply(signal: AnswerSignal): void {
    if (signal.kind === "run") this.#cursor = { runId: signal.runId, seq: 0 };
    else if (signal.kind === "events" && this.#cursor) this.#cursor.seq = signal.seq;
    this.#state = reduce(this.#state, signal);
    if (!this.running) this.#connection = null;
    this.tell();
  }

  protected tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Resolves with the next change. */
  protected next(): Promise<void> {
    return new Promise((resolve) => {
      const end = this.subscribe(() => {
        end();
        resolve();
      });
    });
  }

  async #read(signals: AsyncGenerator<Signal, void>, connection: AbortSignal): Promise<void> {
    for await (const signal of signals) {
      if (connection.aborted) return;
      this.apply(signal);
    }
  }

  async #stop(): Promise<boolean> {
    this.apply({ kind: "stopping", stopping: true });
    while (this.id === null && this.running && this.connected) await this.next();
    if (await this.#sendStop()) return true;
    // Not stopped: let the button be pressed again.
    this.#stopping = null;
    this.apply({ kind: "stopping", stopping: false });
    return false;
  }

  async #sendStop(): Promise<boolean> {
    for (let tries = 0; this.id !== null && tries < STOP_TRIES; tries += 1) {
      if (tries > 0) await this.#link.pause(STOP_RETRY_MS);
      if (!this.running) return true;
      const response = await this.#link.fetch(`${runPath(this.id)}/stop`, { method: "POST" }).catch(() => null);
      if (response?.ok) return true;
    }
    return !this.running;
  }
}
