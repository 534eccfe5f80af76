import { ask, Following, type Asking, type Link, type Origin } from "@lorestream/client";
import { AnswerStore } from "@lorestream/react";

import { announce } from "../../ui/announcer";

/** Where in which conversation: `parentId` is the answer that a question follows, or the question answered anew. */
export interface Place {
  conversationId: string;
  parentId: string | null;
  kind: "question" | "answer";
}

/** What happened that others should know of: the server has taken the question, the answer has ended. */
export type OnChange = (exchange: Exchange) => void;

let keys = 0;

/** One answer that is followed to its end. */
export class Exchange {
  readonly key = `exchange-${(keys += 1)}`;
  readonly answer: AnswerStore;
  readonly place: Place;
  /** How it was asked; null when it was running before. */
  readonly asking: Asking | null;
  readonly #run: Following;
  readonly #onChange: OnChange;

  private constructor(
    link: Link,
    onChange: OnChange,
    place: Place,
    asking: Asking | null,
    question: string,
    origin: Origin,
  ) {
    this.#onChange = onChange;
    this.place = place;
    this.asking = asking;
    this.#run = new Following(link, question, origin);
    this.answer = new AnswerStore(this.#run);
    this.#watch();
    this.#run.follow();
  }

  /** Ask the server now. */
  static begin(link: Link, onChange: OnChange, place: Place, question: string, asking: Asking): Exchange {
    const begin = (signal: AbortSignal) => ask(link, asking, signal);
    return new Exchange(link, onChange, place, asking, question, { begin });
  }

  /** Follow an answer that is running already, from its first event. */
  static join(link: Link, onChange: OnChange, place: Place, question: string, runId: string): Exchange {
    return new Exchange(link, onChange, place, null, question, { runId });
  }

  get running(): boolean {
    return this.#run.running;
  }

  /** Ask the server to stop; the partial answer stays. Before the run has an id, the wish is kept until it has. */
  stop(): void {
    void this.#run.stop();
  }

  /** Stop following, as when the page goes away; the run itself goes on. */
  close(): void {
    this.#run.leave();
  }

  #watch(): void {
    let told = this.#run.getState();
    this.#run.subscribe(() => {
      const before = told;
      told = this.#run.getState();
      if (before.text === "" && told.text !== "") announce("The answer has begun.");
      const ended = before.phase === "running" && told.phase !== "running";
      if (ended) {
        announce(
          told.phase === "failed"
            ? (told.error?.message ?? "The answer failed.")
            : `The answer is ${WORDS[told.phase]}.`,
        );
      }
      if (ended || told.runId !== before.runId) this.#onChange(this);
    });
  }
}

const WORDS = { running: "not complete", done: "complete", stopped: "stopped" } as const;
