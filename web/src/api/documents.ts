import { infiniteQueryOptions, queryOptions, type InfiniteData, type QueryClient } from "@tanstack/react-query";

import { requestJson } from "./http";
import type { Document, DocumentList, DocumentText } from "./types";

const path = (docId: string): string => `/documents/${encodeURIComponent(docId)}`;

export const documentsQuery = infiniteQueryOptions({
  queryKey: ["documents"],
  queryFn: ({ pageParam, signal }) =>
    requestJson<DocumentList>(pageParam ? `/documents/?cursor=${encodeURIComponent(pageParam)}` : "/documents/", {
      signal,
    }),
  initialPageParam: "",
  getNextPageParam: (page) => page.next_cursor,
  select: (data) => data.pages.flatMap((page) => page.items),
});

export const documentQuery = (docId: string) =>
  queryOptions({ queryKey: ["document", docId], queryFn: ({ signal }) => getDocument(docId, signal) });

export const documentTextQuery = (docId: string) =>
  queryOptions({
    queryKey: ["document-text", docId],
    queryFn: ({ signal }) => requestJson<DocumentText>(`${path(docId)}/text`, { signal }),
    // Extracted text never changes while its document exists.
    staleTime: Infinity,
  });

export const getDocument = (docId: string, signal?: AbortSignal): Promise<Document> =>
  requestJson<Document>(path(docId), signal ? { signal } : {});

export const retryDocument = (docId: string): Promise<Document> =>
  requestJson<Document>(`${path(docId)}/retry`, { method: "POST" });

export const deleteDocument = (docId: string): Promise<void> => requestJson(path(docId), { method: "DELETE" });

/** Put what the server just said about a document into the list: in its place, or at the top when it is new. */
export function rememberDocument(client: QueryClient, document: Document): void {
  changePages(client, (pages) => {
    const known = pages.some((page) => page.items.some((item) => item.doc_id === document.doc_id));
    const swap = (item: Document) => (item.doc_id === document.doc_id ? document : item);
    return pages.map((page, index) => ({
      ...page,
      items: known ? page.items.map(swap) : index === 0 ? [document, ...page.items] : page.items,
    }));
  });
}

export function forgetDocument(client: QueryClient, docId: string): void {
  changePages(client, (pages) =>
    pages.map((page) => ({ ...page, items: page.items.filter((item) => item.doc_id !== docId) })),
  );
  client.removeQueries({ queryKey: ["document-text", docId] });
}

function changePages(client: QueryClient, change: (pages: DocumentList[]) => DocumentList[]): void {
  client.setQueryData<InfiniteData<DocumentList, string>>(documentsQuery.queryKey, (data) =>
    data ? { ...data, pages: change(data.pages) } : data,
  );
}
