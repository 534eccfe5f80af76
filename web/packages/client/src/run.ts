import { LorestreamError } from "./error.js";
import { resume, runPath, type Cursor, type Link, type Signal } from "./follow.js";
import { beginning, reduce, type AnswerSignal, type AnswerState } from "./reduce.js";
import type { DoneEvent, ErrorEvent, RunSnapshot, Source, StreamEvent } from "./types.js";

/** What a run tells while it goes well; what goes wrong is thrown. */
export type AnswerEvent = Exclude<StreamEvent, ErrorEvent>;

/** Where a run comes from: what begins it, or one that is known already. */
export type Origin = { begin: (signal: AbortSignal) => AsyncGenerator<Signal, void> } | { runId: string };

const STOP_TRIES = 4;
const STOP_RETRY_MS = 1_000;
const NO_TIMINGS = { queue_ms: null, retrieval_ms: null, first_token_ms: null, total_ms: 0 };

/**
 * One answer, followed to its end over any number of connections.
 *
 * It is read whether or not anybody iterates, and kept: every iteration tells it from its beginning. Its size is
 * bounded by the server's limit for an answer.
 */
export class Run implements AsyncIterable<AnswerEvent> {
  readonly #link: Link;
  readonly #origin: Origin;
  readonly #events: StreamEvent[] = [];
  readonly #listeners = new Set<() => void>();
  #state: AnswerState;
  /** Null until the server has said which run it is. */
  #cursor: Cursor | null = null;
  readonly #waiting: (() => void)[] = [];
  /** Ends the connection; null while nothing is followed. */
  #connection: AbortController | null = null;
  #stopping: Promise<boolean> | null = null;
  #refusal: LorestreamError | null = null;
  /** Why the caller wants no more of it; set once. */
  #dropped: { reason: unknown } | null = null;

