import { queryOptions, type QueryClient } from "@tanstack/react-query";

import { requestJson, sendJson } from "./http";
import type { Collection, CollectionList } from "./types";

const ALL = "/collections/";
const collectionPath = (id: string): string => `${ALL}${encodeURIComponent(id)}`;
/** The server takes so many documents at once. */
const AT_ONCE = 1000;

export const collectionsQuery = queryOptions({
  queryKey: ["collections"],
  queryFn: ({ signal }) => requestJson<CollectionList>(ALL, { signal }),
  select: (page) => page.items,
});

export const createCollection = (client: QueryClient, name: string): Promise<Collection> =>
  changing(client, sendJson<Collection>(ALL, "POST", { name }));

export const renameCollection = (client: QueryClient, id: string, name: string): Promise<Collection> =>
  changing(client, sendJson<Collection>(collectionPath(id), "PATCH", { name }));

/** Its documents stay. */
export const deleteCollection = (client: QueryClient, id: string): Promise<void> =>
  changing(client, requestJson(collectionPath(id), { method: "DELETE" }));

export async function addToCollection(client: QueryClient, id: string, docIds: readonly string[]): Promise<void> {
  for (let at = 0; at < docIds.length; at += AT_ONCE) {
    await sendJson(`${collectionPath(id)}/documents`, "POST", { doc_ids: docIds.slice(at, at + AT_ONCE) });
  }
  await refresh(client);
}

export async function takeOut(client: QueryClient, id: string, docIds: readonly string[]): Promise<void> {
  for (const docId of docIds) {
    await requestJson(`${collectionPath(id)}/documents/${encodeURIComponent(docId)}`, { method: "DELETE" });
  }
  await refresh(client);
}

async function changing<T>(client: QueryClient, change: Promise<T>): Promise<T> {
  const answer = await change;
  await refresh(client);
  return answer;
}

async function refresh(client: QueryClient): Promise<void> {
  await Promise.all([
    client.invalidateQueries({ queryKey: collectionsQuery.queryKey }),
    client.invalidateQueries({ queryKey: ["documents"] }),
  ]);
}
