import { infiniteQueryOptions } from "@tanstack/react-query";
import { readError } from "@lorestream/client";

import { authorisedFetch, requestJson } from "./http";
import type { RatedList, Rating } from "./types";

/** The answers that the user has rated, newest first. */
export const feedbackQuery = (rating: Rating) =>
  infiniteQueryOptions({
    queryKey: ["feedback", rating],
    queryFn: ({ pageParam, signal }) => {
      const query = new URLSearchParams({ rating, limit: "100", ...(pageParam && { cursor: pageParam }) });
      return requestJson<RatedList>(`/feedback/?${query.toString()}`, { signal });
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    select: (data) => data.pages.flatMap((page) => page.items),
    staleTime: 0,
  });

/** A question set for `lorestream evaluate`, as JSON lines. */
export async function exportFeedback(rating: Rating | null): Promise<Blob> {
  const response = await authorisedFetch(rating ? `/feedback/export?rating=${rating}` : "/feedback/export");
  if (!response.ok) throw await readError(response);
  return response.blob();
}
