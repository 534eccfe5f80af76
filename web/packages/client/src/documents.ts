import { parameters, type Connection } from "./connection.js";
import { LorestreamError } from "./error.js";
import { followProgress } from "./progress.js";
import type { Document, DocumentList } from "./types.js";

export interface UploadOptions {
  signal?: AbortSignal | undefined;
  /** What the document is called; needed where the file has no name of its own (a `Blob`). */
  name?: string | undefined;
  collectionId?: string | undefined;
  /** The server answers after so many seconds at the latest, whether it has read the file or not (10). */
  waitSeconds?: number | undefined;
}

export interface ListOptions {
  signal?: AbortSignal | undefined;
  /** Those with all its words in name or title. */
  q?: string | undefined;
  status?: Document["status"] | undefined;
  collectionId?: string | undefined;
  /** So many at once, 1 to 100. */
  limit?: number | undefined;
  /** `next_cursor` of the page before. */
  cursor?: string | undefined;
}

const documentPath = (docId: string): string => `/documents/${encodeURIComponent(docId)}`;

/** The caller's documents. Whatever is refused is thrown as `LorestreamError`. */
export class Documents {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Send a file. It can be asked as soon as its `status` is `ready`, which `ready` waits for. */
  upload(file: Blob, { signal, name, collectionId, waitSeconds }: UploadOptions = {}): Promise<Document> {
    const form = new FormData();
    if (name === undefined) form.append("file", file);
    else form.append("file", file, name);
    const query = parameters({ wait: waitSeconds, collection_id: collectionId });
    const init = { method: "POST", body: form, ...(signal && { signal }) };
    return this.#connection.json<Document>(`/documents/?${query}`, init);
  }

  /** A page of them, newest first. */
  list({ signal, collectionId, ...rest }: ListOptions = {}): Promise<DocumentList> {
    const query = parameters({ ...rest, collection_id: collectionId });
    return this.#connection.json<DocumentList>(`/documents/?${query}`, signal ? { signal } : {});
  }

  /** The document once it is settled; one that cannot be read is thrown, with the code that says why. */
  async ready(
    docId: string,
    { signal = new AbortController().signal }: { signal?: AbortSignal } = {},
  ): Promise<Document> {
    const settled = ({ status }: Document) => status !== "queued" && status !== "processing";
    const progress = followProgress<Document>(this.#connection, { path: documentPath(docId), settled }, signal);
    for await (const news of progress) {
      if (news.kind === "gone") throw news.error;
      if (news.kind !== "heard" || !settled(news.value)) continue;
      const { status, error } = news.value;
      if (status === "ready") return news.value;
      const stated = error ?? { code: status, message: "The document was cancelled." };
      throw new LorestreamError({ ...stated, status: 0, retryable: false });
    }
    throw signal.reason;
  }

  delete(docId: string): Promise<void> {
    return this.#connection.json(documentPath(docId), { method: "DELETE" });
  }
}
