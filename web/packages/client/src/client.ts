import { Connection, parameters, type ConnectionOptions } from "./connection.js";
import { Documents } from "./documents.js";
import { LorestreamError, parseObject, toError } from "./error.js";
import { ask, insist, type Asking, type Link, type Signal } from "./follow.js";
import { randomId } from "./random-id.js";
import { Run } from "./run.js";
import type { SearchAnswer } from "./types.js";

const REMAKE_MS = 2_000;

export interface AskOptions {
  /** Aborting it stops the run, and throws the signal's reason to those who wait for the answer. */
  signal?: AbortSignal | undefined;
  /** So many passages, 1 to 10 (4). */
  k?: number | undefined;
  /** Ask these documents only. */
  docIds?: readonly string[] | undefined;
  /** Ask the documents of this collection only. */
  collectionId?: string | undefined;
  /** One of the server's models, such as `ollama:llama3.2`; its default model where it is left out. */
  model?: string | undefined;
  /** The conversation that the question goes on with; a new one is made where it is left out. */
  conversationId?: string | undefined;
  /** The answer in it that the question follows; null begins a new branch; the newest answer where it is left out. */
  parentId?: string | null | undefined;
  /** Two questions of one conversation with the same one are one question (`ask` makes up a fresh one). */
  clientRequestId?: string | undefined;
  /** What the server does when the connection is lost: `continue` (so that it can be resumed) or `cancel`. */
  onDisconnect?: "continue" | "cancel" | undefined;
}

export interface SearchOptions {
  signal?: AbortSignal | undefined;
  /** So many passages, 1 to 50 (10). */
  k?: number | undefined;
  docId?: string | undefined;
  collectionId?: string | undefined;
}

/** A Lorestream server, as one of its users. */
export class LorestreamClient {
  readonly connection: Connection;
  readonly documents: Documents;

  constructor(options: ConnectionOptions) {
    this.connection = new Connection(options);
    this.documents = new Documents(this.connection);
  }

  /** Ask, at once. Whatever connections break meanwhile, the question is put to the model once. */
  ask(question: string, options: AskOptions = {}): Run {
    const { signal, conversationId, ...rest } = options;
    const body = {
      ...{ question, k: rest.k, doc_ids: rest.docIds, collection_id: rest.collectionId, model: rest.model },
      ...{ parent_id: rest.parentId, on_disconnect: rest.onDisconnect },
      client_request_id: rest.clientRequestId ?? randomId(),
    };
    const begin =
      conversationId === undefined
        ? askAnew(this.connection, body)
        : (connection: AbortSignal) => ask(this.connection, { path: questionsPath(conversationId), body }, connection);
    return new Run(this.connection, question, { begin }, signal);
  }

  /** Follow a run that was begun before or elsewhere, from its first event. */
  follow(runId: string, { signal }: Pick<AskOptions, "signal"> = {}): Run {
    return new Run(this.connection, "", { runId }, signal);
  }

  /** The passages that fit best, without an answer. */
  search(q: string, { signal, k, docId, collectionId }: SearchOptions = {}): Promise<SearchAnswer> {
    const query = parameters({ q, k, doc_id: docId, collection_id: collectionId });
    return this.connection.json<SearchAnswer>(`/search?${query}`, signal ? { signal } : {});
  }
}

/** The path that a conversation is asked at. */
export const questionsPath = (conversationId: string): string =>
  `/conversations/${encodeURIComponent(conversationId)}/questions`;

/** Ask in a conversation of its own, made once; where the question is refused there is none afterwards. */
function askAnew(link: Link, body: Asking["body"]): (signal: AbortSignal) => AsyncGenerator<Signal, void> {
  let id: string | null = null;
  return async function* (signal) {
    id ??= yield* makeConversation(link, signal);
    if (id === null) return;
    let begun = false;
    for await (const next of ask(link, { path: questionsPath(id), body }, signal)) {
      begun ||= next.kind === "run";
      if (next.kind === "refused" && !begun) {
        link.fetch(`/conversations/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => null);
      }
      yield next;
    }
  };
}

/** The id of a new conversation; null when there is none, because it was refused (and that was told) or aborted. */
async function* makeConversation(link: Link, signal: AbortSignal): AsyncGenerator<Signal, string | null> {
  for (;;) {
    const made = yield* insist(link, "/conversations/", {}, {}, signal);
    if (made === null) return null;
    const body = made instanceof LorestreamError ? "" : await made.text().catch(() => "");
    const id = parseObject(body)?.conversation_id;
    if (typeof id === "string") return id;
    if (made instanceof LorestreamError || body !== "") {
      yield { kind: "refused", error: made instanceof LorestreamError ? made : toError(made.status, body, null) };
      return null;
    }
    // The connection broke before its name had come: the one that has none stays empty.
    yield { kind: "reconnecting" };
    await link.pause(REMAKE_MS, signal);
    if (signal.aborted) return null;
  }
}
