import { Problem, toProblem, unreachable } from "../../api/problem";
import { accessToken, refresh } from "../../api/session";
import type { Document } from "../../api/types";

/** The server answers after this many seconds at the latest; what is left to read is then asked for by polling. */
const WAIT_SECONDS = 1;

export interface Sent {
  document: Document;
  /** The same bytes were in the library before. */
  existed: boolean;
}

/**
 * Upload one file. `onProgress` gets 0 to 1 as bytes leave; a refusal is thrown as `Problem`.
 *
 * XMLHttpRequest, because `fetch` does not tell how much of a request's body has been sent.
 */
export async function sendFile(file: File, onProgress: (sent: number) => void, signal: AbortSignal): Promise<Sent> {
  const token = await accessToken();
  try {
    return await post(file, token, onProgress, signal);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401) || token === null) throw error;
    return post(file, await refresh(token), onProgress, signal);
  }
}

function post(
  file: File,
  token: string | null,
  onProgress: (sent: number) => void,
  signal: AbortSignal,
): Promise<Sent> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/documents/?wait=${WAIT_SECONDS}`);
    if (token !== null) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.upload.onprogress = (event) => onProgress(event.total > 0 ? event.loaded / event.total : 0);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    request.onload = () => {
      const { status, responseText } = request;
      if (status < 200 || status > 299) {
        reject(toProblem(status, responseText, request.getResponseHeader("Retry-After")));
      } else {
        resolve({ document: JSON.parse(responseText) as Document, existed: status === 200 });
      }
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("file", file);
    request.send(form);
  });
}
