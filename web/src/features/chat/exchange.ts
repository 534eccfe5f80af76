import { AnswerStore } from "../../stream/answer-store";
import { ask, resume, type Asking, type Link, type Signal } from "../../stream/follow";
import { beginning, type AnswerState } from "../../stream/reduce";
import { announce } from "../../ui/announcer";

/** Where in which conversation: `parentId` is the answer that a question follows, or the question answered anew. */
export interface Place {
  conversationId: string;
  parentId: string | null;
  kind: "question" | "answer";
}

/** What happened that others should know of: the server has taken the question, the answer has ended. */
export type OnChange = (exchange: Exchange) => void;

const STOP_TRIES = 4;
const STOP_RETRY_MS = 1_000;

let keys = 0;

/** One answer that is followed to its end. */
export class Exchange {
  readonly key = `exchange-${(keys += 1)}`;
  readonly answer: AnswerStore;
  readonly place: Place;
  /** How it was asked; null when it was running before. */
  readonly asking: Asking | null;
  readonly #link: Link;
  readonly #onChange: OnChange;
  readonly #abort = new AbortController();
  #stopWanted = false;

  private constructor(link: Link, onChange: OnChange, place: Place, asking: Asking | null, state: AnswerState) {
    this.#link = link;
    this.#onChange = onChange;
    this.place = place;
    this.asking = asking;
    this.answer = new AnswerStore(state);
  }

  /** Ask the server now. */
  static begin(link: Link, onChange: OnChange, place: Place, question: string, asking: Asking): Exchange {
    const exchange = new Exchange(link, onChange, place, asking, beginning(question));
    void exchange.#follow(ask(link, asking, exchange.#abort.signal));
    return exchange;
  }

  /** Follow an answer that is running already, from its first event. */
  static join(link: Link, onChange: OnChange, place: Place, question: string, runId: string): Exchange {
    const exchange = new Exchange(link, onChange, place, null, beginning(question, runId));
    void exchange.#follow(resume(link, { runId, seq: 0 }, exchange.#abort.signal));
    return exchange;
  }

  get running(): boolean {
    return this.answer.getState().phase === "running";
  }

  /** Ask the server to stop; the partial answer stays. Before the run has an id, the wish is kept until it has. */
  stop(): void {
    if (this.#stopWanted) return;
    this.#stopWanted = true;
    this.answer.push({ kind: "stopping", stopping: true });
    this.answer.flush();
    const { runId } = this.answer.getState();
    if (runId !== null) void this.#sendStop(runId);
  }

  /** Stop following, as when the page goes away; the run itself goes on. */
  close(): void {
    this.#abort.abort();
  }

  async #follow(signals: AsyncGenerator<Signal>): Promise<void> {
    let begun = false;
    for await (const signal of signals) {
      this.answer.push(signal);
      if (signal.kind === "run") {
        this.answer.flush();
        this.#onChange(this);
        if (this.#stopWanted) void this.#sendStop(signal.runId);
      }
      if (!begun && signal.kind === "events" && signal.events.some((event) => event.type === "token")) {
        begun = true;
        announce("The answer has begun.");
      }
    }
    if (this.#abort.signal.aborted) return;
    this.answer.flush();
    const { phase, error } = this.answer.getState();
    announce(phase === "failed" ? (error?.message ?? "The answer failed.") : `The answer is ${WORDS[phase]}.`);
    this.#onChange(this);
  }

  async #sendStop(runId: string): Promise<void> {
    const { signal } = this.#abort;
    for (let tries = 0; tries < STOP_TRIES && !signal.aborted; tries += 1) {
      if (!this.running) return;
      if (tries > 0) await this.#link.pause(STOP_RETRY_MS, signal);
      const request = { method: "POST", signal };
      const response = await this.#link.fetch(`/runs/${encodeURIComponent(runId)}/stop`, request).catch(() => null);
      if (response?.ok) return;
    }
    // Not stopped: let the button be pressed again.
    this.#stopWanted = false;
    this.answer.push({ kind: "stopping", stopping: false });
  }
}

const WORDS = { running: "not complete", done: "complete", stopped: "stopped" } as const;
