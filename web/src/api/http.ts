import { readProblem, unreachable } from "./problem";
import { accessToken, refresh } from "./session";

/**
 * `fetch` as the logged-in user: on a 401 the session is refreshed once and the request repeated.
 *
 * Any status is returned; only a lack of any answer throws (`Problem` with status 0), and an abort stays an abort.
 */
export async function authorisedFetch(path: string, init: RequestInit = {}): Promise<Response> {
  const token = await accessToken();
  const response = await send(path, init, token);
  if (response.status !== 401 || token === null) return response;
  const renewed = await refresh(token);
  if (renewed === null) return response;
  await response.body?.cancel();
  return send(path, init, renewed);
}

async function send(path: string, init: RequestInit, token: string | null): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  try {
    return await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw unreachable();
  }
}

/** The JSON that an endpoint answers with; a refusal is thrown as `Problem`. */
export async function requestJson<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await authorisedFetch(path, init);
  if (!response.ok) throw await readProblem(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** Send JSON; the JSON that is answered, if any. */
export const sendJson = <T = undefined>(path: string, method: string, body?: unknown): Promise<T> =>
  requestJson<T>(path, {
    method,
    ...(body !== undefined && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  });
