import { LorestreamError } from "@lorestream/client";

import { createBatch } from "../../api/batches";
import { messageOf } from "../../api/message";
import type { Batch, Document } from "../../api/types";
import type { sendFile } from "./send-file";

/** Many files that go to the server as one batch; a new object with every change. */
export interface Shipment {
  readonly key: number;
  readonly name: string;
  readonly collectionId: string | null;
  /** Null until the server has been told of it. */
  readonly batchId: string | null;
  readonly state: "sending" | "sent" | "stopped";
  readonly total: number;
  readonly arrived: number;
  /** How many of those that arrived were in the library before. */
  readonly existed: number;
  readonly refused: readonly { name: string; message: string }[];
  /** What did not arrive and may be sent again. */
  readonly unsent: readonly File[];
  /** Why it stopped, or what it waits for. */
  readonly problem: Refusal | null;
}

export interface Refusal {
  message: string;
  /** A limit of the user is reached: waiting does not help, or not before `retryAt` (as `Date.now`). */
  atLimit: boolean;
  retryAt: number | null;
}

/** What a shipment needs of its surroundings. */
export interface Yard {
  makeBatch: typeof createBatch;
  send: typeof sendFile;
  /** Runs when one of the few places on the line is free. */
  inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  pause: (ms: number, signal: AbortSignal) => Promise<void>;
  change: (change: (now: Shipment) => Partial<Shipment>) => void;
  onBatch: (batch: Batch) => void;
  onDocument: (document: Document) => void;
}

export const AT_ONCE = 3;
const TRIES = 5;
const RETRY_MS = 1_000;
const MAX_WAIT_MS = 30_000;

/** Tell the server of the batch and send the files, a few at once, until each has arrived, is refused, or all stop. */
export async function ship(yard: Yard, shipment: Shipment, files: readonly File[], signal: AbortSignal): Promise<void> {
  const { name, collectionId } = shipment;
  const rest = files.values();
  try {
    let { batchId } = shipment;
    if (batchId === null) {
      const batch = await yard.makeBatch(name, collectionId);
      batchId = batch.batch_id;
      yard.change(() => ({ batchId }));
      yard.onBatch(batch);
    }
    const belonging = { batchId, collectionId };
    const one = async (file: File) => {
      const sent = await patiently(yard, () => yard.send(file, belonging, () => undefined, signal), signal);
      yard.change((now) => ({ arrived: now.arrived + 1, existed: now.existed + (sent.existed ? 1 : 0) }));
      yard.onDocument(sent.document);
    };
    const pump = async () => {
      for (const file of rest) await one(file).catch((error: unknown) => refused(yard, file, error, signal));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, pump));
    yard.change(() => ({ state: "sent" }));
  } catch (error) {
    const unsent = [...rest];
    if (!signal.aborted) {
      const problem = refusalOf(error);
      yard.change((now) => ({ state: "stopped", problem, unsent: [...now.unsent, ...unsent] }));
    }
  }
}

/** One that is refused is noted; what would refuse all the others too is thrown on. */
function refused(yard: Yard, file: File, error: unknown, signal: AbortSignal): void {
  const fatal = !(error instanceof LorestreamError) || ["quota_exceeded", "unreachable"].includes(error.code);
  if (signal.aborted || fatal) {
    yard.change((now) => ({ unsent: [...now.unsent, file] }));
    throw error;
  }
  yard.change((now) => ({
    refused: [...now.refused, { name: file.name, message: messageOf(error) }],
    unsent: error.retryable ? [...now.unsent, file] : now.unsent,
  }));
}

/** Try again what may succeed later, and say what is waited for. */
async function patiently<T>(yard: Yard, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      const done = await yard.inTurn(work);
      yard.change(({ problem }) => (problem ? { problem: null } : {}));
      return done;
    } catch (error) {
      if (signal.aborted || !(error instanceof LorestreamError) || !error.retryable) throw error;
      // A limit says when it is over; anything else is tried a few times only.
      if (error.retryAt === null && tries >= TRIES) throw error;
      yard.change(() => ({ problem: refusalOf(error) }));
      const wait = error.retryAt === null ? RETRY_MS * 2 ** tries : error.retryAt - Date.now();
      await yard.pause(Math.min(Math.max(wait, RETRY_MS), MAX_WAIT_MS), signal);
      signal.throwIfAborted();
    }
  }
}

export function refusalOf(error: unknown): Refusal {
  const { code, retryAt } = error instanceof LorestreamError ? error : { code: "", retryAt: null };
  return { message: messageOf(error), atLimit: ["quota_exceeded", "rate_limited"].includes(code), retryAt };
}
