import { createBatch } from "../../api/batches";
import { server } from "../../api/http";
import type { Batch, Document } from "../../api/types";
import type { Chosen } from "./chosen";
import { sendArchive, sendFile, type Sent } from "./send-file";
import { AT_ONCE, refusalOf, ship, type Refusal, type Shipment, type Yard } from "./shipment";

/** A single file on its way. */
export interface Upload {
  readonly key: number;
  readonly file: File;
  readonly archive: boolean;
  readonly collectionId: string | null;
  readonly state: "waiting" | "sending" | "rejected";
  /** 0 to 1, of the file's bytes. */
  readonly sent: number;
  /** Why the server, or the way to it, refused the file. */
  readonly problem: Refusal | null;
}

/** All that is on its way; a new object with every change. */
export interface Sending {
  readonly uploads: readonly Upload[];
  readonly shipments: readonly Shipment[];
  /** What of the last choice was not sent, and why. */
  readonly leftOut: readonly string[];
}

export interface Arrivals {
  onSent: (sent: Sent) => void;
  onBatch: (batch: Batch) => void;
  /** One of many; its batch tells of it. */
  onShipped: (document: Document) => void;
}

/** How to reach the server; tests have their own. */
export type Ways = Pick<Yard, "makeBatch" | "pause" | "send"> & { sendArchive: typeof sendArchive };
const SERVER: Ways = { makeBatch: createBatch, send: sendFile, pause: server.pause, sendArchive };

/** Files on their way to the server, a few at once; for `useSyncExternalStore`. What has arrived leaves the queue. */
export class UploadQueue {
  #state: Sending = { uploads: [], shipments: [], leftOut: [] };
  #nextKey = 1;
  #free = AT_ONCE;
  readonly #line: (() => void)[] = [];
  readonly #cancels = new Map<number, AbortController>();
  readonly #listeners = new Set<() => void>();
  readonly #arrivals: Arrivals;
  readonly #ways: Ways;

  constructor(arrivals: Arrivals, ways = SERVER) {
    this.#arrivals = arrivals;
    this.#ways = ways;
  }

  getState = (): Sending => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Send what was chosen: one file by itself, more of them as one batch, each ZIP file as a batch of its own. */
  add = ({ name, files, archives, leftOut }: Chosen, collectionId: string | null = null): void => {
    this.#set({ leftOut });
    const begin = { collectionId, state: "waiting", sent: 0, problem: null } as const;
    const single = files.length === 1 ? files : [];
    const uploads = [...single, ...archives].map((file): Upload => {
      return { key: this.#nextKey++, file, archive: archives.includes(file), ...begin };
    });
    this.#set({ uploads: [...this.#state.uploads, ...uploads] });
    for (const upload of uploads) void this.#upload(upload);
    if (files.length > 1) this.#ship(name, collectionId, files);
  };

  retry = (key: number): void => {
    const upload = this.#state.uploads.find((one) => one.key === key);
    if (!upload) return;
    this.#changeUpload(key, { state: "waiting", sent: 0, problem: null });
    void this.#upload(upload);
  };

  /** Take a file out, wherever it is; bytes under way are dropped. */
  remove = (key: number): void => {
    this.#cancels.get(key)?.abort();
    this.#set({ uploads: this.#state.uploads.filter((upload) => upload.key !== key) });
  };

  /** Send once more what of a shipment did not arrive. */
  resend = (key: number): void => {
    const shipment = this.#state.shipments.find((one) => one.key === key);
    if (!shipment || shipment.state === "sending") return;
    const again = new Set(shipment.unsent.map((file) => file.name));
    const refused = shipment.refused.filter(({ name }) => !again.has(name));
    this.#changeShipment(key, () => ({ state: "sending", unsent: [], refused, problem: null }));
    this.#start({ ...shipment, unsent: [] }, shipment.unsent);
  };

  /** Send no more of a batch; what has arrived stays there. */
  halt = (batchId: string): void => {
    const shipment = this.#state.shipments.find((one) => one.batchId === batchId);
    if (!shipment) return;
    this.#cancels.get(shipment.key)?.abort();
    if (shipment.state === "sending") this.#changeShipment(shipment.key, () => ({ state: "stopped", problem: null }));
  };

  dismiss = (key: number): void => {
    this.#cancels.get(key)?.abort();
    this.#set({ shipments: this.#state.shipments.filter((shipment) => shipment.key !== key) });
  };

  forgetLeftOut = (): void => this.#set({ leftOut: [] });

  /** Whether files for this batch are still on their way. */
  isSending = (batchId: string): boolean =>
    this.#state.shipments.some((shipment) => shipment.batchId === batchId && shipment.state === "sending");

  clear(): void {
    for (const { key } of this.#state.uploads) this.remove(key);
    for (const { key } of this.#state.shipments) this.dismiss(key);
  }

  async #upload({ key, file, archive, collectionId }: Upload): Promise<void> {
    const cancel = this.#cancel(key);
    try {
      await this.#inTurn(async () => {
        cancel.signal.throwIfAborted();
        this.#changeUpload(key, { state: "sending" });
        const onProgress = (sent: number) => this.#changeUpload(key, { sent });
        const belonging = { batchId: null, collectionId };
        if (archive) {
          this.#arrivals.onBatch(await this.#ways.sendArchive(file, collectionId, onProgress, cancel.signal));
        } else this.#arrivals.onSent(await this.#ways.send(file, belonging, onProgress, cancel.signal));
      });
      this.remove(key);
    } catch (error) {
      if (!cancel.signal.aborted) this.#changeUpload(key, { state: "rejected", problem: refusalOf(error) });
    }
  }

  #ship(name: string, collectionId: string | null, files: readonly File[]): void {
    const shipment: Shipment = {
      ...{ key: this.#nextKey++, name, collectionId, batchId: null, state: "sending", total: files.length },
      ...{ arrived: 0, existed: 0, refused: [], unsent: [], problem: null },
    };
    this.#set({ shipments: [...this.#state.shipments, shipment] });
    this.#start(shipment, files);
  }

  #start(shipment: Shipment, files: readonly File[]): void {
    const yard: Yard = {
      ...this.#ways,
      inTurn: (work) => this.#inTurn(work),
      change: (change) => this.#changeShipment(shipment.key, change),
      onBatch: this.#arrivals.onBatch,
      onDocument: this.#arrivals.onShipped,
    };
    void ship(yard, shipment, files, this.#cancel(shipment.key).signal);
  }

  #cancel(key: number): AbortController {
    const cancel = new AbortController();
    this.#cancels.set(key, cancel);
    return cancel;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next) next();
      else this.#free += 1;
    }
  }

  #changeUpload(key: number, change: Partial<Upload>): void {
    this.#set({ uploads: this.#state.uploads.map((one) => (one.key === key ? { ...one, ...change } : one)) });
  }

  #changeShipment(key: number, change: (now: Shipment) => Partial<Shipment>): void {
    this.#set({ shipments: this.#state.shipments.map((one) => (one.key === key ? { ...one, ...change(one) } : one)) });
  }

  #set(change: Partial<Sending>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener();
  }
}