  constructor(link: Link, question: string, origin: Origin, signal?: AbortSignal) {
    this.#link = link;
    this.#origin = origin;
    if ("runId" in origin) this.#cursor = { runId: origin.runId, seq: 0 };
    this.#state = beginning(question, this.#cursor?.runId);
    if (signal?.aborted) this.#dropped = { reason: signal.reason };
    this.follow();
    signal?.addEventListener("abort", () => this.#drop(signal.reason), { once: true });
  }

  /** The server's name of the run; null until it has taken the question. */
  get id(): string | null {
    return this.#state.runId;
  }

  /** All that is known of the answer now; another object with every change. */
  get state(): AnswerState {
    return this.#state;
  }

  get text(): string {
    return this.#state.text;
  }

  /** Null until the server has searched. */
  get sources(): readonly Source[] | null {
    return this.#state.sources;
  }

  get running(): boolean {
    return this.#state.phase === "running";
  }

  /** The answer once it has ended, complete or stopped; a failed one is thrown as `LorestreamError`. */
  get answer(): Promise<AnswerState> {
    return this.#settled();
  }

  getState = (): AnswerState => this.#state;

  /** Be called after every change; returns the way to end that. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /**
   * The events, from the first one. A failed answer ends by throwing its `LorestreamError`.
   *
   * Leaving the loop early stops the run.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerEvent, void> {
    let early = false;
    try {
      for (let at = 0; ; at += 1) {
        while (at === this.#events.length && this.running) await this.#change();
        const event = this.#events[at];
        if (event === undefined || event.type === "error") break;
        early = true;
        yield event;
        early = false;
      }
      await this.#settled();
    } finally {
      if (early) void this.stop();
    }
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

  /** Let go of the connection; the run itself goes on. `follow` takes it up again. */
  leave(): void {
    this.#connection?.abort();
    this.#connection = null;
    this.#tell();
  }

  /** Go on after `leave`, without a gap. */
  follow(): void {
    if (this.#connection || !this.running || this.#dropped) return;
    const connection = new AbortController();
    this.#connection = connection;
    const { signal } = connection;
    if (this.#cursor) void this.#read(resume(this.#link, this.#cursor, signal), signal);
    else if ("begin" in this.#origin) void this.#read(this.#origin.begin(signal), signal);
  }

  async #read(signals: AsyncGenerator<Signal, void>, connection: AbortSignal): Promise<void> {
    for await (const signal of signals) {
      if (connection.aborted) return;
      this.#apply(signal);
    }
  }

  #apply(signal: AnswerSignal): void {
    if (signal.kind === "run") this.#cursor = { runId: signal.runId, seq: 0 };
    else if (signal.kind === "refused") this.#refusal = signal.error;
    else if (signal.kind === "snapshot") this.#events.push(...missing(signal.run, this.#events));
    else if (signal.kind === "events") {
      this.#events.push(...signal.events);
      if (this.#cursor) this.#cursor.seq = signal.seq;
    }
    this.#state = reduce(this.#state, signal);
    this.#tell();
    // It was kept only to learn which run is to be stopped; or it was never heard.
    if (this.#dropped && (signal.kind === "run" || signal.kind === "reconnecting")) this.leave();
  }

  #tell(): void {
    for (const wake of this.#waiting.splice(0)) wake();
    for (const listener of this.#listeners) listener();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next change; thrown is why there will be none. */
  #change(): Promise<void> {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller's own reason
    if (this.#dropped) return Promise.reject(this.#dropped.reason);
    return this.#connection ? this.#next() : Promise.reject(new Left());
  }

  async #settled(): Promise<AnswerState> {
    while (this.running) await this.#change();
    if (this.#state.phase !== "failed") return this.#state;
    throw this.#refusal ?? failure(this.#state, this.#events.at(-1));
  }

  async #stop(): Promise<boolean> {
    this.#apply({ kind: "stopping", stopping: true });
    while (this.id === null && this.running && this.#connection) await this.#next();
    if (await this.#sendStop()) return true;
    // Not stopped: let the button be pressed again.
    this.#stopping = null;
    this.#apply({ kind: "stopping", stopping: false });
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

  #drop(reason: unknown): void {
    if (!this.running || this.#dropped) return;
    this.#dropped = { reason };
    void this.stop();
    if (this.id === null) this.#tell();
    else this.leave();
  }
}

/** What is thrown to those who wait for an answer that was left; `name` is that of an abort. */
class Left extends Error {
  override readonly name = "AbortError";

  constructor() {
    super("This answer is no longer followed.");
  }
}

/** The events that tell what a stored run has beyond those that were had. */
function missing(run: RunSnapshot, had: readonly StreamEvent[]): StreamEvent[] {
  const ended = run.status === "done" || run.status === "stopped";
  const told = had.map((event) => (event.type === "token" ? event.text : "")).join("");
  const events: StreamEvent[] = [];
  if ((ended || run.sources.length > 0) && !had.some((event) => event.type === "sources")) {
    events.push({ type: "sources", sources: run.sources });
  }
  if (run.content.length > told.length && run.content.startsWith(told)) {
    events.push({ type: "token", text: run.content.slice(told.length) });
  }
  return ended ? [...events, ending(run)] : events;
}

const ending = (run: RunSnapshot): DoneEvent => ({
  type: "done",
  model: run.model ?? "",
  finish_reason: run.finish_reason ?? "stop",
  usage: run.usage,
  timings: run.timings ?? NO_TIMINGS,
  citations: run.citations,
  uncited: false,
  conversation_id: run.conversation_id,
  message_id: run.message_id,
});

function failure({ error }: AnswerState, last: StreamEvent | undefined): LorestreamError {
  const retryAfter = last?.type === "error" ? last.retry_after : null;
  const { code, message, retryable } = error ?? { code: "internal", message: "The answer failed.", retryable: true };
  return new LorestreamError({ code, message, retryable, status: 0 }, retryAfter);
}
