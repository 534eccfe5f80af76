import type { RunSnapshot } from "../../api/types";
import { AnswerStore } from "../../stream/answer-store";
import { ask, resume, type Link, type Signal } from "../../stream/follow";
import { beginning } from "../../stream/reduce";
import { announce } from "../../ui/announcer";
import { rememberRun } from "./remembered-runs";

export interface Scope {
  docId: string;
  title: string;
}

const STOP_TRIES = 4;
const STOP_RETRY_MS = 1_000;

let keys = 0;

/** One question and its answer, followed to its end. */
export class Exchange {
  readonly key = (keys += 1);
  readonly answer: AnswerStore;
  readonly scope: Scope | null;
  readonly #link: Link;
  readonly #abort = new AbortController();
  #stopWanted = false;

  private constructor(link: Link, scope: Scope | null, question: string, runId: string | null) {
    this.#link = link;
    this.scope = scope;
    this.answer = new AnswerStore(beginning(question, runId));
  }

  /** Ask the server now. */
  static begin(link: Link, question: string, scope: Scope | null): Exchange {
    const exchange = new Exchange(link, scope, question, null);
    const query = new URLSearchParams({ question, on_disconnect: "continue" });
    if (scope) query.set("doc_id", scope.docId);
    void exchange.#follow(ask(link, `/query/stream/?${query}`, exchange.#abort.signal));
    return exchange;
  }

  /** Bring back a run that was started before a reload, and go on with it if it is still running. */
  static restore(link: Link, run: RunSnapshot): Exchange {
    const exchange = new Exchange(link, null, run.question, run.run_id);
    if (run.status === "running") {
      void exchange.#follow(resume(link, { runId: run.run_id, seq: 0 }, exchange.#abort.signal));
    } else {
      exchange.answer.push({ kind: "snapshot", run });
      exchange.answer.flush();
    }
    return exchange;
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
        rememberRun(signal.runId);
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
  }

  async #sendStop(runId: string): Promise<void> {
    const { signal } = this.#abort;
    for (let tries = 0; tries < STOP_TRIES && !signal.aborted; tries += 1) {
      if (this.answer.getState().phase !== "running") return;
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
