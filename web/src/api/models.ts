import { queryOptions } from "@tanstack/react-query";

import { requestJson } from "./http";
import type { Models } from "./types";

/** Which language model answers; a server that does not tell is no error. */
export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: ({ signal }) => requestJson<Models>("/models", { signal }).catch(() => null),
  staleTime: 60_000,
});
