import { questionsPath, randomId, type Asking, type Link } from "@lorestream/client";

import { regeneratePath } from "../../api/conversations";
import type { Message } from "../../api/types";
import { Exchange, type Place } from "./exchange";
import { choose, unchoose, type Choices, type Node } from "./tree";

/** What the session knows; a new object with every change, for `useSyncExternalStore`. */
export interface Live {
  exchanges: readonly Exchange[];
  /** The conversations in which an answer is running. */
  busy: ReadonlySet<string>;
  choices: ReadonlyMap<string, Choices>;
}

const NO_CHOICES: Choices = new Map();

export const choicesIn = (live: Live, conversationId: string): Choices =>
  live.choices.get(conversationId) ?? NO_CHOICES;

/**
 * The answers that this tab follows, in all conversations, and the branches it looks at.
 *
 * The server's conversation is the truth; this adds what is on its way. `onChange` is told which conversation to read
 * again: when a question has been taken, and when its answer has ended.
 */
export class ChatSession {
  #live: Live = { exchanges: [], busy: new Set(), choices: new Map() };
  readonly #listeners = new Set<() => void>();
  readonly #link: Link;
  readonly #onChange: (conversationId: string) => void;

  constructor(link: Link, onChange: (conversationId: string) => void) {
    this.#link = link;
    this.#onChange = onChange;
  }

  getLive = (): Live => this.#live;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Ask after this answer; null begins the conversation, or begins it anew on a branch. */
  ask(conversationId: string, parentId: string | null, question: string): void {
    const asking = { path: questionsPath(conversationId), body: { question, parent_id: parentId, ...request() } };
    this.#begin({ conversationId, parentId, kind: "question" }, question, asking);
  }

  /** Answer a question once more, beside the answer that it has. */
  regenerate(conversationId: string, question: Message, answer: Message): void {
    const asking = { path: regeneratePath(conversationId, answer.message_id), body: request() };
    const place: Place = { conversationId, parentId: question.message_id, kind: "answer" };
    this.#begin(place, question.content, asking);
  }

  /** Ask once more what the server has refused. */
  repeat({ place, asking, answer }: Exchange): void {
    if (!asking) return;
    this.#begin(place, answer.getState().question, { ...asking, body: { ...asking.body, ...request() } });
  }

  /** Take a refused question off the screen. */
  dismiss(refused: Exchange): void {
    this.#set({ exchanges: this.#live.exchanges.filter((exchange) => exchange !== refused) });
  }

  /** Follow what is running in a conversation, whoever asked it: another tab, or this one before a reload. */
  join(conversationId: string, messages: readonly Message[]): void {
    const followed = new Set(this.#live.exchanges.map((exchange) => exchange.answer.getState().runId));
    const running = messages.filter(
      ({ status, run_id: id }) => status === "running" && id !== null && !followed.has(id),
    );
    if (running.length === 0) return;
    const joined = running.map(({ run_id: runId, parent_id: parentId }) => {
      const question = messages.find((message) => message.message_id === parentId)?.content ?? "";
      const place: Place = { conversationId, parentId, kind: "answer" };
      return Exchange.join(this.#link, this.#changed, place, question, runId ?? "");
    });
    this.#set({ exchanges: [...this.#live.exchanges, ...joined] });
  }

  /** Show the branch of this message. */
  choose(conversationId: string, message: Node): void {
    this.#choose(conversationId, choose(choicesIn(this.#live, conversationId), message));
  }

  /** Forget the answers that have ended here: the server tells them from now on. */
  leave(conversationId: string): void {
    this.#set({
      exchanges: this.#live.exchanges.filter(
        ({ place, running }) => place.conversationId !== conversationId || running,
      ),
    });
  }

  /** Stop following. Questions that the server has not taken are returned. */
  close(): { conversationId: string; question: string }[] {
    const { exchanges } = this.#live;
    for (const exchange of exchanges) exchange.close();
    this.#set({ exchanges: [], choices: new Map() });
    return exchanges
      .filter(({ place, answer }) => place.kind === "question" && answer.getState().runId === null)
      .map(({ place, answer }) => ({ conversationId: place.conversationId, question: answer.getState().question }));
  }

  #begin(place: Place, question: string, asking: Asking): void {
    const { conversationId, parentId } = place;
    const begun = Exchange.begin(this.#link, this.#changed, place, question, asking);
    // What was refused in this conversation has had its say.
    const others = this.#live.exchanges.filter(
      ({ place: other, answer }) => other.conversationId !== conversationId || answer.getState().runId !== null,
    );
    this.#set({ exchanges: [...others, begun] });
    this.#choose(conversationId, unchoose(choicesIn(this.#live, conversationId), parentId));
  }

  #choose(conversationId: string, choices: Choices): void {
    this.#set({ choices: new Map(this.#live.choices).set(conversationId, choices) });
  }

  #changed = (exchange: Exchange): void => {
    this.#set({});
    this.#onChange(exchange.place.conversationId);
  };

  #set(change: Partial<Pick<Live, "exchanges" | "choices">>): void {
    const live = { ...this.#live, ...change };
    const running = live.exchanges.filter((exchange) => exchange.running);
    this.#live = { ...live, busy: new Set(running.map((exchange) => exchange.place.conversationId)) };
    for (const listener of this.#listeners) listener();
  }
}

const request = () => ({ client_request_id: randomId() });
