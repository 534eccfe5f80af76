import { queryOptions } from "@tanstack/react-query";

import { requestJson } from "./http";
import type { Profile } from "./types";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => requestJson<Profile>("/auth/me", { signal }),
  staleTime: Infinity,
});
