import { LorestreamError, toError, unreachable } from "@lorestream/client";

import { accessToken, refresh } from "../../api/session";
import type { Batch, Document } from "../../api/types";

/** The server answers after this many seconds at the latest; what is left to read is then followed. */
const WAIT_SECONDS = 1;

export interface Sent {
  document: Document;
  /** The same bytes were in the library before. */
  existed: boolean;
}

/** Where a file belongs; null for nowhere in particular. */
export interface Belonging {
  batchId: string | null;
  collectionId: string | null;
}

export type OnProgress = (sent: number) => void;

/** Upload one file. `onProgress` gets 0 to 1 as bytes leave; a refusal is thrown as `LorestreamError`. */
export async function sendFile(
  file: File,
  { batchId, collectionId }: Belonging,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Sent> {
  const query = new URLSearchParams({
    // One of many is not waited for: their batch tells how far it is.
    wait: String(batchId === null ? WAIT_SECONDS : 0),
    ...(batchId !== null && { batch_id: batchId }),
    ...(collectionId !== null && { collection_id: collectionId }),
  });
  const { status, body } = await send(`/documents/?${query.toString()}`, file, onProgress, signal);
  return { document: body as Document, existed: status === 200 };
}

/** Upload a ZIP file, which the server unpacks: the batch of what is in it. */
export async function sendArchive(
  file: File,
  collectionId: string | null,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Batch> {
  const query = collectionId === null ? "" : `?collection_id=${encodeURIComponent(collectionId)}`;
  return (await send(`/batches/archives${query}`, file, onProgress, signal)).body as Batch;
}

interface Answer {
  status: number;
  body: unknown;
}

async function send(path: string, file: File, onProgress: OnProgress, signal: AbortSignal): Promise<Answer> {
  const token = await accessToken();
  try {
    return await post(path, file, token, onProgress, signal);
  } catch (error) {
    if (!(error instanceof LorestreamError && error.status === 401) || token === null) throw error;
    return post(path, file, await refresh(token), onProgress, signal);
  }
}

/** XMLHttpRequest, because `fetch` does not tell how much of a request's body has been sent. */
function post(
  path: string,
  file: File,
  token: string | null,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    if (token !== null) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = (event) => onProgress(event.total > 0 ? event.loaded / event.total : 0);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    request.onload = () => {
      const { status, responseText } = request;
      if (status < 200 || status > 299) {
        reject(toError(status, responseText, request.getResponseHeader("Retry-After")));
      } else {
        resolve({ status, body: JSON.parse(responseText) as unknown });
      }
    };
    const abort = () => request.abort();
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
    const form = new FormData();
    form.append("file", file);
    request.send(form);
    if (signal.aborted) request.abort();
  });
}
