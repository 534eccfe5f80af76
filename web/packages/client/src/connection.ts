import { readError, unreachable } from "./error.js";
import type { Link } from "./follow.js";

/** What a request carries as its login: an access token, or an API key (`lsk_…`); null for none. */
export type Token = string | null;

export interface ConnectionOptions {
  /** Where the server is, such as `https://lore.example.org`; `""` for the server that this page came from. */
  url: string;
  token?: Token;
  /**
   * The token, asked for with every request, in place of `token`. When the server has refused one with 401 it is asked
   * for once more, with the token that was `refused`; where another one comes, the request is repeated with it.
   */
  getToken?: (refused?: string) => Promise<Token> | Token;
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
  /** How long it is tried to reach a server that does not answer, in milliseconds (60 000); `Infinity` never ends. */
  patienceMs?: number;
}

const PATIENCE_MS = 60_000;

/** The way to one server, as one of its users. */
export class Connection implements Link {
  readonly patienceMs: number;
  readonly #url: string;
  readonly #getToken: NonNullable<ConnectionOptions["getToken"]>;
  readonly #fetch: typeof fetch;

  constructor({ url, token = null, getToken, fetch: given, patienceMs = PATIENCE_MS }: ConnectionOptions) {
    this.#url = url.endsWith("/") ? url.slice(0, -1) : url;
    this.#getToken = getToken ?? (() => token);
    this.#fetch = given ?? ((input, init) => fetch(input, init));
    this.patienceMs = patienceMs;
  }

  /**
   * `fetch` a path of the server as its user.
   *
   * Any status is returned; a lack of any answer throws `LorestreamError` (`unreachable`), an abort stays an abort.
   */
  fetch = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const token = await this.#getToken();
    const response = await this.#send(path, init, token);
    if (response.status !== 401 || token === null) return response;
    const renewed = await this.#getToken(token);
    if (renewed === null || renewed === token) return response;
    await response.body?.cancel();
    return this.#send(path, init, renewed);
  };

  /** The JSON that an endpoint answers with; a refusal is thrown as `LorestreamError`. */
  json = async <T>(path: string, init?: RequestInit): Promise<T> => {
    const response = await this.fetch(path, init);
    if (!response.ok) throw await readError(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  };

  /** Where there is a network that comes back (in a browser), that ends the pause. */
  pause = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const page = typeof removeEventListener === "function" ? globalThis : null;
      const done = () => {
        clearTimeout(timer);
        page?.removeEventListener("online", done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      page?.addEventListener("online", done);
      signal?.addEventListener("abort", done);
    });

  async #send(path: string, init: RequestInit, token: Token): Promise<Response> {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("Authorization", `Bearer ${token}`);
    try {
      return await this.#fetch(`${this.#url}${path}`, { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw unreachable();
    }
  }
}

/** The query of an address, without what is not given. */
export function parameters(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}
