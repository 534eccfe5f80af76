import { messageOf, Problem } from "../../api/problem";
import { sendFile, type Sent } from "./send-file";

export interface Upload {
  readonly key: number;
  readonly file: File;
  readonly state: "waiting" | "sending" | "rejected";
  /** 0 to 1, of the file's bytes. */
  readonly sent: number;
  /** Why the server, or the way to it, refused the file. */
  readonly problem: Refusal | null;
}

export interface Refusal {
  message: string;
  /** A limit of the user is reached: waiting does not help, or not before `retryAt` (as `Date.now`). */
  atLimit: boolean;
  retryAt: number | null;
}

const AT_ONCE = 2;

/** Files on their way to the server, two at once; for `useSyncExternalStore`. A file leaves the queue once it arrived. */
export class UploadQueue {
  #uploads: readonly Upload[] = [];
  #nextKey = 1;
  readonly #cancels = new Map<number, AbortController>();
  readonly #listeners = new Set<() => void>();
  readonly #onSent: (sent: Sent) => void;
  readonly #send: typeof sendFile;

  constructor(onSent: (sent: Sent) => void, send = sendFile) {
    this.#onSent = onSent;
    this.#send = send;
  }

  getState = (): readonly Upload[] => this.#uploads;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  add = (files: Iterable<File>): void => {
    const added = Array.from(files, (file): Upload => {
      return { key: this.#nextKey++, file, state: "waiting", sent: 0, problem: null };
    });
    this.#set([...this.#uploads, ...added]);
    this.#fill();
  };

  retry = (key: number): void => {
    this.#change(key, { state: "waiting", sent: 0, problem: null });
    this.#fill();
  };

  /** Take a file out, wherever it is; bytes under way are dropped. */
  remove = (key: number): void => {
    this.#cancels.get(key)?.abort();
    this.#set(this.#uploads.filter((upload) => upload.key !== key));
  };

  clear(): void {
    for (const { key } of this.#uploads) this.remove(key);
  }

  #fill(): void {
    const free = AT_ONCE - this.#cancels.size;
    const next = this.#uploads.filter((upload) => upload.state === "waiting").slice(0, Math.max(free, 0));
    for (const upload of next) void this.#start(upload);
  }

  async #start({ key, file }: Upload): Promise<void> {
    const cancel = new AbortController();
    this.#cancels.set(key, cancel);
    this.#change(key, { state: "sending" });
    try {
      this.#onSent(await this.#send(file, (sent) => this.#change(key, { sent }), cancel.signal));
      this.remove(key);
    } catch (error) {
      if (!cancel.signal.aborted) this.#change(key, { state: "rejected", problem: refusalOf(error) });
    } finally {
      this.#cancels.delete(key);
      this.#fill();
    }
  }

  #change(key: number, change: Partial<Upload>): void {
    this.#set(this.#uploads.map((upload) => (upload.key === key ? { ...upload, ...change } : upload)));
  }

  #set(uploads: readonly Upload[]): void {
    this.#uploads = uploads;
    for (const listener of this.#listeners) listener();
  }
}

function refusalOf(error: unknown): Refusal {
  const { code, retryAt } = error instanceof Problem ? error : { code: "", retryAt: null };
  return { message: messageOf(error), atLimit: ["quota_exceeded", "rate_limited"].includes(code), retryAt };
}
