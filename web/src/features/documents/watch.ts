import { followProgress, type Followed, type Link } from "@lorestream/client";

import { batchPath, isAtWork } from "../../api/batches";
import { documentPath, isBusy } from "../../api/documents";
import type { Batch, Document } from "../../api/types";

/** A batch, and the documents of it that have changed since the last news. */
type BatchNews = Batch & { changed?: Document[] };

/** A batch of this page's life, settled or not. */
export interface Watched {
  readonly batch: Batch;
  /** Those of its documents that are being processed, as far as it has been told. */
  readonly atWork: readonly Document[];
  /** When something last changed in it (as `Date.now`). */
  readonly changedAt: number;
}

/** What is known of the work on the server; a new object with every change. */
export interface Work {
  readonly batches: readonly Watched[];
  /** Nothing can be heard of it at the moment. */
  readonly silent: boolean;
}

export interface News {
  onDocuments: (documents: readonly Document[]) => void;
  onSettled: (batch: Batch) => void;
}

interface Target {
  kind: "batch" | "document";
  id: string;
}

/**
 * Follows the work on the user's documents: one stream at a time, because a browser opens few connections to a server
 * and answers and uploads need theirs; batches before single documents, older ones first. A hidden page lets go of it.
 */
export class Watch {
  #work: Work = { batches: [], silent: false };
  #documents: readonly string[] = [];
  #current: (Target & { abort: AbortController }) | null = null;
  #wake: () => void = () => undefined;
  #ended = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #link: Link;
  readonly #news: News;
  readonly #stillComing: (batchId: string) => boolean;

  constructor(link: Link, news: News, stillComing: (batchId: string) => boolean) {
    this.#link = link;
    this.#news = news;
    this.#stillComing = stillComing;
  }

  getState = (): Work => this.#work;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Follow until the returned function is called. */
  start = (): (() => void) => {
    this.#ended = new AbortController();
    const { signal } = this.#ended;
    document.addEventListener("visibilitychange", this.#look, { signal });
    void this.#run(signal);
    return () => {
      this.#ended.abort();
      this.#current?.abort.abort();
      this.#wake();
    };
  };

  /** Batches that the server told of; those that were settled before this page knew them are no news. */
  seeBatches = (batches: readonly Batch[]): void => {
    for (const batch of batches.toReversed()) if (this.#find(batch.batch_id) || isAtWork(batch)) this.#note(batch);
    this.#look();
  };

  /** A batch that was made here. */
  follow = (batch: Batch): void => {
    this.#note(batch);
    this.#look();
  };

  /** The documents outside of batches that are waiting or being processed. */
  seeDocuments = (docIds: readonly string[]): void => {
    this.#documents = docIds;
    this.#look();
  };

  dismiss = (batchId: string): void => {
    this.#set({ batches: this.#work.batches.filter(({ batch }) => batch.batch_id !== batchId) });
  };

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const target = document.hidden ? null : this.#next();
      if (!target) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      const abort = new AbortController();
      this.#current = { ...target, abort };
      await (target.kind === "batch" ? this.#followBatch(target.id, abort) : this.#followDocument(target.id, abort));
      this.#current = null;
      if (this.#work.silent) this.#set({ silent: false });
    }
  }

  #next(): Target | null {
    const batch = this.#work.batches.find((one) => this.#isOpen(one.batch))?.batch;
    if (batch) return { kind: "batch", id: batch.batch_id };
    const [id] = this.#documents;
    return id === undefined ? null : { kind: "document", id };
  }

  /** What is to be followed may be something else now. */
  #look = (): void => {
    const next = document.hidden ? null : this.#next();
    if (this.#current && (next?.kind !== this.#current.kind || next.id !== this.#current.id)) {
      this.#current.abort.abort();
    }
    this.#wake();
  };

  #isOpen = (batch: Batch): boolean => isAtWork(batch) || this.#stillComing(batch.batch_id);

  async #followBatch(id: string, abort: AbortController): Promise<void> {
    const followed: Followed<BatchNews> = { path: batchPath(id), settled: (batch) => !this.#isOpen(batch) };
    for await (const signal of followProgress(this.#link, followed, abort.signal)) {
      if (abort.signal.aborted) return;
      if (signal.kind === "gone") this.dismiss(id);
      else if (signal.kind === "silent") this.#set({ silent: true });
      else {
        const { changed = [], ...batch } = signal.value;
        this.#note(batch, changed);
        this.#news.onDocuments(changed);
        if (followed.settled(batch)) this.#news.onSettled(batch);
      }
    }
  }

  async #followDocument(id: string, abort: AbortController): Promise<void> {
    const followed: Followed<Document> = { path: documentPath(id), settled: (document) => !isBusy(document) };
    for await (const signal of followProgress(this.#link, followed, abort.signal)) {
      if (abort.signal.aborted) return;
      if (signal.kind === "heard") this.#news.onDocuments([signal.value]);
      if (this.#work.silent !== (signal.kind === "silent")) this.#set({ silent: signal.kind === "silent" });
    }
    this.#documents = this.#documents.filter((docId) => docId !== id);
  }

  #find = (batchId: string): Watched | undefined => this.#work.batches.find(({ batch }) => batch.batch_id === batchId);

  #note(batch: Batch, changed: readonly Document[] = []): void {
    const known = this.#find(batch.batch_id);
    const news = new Map(changed.map((document) => [document.doc_id, document]));
    const atWork = [...(known?.atWork ?? []).filter(({ doc_id: id }) => !news.has(id)), ...changed].filter(
      ({ status }) => status === "processing" && isAtWork(batch),
    );
    const same = known && changed.length === 0 && JSON.stringify(known.batch) === JSON.stringify(batch);
    const watched: Watched = { batch, atWork, changedAt: same ? known.changedAt : Date.now() };
    const { batches } = this.#work;
    this.#set({
      batches: known ? batches.map((one) => (one === known ? watched : one)) : [...batches, watched],
      silent: false,
    });
  }

  #set(change: Partial<Work>): void {
    this.#work = { ...this.#work, ...change };
    for (const listener of this.#listeners) listener();
  }
}
