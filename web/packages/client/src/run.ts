import { LorestreamError } from "./error.js";
import type { Link } from "./follow.js";
import { Following, type Origin } from "./following.js";
import type { AnswerSignal, AnswerState } from "./reduce.js";
import type { DoneEvent, ErrorEvent, RunSnapshot, Source, StreamEvent } from "./types.js";

/** What a run tells while it goes well; what goes wrong is thrown. */
export type AnswerEvent = Exclude<StreamEvent, ErrorEvent>;

const NO_TIMINGS = { queue_ms: null, retrieval_ms: null, first_token_ms: null, total_ms: 0 };

/**
 * One answer with its events, which can be awaited or iterated.
 *
 * It is read whether or not anybody iterates, and kept: every iteration tells it from its beginning. Its size is
 * bounded by the server's limit for an answer.
 */
export class Run extends Following implements AsyncIterable<AnswerEvent> {
  readonly #events: StreamEvent[] = [];
  #refusal: LorestreamError | null = null;
  /** Why the caller wants no more of it; set once. */
  #dropped: { reason: unknown } | null = null;

  constructor(link: Link, question: string, origin: Origin, signal?: AbortSignal) {
    super(link, question, origin);
    if (signal?.aborted) this.#dropped = { reason: signal.reason };
    else this.follow();
    const drop = () => this.#drop(signal?.reason);
    signal?.addEventListener("abort", drop);
    // A signal may outlive many runs.
    this.subscribe(() => this.running || signal?.removeEventListener("abort", drop));
  }

  get state(): AnswerState {
    return this.getState();
  }

  get text(): string {
    return this.state.text;
  }

  /** Null until the server has searched. */
  get sources(): readonly Source[] | null {
    return this.state.sources;
  }

  /** The answer once it has ended, complete or stopped; a failed one is thrown as `LorestreamError`. */
  get answer(): Promise<AnswerState> {
    return this.#settled();
  }

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

  override follow(): void {
    if (!this.#dropped) super.follow();
  }

  protected override apply(signal: AnswerSignal): void {
    if (signal.kind === "refused") this.#refusal = signal.error;
    else if (signal.kind === "snapshot") this.#events.push(...missing(signal.run, this.#events));
    else if (signal.kind === "events") this.#events.push(...signal.events);
    super.apply(signal);
    // It was followed only to learn which run is to be stopped; or it was never heard.
    if (this.#dropped && (signal.kind === "run" || signal.kind === "reconnecting")) this.leave();
  }

  /** The next change; thrown is why there will be none. */
  #change(): Promise<void> {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller's own reason
    if (this.#dropped) return Promise.reject(this.#dropped.reason);
    return this.connected ? this.next() : Promise.reject(new Left());
  }

  async #settled(): Promise<AnswerState> {
    while (this.running) await this.#change();
    if (this.state.phase !== "failed") return this.state;
    throw this.#refusal ?? failure(this.state, this.#events.at(-1));
  }

  #drop(reason: unknown): void {
    if (!this.running || this.#dropped) return;
    this.#dropped = { reason };
    void this.stop();
    if (this.id === null) this.tell();
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
