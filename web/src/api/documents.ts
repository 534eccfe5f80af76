import {
  infiniteQueryOptions,
  keepPreviousData,
  queryOptions,
  type InfiniteData,
  type QueryClient,
} from "@tanstack/react-query";
import { readError } from "@lorestream/client";

import { authorisedFetch, requestJson } from "./http";
import type { Document, DocumentBoxes, DocumentList, DocumentText } from "./types";

/** What of the library a list shows; an empty field asks for nothing. */
export interface DocumentFilter {
  q: string;
  status: Document["status"] | "";
  collectionId: string;
  batchId: string;
}

export const ALL_DOCUMENTS: DocumentFilter = { q: "", status: "", collectionId: "", batchId: "" };
/** As many as the server gives at once. */
const PAGE = 100;
const LISTS = ["documents"];
/** Longer stretches are not asked for. */
const MAX_BOXED_CHARS = 20_000;
/** So many pages of a list are read again whenever something has changed; a longer list is left to its reader. */
const REFRESHED_PAGES = 3;

export const documentPath = (docId: string): string => `/documents/${encodeURIComponent(docId)}`;

/** The user's documents, newest first. */
export const documentsQuery = ({ q, status, collectionId, batchId }: DocumentFilter = ALL_DOCUMENTS) =>
  infiniteQueryOptions({
    queryKey: [...LISTS, { q, status, collectionId, batchId }],
    queryFn: ({ pageParam, signal }) => {
      const query = new URLSearchParams({
        limit: String(PAGE),
        ...(q && { q }),
        ...(status && { status }),
        ...(collectionId && { collection_id: collectionId }),
        ...(batchId && { batch_id: batchId }),
        ...(pageParam && { cursor: pageParam }),
      }).toString();
      return requestJson<DocumentList>(`/documents/?${query}`, { signal });
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    // The last list stays until the next has come.
    placeholderData: keepPreviousData,
    select: (data) => data.pages.flatMap((page) => page.items),
  });

export const documentQuery = (docId: string) =>
  queryOptions({ queryKey: ["document", docId], queryFn: ({ signal }) => getDocument(docId, signal) });

export const documentTextQuery = (docId: string) =>
  queryOptions({
    queryKey: ["document-text", docId],
    queryFn: ({ signal }) => requestJson<DocumentText>(`${documentPath(docId)}/text`, { signal }),
    // Extracted text never changes while its document exists.
    staleTime: Infinity,
  });

/** Where a stretch of the text stands on the paper. */
export const boxesQuery = (docId: string, { start, end }: { start: number; end: number }) =>
  queryOptions({
    queryKey: ["document-boxes", docId, start, end],
    queryFn: ({ signal }) =>
      requestJson<DocumentBoxes>(
        `${documentPath(docId)}/boxes?start=${start}&end=${Math.min(end, start + MAX_BOXED_CHARS)}`,
        { signal },
      ),
    staleTime: Infinity,
  });

/** A page of a PDF as it is printed, as a PNG of this width. */
export const pageImageQuery = (docId: string, page: number, width: number) =>
  queryOptions({
    queryKey: ["document-page", docId, page, width],
    queryFn: async ({ signal }) => {
      const response = await authorisedFetch(`${documentPath(docId)}/pages/${page}/image?width=${width}`, { signal });
      if (!response.ok) throw await readError(response);
      return response.blob();
    },
    staleTime: Infinity,
    gcTime: 60_000,
  });

export const getDocument = (docId: string, signal?: AbortSignal): Promise<Document> =>
  requestJson<Document>(documentPath(docId), signal ? { signal } : {});

export const retryDocument = (docId: string): Promise<Document> =>
  requestJson<Document>(`${documentPath(docId)}/retry`, { method: "POST" });

export const cancelDocument = (docId: string): Promise<Document> =>
  requestJson<Document>(`${documentPath(docId)}/cancel`, { method: "POST" });

export const deleteDocument = (docId: string): Promise<void> => requestJson(documentPath(docId), { method: "DELETE" });

export const isBusy = ({ status }: Pick<Document, "status">): boolean => status === "queued" || status === "processing";

/** Put what the server just said about documents into every list that shows them. */
export function rememberDocuments(client: QueryClient, documents: readonly Document[]): void {
  const news = new Map(documents.map((document) => [document.doc_id, document]));
  changeLists(client, (pages) =>
    pages.map((page) => {
      if (!page.items.some((item) => news.has(item.doc_id))) return page;
      return { ...page, items: page.items.map((item) => news.get(item.doc_id) ?? item) };
    }),
  );
}

/** A document that was just uploaded: in its place, or at the top of the list of all. */
export function rememberNew(client: QueryClient, document: Document): void {
  rememberDocuments(client, [document]);
  client.setQueryData<InfiniteData<DocumentList, string>>(documentsQuery().queryKey, (data) => {
    const [first, ...rest] = data?.pages ?? [];
    if (!data || !first || data.pages.some((page) => page.items.some((item) => item.doc_id === document.doc_id))) {
      return data;
    }
    return { ...data, pages: [{ ...first, items: [document, ...first.items] }, ...rest] };
  });
  refreshLists(client, { but: documentsQuery().queryKey });
}

export function forgetDocument(client: QueryClient, docId: string): void {
  changeLists(client, (pages) =>
    pages.map((page) => ({ ...page, items: page.items.filter((item) => item.doc_id !== docId) })),
  );
  client.removeQueries({ queryKey: ["document-text", docId] });
  void client.invalidateQueries({ queryKey: ["document", docId] });
  void client.invalidateQueries({ queryKey: ["collections"] });
}

/** Read the lists again that are not so long that it would be felt. */
export function refreshLists(client: QueryClient, { but }: { but?: readonly unknown[] } = {}): void {
  void client.invalidateQueries({
    queryKey: LISTS,
    predicate: ({ queryKey, state }) => {
      const loaded = (state.data as InfiniteData<DocumentList> | undefined)?.pages.length ?? 0;
      return loaded <= REFRESHED_PAGES && JSON.stringify(queryKey) !== JSON.stringify(but);
    },
  });
}

function changeLists(client: QueryClient, change: (pages: DocumentList[]) => DocumentList[]): void {
  client.setQueriesData<InfiniteData<DocumentList, string>>({ queryKey: LISTS }, (data) =>
    data ? { ...data, pages: change(data.pages) } : data,
  );
}
