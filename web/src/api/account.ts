/** The caller's own account: what the settings show and change. */
import { queryOptions } from "@tanstack/react-query";
import { readError, unreachable } from "@lorestream/client";

import { authorisedFetch, requestJson, sendJson } from "./http";
import type { KeyList, KeyMade, LimitList, LoginList, RegistrationOptions, Scope } from "./types";

/** For those who have no account yet. */
export async function accountOptions(signal: AbortSignal): Promise<RegistrationOptions> {
  const response = await fetch("/auth/options", { signal }).catch(() => null);
  if (!response) throw unreachable();
  if (!response.ok) throw await readError(response);
  return (await response.json()) as RegistrationOptions;
}

export const accountOptionsQuery = queryOptions({
  queryKey: ["account-options"],
  queryFn: ({ signal }) => accountOptions(signal),
  staleTime: Infinity,
});

export const loginsQuery = queryOptions({
  queryKey: ["logins"],
  queryFn: ({ signal }) => requestJson<LoginList>("/auth/sessions", { signal }),
  select: (page) => page.items,
});

export const keysQuery = queryOptions({
  queryKey: ["keys"],
  queryFn: ({ signal }) => requestJson<KeyList>("/auth/keys", { signal }),
  select: (page) => page.items,
});

export const limitsQuery = queryOptions({
  queryKey: ["limits"],
  queryFn: ({ signal }) => requestJson<LimitList>("/auth/limits", { signal }),
  select: (page) => page.items,
  staleTime: 0,
});

/** Ends every other login of the account. */
export const changePassword = (currentPassword: string, newPassword: string): Promise<void> =>
  sendJson("/auth/password", "POST", { current_password: currentPassword, new_password: newPassword });

export const endLogin = (sessionId: string): Promise<void> =>
  sendJson(`/auth/sessions/${encodeURIComponent(sessionId)}`, "DELETE");

export const logOutEverywhere = (): Promise<void> => sendJson("/auth/logout-everywhere", "POST");

export const createKey = (name: string, scopes: Scope[], expiresInDays: number | null): Promise<KeyMade> =>
  sendJson<KeyMade>("/auth/keys", "POST", {
    name,
    scopes,
    ...(expiresInDays !== null && { expires_in_days: expiresInDays }),
  });

export const revokeKey = (keyId: string): Promise<void> =>
  sendJson(`/auth/keys/${encodeURIComponent(keyId)}`, "DELETE");

export const deleteAccount = (password: string): Promise<void> =>
  sendJson("/auth/delete-account", "POST", { password });

/** Everything of the account as a ZIP; `onProgress` gets the bytes that have come. The size is known to nobody before. */
export async function exportAccount(onProgress: (bytes: number) => void, signal: AbortSignal): Promise<Blob> {
  const response = await authorisedFetch("/auth/export", { signal });
  if (!response.ok) throw await readError(response);
  if (!response.body) return response.blob();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      onProgress((bytes += value.byteLength));
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw unreachable();
  }
  return new Blob(parts, { type: "application/zip" });
}
